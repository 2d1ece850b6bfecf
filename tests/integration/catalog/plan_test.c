/* SPDX-License-Identifier: Apache-2.0
 * Slots, policies, pauses, the leader: what schedulers do, several at once. */
#include "common/base/clock.h"
#include "common/base/rand.h"
#include "common/catalog/catalog_policy.h"
#include "tests/integration/catalog/check.h"

#include <pthread.h>
#include <time.h>

static Fleet *fleet;
static FleetWorker one;
static const int64_t minute_ns = INT64_C(60000000000);

static ScheduleRow schedule_of(const char *source)
{
    ScheduleList list;
    ScheduleRow found = {0};
    OK(catalog_schedule_load(fleet->scheduler, &list, &err));
    for (size_t i = 0; i < list.count; i++)
        if (strcmp(list.rows[i].source_name, source) == 0)
            found = list.rows[i];
    catalog_schedule_free(&list);
    assert_int_not_equal(found.source, 0);
    return found;
}

static SlotAnswer fire(Catalog *c, const ScheduleRow *row, int64_t slot_ns, bool missed)
{
    SlotRow slot = {.source = row->source,
                    .schedule = TEXT("nightly"),
                    .missed = missed,
                    .old_slot_ns = row->last_slot_ns,
                    .slot_ns = slot_ns};
    SlotAnswer answer;
    OK(catalog_slots_fire(c, &slot, 1, &answer, &err));
    return answer;
}

static void begin_in_the_past(void)
{
    fleet_do(fleet, "UPDATE schedule SET last_slot = now() - interval '2 hours'");
    fleet_do(fleet, "UPDATE job SET state = 'cancelled', finished_at = now() WHERE state IN "
                    "('pending', 'queued')");
}

static void a_new_schedule_begins_now_and_has_nothing_to_catch_up(void **state)
{
    ScheduleRow row = schedule_of("s1");
    ScheduleList list;
    (void)state;
    OK(catalog_schedule_load(fleet->scheduler, &list, &err));
    assert_true(row.last_slot_ns > list.now_ns - minute_ns);
    catalog_schedule_free(&list);
    assert_string_equal(row.at, "0 1 * * *");
    assert_string_equal(row.kind, "backup");
    assert_true(row.catch_up && !row.paused);
    assert_int_equal(row.start_deadline_s, 3600);
}

static uint64_t policy_mark(void)
{
    ScheduleList list;
    OK(catalog_schedule_load(fleet->scheduler, &list, &err));
    uint64_t mark = list.policy_mark;
    catalog_schedule_free(&list);
    return mark;
}

/* A standby that never heard of the newest policy is promoted, and another policy is applied: it
 * has the number of the one that was lost, and a scheduler that kept rules by number would fire the
 * old. */
static void a_policy_that_takes_the_number_of_a_lost_one_is_another(void **state)
{
    uint64_t first = policy_mark();
    (void)state;
    assert_true(first == policy_mark());
    fleet_policy(fleet, 4, ",\"priority\":10");
    uint64_t lost = policy_mark();
    fleet_do(fleet, "DELETE FROM policy_version WHERE no = (SELECT max(no) FROM policy_version)");
    fleet_do(fleet, "SELECT setval(pg_get_serial_sequence('policy_version', 'no'), max(no)) "
                    "FROM policy_version");
    assert_true(first == policy_mark());
    fleet_policy(fleet, 4, ",\"priority\":20");
    assert_true(policy_mark() != lost && policy_mark() != first);
    assert_int_equal(fleet_count(fleet, "SELECT max(no) FROM policy_version"), 2);
}

static void a_slot_is_fired_once_whoever_asks_and_however_often(void **state)
{
    (void)state;
    begin_in_the_past();
    ScheduleRow row = schedule_of("s1");
    SlotAnswer first = fire(fleet->scheduler, &row, row.last_slot_ns + minute_ns, false);
    assert_int_not_equal(first.job, 0);
    assert_string_equal(first.state, "pending");
    SlotAnswer second = fire(fleet->scheduler, &row, row.last_slot_ns + minute_ns, false);
    assert_int_equal(second.job, 0); /* another scheduler had it */
    /* One that slept over it does not decide a later slot by what it knew before. */
    assert_int_equal(fire(fleet->scheduler, &row, row.last_slot_ns + 2 * minute_ns, false).job, 0);
    assert_int_equal(schedule_of("s1").last_slot_ns, row.last_slot_ns + minute_ns);
    /* Were the clock of the compare-and-set turned back, the constraint would still hold. */
    fleet_do(fleet,
             "UPDATE schedule SET last_slot = last_slot - interval '1 minute' WHERE source = 1");
    ScheduleRow back = schedule_of("s1");
    assert_int_equal(fire(fleet->scheduler, &back, row.last_slot_ns + minute_ns, false).job, 0);
}

