/* SPDX-License-Identifier: Apache-2.0
 * A worker that was stolen: its role and its password, and everything it may try with them. */
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "tests/integration/catalog/check.h"

static Fleet *fleet;
static FleetWorker one, two, outsider; /* outsider serves another pool */

/* Runs one statement as a worker's role: does the server refuse it? */
static bool refuses(const char *role, const char *sql)
{
    char command[4096], conninfo[256];
    postgres_as(fleet->pg, role, "postgres", conninfo);
    setenv("HF_ASK", sql, 1);
    snprintf(
        command, sizeof command,
        "printf '%%s' \"$HF_ASK\" | psql -qAtX -v ON_ERROR_STOP=1 -d '%s' -f - >/dev/null 2>&1",
        conninfo);
    return system(command) != 0;
}

static void a_worker_touches_no_table_of_the_schema(void **state)
{
    char sql[800];
    (void)state;
    int64_t count =
        fleet_count(fleet, "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid "
                           "= c.relnamespace WHERE n.nspname = 'holdfast' AND c.relkind "
                           "IN ('r','p','v') AND c.relname <> 'schema_version' AND ("
                           "has_table_privilege('w1', c.oid, 'SELECT') OR "
                           "has_table_privilege('w1', c.oid, 'INSERT') OR "
                           "has_table_privilege('w1', c.oid, 'UPDATE') OR "
                           "has_table_privilege('w1', c.oid, 'DELETE') OR "
                           "has_table_privilege('w1', c.oid, 'TRUNCATE') OR "
                           "has_any_column_privilege('w1', c.oid, 'SELECT'))");
    assert_int_equal(count, 0);
    static const char *const verbs[] = {"SELECT * FROM", "DELETE FROM", "TRUNCATE"};
    static const char *const names[] = {"job",   "lease", "source",      "backup",
                                        "chunk", "token", "audit_event", "worker"};
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
        for (size_t v = 0; v < sizeof verbs / sizeof verbs[0]; v++) {
            snprintf(sql, sizeof sql, "%s holdfast.%s", verbs[v], names[n]);
            assert_true(refuses("w1", sql));
        }
    }
}

static void a_worker_executes_its_own_functions_and_none_of_the_schedulers(void **state)
{
    static const char *const forbidden[] = {
        "SELECT holdfast.reap()",
        "SELECT holdfast.slots_fire('{}','{}','{}','{}','{}','{}','{}','{}')",
        "SELECT holdfast.policy_apply('{}', NULL, 'x')",
        "SELECT holdfast.job_create('backup','manual','s1',NULL,'{}','x',NULL,0,NULL)",
        "SELECT holdfast.enroll('evil','h','{}','{}',true,NULL)",
        "SELECT holdfast.scheduler_password('x')",
        "SELECT holdfast.job_end(NULL,'completed',NULL,NULL,NULL,false)",
        "SELECT holdfast.attempt_end(NULL,'completed',NULL,NULL,NULL)",
        "SELECT holdfast.fence_job(1,1,gen_random_uuid(),false)",
        "SELECT holdfast.audit_chain(1)",
        "SELECT holdfast.housekeep()",
        "SELECT holdfast.sweep_staged()",
        "SET ROLE holdfast_owner",
        "SET ROLE holdfast_scheduler",
        "SET SESSION AUTHORIZATION holdfast_owner",
        "CREATE TABLE holdfast.mine (x int)",
        "CREATE FUNCTION holdfast.worker_me() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    };
    (void)state;
    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++)
        if (!refuses("w1", forbidden[i]))
            fail_msg("not refused: %s", forbidden[i]);
    assert_int_equal(
        fleet_count(fleet,
                    "SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
                    "WHERE n.nspname = 'holdfast' AND has_function_privilege('public', p.oid, "
                    "'EXECUTE')"),
        0);
}

