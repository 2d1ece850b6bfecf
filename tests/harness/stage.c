/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/stage.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/catalog/catalog_policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void must(bool done, const Err *err, const char *what)
{
    if (!done)
        fail_msg("stage: %s: %s: %s", what, err->cause, err->text);
}

void stage_policy(Stage *stage, const char *config, const char *extra)
{
    scoped(buf_free) Buf text = {0}, own = {0};
    PolicyApplied applied;
    Err err = {0};
    if (config == NULL) {
        buf_printf(&own, "{\"paths\":[\"%s\"]}", stage->tree->tree);
        config = buf_cstr(&own);
    }
    buf_printf(&text,
               "{\"fleet\":\"test\",\"pools\":{\"fra\":{}},\"key_sets\":[\"test\"],"
               "\"stores\":{\"nas\":{\"type\":\"local\",\"path\":\"%s\"}},\"sources\":{\"s1\":{"
               "\"type\":\"files\",\"policy\":\"gold\",\"pool\":\"fra\",\"store\":\"nas\","
               "\"key_set\":\"test\",\"config\":%s,\"timezone\":\"UTC\","
               "\"schedules\":{\"nightly\":{\"at\":\"0 1 * * *\"}},\"overlap\":\"skip\","
               "\"catch_up\":\"latest\",\"start_deadline_s\":3600,\"timeout_s\":3600,"
               "\"stall_s\":600,\"retry\":{\"attempts\":3,\"backoff_s\":0,\"max_backoff_s\":0,"
               "\"jitter\":\"none\"},\"rate\":0,\"compression\":{\"codec\":\"zstd\",\"level\":3},"
               "\"objectives\":{\"rpo_s\":86400}%s}}}",
               stage->repository->dir, config, extra);
    must(catalog_policy_apply(stage->fleet->scheduler, buf_text(&text), (Text){0}, TEXT("test"),
                              &applied, &err),
         &err, "policy");
}

static void make_settings(Stage *stage)
{
    Err err = {0};
    scoped(json_release) json_t *allow =
        json_pack("{s:{s:[s]},s:{s:[s]},s:[s,s,s,s]}", "read", "paths", stage->tree->top, "restore",
                  "paths", stage->tree->top, "hooks", "before", "after", "slow", "missing");
    must(allow_parse(allow, &stage->allow, &err), &err, "allow");
    snprintf(stage->keys, sizeof stage->keys, "%s/keys", stage->repository->dir);
    snprintf(stage->hooks, sizeof stage->hooks, "%s/hooks", stage->tree->top);
    snprintf(stage->scratch, sizeof stage->scratch, "%s/scratch", stage->tree->top);
    mkdir(stage->hooks, 0755);
    mkdir(stage->scratch, 0700);
    postgres_as(stage->fleet->pg, "w1", "postgres", stage->catalogue);
    stage->settings = (JobSettings){.name = "w1",
                                    .host = "w1",
                                    .catalogue = stage->catalogue,
                                    .hooks = stage->hooks,
                                    .cache = stage->tree->top,
                                    .keys = stage->keys,
                                    .memory_bytes = 32 << 20,
                                    .allow = stage->allow};
}

Stage *stage_new(const char *extra)
{
    Stage *stage = mem_new(Stage);
    void *tree = NULL;
    char link[200];
    if (file_tree_set_up(&tree) != 0)
        abort();
    stage->tree = tree;
    stage->fleet = fleet_start();
    stage->repository = repository_new(false);
    /* A repository lies at <store>/<key set>. */
    snprintf(link, sizeof link, "%s/test", stage->repository->dir);
    if (symlink(stage->repository->store_path, link) != 0)
        abort();
    make_settings(stage);
    stage_policy(stage, NULL, extra);
    stage->worker = fleet_worker(stage->fleet, "w1", true);
    return stage;
}

void stage_free(Stage *stage)
{
    void *tree = stage->tree;
    allow_free(stage->allow);
    fleet_worker_close(&stage->worker);
    fleet_stop(stage->fleet);
    repository_free(stage->repository);
    file_tree_tear_down(&tree);
    mem_free(stage);
}

static void on_progress(void *ctx, const JobProgress *progress)
{
    (void)ctx;
    (void)progress;
}

static void on_log(void *ctx, LogLevel level, const char *event, const char *text)
{
    Stage *stage = ctx;
    (void)level;
    stage->log_lines++;
    snprintf(stage->last_log, sizeof stage->last_log, "%s %s", event, text);
    size_t len = strlen(stage->all_log);
    snprintf(stage->all_log + len, sizeof stage->all_log - len, "%s %s\n", event, text);
}

static void claim(Stage *stage, TicketRow ticket, Buf *order)
{
    ClaimAnswer answer;
    Err err = {0};
    stage->fence = (Fence){.job = ticket.job, .claim = rand_uuid()};
    must(catalog_job_claim(stage->worker.c, &stage->worker.instance, ticket.job, ticket.dispatch,
                           &stage->fence.claim, &answer, &err),
         &err, "claim");
    if (answer.status != CLAIM_GRANTED)
        fail_msg("stage: the claim was not granted: %s", answer.missing);
    stage->fence.attempt = answer.attempt;
    buf_add_slice(order, buf_slice(&answer.order));
    catalog_job_claim_free(&answer);
}

