/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/copy.h"

#include "common/base/crashpoint.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/repo/index.h"
#include "common/repo/repo_copy.h"
#include "worker/job/copy_send.h"
#include "worker/job/ledger_catalog.h"
#include "worker/job/plain.h"
#include "worker/job/read_back.h"

#include <inttypes.h>
#include <stdio.h>

typedef struct Copy {
    Job *job;
    Session from, to;
    uint32_t from_no;
    CopyOpened opened;
    CopySend send;
    RepoLedger ledger; /* index objects are told to it */
    IndexBuilder *index;
    Uuid index_object; /* the last one; nil: none was needed */
    Text from_store, to_store;
} Copy;

/* --- opening -------------------------------------------------------------------------------- */

static bool call_open(Catalog *catalog, void *ctx, Err *err)
{
    Copy *copy = ctx;
    return catalog_copy_open(catalog, &copy->job->fence, copy->from_no, &copy->opened, err);
}

static Text store_of(const json_t *repository)
{
    return json_text_or(json_object_get(repository, "store"), "name", TEXT("?"));
}

static bool open_all(Copy *copy, Err *err)
{
    Job *job = copy->job;
    const json_t *from = json_object_get(job->order, "from");
    if (!json_is_object(from))
        return err_set(err, ERR_MISSING, "copy.nowhere",
                       "no store has this backup any more: there is nothing to copy");
    copy->from_no = (uint32_t)json_u64_or(from, "no", 0);
    copy->from_store = store_of(from);
    copy->to_store = store_of(job->repository);
    if (!session_open(&copy->to, job, SESSION_WRITE, err) || !session_markers(&copy->to, job, err))
        return err_note(err, "the target");
    if (!patient_call(job->catalog, call_open, copy, err) ||
        !session_open_other(&copy->from, job, from, SESSION_STORED, err))
        return err_note(err, "what is copied");
    CRASHPOINT("copy.opened");
    job->counters.bytes_total = copy->opened.bytes;
    job->counters.total_basis = "plan";
    job_log(job, LOG_INFO, "copy.opened", "from %.*s to %.*s: %" PRIu64 " packs, %" PRIu64 " bytes",
            TEXT_ARG(copy->from_store), TEXT_ARG(copy->to_store), copy->opened.packs,
            copy->opened.bytes);
    return true;
}

/* --- packs ---------------------------------------------------------------------------------- */

/* Some at a time: the list of a large backup is longer than it may be kept. */
typedef struct Page {
    const Fence *fence;
    uint32_t from;
    uint64_t after;
    CopyPack *packs;
    size_t count, room;
} Page;

static bool keep_pack(void *ctx, const CopyPack *pack, Err *err)
{
    Page *page = ctx;
    (void)err;
    if (page->count == page->room) {
        page->room = page->room == 0 ? 64 : page->room * 2;
        page->packs = mem_resize(page->packs, page->room * sizeof page->packs[0]);
    }
    page->packs[page->count++] = *pack;
    return true;
}

static bool call_page(Catalog *catalog, void *ctx, Err *err)
{
    Page *page = ctx;
    page->count = 0;
    return catalog_copy_packs(catalog, page->fence, page->from, page->after, keep_pack, page, err);
}

static bool call_take(Catalog *catalog, void *ctx, Err *err)
{
    Copy *copy = ctx;
    return catalog_pack_take(catalog, &copy->job->fence, err);
}

static bool send_packs(Copy *copy, Err *err)
{
    Job *job = copy->job;
    Page page = {.fence = &job->fence, .from = copy->from_no};
    job_phase(job, "copy");
    copy->send = (CopySend){.job = job,
                            .from = &copy->from,
                            .to = &copy->to,
                            .rate = {.bytes_a_second = json_u64_or(job->policy, "rate", 0)}};
    bool fine = patient_call(job->catalog, call_take, copy, err);
    do {
        fine = fine && patient_call(job->catalog, call_page, &page, err);
        if (fine && page.count > 0) {
            page.after = page.packs[page.count - 1].row.pack_no;
            fine = copy_send(&copy->send, page.packs, page.count, err);
        }
    } while (fine && page.count > 0);
    mem_free(page.packs);
    return fine;
}

/* --- index and manifest --------------------------------------------------------------------- */

/* The rows are the catalogue's: what a reader proved of the packs' own tables. */
typedef struct Staged {
    Copy *copy;
    uint64_t after;
    bool more;
} Staged;

static bool index_pack(void *ctx, const PackRow *row, Err *err)
{
    Copy *copy = ctx;
    (void)err;
    if (packset_has(&copy->send.here, row->pack_no))
        index_builder_add(copy->index, row);
    return true;
}

static bool call_staged(Catalog *catalog, void *ctx, Err *err)
{
    Staged *staged = ctx;
    return catalog_pack_staged(catalog, &staged->copy->job->fence, &staged->after, index_pack,
                               staged->copy, &staged->more, err);
}

static bool announce_index(RepoLedger *ledger, const Uuid *backup, const Uuid *object,
                           const uint64_t *pack_nos, size_t count, Err *err)
{
    const Copy *copy = (const Copy *)(void *)((char *)ledger - offsetof(Copy, ledger));
    return ledger_catalog_index(copy->job->catalog, &copy->job->fence, backup, object, pack_nos,
                                count, err);
}

static const RepoLedgerOps LEDGER = {.index_begin = announce_index};

