/* SPDX-License-Identifier: Apache-2.0
 * Claiming, deferring, retrying, losing: what the job machine answers in each case. */
#include "common/base/clock.h"
#include "common/base/rand.h"
#include "common/catalog/catalog_policy.h"
#include "tests/integration/catalog/check.h"

#include <math.h>
#include <time.h>

static Fleet *fleet;
static FleetWorker one, two;

static void pause_ms(long ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static ClaimStatus claim(FleetWorker *worker, TicketRow ticket, char missing[256])
{
    Uuid uuid = rand_uuid();
    ClaimAnswer answer;
    OK(catalog_job_claim(worker->c, &worker->instance, ticket.job, ticket.dispatch, &uuid, &answer,
                         &err));
    ClaimStatus status = answer.status;
    snprintf(missing, 256, "%s", answer.missing);
    catalog_job_claim_free(&answer);
    return status;
}

static void finish(FleetWorker *worker, const Fence *fence, JobOutcome outcome, bool retry,
                   const char *wanted)
{
    char now[16];
    bool fenced;
    JobVerdictRow verdict = {.outcome = outcome,
                             .code = TEXT("source"),
                             .cause = TEXT("source.test"),
                             .text = TEXT("it broke"),
                             .retry = retry};
    OK(catalog_job_finish(worker->c, fence, &verdict, now, &fenced, &err));
    assert_string_equal(now, wanted);
}

static uint32_t fra(void)
{
    return (uint32_t)fleet_count(fleet, "SELECT no FROM pool WHERE name = 'fra'");
}

static TicketRow next_ticket(uint64_t job)
{
    TicketList list;
    TicketRow found = {0};
    OK(catalog_dispatch_pick(fleet->scheduler, fra(), 100, &list, &err));
    for (size_t i = 0; i < list.count; i++)
        if (list.rows[i].job == job)
            found = list.rows[i];
    catalog_tickets_free(&list);
    return found;
}

static void the_same_claim_again_is_the_same_grant_and_another_one_is_stale(void **state)
{
    TicketRow ticket = fleet_ticket(fleet, "s1");
    Uuid uuid = rand_uuid();
    ClaimAnswer first, again;
    char missing[256];
    (void)state;
    OK(catalog_job_claim(one.c, &one.instance, ticket.job, ticket.dispatch, &uuid, &first, &err));
    OK(catalog_job_claim(one.c, &one.instance, ticket.job, ticket.dispatch, &uuid, &again, &err));
    assert_int_equal(first.status, CLAIM_GRANTED);
    assert_int_equal(again.status, CLAIM_GRANTED);
    assert_int_equal(first.attempt, again.attempt);
    assert_true(text_equal(buf_text(&first.order), buf_text(&again.order)));
    Fence fence = {ticket.job, first.attempt, uuid};
    catalog_job_claim_free(&first);
    catalog_job_claim_free(&again);
    assert_int_equal(claim(&one, ticket, missing), CLAIM_STALE);
    assert_int_equal(claim(&two, ticket, missing), CLAIM_STALE);
    finish(&one, &fence, OUTCOME_FAILED, false, "failed");
}

static ClaimRow claim_row(TicketRow ticket)
{
    return (ClaimRow){.job = ticket.job, .dispatch = ticket.dispatch, .claim = rand_uuid()};
}

static void several_claims_have_each_their_own_answer(void **state)
{
    TicketRow first = fleet_ticket(fleet, "s1"), second = fleet_ticket(fleet, "s2");
    ClaimRow rows[] = {claim_row(second), claim_row((TicketRow){.job = 999999, .dispatch = 1}),
                       claim_row(first)};
    ClaimAnswer answers[3];
    char wanted[40];
    (void)state;
    OK(catalog_job_claims(one.c, &one.instance, rows, 3, answers, &err));
    assert_int_equal(answers[0].status, CLAIM_GRANTED);
    assert_int_equal(answers[1].status, CLAIM_STALE);
    assert_int_equal(answers[2].status, CLAIM_GRANTED);
    for (size_t i = 0; i < 3; i += 2) {
        Fence fence = {rows[i].job, answers[i].attempt, rows[i].claim};
        snprintf(wanted, sizeof wanted, "\"job\": %llu,", (unsigned long long)rows[i].job);
        buf_add_byte(&answers[i].order, '\0');
        assert_non_null(strstr((const char *)answers[i].order.at, wanted));
        finish(&one, &fence, OUTCOME_FAILED, false, "failed");
    }
    for (size_t i = 0; i < 3; i++)
        catalog_job_claim_free(&answers[i]);
}

static void of_several_claims_that_fail_none_is_granted(void **state)
{
    ClaimRow rows[] = {claim_row(fleet_ticket(fleet, "s1")), claim_row(fleet_ticket(fleet, "s2"))};
    ClaimAnswer answers[2];
    Err why = {0};
    (void)state;
    /* The second finds no room for its lease. */
    fleet_do(fleet, "CREATE FUNCTION full_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF "
                    "NEW.job = (SELECT max(id) FROM holdfast.job) THEN RAISE 'full' USING ERRCODE "
                    "= '53100'; END IF; RETURN NEW; END $$; CREATE TRIGGER full_up BEFORE INSERT "
                    "ON lease FOR EACH ROW EXECUTE FUNCTION full_up()");
    assert_false(catalog_job_claims(one.c, &one.instance, rows, 2, answers, &why));
    assert_int_equal(why.code, ERR_FULL);
    fleet_do(fleet, "DROP TRIGGER full_up ON lease; DROP FUNCTION full_up");
    assert_int_equal(fleet_count(fleet, "SELECT count(*) FROM job WHERE state = 'running'"), 0);
    OK(catalog_job_claims(one.c, &one.instance, rows, 2, answers, &err));
    for (size_t i = 0; i < 2; i++) {
        Fence fence = {rows[i].job, answers[i].attempt, rows[i].claim};
        assert_int_equal(answers[i].status, CLAIM_GRANTED);
        catalog_job_claim_free(&answers[i]);
        finish(&one, &fence, OUTCOME_FAILED, false, "failed");
    }
}

static void an_old_ticket_is_stale_and_harmless(void **state)
{
    TicketRow ticket = fleet_ticket(fleet, "s1"), old = ticket;
    char missing[256];
    (void)state;
    Fence fence = fleet_claim(&one, ticket);
    finish(&one, &fence, OUTCOME_RELEASED, false, "pending");
    TicketRow young = next_ticket(ticket.job);
    assert_true(young.dispatch > old.dispatch);
    assert_int_equal(claim(&two, old, missing), CLAIM_STALE);
    fence = fleet_claim(&two, young);
    finish(&two, &fence, OUTCOME_FAILED, false, "failed");
}

static void a_busy_source_defers_and_says_which_job_has_it(void **state)
{
    char missing[256], why[512];
    (void)state;
    TicketRow first = fleet_ticket(fleet, "s1");
    Fence fence = fleet_claim(&one, first);
    JobCreated created;
    OK(catalog_job_create(
        fleet->scheduler,
        &(JobRequest){.kind = TEXT("backup"), .source = TEXT("s1"), .actor = TEXT("t")}, &created,
        &err));
    assert_int_equal(next_ticket(created.job).job, 0); /* the dispatcher holds it back */
    fleet_ask(fleet, "SELECT verdict || ' ' || code FROM decision ORDER BY id DESC LIMIT 1", why);
    assert_string_equal(why, "deferred lane.busy");
    /* A ticket that got out anyway is answered by the constraint. */
    assert_int_equal(claim(&two, (TicketRow){.job = created.job, .dispatch = 1}, missing),
                     CLAIM_BUSY);
    assert_non_null(strstr(missing, "is running"));
    assert_int_equal(fleet_count(fleet, "SELECT deferrals FROM job ORDER BY id DESC LIMIT 1"), 1);
    assert_int_equal(fleet_count(fleet, "SELECT failures FROM job ORDER BY id DESC LIMIT 1"), 0);
    finish(&one, &fence, OUTCOME_FAILED, false, "failed");
    pause_ms(250);
    fence = fleet_claim(&two, next_ticket(created.job));
    finish(&two, &fence, OUTCOME_FAILED, false, "failed");
}

static void a_full_limit_defers_and_frees_with_its_job(void **state)
{
    char missing[256];
    (void)state;
    TicketRow first = fleet_ticket(fleet, "s1"), second = fleet_ticket(fleet, "s2");
    fleet_do(fleet, "SELECT limit_resize('pool:fra', 1)");
    Fence fence = fleet_claim(&one, first);
    assert_int_equal(claim(&two, second, missing), CLAIM_FULL);
    assert_non_null(strstr(missing, "pool:fra"));
    assert_int_equal(fleet_count(fleet, "SELECT count(*) FROM limit_slot WHERE job IS NOT NULL"),
                     1);
    finish(&one, &fence, OUTCOME_FAILED, false, "failed");
    assert_int_equal(fleet_count(fleet, "SELECT count(*) FROM limit_slot WHERE job IS NOT NULL"),
                     0);
    pause_ms(250);
    fence = fleet_claim(&two, next_ticket(second.job));
    finish(&two, &fence, OUTCOME_FAILED, false, "failed");
    fleet_do(fleet, "SELECT limit_resize('pool:fra', NULL)");
}

static void a_limit_that_was_lowered_holds_as_soon_as_its_jobs_end(void **state)
{
    (void)state;
    fleet_do(fleet, "SELECT limit_resize('pool:fra', 2)");
    Fence first = fleet_claim(&one, fleet_ticket(fleet, "s1"));
    Fence second = fleet_claim(&one, fleet_ticket(fleet, "s2"));
    fleet_do(fleet, "SELECT limit_resize('pool:fra', 1)");
    assert_int_equal(fleet_count(fleet, "SELECT count(*) FROM limit_slot"), 2);
    finish(&one, &second, OUTCOME_FAILED, false, "failed");
    assert_int_equal(fleet_count(fleet, "SELECT count(*) FROM limit_slot"), 1);
    finish(&one, &first, OUTCOME_FAILED, false, "failed");
    assert_int_equal(fleet_count(fleet, "SELECT count(*) FROM limit_slot"), 1);
    fleet_do(fleet, "SELECT limit_resize('pool:fra', NULL)");
}

static void an_unfit_worker_hears_what_it_lacks_and_no_attempt_is_counted(void **state)
{
    char missing[256];
    (void)state;
    TicketRow ticket = fleet_ticket(fleet, "s1");
    fleet_do(fleet, "UPDATE worker_instance SET facts = '{\"engines\":[\"mysql\"],\"roles\":[],"
                    "\"stores\":[\"other\"],\"key_sets\":[],\"credentials\":[]}' WHERE worker = 2");
    assert_int_equal(claim(&two, ticket, missing), CLAIM_UNFIT);
    assert_string_equal(missing, "lacks engine files, store nas, key set keys, writer key of keys");
    assert_int_equal(fleet_count(fleet, "SELECT attempt FROM job ORDER BY id DESC LIMIT 1"), 0);
    fleet_do(fleet, "UPDATE worker_instance SET facts = '{\"engines\":[\"files\"],"
                    "\"roles\":[\"write\"]}' WHERE worker = 2");
    Fence fence = fleet_claim(&two, ticket);
    finish(&two, &fence, OUTCOME_FAILED, false, "failed");
}

static void
without_a_fit_worker_nothing_is_dispatched_and_the_decision_names_who_lacks_what(void **state)
{
    char why[512];
    JobCreated created;
    (void)state;
    fleet_do(fleet, "UPDATE source SET type = 'oracle' WHERE name = 's3'");
    OK(catalog_job_create(
        fleet->scheduler,
        &(JobRequest){.kind = TEXT("backup"), .source = TEXT("s3"), .actor = TEXT("t")}, &created,
        &err));
    assert_int_equal(next_ticket(created.job).job, 0);
    fleet_ask(fleet, "SELECT verdict || ': ' || text FROM decision ORDER BY id DESC LIMIT 1", why);
    assert_non_null(strstr(why, "held: no capable worker: "));
    assert_non_null(strstr(why, "w1 lacks engine oracle"));
    assert_non_null(strstr(why, "w2 lacks engine oracle"));
    fleet_do(fleet, "UPDATE source SET type = 'files' WHERE name = 's3'");
    Fence fence = fleet_claim(&one, next_ticket(created.job));
    finish(&one, &fence, OUTCOME_FAILED, false, "failed");
}

static void a_credential_that_the_worker_lacks_is_named_before_anything_runs(void **state)
{
    char missing[256];
    (void)state;
    TicketRow ticket = fleet_ticket(fleet, "s4");
    fleet_do(fleet, "UPDATE source SET spec = jsonb_set(spec, '{config,server}', "
                    "'{\"password\":{\"credential\":\"orders-pg\"}}') WHERE name = 's4'");
    fleet_do(fleet, "UPDATE worker_instance SET facts = facts || '{\"credentials\":[\"x\"]}' "
                    "WHERE worker = 2");
    assert_int_equal(claim(&two, ticket, missing), CLAIM_UNFIT);
    assert_string_equal(missing, "lacks credential orders-pg");
    fleet_do(fleet, "UPDATE worker_instance SET facts = facts || "
                    "'{\"credentials\":[\"orders-pg\"]}' WHERE worker = 2");
    Fence fence = fleet_claim(&two, ticket);
    finish(&two, &fence, OUTCOME_FAILED, false, "failed");
    fleet_do(fleet, "UPDATE worker_instance SET facts = facts - 'credentials' WHERE worker = 2");
}

static void a_paused_pool_and_a_draining_worker_give_tickets_back(void **state)
{
    char missing[256];
    BeatSummary summary;
    (void)state;
    TicketRow ticket = fleet_ticket(fleet, "s1");
    OK(catalog_pool_pause(fleet->scheduler, TEXT("fra"), true, (Text){0}, TEXT("t"), &err));
    assert_int_equal(claim(&one, ticket, missing), CLAIM_PAUSED);
    OK(catalog_pool_pause(fleet->scheduler, TEXT("fra"), false, (Text){0}, TEXT("t"), &err));
    OK(catalog_worker_drain(fleet->scheduler, TEXT("w1"), true, (Text){0}, TEXT("t"), &err));
    assert_int_equal(claim(&one, ticket, missing), CLAIM_PAUSED);
    OK(catalog_worker_beat(one.c, &one.instance, NULL, 0, NULL, &summary, &err));
    assert_true(summary.drain && summary.known && !summary.changed);
    OK(catalog_worker_drain(fleet->scheduler, TEXT("w1"), false, (Text){0}, TEXT("t"), &err));
    Fence fence = fleet_claim(&one, ticket);
    finish(&one, &fence, OUTCOME_FAILED, false, "failed");
}

static void failures_are_tried_again_as_often_as_the_policy_says(void **state)
{
    char why[512];
    (void)state;
    TicketRow ticket = fleet_ticket(fleet, "s1");
    for (int attempt = 1; attempt <= 3; attempt++) {
        Fence fence = fleet_claim(&one, ticket);
        assert_int_equal(fence.attempt, attempt);
        finish(&one, &fence, OUTCOME_FAILED, true, attempt < 3 ? "pending" : "failed");
        if (attempt < 3)
            ticket = next_ticket(ticket.job);
    }
    fleet_ask(fleet, "SELECT cause || ': ' || error FROM job ORDER BY id DESC LIMIT 1", why);
    assert_string_equal(why, "source.test: it broke");
    JobCreated again;
    OK(catalog_job_retry(fleet->scheduler, ticket.job, TEXT("t"), &again, &err));
    assert_true(again.again && again.job == ticket.job);
    Fence fence = fleet_claim(&one, next_ticket(ticket.job));
    assert_int_equal(fence.attempt, 4); /* fresh counters, the same ladder of attempts */
    finish(&one, &fence, OUTCOME_FAILED, false, "failed");
}

static void backoff_doubles_up_to_its_most_and_jitter_only_shortens_it(void **state)
{
    (void)state;
    assert_int_equal(fleet_count(fleet, "SELECT extract(epoch FROM backoff(120, 1800, 0, false))"),
                     120);
    assert_int_equal(fleet_count(fleet, "SELECT extract(epoch FROM backoff(120, 1800, 2, false))"),
                     480);
    assert_int_equal(fleet_count(fleet, "SELECT extract(epoch FROM backoff(120, 1800, 99, false))"),
                     1800);
    assert_int_equal(
        fleet_count(fleet, "SELECT count(*) FROM generate_series(1, 1000) WHERE extract(epoch FROM "
                           "backoff(120, 1800, 1, true)) NOT BETWEEN 120 AND 240"),
        0);
}

static void a_running_job_hears_of_its_cancel_with_the_next_beat_and_is_not_retried(void **state)
{
    char now[16];
    BeatAnswer answer;
    BeatSummary summary;
    (void)state;
    Fence fence = fleet_claim(&one, fleet_ticket(fleet, "s1"));
    OK(catalog_job_cancel(fleet->scheduler, fence.job, TEXT("t"), TEXT("no"), now, &err));
    assert_string_equal(now, "running");
    OK(catalog_worker_beat(one.c, &one.instance, &(BeatRow){.fence = fence}, 1, &answer, &summary,
                           &err));
    assert_true(answer.held && answer.cancel);
    finish(&one, &fence, OUTCOME_FAILED, true, "cancelled");
}

/* --- losing ---------------------------------------------------------------------------------- */

static size_t reap(ReapReport *kept)
{
    ReapReport report;
    OK(catalog_reap(fleet->scheduler, &report, &err));
    size_t count = report.count;
    if (kept != NULL)
        *kept = report;
    catalog_reap_free(&report);
    return count;
}

static void a_lease_is_lost_only_after_two_looks_at_the_same_expiry(void **state)
{
    ReapReport report;
    BeatAnswer answer;
    BeatSummary summary;
    (void)state;
    Fence fence = fleet_claim(&one, fleet_ticket(fleet, "s1"));
    fleet_do(fleet, "UPDATE lease SET expires_at = clock_timestamp() - interval '1 second'");
    fleet_do(fleet, "UPDATE setting SET value = 60 WHERE name = 'looks_s'");
    assert_int_equal(reap(&report), 0);
    assert_int_equal(report.suspects, 1);
    assert_int_equal(reap(NULL), 0); /* too soon for the second look */
    fleet_do(fleet, "UPDATE setting SET value = 0.2 WHERE name = 'looks_s'");
    OK(catalog_worker_beat(one.c, &one.instance, &(BeatRow){.fence = fence}, 1, &answer, &summary,
                           &err));
    assert_true(answer.held); /* it is back before the second look */
    pause_ms(300);
    assert_int_equal(reap(NULL), 0);
    fleet_do(fleet, "UPDATE lease SET expires_at = clock_timestamp() - interval '1 second'");
    assert_int_equal(reap(NULL), 0);
    pause_ms(300);
    assert_int_equal(reap(NULL), 1);
    OK(catalog_worker_beat(one.c, &one.instance, &(BeatRow){.fence = fence}, 1, &answer, &summary,
                           &err));
    assert_false(answer.held);
    assert_int_equal(fleet_count(fleet, "SELECT losses FROM job ORDER BY id DESC LIMIT 1"), 1);
    assert_int_equal(fleet_count(fleet, "SELECT failures FROM job ORDER BY id DESC LIMIT 1"), 0);
    fence = fleet_claim(&two, next_ticket(fence.job));
    assert_int_equal(fence.attempt, 2);
    finish(&two, &fence, OUTCOME_FAILED, false, "failed");
}

static void three_losses_are_poison_and_not_a_fourth_attempt(void **state)
{
    char why[512];
    (void)state;
    TicketRow ticket = fleet_ticket(fleet, "s1");
    for (int loss = 1; loss <= 3; loss++) {
        (void)fleet_claim(&one, ticket);
        fleet_do(fleet, "UPDATE lease SET expires_at = clock_timestamp() - interval '1 second'");
        reap(NULL);
        pause_ms(250);
        assert_int_equal(reap(NULL), 1);
        if (loss < 3)
            ticket = next_ticket(ticket.job);
    }
    fleet_ask(fleet, "SELECT state FROM job ORDER BY id DESC LIMIT 1", why);
    assert_string_equal(why, "failed");
    assert_int_equal(fleet_count(fleet, "SELECT count(*) FROM decision WHERE code = 'poison'"), 1);
}

static void nobody_is_reaped_while_a_scheduler_has_just_come_back(void **state)
{
    ReapReport report;
    (void)state;
    Fence fence = fleet_claim(&one, fleet_ticket(fleet, "s1"));
    fleet_do(fleet, "UPDATE lease SET expires_at = clock_timestamp() - interval '1 second'");
    reap(NULL);
    pause_ms(250);
    fleet_do(fleet, "UPDATE setting SET value = 30 WHERE name = 'grace_s'");
    OK(catalog_reap_hold(fleet->scheduler, INFINITY, &err));
    fleet_do(fleet, "UPDATE setting SET value = 0 WHERE name = 'grace_s'");
    assert_int_equal(reap(&report), 0);
    assert_true(report.grace);
    fleet_do(fleet, "UPDATE reaper SET hold_until = '-infinity'");
    assert_int_equal(reap(NULL), 1);
    Fence next = fleet_claim(&one, next_ticket(fence.job));
    finish(&one, &next, OUTCOME_FAILED, false, "failed");
}

static void many_leases_lapsing_at_once_mean_the_network_first(void **state)
{
    Fence fences[5];
    ReapReport report;
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        char name[8];
        snprintf(name, sizeof name, "s%u", i + 1);
        fences[i] = fleet_claim(&one, fleet_ticket(fleet, name));
    }
    fleet_do(fleet, "UPDATE lease SET expires_at = clock_timestamp() - interval '1 second' WHERE "
                    "job > (SELECT min(job) FROM lease) + 1");
    fleet_do(fleet, "UPDATE worker_instance SET seen_at = clock_timestamp() - interval '1 minute'");
    reap(&report);
    assert_true(report.mass);
    pause_ms(250);
    assert_int_equal(reap(&report), 0);
    fleet_do(fleet, "UPDATE setting SET value = 0 WHERE name = 'mass_wait_s'");
    reap(NULL);
    pause_ms(250);
    assert_int_equal(reap(NULL), 3);
    fleet_do(fleet, "UPDATE setting SET value = 300 WHERE name = 'mass_wait_s'");
    fleet_do(fleet, "UPDATE worker_instance SET seen_at = clock_timestamp()");
    finish(&one, &fences[0], OUTCOME_FAILED, false, "failed");
    finish(&one, &fences[1], OUTCOME_FAILED, false, "failed");
    fleet_do(fleet,
             "UPDATE job SET state = 'cancelled', finished_at = now() WHERE state = 'pending'");
}

