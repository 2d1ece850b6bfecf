/* SPDX-License-Identifier: Apache-2.0
 * Audit chain, tokens, idempotency keys, decisions, answers: who asked for what, and what is kept.
 */
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/rand.h"
#include "common/catalog/catalog_audit.h"
#include "common/catalog/catalog_token.h"
#include "common/catalog/catalog_view.h"
#include "tests/integration/catalog/check.h"

#include <jansson.h>
#include <pthread.h>

static Fleet *fleet;
static FleetWorker one;
static const int64_t day_ns = INT64_C(86400) * 1000000000;

static void note(const char *action, const char *object)
{
    AuditRow row = {.actor = TEXT("a.ito"),
                    .actor_kind = TEXT("user"),
                    .via = TEXT("cli"),
                    .client_ip = TEXT("10.0.0.9"),
                    .action = text_of(action),
                    .object = text_of(object),
                    .reason = TEXT("GDPR-118"),
                    .result = TEXT("ok"),
                    .detail = TEXT("{\"n\":1}")};
    OK(catalog_audit_add(fleet->scheduler, &row, &err));
}

static void link_all(void)
{
    uint32_t linked;
    do
        OK(catalog_audit_chain(fleet->scheduler, &linked, &err));
    while (linked > 0);
}

static size_t breaks(char finding[64])
{
    scoped(buf_free) Buf text = {0};
    OK(catalog_view(fleet->scheduler, VIEW_AUDIT_BREAKS, NULL, &text, &err));
    json_t *json = json_loadb((const char *)text.at, text.len, 0, NULL);
    json_t *items = json_object_get(json, "items");
    size_t count = json_array_size(items);
    const char *first = json_string_value(json_object_get(json_array_get(items, 0), "finding"));
    snprintf(finding, 64, "%s", first == NULL ? "" : first);
    json_decref(json);
    return count;
}

static void *chain_beside(void *ctx)
{
    uint32_t linked;
    for (int i = 0; i < 20; i++)
        OK(catalog_audit_chain(ctx, &linked, &err));
    return NULL;
}

static void events_are_linked_without_gap_though_two_schedulers_link(void **state)
{
    Catalog *second = fleet_connect(fleet, "holdfast_scheduler");
    pthread_t thread;
    char finding[64];
    uint64_t seq;
    Sha256 head;
    (void)state;
    pthread_create(&thread, NULL, chain_beside, second);
    for (int i = 0; i < 40; i++) {
        uint32_t linked;
        note("backup.run", "s1");
        OK(catalog_audit_chain(fleet->scheduler, &linked, &err));
    }
    pthread_join(thread, NULL);
    catalog_close(second);
    link_all();
    assert_int_equal(breaks(finding), 0);
    OK(catalog_audit_head(fleet->scheduler, &seq, &head, &err));
    assert_int_equal(seq, fleet_count(fleet, "SELECT count(*) FROM audit_event"));
    assert_int_equal(seq, fleet_count(fleet, "SELECT max(seq) FROM audit_event"));
}

