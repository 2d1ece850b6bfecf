/* SPDX-License-Identifier: Apache-2.0
 * queue_params.h — the connection parameters of queue.h as those of redis.h. */
#ifndef COMMON_QUEUE_QUEUE_PARAMS_H
#define COMMON_QUEUE_QUEUE_PARAMS_H

#include "common/queue/queue.h"
#include "common/queue/redis.h"

/* out->address is to be freed with redis_address_free, also after a failure. */
MUST_CHECK bool queue_params_redis(const QueueParams *params, RedisParams *out, Err *err);

#endif
