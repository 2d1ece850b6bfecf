/* SPDX-License-Identifier: Apache-2.0
 * The life of one backup, from the policy to the audit, by the calls of the programs. */
#include "common/base/rand.h"
#include "common/catalog/catalog_audit.h"
#include "common/catalog/catalog_policy.h"
#include "common/catalog/catalog_token.h"
#include "common/catalog/catalog_view.h"
#include "tests/harness/fleet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <jansson.h>

static Fleet *fleet;
static FleetWorker one;

static void ok(bool done, const Err *err)
{
    if (!done)
        fail_msg("%s: %s", err->cause, err->text);
}

static json_t *view(CatalogView which, const ViewArgs *args)
{
    scoped(buf_free) Buf text = {0};
    Err err = {0};
    ok(catalog_view(fleet->scheduler, which, args, &text, &err), &err);
    json_t *json = json_loadb((const char *)text.at, text.len, 0, NULL);
    assert_non_null(json);
    return json;
}

static const char *field(json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* The commit ended the job; what its attempt says of it is taken for a minute, from it alone. */
static void last_words(const Fence *fence)
{
    Err err = {0};
    bool fenced;
    JobLogLine line = {.at_ns = 2, .level = 1, .event = TEXT("end"), .text = TEXT("committed")};
    ok(catalog_job_log(one.c, fence, &line, 1, &fenced, &err), &err);
    assert_false(fenced);
    Fence forged = {fence->job, fence->attempt, rand_uuid()};
    ok(catalog_job_log(one.c, &forged, &line, 1, &fenced, &err), &err);
    assert_true(fenced);
    FleetWorker other = fleet_worker(fleet, "w8", false);
    ok(catalog_job_log(other.c, fence, &line, 1, &fenced, &err), &err);
    assert_true(fenced);
    fleet_worker_close(&other);
    fleet_do(
        fleet,
        "DELETE FROM worker_instance WHERE worker = (SELECT no FROM worker WHERE name = 'w8'); "
        "DELETE FROM worker WHERE name = 'w8'");
    fleet_do(fleet, "UPDATE job_attempt SET ended_at = ended_at - interval '2 minutes'");
    ok(catalog_job_log(one.c, fence, &line, 1, &fenced, &err), &err);
    assert_true(fenced);
    fleet_do(fleet, "UPDATE job_attempt SET ended_at = ended_at + interval '2 minutes'");
}

static void a_backup_goes_from_request_to_commit_with_an_order_that_says_it_all(void **state)
{
    Err err = {0};
    ClaimAnswer claim;
    (void)state;
    TicketRow ticket = fleet_ticket(fleet, "s1");
    Fence fence = {.job = ticket.job, .claim = rand_uuid()};
    ok(catalog_job_claim(one.c, &one.instance, ticket.job, ticket.dispatch, &fence.claim, &claim,
                         &err),
       &err);
    assert_int_equal(claim.status, CLAIM_GRANTED);
    fence.attempt = claim.attempt;
    json_t *order = json_loadb((const char *)claim.order.at, claim.order.len, 0, NULL);
    assert_non_null(order);
    assert_string_equal(field(order, "kind"), "backup");
    assert_string_equal(field(json_object_get(order, "source"), "name"), "s1");
    json_t *repository = json_object_get(order, "repository");
    assert_string_equal(field(repository, "key_set"), "keys");
    assert_string_equal(field(json_object_get(repository, "store"), "path"), "/srv/b");
    assert_true(json_is_null(json_object_get(order, "parent")));
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(order, "policy"), "timeout_s")), 3600);
    json_decref(order);
    catalog_job_claim_free(&claim);

    BeatRow beat = {.fence = fence,
                    .phase = TEXT("read"),
                    .bytes_done = 5,
                    .bytes_total = 9,
                    .total_basis = TEXT("plan")};
    BeatAnswer answer;
    BeatSummary summary;
    ok(catalog_worker_beat(one.c, &one.instance, &beat, 1, &answer, &summary, &err), &err);
    assert_true(answer.held && !answer.cancel && summary.known);

    json_t *job = view(VIEW_JOB, &(ViewArgs){.job = fence.job});
    assert_string_equal(field(job, "state"), "running");
    assert_string_equal(field(json_object_get(job, "progress"), "phase"), "read");
    json_decref(job);

    uint64_t gc, confirmed;
    Uuid repo_id = rand_uuid(), other = rand_uuid();
    ok(catalog_repository_bind(one.c, &fence, &repo_id, &gc, &confirmed, &err), &err);
    assert_false(catalog_repository_bind(one.c, &fence, &other, &gc, &confirmed, &err));
    assert_string_equal(err.cause, "repo.other_id");

    PackRow pack = fleet_stage(one.c, &fence, 1, 3);
    ChunkId ids[] = {fleet_chunk(1, 0), fleet_chunk(1, 2), fleet_chunk(9, 9)};
    ChunkPlace places[3];
    ok(catalog_chunk_lookup(one.c, &fence, ids, 3, places, &err), &err);
    assert_true(places[0].found && places[1].found && !places[2].found);
    assert_int_equal(places[1].pack_no, pack.pack_no);
    assert_int_equal(places[1].chunk.offset, 200);
    assert_true(uuid_equal(&places[1].object, &pack.object));

    bool fenced;
    JobLogLine line = {
        .at_ns = 1, .level = 1, .event = TEXT("x"), .text = TEXT("caf\xC3\xA9 \xFF")};
    ok(catalog_job_log(one.c, &fence, &line, 1, &fenced, &err), &err);
    assert_false(fenced);

    BackupItem item = {.kind = TEXT("path"), .name = TEXT("/srv/1"), .entries = 1, .bytes = 100};
    BackupRow row = fleet_backup(&pack.pack_no, 1, 1);
    row.items = &item;
    row.item_count = 1;
    CommitAnswer committed;
    char detail[256];
    ok(catalog_backup_commit(one.c, &fence, &row, &committed, detail, &err), &err);
    assert_int_equal(committed, COMMIT_OK);
    ok(catalog_backup_commit(one.c, &fence, &row, &committed, detail, &err), &err);
    assert_int_equal(committed, COMMIT_ALREADY);
    last_words(&fence);
    ok(catalog_marker_done(one.c, &fence, &row.id, &err), &err);
    assert_int_equal(fleet_count(fleet, "SELECT count(*) FROM backup WHERE marker_at IS NULL"), 0);

    json_t *backup = view(VIEW_BACKUP, &(ViewArgs){.first = &row.id});
    char text[BACKUP_ID_TEXT];
    uuid_backup_text(&row.id, text);
    assert_string_equal(field(backup, "id"), text);
    assert_string_equal(field(backup, "verified"), "stored ok");
    assert_int_equal(json_array_size(json_object_get(backup, "contents")), 1);
    json_decref(backup);
    json_t *logs = view(VIEW_JOB_LOGS, &(ViewArgs){.job = fence.job});
    assert_string_equal(field(json_array_get(json_object_get(logs, "items"), 0), "text"),
                        "caf\xC3\xA9 \xEF\xBF\xBD");
    json_decref(logs);
    Uuid selected;
    ok(catalog_view_select(fleet->scheduler, TEXT("s1"), 0, 0, &selected, &err), &err);
    assert_true(uuid_equal(&selected, &row.id));
    assert_false(catalog_view_select(fleet->scheduler, TEXT("s1"), 0, 1, &selected, &err));
}

