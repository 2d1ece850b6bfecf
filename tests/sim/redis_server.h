/* SPDX-License-Identifier: Apache-2.0
 * redis_server.h — an in-memory Redis: the commands that we send, the four scripts of
 * common/queue/lua as C that calls the same commands, clients that wait in BLMOVE, and what can
 * happen to such a server. redis_client.c implements common/queue/redis.h on it. */
#ifndef TESTS_SIM_REDIS_SERVER_H
#define TESTS_SIM_REDIS_SERVER_H

#include "tests/sim/net.h"

#include "protocol/bytes.h"

#include <hiredis/hiredis.h>

void redis_server_begin(void);

/* Faults. What is connected breaks, except by flush. */
void redis_server_flush(void); /* FLUSHALL */
void redis_server_down(void);
void redis_server_up(void);       /* with what it held */
void redis_server_empty(void);    /* while down: its disk is lost, scripts too */
void redis_server_remember(void); /* a dump, or what a replica has */
void redis_server_restore(void);  /* that is what it holds now; without one: nothing */
bool redis_server_is_up(void);
uint64_t redis_server_incarnation(void); /* another one: connections of the last are broken */
int64_t redis_server_calm_since(void);   /* true time of the last of these */

/* One command of a connection. NULL: it waits, and wait is called with its answer later, unless
 * redis_server_leave is called before. The reply is the caller's. */
typedef void RedisServerWait(void *connection, redisReply *reply);
redisReply *redis_server_run(const Slice *argv, size_t argc, void *connection,
                             RedisServerWait *wait);
void redis_server_leave(const void *connection);

/* For the checker: every element of every list, every field of every hash. */
typedef void RedisServerVisit(void *ctx, const char *key, Slice element);
void redis_server_lists(RedisServerVisit *visit, void *ctx);
bool redis_server_member(const char *set, const char *member);
void redis_server_fields(RedisServerVisit *visit, void *ctx);

#endif