static void every_function_of_a_worker_runs_as_the_owner_with_a_fixed_path(void **state)
{
    (void)state;
    assert_int_equal(
        fleet_count(fleet, "SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = "
                           "p.pronamespace WHERE n.nspname = 'holdfast' AND "
                           "has_function_privilege('holdfast_worker', p.oid, 'EXECUTE') AND (NOT "
                           "p.prosecdef OR p.proowner <> 'holdfast_owner'::regrole OR NOT EXISTS "
                           "(SELECT FROM unnest(p.proconfig) c WHERE c = 'search_path=holdfast, "
                           "pg_temp'))"),
        0);
    assert_int_equal(fleet_count(fleet, "SELECT count(*) FROM pg_roles WHERE rolname = "
                                        "'holdfast_owner' AND (rolcanlogin OR rolsuper)"),
                     0);
}

static void a_temporary_table_does_not_stand_in_for_one_of_ours(void **state)
{
    (void)state;
    /* pg_temp comes last in the path: a worker cannot become another by a table of its own. */
    assert_true(refuses("w3", "CREATE TEMP TABLE worker (no int, role_name text, retired_at "
                              "timestamptz); INSERT INTO worker VALUES (1, 'w3', NULL); SELECT * "
                              "FROM holdfast.job_claim(gen_random_uuid(), 1, 1, "
                              "gen_random_uuid())"));
}

static void NULL_is_refused_wherever_it_could_mean_anybody(void **state)
{
    static const char *const calls[] = {
        "SELECT * FROM holdfast.job_claim(NULL, 1, 1, gen_random_uuid())",
        "SELECT * FROM holdfast.job_claim(gen_random_uuid(), 1, 1, NULL)",
        "SELECT holdfast.job_finish(1, 1, NULL, 'failed', NULL, NULL, NULL, true)",
        "SELECT holdfast.job_finish(1, NULL, gen_random_uuid(), 'failed', NULL, NULL, NULL, true)",
        "SELECT holdfast.job_held(1, 1, NULL)",
        "SELECT holdfast.pack_begin(1, 1, NULL, gen_random_uuid(), gen_random_uuid(), 'data')",
        "SELECT * FROM holdfast.chunk_lookup(1, 1, NULL, '{}')",
        "SELECT holdfast.pack_adopt(1, 1, NULL)",
        "SELECT holdfast.job_answer_set(1, 1, NULL, '{}')",
        "SELECT * FROM holdfast.markers_due(1, 1, NULL)",
        ("SELECT * FROM holdfast.worker_beat(NULL, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', "
         "'{}', '{}')"),
    };
    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        if (!refuses("w1", calls[i]))
            fail_msg("not refused: %s", calls[i]);
}

static void a_NULL_claim_does_not_speak_for_a_job_that_waits(void **state)
{
    Fence fence = fleet_claim(&one, fleet_ticket(fleet, "s1"));
    char sql[300], now[16];
    bool fenced;
    (void)state;
    OK(catalog_job_finish(one.c, &fence, &(JobVerdictRow){.outcome = OUTCOME_RELEASED}, now,
                          &fenced, &err));
    /* The row's claim is NULL now: `<>` would let NULL pass. */
    snprintf(sql, sizeof sql,
             "SELECT holdfast.job_finish(%llu, %llu, NULL, 'failed', NULL, NULL, NULL, false)",
             (unsigned long long)fence.job, (unsigned long long)fence.attempt);
    assert_true(refuses("w1", sql));
    OK(catalog_job_cancel(fleet->scheduler, fence.job, TEXT("t"), (Text){0}, now, &err));
}

