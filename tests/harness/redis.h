/* SPDX-License-Identifier: Apache-2.0
 * redis.h — a private redis-server (or sentinel) for one test: own directory below /tmp, a free
 * loopback port, stopped by its pid, and killed by the kernel when the test program dies.
 * With HOLDFAST_TEST_REDIS=tls in the environment redis_server_start(NULL) gives a rediss:// URL
 * whose CA is the default of this process and its children; redis_server_port stays a plain one. */
#ifndef TESTS_HARNESS_REDIS_H
#define TESTS_HARNESS_REDIS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct RedisServer RedisServer;

typedef struct RedisServerParams {
    bool tls;               /* with a certificate for localhost and 127.0.0.1 from a fresh CA */
    bool append_only;       /* data survives redis_server_kill and _again */
    const char *password;   /* NULL: none */
    const char *options[8]; /* more words of the command line, ended by NULL */
} RedisServerParams;

/* A failure to start ends the test. params may be NULL. */
RedisServer *redis_server_start(const RedisServerParams *params);
RedisServer *redis_server_replica(const RedisServer *primary);
/* Watches `primary` under the name "main", quorum 1, down after half a second. */
RedisServer *redis_server_sentinel(const RedisServer *primary);

const char *redis_server_url(const RedisServer *server);    /* redis:// or rediss:// */
const char *redis_server_socket(const RedisServer *server); /* unix:// */
const char *redis_server_ca(const RedisServer *server);     /* path of the CA's certificate */
uint16_t redis_server_port(const RedisServer *server);
int redis_server_pid(const RedisServer *server);

void redis_server_kill(RedisServer *server);  /* SIGKILL, and gone */
void redis_server_again(RedisServer *server); /* after kill: the same port and directory */
void redis_server_stop(RedisServer *server);  /* ends it, removes its directory; NULL is fine */

#endif