typedef struct Firing {
    Catalog *c;
    ScheduleRow row;
    int64_t slot_ns;
    uint64_t job;
} Firing;

static void *fire_beside(void *ctx)
{
    Firing *firing = ctx;
    firing->job = fire(firing->c, &firing->row, firing->slot_ns, false).job;
    return NULL;
}

static void six_schedulers_at_once_make_one_job_a_slot(void **state)
{
    pthread_t threads[6];
    Firing firings[6];
    (void)state;
    begin_in_the_past();
    for (int i = 0; i < 6; i++)
        firings[i].c = fleet_connect(fleet, "holdfast_scheduler");
    for (int round = 0; round < 20; round++) {
        ScheduleRow row = schedule_of("s2");
        size_t won = 0;
        fleet_do(fleet,
                 "UPDATE job SET state = 'cancelled', finished_at = now() WHERE state = 'pending'");
        for (int i = 0; i < 6; i++) {
            firings[i].row = row;
            firings[i].slot_ns = row.last_slot_ns + minute_ns;
            pthread_create(&threads[i], NULL, fire_beside, &firings[i]);
        }
        for (int i = 0; i < 6; i++) {
            pthread_join(threads[i], NULL);
            won += firings[i].job != 0;
        }
        assert_int_equal(won, 1);
    }
    for (int i = 0; i < 6; i++)
        catalog_close(firings[i].c);
    assert_int_equal(fleet_count(fleet, "SELECT count(*) FROM job WHERE source = 2"), 20);
}

static void missed_slots_are_rows_and_only_the_latest_runs(void **state)
{
    SlotRow slots[3];
    SlotAnswer answers[3];
    char why[512];
    (void)state;
    begin_in_the_past();
    ScheduleRow row = schedule_of("s1");
    for (int i = 0; i < 3; i++)
        slots[i] = (SlotRow){.source = row.source,
                             .schedule = TEXT("nightly"),
                             .missed = i < 2,
                             .old_slot_ns = row.last_slot_ns,
                             .slot_ns = row.last_slot_ns + (2 + i) * minute_ns};
    OK(catalog_slots_fire(fleet->scheduler, slots, 3, answers, &err));
    assert_string_equal(answers[0].state, "missed");
    assert_string_equal(answers[1].state, "missed");
    assert_string_equal(answers[2].state, "pending");
    fleet_ask(fleet, "SELECT text FROM decision WHERE code = 'slot.missed' LIMIT 1", why);
    assert_non_null(strstr(why, "no scheduler was there"));
}

/* What the scheduler says of a slot is what the operator reads; a run that stands for others too.
 */
static void a_run_that_stands_for_others_and_an_excluded_day_are_told_in_its_words(void **state)
{
    SlotRow slots[3];
    SlotAnswer answers[3];
    char why[512];
    (void)state;
    begin_in_the_past();
    ScheduleRow row = schedule_of("s1");
    static const struct {
        const char *code, *why;
        bool missed;
    } told[] = {{"slot.excluded", "its day is excluded by a calendar", false},
                {"slot.coalesced", "the slot of 02:00 runs instead", true},
                {"slot.coalesced", "stands for 2 slots", false}};
    for (int i = 0; i < 3; i++)
        slots[i] = (SlotRow){.source = row.source,
                             .schedule = TEXT("nightly"),
                             .missed = told[i].missed,
                             .code = text_of(told[i].code),
                             .why = text_of(told[i].why),
                             .old_slot_ns = row.last_slot_ns,
                             .slot_ns = row.last_slot_ns + (50 + i) * minute_ns};
    OK(catalog_slots_fire(fleet->scheduler, slots, 3, answers, &err));
    assert_string_equal(answers[0].state, "skipped");
    assert_string_equal(answers[1].state, "missed");
    assert_string_equal(answers[2].state, "pending");
    fleet_ask(fleet,
              "SELECT string_agg(verdict || ' ' || code || ': ' || text, '; ' ORDER BY id) FROM "
              "(SELECT * FROM decision ORDER BY id DESC LIMIT 3) d",
              why);
    assert_string_equal(why, "skipped slot.excluded: its day is excluded by a calendar; "
                             "missed slot.coalesced: the slot of 02:00 runs instead; "
                             "ran slot.coalesced: stands for 2 slots");
}

