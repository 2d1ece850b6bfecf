/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/fleet.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/catalog/catalog_enroll.h"
#include "common/catalog/catalog_migrate.h"
#include "common/catalog/catalog_policy.h"
#include "common/catalog/catalog_view.h"

#include <stdio.h>
#include <stdlib.h>

static void must(bool done, const Err *err, const char *what)
{
    if (done)
        return;
    fprintf(stderr, "harness: %s: %s: %s\n", what, err->cause, err->text);
    abort();
}

void fleet_conninfo(const Fleet *fleet, const char *role, char out[256])
{
    if (fleet->pooler != NULL)
        pooler_as(fleet->pooler, role, "postgres", out);
    else
        postgres_as(fleet->pg, role, "postgres", out);
}

Catalog *fleet_connect(const Fleet *fleet, const char *role)
{
    char conninfo[256];
    Catalog *c = NULL;
    Err err = {0};
    fleet_conninfo(fleet, role, conninfo);
    must(catalog_open(&c, &(CatalogParams){.conninfo = conninfo}, &err), &err, role);
    return c;
}

Fleet *fleet_start(void)
{
    return fleet_start_with(NULL);
}

Fleet *fleet_start_with(const char *const *options)
{
    static const struct {
        const char *name;
        double value;
    } timers[] = {
        {"lease_s", 2},     {"beat_s", 0.5},      {"liveness_s", 2},    {"looks_s", 0.2},
        {"grace_s", 0},     {"defer_min_s", 0.1}, {"defer_max_s", 0.2}, {"loss_backoff_s", 0},
        {"requeue_s", 0.2}, {"leader_s", 1},
    };
    static const char *const users[] = {
        "holdfast_scheduler", "w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8", NULL};
    Fleet *fleet = mem_new(Fleet);
    MigrateReport report;
    Err err = {0};
    fleet->pg = postgres_start(options);
    must(catalog_migrate_open(&fleet->admin, &(CatalogParams){.conninfo = postgres_url(fleet->pg)},
                              &err),
         &err, "connect");
    must(catalog_migrate(fleet->admin, &report, &err), &err, "migrate");
    if (getenv("HOLDFAST_POOLER") != NULL)
        fleet->pooler = pooler_start(fleet->pg, users);
    fleet->scheduler = fleet_connect(fleet, "holdfast_scheduler");
    for (size_t i = 0; i < sizeof timers / sizeof timers[0]; i++)
        must(catalog_setting_set(fleet->scheduler, text_of(timers[i].name), timers[i].value, &err),
             &err, timers[i].name);
    return fleet;
}

void fleet_settled(Fleet *fleet)
{
    fleet->history.settled = true;
}

void fleet_breaks(Fleet *fleet, const char *what_and_why)
{
    history_broken(&fleet->history, what_and_why);
}

void fleet_check(Fleet *fleet)
{
    if (!fleet->checked)
        fleet->broken = !history_holds(fleet->pg, &fleet->history);
    fleet->checked = true;
}

void fleet_stop(Fleet *fleet)
{
    fleet_check(fleet);
    bool broken = fleet->broken;
    catalog_close(fleet->admin);
    catalog_close(fleet->scheduler);
    pooler_stop(fleet->pooler);
    postgres_stop(fleet->pg);
    mem_free(fleet);
    if (broken) {
        fprintf(stderr, "harness: the history of this test breaks an invariant\n");
        abort();
    }
}

