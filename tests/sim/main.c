/* SPDX-License-Identifier: Apache-2.0
 * sim — a fleet in one process, one seed one history.
 *   sim --seed N [--verbose]   replays that history; what broke, and the last 200 lines before it
 *   sim --seeds A..B           each of them, on every core; what broke is replayed and printed
 *   sim --twice --seeds A..B   each of them twice: both must be the same, line for line */
#include "tests/sim/trace.h"
#include "tests/sim/world.h"

#include "common/base/clock.h"
#include "common/base/mem.h"

#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHUNK = 50 };

typedef struct Asked {
    uint64_t first, last;
    bool one, verbose, twice;
    int jobs;
} Asked;

static bool read_asked(Asked *asked, int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'}, {"seeds", required_argument, NULL, 'r'},
        {"verbose", no_argument, NULL, 'v'},    {"twice", no_argument, NULL, 't'},
        {"jobs", required_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
    char *rest = NULL;
    for (int option = 0; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 's' || option == 'r') {
            asked->first = asked->last = strtoull(optarg, &rest, 10);
            asked->one = option == 's';
            if (option == 'r' && strncmp(rest, "..", 2) == 0)
                asked->last = strtoull(rest + 2, NULL, 10);
        } else if (option == 'v') {
            asked->verbose = true;
        } else if (option == 't') {
            asked->twice = true;
        } else if (option == 'j') {
            asked->jobs = atoi(optarg);
        } else {
            return false;
        }
    }
    return asked->first != 0 && asked->last >= asked->first;
}

static int run_one(const Asked *asked)
{
    trace_begin(true, asked->verbose);
    bool good = world_run(asked->first);
    if (!good && !asked->verbose)
        trace_print();
    printf("seed %" PRIu64 ": %s, %" PRIu64 " jobs, %" PRIu64 " attempts, %" PRIu64
           " lost, %" PRIu64 " backups, %" PRIu64 " faults, %" PRIu64
           " steps, %.0f s, digest %016" PRIx64 "\n",
           asked->first, good ? "holds" : "BROKEN", world_counts.jobs, world_counts.attempts,
           world_counts.lost, world_counts.backups, world_counts.faults, world_counts.steps,
           (double)world_counts.virtual_ns / 1e9, trace_digest());
    return good ? 0 : 1;
}

static bool same_twice(uint64_t seed)
{
    trace_begin(true, false);
    bool good = world_run(seed);
    uint64_t digest = trace_digest();
    trace_begin(true, false);
    if (world_run(seed) == good && trace_digest() == digest)
        return good;
    printf("seed %" PRIu64 " is not the same twice\n", seed);
    return false;
}

/* The same history again, to say what came before its end. */
static void show_end(uint64_t seed)
{
    trace_begin(true, false);
    (void)world_run(seed);
    trace_print();
    fflush(stdout);
}

/* Some seeds in a child of their own: what they leak, or crash of, ends with it. The parent reads
 * the number of the seed that is under way and at the end the figures. */
static void run_chunk(const Asked *asked, uint64_t from, uint64_t to, int out)
{
    int broken = 0;
    world_counts = (WorldCounts){0};
    for (uint64_t seed = from; seed <= to; seed++) {
        if (write(out, &seed, sizeof seed) != sizeof seed)
            _exit(2);
        trace_begin(false, false);
        bool good = asked->twice ? same_twice(seed) : world_run(seed);
        if (!good && broken++ == 0)
            show_end(seed);
    }
    uint64_t over = 0;
    if (write(out, &over, sizeof over) != sizeof over ||
        write(out, &world_counts, sizeof world_counts) != sizeof world_counts)
        _exit(2);
    fflush(stdout);
    _exit(broken > 100 ? 100 : broken);
}

typedef struct Chunk {
    pid_t pid;
    int from_child;
} Chunk;

static void add_counts(const WorldCounts *more)
{
    world_counts.jobs += more->jobs;
    world_counts.attempts += more->attempts;
    world_counts.backups += more->backups;
    world_counts.lost += more->lost;
    world_counts.faults += more->faults;
    world_counts.steps += more->steps;
    world_counts.checks += more->checks;
    world_counts.virtual_ns += more->virtual_ns;
}

/* How many of its seeds broke; a crash names its seed. */
static int end_chunk(const Chunk *chunk)
{
    uint64_t seed = 0, last = 0;
    WorldCounts counts;
    int status = 0;
    while (read(chunk->from_child, &seed, sizeof seed) == sizeof seed && seed != 0)
        last = seed;
    if (seed == 0 && read(chunk->from_child, &counts, sizeof counts) == sizeof counts)
        add_counts(&counts);
    close(chunk->from_child);
    waitpid(chunk->pid, &status, 0);
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    printf("seed %" PRIu64 ": died of signal %d\n", last, WTERMSIG(status));
    return 1;
}

static Chunk begin_chunk(const Asked *asked, uint64_t from)
{
    int ends[2];
    Chunk chunk = {0};
    uint64_t to = from + CHUNK - 1 < asked->last ? from + CHUNK - 1 : asked->last;
    fflush(stdout);
    if (pipe(ends) != 0 || (chunk.pid = fork()) < 0)
        abort();
    if (chunk.pid == 0) {
        close(ends[0]);
        run_chunk(asked, from, to, ends[1]);
    }
    close(ends[1]);
    chunk.from_child = ends[0];
    return chunk;
}

static int run_many(const Asked *asked)
{
    Chunk running[64];
    int count = 0, broken = 0;
    int most =
        asked->jobs > 0 && asked->jobs < 64 ? asked->jobs : (int)sysconf(_SC_NPROCESSORS_ONLN);
    int64_t began = clock_mono_ns();
    for (uint64_t from = asked->first; from <= asked->last || count > 0; from += CHUNK) {
        if (count == most || from > asked->last) {
            broken += end_chunk(&running[0]);
            memmove(&running[0], &running[1], (size_t)--count * sizeof running[0]);
        }
        if (from <= asked->last)
            running[count++] = begin_chunk(asked, from);
    }
    printf("%" PRIu64 " seeds: %d broken; %" PRIu64 " jobs, %" PRIu64 " attempts, %" PRIu64
           " lost, %" PRIu64 " backups, %" PRIu64 " faults, %" PRIu64 " steps, %" PRIu64
           " checks, %.0f h of virtual time in %.1f s\n",
           asked->last - asked->first + 1, broken, world_counts.jobs, world_counts.attempts,
           world_counts.lost, world_counts.backups, world_counts.faults, world_counts.steps,
           world_counts.checks, (double)world_counts.virtual_ns / 3.6e12,
           (double)(clock_mono_ns() - began) / 1e9);
    return broken == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    Asked asked = {0};
    if (!read_asked(&asked, argc, argv)) {
        fprintf(stderr,
                "usage: sim --seed N [--verbose] | sim [--twice] [--jobs N] --seeds A..B\n");
        return 2;
    }
    json_object_seed(1); /* nothing here depends on it; nothing shall */
    return asked.one ? run_one(&asked) : run_many(&asked);
}
