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

/* A reader whose arrays are bounded: a server that announces a thousand million elements is no
 * reason to make room for them. NULL: no memory. */
redisReader *redis_reply_reader(void);

/* Has the reader kept more of one answer than any of ours has? */
bool redis_reply_too_long(const redisReader *reader);

/* Why the reader cannot go on. */
const char *redis_reply_trouble(const redisReader *reader);

/* The two texts of a sentinel's answer; what out held is freed. False for every other reply. */
bool redis_reply_host(const redisReply *reply, RedisHost *out);

/* Decimal digits and nothing else, at most 2^64 - 1. */
bool redis_reply_number(const redisReply *reply, uint64_t *out);

/* A page of HSCAN: its cursor, digits, and the array of its pairs. False for every other reply. */
enum { REDIS_REPLY_CURSOR = 24 };
bool redis_reply_page(const redisReply *reply, char cursor[REDIS_REPLY_CURSOR],
                      const redisReply **pairs);

/* "name:value" of an INFO answer; empty when it is not there. */
Text redis_reply_field(Text info, const char *name);

/* A string as borrowed bytes; empty for every other type. */
Slice redis_reply_bytes(const redisReply *reply);

#endif
