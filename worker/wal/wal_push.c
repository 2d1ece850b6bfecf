/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/wal/wal.h"

#include "common/base/clock.h"
#include "common/base/crashpoint.h"
#include "common/base/units.h"
#include "worker/wal/wal_take.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WAIT_MS = 45000, LOOK_MS = 20, EXIT_AGAIN = 1 };

static const char help[] =
    "Usage: holdfast-worker wal-push [OPTION]... PATH\n"
    "archive_command of a PostgreSQL server: 'holdfast-worker wal-push %p'. Says done when\n"
    "the file is stored, or, where the policy says wal_push: spooled, durable in the spool.\n"
    "  --spool DIR      the spool of this host; default " POSTGRESQL_SPOOL ",\n"
    "                   or HOLDFAST_WAL_SPOOL; the same as wal_spool in worker.yaml\n"
    "  --limit SIZE     takes nothing more while so much waits there; default: no limit\n"
    "  --timeout TIME   how long it waits for the store before the server is asked to try\n"
    "                   again; default 45s\n"
    "  --take-over      by hand, once: the spool was of another data directory of this\n"
    "                   cluster, and this one is its successor\n";

typedef struct Args {
    WalTake take;
    int64_t timeout_ms;
    bool help;
} Args;

static bool take_option(Args *args, const char *name, const char *value, Err *err)
{
    if (value == NULL)
        return err_set(err, ERR_USAGE, "usage.flag", "%s needs a value", name);
    if (strcmp(name, "--spool") == 0) {
        args->take.root = value;
        return true;
    }
    if (strcmp(name, "--limit") == 0)
        return units_size(text_of(value), &args->take.limit, err);
    if (strcmp(name, "--timeout") == 0)
        return units_duration_ms(text_of(value), &args->timeout_ms, err);
    return err_set(err, ERR_USAGE, "usage.flag", "%.40s is no option of wal-push", name);
}

static bool read_args(Args *args, int argc, char **argv, Err *err)
{
    const char *root = getenv("HOLDFAST_WAL_SPOOL");
    *args = (Args){.take.root = root == NULL || root[0] == '\0' ? POSTGRESQL_SPOOL : root,
                   .timeout_ms = WAIT_MS};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            args->help = true;
        } else if (strcmp(argv[i], "--take-over") == 0) {
            args->take.take_over = true;
        } else if (argv[i][0] == '-') {
            if (!take_option(args, argv[i], argv[i + 1], err))
                return false;
            i++;
        } else if (args->take.path != NULL) {
            return err_set(err, ERR_USAGE, "usage.words", "wal-push takes one file, %%p");
        } else {
            args->take.path = argv[i];
        }
    }
    return args->help || args->take.path != NULL ||
           err_set(err, ERR_USAGE, "usage.words",
                   "wal-push needs the file: archive_command = 'holdfast-worker wal-push %%p'");
}

/* Until a job has left its note: only a committed backup makes one. */
static bool wait_stored(const Args *args, const WalTaken *taken, Err *err)
{
    int64_t until = clock_mono_ns() + args->timeout_ms * 1000000;
    const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000};
    for (;;) {
        bool stored;
        if (!wal_taken_stored(taken, &stored, err))
            return false;
        if (stored)
            return true;
        if (clock_mono_ns() >= until)
            return err_set(err, ERR_BUSY, "wal.not_stored",
                           "%s is durable in %s and was not stored within %lld s: holdfast job "
                           "list says why, and the server will ask again; wal_push: spooled in "
                           "the policy makes this done",
                           taken->name, taken->spool.path, (long long)(args->timeout_ms / 1000));
        nanosleep(&pause, NULL);
    }
}

static bool push(const Args *args, Err *err)
{
    WalTaken taken;
    if (!wal_take(&args->take, &taken, err))
        return false;
    CRASHPOINT("wal.spooled");
    bool fine = taken.done || wait_stored(args, &taken, err);
    wal_taken_close(&taken);
    return fine;
}

int wal_push_main(int argc, char **argv)
{
    Args args;
    Err err = {0};
    bool fine = read_args(&args, argc, argv, &err);
    if (fine && args.help) {
        fputs(help, stdout);
        return 0;
    }
    if (fine && push(&args, &err))
        return 0;
    fprintf(stderr, "holdfast-worker: %s [%s]\n", err.text, err.cause);
    return EXIT_AGAIN;
}
