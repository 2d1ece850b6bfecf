/* SPDX-License-Identifier: Apache-2.0
 * redis_address.h — where a Redis is, as one URL says it.
 *   redis://[user@]host[:6379][/db]             rediss:// the same over TLS
 *   unix:///path/to/socket[?db=N]               user by unix://user@/path
 *   redis+sentinel://s1[:26379],s2/NAME[/db]    rediss+sentinel:// the same over TLS
 *   redis+cluster://n1[:6379],n2                rediss+cluster:// the same over TLS; some of its
 * nodes IPv6 addresses stand in brackets. A password in the URL is refused: URLs end up in logs. */
#ifndef COMMON_QUEUE_REDIS_ADDRESS_H
#define COMMON_QUEUE_REDIS_ADDRESS_H

#include "protocol/err.h"

enum { REDIS_HOSTS_MAX = 8 };

typedef struct RedisHost {
    char *host;
    uint16_t port;
} RedisHost;

typedef struct RedisAddress {
    RedisHost hosts[REDIS_HOSTS_MAX]; /* the server, or the sentinels, or nodes to begin with */
    size_t host_count;
    char *socket_path; /* instead of hosts */
    char *master;      /* the name that sentinels know; NULL without sentinels */
    char *user;        /* of the ACL; NULL is Redis' default user */
    unsigned database;
    bool tls;
    bool cluster;
} RedisAddress;

MUST_CHECK bool redis_address_parse(Text url, RedisAddress *out, Err *err);
void redis_address_free(RedisAddress *address);

#endif