static void with_overlap_queue_one_job_of_a_schedule_waits_whatever_comes(void **state)
{
    char why[512];
    (void)state;
    begin_in_the_past();
    fleet_do(fleet, "UPDATE schedule SET overlap_skip = false");
    Fence fence = fleet_claim(&one, fleet_ticket(fleet, "s4"));
    for (int i = 1; i <= 5; i++) {
        ScheduleRow row = schedule_of("s4");
        SlotAnswer answer = fire(fleet->scheduler, &row, row.last_slot_ns + minute_ns, false);
        assert_string_equal(answer.state, i == 1 ? "pending" : "skipped");
    }
    fleet_ask(fleet, "SELECT code || ': ' || text FROM decision ORDER BY id DESC LIMIT 1", why);
    assert_non_null(strstr(why, "slot.waiting: jb_"));
    fleet_do(fleet, "UPDATE schedule SET overlap_skip = true");
    char now[16];
    bool fenced;
    OK(catalog_job_finish(one.c, &fence, &(JobVerdictRow){.outcome = OUTCOME_FAILED}, now, &fenced,
                          &err));
}

static void a_slot_over_a_running_job_is_skipped_and_says_why(void **state)
{
    char why[512];
    (void)state;
    begin_in_the_past();
    Fence fence = fleet_claim(&one, fleet_ticket(fleet, "s3"));
    ScheduleRow row = schedule_of("s3");
    SlotAnswer answer = fire(fleet->scheduler, &row, row.last_slot_ns + minute_ns, false);
    assert_string_equal(answer.state, "skipped");
    fleet_ask(fleet, "SELECT code || ': ' || text FROM decision ORDER BY id DESC LIMIT 1", why);
    assert_non_null(strstr(why, "overlap: jb_"));
    char now[16];
    bool fenced;
    OK(catalog_job_finish(one.c, &fence, &(JobVerdictRow){.outcome = OUTCOME_FAILED}, now, &fenced,
                          &err));
}

static void a_paused_source_skips_its_slots_until_it_is_resumed(void **state)
{
    char why[512];
    (void)state;
    begin_in_the_past();
    OK(catalog_source_pause(fleet->scheduler, TEXT("s1"), 0, TEXT("moving house"), TEXT("t"),
                            &err));
    ScheduleRow row = schedule_of("s1");
    assert_true(row.paused);
    assert_string_equal(fire(fleet->scheduler, &row, row.last_slot_ns + 9 * minute_ns, false).state,
                        "skipped");
    fleet_ask(fleet, "SELECT text FROM decision ORDER BY id DESC LIMIT 1", why);
    assert_string_equal(why, "paused: moving house");
    OK(catalog_source_resume(fleet->scheduler, TEXT("s1"), (Text){0}, TEXT("t"), &err));
    row = schedule_of("s1");
    assert_string_equal(fire(fleet->scheduler, &row, row.last_slot_ns + 9 * minute_ns, false).state,
                        "pending");
    REFUSED("source.unknown",
            catalog_source_pause(fleet->scheduler, TEXT("s99"), 0, (Text){0}, TEXT("t"), &err));
}

static void a_slot_in_the_future_is_refused(void **state)
{
    SlotAnswer answer;
    (void)state;
    ScheduleRow row = schedule_of("s1");
    SlotRow slot = {.source = row.source,
                    .schedule = TEXT("nightly"),
                    .old_slot_ns = row.last_slot_ns,
                    .slot_ns = clock_wall_ns() + 10 * minute_ns};
    REFUSED("slot.future", catalog_slots_fire(fleet->scheduler, &slot, 1, &answer, &err));
}

static void a_job_that_does_not_start_in_time_is_missed_not_late(void **state)
{
    PoolList pools;
    (void)state;
    begin_in_the_past();
    ScheduleRow row = schedule_of("s1");
    SlotRow slot = {.source = row.source,
                    .schedule = TEXT("nightly"),
                    .old_slot_ns = row.last_slot_ns,
                    .slot_ns = row.last_slot_ns + 20 * minute_ns,
                    .start_by_ns = clock_wall_ns() + 150000000};
    SlotAnswer answer;
    OK(catalog_slots_fire(fleet->scheduler, &slot, 1, &answer, &err));
    OK(catalog_jobs_due(fleet->scheduler, &pools, &err));
    catalog_pools_free(&pools);
    assert_int_equal(fleet_count(fleet, "SELECT count(*) FROM job WHERE state = 'pending'"), 1);
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    OK(catalog_jobs_due(fleet->scheduler, &pools, &err));
    catalog_pools_free(&pools);
    assert_int_equal(fleet_count(fleet, "SELECT count(*) FROM job WHERE state = 'pending'"), 0);
    assert_int_equal(
        fleet_count(fleet, "SELECT count(*) FROM decision WHERE code = 'start_deadline'"), 1);
}