static void an_event_is_neither_changed_nor_deleted_nor_cut_unseen(void **state)
{
    char finding[64];
    uint64_t seq;
    Sha256 head;
    (void)state;
    note("restore.start", "s1");
    link_all();
    OK(catalog_audit_head(fleet->scheduler, &seq, &head, &err));
    OK(catalog_audit_anchor(fleet->scheduler, seq, &head, TEXT("the daily mail"), &err));
    /* Not by any role of ours, and not by the owner either: the trigger speaks. */
    char conninfo[256], command[700];
    static const char *const tries[] = {
        "UPDATE holdfast.audit_event SET actor = 'nobody' WHERE seq = 1",
        "DELETE FROM holdfast.audit_event",
        "TRUNCATE holdfast.audit_event",
        "UPDATE holdfast.audit_event SET hash = '\\\\x00' WHERE seq = 1",
    };
    static const char *const roles[] = {"postgres", "holdfast_scheduler"};
    for (size_t r = 0; r < 2; r++) {
        postgres_as(fleet->pg, roles[r], "postgres", conninfo);
        for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
            snprintf(command, sizeof command,
                     "psql -qX -d '%s' -v ON_ERROR_STOP=1 -c \"%s\" >/dev/null 2>&1", conninfo,
                     tries[i]);
            assert_int_not_equal(system(command), 0);
        }
    }
    assert_int_equal(breaks(finding), 0);
    /* Whoever owns the server can take the trigger away; the chain and the anchor then tell. */
    fleet_do(fleet,
             "ALTER TABLE audit_event DISABLE TRIGGER audit_append_only; UPDATE audit_event SET "
             "actor = 'nobody' WHERE seq = 3");
    assert_int_equal(breaks(finding), 1);
    assert_string_equal(finding, "CONTENT CHANGED");
    fleet_do(fleet,
             "UPDATE audit_event SET actor = 'a.ito' WHERE seq = 3; DELETE FROM audit_event WHERE "
             "seq = (SELECT max(seq) FROM audit_event)");
    breaks(finding);
    assert_string_equal(finding, "CUT OR REWRITTEN AFTER ANCHOR");
    fleet_do(fleet,
             "ALTER TABLE audit_event ENABLE TRIGGER audit_append_only; DELETE FROM audit_anchor");
}

static void a_token_is_found_by_its_hash_until_it_expires_or_is_revoked(void **state)
{
    Sha256 hash, other;
    TokenRow row;
    bool found, any;
    uint64_t id;
    (void)state;
    hash_sha256((Slice){(const uint8_t *)"hf_secret", 9}, &hash);
    hash_sha256((Slice){(const uint8_t *)"hf_wrong", 8}, &other);
    OK(catalog_token_any(fleet->scheduler, TEXT("admin"), &any, &err));
    assert_false(any);
    OK(catalog_token_create(fleet->scheduler, TEXT("ci"), TEXT("admin"), &hash,
                            clock_wall_ns() + day_ns, TEXT("t"), &id, &err));
    OK(catalog_token_any(fleet->scheduler, TEXT("admin"), &any, &err));
    assert_true(any);
    OK(catalog_token_find(fleet->scheduler, &hash, &row, &found, &err));
    assert_true(found);
    assert_string_equal(row.name, "ci");
    assert_string_equal(row.role, "admin");
    OK(catalog_token_find(fleet->scheduler, &other, &row, &found, &err));
    assert_false(found);
    REFUSED("token.exists",
            catalog_token_create(fleet->scheduler, TEXT("ci"), TEXT("viewer"), &other,
                                 clock_wall_ns() + day_ns, TEXT("t"), &id, &err));
    REFUSED("token.role", catalog_token_create(fleet->scheduler, TEXT("x"), TEXT("king"), &other,
                                               clock_wall_ns() + day_ns, TEXT("t"), &id, &err));
    fleet_do(fleet, "UPDATE token SET expires_at = now() - interval '1 second'");
    OK(catalog_token_find(fleet->scheduler, &hash, &row, &found, &err));
    assert_false(found);
    fleet_do(fleet, "UPDATE token SET expires_at = now() + interval '1 day'");
    OK(catalog_token_revoke(fleet->scheduler, TEXT("ci"), TEXT("t"), TEXT(""), &err));
    OK(catalog_token_find(fleet->scheduler, &hash, &row, &found, &err));
    assert_false(found);
    REFUSED("token.unknown",
            catalog_token_revoke(fleet->scheduler, TEXT("ci"), TEXT("t"), TEXT(""), &err));
}

