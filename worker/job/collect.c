/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/collect.h"

#include "common/base/crashpoint.h"
#include "common/base/mem.h"
#include "common/catalog/catalog_collect.h"
#include "common/repo/repo_collect.h"
#include "worker/job/quarantining.h"

enum { FLIP_MOST = 10000, DELETE_BATCH = 200, INDEX_BATCH = 200 };

typedef struct Collect {
    Session *session;
    Job *job;
    const Fence *fence;
    CollectCounts *counts;
    bool anyway;
    uint64_t ceiling; /* packs that may still go in this run */
    CollectLook look;
    RepackLook repack;
    CollectCondemned condemned;
    CollectFlipped flipped;
    uint64_t epoch, confirmed, after;
    DeadPack *dead;
    DeadIndex *indexes;
    size_t count;
} Collect;

static bool call_look(Catalog *catalog, void *ctx, Err *err)
{
    Collect *c = ctx;
    return catalog_collect_look(catalog, c->fence, &c->look, err);
}

static bool call_repack_look(Catalog *catalog, void *ctx, Err *err)
{
    Collect *c = ctx;
    return catalog_repack_look(catalog, c->fence, &c->repack, err);
}

static bool call_condemn(Catalog *catalog, void *ctx, Err *err)
{
    Collect *c = ctx;
    return catalog_collect_condemn(catalog, c->fence, c->anyway, &c->condemned, err);
}

static bool call_flip(Catalog *catalog, void *ctx, Err *err)
{
    Collect *c = ctx;
    size_t most = c->ceiling < FLIP_MOST ? (size_t)c->ceiling : FLIP_MOST;
    return catalog_collect_flip(catalog, c->fence, most, &c->flipped, err);
}

static bool call_epoch(Catalog *catalog, void *ctx, Err *err)
{
    Collect *c = ctx;
    return catalog_collect_epoch(catalog, c->fence, &c->epoch, &c->confirmed, err);
}

static bool call_confirm(Catalog *catalog, void *ctx, Err *err)
{
    Collect *c = ctx;
    return catalog_collect_confirm(catalog, c->fence, c->epoch, err);
}

static bool call_dead(Catalog *catalog, void *ctx, Err *err)
{
    Collect *c = ctx;
    return catalog_collect_dead(catalog, c->fence, c->after, DELETE_BATCH, &c->dead, &c->count,
                                err);
}

static bool call_gone(Catalog *catalog, void *ctx, Err *err)
{
    Collect *c = ctx;
    scoped(mem_release) uint64_t *nos = mem_array(uint64_t, c->count);
    for (size_t i = 0; i < c->count; i++)
        nos[i] = c->dead[i].no;
    return catalog_collect_gone(catalog, c->fence, nos, c->count, err);
}

static bool call_indexes(Catalog *catalog, void *ctx, Err *err)
{
    Collect *c = ctx;
    return catalog_collect_indexes(catalog, c->fence, INDEX_BATCH, &c->indexes, &c->count, err);
}

static bool call_indexes_gone(Catalog *catalog, void *ctx, Err *err)
{
    Collect *c = ctx;
    return catalog_collect_indexes_gone(catalog, c->fence, c->indexes, c->count, err);
}

static bool condemn(Collect *c, Err *err)
{
    job_phase(c->job, "condemn");
    if (!patient_call(c->job->catalog, call_condemn, c, err))
        return false;
    c->counts->condemned = c->condemned.condemned;
    c->counts->condemned_bytes = c->condemned.bytes;
    c->counts->pardoned = c->condemned.pardoned;
    c->counts->live = c->condemned.live;
    CRASHPOINT("collect.condemned");
    return true;
}

/* Some packs at a time, so that commits wait for moments only. */
static bool flip(Collect *c, Err *err)
{
    job_phase(c->job, "flip");
    for (;;) {
        c->flipped = (CollectFlipped){0};
        if (!job_go_on(c->job, err) || !patient_call(c->job->catalog, call_flip, c, err))
            return false;
        c->counts->flipped += c->flipped.flipped;
        c->counts->pardoned += c->flipped.pardoned;
        c->counts->spared = c->flipped.spared;
        c->ceiling -= c->flipped.flipped < c->ceiling ? c->flipped.flipped : c->ceiling;
        CRASHPOINT("collect.flipped");
        if (c->flipped.flipped + c->flipped.pardoned == 0 || c->ceiling == 0)
            return true;
    }
}

