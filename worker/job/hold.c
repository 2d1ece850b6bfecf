/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/hold.h"

#include "common/base/clock.h"
#include "common/base/crashpoint.h"
#include "common/catalog/catalog_retention.h"
#include "common/repo/repo_hold.h"
#include "worker/job/session.h"

#include <stdio.h>

static const int64_t NS_A_S = 1000000000;

typedef struct Said {
    const Fence *fence;
    RetentionHold now;
    bool same;
} Said;

static bool call_now(Catalog *catalog, void *ctx, Err *err)
{
    Said *said = ctx;
    buf_free(&said->now.reason);
    return catalog_hold_now(catalog, said->fence, &said->now, err);
}

static bool call_stored(Catalog *catalog, void *ctx, Err *err)
{
    Said *said = ctx;
    return catalog_hold_stored(catalog, said->fence, said->now.until_ns, &said->same, err);
}

/* Somebody may hold or release while this writes: then it is written once more. */
static bool say(Session *session, Job *job, Said *said, Err *err)
{
    for (said->same = false; !said->same;) {
        if (!job_go_on(job, err) || !patient_call(job->catalog, call_now, said, err))
            return false;
        RepoHold hold = {.backup = said->now.backup,
                         .until_s = said->now.until_ns / NS_A_S,
                         .said_s = clock_wall_ns() / NS_A_S,
                         .reason = said->now.reason}; /* lent */
        if (!repo_hold_put(session->repo, &hold, err))
            return false;
        CRASHPOINT("hold.stored");
        if (!patient_call(job->catalog, call_stored, said, err))
            return false;
    }
    return true;
}

bool hold_run(Job *job, JobResult *result, Err *err)
{
    Session session = {0};
    Said said = {.fence = &job->fence};
    job_phase(job, "hold");
    bool done = session_open(&session, job, SESSION_PRUNE, err) && say(&session, job, &said, err);
    if (done)
        snprintf(result->text, sizeof result->text, "%s in the store",
                 said.now.until_ns == 0 ? "released" : "held");
    buf_free(&said.now.reason);
    session_close(&session);
    return done;
}
