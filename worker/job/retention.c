/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/retention.h"

#include "common/base/crashpoint.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/catalog/catalog_retention.h"
#include "worker/job/forget.h"
#include "worker/job/hold.h"

#include <inttypes.h>
#include <stdio.h>

/* One transaction deletes so many: kill -9 between two leaves whole answers behind. */
enum { AT_ONCE = 100 };

typedef struct Taken {
    const Fence *fence;
    ForgetWish *wishes; /* their texts are owned */
    size_t count;
} Taken;

static bool take_one(void *ctx, const Uuid *backup, Text reason, Err *err)
{
    (void)err;
    Taken *taken = ctx;
    taken->wishes = mem_resize(taken->wishes, (taken->count + 1) * sizeof *taken->wishes);
    taken->wishes[taken->count++] =
        (ForgetWish){.backup = *backup, .reason = text_of(mem_text(reason))};
    return true;
}

static void taken_free(Taken *taken)
{
    for (size_t i = 0; i < taken->count; i++)
        mem_free((void *)(uintptr_t)taken->wishes[i].reason.at);
    mem_free(taken->wishes);
    *taken = (Taken){.fence = taken->fence};
}

static bool call_take(Catalog *catalog, void *ctx, Err *err)
{
    Taken *taken = ctx;
    taken_free(taken); /* of a try whose connection broke */
    return catalog_retention_take(catalog, taken->fence, take_one, taken, err);
}

/* The catalogue's facts moved on: the next attempt has a plan of its own. */
static bool take(Job *job, Taken *taken, Err *err)
{
    if (patient_call(job->catalog, call_take, taken, err))
        return true;
    if (strcmp(err->cause, "retention.stale") == 0 ||
        strcmp(err->cause, "retention.last_good") == 0)
        err->code = ERR_BUSY;
    return false;
}

/* What was refused, with its reason; counts the others. */
static void sort_answers(json_t *answers, json_t *refused, uint64_t *forgotten)
{
    size_t i;
    json_t *one;
    json_array_foreach(answers, i, one)
    {
        Text word = json_text_or(one, "answer", TEXT(""));
        if (text_equal(word, TEXT("deleted")) || text_equal(word, TEXT("already")))
            ++*forgotten;
        else
            json_array_append(refused, one);
    }
}

static bool forget_all(Job *job, const Taken *taken, json_t *refused, uint64_t *forgotten, Err *err)
{
    for (size_t at = 0; at < taken->count; at += AT_ONCE) {
        scoped(json_release) json_t *answers = NULL;
        size_t count = taken->count - at < AT_ONCE ? taken->count - at : AT_ONCE;
        if (!job_go_on(job, err) || !forget_wishes(job, taken->wishes + at, count, &answers, err))
            return false;
        sort_answers(answers, refused, forgotten);
    }
    return true;
}

static bool act(Session *session, Job *job, JobResult *result, Err *err)
{
    Taken taken = {.fence = &job->fence};
    uint64_t forgotten = 0, gone = 0;
    json_t *refused = json_array();
    job_phase(job, "plan");
    bool done = take(job, &taken, err);
    CRASHPOINT("retention.taken");
    done = done && forget_all(job, &taken, refused, &forgotten, err) &&
           forget_objects(session, job, &gone, err);
    if (done) {
        result->outcome = json_array_size(refused) == 0 ? OUTCOME_COMPLETED : OUTCOME_PARTIAL;
        snprintf(result->text, sizeof result->text,
                 "%" PRIu64 " of %zu backups forgotten, the objects of %" PRIu64 " are gone",
                 forgotten, taken.count, gone);
        result->answer =
            json_pack("{s:I, s:I, s:O, s:I}", "planned", (json_int_t)taken.count, "forgotten",
                      (json_int_t)forgotten, "refused", refused, "gone", (json_int_t)gone);
    }
    json_decref(refused);
    taken_free(&taken);
    return done;
}

bool retention_run(Job *job, JobResult *result, Err *err)
{
    if (json_is_true(json_object_get(job->params, "hold")))
        return hold_run(job, result, err);
    Session session = {0};
    bool done = session_open(&session, job, SESSION_PRUNE, err) && act(&session, job, result, err);
    session_close(&session);
    return done;
}
