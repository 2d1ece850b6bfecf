/* SPDX-License-Identifier: Apache-2.0
 * Several connections at the same instant: one claim of many, a commit against the reaper. */
#include "common/base/clock.h"
#include "common/base/rand.h"
#include "tests/integration/catalog/check.h"

#include <pthread.h>
#include <time.h>

enum { WORKERS = 8, ROUNDS = 25 };

static Fleet *fleet;
static FleetWorker workers[WORKERS];
static Catalog *second_scheduler;

typedef struct Claiming {
    pthread_barrier_t *start;
    FleetWorker *worker;
    TicketRow ticket;
    Uuid claim;
    ClaimStatus status;
    uint64_t attempt;
} Claiming;

static void *claim_beside(void *ctx)
{
    Claiming *claiming = ctx;
    ClaimAnswer answer;
    pthread_barrier_wait(claiming->start);
    OK(catalog_job_claim(claiming->worker->c, &claiming->worker->instance, claiming->ticket.job,
                         claiming->ticket.dispatch, &claiming->claim, &answer, &err));
    claiming->status = answer.status;
    claiming->attempt = answer.attempt;
    catalog_job_claim_free(&answer);
    return NULL;
}

static size_t claim_together(Claiming claims[WORKERS])
{
    pthread_barrier_t barrier;
    pthread_t threads[WORKERS];
    size_t granted = 0;
    pthread_barrier_init(&barrier, NULL, WORKERS);
    for (size_t i = 0; i < WORKERS; i++) {
        claims[i].start = &barrier;
        claims[i].worker = &workers[i];
        claims[i].claim = rand_uuid();
        pthread_create(&threads[i], NULL, claim_beside, &claims[i]);
    }
    for (size_t i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
        granted += claims[i].status == CLAIM_GRANTED;
    }
    pthread_barrier_destroy(&barrier);
    return granted;
}

static void end_all(const Claiming claims[WORKERS])
{
    char now[16];
    bool fenced;
    for (size_t i = 0; i < WORKERS; i++) {
        if (claims[i].status != CLAIM_GRANTED)
            continue;
        Fence fence = {claims[i].ticket.job, claims[i].attempt, claims[i].claim};
        OK(catalog_job_finish(workers[i].c, &fence, &(JobVerdictRow){.outcome = OUTCOME_FAILED},
                              now, &fenced, &err));
        assert_false(fenced);
    }
}

static void of_eight_workers_with_the_same_ticket_one_gets_the_job(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        Claiming claims[WORKERS] = {0};
        TicketRow ticket = fleet_ticket(fleet, "s1");
        for (size_t i = 0; i < WORKERS; i++)
            claims[i].ticket = ticket;
        assert_int_equal(claim_together(claims), 1);
        end_all(claims);
    }
}

static void of_eight_jobs_of_one_source_one_runs_and_the_others_are_deferred(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        Claiming claims[WORKERS] = {0};
        JobCreated created;
        for (size_t i = 0; i < WORKERS; i++) {
            OK(catalog_job_create(
                fleet->scheduler,
                &(JobRequest){.kind = TEXT("backup"), .source = TEXT("s2"), .actor = TEXT("t")},
                &created, &err));
            claims[i].ticket = (TicketRow){.job = created.job, .dispatch = 1};
        }
        assert_int_equal(claim_together(claims), 1);
        for (size_t i = 0; i < WORKERS; i++)
            assert_true(claims[i].status == CLAIM_GRANTED || claims[i].status == CLAIM_BUSY);
        end_all(claims);
        fleet_do(fleet,
                 "UPDATE job SET state = 'cancelled', finished_at = now() WHERE state = 'pending'");
    }
}