static void a_token_may_be_revoked_by_the_id_that_lists_show(void **state)
{
    Sha256 hash = {{1}};
    uint64_t id;
    char text[32];
    (void)state;
    OK(catalog_token_create(fleet->scheduler, TEXT("by-id"), TEXT("viewer"), &hash,
                            clock_wall_ns() + day_ns, TEXT("t"), &id, &err));
    snprintf(text, sizeof text, "tk_%llu", (unsigned long long)id);
    OK(catalog_token_revoke(fleet->scheduler, text_of(text), TEXT("t"), TEXT(""), &err));
}

static void a_request_that_comes_again_gets_the_first_answer(void **state)
{
    Sha256 request = {{1}}, other = {{2}};
    IdempotencyAnswer answer;
    int status;
    scoped(buf_free) Buf body = {0};
    Text actor = TEXT("ci"), key = TEXT("k");
    (void)state;
    OK(catalog_idempotency_begin(fleet->scheduler, actor, key, &request, &answer, &status, &body,
                                 &err));
    assert_int_equal(answer, IDEMPOTENCY_NEW);
    OK(catalog_idempotency_begin(fleet->scheduler, actor, key, &request, &answer, &status, &body,
                                 &err));
    assert_int_equal(answer, IDEMPOTENCY_RUNNING);
    OK(catalog_idempotency_done(fleet->scheduler, actor, key, 202, TEXT("{\"id\":\"jb_1\"}"),
                                &err));
    OK(catalog_idempotency_begin(fleet->scheduler, actor, key, &request, &answer, &status, &body,
                                 &err));
    assert_int_equal(answer, IDEMPOTENCY_DONE);
    assert_int_equal(status, 202);
    assert_string_equal(buf_cstr(&body), "{\"id\":\"jb_1\"}");
    OK(catalog_idempotency_begin(fleet->scheduler, actor, key, &other, &answer, &status, &body,
                                 &err));
    assert_int_equal(answer, IDEMPOTENCY_OTHER);
    OK(catalog_idempotency_done(fleet->scheduler, actor, key, 0, (Text){0}, &err));
    OK(catalog_idempotency_begin(fleet->scheduler, actor, key, &other, &answer, &status, &body,
                                 &err));
    assert_int_equal(answer, IDEMPOTENCY_NEW);
}

static void a_probes_answer_lives_its_hour_and_a_large_one_is_refused(void **state)
{
    scoped(buf_free) Buf huge = {0}, json = {0};
    char now[16];
    bool fenced;
    (void)state;
    TicketRow ticket = fleet_job(fleet, &(JobRequest){.kind = TEXT("probe"),
                                                      .source = TEXT("s1"),
                                                      .params = TEXT("{\"probe\":\"source_test\"}"),
                                                      .actor = TEXT("t")});
    Fence fence = fleet_claim(&one, ticket);
    buf_add_byte(&huge, '"');
    memset(buf_extend(&huge, 1 << 20), 'x', 1 << 20);
    buf_add_byte(&huge, '"');
    REFUSED("job.answer_size", catalog_job_answer(one.c, &fence, buf_text(&huge), &fenced, &err));
    REFUSED("catalogue.value", catalog_job_answer(one.c, &fence, TEXT("{no json"), &fenced, &err));
    OK(catalog_job_answer(one.c, &fence, TEXT("{\"ok\":true}"), &fenced, &err));
    OK(catalog_job_finish(one.c, &fence, &(JobVerdictRow){.outcome = OUTCOME_COMPLETED}, now,
                          &fenced, &err));
    assert_string_equal(now, "completed");
    OK(catalog_view(fleet->scheduler, VIEW_JOB_ANSWER, &(ViewArgs){.job = fence.job}, &json, &err));
    assert_string_equal(buf_cstr(&json), "{\"ok\":true}");
    fleet_do(fleet, "UPDATE job_answer SET expires_at = now()");
    REFUSED("view.nothing", catalog_view(fleet->scheduler, VIEW_JOB_ANSWER,
                                         &(ViewArgs){.job = fence.job}, &json, &err));
    OK(catalog_housekeep(fleet->scheduler, &err));
    assert_int_equal(fleet_count(fleet, "SELECT count(*) FROM job_answer"), 0);
}

