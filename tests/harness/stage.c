/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/stage.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/catalog/catalog_collect.h"
#include "common/catalog/catalog_policy.h"
#include "common/catalog/catalog_verify.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
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

void stage_policy(Stage *stage, const char *type, const char *config, const char *extra)
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
               "\"type\":\"%s\",\"policy\":\"gold\",\"pool\":\"fra\",\"store\":\"nas\","
               "\"key_set\":\"test\",\"config\":%s,\"timezone\":\"UTC\","
               "\"schedules\":{\"nightly\":{\"at\":\"0 1 * * *\"}},\"overlap\":\"skip\","
               "\"catch_up\":\"latest\",\"start_deadline_s\":3600,\"timeout_s\":3600,"
               "\"stall_s\":600,\"retry\":{\"attempts\":3,\"backoff_s\":0,\"max_backoff_s\":0,"
               "\"jitter\":\"none\"},\"rate\":0,\"compression\":{\"codec\":\"zstd\",\"level\":3},"
               "\"objectives\":{\"rpo_s\":86400}%s}}}",
               stage->repository->dir, type, config, extra);
    must(catalog_policy_apply(stage->fleet->scheduler, buf_text(&text), (Text){0}, TEXT("test"),
                              &applied, &err),
         &err, "policy");
}

void stage_config(Stage *stage, const char *allow, const char *more)
{
    char conninfo[256];
    scoped(buf_free) Buf text = {0};
    fleet_conninfo(stage->fleet, "w1", conninfo);
    buf_printf(&text,
               "name: w1\nhost: w1\ncatalogue: \"%s\"\nhooks: %s\ncache: %s\nkeys: %s/keys\n"
               "credentials: %s/credentials\nmemory: 32MiB\nallow: %s\n%s",
               conninfo, stage->hooks, stage->tree->top, stage->repository->dir, stage->tree->top,
               allow, more);
    FILE *file = fopen(stage->config, "w");
    if (file == NULL || fwrite(text.at, 1, text.len, file) != text.len || fclose(file) != 0)
        abort();
}

static void make_config(Stage *stage)
{
    scoped(buf_free) Buf allow = {0};
    snprintf(stage->config, sizeof stage->config, "%s/worker.yaml", stage->tree->top);
    snprintf(stage->hooks, sizeof stage->hooks, "%s/hooks", stage->tree->top);
    snprintf(stage->scratch, sizeof stage->scratch, "%s/scratch", stage->tree->top);
    mkdir(stage->hooks, 0755);
    mkdir(stage->scratch, 0700);
    buf_printf(&allow,
               "{read: {paths: [%s]}, restore: {paths: [%s], with: [devices, setuid, security]}, "
               "hooks: [before, validate, after, "
               "slow, gone]}",
               stage->tree->top, stage->tree->top);
    stage_config(stage, buf_cstr(&allow), "");
}

void stage_prune_config(Stage *stage, unsigned packs, const char *more)
{
    char conninfo[256];
    fleet_conninfo(stage->fleet, "p1", conninfo);
    snprintf(stage->prune_config, sizeof stage->prune_config, "%s/prune.yaml", stage->tree->top);
    FILE *file = fopen(stage->prune_config, "w");
    if (file == NULL ||
        fprintf(file,
                "name: p1\nhost: p1\ncatalogue: \"%s\"\ncache: %s\nkeys: %s/keys\n"
                "allow: {prune_packs: %u%s}\n",
                conninfo, stage->tree->top, stage->repository->dir, packs, more) < 0 ||
        fclose(file) != 0)
        abort();
}