static void urgent_kinds_go_first_and_waiting_makes_older_ones_climb(void **state)
{
    TicketList list;
    JobCreated low, high;
    (void)state;
    begin_in_the_past();
    OK(catalog_job_create(
        fleet->scheduler,
        &(JobRequest){.kind = TEXT("backup"), .source = TEXT("s1"), .actor = TEXT("t")}, &low,
        &err));
    OK(catalog_job_create(fleet->scheduler,
                          &(JobRequest){.kind = TEXT("probe"),
                                        .source = TEXT("s2"),
                                        .params = TEXT("{\"probe\":\"source_test\"}"),
                                        .actor = TEXT("t")},
                          &high, &err));
    OK(catalog_dispatch_pick(fleet->scheduler, low.pool, 1, &list, &err));
    assert_int_equal(list.count, 1);
    assert_int_equal(list.rows[0].job, high.job);
    assert_true(list.rows[0].urgent);
    catalog_tickets_free(&list);
    OK(catalog_job_create(
        fleet->scheduler,
        &(JobRequest){
            .kind = TEXT("backup"), .source = TEXT("s2"), .priority = 5, .actor = TEXT("t")},
        &high, &err));
    fleet_do(
        fleet,
        "UPDATE job SET run_at = now() - interval '1 hour' WHERE state = 'pending' AND source = 1");
    OK(catalog_dispatch_pick(fleet->scheduler, low.pool, 1, &list, &err));
    assert_int_equal(list.rows[0].job, low.job); /* twelve points for an hour's wait */
    catalog_tickets_free(&list);
}

static void a_key_that_comes_again_gives_the_same_job(void **state)
{
    JobCreated first, second;
    JobRequest request = {.kind = TEXT("backup"),
                          .source = TEXT("s4"),
                          .actor = TEXT("ann"),
                          .idempotency_key = TEXT("k1")};
    (void)state;
    OK(catalog_job_create(fleet->scheduler, &request, &first, &err));
    OK(catalog_job_create(fleet->scheduler, &request, &second, &err));
    assert_true(!first.again && second.again && first.job == second.job);
    request.actor = TEXT("bob");
    OK(catalog_job_create(fleet->scheduler, &request, &second, &err));
    assert_int_not_equal(first.job, second.job);
}

static void a_source_that_leaves_the_policy_takes_its_waiting_jobs_with_it(void **state)
{
    JobCreated created;
    (void)state;
    begin_in_the_past();
    OK(catalog_job_create(
        fleet->scheduler,
        &(JobRequest){.kind = TEXT("backup"), .source = TEXT("s4"), .actor = TEXT("t")}, &created,
        &err));
    fleet_policy(fleet, 3, "");
    assert_int_equal(
        fleet_count(fleet, "SELECT count(*) FROM job WHERE source = 4 AND state = 'pending'"), 0);
    assert_int_equal(fleet_count(fleet, "SELECT count(*) FROM schedule WHERE source = 4"), 0);
    REFUSED("source.retired",
            catalog_job_create(
                fleet->scheduler,
                &(JobRequest){.kind = TEXT("backup"), .source = TEXT("s4"), .actor = TEXT("t")},
                &created, &err));
    fleet_policy(fleet, 4, ""); /* back again: from now on */
    assert_true(schedule_of("s4").last_slot_ns > clock_wall_ns() - minute_ns);
}

static void applying_the_same_policy_again_changes_nothing_and_a_stale_one_is_refused(void **state)
{
    PolicyApplied applied;
    char digest[SHA256_TEXT];
    bool found;
    scoped(buf_free) Buf document = {0};
    (void)state;
    OK(catalog_policy_load(fleet->scheduler, &document, digest, &found, &err));
    assert_true(found);
    OK(catalog_policy_apply(fleet->scheduler, buf_text(&document), text_of(digest), TEXT("t"),
                            &applied, &err));
    assert_false(applied.changed);
    REFUSED("policy.changed", catalog_policy_apply(fleet->scheduler, TEXT("{}"), TEXT("0123"),
                                                   TEXT("t"), &applied, &err));
    REFUSED(
        "policy.source",
        catalog_policy_apply(fleet->scheduler,
                             TEXT("{\"sources\":{\"x\":{\"type\":\"files\",\"store\":\"no\"}}}"),
                             (Text){0}, TEXT("t"), &applied, &err));
    REFUSED("catalogue.value", catalog_policy_apply(fleet->scheduler, TEXT("{"), (Text){0},
                                                    TEXT("t"), &applied, &err));
}

