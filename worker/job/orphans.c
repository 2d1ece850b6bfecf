/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/orphans.h"

#include "common/base/crashpoint.h"
#include "common/base/mem.h"
#include "common/catalog/catalog_orphan.h"
#include "common/repo/quarantine.h"

#include <stdio.h>

enum { BATCH = 1000 };

typedef struct Scan {
    Session *session;
    Job *job;
    const Fence *fence;
    OrphanCounts *counts;
    bool asked, dry_run, begun;
    Buf texts; /* the names of a batch; offsets into it */
    size_t starts[BATCH];
    Text names[BATCH];
    uint64_t bytes[BATCH];
    size_t count;
    OrphanAnswer answers[BATCH];
    size_t answered;
    Uuid *packs; /* of one index object */
    size_t pack_count;
    bool known;
    uint64_t epoch;
    OrphanListed listed;
    OrphanLook look;
} Scan;

static bool call_begin(Catalog *catalog, void *ctx, Err *err)
{
    Scan *scan = ctx;
    return catalog_orphan_begin(catalog, scan->fence, scan->asked, &scan->begun, err);
}

static bool call_ask(Catalog *catalog, void *ctx, Err *err)
{
    Scan *scan = ctx;
    return catalog_orphan_ask(catalog, scan->fence, scan->names, scan->count, scan->answers,
                              &scan->answered, err);
}

static bool call_packs(Catalog *catalog, void *ctx, Err *err)
{
    Scan *scan = ctx;
    return catalog_orphan_packs(catalog, scan->fence, scan->packs, scan->pack_count, &scan->known,
                                err);
}

static bool call_note(Catalog *catalog, void *ctx, Err *err)
{
    Scan *scan = ctx;
    return catalog_orphan_note(catalog, scan->fence, scan->names, scan->bytes, scan->count, err);
}

static bool call_listed(Catalog *catalog, void *ctx, Err *err)
{
    Scan *scan = ctx;
    return catalog_orphan_listed(catalog, scan->fence, scan->epoch, scan->counts->listed,
                                 &scan->listed, err);
}

static bool call_look(Catalog *catalog, void *ctx, Err *err)
{
    Scan *scan = ctx;
    return catalog_orphan_look(catalog, scan->fence, scan->epoch, &scan->look, err);
}

/* One object that the store does not give is no reason to give up what was collected before. */
static bool concerns_one(const Err *why)
{
    return why->code == ERR_IO || why->code == ERR_DENIED;
}

/* An index object in no row is needed as long as one of its packs is: a session that writes many
 * packs writes several, and the catalogue has the name of the last. */
static bool index_needed(Scan *scan, const char *name, bool *needed, Err *err)
{
    bool readable = false;
    Err why = {0};
    if (!quarantine_index(scan->session->store, name, &readable, &scan->packs, &scan->pack_count,
                          &why) &&
        !concerns_one(&why)) {
        *err = why;
        return err_note(err, "reading %s", name);
    }
    *needed = !readable;
    if (!readable) {
        scan->counts->unreadable++;
        job_log(scan->job, LOG_WARN, "orphan.bad_index",
                "%s is in no row, and does not say which packs it is of: it stays%s%s", name,
                why.text[0] == 0 ? "" : ": ", why.text);
    }
    bool fine = !readable || patient_call(scan->job->catalog, call_packs, scan, err);
    if (fine && readable)
        *needed = scan->known;
    mem_free(scan->packs);
    scan->packs = NULL;
    return fine;
}

static void count_one(Scan *scan, size_t at, OrphanKind kind)
{
    OrphanCounts *n = scan->counts;
    n->strangers += kind == ORPHAN_MARKER;
    if (kind == ORPHAN_FOREIGN) {
        n->foreign++;
        return;
    }
    n->orphans++;
    n->bytes += scan->bytes[at];
}

/* What is left of the batch are those in no row. Answers come in the order of the list. */
static bool sift(Scan *scan, Err *err)
{
    size_t left = 0;
    for (size_t i = 0; i < scan->answered; i++) {
        size_t at = scan->answers[i].at;
        bool needed = false;
        if (scan->answers[i].kind == ORPHAN_INDEX &&
            !index_needed(scan, scan->names[at].at, &needed, err))
            return false;
        if (needed)
            continue;
        count_one(scan, at, scan->answers[i].kind);
        scan->names[left] = scan->names[at];
        scan->bytes[left++] = scan->bytes[at];
    }
    scan->count = left;
    return true;
}

