/* SPDX-License-Identifier: Apache-2.0
 * queue.c — what the machine of jobs costs, over a PostgreSQL that syncs every commit.
 *     bench_queue slots [SOURCES]      one minute of a fleet comes due: slots made a second
 *     bench_queue jobs [JOBS [SLOTS]]  slot, ticket, claim, commit of no-op backups: jobs a second
 *     bench_queue latency [JOBS]       asked for to claimed, one at a time, twenty a second
 *     bench_queue steps [JOBS]         the same steps one after another on one connection: us a job
 *     bench_queue noticed              a worker's last word to the loss of its job, two timer sets
 * Scheduler core and agent are the production ones; only the child process is left out
 * (noop_runner.h). Each part prints the same plain work done by PostgreSQL alone in the same run,
 * as the peer: multi-row inserts for slots, three commits a job by eight clients for jobs.
 * What stands in the way of the goals, by `steps`, `perf` and pg_stat_activity on two busy cores:
 *   jobs     a job costs PostgreSQL about 1.5 ms of a processor, three plain commits 0.4: four
 *            versions of its row with six index entries each and an event for each, an attempt, a
 *            lease, a session, a decision, a backup. A slot takes 0.06 of them, a dispatch 0.05, a
 *            claim 0.2 among others and 0.8 alone, bind and commit 0.8. Claims go together; ends do
 *            not, because each child commits over a connection of its own. To commit them as a set
 *            through the worker is the step that is left.
 *   latency  from the row to the claim eight processes and threads hand over to each other: the
 *            look at windows, at pools, the dispatch, the push, BLMOVE, the desk, the claim. Where
 *            others keep the cores busy each waits up to a millisecond for one (schedstat); the
 *            first three could be one question to the catalogue.
 *   slots    60 us each: the row's six index entries, its event, two foreign keys, three looks for
 *            other jobs of its source. Plain rows have two index entries and none of the rest.
 * All schedules are read twice a second, also when none is due: 20 ms of PostgreSQL each time with
 * ten thousand sources, and what it takes to read the rows. */
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/catalog/catalog_enroll.h"
#include "common/catalog/catalog_policy.h"
#include "scheduler/core/core.h"
#include "scheduler/core/fire.h"
#include "tests/bench/queue/noop_runner.h"
#include "tests/harness/file_tree.h"
#include "tests/harness/fleet.h"
#include "tests/harness/redis.h"
#include "worker/agent/agent.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 5 };

static void must(bool good, const Err *err)
{
    if (good)
        return;
    fprintf(stderr, "bench: %s: %s\n", err->cause, err->text);
    exit(1);
}

static double since(int64_t began_ns)
{
    return (double)(clock_mono_ns() - began_ns) / 1e9;
}

static void row(const char *what, double ours, double peer, const char *unit, double goal,
                bool more)
{
    bool met = more ? ours >= goal : ours <= goal;
    printf("%s\t-\t%.1f\t%.1f\t%s\t%.2f\t%.1f\t%s\n", what, ours, peer, unit,
           peer > 0 ? ours / peer : 0, goal, met ? "yes" : "no");
    fflush(stdout);
}

static bool profiled(void)
{
    return getenv("HOLDFAST_BENCH_PROFILE") != NULL;
}

/* Where PostgreSQL's time went, statement by statement, those inside functions too. */
static void print_profile(const Fleet *fleet)
{
    char line[512], sql[400];
    for (unsigned i = 0; profiled() && i < 40; i++) {
        snprintf(sql, sizeof sql,
                 "SELECT format('%%8s ms %%8s calls %%7s us %%7s bytes logged  %%s', "
                 "round(total_exec_time::numeric), calls, round((mean_exec_time * 1000)::numeric), "
                 "round(wal_bytes / calls), left(regexp_replace(query, '\\s+', ' ', 'g'), 150)) "
                 "FROM public.pg_stat_statements ORDER BY "
                 "total_exec_time DESC OFFSET %u LIMIT 1",
                 i);
        fleet_ask(fleet, sql, line);
        if (line[0] != '\0')
            printf("# %s\n", line);
    }
}

