/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/queue/noop_runner.h"

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/catalog/catalog_backup.h"
#include "worker/agent/facts.h"
#include "worker/agent/runner.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct Runner {
    Runner *next; /* of the queue */
    RunnerParams params;
    Fence fence;
    bool probe, exited;
    uint64_t sequence;
    JobVerdict verdict;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t more;
    Runner *first, **last;
    const char *conninfo;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};

static void die(const Err *err)
{
    fprintf(stderr, "bench: %s: %s\n", err->cause, err->text);
    exit(1);
}

static void on_done(void *ctx)
{
    Runner *runner = ctx;
    msgpack_sbuffer bytes;
    msgpack_sbuffer_init(&bytes);
    messages_pack_job_verdict(&runner->verdict, &bytes);
    runner->params.on_frame(runner->params.ctx, (Slice){(const uint8_t *)bytes.data, bytes.size});
    msgpack_sbuffer_destroy(&bytes);
    runner->exited = true;
    kill(getpid(), SIGCHLD); /* the agent polls its runners then */
}

static void back_up(Catalog *catalog, const Runner *runner)
{
    Uuid repository = {{1}};
    uint64_t epoch, confirmed;
    BackupRow row = {.id = rand_backup_id(),
                     .sequence = runner->sequence,
                     .consistent_ns = clock_wall_ns(),
                     .receipt = TEXT("{}")};
    CommitAnswer answer = COMMIT_OK;
    char detail[256];
    Err err = {0};
    if (!catalog_repository_bind(catalog, &runner->fence, &repository, &epoch, &confirmed, &err) ||
        !catalog_backup_commit(catalog, &runner->fence, &row, &answer, detail, &err))
        die(&err);
    if (answer != COMMIT_OK) {
        fprintf(stderr, "bench: a commit was refused: %s\n", detail);
        exit(1);
    }
}

static void *work(void *ctx)
{
    Catalog *catalog;
    Err err = {0};
    (void)ctx;
    if (!catalog_open(&catalog, &(CatalogParams){.conninfo = pool.conninfo}, &err))
        die(&err);
    for (;;) {
        pthread_mutex_lock(&pool.lock);
        while (pool.first == NULL)
            pthread_cond_wait(&pool.more, &pool.lock);
        Runner *runner = pool.first;
        pool.first = runner->next;
        if (pool.first == NULL)
            pool.last = &pool.first;
        pthread_mutex_unlock(&pool.lock);
        if (!runner->probe)
            back_up(catalog, runner);
        runner->verdict = (JobVerdict){
            .outcome = TEXT("completed"), .code = TEXT("none"), .committed = !runner->probe};
        loop_post(runner->params.loop, on_done, runner);
    }
    return NULL;
}

void noop_runner_begin(const char *conninfo, size_t threads)
{
    pool.conninfo = conninfo;
    pool.last = &pool.first;
    for (size_t i = 0; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work, NULL) != 0)
            exit(1);
    }
}

/* facts.h: what the fleet's sources ask for, and no keys. */
void facts_collect(const JobSettings *settings, const json_t *tags, Buf *out)
{
    (void)settings, (void)tags;
    buf_add_text(out, TEXT("{\"engines\":[\"files\"],\"roles\":[\"write\"]}"));
}

bool runner_start(Runner **out, const RunnerParams *params, const JobOrder *order, Err *err)
{
    json_t *document = NULL;
    if (!json_parse(order->order, &document, err))
        return false;
    Runner *runner = mem_new(Runner);
    *runner = (Runner){.params = *params, .fence = {.job = order->job, .attempt = order->attempt}};
    memcpy(&runner->fence.claim, order->claim.at, sizeof runner->fence.claim);
    runner->probe = text_equal(json_text_or(document, "kind", TEXT("")), TEXT("probe"));
    runner->sequence = json_u64_or(json_object_get(document, "parent"), "sequence", 0) + 1;
    json_decref(document);
    pthread_mutex_lock(&pool.lock);
    *pool.last = runner;
    pool.last = &runner->next;
    pthread_cond_signal(&pool.more);
    pthread_mutex_unlock(&pool.lock);
    *out = runner;
    return true;
}

void runner_cancel(Runner *runner, Text reason)
{
    (void)runner, (void)reason;
}

void runner_signal(Runner *runner, int number)
{
    (void)runner, (void)number;
}

void runner_hear(Runner *runner)
{
    (void)runner; /* its frames are delivered as they are made */
}

void runner_poll(Runner *runner)
{
    if (runner->exited)
        runner->params.on_exit(runner->params.ctx, 0);
}

void runner_free(Runner *runner)
{
    mem_free(runner);
}

void runner_describe(int status, char *out, size_t room)
{
    snprintf(out, room, "exited with status %d", status);
}