static void leases_of_workers_heard_again_are_no_mass(void **state)
{
    ReapReport report;
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        char name[8];
        snprintf(name, sizeof name, "s%u", i + 1);
        fleet_claim(&one, fleet_ticket(fleet, name));
    }
    fleet_do(fleet, "UPDATE lease SET expires_at = clock_timestamp() - interval '1 second'");
    fleet_do(fleet, "UPDATE worker_instance SET seen_at = clock_timestamp()"); /* started anew */
    reap(&report);
    assert_false(report.mass);
    pause_ms(250);
    assert_int_equal(reap(&report), 5);
    fleet_do(fleet,
             "UPDATE job SET state = 'cancelled', finished_at = now() WHERE state = 'pending'");
}

/* --- tickets --------------------------------------------------------------------------------- */

static void a_ticket_that_was_lost_is_pushed_again_and_then_replaced(void **state)
{
    TicketList list;
    bool done[2];
    (void)state;
    fleet_do(fleet, "UPDATE setting SET value = 60 WHERE name = 'requeue_s'");
    TicketRow ticket = fleet_ticket(fleet, "s1");
    OK(catalog_requeue(fleet->scheduler, fra(), &list, &err));
    assert_int_equal(list.count, 0);
    catalog_tickets_free(&list);
    OK(catalog_requeue_all(fleet->scheduler, fra(), &list, &err));
    assert_int_equal(list.count, 1);
    catalog_tickets_free(&list);
    fleet_do(fleet, "UPDATE setting SET value = 0.2 WHERE name = 'requeue_s'");
    pause_ms(250);
    OK(catalog_requeue(fleet->scheduler, fra(), &list, &err));
    assert_int_equal(list.count, 1);
    assert_int_equal(list.rows[0].dispatch, ticket.dispatch);
    catalog_tickets_free(&list);
    TicketRow asked[] = {ticket, {.job = ticket.job, .dispatch = ticket.dispatch + 7}};
    OK(catalog_tickets_done(fleet->scheduler, asked, 2, done, &err));
    assert_true(!done[0] && done[1]);
    fleet_do(fleet, "UPDATE job SET queued_at = now() - interval '1 hour' WHERE state = 'queued'");
    OK(catalog_requeue(fleet->scheduler, fra(), &list, &err));
    assert_int_equal(list.count, 0);
    catalog_tickets_free(&list);
    TicketRow young = next_ticket(ticket.job);
    assert_int_equal(young.dispatch, ticket.dispatch + 1);
    Fence fence = fleet_claim(&one, young);
    finish(&one, &fence, OUTCOME_FAILED, false, "failed");
}

