/* SPDX-License-Identifier: Apache-2.0
 * bench_collect [PACKS]... — what the collector asks of the catalogue in a repository of so many
 * packs (62500, 250000 and 1000000): a tenth of them is named by no backup. Prints how long
 * condemning took, the median, p99 and worst of the flips that follow, how long commits had to wait
 * for one of them, and the peak memory of this process and of the pruner's server process.
 * Two busy cores (load above 10) and 24 MB of shared buffers gave p99 87, 76 and 105 ms; commits
 * waited 50, 77 and 139 ms at most. With 1 GB condemning took 0.5, 1.9 and 21 s, during which
 * nobody waits: up to 250 000 packs in proportion, at a million three times that. */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/catalog/catalog_collect.h"
#include "tests/harness/fleet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BACKUPS = 8, FLIPS_MOST = 1000 };

static void must(bool good, const Err *err)
{
    if (good)
        return;
    fprintf(stderr, "bench_collect: %s: %s\n", err->cause, err->text);
    exit(1);
}

/* kB of a process, as the kernel counts its peak. */
static long peak_kb(const char *pid)
{
    char path[64], line[200];
    long kb = -1;
    snprintf(path, sizeof path, "/proc/%s/status", pid);
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "VmHWM: %ld", &kb) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return kb;
}

/* Packs with numbers behind those of the real backups, which name nine tenths of them, each a run
 * that overlaps the next. */
static void fill(Fleet *fleet, unsigned long packs)
{
    char sql[1200];
    fleet_do(fleet,
             "ALTER TABLE backup DISABLE TRIGGER USER; UPDATE setting SET value = 6000 WHERE "
             "name IN ('lease_s', 'liveness_s')");
    snprintf(sql, sizeof sql,
             "INSERT INTO pack(repository, object, pack, kind, domain, job, attempt, state, bytes, "
             "sha256) SELECT b.repository, gen_random_uuid(), gen_random_uuid(), 'data', b.source, "
             "b.job, b.attempt, 'live', 16777216, decode(repeat('ab', 32), 'hex') FROM (SELECT * "
             "FROM backup ORDER BY sequence LIMIT 1) b, generate_series(1, %lu)",
             packs);
    fleet_do(fleet, sql);
    snprintf(sql, sizeof sql,
             "UPDATE backup b SET packs = array(SELECT p.no FROM pack p WHERE p.no > (b.sequence - "
             "1) * %lu AND p.no <= (b.sequence + 0.2) * %lu AND p.no <= %lu ORDER BY 1)",
             packs * 9 / 10 / BACKUPS, packs * 9 / 10 / BACKUPS, packs * 9 / 10);
    fleet_do(fleet, sql);
    fleet_do(fleet, "ANALYZE pack; ANALYZE backup");
}

static Fence claim(Fleet *fleet, FleetWorker *pruner)
{
    RepositoryRequest request = {.kind = TEXT("prune"),
                                 .trigger = TEXT("manual"),
                                 .store = TEXT("nas"),
                                 .params = TEXT("{}"),
                                 .actor = TEXT("bench")};
    JobCreated created;
    BeatAnswer none;
    BeatSummary summary;
    Err err = {0};
    must(catalog_worker_beat(pruner->c, &pruner->instance, NULL, 0, &none, &summary, &err), &err);
    must(catalog_repository_job(fleet->scheduler, &request, &created, &err), &err);
    return fleet_claim(pruner, fleet_dispatched(fleet, &created));
}

static int compare(const void *a, const void *b)
{
    const int64_t *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

static void measure(unsigned long packs)
{
    Fleet *fleet = fleet_start();
    Err err = {0};
    fleet_policy(fleet, 1, "");
    FleetWorker writer = fleet_worker(fleet, "w1", false);
    FleetWorker pruner = fleet_pruner(fleet, "p1");
    for (unsigned i = 1; i <= BACKUPS; i++)
        fleet_back_up(fleet, &writer, "s1", i, (uint8_t)i);
    Fence fence = claim(fleet, &pruner); /* nobody reaps here */
    fill(fleet, packs);
    CollectCondemned condemned;
    CollectFlipped flipped = {.flipped = 1};
    int64_t began = clock_mono_ns();
    must(catalog_collect_condemn(pruner.c, &fence, true, &condemned, &err), &err);
    double condemn_s = (double)(clock_mono_ns() - began) / 1e9;
    /* Committed since: every flip looks at what they name. */
    fleet_do(fleet, "UPDATE backup SET xact = pg_current_xact_id() WHERE sequence <= 2");
    static int64_t took[FLIPS_MOST];
    size_t count = 0;
    while (count < FLIPS_MOST && flipped.flipped + flipped.pardoned > 0) {
        began = clock_mono_ns();
        must(catalog_collect_flip(pruner.c, &fence, 10000, &flipped, &err), &err);
        took[count++] = clock_mono_ns() - began;
    }
    qsort(took, count, sizeof took[0], compare);
    char pid[512], held[512];
    fleet_ask(fleet, "SELECT round(max(held_ms)) FROM collection", held);
    fleet_ask(fleet, "SELECT pid FROM pg_stat_activity WHERE usename = 'p1' LIMIT 1", pid);
    pid[strcspn(pid, "\n")] = 0;
    printf(
        "packs %8lu  condemned %7llu in %6.2f s  flips %4zu  p50 %6.1f ms  p99 %6.1f ms  worst "
        "%6.1f ms  commits waited at most %s ms  memory %ld MiB, of the server process %ld MiB\n",
        packs, (unsigned long long)condemned.condemned, condemn_s, count,
        (double)took[count / 2] / 1e6, (double)took[count * 99 / 100] / 1e6,
        (double)took[count - 1] / 1e6, held, peak_kb("self") / 1024, peak_kb(pid) / 1024);
    fflush(stdout);
    _Exit(0); /* the servers end with us; what was made up here breaks every invariant */
}

int main(int argc, char **argv)
{
    unsigned long packs = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    if (argc == 2 && packs > 0)
        measure(packs);
    if (argc > 1)
        return fprintf(stderr, "bench_collect [PACKS]\n"), 2;
    for (unsigned long each = 62500; each <= 1000000; each *= 4) {
        char command[512];
        snprintf(command, sizeof command, "'%s' %lu", argv[0], each);
        if (system(command) != 0)
            return 1;
    }
    return 0;
}
