/* SPDX-License-Identifier: Apache-2.0
 * Time as an operator meets it: why did it not run, or not when it was due? A scheduler's core over
 * a real catalogue whose clock the test sets, with a policy compiled from a fleet file. Each answer
 * is read from where `holdfast why` reads it. */
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/catalog/catalog_policy.h"
#include "common/catalog/catalog_view.h"
#include "common/catalog/catalog_window.h"
#include "scheduler/core/core.h"
#include "scheduler/plan/fleet.h"
#include "tests/harness/fleet.h"
#include "tests/harness/redis.h"
#include "tests/harness/virtual_clock.h"
#include "tests/integration/catalog/check.h"

#include <inttypes.h>
#include <time.h>

/* Berlin is an hour ahead of UTC from October to March. */
static const char fleet_file[] =
    "version: 1\n"
    "fleet: test\n"
    "defaults: {timezone: Europe/Berlin, encryption: keys, catch_up: latest, overlap: %s%s}\n"
    "keys: {keys: {}}\n"
    "stores: {nas: {type: local, path: /srv/b}}\n"
    "pools: {fra: {}}\n"
    "calendars: {holidays: [12-25, 12-26], freeze: [2026-11-27..2026-11-29]}\n"
    "policies:\n"
    "  gold: {schedule: \"%s\", copies: [{store: nas}], calendars: [holidays, freeze]%s}\n"
    "sources:\n"
    "  orders: {type: files, policy: gold, paths: [/srv/orders], run_on: {pool: fra}}\n";

static const char nights[] = ", windows: [{hours: \"22:00-06:00\", on_close: cancel}]";

typedef struct Plant {
    Fleet *fleet;
    RedisServer *redis;
    FleetWorker worker;
    Catalog *c; /* as a scheduler, at the time of the test */
    char conninfo[256];
    Core *core;
} Plant;

/* "2026-11-20 19:59:50" in UTC. */
static void clock_at(const Plant *plant, const char *text)
{
    struct tm tm = {0};
    assert_non_null(strptime(text, "%Y-%m-%d %H:%M:%S", &tm));
    virtual_clock_set(plant->c, (int64_t)timegm(&tm) * 1000);
}

static int set_up(void **state)
{
    Plant *plant = calloc(1, sizeof *plant);
    plant->fleet = fleet_start();
    plant->redis = redis_server_start(&(RedisServerParams){.append_only = false});
    plant->fleet->history.redis = plant->redis;
    virtual_clock_begin(plant->fleet, "holdfast_scheduler");
    plant->c = fleet_connect(plant->fleet, "holdfast_scheduler");
    fleet_do(plant->fleet,
             "UPDATE setting SET value = 1e8 WHERE name IN ('liveness_s', 'lease_s')");
    clock_at(plant, "2026-11-20 12:00:00");
    plant->worker = fleet_worker(plant->fleet, "w1", true);
    fleet_do(plant->fleet, "UPDATE worker_instance SET seen_at = 'infinity'"); /* it never beats */
    fleet_conninfo(plant->fleet, "holdfast_scheduler", plant->conninfo);
    *state = plant;
    return 0;
}

static void no_scheduler(Plant *plant)
{
    core_stop(plant->core);
    plant->core = NULL;
}

static int tear_down(void **state)
{
    Plant *plant = *state;
    no_scheduler(plant);
    fleet_worker_close(&plant->worker);
    catalog_close(plant->c);
    fleet_stop(plant->fleet);
    redis_server_stop(plant->redis);
    free(plant);
    return 0;
}

/* One source, due by this rule; more: windows of its policy; settings: more of the defaults. */
static void policy(const Plant *plant, const char *rule, const char *more, const char *overlap,
                   const char *settings)
{
    scoped(buf_free) Buf text = {0};
    scoped(buf_free) Buf document = {0};
    scoped(buf_free) Buf told = {0};
    YamlProblems problems = {0};
    PolicyApplied applied;
    buf_printf(&text, fleet_file, overlap, settings, rule, more);
    if (!fleet_compile("fleet.yaml", buf_text(&text), &document, &problems)) {
        yaml_problems_print(&problems, &told);
        fail_msg("%s", buf_cstr(&told));
    }
    yaml_problems_free(&problems);
    OK(catalog_policy_apply(plant->c, buf_text(&document), (Text){0}, TEXT("t"), &applied, &err));
}

