/* SPDX-License-Identifier: Apache-2.0
 * wal_fetch.h — one file of a server's log, for its recovery: from the spool of this host, else
 * from the batches of the source NAME-wal in a repository. "Not there" is an answer of its own:
 * only when everything that could have it was asked, opened and read.
 * Beside the server's file lies a folder holdfast_fetch, with what is known of the repository and
 * what was fetched ahead; it may be deleted at any time. */
#ifndef WORKER_WAL_WAL_FETCH_H
#define WORKER_WAL_WAL_FETCH_H

#include "protocol/err.h"

typedef struct WalFetch {
    const char *file, *path; /* %f, %p */
    const char *store, *source, *key_set, *keys;
    const char *passphrase; /* its file; NULL: none */
    const char *spool;      /* "": none */
    bool spool_named;       /* else it need not be there */
    bool standby;           /* a hole is "not there" */
    uint64_t ahead;         /* bytes to fetch with it */
} WalFetch;

/* *found false: it is stored nowhere, and nothing that follows it. */
MUST_CHECK bool wal_fetch(const WalFetch *params, bool *found, Err *err);

#endif
