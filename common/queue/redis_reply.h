/* SPDX-License-Identifier: Apache-2.0
 * redis_reply.h — what an answer of Redis means to us. */
#ifndef COMMON_QUEUE_REDIS_REPLY_H
#define COMMON_QUEUE_REDIS_REPLY_H

#include "protocol/err.h"

#include <hiredis/hiredis.h>

/* An error reply as an Err: NOSCRIPT is ERR_MISSING "queue.noscript", NOAUTH, WRONGPASS and NOPERM
 * are ERR_DENIED, OOM is ERR_FULL, what passes by itself is ERR_UNREACHABLE. Returns false. */
bool redis_reply_err(const redisReply *reply, Err *err);

/* A string as borrowed bytes; empty for every other type. */
Slice redis_reply_bytes(const redisReply *reply);

#endif
