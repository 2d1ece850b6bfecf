/* SPDX-License-Identifier: Apache-2.0
 * history.h — what a test leaves behind in the catalogue, in Redis and in the store, held against
 * the invariants of the job machine. The list is tests/harness/invariants.py's, whole; a test says
 * here what there is to look at, and which invariants it broke by its own hand. */
#ifndef TESTS_HARNESS_HISTORY_H
#define TESTS_HARNESS_HISTORY_H

#include "tests/harness/postgres.h"
#include "tests/harness/redis.h"

#include <stdbool.h>

enum { HISTORY_BROKEN_MOST = 6 };

typedef struct History {
    bool settled;             /* all work has ended: also what holds only then */
    const RedisServer *redis; /* NULL, or one that was killed: not looked at */
    /* Folder of the store, name of the key set in it, folder of its keys; NULL: none. Borrowed. */
    const char *store, *key_set, *keys;
    const char *broken[HISTORY_BROKEN_MOST]; /* "WHAT: WHY", of the checker's own words */
} History;

/* Adds to what is left out. It must be broken indeed: else the check fails. */
void history_broken(History *history, const char *what_and_why);

/* True when all invariants hold; those that do not are printed with their rows. A server that the
 * test killed is started again for it. */
bool history_holds(Postgres *pg, const History *history);

#endif