/* From here on a catalogue that is set back can tell that it was. */
static bool bring_epoch(Collect *c, Err *err)
{
    job_phase(c->job, "epoch");
    if (!patient_call(c->job->catalog, call_epoch, c, err))
        return false;
    if (c->epoch == c->confirmed && c->epoch == repo_facts(c->session->repo)->epoch)
        return true;
    CRASHPOINT("collect.epoch");
    if (!repo_epoch_put(c->session->repo, c->epoch, c->fence->job, c->fence->attempt, err))
        return false;
    CRASHPOINT("collect.told");
    if (!patient_call(c->job->catalog, call_confirm, c, err))
        return false;
    CRASHPOINT("collect.confirmed");
    return true;
}

/* What is damaged is evidence: it is laid aside. */
static bool delete_one(Collect *c, const DeadPack *pack, bool *gone, Err *err)
{
    bool aside;
    *gone = true;
    if (!pack->damaged)
        return repo_pack_remove(c->session->repo, &pack->object, err);
    if (!quarantining_damaged(c->session, c->job, pack, gone, &aside, err))
        return false;
    c->counts->quarantined += aside;
    return true;
}

static void count_gone(Collect *c)
{
    for (size_t i = 0; i < c->count; i++) {
        const DeadPack *pack = &c->dead[i];
        c->counts->again += pack->again;
        c->counts->deleted += !pack->again && !pack->damaged;
        c->counts->freed += pack->again || pack->damaged ? 0 : pack->bytes;
        c->job->counters.items_done++;
    }
}

/* A damaged pack that the store does not let go waits for the next run. */
static bool delete_batch(Collect *c, uint64_t *room, Err *err)
{
    size_t done = 0;
    if (c->count > *room) {
        c->counts->left += c->count - *room;
        c->count = (size_t)*room;
    }
    *room -= c->count;
    for (size_t i = 0; i < c->count; i++) {
        bool gone;
        if (!job_go_on(c->job, err) || !delete_one(c, &c->dead[i], &gone, err))
            return false;
        c->after = c->dead[i].no;
        if (gone)
            c->dead[done++] = c->dead[i];
    }
    CRASHPOINT("collect.deleted");
    c->count = done;
    if (done > 0 && !patient_call(c->job->catalog, call_gone, c, err))
        return false;
    count_gone(c);
    CRASHPOINT("collect.gone");
    return true;
}

static bool delete_packs(Collect *c, Err *err)
{
    uint64_t room = allow_prune_packs(c->job->settings->allow);
    size_t found;
    bool fine;
    job_phase(c->job, "delete");
    c->after = 0;
    do {
        c->count = 0;
        fine = patient_call(c->job->catalog, call_dead, c, err);
        found = c->count;
        fine = fine && delete_batch(c, &room, err);
        mem_free(c->dead);
        c->dead = NULL;
    } while (fine && found > 0 && room > 0);
    return fine;
}

/* Of sessions all packs of which are gone. */
static bool delete_indexes(Collect *c, Err *err)
{
    bool fine;
    do {
        c->count = 0;
        fine = patient_call(c->job->catalog, call_indexes, c, err);
        for (size_t i = 0; fine && i < c->count; i++)
            fine = job_go_on(c->job, err) &&
                   repo_index_remove(c->session->repo, &c->indexes[i].object, err);
        fine = fine && (c->count == 0 || patient_call(c->job->catalog, call_indexes_gone, c, err));
        c->counts->indexes += fine ? c->count : 0;
        mem_free(c->indexes);
        c->indexes = NULL;
    } while (fine && c->count > 0);
    return fine;
}

bool collect_run(Session *session, Job *job, bool anyway, CollectCounts *counts, Err *err)
{
    Collect c = {.session = session,
                 .job = job,
                 .fence = &job->fence,
                 .counts = counts,
                 .anyway = anyway,
                 .ceiling = allow_prune_packs(job->settings->allow)};
    return condemn(&c, err) && flip(&c, err) && bring_epoch(&c, err) && delete_packs(&c, err) &&
           delete_indexes(&c, err);
}

bool collect_unused(Job *job, RepackLook *out, Err *err)
{
    Collect c = {.job = job, .fence = &job->fence};
    if (!patient_call(job->catalog, call_repack_look, &c, err))
        return false;
    *out = c.repack;
    return true;
}

bool collect_preview(Job *job, CollectCounts *counts, RepackLook *repack, Err *err)
{
    Collect c = {.job = job, .fence = &job->fence};
    if (!patient_call(job->catalog, call_look, &c, err) || !collect_unused(job, repack, err))
        return false;
    counts->condemned = c.look.unused;
    counts->condemned_bytes = c.look.unused_bytes;
    counts->flipped = c.look.condemned;
    counts->deleted = c.look.dying;
    counts->damaged = c.look.damaged;
    counts->live = c.look.live;
    return true;
}