static void forget_profile(const Fleet *fleet)
{
    if (profiled())
        fleet_do(fleet, "SELECT public.pg_stat_statements_reset()");
}

static Fleet *durable_fleet(unsigned sources)
{
    const char *options[] = {"-c", "fsync=on",
                             "-c", "shared_buffers=512MB",
                             "-c", "max_wal_size=4GB",
                             "-c", "max_connections=80",
                             "-c", "wal_compression=on",
                             NULL, NULL,
                             NULL, NULL,
                             NULL};
    if (profiled()) {
        options[10] = options[12] = "-c";
        options[11] = "shared_preload_libraries=pg_stat_statements";
        options[13] = "pg_stat_statements.track=all";
    }
    Fleet *fleet = fleet_start_with(options);
    if (profiled())
        fleet_do(fleet, "CREATE EXTENSION pg_stat_statements SCHEMA public");
    int64_t began = clock_mono_ns();
    fleet_policy(fleet, sources, "");
    printf("# policy of %u sources applied in %.2f s\n", sources, since(began));
    fleet_do(fleet, "UPDATE schedule SET at = '* * * * *', overlap_skip = false");
    /* Only what has rows: of a table that is known to be empty it would plan to read all of it. */
    fleet_do(fleet, "ANALYZE source; ANALYZE schedule; ANALYZE pool; ANALYZE worker");
    return fleet;
}

/* --- slots ----------------------------------------------------------------------------------- */

static double plain_inserts(Fleet *fleet, unsigned rows)
{
    char sql[300];
    fleet_do(
        fleet,
        "CREATE TABLE IF NOT EXISTS public.plain(id bigint GENERATED ALWAYS AS IDENTITY PRIMARY "
        "KEY, source int, slot timestamptz, body text, UNIQUE (source, slot)); TRUNCATE "
        "public.plain");
    int64_t began = clock_mono_ns();
    snprintf(sql, sizeof sql,
             "INSERT INTO public.plain(source, slot, body) SELECT g, now(), repeat('x', 200) FROM "
             "generate_series(1, %u) g",
             rows);
    fleet_do(fleet, sql);
    return rows / since(began);
}

static void slots(unsigned sources)
{
    Fleet *fleet = durable_fleet(sources);
    FireCache *cache = fire_cache_new();
    double best = 0, peer = 0;
    struct rusage usage;
    Err err = {0};
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t fired = 0;
        fleet_do(fleet, "TRUNCATE job CASCADE");
        fleet_do(fleet, "UPDATE schedule SET last_slot = date_trunc('minute', clock_timestamp()) - "
                        "interval '1 minute'");
        int64_t began = clock_mono_ns();
        must(fire_due(fleet->scheduler, cache, &fired, &err), &err);
        double rate = (double)fired / since(began);
        double plain = plain_inserts(fleet, sources);
        printf("# round %d: %" PRIu64 " slots, %.0f/s, plain rows %.0f/s\n", round, fired, rate,
               plain);
        best = rate > best ? rate : best;
        peer = plain > peer ? plain : peer;
    }
    getrusage(RUSAGE_SELF, &usage);
    print_profile(fleet);
    printf("# peak %ld MiB at %u sources\n", usage.ru_maxrss / 1024, sources);
    row("queue.slots", best, peer, "slots/s", 150000, true);
    fire_cache_free(cache);
    fleet_stop(fleet);
}

/* --- a plant: core in this process, agent in another ------------------------------------------ */

typedef struct Plant {
    Fleet *fleet;
    RedisServer *redis;
    Core *core;
    pid_t agent;
    char scheduler[256], worker[256], cache[64];
} Plant;