void fleet_policy(Fleet *fleet, unsigned count, const char *extra)
{
    scoped(buf_free) Buf document = {0};
    PolicyApplied applied;
    Err err = {0};
    buf_printf(&document, "{\"fleet\":\"test\",\"pools\":{\"fra\":{}},\"key_sets\":[\"keys\"],"
                          "\"stores\":{\"nas\":{\"type\":\"local\",\"path\":\"/srv/b\"}},"
                          "\"sources\":{");
    for (unsigned i = 1; i <= count; i++)
        buf_printf(&document,
                   "%s\"s%u\":{\"type\":\"files\",\"policy\":\"gold\",\"pool\":\"fra\","
                   "\"store\":\"nas\",\"key_set\":\"keys\",\"config\":{\"paths\":[\"/srv/%u\"]},"
                   "\"timezone\":\"UTC\",\"schedules\":{\"nightly\":{\"at\":\"0 1 * * *\"}},"
                   "\"overlap\":\"skip\",\"catch_up\":\"latest\",\"start_deadline_s\":3600,"
                   "\"timeout_s\":3600,\"stall_s\":600,\"retry\":{\"attempts\":3,\"backoff_s\":0,"
                   "\"max_backoff_s\":0,\"jitter\":\"none\"},\"rate\":0,"
                   "\"compression\":{\"codec\":\"zstd\",\"level\":3},"
                   "\"objectives\":{\"rpo_s\":86400}%s}",
                   i == 1 ? "" : ",", i, i, extra);
    buf_printf(&document, "}}");
    must(catalog_policy_apply(fleet->scheduler, buf_text(&document), (Text){0}, TEXT("test"),
                              &applied, &err),
         &err, "policy");
}

/* Enrols it in one pool and says hello with these facts. */
static FleetWorker hire(Fleet *fleet, const EnrollParams *params, const char *facts)
{
    FleetWorker worker = {.instance = rand_uuid()};
    char name[64];
    Err err = {0};
    snprintf(name, sizeof name, "%.*s", TEXT_ARG(params->name));
    must(catalog_enroll(fleet->admin, params, &err), &err, "enroll");
    worker.c = fleet_connect(fleet, name);
    WorkerHello hello = {
        .instance = worker.instance,
        .name = text_of(name),
        .host = text_of(name),
        .version = TEXT("test"),
        .slots = 4,
        .clock_ns = clock_wall_ns(),
        .facts = text_of(facts),
    };
    must(catalog_worker_hello(worker.c, &hello, &worker.welcome, &err), &err, "hello");
    return worker;
}

FleetWorker fleet_worker(Fleet *fleet, const char *name, bool reader)
{
    Text pool = TEXT("fra");
    EnrollParams params = {.name = text_of(name),
                           .host = text_of(name),
                           .pools = &pool,
                           .pool_count = 1,
                           .reader = reader};
    return hire(fleet, &params,
                reader ? "{\"engines\":[\"files\",\"postgresql\"],\"roles\":[\"write\",\"read\"]}"
                       : "{\"engines\":[\"files\",\"postgresql\"],\"roles\":[\"write\"]}");
}

FleetWorker fleet_pruner(Fleet *fleet, const char *name)
{
    Text pool = TEXT("prune");
    EnrollParams params = {.name = text_of(name),
                           .host = text_of(name),
                           .pools = &pool,
                           .pool_count = 1,
                           .pruner = true};
    return hire(fleet, &params, "{\"roles\":[\"prune\"]}");
}

void fleet_worker_close(FleetWorker *worker)
{
    catalog_worker_welcome_free(&worker->welcome);
    catalog_close(worker->c);
}

void fleet_ask(const Fleet *fleet, const char *sql, char out[512])
{
    char command[4096], conninfo[256];
    out[0] = '\0';
    postgres_as(fleet->pg, "postgres", "postgres", conninfo);
    setenv("HF_ASK", sql, 1); /* through the environment: no quoting */
    snprintf(command, sizeof command,
             "printf '%%s' \"$HF_ASK\" | PGOPTIONS='-c search_path=holdfast' psql -qAtX -v "
             "ON_ERROR_STOP=1 -d '%s' -f -",
             conninfo);
    FILE *from = popen(command, "r");
    if (from == NULL || fgets(out, 512, from) == NULL)
        out[0] = '\0';
    out[strcspn(out, "\n")] = '\0';
    if (from == NULL || pclose(from) != 0) {
        fprintf(stderr, "harness: %s\n", sql);
        abort();
    }
}

int64_t fleet_count(const Fleet *fleet, const char *sql)
{
    char out[512];
    fleet_ask(fleet, sql, out);
    return strtoll(out, NULL, 10);
}

void fleet_do(const Fleet *fleet, const char *sql)
{
    char out[512];
    fleet_ask(fleet, sql, out);
}

TicketRow fleet_job(Fleet *fleet, const JobRequest *request)
{
    JobCreated created;
    Err err = {0};
    must(catalog_job_create(fleet->scheduler, request, &created, &err), &err, "job_create");
    return fleet_dispatched(fleet, &created);
}

