/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/crew.h"

#include "common/base/mem.h"
#include "common/catalog/catalog_enroll.h"

#include <ftw.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void must(bool done, const Err *err, const char *what)
{
    if (done)
        return;
    fprintf(stderr, "harness: %s: %s: %s\n", what, err->cause, err->text);
    abort();
}

static void connect_queue(Crew *crew)
{
    Err err = {0};
    crew->redis = redis_server_start(NULL);
    QueueParams params = {.url = text_of(redis_server_url(crew->redis))};
    must(queue_open(&crew->queue, &params, &err), &err, "queue");
    crew->pool = (uint32_t)fleet_count(crew->fleet, "SELECT no FROM pool WHERE name = 'fra'");
    crew->fleet->history.redis = crew->redis;
}

static void take_redis_away(Crew *crew)
{
    queue_close(crew->queue);
    redis_server_stop(crew->redis);
    mem_free(crew);
}

Crew *crew_start(const char *policy_extra)
{
    Crew *crew = mem_new(Crew);
    char path[128];
    const char *base = getenv("TMPDIR");
    snprintf(crew->dir, sizeof crew->dir, "%s/hf-crew.XXXXXX", base == NULL ? "/tmp" : base);
    if (mkdtemp(crew->dir) == NULL)
        abort();
    static const char *const parts[] = {"keys", "cache", "credentials"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", crew->dir, parts[i]);
        (void)mkdir(path, 0700);
    }
    snprintf(path, sizeof path, "%s/keys/keys.writer", crew->dir);
    FILE *file = fopen(path, "we");
    if (file == NULL || fclose(file) != 0)
        abort();
    crew->fleet = fleet_start();
    fleet_policy(crew->fleet, 4, policy_extra);
    connect_queue(crew);
    return crew;
}

Crew *crew_join(Fleet *fleet)
{
    Crew *crew = mem_new(Crew);
    crew->fleet = fleet;
    connect_queue(crew);
    return crew;
}

void crew_leave(Crew *crew)
{
    fleet_check(crew->fleet);
    take_redis_away(crew);
}

static int remove_one(const char *path, const struct stat *about, int type, struct FTW *where)
{
    (void)about, (void)type, (void)where;
    return remove(path);
}

void crew_stop(Crew *crew)
{
    fleet_stop(crew->fleet);
    nftw(crew->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    take_redis_away(crew);
}

pid_t crew_hire(Crew *crew, const char *name, unsigned drain_ms)
{
    char conninfo[256], drain[16];
    Text pool = TEXT("fra");
    Err err = {0};
    EnrollParams params = {
        .name = text_of(name), .host = text_of(name), .pools = &pool, .pool_count = 1};
    must(catalog_enroll(crew->fleet->admin, &params, &err), &err, "enroll");
    fleet_conninfo(crew->fleet, name, conninfo);
    snprintf(drain, sizeof drain, "%u", drain_ms);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(127);
        execl("/proc/self/exe", "crew", "agent", name, conninfo, redis_server_url(crew->redis),
              crew->dir, drain, (char *)NULL);
        _exit(127);
    }
    return pid;
}

pid_t crew_run(const char *config)
{
    char self[PATH_MAX], program[PATH_MAX + 32], option[200];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    self[len > 0 ? len : 0] = '\0';
    snprintf(program, sizeof program, "%s/../holdfast-worker", dirname(self));
    snprintf(option, sizeof option, "--config=%s", config);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(127);
        execl(program, "holdfast-worker", "run", option, (char *)NULL);
        _exit(127);
    }
    return pid;
}

int crew_end(pid_t pid, int number)
{
    int status = 0;
    kill(pid, number);
    waitpid(pid, &status, 0);
    return status;
}

uint64_t crew_job(Crew *crew, const char *kind, const char *source, const char *does)
{
    char params[128];
    JobCreated created;
    Err err = {0};
    snprintf(params, sizeof params, "{\"probe\":\"source_test\",\"do\":\"%s\"}", does);
    JobRequest request = {.kind = text_of(kind),
                          .trigger = TEXT("manual"),
                          .source = text_of(source),
                          .params = text_of(params),
                          .actor = TEXT("test")};
    must(catalog_job_create(crew->fleet->scheduler, &request, &created, &err), &err, "job");
    return created.job;
}

static void push(Crew *crew, const TicketList *list)
{
    Uuid generation, have;
    bool present = false, lost = false;
    size_t pushed = 0;
    Err err = {0};
    must(catalog_redis_generation(crew->fleet->scheduler, crew->pool, false, &generation, &err),
         &err, "generation");
    must(queue_generation(crew->queue, crew->pool, &have, &present, &err), &err, "generation");
    if (!present || !uuid_equal(&have, &generation))
        must(queue_generation_begin(crew->queue, crew->pool, &generation, &err), &err, "begin");
    for (size_t i = 0; i < list->count; i++) {
        Ticket ticket = {.job = list->rows[i].job, .dispatch = list->rows[i].dispatch};
        snprintf(ticket.kind, sizeof ticket.kind, "%s", list->rows[i].kind);
        must(queue_push(crew->queue, crew->pool, &generation, list->rows[i].urgent, &ticket, 1,
                        &pushed, &lost, &err),
             &err, "push");
    }
}

void crew_pump(Crew *crew)
{
    Catalog *c = crew->fleet->scheduler;
    QueueStatus status;
    QueueOrphans orphans;
    ReapReport report;
    PoolList pools;
    TicketList list;
    Err err = {0};
    if (crew->paused)
        return;
    must(queue_check(crew->queue, &status, &err), &err, "queue");
    must(catalog_jobs_due(c, &pools, &err), &err, "due");
    catalog_pools_free(&pools);
    must(catalog_dispatch_pick(c, crew->pool, 100, &list, &err), &err, "pick");
    push(crew, &list);
    catalog_tickets_free(&list);
    must(catalog_requeue(c, crew->pool, &list, &err), &err, "requeue");
    push(crew, &list);
    catalog_tickets_free(&list);
    must(queue_orphans_return(crew->queue, crew->pool, &orphans, &err), &err, "orphans");
    must(catalog_reap(c, &report, &err), &err, "reap");
    catalog_reap_free(&report);
}

bool crew_holds(Crew *crew, uint64_t job, const char *condition)
{
    char sql[512];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM job WHERE id = %" PRIu64 " AND (%s)", job,
             condition);
    return fleet_count(crew->fleet, sql) == 1;
}

void crew_until(Crew *crew, uint64_t job, const char *condition)
{
    char sql[128], row[512];
    for (int tries = 0; tries < 300; tries++) {
        crew_pump(crew);
        if (crew_holds(crew, job, condition))
            return;
        struct timespec pause = {.tv_nsec = 100000000};
        nanosleep(&pause, NULL);
    }
    snprintf(sql, sizeof sql, "SELECT to_jsonb(j)::text FROM job j WHERE id = %" PRIu64, job);
    fleet_ask(crew->fleet, sql, row);
    fprintf(stderr, "harness: never: %s\n%s\n", condition, row);
    abort();
}

pid_t crew_child(pid_t parent)
{
    char path[64];
    int pid = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", parent, parent);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%d", &pid) != 1)
        pid = 0;
    fclose(file);
    return pid;
}