Stage *stage_new(const char *extra)
{
    Stage *stage = mem_new(Stage);
    void *tree = NULL;
    char link[200];
    signal(SIGPIPE, SIG_IGN);
    if (file_tree_set_up(&tree) != 0)
        abort();
    stage->tree = tree;
    stage->fleet = fleet_start();
    stage->repository = repository_new(false);
    /* A repository lies at <store>/<key set>. */
    snprintf(link, sizeof link, "%s/test", stage->repository->dir);
    if (symlink(stage->repository->store_path, link) != 0)
        abort();
    snprintf(stage->keys, sizeof stage->keys, "%s/keys", stage->repository->dir);
    stage->fleet->history.store = stage->repository->dir;
    stage->fleet->history.key_set = "test";
    stage->fleet->history.keys = stage->keys;
    make_config(stage);
    stage_policy(stage, "files", NULL, extra);
    stage_prune_config(stage, 100000, "");
    stage->worker = fleet_worker(stage->fleet, "w1", true);
    stage->pruner = fleet_pruner(stage->fleet, "p1");
    return stage;
}

static void reap_child(Stage *stage)
{
    if (stage->child != 0) {
        kill(stage->child, SIGKILL);
        waitpid(stage->child, NULL, 0);
        if (stage->to_child >= 0)
            close(stage->to_child);
        close(stage->from_child);
    }
    stage->child = 0;
    channel_input_free(&stage->input);
    stage->input = (ChannelInput){0};
}

void stage_free(Stage *stage)
{
    void *tree = stage->tree;
    reap_child(stage);
    fleet_worker_close(&stage->worker);
    fleet_worker_close(&stage->pruner);
    fleet_stop(stage->fleet);
    repository_free(stage->repository);
    file_tree_tear_down(&tree);
    buf_free(&stage->order);
    buf_free(&stage->log);
    mem_free(stage);
}

/* --- one attempt ---------------------------------------------------------------------------- */

static FleetWorker *worker_of(Stage *stage)
{
    return stage->prunes ? &stage->pruner : &stage->worker;
}

static void claim(Stage *stage, TicketRow ticket)
{
    ClaimAnswer answer;
    Err err = {0};
    const FleetWorker *worker = worker_of(stage);
    stage->fence = (Fence){.job = ticket.job, .claim = rand_uuid()};
    must(catalog_job_claim(worker->c, &worker->instance, ticket.job, ticket.dispatch,
                           &stage->fence.claim, &answer, &err),
         &err, "claim");
    if (answer.status != CLAIM_GRANTED)
        fail_msg("stage: the claim was not granted: %s", answer.missing);
    stage->fence.attempt = answer.attempt;
    buf_clear(&stage->order);
    buf_add_slice(&stage->order, buf_slice(&answer.order));
    catalog_job_claim_free(&answer);
}

/* Beside the folder that this test program lies in. */
static void worker_program(char out[PATH_MAX])
{
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    self[len > 0 ? len : 0] = '\0';
    snprintf(out, PATH_MAX, "%s/../holdfast-worker", dirname(self));
}

static void become_worker(const Stage *stage, int orders, int reports)
{
    char program[PATH_MAX], config[200];
    worker_program(program);
    snprintf(config, sizeof config, "--config=%s",
             stage->prunes ? stage->prune_config : stage->config);
    char *const words[] = {program, (char[]){"job"}, config, NULL};
    /* Out of the way of 3 and 4 first. */
    orders = fcntl(orders, F_DUPFD, 10);
    reports = fcntl(reports, F_DUPFD, 10);
    dup2(orders, CHANNEL_ORDER_FD);
    dup2(reports, CHANNEL_REPORT_FD);
    close_range(5, ~0U, 0);
    execv(program, words);
    _exit(126);
}

static void start_child(Stage *stage)
{
    int down[2], up[2];
    Err err = {0};
    reap_child(stage);
    buf_clear(&stage->log);
    stage->frames = 0;
    if (pipe(down) != 0 || pipe(up) != 0)
        abort();
    stage->child = fork();
    if (stage->child == 0)
        become_worker(stage, down[0], up[1]);
    close(down[0]);
    close(up[1]);
    stage->to_child = down[1];
    stage->from_child = up[0];
    channel_output_init(&stage->output, stage->to_child);
    JobOrder order = {.job = stage->fence.job,
                      .attempt = stage->fence.attempt,
                      .claim = {stage->fence.claim.bytes, sizeof stage->fence.claim.bytes},
                      .order = buf_text(&stage->order),
                      .config = text_of(stage->prunes ? stage->prune_config : stage->config),
                      .scratch = text_of(stage->scratch)};
    must(channel_send_job_order(&stage->output, &order, &err), &err, "order");
}