static void a_scheduler(Plant *plant)
{
    CoreParams params = {
        .catalog = {.conninfo = plant->conninfo},
        .queue = {.url = text_of(redis_server_url(plant->redis)), .timeout_ms = 1000},
        .host = "test",
        .tick_ms = 20};
    OK(core_start(&plant->core, &params, &err));
}

/* Until so many rows of `job` hold the condition. */
static void until(const Plant *plant, const char *condition, int64_t wanted)
{
    char sql[400];
    int64_t have = 0;
    snprintf(sql, sizeof sql, "SELECT count(*) FROM job WHERE %s", condition);
    for (int tries = 0; tries < 200; tries++) {
        have = fleet_count(plant->fleet, sql);
        if (have == wanted)
            return;
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    char last[512];
    fleet_ask(plant->fleet,
              "SELECT concat_ws(' ', j.state, d.verdict, d.code, d.text) FROM job j LEFT JOIN "
              "decision d ON d.job = j.id ORDER BY d.last_at DESC, d.id DESC LIMIT 1",
              last);
    fail_msg("%s: %" PRId64 ", not %" PRId64 "; the last was %s", condition, have, wanted, last);
}

/* What `holdfast why orders` says, the newest first: "deferred window.closed 20:00 text". */
static void assert_why(const Plant *plant, const char *wanted)
{
    scoped(buf_free) Buf body = {0};
    scoped(buf_free) Buf said = {0};
    scoped(json_release) json_t *answer = NULL;
    const json_t *one;
    size_t i;
    ViewArgs args = {.source = TEXT("orders")};
    OK(catalog_view(plant->c, VIEW_DECISIONS, &args, &body, &err));
    OK(json_parse(buf_text(&body), &answer, &err));
    json_array_foreach(json_object_get(answer, "items"), i, one)
    {
        const char *slot = json_string_value(json_object_get(one, "slot"));
        buf_printf(&said, "%s %s %.5s %s\n", json_string_value(json_object_get(one, "decision")),
                   json_string_value(json_object_get(one, "reason")),
                   slot == NULL ? "-" : slot + 11, json_string_value(json_object_get(one, "text")));
    }
    assert_string_equal(buf_cstr(&said), wanted);
}

static TicketRow ticket(const Plant *plant)
{
    return (TicketRow){.job = (uint64_t)fleet_count(plant->fleet, "SELECT max(id) FROM job"),
                       .dispatch = (uint64_t)fleet_count(
                           plant->fleet, "SELECT dispatch FROM job ORDER BY id DESC LIMIT 1")};
}

static ClaimStatus claim(Plant *plant, TicketRow row)
{
    ClaimAnswer answer;
    Uuid id = rand_uuid();
    OK(catalog_job_claim(plant->worker.c, &plant->worker.instance, row.job, row.dispatch, &id,
                         &answer, &err));
    ClaimStatus status = answer.status;
    catalog_job_claim_free(&answer);
    return status;
}

/* --- windows --------------------------------------------------------------------------------- */

static void why_did_it_start_two_hours_late_its_window_was_closed(void **state)
{
    Plant *plant = *state;
    policy(plant, "0 20 * * *", nights, "skip", "");
    a_scheduler(plant);
    clock_at(plant, "2026-11-20 19:00:05");
    until(plant, "state = 'pending' AND run_at = '2026-11-20 21:00Z' AND deferrals = 1", 1);
    assert_why(plant, "deferred window.closed 19:00 no window is open; the next opens Fri "
                      "2026-11-20 22:00 (Europe/Berlin)\n");
    clock_at(plant, "2026-11-20 21:00:01");
    until(plant, "state = 'queued'", 1);
    assert_int_equal(claim(plant, ticket(plant)), CLAIM_GRANTED);
}

static void why_was_it_missed_its_window_opens_after_its_start_deadline(void **state)
{
    Plant *plant = *state;
    policy(plant, "0 20 * * *", nights, "skip", ", start_deadline: 1h");
    a_scheduler(plant);
    clock_at(plant, "2026-11-20 19:00:05");
    until(plant, "state = 'pending' AND deferrals = 1", 1);
    clock_at(plant, "2026-11-20 20:00:05");
    until(plant, "state = 'missed'", 1);
    assert_why(plant,
               "missed start_deadline 19:00 did not start before 2026-11-20 20:00:00Z; it waited: "
               "no window is open; the next opens Fri 2026-11-20 22:00 (Europe/Berlin); its start "
               "deadline, 2026-11-20 20:00:00Z, passes before\n"
               "deferred window.closed 19:00 no window is open; the next opens Fri 2026-11-20 "
               "22:00 (Europe/Berlin); its start deadline, 2026-11-20 20:00:00Z, passes before\n");
}

static void why_was_it_stopped_at_six_its_window_closed(void **state)
{
    Plant *plant = *state;
    char text[512];
    policy(plant, "0 4 * * *", nights, "skip", "");
    a_scheduler(plant);
    clock_at(plant, "2026-11-21 03:00:05");
    until(plant, "state = 'queued'", 1);
    assert_int_equal(claim(plant, ticket(plant)), CLAIM_GRANTED);
    clock_at(plant, "2026-11-21 04:59:59");
    until(plant, "state = 'running' AND NOT cancel_requested", 1);
    clock_at(plant, "2026-11-21 05:00:01");
    until(plant, "state = 'running' AND cancel_requested", 1);
    fleet_ask(plant->fleet, "SELECT verdict || ' ' || code FROM decision ORDER BY id DESC LIMIT 1",
              text);
    assert_string_equal(text, "cancelled window.cancel");
}

/* A ticket lies in Redis when the window closes: whoever takes it later gets nothing, and the job
 * comes again at the next opening, with another ticket. */
static void a_ticket_does_not_outlive_its_window(void **state)
{
    Plant *plant = *state;
    policy(plant, "59 5 * * *", nights, "skip", "");
    a_scheduler(plant);
    clock_at(plant, "2026-11-21 04:59:05");
    until(plant, "state = 'queued'", 1);
    TicketRow old = ticket(plant);
    clock_at(plant, "2026-11-21 05:00:01"); /* too early for the repair of tickets that are old */
    until(plant, "state = 'pending' AND run_at = '2026-11-21 21:00Z'", 1);
    assert_int_equal(claim(plant, old), CLAIM_STALE);
    clock_at(plant, "2026-11-21 21:00:01");
    until(plant, "state = 'queued'", 1);
    assert_int_equal(claim(plant, ticket(plant)), CLAIM_GRANTED);
}

/* Nobody is there who could take the ticket back. */
static void no_claim_is_granted_outside_while_no_scheduler_lives(void **state)
{
    Plant *plant = *state;
    policy(plant, "0 4 * * *", nights, "skip", "");
    a_scheduler(plant);
    clock_at(plant, "2026-11-21 03:00:05");
    until(plant, "state = 'queued'", 1);
    no_scheduler(plant);
    clock_at(plant, "2026-11-21 05:00:00");
    assert_int_equal(claim(plant, ticket(plant)), CLAIM_STALE);
    clock_at(plant, "2026-11-21 04:59:59");
    assert_int_equal(claim(plant, ticket(plant)), CLAIM_GRANTED);
}

/* What was told at ten in the evening says nothing of four in the afternoon. */
static void a_clock_that_is_set_back_opens_no_window(void **state)
{
    Plant *plant = *state;
    JobCreated made;
    JobRequest request = {.kind = TEXT("backup"),
                          .trigger = TEXT("manual"),
                          .source = TEXT("orders"),
                          .actor = TEXT("t")};
    policy(plant, "0 4 1 1 *", "", "skip", "");
    OK(catalog_job_create(plant->c, &request, &made, &err));
    clock_at(plant, "2026-11-20 22:00:00");
    policy(plant, "0 4 1 1 *", nights, "skip", "");
    a_scheduler(plant);
    until(plant, "state = 'queued' AND EXISTS (SELECT FROM source_window WHERE open)", 1);
    no_scheduler(plant);
    clock_at(plant, "2026-11-20 15:00:00");
    assert_int_equal(claim(plant, ticket(plant)), CLAIM_STALE);
    clock_at(plant, "2026-11-20 22:00:30");
    assert_int_equal(claim(plant, ticket(plant)), CLAIM_GRANTED);
}

static void an_emergency_passes_a_closed_window_and_nothing_else_does(void **state)
{
    Plant *plant = *state;
    JobCreated made;
    JobRequest request = {
        .kind = TEXT("backup"), .trigger = TEXT("manual"), .source = TEXT("orders")};
    request.actor = TEXT("t");
    policy(plant, "0 4 * * *", nights, "skip", "");
    a_scheduler(plant);
    OK(catalog_job_create(plant->c, &request, &made, &err));
    until(plant, "trigger = 'manual' AND state = 'pending' AND run_at = '2026-11-20 21:00Z'", 1);
    request.trigger = TEXT("emergency");
    OK(catalog_job_create(plant->c, &request, &made, &err));
    until(plant, "trigger = 'emergency' AND state = 'queued'", 1);
    assert_int_equal(claim(plant, ticket(plant)), CLAIM_GRANTED);
}

/* Who widens the window does not wait for the opening of yesterday's policy. */
static void a_job_that_waits_follows_the_policy_in_force(void **state)
{
    Plant *plant = *state;
    policy(plant, "0 20 * * *", nights, "skip", "");
    a_scheduler(plant);
    clock_at(plant, "2026-11-20 19:00:05");
    until(plant, "state = 'pending' AND run_at = '2026-11-20 21:00Z'", 1);
    policy(plant, "0 20 * * *", ", windows: [{hours: \"21:00-06:00\"}]", "skip", "");
    until(plant, "state = 'pending' AND run_at = '2026-11-20 20:00Z'", 1);
    policy(plant, "0 20 * * *", "", "skip", "");
    until(plant, "state = 'queued'", 1);
    assert_int_equal(fleet_count(plant->fleet, "SELECT count(*) FROM source_window"), 0);
    policy(plant, "0 20 * * *", nights, "skip", "");
    until(plant, "state = 'pending' AND run_at = '2026-11-20 21:00Z'", 1);
}

/* --- calendars ------------------------------------------------------------------------------- */

static void why_did_it_not_run_on_christmas_day_a_calendar_excludes_it(void **state)
{
    Plant *plant = *state;
    clock_at(plant, "2026-12-24 12:00:00");
    policy(plant, "0 0 * * *", "", "skip", "");
    a_scheduler(plant);
    clock_at(plant, "2026-12-24 23:00:05"); /* midnight in Berlin */
    until(plant, "state = 'skipped'", 1);
    assert_why(plant, "skipped slot.excluded 23:00 Fri 2026-12-25 in Europe/Berlin is excluded by "
                      "the calendar 'holidays'\n");
    clock_at(plant, "2026-12-26 23:00:05");
    until(plant, "state = 'queued' AND slot = '2026-12-26 23:00Z'", 1);
    until(plant, "state = 'skipped'", 2);
}

/* --- slots that nobody was there for -----------------------------------------------------------
 */

static void why_was_one_backup_made_for_three_days_no_scheduler_was_there(void **state)
{
    Plant *plant = *state;
    policy(plant, "0 1 * * *", "", "skip", "");
    clock_at(plant, "2026-11-24 06:00:00");
    a_scheduler(plant);
    until(plant, "state = 'queued'", 1);
    until(plant, "state = 'missed'", 3);
    assert_why(plant, "ran slot.coalesced 00:00 stands for 4 slots since 2026-11-21 01:00 "
                      "Europe/Berlin: no scheduler was there\n"
                      "missed slot.coalesced 00:00 no scheduler was there in time; the slot of "
                      "2026-11-24 01:00 Europe/Berlin runs instead\n"
                      "missed slot.coalesced 00:00 no scheduler was there in time; the slot of "
                      "2026-11-24 01:00 Europe/Berlin runs instead\n"
                      "missed slot.coalesced 00:00 no scheduler was there in time; the slot of "
                      "2026-11-24 01:00 Europe/Berlin runs instead\n");
}

static void why_was_it_skipped_the_one_before_still_waits_for_its_window(void **state)
{
    Plant *plant = *state;
    char job[512];
    char wanted[800];
    policy(plant, "0 * * * *", nights, "skip", "");
    a_scheduler(plant);
    clock_at(plant, "2026-11-20 13:00:05");
    until(plant, "state = 'pending' AND deferrals = 1", 1);
    clock_at(plant, "2026-11-20 14:00:05");
    until(plant, "state = 'skipped'", 1);
    fleet_ask(plant->fleet, "SELECT job_text(id) FROM job WHERE state = 'pending'", job);
    snprintf(wanted, sizeof wanted,
             "skipped overlap 14:00 %s is still pending\n"
             "deferred window.closed 13:00 no window is open; the next opens Fri 2026-11-20 22:00 "
             "(Europe/Berlin)\n",
             job);
    assert_why(plant, wanted);
}

/* --- clocks ---------------------------------------------------------------------------------- */

/* Every slot of a day once, though the clock leaps ahead three hours, back two, and again. */
static void a_clock_that_leaps_neither_doubles_nor_loses_a_slot(void **state)
{
    static const char *const times[] = {
        "2026-11-20 13:00:01", "2026-11-20 16:30:00", "2026-11-20 14:10:00", "2026-11-20 15:59:59",
        "2026-11-20 17:00:00", "2026-11-20 12:00:01", "2026-11-20 17:59:59", "2026-11-20 23:00:01"};
    Plant *plant = *state;
    policy(plant, "0 * * * *", "", "queue", "");
    a_scheduler(plant);
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        clock_at(plant, times[i]);
        core_wake(plant->core);
        nanosleep(&(struct timespec){.tv_nsec = 700000000}, NULL); /* one look at least */
    }
    until(plant, "schedule IS NOT NULL", 11);
    until(plant,
          "slot IN (SELECT generate_series('2026-11-20 13:00Z'::timestamptz, "
          "'2026-11-20 23:00Z', '1 hour'))",
          11);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(why_did_it_start_two_hours_late_its_window_was_closed),
        TEST(why_was_it_missed_its_window_opens_after_its_start_deadline),
        TEST(why_was_it_stopped_at_six_its_window_closed),
        TEST(a_ticket_does_not_outlive_its_window),
        TEST(no_claim_is_granted_outside_while_no_scheduler_lives),
        TEST(a_clock_that_is_set_back_opens_no_window),
        TEST(an_emergency_passes_a_closed_window_and_nothing_else_does),
        TEST(a_job_that_waits_follows_the_policy_in_force),
        TEST(why_did_it_not_run_on_christmas_day_a_calendar_excludes_it),
        TEST(why_was_one_backup_made_for_three_days_no_scheduler_was_there),
        TEST(why_was_it_skipped_the_one_before_still_waits_for_its_window),
        TEST(a_clock_that_leaps_neither_doubles_nor_loses_a_slot),
#undef TEST
    };
    log_open(getenv("HOLDFAST_TEST_VERBOSE") == NULL ? LOG_ERROR + 1 : LOG_DEBUG, LOG_LOGFMT, 2);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