static void a_pools_generation_is_renewed_and_workers_hear_of_it(void **state)
{
    Uuid before, same, after;
    BeatSummary summary;
    (void)state;
    OK(catalog_redis_generation(fleet->scheduler, fra(), false, &before, &err));
    OK(catalog_redis_generation(fleet->scheduler, fra(), false, &same, &err));
    OK(catalog_redis_generation(fleet->scheduler, fra(), true, &after, &err));
    assert_true(uuid_equal(&before, &same) && !uuid_equal(&before, &after));
    OK(catalog_worker_beat(one.c, &one.instance, NULL, 0, NULL, &summary, &err));
    assert_true(summary.changed);
}

static int start(void **state)
{
    (void)state;
    fleet = fleet_start();
    fleet_policy(fleet, 5, "");
    fleet_do(fleet, "UPDATE setting SET value = 60 WHERE name IN ('lease_s', 'liveness_s')");
    one = fleet_worker(fleet, "w1", true);
    two = fleet_worker(fleet, "w2", false);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    fleet_worker_close(&one);
    fleet_worker_close(&two);
    fleet_stop(fleet);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_claim_again_is_the_same_grant_and_another_one_is_stale),
        cmocka_unit_test(several_claims_have_each_their_own_answer),
        cmocka_unit_test(of_several_claims_that_fail_none_is_granted),
        cmocka_unit_test(an_old_ticket_is_stale_and_harmless),
        cmocka_unit_test(a_busy_source_defers_and_says_which_job_has_it),
        cmocka_unit_test(a_full_limit_defers_and_frees_with_its_job),
        cmocka_unit_test(a_limit_that_was_lowered_holds_as_soon_as_its_jobs_end),
        cmocka_unit_test(an_unfit_worker_hears_what_it_lacks_and_no_attempt_is_counted),
        cmocka_unit_test(
            without_a_fit_worker_nothing_is_dispatched_and_the_decision_names_who_lacks_what),
        cmocka_unit_test(a_credential_that_the_worker_lacks_is_named_before_anything_runs),
        cmocka_unit_test(a_paused_pool_and_a_draining_worker_give_tickets_back),
        cmocka_unit_test(failures_are_tried_again_as_often_as_the_policy_says),
        cmocka_unit_test(backoff_doubles_up_to_its_most_and_jitter_only_shortens_it),
        cmocka_unit_test(a_running_job_hears_of_its_cancel_with_the_next_beat_and_is_not_retried),
        cmocka_unit_test(a_lease_is_lost_only_after_two_looks_at_the_same_expiry),
        cmocka_unit_test(three_losses_are_poison_and_not_a_fourth_attempt),
        cmocka_unit_test(nobody_is_reaped_while_a_scheduler_has_just_come_back),
        cmocka_unit_test(many_leases_lapsing_at_once_mean_the_network_first),
        cmocka_unit_test(leases_of_workers_heard_again_are_no_mass),
        cmocka_unit_test(a_ticket_that_was_lost_is_pushed_again_and_then_replaced),
        cmocka_unit_test(a_pools_generation_is_renewed_and_workers_hear_of_it),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