static bool flush(Scan *scan, Err *err)
{
    if (scan->count == 0)
        return true;
    for (size_t i = 0; i < scan->count; i++)
        scan->names[i] = text_of((const char *)scan->texts.at + scan->starts[i]);
    scan->counts->listed += scan->count;
    scan->job->counters.items_done += scan->count;
    if (!job_go_on(scan->job, err) || !patient_call(scan->job->catalog, call_ask, scan, err) ||
        !sift(scan, err))
        return false;
    if (scan->count > 0 && !scan->dry_run &&
        !patient_call(scan->job->catalog, call_note, scan, err))
        return false;
    scan->count = 0;
    buf_clear(&scan->texts);
    return true;
}

/* The row of a pack is older than its object, so whoever is asked after the listing knows it. */
static bool visit(void *ctx, const char *name, uint64_t size, Err *err)
{
    Scan *scan = ctx;
    scan->starts[scan->count] = scan->texts.len;
    scan->bytes[scan->count++] = size;
    buf_add(&scan->texts, name, strlen(name) + 1);
    return scan->count < BATCH || flush(scan, err);
}

/* First what a merge would find: backups that the catalogue does not know. */
static bool list_all(Scan *scan, Err *err)
{
    static const char *const folders[] = {"commits/", "manifests/", "index/",
                                          "parents/", "logs/",      "packs/"};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
        if (!store_list(scan->session->store, folders[i], visit, scan, err) || !flush(scan, err))
            return err_note(err, "looking for orphans in %s", folders[i]);
    return true;
}

static bool preview(Scan *scan, Err *err)
{
    if (!patient_call(scan->job->catalog, call_look, scan, err))
        return false;
    scan->counts->would_move = scan->look.ripe;
    scan->counts->would_go = scan->look.over;
    snprintf(scan->counts->blocked, sizeof scan->counts->blocked, "%s", scan->look.blocked);
    return true;
}

static bool settle(Scan *scan, Err *err)
{
    CRASHPOINT("orphan.noted");
    if (!patient_call(scan->job->catalog, call_listed, scan, err))
        return false;
    CRASHPOINT("orphan.listed");
    scan->counts->fresh = scan->listed.fresh;
    snprintf(scan->counts->blocked, sizeof scan->counts->blocked, "%s", scan->listed.blocked);
    if (scan->listed.blocked[0] != 0) {
        job_log(scan->job, LOG_WARN, "orphan.blocked", "orphans are only reported: %s",
                scan->listed.blocked);
        return true;
    }
    return quarantining_run(scan->session, scan->job, &scan->counts->quarantine, err);
}

static bool run(Scan *scan, Err *err)
{
    if (!scan->dry_run && !patient_call(scan->job->catalog, call_begin, scan, err))
        return false;
    scan->counts->scanned = scan->dry_run || scan->begun;
    if (!scan->counts->scanned)
        return true;
    job_phase(scan->job, "orphans");
    if (!repo_epoch_read(scan->session->repo, err) || !list_all(scan, err))
        return false;
    scan->epoch = repo_facts(scan->session->repo)->epoch;
    return scan->dry_run ? preview(scan, err) : settle(scan, err);
}

bool orphans_run(Session *session, Job *job, bool asked, bool dry_run, OrphanCounts *counts,
                 Err *err)
{
    Scan *scan = mem_new(Scan);
    *counts = (OrphanCounts){0};
    scan->session = session;
    scan->job = job;
    scan->fence = &job->fence;
    scan->counts = counts;
    scan->asked = asked;
    scan->dry_run = dry_run;
    bool fine = run(scan, err);
    buf_free(&scan->texts);
    mem_free(scan);
    return fine;
}

json_t *orphans_report(const OrphanCounts *n)
{
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {{"listed", n->listed},
                {"orphans", n->orphans},
                {"bytes", n->bytes},
                {"fresh", n->fresh},
                {"foreign", n->foreign},
                {"unknown_backups", n->strangers},
                {"unreadable", n->unreadable},
                {"quarantined", n->quarantine.moved},
                {"quarantined_bytes", n->quarantine.moved_bytes},
                {"deleted", n->quarantine.deleted},
                {"freed", n->quarantine.deleted_bytes},
                {"kept", n->quarantine.kept},
                {"left", n->quarantine.left},
                {"may_quarantine", n->would_move},
                {"may_delete", n->would_go}};
    json_t *out = json_object();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        json_object_set_new(out, rows[i].name, json_integer((json_int_t)rows[i].value));
    json_object_set_new(out, "blocked", n->blocked[0] == 0 ? json_null() : json_string(n->blocked));
    return out;
}
