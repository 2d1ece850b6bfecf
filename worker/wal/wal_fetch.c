/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/wal/wal_fetch.h"
#include "worker/wal/wal.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/units.h"
#include "worker/engine/postgresql_spool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum {
    WAIT_MS = 45000,
    AGAIN_MS = 500,
    EXIT_NOT_THERE = 1,
    EXIT_STOP = 255, /* above 125 a server takes nothing for the end of the log; 126 and 127 are the
                        shell's own words */
};

static const char help[] =
    "Usage: holdfast-worker wal-fetch --store PLACE --source NAME [OPTION]... FILE PATH\n"
    "restore_command of a PostgreSQL server: 'holdfast-worker wal-fetch ... %f %p'. Takes the\n"
    "file out of the spool of this host, else out of the repository. 0: it is there; 1: it is\n"
    "not stored, so recovery ends or goes on streaming; 255: nobody can say, recovery stops.\n"
    "  --store PLACE    directory of the store; the repository is PLACE/<key set>; or\n"
    "                   s3://BUCKET[/PREFIX][?endpoint=URL][&region=NAME], its keys as\n"
    "                   AWS_ACCESS_KEY_ID, in a profile, or of the machine's role\n"
    "  --source NAME    whose log it is, as in the fleet file\n"
    "  --key-set NAME   key set; default: plain, which has no keys\n"
    "  --keys DIR       where <key set>.reader lies; default: /etc/holdfast/keys\n"
    "  --passphrase-file FILE   of a reader file that has one\n"
    "  --spool DIR      the spool of this host; default " POSTGRESQL_SPOOL " where\n"
    "                   it is, or HOLDFAST_WAL_SPOOL; '' for none\n"
    "  --ahead SIZE     fetches so much of what follows with it; default 128MiB, 0 for none\n"
    "  --timeout TIME   how long a store that does not answer is asked again; default 45s\n"
    "  --standby        a hole is 1 too: a standby may get from its primary what is gone here\n";

typedef struct Args {
    WalFetch fetch;
    int64_t timeout_ms;
    bool help;
} Args;

static bool take_option(Args *args, const char *name, const char *value, Err *err)
{
    WalFetch *fetch = &args->fetch;
    const struct {
        const char *name;
        const char **to;
    } texts[] = {{"--store", &fetch->store},     {"--source", &fetch->source},
                 {"--key-set", &fetch->key_set}, {"--keys", &fetch->keys},
                 {"--spool", &fetch->spool},     {"--passphrase-file", &fetch->passphrase}};
    if (value == NULL)
        return err_set(err, ERR_USAGE, "usage.flag", "%s needs a value", name);
    if (strcmp(name, "--ahead") == 0)
        return strcmp(value, "0") == 0 ? (fetch->ahead = 0, true)
                                       : units_size(text_of(value), &fetch->ahead, err);
    if (strcmp(name, "--timeout") == 0)
        return units_duration_ms(text_of(value), &args->timeout_ms, err);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(name, texts[i].name) == 0) {
            *texts[i].to = value;
            fetch->spool_named = fetch->spool_named || texts[i].to == &fetch->spool;
            return true;
        }
    return err_set(err, ERR_USAGE, "usage.flag", "%.40s is no option of wal-fetch", name);
}

static bool take_word(Args *args, const char *word, Err *err)
{
    const char **to = args->fetch.file == NULL   ? &args->fetch.file
                      : args->fetch.path == NULL ? &args->fetch.path
                                                 : NULL;
    if (to == NULL)
        return err_set(err, ERR_USAGE, "usage.words", "wal-fetch takes two words, %%f and %%p");
    *to = word;
    return true;
}

static bool read_args(Args *args, int argc, char **argv, Err *err)
{
    const char *root = getenv("HOLDFAST_WAL_SPOOL");
    bool named = root != NULL && root[0] != '\0';
    WalFetch *fetch = &args->fetch;
    *args = (Args){.timeout_ms = WAIT_MS,
                   .fetch = {.key_set = "plain",
                             .keys = "/etc/holdfast/keys",
                             .spool = named ? root : POSTGRESQL_SPOOL,
                             .spool_named = named,
                             .ahead = 128 << 20}};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0)
            args->help = true;
        else if (strcmp(argv[i], "--standby") == 0)
            fetch->standby = true;
        else if (argv[i][0] == '-' ? !take_option(args, argv[i], argv[i + 1], err)
                                   : !take_word(args, argv[i], err))
            return false;
        else
            i += argv[i][0] == '-';
    }
    return args->help || (fetch->path != NULL && fetch->store != NULL && fetch->source != NULL) ||
           err_set(err, ERR_USAGE, "usage.words",
                   "wal-fetch needs --store, --source and two words: restore_command = "
                   "'holdfast-worker wal-fetch --store PLACE --source NAME %%f %%p'");
}

/* A store that is away may come back; what it says when it answers is final. */
static bool fetch_patiently(const Args *args, bool *found, Err *err)
{
    int64_t until = clock_mono_ns() + args->timeout_ms * 1000000;
    const struct timespec pause = {.tv_nsec = AGAIN_MS * 1000000};
    for (;;) {
        if (wal_fetch(&args->fetch, found, err))
            return true;
        if (!err_retry(err->code) || clock_mono_ns() >= until)
            return false;
        *err = (Err){0};
        nanosleep(&pause, NULL);
    }
}

int wal_fetch_main(int argc, char **argv)
{
    Args args;
    Err err = {0};
    bool found = false;
    /* A core of it, or a debugger, would hold keys. */
    prctl(PR_SET_DUMPABLE, 0);
    mem_share_heap();
    bool fine = read_args(&args, argc, argv, &err);
    if (fine && args.help) {
        fputs(help, stdout);
        return 0;
    }
    if (fine && fetch_patiently(&args, &found, &err))
        return found ? 0 : EXIT_NOT_THERE;
    fprintf(stderr, "holdfast-worker: wal-fetch %s: %s [%s]\n",
            args.fetch.file == NULL ? "" : args.fetch.file, err.text, err.cause);
    return EXIT_STOP;
}