/* The worker lives: a slow test must not lose it. */
static void beat(Stage *stage)
{
    BeatAnswer none;
    BeatSummary summary;
    Err err = {0};
    for (size_t i = 0; i < 2; i++) {
        const FleetWorker *worker = i == 0 ? &stage->worker : &stage->pruner;
        must(catalog_worker_beat(worker->c, &worker->instance, NULL, 0, &none, &summary, &err),
             &err, "beat");
    }
}

static TicketRow prune_ticket(Stage *stage, const char *kind, const char *params)
{
    RepositoryRequest request = {.kind = text_of(kind),
                                 .trigger = TEXT("manual"),
                                 .store = TEXT("nas"),
                                 .params = params[0] == '\0' ? TEXT("{}") : text_of(params),
                                 .actor = TEXT("test")};
    JobCreated created;
    Err err = {0};
    must(catalog_repository_job(stage->fleet->scheduler, &request, &created, &err), &err, "job");
    return fleet_dispatched(stage->fleet, &created);
}

/* A plan as a scheduler would have made it, of what the test wants to go. */
static TicketRow retention_ticket(Stage *stage, const char *expires)
{
    JobRequest request = {.kind = TEXT("retention"),
                          .trigger = TEXT("manual"),
                          .source = TEXT("s1"),
                          .params = TEXT("{}"),
                          .actor = TEXT("test")};
    JobCreated created;
    Err err = {0};
    char sql[800];
    must(catalog_job_create(stage->fleet->scheduler, &request, &created, &err), &err, "job");
    snprintf(sql, sizeof sql,
             "SELECT retention_plan(%llu, policy_mark(), NULL, array_agg(b.id), array_agg(%s), "
             "array_agg('the test wants it'::text)) FROM backup b WHERE deleted_at IS NULL",
             (unsigned long long)created.job, expires);
    beat(stage);
    fleet_do(stage->fleet, sql);
    snprintf(sql, sizeof sql, "SELECT pool FROM job WHERE id = %llu",
             (unsigned long long)created.job);
    created.pool = (uint32_t)fleet_count(stage->fleet, sql);
    beat(stage);
    return fleet_dispatched(stage->fleet, &created);
}

/* A round of content, one pack after another. */
static TicketRow round_ticket(Stage *stage)
{
    VerifyAsk ask = {.source = TEXT("s1"), .level = TEXT("content"), .actor = TEXT("test")};
    JobCreated created;
    Err err = {0};
    must(catalog_verify_ask(stage->fleet->scheduler, &ask, &created, &err), &err, "job");
    fleet_do(stage->fleet, "UPDATE job SET params = params || '{\"rate\": 1000000000}' WHERE state "
                           "= 'pending'");
    return fleet_dispatched(stage->fleet, &created);
}

void stage_start(Stage *stage, const char *kind, const char *params)
{
    bool retention = strcmp(kind, "retention") == 0;
    beat(stage);
    stage->prunes = retention || strcmp(kind, "prune") == 0;
    if (stage->prunes)
        claim(stage,
              retention ? retention_ticket(stage, params) : prune_ticket(stage, kind, params));
    else if (strcmp(kind, "round") == 0)
        claim(stage, round_ticket(stage));
    else
        claim(stage, fleet_job(stage->fleet, &(JobRequest){.kind = text_of(kind),
                                                           .source = TEXT("s1"),
                                                           .params = text_of(params),
                                                           .actor = TEXT("test")}));
    start_child(stage);
}