static void every_view_is_json_and_names_jobs_as_the_command_does(void **state)
{
    (void)state;
    for (CatalogView which = VIEW_STATUS; which <= VIEW_EVENTS; which++) {
        if (which == VIEW_SOURCE || which == VIEW_JOB || which == VIEW_JOB_ANSWER ||
            which == VIEW_BACKUP || which == VIEW_JOB_LOGS)
            continue;
        json_decref(view(which, NULL));
    }
    json_t *jobs = view(VIEW_JOBS, &(ViewArgs){.source = TEXT("s1"), .limit = 1});
    json_t *job = json_array_get(json_object_get(jobs, "items"), 0);
    uint64_t number = (uint64_t)fleet_count(fleet, "SELECT max(id) FROM job WHERE source = 1");
    char text[JOB_ID_TEXT];
    ids_job_text(number, text);
    assert_string_equal(field(job, "id"), text);
    assert_string_equal(field(job, "state"), "completed");
    json_decref(jobs);
    json_decref(view(VIEW_SOURCE, &(ViewArgs){.name = TEXT("s1")}));
    Err err = {0};
    scoped(buf_free) Buf none = {0};
    assert_false(catalog_view(fleet->scheduler, VIEW_SOURCE, &(ViewArgs){.name = TEXT("nobody")},
                              &none, &err));
    assert_int_equal(err.code, ERR_MISSING);
    assert_false(
        catalog_view(fleet->scheduler, VIEW_JOB_LOGS, &(ViewArgs){.job = 999999}, &none, &err));
    assert_int_equal(err.code, ERR_MISSING);
}

static void the_next_order_names_the_parent_and_the_last_run(void **state)
{
    Err err = {0};
    ClaimAnswer claim;
    char state_now[16];
    bool fenced;
    (void)state;
    TicketRow ticket = fleet_ticket(fleet, "s1");
    Uuid uuid = rand_uuid();
    ok(catalog_job_claim(one.c, &one.instance, ticket.job, ticket.dispatch, &uuid, &claim, &err),
       &err);
    json_t *order = json_loadb((const char *)claim.order.at, claim.order.len, 0, NULL);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(order, "parent"), "sequence")), 1);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(order, "last"), "bytes")),
                     100);
    json_decref(order);
    Fence fence = {ticket.job, claim.attempt, uuid};
    catalog_job_claim_free(&claim);
    JobVerdictRow verdict = {.outcome = OUTCOME_RELEASED};
    ok(catalog_job_finish(one.c, &fence, &verdict, state_now, &fenced, &err), &err);
    assert_string_equal(state_now, "pending");
    ok(catalog_job_finish(one.c, &fence, &verdict, state_now, &fenced, &err), &err);
    assert_string_equal(state_now, "pending"); /* the same question again: the same answer */
    ok(catalog_job_cancel(fleet->scheduler, fence.job, TEXT("test"), TEXT("enough"), state_now,
                          &err),
       &err);
    assert_string_equal(state_now, "cancelled");
}

static int start(void **state)
{
    (void)state;
    fleet = fleet_start();
    fleet_policy(fleet, 4, "");
    /* Nobody beats here, and a busy machine takes its time. */
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
        cmocka_unit_test(a_backup_goes_from_request_to_commit_with_an_order_that_says_it_all),
        cmocka_unit_test(every_view_is_json_and_names_jobs_as_the_command_does),
        cmocka_unit_test(the_next_order_names_the_parent_and_the_last_run),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