static void another_workers_job_cannot_be_spoken_for_even_with_its_claim(void **state)
{
    Fence fence = fleet_claim(&one, fleet_ticket(fleet, "s2"));
    JobVerdictRow done = {.outcome = OUTCOME_FAILED, .retry = false};
    Uuid object = rand_uuid(), pack = rand_uuid();
    uint64_t number;
    char now[16], detail[256];
    bool fenced, held, cancel;
    CommitAnswer answer;
    BeatAnswer beat;
    BeatSummary summary;
    (void)state;
    OK(catalog_job_finish(two.c, &fence, &done, now, &fenced, &err));
    assert_true(fenced);
    REFUSED("job.fenced",
            catalog_pack_begin(two.c, &fence, &object, &pack, PACK_DATA, &number, &err));
    OK(catalog_job_held(two.c, &fence, &held, &cancel, &err));
    assert_false(held);
    BackupRow row = fleet_backup(NULL, 0, 1);
    OK(catalog_backup_commit(two.c, &fence, &row, &answer, detail, &err));
    assert_int_equal(answer, COMMIT_FENCED);
    OK(catalog_worker_beat(two.c, &two.instance, &(BeatRow){.fence = fence}, 1, &beat, &summary,
                           &err));
    assert_false(beat.held);
    OK(catalog_job_held(one.c, &fence, &held, &cancel, &err));
    assert_true(held);
    OK(catalog_job_finish(one.c, &fence, &done, now, &fenced, &err));
    assert_string_equal(now, "failed");
}

static void a_job_of_a_foreign_pool_is_not_even_told_of(void **state)
{
    TicketRow ticket = fleet_ticket(fleet, "s3");
    Uuid claim = rand_uuid();
    ClaimAnswer foreign, unknown;
    char now[16];
    (void)state;
    OK(catalog_job_claim(outsider.c, &outsider.instance, ticket.job, ticket.dispatch, &claim,
                         &foreign, &err));
    OK(catalog_job_claim(outsider.c, &outsider.instance, 999999, 1, &claim, &unknown, &err));
    assert_int_equal(foreign.status, CLAIM_STALE);
    assert_string_equal(foreign.missing, unknown.missing);
    catalog_job_claim_free(&foreign);
    catalog_job_claim_free(&unknown);
    OK(catalog_job_cancel(fleet->scheduler, ticket.job, TEXT("t"), (Text){0}, now, &err));
}

static void an_instance_of_another_worker_cannot_be_borrowed(void **state)
{
    TicketRow ticket = fleet_ticket(fleet, "s3");
    Uuid claim = rand_uuid();
    ClaimAnswer answer;
    WorkerWelcome welcome;
    char now[16];
    (void)state;
    REFUSED("worker.other_instance", catalog_job_claim(two.c, &one.instance, ticket.job,
                                                       ticket.dispatch, &claim, &answer, &err));
    WorkerHello hello = {.instance = one.instance,
                         .name = TEXT("w2"),
                         .version = TEXT("x"),
                         .slots = 1,
                         .clock_ns = 1000,
                         .facts = TEXT("{}")};
    REFUSED("worker.other_instance", catalog_worker_hello(two.c, &hello, &welcome, &err));
    hello.instance = two.instance;
    hello.name = TEXT("w1");
    REFUSED("worker.other_name", catalog_worker_hello(two.c, &hello, &welcome, &err));
    OK(catalog_job_cancel(fleet->scheduler, ticket.job, TEXT("t"), (Text){0}, now, &err));
}