static void be_agent(const Plant *plant, uint32_t slots)
{
    static char name[] = "bench", *child[] = {name, NULL};
    Allow *allow = NULL;
    Err err = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    must(allow_parse(NULL, &allow, &err), &err);
    JobSettings settings = {.name = "w1",
                            .host = "w1",
                            .catalogue = plant->worker,
                            .credentials = "/nonexistent",
                            .cache = plant->cache,
                            .keys = "/nonexistent",
                            .allow = allow};
    AgentParams params = {.settings = &settings,
                          .catalog = {.conninfo = plant->worker},
                          .queue = {.url = text_of(redis_server_url(plant->redis))},
                          .slots = slots,
                          .child_argv = child,
                          .config = "",
                          .drain_ms = 1000,
                          .kill_grace_ms = 1000};
    noop_runner_begin(plant->worker, 8);
    must(agent_run(&params, &err), &err);
    _exit(0);
}

static void plant_start(Plant *plant, unsigned sources, uint32_t slots)
{
    RedisServerParams redis = {.append_only = true};
    Text pool = TEXT("fra");
    Err err = {0};
    plant->fleet = durable_fleet(sources);
    plant->redis = redis_server_start(&redis);
    must(
        catalog_enroll(plant->fleet->admin,
                       &(EnrollParams){
                           .name = TEXT("w1"), .host = TEXT("w1"), .pools = &pool, .pool_count = 1},
                       &err),
        &err);
    fleet_do(plant->fleet, "UPDATE setting SET value = 60 WHERE name IN ('lease_s', 'liveness_s')");
    fleet_conninfo(plant->fleet, "holdfast_scheduler", plant->scheduler);
    fleet_conninfo(plant->fleet, "w1", plant->worker);
    snprintf(plant->cache, sizeof plant->cache, "/tmp/hf-bench.XXXXXX");
    if (mkdtemp(plant->cache) == NULL)
        exit(1);
    plant->agent = slots == 0 ? 0 : fork();
    if (plant->agent == 0 && slots != 0)
        be_agent(plant, slots);
    CoreParams params = {.catalog = {.conninfo = plant->scheduler},
                         .queue = {.url = text_of(redis_server_url(plant->redis))},
                         .host = "bench"};
    must(core_start(&plant->core, &params, &err), &err);
}

static void plant_stop(Plant *plant)
{
    core_stop(plant->core);
    if (plant->agent != 0) {
        kill(plant->agent, SIGKILL);
        waitpid(plant->agent, NULL, 0);
    }
    redis_server_stop(plant->redis);
    file_tree_shell("rm -rf %s", plant->cache);
    fleet_stop(plant->fleet);
}