static void take_verdict(const JobVerdict *verdict, StageEnd *end)
{
    Err err = {0};
    end->told = true;
    end->committed = verdict->committed;
    end->retry = verdict->retry;
    snprintf(end->outcome, sizeof end->outcome, "%.*s", TEXT_ARG(verdict->outcome));
    snprintf(end->code, sizeof end->code, "%.*s", TEXT_ARG(verdict->code));
    snprintf(end->cause, sizeof end->cause, "%.*s", TEXT_ARG(verdict->cause));
    snprintf(end->text, sizeof end->text, "%.*s", TEXT_ARG(verdict->text));
    if (verdict->answer.len > 0)
        must(json_parse(verdict->answer, &end->answer, &err), &err, "answer");
}

static void take_frame(Stage *stage, Slice frame, StageEnd *end)
{
    uint64_t id = 0;
    Err err = {0};
    JobProgress progress;
    JobLog line;
    JobVerdict verdict;
    must(messages_id(frame, &id, &err), &err, "frame");
    if (id == MESSAGE_job_progress && messages_unpack_job_progress(frame, &progress, &err)) {
        stage->frames++;
        stage->bytes_done = progress.bytes_done;
        snprintf(stage->phase, sizeof stage->phase, "%.*s", TEXT_ARG(progress.phase));
    } else if (id == MESSAGE_job_log && messages_unpack_job_log(frame, &line, &err)) {
        buf_printf(&stage->log, "%.*s %.*s\n", TEXT_ARG(line.event), TEXT_ARG(line.text));
        buf_cstr(&stage->log);
    } else if (id == MESSAGE_job_verdict && messages_unpack_job_verdict(frame, &verdict, &err)) {
        take_verdict(&verdict, end);
    }
}

bool stage_listen(Stage *stage, StageEnd *end)
{
    Slice frame;
    bool over = false;
    Err err = {0};
    if (!channel_receive(&stage->input, stage->from_child, &frame, &over, &err) || over)
        return false;
    take_frame(stage, frame, end);
    return true;
}

/* What the worker's parent does with a verdict. */
static void tell(Stage *stage, const StageEnd *end)
{
    static const char *const outcomes[] = {
        [OUTCOME_COMPLETED] = "completed", [OUTCOME_PARTIAL] = "partial",
        [OUTCOME_FAILED] = "failed",       [OUTCOME_RELEASED] = "released",
        [OUTCOME_CANCELLED] = "cancelled",
    };
    JobVerdictRow row = {.code = text_of(end->code),
                         .cause = text_of(end->cause),
                         .text = text_of(end->text),
                         .retry = end->retry};
    bool fenced;
    Err err = {0};
    for (int i = OUTCOME_COMPLETED; i <= OUTCOME_CANCELLED; i++)
        if (strcmp(end->outcome, outcomes[i]) == 0)
            row.outcome = (JobOutcome)i;
    snprintf(stage->state, sizeof stage->state, "committed");
    if (!end->committed)
        must(catalog_job_finish(worker_of(stage)->c, &stage->fence, &row, stage->state, &fenced,
                                &err),
             &err, "finish");
}

void stage_finish(Stage *stage, StageEnd *end)
{
    while (stage_listen(stage, end))
        ;
    waitpid(stage->child, &end->status, 0);
    close(stage->to_child);
    close(stage->from_child);
    stage->child = 0;
    if (end->told)
        tell(stage, end);
}

void stage_end_free(StageEnd *end)
{
    json_decref(end->answer);
    *end = (StageEnd){0};
}

void stage_cancel(Stage *stage, const char *reason)
{
    JobCancel cancel = {text_of(reason)};
    Err err = {0};
    must(channel_send_job_cancel(&stage->output, &cancel, &err), &err, "cancel");
}

void stage_run(Stage *stage, const char *kind, const char *params, StageEnd *end)
{
    *end = (StageEnd){0};
    stage_start(stage, kind, params);
    stage_finish(stage, end);
}

void stage_run_order(Stage *stage, const json_t *order, StageEnd *end)
{
    buf_clear(&stage->order);
    json_canonical(order, &stage->order);
    start_child(stage);
    while (stage_listen(stage, end))
        ;
}