static void a_stale_attempt_changes_nothing(void **state)
{
    Fence old = fleet_claim(&one, fleet_ticket(fleet, "s1"));
    PackRow pack = fleet_stage(one.c, &old, 40, 2);
    Uuid object = rand_uuid(), pack_id = rand_uuid();
    ChunkId id = fleet_chunk(40, 0);
    ChunkPlace place;
    uint64_t number;
    char now[16], detail[256];
    bool fenced;
    CommitAnswer answer;
    TicketList list;
    (void)state;
    OK(catalog_job_finish(one.c, &old, &(JobVerdictRow){.outcome = OUTCOME_FAILED, .retry = true},
                          now, &fenced, &err));
    assert_string_equal(now, "pending");
    OK(catalog_dispatch_pick(fleet->scheduler, two.welcome.pools[0].number, 10, &list, &err));
    assert_int_equal(list.count, 1);
    Fence young = fleet_claim(&two, list.rows[0]);
    catalog_tickets_free(&list);
    assert_int_equal(young.attempt, old.attempt + 1);

    BackupRow row = fleet_backup(&pack.pack_no, 1, 1);
    OK(catalog_backup_commit(one.c, &old, &row, &answer, detail, &err));
    assert_int_equal(answer, COMMIT_FENCED);
    REFUSED("job.fenced",
            catalog_pack_begin(one.c, &old, &object, &pack_id, PACK_DATA, &number, &err));
    REFUSED("job.fenced", catalog_pack_stage(one.c, &old, &pack, &err));
    REFUSED("job.fenced", catalog_chunk_lookup(one.c, &old, &id, 1, &place, &err));
    OK(catalog_job_log(one.c, &old, &(JobLogLine){.at_ns = 1, .event = TEXT("x")}, 1, &fenced,
                       &err));
    assert_true(fenced);
    OK(catalog_job_answer(one.c, &old, TEXT("{}"), &fenced, &err));
    assert_true(fenced);
    /* The same number with another claim, as after a lost tail of the catalogue. */
    Fence forged = {young.job, young.attempt, old.claim};
    OK(catalog_job_finish(two.c, &forged, &(JobVerdictRow){.outcome = OUTCOME_FAILED}, now, &fenced,
                          &err));
    assert_true(fenced);
    BeatAnswer beat;
    BeatSummary summary;
    OK(catalog_worker_beat(two.c, &two.instance, &(BeatRow){.fence = forged}, 1, &beat, &summary,
                           &err));
    assert_false(beat.held);
    REFUSED("job.fenced",
            catalog_pack_begin(two.c, &forged, &object, &pack_id, PACK_DATA, &number, &err));
    OK(catalog_backup_commit(two.c, &forged, &row, &answer, detail, &err));
    assert_int_equal(answer, COMMIT_FENCED);
    OK(catalog_job_finish(two.c, &young, &(JobVerdictRow){.outcome = OUTCOME_FAILED}, now, &fenced,
                          &err));
    assert_string_equal(now, "failed");
}

static void a_backup_is_completed_by_its_commit_only(void **state)
{
    Fence fence = fleet_claim(&one, fleet_ticket(fleet, "s1"));
    char now[16];
    bool fenced;
    (void)state;
    REFUSED("job.outcome",
            catalog_job_finish(one.c, &fence, &(JobVerdictRow){.outcome = OUTCOME_COMPLETED}, now,
                               &fenced, &err));
    OK(catalog_job_finish(one.c, &fence, &(JobVerdictRow){.outcome = OUTCOME_FAILED}, now, &fenced,
                          &err));
}

static void another_attempts_packs_and_unknown_ones_are_damage_not_a_backup(void **state)
{
    Fence mine = fleet_claim(&one, fleet_ticket(fleet, "s1"));
    Fence other = fleet_claim(&two, fleet_ticket(fleet, "s2"));
    PackRow theirs = fleet_stage(two.c, &other, 50, 1);
    uint64_t unknown = 1000000;
    char now[16], detail[256];
    bool fenced;
    CommitAnswer answer;
    (void)state;
    BackupRow row = fleet_backup(&theirs.pack_no, 1, 1);
    OK(catalog_backup_commit(one.c, &mine, &row, &answer, detail, &err));
    assert_int_equal(answer, COMMIT_DAMAGED);
    row.pack_nos = &unknown;
    OK(catalog_backup_commit(one.c, &mine, &row, &answer, detail, &err));
    assert_int_equal(answer, COMMIT_DAMAGED);
    assert_string_equal(detail, "1000000");
    REFUSED("pack.not_ours", catalog_pack_stage(one.c, &mine, &theirs, &err));
    PackRow begun = {.object = rand_uuid(), .pack = rand_uuid()};
    OK(catalog_pack_begin(one.c, &mine, &begun.object, &begun.pack, PACK_DATA, &begun.pack_no,
                          &err));
    row.pack_nos = &begun.pack_no;
    OK(catalog_backup_commit(one.c, &mine, &row, &answer, detail, &err));
    assert_int_equal(answer, COMMIT_DAMAGED); /* begun, never durable */
    JobVerdictRow failed = {.outcome = OUTCOME_FAILED};
    OK(catalog_job_finish(one.c, &mine, &failed, now, &fenced, &err));
    OK(catalog_job_finish(two.c, &other, &failed, now, &fenced, &err));
}