TicketRow fleet_dispatched(Fleet *fleet, const JobCreated *created)
{
    TicketList list;
    TicketRow mine = {0};
    Err err = {0};
    must(catalog_dispatch_pick(fleet->scheduler, created->pool, 100, &list, &err), &err, "pick");
    for (size_t i = 0; i < list.count; i++)
        if (list.rows[i].job == created->job)
            mine = list.rows[i];
    catalog_tickets_free(&list);
    if (mine.job == 0) {
        char why[512], sql[200];
        snprintf(sql, sizeof sql, "SELECT text FROM decision WHERE job = %llu",
                 (unsigned long long)created->job);
        fleet_ask(fleet, sql, why);
        fprintf(stderr, "harness: the job was not dispatched: %s\n", why);
        abort();
    }
    return mine;
}

TicketRow fleet_ticket(Fleet *fleet, const char *source)
{
    return fleet_job(
        fleet,
        &(JobRequest){.kind = TEXT("backup"), .source = text_of(source), .actor = TEXT("test")});
}

Fence fleet_claim(FleetWorker *worker, TicketRow ticket)
{
    Fence fence = {.job = ticket.job, .claim = rand_uuid()};
    ClaimAnswer answer;
    Err err = {0};
    must(catalog_job_claim(worker->c, &worker->instance, ticket.job, ticket.dispatch, &fence.claim,
                           &answer, &err),
         &err, "claim");
    if (answer.status != CLAIM_GRANTED) {
        fprintf(stderr, "harness: the claim was not granted: %s\n", answer.missing);
        abort();
    }
    fence.attempt = answer.attempt;
    catalog_job_claim_free(&answer);
    return fence;
}

ChunkId fleet_chunk(uint8_t seed, size_t n)
{
    ChunkId id = {{seed, (uint8_t)(n >> 8), (uint8_t)n}};
    return id;
}

PackRow fleet_stage(Catalog *c, const Fence *fence, uint8_t seed, size_t count)
{
    scoped(mem_release) ChunkRow *chunks = mem_array(ChunkRow, count);
    PackRow row = {.object = rand_uuid(), .pack = rand_uuid(), .kind = PACK_DATA, .bytes = 1000};
    Err err = {0};
    row.sha256.bytes[0] = seed;
    must(catalog_pack_begin(c, fence, &row.object, &row.pack, row.kind, &row.pack_no, &err), &err,
         "pack_begin");
    for (size_t i = 0; i < count; i++)
        chunks[i] = (ChunkRow){.id = fleet_chunk(seed, i),
                               .ordinal = (uint32_t)i,
                               .codec = 1,
                               .offset = 100 * i,
                               .stored = 100,
                               .plain = 200};
    row.chunks = chunks;
    row.chunk_count = count;
    must(catalog_pack_stage(c, fence, &row, &err), &err, "pack_stage");
    row.chunks = NULL;
    row.chunk_count = 0;
    return row;
}

BackupRow fleet_backup(const uint64_t *packs, size_t count, uint64_t sequence)
{
    return (BackupRow){
        .id = rand_backup_id(),
        .manifest_sha256 = {{7}},
        .index_object = rand_uuid(),
        .index_sha256 = {{8}},
        .sequence = sequence,
        .consistent_ns = clock_wall_ns(),
        .receipt = TEXT("{}"),
        .stored_verified = true,
        .entries = 1,
        .bytes = 100,
        .stored_bytes = 50,
        .new_bytes = 50,
        .pack_nos = packs,
        .pack_count = count,
    };
}

Uuid fleet_back_up(Fleet *fleet, FleetWorker *worker, const char *source, uint64_t sequence,
                   uint8_t seed)
{
    Fence fence = fleet_claim(worker, fleet_ticket(fleet, source));
    PackRow pack = fleet_stage(worker->c, &fence, seed, 3);
    BackupRow row = fleet_backup(&pack.pack_no, 1, sequence);
    CommitAnswer answer;
    char detail[256];
    Err err = {0};
    must(catalog_backup_commit(worker->c, &fence, &row, &answer, detail, &err), &err, "commit");
    if (answer != COMMIT_OK) {
        fprintf(stderr, "harness: the commit was refused: %d %s\n", (int)answer, detail);
        abort();
    }
    return row.id;
}
