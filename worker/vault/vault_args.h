/* SPDX-License-Identifier: Apache-2.0
 * vault_args.h — the words and flags of the verbs; a secret is always a file, never a word. */
#ifndef WORKER_VAULT_VAULT_ARGS_H
#define WORKER_VAULT_VAULT_ARGS_H

#include "protocol/err.h"

enum { VAULT_STORES_MOST = 16 };

typedef struct VaultArgs {
    const char *verb; /* "create", "enroll", "check", … */
    const char *name; /* key set or host */
    const char *directory;
    const char *kit;
    const char *keys;
    const char *stores[VAULT_STORES_MOST]; /* the first is NULL where none is named */
    size_t store_count;
    const char *stolen_at;
    const char *object; /* in quarantine; NULL: all are listed */
    const char *role;
    const char *sources;
    const char *passphrase;     /* file or fd:N; NULL: the terminal is asked */
    const char *new_passphrase; /* the same */
    bool no_passphrase;         /* the file is to have none any more */
    bool help;
} VaultArgs;

MUST_CHECK bool vault_args_parse(int argc, char **argv, VaultArgs *out, Err *err);
extern const char vault_args_help[];

#endif
