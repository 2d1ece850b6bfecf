/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/set_back.h"

#include "common/base/json.h"
#include "common/catalog/catalog_collect.h"
#include "common/catalog/catalog_pack.h"

#include <inttypes.h>

enum { MARKERS = 64 }; /* the newest in the store, looked up in the catalogue */

/* A name says when its backup began, its marker comes when it has ended: few run for longer. */
static const uint64_t DAY_MS = 86400000;

typedef struct Look {
    const Fence *fence;
    Uuid markers[MARKERS];
    size_t count;
    RepositoryLook found;
    const SetBack *what;
    bool news;
    const RepoFacts *facts;
    uint64_t gc, confirmed;
    bool late;
} Look;

static bool call_look(Catalog *catalog, void *ctx, Err *err)
{
    Look *look = ctx;
    return catalog_repository_look(catalog, look->fence, look->markers, look->count, &look->found,
                                   err);
}

static bool call_tell(Catalog *catalog, void *ctx, Err *err)
{
    Look *look = ctx;
    return catalog_repository_set_back(catalog, look->fence, look->what, &look->news, err);
}

static bool tell(Job *job, const SetBack *what, Err *err)
{
    Look look = {.fence = &job->fence, .what = what};
    if (!patient_call(job->catalog, call_tell, &look, err))
        return false;
    if (look.news)
        job_log(job, LOG_WARN, "repo.rolled_back",
                "%.*s; from now on nothing that was stored before is shared unless a verify job "
                "reads it again, so the next backup of each source stores everything; restores of "
                "older backups work as far as the store has them",
                TEXT_ARG(what->why));
    return true;
}

static bool call_bind(Catalog *catalog, void *ctx, Err *err)
{
    Look *look = ctx;
    return catalog_repository_bind(catalog, look->fence, &look->facts->id, &look->gc,
                                   &look->confirmed, err);
}

static bool call_late(Catalog *catalog, void *ctx, Err *err)
{
    Look *look = ctx;
    return catalog_epoch_is_late(catalog, look->fence, look->facts->epoch, look->facts->epoch_job,
                                 look->facts->epoch_attempt, &look->late, err);
}

/* A collector may raise epochs while this looks, so what does not fit is looked at again: the store
 * after what is confirmed was asked, the catalogue's own epoch after that. */
static bool look_again(Session *session, Job *job, uint64_t *gc, bool *fits, uint64_t confirmed,
                       Err *err)
{
    Look look = {.fence = &job->fence, .facts = repo_facts(session->repo)};
    if (!repo_epoch_read(session->repo, err) || !patient_call(job->catalog, call_bind, &look, err))
        return false;
    *gc = look.gc;
    *fits = look.facts->epoch <= look.gc && look.facts->epoch >= confirmed;
    if (*fits || look.facts->epoch > look.gc || look.facts->epoch_job == 0)
        return true;
    if (!patient_call(job->catalog, call_late, &look, err))
        return false;
    *fits = look.late;
    return true;
}

static bool epochs_fit(Session *session, Job *job, uint64_t gc, uint64_t confirmed, Err *err)
{
    uint64_t epoch = repo_facts(session->repo)->epoch;
    bool fits = epoch <= gc && epoch >= confirmed;
    scoped(buf_free) Buf why = {0};
    if (!fits && !look_again(session, job, &gc, &fits, confirmed, err))
        return false;
    if (fits)
        return true;
    epoch = repo_facts(session->repo)->epoch;
    if (epoch == REPO_EPOCH_UNKNOWN)
        buf_printf(&why, "the epoch in the store is not one of this repository");
    else
        buf_printf(&why,
                   "the store is at epoch %" PRIu64 ", the catalogue at %" PRIu64
                   " and has confirmed "
                   "%" PRIu64 ": one of them was set back",
                   epoch, gc, confirmed);
    return tell(
        job, &(SetBack){.has_epoch = true, .epoch = epoch, .why = text_of_slice(buf_slice(&why))},
        err);
}

/* Marker and manifest, and both of this very backup? */
static bool is_there(Session *session, const Uuid *backup, const Sha256 *manifest, bool *there,
                     Err *err)
{
    Sha256 marked = {0};
    bool found = false;
    if (!repo_marker_get(session->repo, backup, &found, &marked, err))
        return false;
    *there = found && memcmp(&marked, manifest, sizeof marked) == 0;
    return !*there || repo_has_manifest(session->repo, backup, there, err);
}

static bool must_be_there(Session *session, Job *job, const Uuid *backup, const Sha256 *manifest,
                          const char *what, Err *err)
{
    bool there = false;
    char id[UUID_TEXT];
    scoped(buf_free) Buf why = {0};
    if (!is_there(session, backup, manifest, &there, err))
        return false;
    if (there)
        return true;
    uuid_text(backup, id);
    buf_printf(&why, "the newest backup of this %s, %s, is not in the store: it was set back", what,
               id);
    return tell(job, &(SetBack){.lost = backup, .why = text_of_slice(buf_slice(&why))}, err);
}

static bool no_stranger(Job *job, const Uuid *stranger, Err *err)
{
    char id[UUID_TEXT];
    scoped(buf_free) Buf why = {0};
    if (uuid_is_nil(stranger))
        return true;
    uuid_text(stranger, id);
    buf_printf(&why,
               "the store has the marker of backup %s, which the catalogue does not know: the "
               "catalogue was set back",
               id);
    return tell(job, &(SetBack){.why = text_of_slice(buf_slice(&why))}, err);
}

/* The least name that a backup can have which began a day before this one; nil: of nil. */
static Uuid day_before(const Uuid *backup)
{
    static const uint8_t least[16];
    uint64_t ms = 0;
    for (unsigned i = 0; i < 6; i++)
        ms = ms << 8 | backup->bytes[i];
    return uuid_backup(ms > DAY_MS ? ms - DAY_MS : 0, least);
}

/* The markers are read before the catalogue is asked about them: one is written after its backup's
 * commit. Only those that may be newer than what it knows are read: a catalogue that was set back
 * lacks the last ones, and a store has more of them than each job could list. */
bool set_back_look(Session *session, Job *job, uint64_t gc_epoch, uint64_t confirmed_epoch,
                   Err *err)
{
    Look look = {.fence = &job->fence};
    if (!epochs_fit(session, job, gc_epoch, confirmed_epoch, err) ||
        !patient_call(job->catalog, call_look, &look, err))
        return false;
    Uuid since = day_before(&look.found.newest);
    return repo_markers(session->repo, &since, MARKERS, look.markers, &look.count, err) &&
           patient_call(job->catalog, call_look, &look, err) &&
           (uuid_is_nil(&look.found.newest) ||
            must_be_there(session, job, &look.found.newest, &look.found.manifest, "repository",
                          err)) &&
           no_stranger(job, &look.found.stranger, err);
}

bool set_back_parent(Session *session, Job *job, Err *err)
{
    const json_t *parent = json_object_get(job->order, "parent");
    Uuid backup;
    Sha256 manifest;
    if (!json_is_object(parent))
        return true;
    return uuid_parse(json_text_or(parent, "backup", TEXT("")), &backup, err) &&
           ids_unhex(json_text_or(parent, "manifest_sha256", TEXT("")), manifest.bytes,
                     sizeof manifest.bytes, err) &&
           must_be_there(session, job, &backup, &manifest, "source", err);
}
