/* SPDX-License-Identifier: Apache-2.0
 * once.h — what can be done with a store and a key alone: list, restore, verify, export; and, with
 * an empty catalogue besides, rebuild.
 * No Redis, no PostgreSQL, no scheduler: when all of them are gone, this is how data comes back.
 * Nothing here writes to the store. */
#ifndef WORKER_ONCE_ONCE_H
#define WORKER_ONCE_ONCE_H

/* argv[0] is "once". Returns the exit code. */
int once_main(int argc, char **argv);

#endif