static void the_log_of_a_job_is_cut_not_endless(void **state)
{
    JobLogLine lines[30];
    char now[16];
    bool fenced;
    (void)state;
    fleet_do(fleet, "UPDATE setting SET value = 50 WHERE name = 'log_lines'");
    Fence fence = fleet_claim(&one, fleet_ticket(fleet, "s1"));
    for (int i = 0; i < 30; i++)
        lines[i] =
            (JobLogLine){.at_ns = 1000 + i, .level = 1, .event = TEXT("e"), .text = TEXT("t")};
    for (int i = 0; i < 3; i++)
        OK(catalog_job_log(one.c, &fence, lines, 30, &fenced, &err));
    assert_int_equal(fleet_count(fleet, "SELECT count(*) FROM job_log"), 50);
    assert_int_equal(fleet_count(fleet, "SELECT max(log_lines) FROM job_attempt"), 90);
    OK(catalog_job_finish(one.c, &fence, &(JobVerdictRow){.outcome = OUTCOME_FAILED}, now, &fenced,
                          &err));
}

static void the_same_decision_again_is_counted_not_repeated(void **state)
{
    JobCreated created;
    (void)state;
    OK(catalog_job_create(
        fleet->scheduler,
        &(JobRequest){.kind = TEXT("backup"), .source = TEXT("s2"), .actor = TEXT("t")}, &created,
        &err));
    for (int i = 0; i < 3; i++)
        OK(catalog_decision_add(fleet->scheduler,
                                &(DecisionRow){.job = created.job,
                                               .verdict = TEXT("deferred"),
                                               .code = TEXT("window"),
                                               .text = TEXT("closed until 22:00")},
                                &err));
    OK(catalog_decision_add(fleet->scheduler,
                            &(DecisionRow){.source = TEXT("s2"),
                                           .verdict = TEXT("held"),
                                           .code = TEXT("load"),
                                           .text = TEXT("load 9.1 > 4")},
                            &err));
    assert_int_equal(fleet_count(fleet, "SELECT count FROM decision WHERE code = 'window'"), 3);
    assert_int_equal(
        fleet_count(fleet, "SELECT count(*) FROM decision WHERE code = 'load' AND source = 2"), 1);
}

static void an_auditor_reads_the_reports_and_nothing_else(void **state)
{
    (void)state;
    assert_int_equal(
        fleet_count(
            fleet, "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                   "WHERE n.nspname = 'holdfast' AND c.relkind IN ('r', 'p') AND c.relname <> "
                   "'schema_version' AND has_table_privilege('holdfast_auditor', c.oid, 'SELECT')"),
        0);
    assert_true(fleet_count(fleet,
                            "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = "
                            "c.relnamespace WHERE n.nspname = 'holdfast' AND c.relkind = 'v' AND "
                            "has_table_privilege('holdfast_auditor', c.oid, 'SELECT')") >= 8);
}

/* Asks as the auditor, whose only rights are the reports. */
static void ask_as_auditor(const char *sql, char out[512])
{
    scoped(buf_free) Buf whole = {0};
    buf_printf(&whole, "SET ROLE holdfast_auditor; %s", sql);
    fleet_ask(fleet, buf_cstr(&whole), out);
}

/* A view lends its owner's rights to tables, and to functions none. */
static void an_auditor_may_read_every_view_that_is_granted(void **state)
{
    (void)state;
    char answer[512];
    ask_as_auditor(
        "DO $$ DECLARE v regclass; BEGIN FOR v IN SELECT c.oid FROM pg_class c WHERE "
        "c.relnamespace = 'holdfast'::regnamespace AND c.relkind = 'v' AND "
        "has_table_privilege('holdfast_auditor', c.oid, 'SELECT') LOOP BEGIN EXECUTE "
        "format('SELECT count(*) FROM (SELECT * FROM %s) x', v); EXECUTE format('SELECT * FROM %s "
        "LIMIT 1', v); EXCEPTION WHEN insufficient_privilege THEN RAISE EXCEPTION '%: %', v, "
        "SQLERRM; END; END LOOP; END $$; SELECT 'all'",
        answer);
    assert_string_equal(answer, "all");
}

