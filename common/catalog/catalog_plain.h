/* SPDX-License-Identifier: Apache-2.0
 * catalog_plain.h — which file of which store is a plain copy of which backup, for the attempt that
 * holds the job which makes it. Order: open -> stage (the name is ours) -> the file is written,
 * without a name -> stage with its hash -> it gets its name -> it is read back -> commit -> latest
 * names it. So whatever dies in between, the next attempt knows its own file from a stranger's. */
#ifndef COMMON_CATALOG_CATALOG_PLAIN_H
#define COMMON_CATALOG_CATALOG_PLAIN_H

#include "common/catalog/catalog_job.h"
#include "protocol/ids.h"

enum { PLAIN_NAME_MOST = 200 };

typedef struct PlainOpened {
    char name[PLAIN_NAME_MOST + 1]; /* below the store's place; empty: there is no row */
    uint64_t bytes;
    bool hashed; /* the file may have its name, with these bytes */
    Sha256 sha256;
    bool committed;
    bool newest, told; /* of its source in that store; latest names it already */
} PlainOpened;
MUST_CHECK bool catalog_plain_open(Catalog *c, const Fence *fence, PlainOpened *out, Err *err);

typedef struct PlainStage {
    const char *name;
    Text latest; /* the name that is to mean the newest; empty: none */
    bool meta;
    uint64_t bytes;
    const Sha256 *sha256; /* NULL: not known yet */
} PlainStage;
/* ours false: the name is another copy's. ERR_CONFLICT plain.latest_taken: latest is that of
 * another source, which is named. */
MUST_CHECK bool catalog_plain_stage(Catalog *c, const Fence *fence, const PlainStage *stage,
                                    bool *ours, Err *err);
/* newest: latest is to name it. Repeating is fine. */
MUST_CHECK bool catalog_plain_commit(Catalog *c, const Fence *fence, bool *newest, Err *err);
MUST_CHECK bool catalog_plain_latest(Catalog *c, const Fence *fence, Err *err);
/* The file is not what was meant: a pruner is to take it away, and the next attempt makes another.
 */
MUST_CHECK bool catalog_plain_give_up(Catalog *c, const Fence *fence, Text why, Err *err);

/* --- taking away ---------------------------------------------------------------------------- */

typedef struct PlainGoing {
    uint64_t no;
    char name[PLAIN_NAME_MOST + 1];
    bool hashed; /* else the file never had its name */
    uint64_t bytes;
    Sha256 sha256;
    char why[400];
} PlainGoing;
/* For a prune job of plain copies: what to delete in its store, some at a time; what was ruled to
 * expire is given up by this call. *rows is freed with mem_free. */
MUST_CHECK bool catalog_plain_take(Catalog *c, const Fence *fence, PlainGoing **rows, size_t *count,
                                   Err *err);
MUST_CHECK bool catalog_plain_gone(Catalog *c, const Fence *fence, uint64_t no, Err *err);
/* For such a job: was what is on its way to that name a plain copy's, and nobody writes it now? */
MUST_CHECK bool catalog_plain_left(Catalog *c, const Fence *fence, const char *name, bool *left,
                                   Err *err);

#endif