static void a_source_may_ask_for_one_first_backup_and_gets_exactly_one(void **state)
{
    (void)state;
    fleet_policy(fleet, 6, ",\"initial\":true");
    assert_int_equal(fleet_count(fleet, "SELECT count(*) FROM job WHERE trigger = 'initial'"), 2);
    fleet_policy(fleet, 6, ",\"initial\":true,\"rate\":5");
    assert_int_equal(fleet_count(fleet, "SELECT count(*) FROM job WHERE trigger = 'initial'"), 2);
}

static void one_leads_and_each_change_of_leader_has_a_higher_term(void **state)
{
    Uuid a = rand_uuid(), b = rand_uuid();
    uint64_t term, first;
    (void)state;
    OK(catalog_leader_take(fleet->scheduler, &a, TEXT("h1"), &first, &err));
    assert_true(first > 0);
    OK(catalog_leader_take(fleet->scheduler, &b, TEXT("h2"), &term, &err));
    assert_int_equal(term, 0);
    OK(catalog_leader_take(fleet->scheduler, &a, TEXT("h1"), &term, &err));
    assert_int_equal(term, first);
    OK(catalog_leader_resign(fleet->scheduler, &a, &err));
    OK(catalog_leader_take(fleet->scheduler, &b, TEXT("h2"), &term, &err));
    assert_int_equal(term, first + 1);
    nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 100000000}, NULL);
    OK(catalog_leader_take(fleet->scheduler, &a, TEXT("h1"), &term, &err));
    assert_int_equal(term, first + 2);
}

static void an_unknown_setting_is_named(void **state)
{
    double value;
    (void)state;
    OK(catalog_setting_get(fleet->scheduler, TEXT("max_losses"), &value, &err));
    assert_true(value > 2.9 && value < 3.1);
    REFUSED("setting.unknown", catalog_setting_set(fleet->scheduler, TEXT("leese_s"), 3, &err));
    REFUSED("setting.unknown",
            catalog_setting_get(fleet->scheduler, TEXT("leese_s"), &value, &err));
    REFUSED("catalogue.constraint",
            catalog_setting_set(fleet->scheduler, TEXT("lease_s"), -1, &err));
}

static int start(void **state)
{
    (void)state;
    fleet = fleet_start();
    fleet_breaks(fleet, "slots decided that the schedule has not reached: each test sets the "
                        "schedules back");
    fleet_policy(fleet, 4, "");
    fleet_do(fleet, "UPDATE setting SET value = 60 WHERE name IN ('lease_s', 'liveness_s')");
    one = fleet_worker(fleet, "w1", true);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    fleet_worker_close(&one);
    fleet_stop(fleet);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_schedule_begins_now_and_has_nothing_to_catch_up),
        cmocka_unit_test(a_policy_that_takes_the_number_of_a_lost_one_is_another),
        cmocka_unit_test(a_slot_is_fired_once_whoever_asks_and_however_often),
        cmocka_unit_test(six_schedulers_at_once_make_one_job_a_slot),
        cmocka_unit_test(missed_slots_are_rows_and_only_the_latest_runs),
        cmocka_unit_test(a_run_that_stands_for_others_and_an_excluded_day_are_told_in_its_words),
        cmocka_unit_test(with_overlap_queue_one_job_of_a_schedule_waits_whatever_comes),
        cmocka_unit_test(a_slot_over_a_running_job_is_skipped_and_says_why),
        cmocka_unit_test(a_paused_source_skips_its_slots_until_it_is_resumed),
        cmocka_unit_test(a_slot_in_the_future_is_refused),
        cmocka_unit_test(a_job_that_does_not_start_in_time_is_missed_not_late),
        cmocka_unit_test(urgent_kinds_go_first_and_waiting_makes_older_ones_climb),
        cmocka_unit_test(a_key_that_comes_again_gives_the_same_job),
        cmocka_unit_test(a_source_that_leaves_the_policy_takes_its_waiting_jobs_with_it),
        cmocka_unit_test(applying_the_same_policy_again_changes_nothing_and_a_stale_one_is_refused),
        cmocka_unit_test(a_source_may_ask_for_one_first_backup_and_gets_exactly_one),
        cmocka_unit_test(one_leads_and_each_change_of_leader_has_a_higher_term),
        cmocka_unit_test(an_unknown_setting_is_named),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
