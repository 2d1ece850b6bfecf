/* SPDX-License-Identifier: Apache-2.0 */
#include "common/queue/queue_params.h"

bool queue_params_redis(const QueueParams *params, RedisParams *out, Err *err)
{
    *out = (RedisParams){.password = params->password,
                         .sentinel_password = params->sentinel_password,
                         .ca_file = params->ca_file,
                         .cert_file = params->cert_file,
                         .key_file = params->key_file};
    return redis_address_parse(params->url, &out->address, err);
}