static void nap(long ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* A minute without anything new is the end, with what the catalogue says of it. */
static void wait_for(const Plant *plant, const char *sql, int64_t count)
{
    int64_t last = -1, moved_ns = clock_mono_ns();
    for (int64_t found = 0; found < count; nap(50)) {
        found = fleet_count(plant->fleet, sql);
        if (found != last)
            moved_ns = clock_mono_ns();
        last = found;
        if (since(moved_ns) > 60) {
            char why[512];
            fleet_ask(plant->fleet,
                      "SELECT string_agg(format('%s %s', state, n), ', ') || coalesce((SELECT "
                      "format('; %s: %s', d.code, d.text) "
                      "FROM decision d ORDER BY last_at DESC LIMIT 1), '') FROM (SELECT state, "
                      "count(*) n FROM job GROUP BY 1) x",
                      why);
            fprintf(stderr, "bench: stays at %" PRId64 " of %" PRId64 ": %s\n", found, count, why);
            exit(1);
        }
    }
}

/* --- jobs ------------------------------------------------------------------------------------- */

/* Three commits a job, by eight clients of pgbench: what PostgreSQL can do at all here. */
static double plain_commits(const Plant *plant)
{
    char command[900], conninfo[256], out[64] = "0";
    postgres_as(plant->fleet->pg, "postgres", "postgres", conninfo);
    fleet_do(plant->fleet,
             "CREATE TABLE IF NOT EXISTS public.three(id bigint PRIMARY KEY, state int); "
             "CREATE SEQUENCE IF NOT EXISTS public.three_id");
    snprintf(command, sizeof command,
             "printf '%%s\\n' \"SELECT nextval('public.three_id') AS id \\gset\" \"INSERT INTO "
             "public.three VALUES (:id, 1);\" "
             "\"UPDATE public.three SET state = 2 WHERE id = :id;\" \"UPDATE public.three SET "
             "state = 3 WHERE id = :id;\" | "
             "%s/pgbench -n -M prepared -c 8 -j 2 -T 5 -f - -d '%s' 2>/dev/null | sed -n 's/^tps = "
             "\\([0-9.]*\\).*/\\1/p'",
             "$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)", conninfo);
    FILE *from = popen(command, "r");
    if (from == NULL || fgets(out, sizeof out, from) == NULL)
        out[0] = '\0';
    if (from != NULL)
        pclose(from);
    return strtod(out, NULL);
}

/* The slots come by themselves, every half minute; a round is one of them, from its first job's row
 * to its last commit. */
static void jobs(unsigned count, uint32_t slots)
{
    Plant plant = {0};
    char out[512];
    double best = 0;
    plant_start(&plant, count, slots);
    wait_for(&plant, "SELECT count(*) FROM worker_instance WHERE bye_at IS NULL", 1);
    double peer = plain_commits(&plant);
    forget_profile(plant.fleet);
    fleet_do(plant.fleet, "UPDATE schedule SET at = 'every 30s', last_slot = date_trunc('minute', "
                          "clock_timestamp()) + interval '30 seconds' * (floor(extract(second "
                          "FROM clock_timestamp()) / 30))");
    fleet_do(plant.fleet, "UPDATE policy_version SET digest = digest || 'x'");
    wait_for(&plant, "SELECT count(*) FROM backup", (int64_t)count * ROUNDS);
    fleet_ask(
        plant.fleet,
        "SELECT max(n / extract(epoch FROM took)) FROM (SELECT j.slot, count(*) AS n, "
        "max(a.ended_at) - min(j.created_at) AS took FROM job j JOIN job_attempt a ON a.job = j.id "
        "GROUP BY j.slot ORDER BY j.slot LIMIT 5) x",
        out);
    best = strtod(out, NULL);
    print_profile(plant.fleet);
    row("queue.jobs", best, peer, "jobs/s", 5000, true);
    plant_stop(&plant);
}

/* --- latency ---------------------------------------------------------------------------------- */

static void latency(unsigned count)
{
    Plant plant = {0};
    char out[512];
    double p50 = 0, p99 = 0;
    Err err = {0};
    plant_start(&plant, 200, 4);
    fleet_do(plant.fleet, "UPDATE schedule SET at = '0 0 1 1 *'");
    wait_for(&plant, "SELECT count(*) FROM worker_instance WHERE bye_at IS NULL", 1);
    nap(1000);
    forget_profile(plant.fleet);
    for (unsigned i = 0; i < count; i++) {
        char source[16];
        JobCreated created;
        snprintf(source, sizeof source, "s%u", 1 + i % 200);
        must(catalog_job_create(plant.fleet->scheduler,
                                &(JobRequest){.kind = TEXT("backup"),
                                              .trigger = TEXT("manual"),
                                              .source = text_of(source),
                                              .actor = TEXT("bench")},
                                &created, &err),
             &err);
        core_wake(plant.core);
        nap(50);
    }
    wait_for(&plant, "SELECT count(*) FROM backup", count);
    fleet_ask(plant.fleet,
              "SELECT format('%s %s', percentile_cont(0.5) WITHIN GROUP (ORDER BY ms), "
              "percentile_cont(0.99) "
              "WITHIN GROUP (ORDER BY ms)) FROM (SELECT extract(epoch FROM a.started_at - "
              "j.created_at) * 1000 AS ms "
              "FROM job j JOIN job_attempt a ON a.job = j.id) x",
              out);
    if (sscanf(out, "%lf %lf", &p50, &p99) != 2)
        exit(1);
    print_profile(plant.fleet);
    row("queue.latency.p50", p50, 0, "ms", 1.5, false);
    row("queue.latency.p99", p99, 0, "ms", 5, false);
    plant_stop(&plant);
}

/* --- one step after another ------------------------------------------------------------------- */

static void commit_nothing(Catalog *catalog, const Fence *fence)
{
    Uuid repository = {{1}};
    uint64_t epoch, confirmed;
    BackupRow row = fleet_backup(NULL, 0, 1);
    CommitAnswer answer = COMMIT_DAMAGED;
    char detail[256];
    Err err = {0};
    must(catalog_repository_bind(catalog, fence, &repository, &epoch, &confirmed, &err) &&
             catalog_backup_commit(catalog, fence, &row, &answer, detail, &err),
         &err);
    if (answer != COMMIT_OK)
        exit(1);
}

/* Processor time of the server process that serves a role, in ticks. */
static double server_ticks(const Fleet *fleet, const char *role)
{
    char sql[200], path[64], stat[1024];
    unsigned long user = 0, system = 0;
    snprintf(sql, sizeof sql,
             "SELECT pid FROM pg_stat_activity WHERE usename = '%s' ORDER BY backend_start LIMIT 1",
             role);
    snprintf(path, sizeof path, "/proc/%" PRId64 "/stat", fleet_count(fleet, sql));
    FILE *from = fopen(path, "r");
    if (from == NULL || fgets(stat, sizeof stat, from) == NULL ||
        sscanf(strrchr(stat, ')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
               &user, &system) != 2)
        exit(1);
    fclose(from);
    return (double)(user + system);
}

typedef struct Step {
    const Fleet *fleet;
    const char *role;
    double ticks;
    int64_t began_ns;
} Step;

static Step step_begin(const Fleet *fleet, const char *role)
{
    return (Step){fleet, role, server_ticks(fleet, role), clock_mono_ns()};
}

static void step_end(const Step *step, const char *name, size_t count)
{
    double us = since(step->began_ns) * 1e6 / (double)count;
    double ticks = server_ticks(step->fleet, step->role) - step->ticks;
    printf("# %s: %.0f us a job, %.0f us of them PostgreSQL's processor\n", name, us,
           ticks / (double)sysconf(_SC_CLK_TCK) * 1e6 / (double)count);
}

/* What each step costs while nothing else is done: no contention, one commit each. */
static void steps(unsigned count)
{
    Fleet *fleet = durable_fleet(count);
    FleetWorker worker = fleet_worker(fleet, "w1", false);
    FireCache *cache = fire_cache_new();
    Fence *fences = mem_array(Fence, count);
    TicketList list = {0};
    uint64_t fired = 0;
    Err err = {0};
    forget_profile(fleet);
    fleet_do(fleet, "UPDATE setting SET value = 60 WHERE name IN ('lease_s', 'liveness_s')");
    fleet_do(fleet, "UPDATE schedule SET last_slot = date_trunc('minute', clock_timestamp()) - "
                    "interval '1 minute'");
    Step step = step_begin(fleet, "holdfast_scheduler");
    must(fire_due(fleet->scheduler, cache, &fired, &err), &err);
    step_end(&step, "fire", count);
    step = step_begin(fleet, "holdfast_scheduler");
    must(catalog_dispatch_pick(fleet->scheduler, worker.welcome.pools[0].number, (int32_t)count,
                               &list, &err),
         &err);
    step_end(&step, "dispatch", list.count);
    step = step_begin(fleet, "w1");
    for (size_t i = 0; i < list.count; i++)
        fences[i] = fleet_claim(&worker, list.rows[i]);
    step_end(&step, "claim", list.count);
    step = step_begin(fleet, "w1");
    for (size_t i = 0; i < list.count; i++)
        commit_nothing(worker.c, &fences[i]);
    step_end(&step, "bind and commit", list.count);
    print_profile(fleet);
    catalog_tickets_free(&list);
    mem_free(fences);
    fire_cache_free(cache);
    fleet_worker_close(&worker);
    fleet_stop(fleet);
}

/* --- a dead worker ---------------------------------------------------------------------------- */

/* Claims a job and says nothing more, as one that was killed; seconds until the job is lost. */
static double silence(Plant *plant, unsigned lease_s, unsigned looks_s)
{
    char sql[200], out[512];
    JobCreated created;
    ClaimAnswer answer;
    Uuid claim = rand_uuid();
    Err err = {0};
    snprintf(sql, sizeof sql,
             "UPDATE setting SET value = CASE name WHEN 'lease_s' THEN %u WHEN 'looks_s' THEN %u "
             "ELSE 0 END WHERE name IN ('lease_s', 'looks_s', 'grace_s')",
             lease_s, looks_s);
    fleet_do(plant->fleet, sql);
    FleetWorker dead = fleet_worker(plant->fleet, "w2", false);
    JobRequest request = {.kind = TEXT("backup"),
                          .trigger = TEXT("manual"),
                          .source = TEXT("s1"),
                          .actor = TEXT("bench")};
    must(catalog_job_create(plant->fleet->scheduler, &request, &created, &err), &err);
    core_wake(plant->core);
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM job WHERE id = %" PRIu64 " AND state = 'queued'", created.job);
    wait_for(plant, sql, 1);
    must(catalog_job_claim(dead.c, &dead.instance, created.job, 1, &claim, &answer, &err), &err);
    if (answer.status != CLAIM_GRANTED)
        exit(1);
    catalog_job_claim_free(&answer);
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM job_attempt WHERE job = %" PRIu64 " AND outcome = 'lost'",
             created.job);
    while (fleet_count(plant->fleet, sql) == 0)
        nap(100);
    snprintf(sql, sizeof sql,
             "SELECT extract(epoch FROM ended_at - started_at) FROM job_attempt "
             "WHERE job = %" PRIu64,
             created.job);
    fleet_ask(plant->fleet, sql, out);
    fleet_worker_close(&dead);
    fleet_do(plant->fleet, "UPDATE job SET state = 'cancelled', finished_at = clock_timestamp()");
    return strtod(out, NULL);
}

static void noticed(void)
{
    Plant plant = {0};
    plant_start(&plant, 1, 0);
    fleet_do(plant.fleet, "UPDATE schedule SET at = '0 0 1 1 *'");
    row("queue.noticed.short", silence(&plant, 6, 2), 0, "s", 10, false);
    row("queue.noticed.default", silence(&plant, 60, 15), 0, "s", 80, false);
    plant_stop(&plant);
}

int main(int argc, char **argv)
{
    const char *part = argc > 1 ? argv[1] : "";
    unsigned count = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    log_open(getenv("HOLDFAST_TEST_VERBOSE") == NULL ? LOG_ERROR : LOG_DEBUG, LOG_LOGFMT, 2);
    if (strcmp(part, "slots") == 0)
        slots(count != 0 ? count : 100000);
    else if (strcmp(part, "jobs") == 0)
        jobs(count != 0 ? count : 10000, argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 32);
    else if (strcmp(part, "latency") == 0)
        latency(count != 0 ? count : 400);
    else if (strcmp(part, "steps") == 0)
        steps(count != 0 ? count : 1000);
    else if (strcmp(part, "noticed") == 0)
        noticed();
    else {
        fprintf(stderr, "usage: bench_queue slots|jobs|latency|steps|noticed [COUNT [SLOTS]]\n");
        return 2;
    }
    return 0;
}