static void a_limit_of_three_is_never_exceeded_by_eight_claims(void **state)
{
    (void)state;
    fleet_do(fleet, "SELECT limit_resize('pool:fra', 3)");
    for (int round = 0; round < 5; round++) {
        Claiming claims[WORKERS] = {0};
        JobCreated created;
        for (size_t i = 0; i < WORKERS; i++) {
            char name[8];
            snprintf(name, sizeof name, "s%zu", i + 1);
            OK(catalog_job_create(
                fleet->scheduler,
                &(JobRequest){.kind = TEXT("backup"), .source = text_of(name), .actor = TEXT("t")},
                &created, &err));
            claims[i].ticket = (TicketRow){.job = created.job, .dispatch = 1};
        }
        size_t granted = claim_together(claims);
        assert_true(granted >= 1 && granted <= 3);
        assert_int_equal(
            fleet_count(fleet, "SELECT count(*) FROM limit_slot WHERE job IS NOT NULL"),
            (int64_t)granted);
        end_all(claims);
        fleet_do(fleet,
                 "UPDATE job SET state = 'cancelled', finished_at = now() WHERE state = 'pending'");
    }
    fleet_do(fleet, "SELECT limit_resize('pool:fra', NULL)");
}

/* --- against the reaper ---------------------------------------------------------------------- */

typedef struct Ending {
    FleetWorker *worker;
    Fence fence;
    BackupRow row;
    CommitAnswer answer;
    pthread_barrier_t *start;
    long delay_us;
} Ending;

static void *commit_beside(void *ctx)
{
    Ending *ending = ctx;
    char detail[256];
    pthread_barrier_wait(ending->start);
    nanosleep(&(struct timespec){.tv_nsec = ending->delay_us * 1000}, NULL);
    OK(catalog_backup_commit(ending->worker->c, &ending->fence, &ending->row, &ending->answer,
                             detail, &err));
    return NULL;
}

typedef struct Reaping {
    pthread_barrier_t *start;
    size_t lost;
} Reaping;

static void *reap_beside(void *ctx)
{
    Reaping *reaping = ctx;
    pthread_barrier_wait(reaping->start);
    for (int i = 0; i < 4; i++) {
        ReapReport report;
        OK(catalog_reap(second_scheduler, &report, &err));
        reaping->lost += report.count;
        catalog_reap_free(&report);
    }
    return NULL;
}

static void a_commit_and_the_reaper_never_both_win(void **state)
{
    size_t commits = 0, losses = 0;
    (void)state;
    fleet_do(fleet, "UPDATE setting SET value = 0 WHERE name = 'looks_s'");
    for (int round = 0; round < ROUNDS * 2; round++) {
        pthread_barrier_t barrier;
        pthread_t one, other;
        Ending ending = {.worker = &workers[0], .start = &barrier, .delay_us = (round % 8) * 400};
        Reaping reaping = {.start = &barrier};
        char sql[200];
        pthread_barrier_init(&barrier, NULL, 2);
        ending.fence = fleet_claim(&workers[0], fleet_ticket(fleet, "s3"));
        PackRow pack = fleet_stage(workers[0].c, &ending.fence, 1, 1);
        ending.row = fleet_backup(&pack.pack_no, 1, commits + 1);
        fleet_do(fleet, "UPDATE lease SET expires_at = clock_timestamp() - interval '1 second'");
        pthread_create(&one, NULL, commit_beside, &ending);
        pthread_create(&other, NULL, reap_beside, &reaping);
        pthread_join(one, NULL);
        pthread_join(other, NULL);
        pthread_barrier_destroy(&barrier);
        bool committed = ending.answer == COMMIT_OK;
        assert_true(committed || ending.answer == COMMIT_FENCED);
        assert_int_equal(committed + (int)reaping.lost, 1);
        snprintf(sql, sizeof sql, "SELECT count(*) FROM backup WHERE job = %llu",
                 (unsigned long long)ending.fence.job);
        assert_int_equal(fleet_count(fleet, sql), committed);
        commits += committed;
        losses += reaping.lost;
        fleet_do(fleet,
                 "UPDATE job SET state = 'cancelled', finished_at = now() WHERE state = 'pending'");
    }
    assert_int_equal(commits + losses, ROUNDS * 2);
}

typedef struct Beating {
    pthread_barrier_t *start;
    Fence fence;
    bool held;
} Beating;

static void *beat_beside(void *ctx)
{
    Beating *beating = ctx;
    BeatAnswer answer;
    BeatSummary summary;
    pthread_barrier_wait(beating->start);
    OK(catalog_worker_beat(workers[0].c, &workers[0].instance, &(BeatRow){.fence = beating->fence},
                           1, &answer, &summary, &err));
    beating->held = answer.held;
    return NULL;
}