static void a_writer_cannot_call_packs_verified_nor_read_backups(void **state)
{
    (void)state;
    Uuid backup = fleet_back_up(fleet, &two, "s4", 1, 60);
    Fence fence = fleet_claim(&two, fleet_ticket(fleet, "s4"));
    Sha256 sha = {{60}};
    uint64_t number = 1;
    size_t changed;
    BackupOpened opened;
    ChunkId id = fleet_chunk(60, 0);
    ChunkPlace place;
    char now[16];
    bool fenced;
    REFUSED("catalogue.denied",
            catalog_pack_verified(two.c, &fence, &number, &sha, 1, &changed, &err));
    REFUSED("job.other_backup", catalog_backup_open(two.c, &fence, &backup, &opened, &err));
    REFUSED("job.not_a_reader", catalog_chunk_find(two.c, &fence, &id, 1, &place, &err));
    REFUSED("job.not_a_reader", catalog_pack_damaged(two.c, &fence, 1, TEXT("x"), &err));
    OK(catalog_job_finish(two.c, &fence, &(JobVerdictRow){.outcome = OUTCOME_FAILED}, now, &fenced,
                          &err));
}

static void names_that_look_like_statements_are_only_names(void **state)
{
    static const char *const names[] = {
        "'; DROP TABLE holdfast.job; --", "%s%n", "\xF0\x9F\x98\x80", "$(id)", "\\", "s1'"};
    JobCreated created;
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        REFUSED("source.unknown", catalog_job_create(fleet->scheduler,
                                                     &(JobRequest){.kind = TEXT("backup"),
                                                                   .actor = TEXT("t"),
                                                                   .source = text_of(names[i])},
                                                     &created, &err));
    }
    scoped(mem_release) char *huge = mem_zeroed(1, 65537);
    memset(huge, 'x', 65536);
    REFUSED("source.unknown",
            catalog_job_create(
                fleet->scheduler,
                &(JobRequest){.kind = TEXT("backup"), .actor = TEXT("t"), .source = text_of(huge)},
                &created, &err));
    assert_true(fleet_count(fleet, "SELECT count(*) FROM job") > 0);
}

static int start(void **state)
{
    (void)state;
    fleet = fleet_start();
    fleet_policy(fleet, 5, "");
    fleet_do(fleet, "UPDATE setting SET value = 60 WHERE name IN ('lease_s', 'liveness_s')");
    one = fleet_worker(fleet, "w1", true);
    two = fleet_worker(fleet, "w2", false);
    outsider = fleet_worker(fleet, "w3", true);
    fleet_do(fleet, "UPDATE worker SET pools = ARRAY[pool_named('edge')] WHERE name = 'w3'");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    fleet_worker_close(&one);
    fleet_worker_close(&two);
    fleet_worker_close(&outsider);
    fleet_stop(fleet);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_touches_no_table_of_the_schema),
        cmocka_unit_test(a_worker_executes_its_own_functions_and_none_of_the_schedulers),
        cmocka_unit_test(every_function_of_a_worker_runs_as_the_owner_with_a_fixed_path),
        cmocka_unit_test(a_temporary_table_does_not_stand_in_for_one_of_ours),
        cmocka_unit_test(NULL_is_refused_wherever_it_could_mean_anybody),
        cmocka_unit_test(a_NULL_claim_does_not_speak_for_a_job_that_waits),
        cmocka_unit_test(another_workers_job_cannot_be_spoken_for_even_with_its_claim),
        cmocka_unit_test(a_job_of_a_foreign_pool_is_not_even_told_of),
        cmocka_unit_test(an_instance_of_another_worker_cannot_be_borrowed),
        cmocka_unit_test(a_stale_attempt_changes_nothing),
        cmocka_unit_test(a_backup_is_completed_by_its_commit_only),
        cmocka_unit_test(another_attempts_packs_and_unknown_ones_are_damage_not_a_backup),
        cmocka_unit_test(a_writer_cannot_call_packs_verified_nor_read_backups),
        cmocka_unit_test(names_that_look_like_statements_are_only_names),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