static void run(Stage *stage, Text order, JobEnd *end)
{
    Err err = {0};
    Job *job;
    JobParams params = {.settings = &stage->settings,
                        .fence = stage->fence,
                        .order = order,
                        .scratch = stage->scratch,
                        .report = {stage, on_progress, on_log}};
    if (!job_open(&job, &params, &err)) {
        job_end_failed(&err, end);
        return;
    }
    job_run(job, end);
    job_close(job);
}

/* What the worker's parent does with a verdict. */
static void tell(Stage *stage, const JobEnd *end)
{
    static const char *const outcomes[] = {
        [OUTCOME_COMPLETED] = "completed", [OUTCOME_PARTIAL] = "partial",
        [OUTCOME_FAILED] = "failed",       [OUTCOME_RELEASED] = "released",
        [OUTCOME_CANCELLED] = "cancelled",
    };
    JobVerdictRow row = {.code = end->verdict.code,
                         .cause = end->verdict.cause,
                         .text = end->verdict.text,
                         .retry = end->verdict.retry};
    bool fenced;
    Err err = {0};
    if (end->verdict.answer.len > 0)
        must(catalog_job_answer(stage->worker.c, &stage->fence, end->verdict.answer, &fenced, &err),
             &err, "answer");
    for (int i = OUTCOME_COMPLETED; i <= OUTCOME_CANCELLED; i++)
        if (text_equal(end->verdict.outcome, text_of(outcomes[i])))
            row.outcome = (JobOutcome)i;
    snprintf(stage->state, sizeof stage->state, "committed");
    if (!end->verdict.committed)
        must(catalog_job_finish(stage->worker.c, &stage->fence, &row, stage->state, &fenced, &err),
             &err, "finish");
}

static TicketRow ticket_of(Stage *stage, const char *kind, const char *params)
{
    return fleet_job(stage->fleet, &(JobRequest){.kind = text_of(kind),
                                                 .source = TEXT("s1"),
                                                 .params = text_of(params),
                                                 .actor = TEXT("test")});
}

void stage_run(Stage *stage, const char *kind, const char *params, JobEnd *end)
{
    scoped(buf_free) Buf order = {0};
    claim(stage, ticket_of(stage, kind, params), &order);
    run(stage, buf_text(&order), end);
    tell(stage, end);
}

/* The ticket of a job that waits for its next attempt. */
static TicketRow ticket_again(Stage *stage)
{
    Err err = {0};
    for (int tries = 0; tries < 100; tries++) {
        PoolList pools;
        TicketRow mine = {0};
        must(catalog_jobs_due(stage->fleet->scheduler, &pools, &err), &err, "due");
        for (size_t i = 0; i < pools.count && mine.job == 0; i++) {
            TicketList list;
            must(catalog_dispatch_pick(stage->fleet->scheduler, pools.rows[i].number, 100, &list,
                                       &err),
                 &err, "pick");
            for (size_t j = 0; j < list.count; j++)
                if (list.rows[j].job == stage->fence.job)
                    mine = list.rows[j];
            catalog_tickets_free(&list);
        }
        catalog_pools_free(&pools);
        if (mine.job != 0)
            return mine;
        usleep(50000);
    }
    fail_msg("stage: the job is not tried again");
    return (TicketRow){0};
}

void stage_again(Stage *stage, JobEnd *end)
{
    scoped(buf_free) Buf order = {0};
    claim(stage, ticket_again(stage), &order);
    run(stage, buf_text(&order), end);
    tell(stage, end);
}

/* Two looks at an expired lease. */
static void reap(Stage *stage)
{
    Err err = {0};
    fleet_do(stage->fleet, "UPDATE lease SET expires_at = clock_timestamp() - interval '1 minute'");
    for (int tries = 0; tries < 100; tries++) {
        ReapReport report;
        must(catalog_reap(stage->fleet->scheduler, &report, &err), &err, "reap");
        size_t reaped = report.count;
        catalog_reap_free(&report);
        if (reaped > 0)
            return;
        usleep(100000);
    }
    fail_msg("stage: the lost lease was not collected");
}

void stage_killed(Stage *stage, const char *kind, const char *params, const char *crashpoint)
{
    scoped(buf_free) Buf order = {0};
    int status = 0;
    claim(stage, ticket_of(stage, kind, params), &order);
    pid_t child = fork();
    if (child == 0) {
        JobEnd end;
        setenv("HOLDFAST_CRASHPOINT", "1", 1);
        setenv("HOLDFAST_CRASHPOINT_ONLY", crashpoint, 1);
        run(stage, buf_text(&order), &end);
        _exit(77);
    }
    if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail_msg("stage: nothing was killed at %s (status %d)", crashpoint, status);
    reap(stage);
}

void stage_backup(Stage *stage, char out[UUID_TEXT])
{
    char text[512];
    fleet_ask(stage->fleet, "SELECT id FROM backup ORDER BY id DESC LIMIT 1", text);
    snprintf(out, UUID_TEXT, "%.36s", text);
}