void stage_reconnect(Stage *stage)
{
    Catalog *all[] = {stage->fleet->scheduler, stage->worker.c, stage->pruner.c};
    for (size_t i = 0; i < 3; i++) {
        Err err = {0};
        for (int tries = 0; !catalog_reset(all[i], &err) && tries < 50; tries++)
            usleep(100000);
    }
}

/* --- further attempts ----------------------------------------------------------------------- */

/* The ticket of a job that waits for its next attempt. */
static TicketRow ticket_again(Stage *stage)
{
    Err err = {0};
    for (int tries = 0; tries < 100; tries++) {
        PoolList pools;
        beat(stage);
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

void stage_start_again(Stage *stage)
{
    claim(stage, ticket_again(stage));
    start_child(stage);
}

void stage_again(Stage *stage, StageEnd *end)
{
    *end = (StageEnd){0};
    stage_start_again(stage);
    stage_finish(stage, end);
}

void stage_reap(Stage *stage)
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
    StageEnd end = {0};
    setenv("HOLDFAST_CRASHPOINT", "1", 1);
    setenv("HOLDFAST_CRASHPOINT_ONLY", crashpoint, 1);
    stage_start(stage, kind, params);
    unsetenv("HOLDFAST_CRASHPOINT");
    stage_finish(stage, &end);
    if (!WIFSIGNALED(end.status) || WTERMSIG(end.status) != SIGKILL)
        fail_msg("stage: nothing was killed at %s: %s %s %s", crashpoint, end.outcome, end.cause,
                 end.text);
}

void stage_stopped(Stage *stage, const char *kind, const char *params, const char *crashpoint)
{
    int status = 0;
    setenv("HOLDFAST_CRASHPOINT", "1", 1);
    setenv("HOLDFAST_CRASHPOINT_ONLY", crashpoint, 1);
    setenv("HOLDFAST_CRASHPOINT_HOW", "stop", 1);
    stage_start(stage, kind, params);
    unsetenv("HOLDFAST_CRASHPOINT");
    unsetenv("HOLDFAST_CRASHPOINT_HOW");
    if (waitpid(stage->child, &status, WUNTRACED) != stage->child || !WIFSTOPPED(status))
        fail_msg("stage: nothing stopped at %s", crashpoint);
}

void stage_must(Stage *stage, const char *kind, const char *params, const char *outcome)
{
    StageEnd end;
    stage_run(stage, kind, params, &end);
    if (strcmp(end.outcome, outcome) != 0)
        fail_msg("stage: %s ended %s, not %s: %s: %s", kind, end.outcome, outcome, end.cause,
                 end.text);
    stage_end_free(&end);
}

void stage_back_up(Stage *stage)
{
    stage_must(stage, "backup", "", "completed");
    assert_string_equal(stage->state, "committed");
}

void stage_restore(Stage *stage, const char *more)
{
    char params[1000], id[UUID_TEXT];
    stage_backup(stage, id);
    snprintf(params, sizeof params,
             "{\"backup\":\"%s\",\"target\":{\"path\":\"%s\"},\"options\":{\"devices\":true,"
             "\"setuid\":true,\"security\":true}%s}",
             id, stage->tree->out, more);
    stage_must(stage, "restore", params, "completed");
}

void stage_backup(Stage *stage, char out[UUID_TEXT])
{
    char text[512];
    fleet_ask(stage->fleet, "SELECT id FROM backup ORDER BY id DESC LIMIT 1", text);
    snprintf(out, UUID_TEXT, "%.36s", text);
}

int64_t stage_counted(const Stage *stage, const char *what)
{
    char sql[300];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", what);
    return fleet_count(stage->fleet, sql);
}

int64_t stage_stored(const Stage *stage, const char *folder)
{
    char command[300];
    long count = -1;
    snprintf(command, sizeof command, "find %s/%s -type f 2>/dev/null | wc -l",
             stage->repository->store_path, folder);
    FILE *from = popen(command, "r");
    if (from == NULL || fscanf(from, "%ld", &count) != 1)
        fail_msg("files below %s cannot be counted", folder);
    pclose(from);
    return count;
}