static bool put_index(Copy *copy, Err *err)
{
    Uuid index;
    if (!index_builder_put(copy->index, &copy->send.here, &index, err))
        return false;
    if (!uuid_is_nil(&index))
        copy->index_object = index;
    return true;
}

static bool write_index(Copy *copy, Err *err)
{
    Staged staged = {.copy = copy, .more = true};
    copy->index = index_builder_new(copy->to.repo, &copy->ledger, &copy->opened.backup);
    while (staged.more) {
        if (!patient_call(copy->job->catalog, call_staged, &staged, err))
            return false;
        if ((!staged.more || index_builder_full(copy->index)) && !put_index(copy, err))
            return false;
    }
    return true;
}

static bool copy_manifest(Copy *copy, Err *err)
{
    bool whole;
    Err why = {0};
    if (!repo_copy_manifest(copy->from.store, copy->to.store, &copy->opened.backup,
                            &copy->opened.manifest_sha256, &whole, &why, err))
        return false;
    return whole || err_set(err, ERR_SOURCE, "copy.damaged",
                            "the manifest is damaged where it is read: %s", why.text);
}

/* --- the commit ----------------------------------------------------------------------------- */

typedef struct Commit {
    Copy *copy;
    CopyRow row;
    CommitAnswer answer;
    char detail[256];
} Commit;

static bool call_commit(Catalog *catalog, void *ctx, Err *err)
{
    Commit *commit = ctx;
    return catalog_copy_commit(catalog, &commit->copy->job->fence, &commit->row, &commit->answer,
                               commit->detail, err);
}

static bool call_marker_done(Catalog *catalog, void *ctx, Err *err)
{
    Copy *copy = ctx;
    return catalog_marker_done(catalog, &copy->job->fence, &copy->opened.backup, err);
}

static bool judge(const Commit *commit, Err *err)
{
    if (commit->answer == COMMIT_OK || commit->answer == COMMIT_ALREADY)
        return true;
    if (commit->answer == COMMIT_FENCED)
        return err_set(err, ERR_FENCED, "job.fenced",
                       "another attempt holds this job: what this one sent is the other's to use");
    return err_set(err, ERR_BUSY, "copy.changed",
                   "packs of this copy were found damaged or collected meanwhile (%.120s): it is "
                   "tried again",
                   commit->detail);
}

/* The lease is not asked for before, as with a backup: the commit checks it. A marker that could
 * not be written is owed: the next write job of that repository pays it. */
static bool commit_and_mark(Copy *copy, Err *err)
{
    Job *job = copy->job;
    Err owed = {0};
    Commit commit = {.copy = copy,
                     .row = {.from = copy->from_no,
                             .index_object = copy->index_object,
                             .new_bytes = copy->send.bytes,
                             .pack_count = copy->send.here.count}};
    uint64_t *nos = packset_sorted(&copy->send.here);
    commit.row.pack_nos = nos;
    job_phase(job, "commit");
    CRASHPOINT("copy.commit");
    bool told = patient_call(job->catalog, call_commit, &commit, err);
    mem_free(nos);
    if (!told || !judge(&commit, err))
        return false;
    CRASHPOINT("copy.committed");
    if (!repo_marker_put(copy->to.repo, &copy->opened.backup, &copy->opened.manifest_sha256,
                         &owed) ||
        !patient_call(job->catalog, call_marker_done, copy, &owed))
        job_log(job, LOG_WARN, "backup.marker_owed", "%s: %s", owed.cause, owed.text);
    return true;
}

static void report(Copy *copy, JobResult *result)
{
    const CopySend *send = &copy->send;
    result->committed = true;
    snprintf(result->text, sizeof result->text,
             "%.*s to %.*s: %zu packs sent, %" PRIu64 " bytes; %" PRIu64 " were there",
             TEXT_ARG(copy->from_store), TEXT_ARG(copy->to_store), send->count, send->bytes,
             send->had);
    job_log(copy->job, LOG_INFO, "copy.committed", "%s", result->text);
}

static bool run(Copy *copy, JobResult *result, Err *err)
{
    size_t seen;
    if (!open_all(copy, err))
        return false;
    if (copy->opened.present) {
        snprintf(result->text, sizeof result->text, "it is in %.*s already",
                 TEXT_ARG(copy->to_store));
        return true;
    }
    if (!send_packs(copy, err) || !write_index(copy, err))
        return false;
    CRASHPOINT("copy.indexed");
    if (!copy_manifest(copy, err))
        return false;
    CRASHPOINT("copy.stored");
    /* The manifest's name is the backup's, so it may be what an earlier attempt left, and a scan
     * for orphans may have taken that just then: it is put once more, or found to be there. */
    if (!read_back(copy->job, copy->to.repo, copy->send.rows, copy->send.count, &seen, err) ||
        !copy_manifest(copy, err) || !job_go_on(copy->job, err) || !commit_and_mark(copy, err))
        return false;
    report(copy, result);
    return true;
}

bool copy_run(Job *job, JobResult *result, Err *err)
{
    Copy copy = {.job = job, .ledger = {&LEDGER}};
    if (plain_wanted(job))
        return plain_run(job, result, err);
    bool fine = run(&copy, result, err);
    index_builder_free(copy.index);
    copy_send_free(&copy.send);
    session_close(&copy.from);
    session_close(&copy.to);
    return fine;
}