static void an_auditors_questions_have_one_query_each(void **state)
{
    char answer[512];
    char now[16];
    bool fenced;
    (void)state;
    fleet_do(fleet,
             "UPDATE job SET state = 'cancelled', finished_at = now() WHERE state = 'pending'");
    fleet_back_up(fleet, &one, "s3", 1, 3);
    ask_as_auditor(
        "SELECT concat_ws(' ', kind, source, trigger, asked_by, state, worker, host, store, "
        "new_bytes) FROM holdfast.audit_runs WHERE backup IS NOT NULL",
        answer);
    assert_string_equal(answer, "backup s3 manual test completed w1 w1 nas 50");
    Fence fence = fleet_claim(&one, fleet_ticket(fleet, "s3"));
    OK(catalog_job_finish(one.c, &fence,
                          &(JobVerdictRow){.outcome = OUTCOME_FAILED, .text = TEXT("disk is gone")},
                          now, &fenced, &err));
    ask_as_auditor("SELECT source || ': ' || error FROM holdfast.audit_failures LIMIT 1", answer);
    assert_string_equal(answer, "s3: disk is gone");
    ask_as_auditor("SELECT string_agg(source || ' ' || verdict, ', ' ORDER BY source) FROM "
                   "holdfast.rpo_report(now() - interval '1 day', now() + interval '1 minute')",
                   answer);
    assert_string_equal(answer, "s1 NEVER BACKED UP, s2 NEVER BACKED UP, s3 met");
    ask_as_auditor("SELECT string_agg(state, ', ' ORDER BY source) FROM holdfast.audit_coverage",
                   answer);
    assert_string_equal(answer, "COVERED, NO BACKUP YET, COVERED, NO BACKUP YET, covered");
    ask_as_auditor("SELECT key_set || ' ' || verdict FROM holdfast.audit_encryption", answer);
    assert_string_equal(answer, "keys ok");
    ask_as_auditor("SELECT count(*) FROM holdfast.audit_breaks", answer);
    assert_string_equal(answer, "0");
    ask_as_auditor("SELECT count(*) > 0 FROM holdfast.audit_access", answer);
    assert_string_equal(answer, "t");
    ask_as_auditor("SELECT count(*) FROM holdfast.audit_retention", answer);
    assert_string_equal(answer, "0");
    ask_as_auditor("SELECT verdict FROM holdfast.audit_restore_tests WHERE source = 's3'", answer);
    assert_string_equal(answer, "NEVER TESTED");
}

static int start(void **state)
{
    (void)state;
    fleet = fleet_start();
    fleet_policy(fleet, 3, "");
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
        cmocka_unit_test(events_are_linked_without_gap_though_two_schedulers_link),
        cmocka_unit_test(an_event_is_neither_changed_nor_deleted_nor_cut_unseen),
        cmocka_unit_test(a_token_is_found_by_its_hash_until_it_expires_or_is_revoked),
        cmocka_unit_test(a_token_may_be_revoked_by_the_id_that_lists_show),
        cmocka_unit_test(a_request_that_comes_again_gets_the_first_answer),
        cmocka_unit_test(a_probes_answer_lives_its_hour_and_a_large_one_is_refused),
        cmocka_unit_test(the_log_of_a_job_is_cut_not_endless),
        cmocka_unit_test(the_same_decision_again_is_counted_not_repeated),
        cmocka_unit_test(an_auditor_reads_the_reports_and_nothing_else),
        cmocka_unit_test(an_auditor_may_read_every_view_that_is_granted),
        cmocka_unit_test(an_auditors_questions_have_one_query_each),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
