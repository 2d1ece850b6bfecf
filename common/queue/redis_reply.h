/* SPDX-License-Identifier: Apache-2.0
 * redis_reply.h — what an answer of Redis means to us. */
#ifndef COMMON_QUEUE_REDIS_REPLY_H
#define COMMON_QUEUE_REDIS_REPLY_H

#include "common/queue/redis_address.h"

#include <hiredis/hiredis.h>

/* An error reply as an Err: NOSCRIPT is ERR_MISSING "queue.noscript", NOAUTH, WRONGPASS and NOPERM
 * are ERR_DENIED, OOM is ERR_FULL, what passes by itself is ERR_UNREACHABLE. Returns false. */
bool redis_reply_err(const redisReply *reply, Err *err);

/* The node that MOVED names, its host NULL when that is the one that answered; what out held is
 * freed. False for every other reply. */
bool redis_reply_moved(const redisReply *reply, RedisHost *out);

/* A string as borrowed bytes; empty for every other type. */
Slice redis_reply_bytes(const redisReply *reply);

#endif