static void a_beat_that_was_answered_held_is_not_lost_at_that_moment(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        pthread_barrier_t barrier;
        pthread_t one, other;
        ReapReport report;
        Beating beating = {.start = &barrier};
        Reaping reaping = {.start = &barrier};
        char now[16];
        bool fenced;
        pthread_barrier_init(&barrier, NULL, 2);
        beating.fence = fleet_claim(&workers[0], fleet_ticket(fleet, "s4"));
        fleet_do(fleet, "UPDATE lease SET expires_at = clock_timestamp() - interval '1 second'");
        OK(catalog_reap(second_scheduler, &report, &err)); /* the first look is over */
        catalog_reap_free(&report);
        pthread_create(&one, NULL, beat_beside, &beating);
        pthread_create(&other, NULL, reap_beside, &reaping);
        pthread_join(one, NULL);
        pthread_join(other, NULL);
        pthread_barrier_destroy(&barrier);
        assert_int_equal(beating.held + (int)reaping.lost, 1);
        OK(catalog_job_finish(workers[0].c, &beating.fence,
                              &(JobVerdictRow){.outcome = OUTCOME_FAILED}, now, &fenced, &err));
        assert_int_equal(fenced, !beating.held);
        fleet_do(fleet,
                 "UPDATE job SET state = 'cancelled', finished_at = now() WHERE state = 'pending'");
    }
}

/* --- the server goes away -------------------------------------------------------------------- */

static void a_server_that_dies_and_returns_is_unreachable_and_then_as_before(void **state)
{
    char now[16], detail[256];
    bool fenced;
    CommitAnswer answer;
    (void)state;
    if (fleet->pooler != NULL)
        skip(); /* a pooler lets its clients wait for the server to return */
    FleetWorker *worker = &workers[0];
    Fence fence = fleet_claim(worker, fleet_ticket(fleet, "s5"));
    PackRow pack = fleet_stage(worker->c, &fence, 5, 1);
    BackupRow row = fleet_backup(&pack.pack_no, 1, 1);
    postgres_kill(fleet->pg);
    REFUSED("catalogue.unreachable",
            catalog_backup_commit(worker->c, &fence, &row, &answer, detail, &err));
    assert_false(catalog_ok(worker->c));
    REFUSED("catalogue.unreachable", catalog_reset(worker->c, &err));
    postgres_again(fleet->pg);
    OK(catalog_reset(worker->c, &err));
    OK(catalog_reset(fleet->scheduler, &err));
    OK(catalog_reset(second_scheduler, &err));
    OK(catalog_backup_commit(worker->c, &fence, &row, &answer, detail, &err));
    assert_int_equal(answer, COMMIT_OK);
    OK(catalog_backup_commit(worker->c, &fence, &row, &answer, detail, &err));
    assert_int_equal(answer, COMMIT_ALREADY);
    OK(catalog_job_finish(worker->c, &fence, &(JobVerdictRow){.outcome = OUTCOME_FAILED}, now,
                          &fenced, &err));
    assert_true(fenced);
}

static int start(void **state)
{
    (void)state;
    fleet = fleet_start();
    fleet_policy(fleet, WORKERS, "");
    fleet_do(fleet, "UPDATE setting SET value = 600 WHERE name IN ('lease_s', 'liveness_s')");
    for (int i = 0; i < WORKERS; i++) {
        char name[8];
        snprintf(name, sizeof name, "w%d", i + 1);
        workers[i] = fleet_worker(fleet, name, false);
    }
    second_scheduler = fleet_connect(fleet, "holdfast_scheduler");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    for (int i = 0; i < WORKERS; i++)
        fleet_worker_close(&workers[i]);
    catalog_close(second_scheduler);
    fleet_settled(fleet); /* each case ends or cancels what it began */
    fleet_stop(fleet);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_eight_workers_with_the_same_ticket_one_gets_the_job),
        cmocka_unit_test(of_eight_jobs_of_one_source_one_runs_and_the_others_are_deferred),
        cmocka_unit_test(a_limit_of_three_is_never_exceeded_by_eight_claims),
        cmocka_unit_test(a_commit_and_the_reaper_never_both_win),
        cmocka_unit_test(a_beat_that_was_answered_held_is_not_lost_at_that_moment),
        cmocka_unit_test(a_server_that_dies_and_returns_is_unreachable_and_then_as_before),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
