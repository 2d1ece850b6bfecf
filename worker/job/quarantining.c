/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/quarantining.h"

#include "common/base/crashpoint.h"
#include "common/base/mem.h"
#include "common/catalog/catalog_orphan.h"
#include "common/repo/pack.h"
#include "common/repo/quarantine.h"

enum { BATCH = 500 };

typedef struct Aside {
    Session *session;
    Job *job;
    const Fence *fence;
    QuarantineCounts *counts;
    OrphanDue *due;
    size_t count;
    const OrphanDue *one;
    uint64_t pack_no;
    OrphanDue damaged;
    bool may;
    Text state, error;
} Aside;

static bool call_due(Catalog *catalog, void *ctx, Err *err)
{
    Aside *aside = ctx;
    return catalog_orphan_due(catalog, aside->fence, BATCH, &aside->due, &aside->count, err);
}

static bool call_moving(Catalog *catalog, void *ctx, Err *err)
{
    Aside *aside = ctx;
    return catalog_orphan_moving(catalog, aside->fence, aside->one->no, &aside->may, err);
}

static bool call_moved(Catalog *catalog, void *ctx, Err *err)
{
    Aside *aside = ctx;
    return catalog_orphan_moved(catalog, aside->fence, aside->one->no, aside->state, aside->error,
                                err);
}

static bool call_damaged(Catalog *catalog, void *ctx, Err *err)
{
    Aside *aside = ctx;
    return catalog_orphan_damaged(catalog, aside->fence, aside->pack_no, &aside->damaged, err);
}

static bool ended(Aside *aside, const char *state, const char *why, Err *err)
{
    aside->state = text_of(state);
    aside->error = text_of(why);
    return patient_call(aside->job->catalog, call_moved, aside, err);
}

/* Does it speak of one object (locked, not readable), and not of the way to all of them? */
static bool about_one(const Err *err)
{
    return err->code == ERR_DENIED || err->code == ERR_IO || err->code == ERR_CORRUPT ||
           err->code == ERR_CONFLICT || err->code == ERR_INVALID || err->code == ERR_MISSING;
}

/* The store did not let it go; why is told, and the next object is looked at. */
static bool kept(Aside *aside, Err *why, Err *err)
{
    if (!about_one(why)) {
        *err = *why;
        return err_note(err, "laying %s aside", aside->one->name);
    }
    job_log(aside->job, LOG_WARN, "orphan.kept", "%s stays where it is: %s: %s", aside->one->name,
            why->cause, why->text);
    aside->counts->kept++;
    return ended(aside, "kept", why->text, err);
}

/* asks: the catalogue may have another mind by now; of a damaged pack it cannot. */
static bool move_one(Aside *aside, bool asks, bool *gone, Err *err)
{
    const OrphanDue *one = aside->one;
    Store *store = aside->session->store;
    Err why = {0};
    bool found = false, copied = false;
    uint64_t size;
    *gone = false;
    aside->may = true;
    if (asks && !patient_call(aside->job->catalog, call_moving, aside, err))
        return false;
    if (!aside->may)
        return true;
    CRASHPOINT("orphan.moving");
    if (!quarantine_copy(store, one->name, one->place, &found, &why))
        return kept(aside, &why, err);
    CRASHPOINT("orphan.copied");
    if (asks && !patient_call(aside->job->catalog, call_moving, aside, err))
        return false;
    if (!aside->may)
        return true;
    if (!store_remove(store, one->name, &why) ||
        !store_head(store, one->place, &copied, &size, &why))
        return kept(aside, &why, err);
    CRASHPOINT("orphan.removed");
    if (!ended(aside, copied ? "quarantined" : "gone", "", err))
        return false;
    CRASHPOINT("orphan.quarantined");
    aside->counts->moved += copied;
    aside->counts->moved_bytes += copied ? size : 0;
    *gone = true;
    return true;
}

static bool delete_one(Aside *aside, Err *err)
{
    Err why = {0};
    if (!store_remove(aside->session->store, aside->one->place, &why))
        return kept(aside, &why, err);
    CRASHPOINT("orphan.deleted");
    aside->counts->deleted++;
    aside->counts->deleted_bytes += aside->one->bytes;
    return ended(aside, "deleted", "", err);
}

static bool each(Aside *aside, uint64_t *room, Err *err)
{
    for (size_t i = 0; i < aside->count; i++) {
        bool gone;
        aside->one = &aside->due[i];
        if (*room == 0) {
            aside->counts->left += aside->count - i;
            return true;
        }
        --*room;
        if (!job_go_on(aside->job, err) ||
            !(aside->one->over ? delete_one(aside, err) : move_one(aside, true, &gone, err)))
            return false;
        aside->job->counters.items_done++;
    }
    return true;
}

bool quarantining_run(Session *session, Job *job, QuarantineCounts *counts, Err *err)
{
    Aside aside = {.session = session, .job = job, .fence = &job->fence, .counts = counts};
    uint64_t room = allow_prune_packs(job->settings->allow), before;
    bool fine;
    job_phase(job, "quarantine");
    do {
        before = counts->moved + counts->deleted;
        aside.count = 0;
        fine = patient_call(job->catalog, call_due, &aside, err) && each(&aside, &room, err);
        mem_free(aside.due);
        aside.due = NULL;
    } while (fine && aside.count > 0 && room > 0 && counts->moved + counts->deleted > before);
    return fine;
}

bool quarantining_damaged(Session *session, Job *job, const DeadPack *pack, bool *gone,
                          bool *laid_aside, Err *err)
{
    QuarantineCounts counts = {0};
    Aside aside = {.session = session,
                   .job = job,
                   .fence = &job->fence,
                   .counts = &counts,
                   .pack_no = pack->no};
    char name[PACK_NAME];
    uint64_t size;
    bool late = true;
    pack_name(&pack->object, name);
    *gone = true;
    *laid_aside = false;
    /* One that a run before let go is looked for again, as a late write may have brought it back.
     */
    if (pack->again && !store_head(session->store, name, &late, &size, err))
        return false;
    if (!late)
        return true;
    aside.one = &aside.damaged;
    bool good =
        patient_call(job->catalog, call_damaged, &aside, err) && move_one(&aside, false, gone, err);
    *laid_aside = counts.moved > 0;
    return good;
}
