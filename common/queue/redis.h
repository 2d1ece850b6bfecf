/* SPDX-License-Identifier: Apache-2.0
 * redis.h — one connection to Redis that comes back by itself.
 * A bufferevent (TCP, unix socket or TLS with a verified host name) carries what hiredis formats
 * and reads. Every command has a deadline: replies come in order, so one that is late means that
 * the connection is dead, and all that wait on it fail. A connection lost is opened again after
 * 50 ms, doubling to 2 s; READONLY, LOADING, MASTERDOWN and UNBLOCKED count as lost, and with
 * sentinels every attempt asks them anew who the master is. In a cluster a connection follows
 * MOVED: it is lost as "queue.moved" and opened again where the slot lies, so that it serves one
 * slot well; a node that does not answer is forgotten, and the next of the URL asked. Nothing is
 * sent again: a command whose connection was lost may or may not have happened, and the caller says
 * what that means. A Redis belongs to the thread that runs its event_base. Only common/queue uses
 * this header. */
#ifndef COMMON_QUEUE_REDIS_H
#define COMMON_QUEUE_REDIS_H

#include "common/queue/redis_address.h"

#include <hiredis/hiredis.h>

struct event_base;

typedef struct Redis Redis;

/* The outcome of one command, called exactly once for each that was accepted, also when the
 * connection is closed. An error reply has become *err (redis_reply_err) and reply is NULL; else
 * *reply may be kept by setting it to NULL, and then is freed with freeReplyObject. */
typedef void RedisDone(void *ctx, redisReply **reply, const Err *err);

typedef struct RedisParams {
    RedisAddress address;    /* copied */
    Slice password;          /* borrowed for the life of the client; empty: none */
    Slice sentinel_password; /* the same */
    const char *ca_file;     /* NULL: the system's; copied, like the two below */
    const char *cert_file;   /* of this client, where the server asks for one; else NULL */
    const char *key_file;
    int64_t connect_ms; /* until ready, sentinel lookup included; 0: 5 000 */
    void *ctx;
    void (*on_ready)(void *ctx);                /* connected, authenticated, database selected */
    void (*on_lost)(void *ctx, const Err *err); /* was ready; or an attempt to connect failed */
} RedisParams;

/* Starts to connect; on_ready says when it is done, from the loop, never from inside this call.
 * Fails only for what trying again cannot cure: an unreadable CA or certificate file. */
MUST_CHECK bool redis_open(Redis **out, struct event_base *base, const RedisParams *params,
                           Err *err);
bool redis_ready(const Redis *redis);

/* Sends argv (binary safe). False, and done is never called, while the connection is not ready;
 * err then says why the last attempt failed. */
MUST_CHECK bool redis_command(Redis *redis, const Slice *argv, size_t argc, int64_t timeout_ms,
                              RedisDone *done, void *ctx, Err *err);

/* Drops the connection and opens it again; for a caller who knows better. */
void redis_reconnect(Redis *redis);

/* Fails what waits, frees. May be called from inside a callback. NULL is fine. */
void redis_close(Redis *redis);

#endif
