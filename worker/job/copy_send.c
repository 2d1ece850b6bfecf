/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/copy_send.h"

#include "common/base/crashpoint.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/repo/pack.h"
#include "common/repo/repo_copy.h"
#include "common/repo/verify.h"

#include <pthread.h>

enum {
    LANES = 4,  /* a store over a network answers late, not slowly */
    SAMPLE = 8, /* one adopted pack in so many is read back */
};

/* What the lanes of one call share. */
typedef struct Run {
    CopySend *send;
    const CopyPack *packs;
    size_t count, next;
    pthread_mutex_t lock;
    bool failed;
    Err err; /* the first failure */
} Run;

/* --- rate ----------------------------------------------------------------------------------- */

static bool may_go_on(void *ctx, Err *err)
{
    Run *run = ctx;
    pthread_mutex_lock(&run->lock);
    bool failed = run->failed;
    pthread_mutex_unlock(&run->lock);
    if (failed)
        return err_set(err, ERR_CANCELLED, "copy.other_lane", "another lane failed");
    return job_go_on(run->send->job, err);
}

static bool passed(void *ctx, size_t bytes, Err *err)
{
    Run *run = ctx;
    run->send->job->counters.bytes_done += bytes;
    run->send->job->counters.stored += bytes;
    pthread_mutex_lock(&run->lock);
    int64_t until_ns = rate_take(&run->send->rate, bytes);
    pthread_mutex_unlock(&run->lock);
    return rate_wait(until_ns, may_go_on, run, err) && may_go_on(run, err);
}

/* --- one pack ------------------------------------------------------------------------------- */

typedef struct Call {
    const Fence *fence;
    Uuid object;
    const PackRow *row;
    uint64_t pack_no;
    Text why;
} Call;

static bool call_begin(Catalog *catalog, void *ctx, Err *err)
{
    Call *call = ctx;
    return catalog_pack_begin(catalog, call->fence, &call->object, &call->row->pack,
                              call->row->kind, &call->pack_no, err);
}

static bool call_stage(Catalog *catalog, void *ctx, Err *err)
{
    Call *call = ctx;
    return catalog_copy_stage(catalog, call->fence, call->pack_no, &call->object, call->row, err);
}

static bool call_damaged(Catalog *catalog, void *ctx, Err *err)
{
    Call *call = ctx;
    return catalog_copy_damaged(catalog, call->fence, call->row->pack_no, call->why, err);
}

/* Nobody shares it any more, and the next attempt reads another place if there is one. */
static bool is_damaged(Job *job, const PackRow *row, const Err *why, Err *err)
{
    Call call = {.fence = &job->fence, .row = row, .why = text_of(why->text)};
    if (!patient_call(job->catalog, call_damaged, &call, err))
        return false;
    job->counters.errors++;
    return err_set(err, ERR_SOURCE, "copy.damaged",
                   "what is to be copied is damaged where it is read (holdfast damage says what "
                   "needs it): %s",
                   why->text);
}

static void keep(Run *run, const PackRow *row, uint64_t pack_no, const Uuid *object, bool sent)
{
    CopySend *send = run->send;
    pthread_mutex_lock(&run->lock);
    packset_add(&send->here, pack_no);
    if (sent) {
        if (send->count == send->room) {
            send->room = send->room == 0 ? 64 : send->room * 2;
            send->rows = mem_resize(send->rows, send->room * sizeof send->rows[0]);
        }
        PackRow *here = &send->rows[send->count++];
        *here = *row;
        here->pack_no = pack_no;
        here->object = *object;
        send->bytes += row->bytes;
    } else
        send->had++;
    pthread_mutex_unlock(&run->lock);
    send->job->counters.items_done++;
}

static bool send_one(Run *run, const PackRow *row, Err *err)
{
    CopySend *send = run->send;
    Job *job = send->job;
    RepoCopyWatch watch = {run, passed};
    Call call = {.fence = &job->fence, .object = rand_uuid(), .row = row};
    bool whole;
    Err why = {0};
    if (!patient_call(job->catalog, call_begin, &call, err))
        return err_note(err, "announcing a pack");
    CRASHPOINT("copy.begun");
    if (!repo_copy_pack(send->from->store, send->to->store, row, &call.object, &watch, &whole, &why,
                        err))
        return err_note(err, "copying a pack");
    if (!whole)
        return is_damaged(job, row, &why, err);
    CRASHPOINT("copy.durable");
    if (!patient_call(job->catalog, call_stage, &call, err))
        return err_note(err, "staging a pack");
    CRASHPOINT("copy.staged");
    keep(run, row, call.pack_no, &call.object, true);
    return true;
}

/* What another attempt staged must be there in its size; of every few the hash is read back. */
static bool still_there(Run *run, const CopyPack *pack, bool *there, Err *err)
{
    char name[PACK_NAME];
    uint64_t size = 0;
    Err why = {0};
    Session *to = run->send->to;
    PackRow row = pack->row;
    row.object = pack->have_object;
    *there = true;
    if (!pack->have_staged)
        return true;
    if (pack->have % SAMPLE == 0)
        return verify_stored(to->repo, &row, there, &why, err);
    pack_name(&row.object, name);
    if (!store_head(to->store, name, there, &size, err))
        return false;
    *there = *there && size == row.bytes;
    return true;
}

static bool bring(Run *run, const CopyPack *pack, Err *err)
{
    bool there = false;
    if (!may_go_on(run, err) || (pack->have != 0 && !still_there(run, pack, &there, err)))
        return false;
    if (!there)
        return send_one(run, &pack->row, err);
    run->send->job->counters.bytes_done += pack->row.bytes;
    keep(run, &pack->row, pack->have, &pack->have_object, false);
    return true;
}

/* --- lanes ---------------------------------------------------------------------------------- */

static const CopyPack *take(Run *run)
{
    pthread_mutex_lock(&run->lock);
    const CopyPack *pack = run->failed || run->next == run->count ? NULL : &run->packs[run->next++];
    pthread_mutex_unlock(&run->lock);
    return pack;
}

static void *lane(void *ctx)
{
    Run *run = ctx;
    const CopyPack *pack;
    while ((pack = take(run)) != NULL) {
        Err err = {0};
        if (bring(run, pack, &err))
            continue;
        pthread_mutex_lock(&run->lock);
        if (!run->failed)
            run->err = err;
        run->failed = true;
        pthread_mutex_unlock(&run->lock);
    }
    return NULL;
}

bool copy_send(CopySend *send, const CopyPack *packs, size_t count, Err *err)
{
    pthread_t threads[LANES];
    size_t started = 0;
    Run run = {.send = send, .packs = packs, .count = count};
    pthread_mutex_init(&run.lock, NULL);
    for (; started + 1 < LANES && started + 1 < count; started++)
        if (pthread_create(&threads[started], NULL, lane, &run) != 0)
            break; /* fewer lanes do it too */
    lane(&run);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&run.lock);
    if (run.failed)
        *err = run.err;
    return !run.failed;
}

void copy_send_free(CopySend *send)
{
    packset_free(&send->here);
    mem_free(send->rows);
}
