/* SPDX-License-Identifier: Apache-2.0
 * once_args.h — the options of the offline verbs. */
#ifndef WORKER_ONCE_ONCE_ARGS_H
#define WORKER_ONCE_ONCE_ARGS_H

#include "protocol/err.h"

enum { ONCE_PATHS_MOST = 64 };

/* What of files is given back only when it is asked for. */
enum OnceWith {
    ONCE_DEVICES = 1,
    ONCE_SETUID = 2,
    ONCE_SECURITY = 4,
    ONCE_NUMERIC_OWNER = 8,
};

typedef struct OnceArgs {
    const char *verb;
    const char *store;   /* directory of the store */
    const char *keys;    /* directory of key files */
    const char *set;     /* key set */
    const char *backup;  /* bk_…, its beginning, or "latest" */
    const char *source;  /* only backups of it */
    const char *to;      /* target directory */
    const char *request; /* file with the engine's JSON request, "-" for none */
    const char *engine;
    const char *level;
    const char *database;
    const char *catalogue;     /* conninfo of its administrator, without a password */
    const char *password_file; /* with that password; NULL: libpq's own ways */
    const char *passphrase;    /* file or fd:N with that of the reader file; NULL: the terminal */
    const char *as;            /* the store's name in the fleet file */
    Text paths[ONCE_PATHS_MOST];
    unsigned path_count;
    unsigned with; /* OnceWith, added up */
    bool json, in_place, help, all;
} OnceArgs;

MUST_CHECK bool once_args_read(OnceArgs *args, int argc, char **argv, Err *err);
void once_args_help(void); /* to stdout */

#endif
