/* SPDX-License-Identifier: Apache-2.0
 * server_listen.h — the listening socket: accepts as many clients as may be held at once. */
#ifndef SCHEDULER_HTTP_SERVER_LISTEN_H
#define SCHEDULER_HTTP_SERVER_LISTEN_H

#include "scheduler/http/connection.h"

typedef struct ServerListen ServerListen;

/* listen: "127.0.0.1:8480", "[::1]:0". most: clients at once; it is lowered to half of the file
 * descriptors that this process may have, so that the rest of it always has some. */
MUST_CHECK bool server_listen_open(ServerListen **out, ConnectionHost *host, const char *listen,
                                   size_t most, Err *err);
int server_listen_port(const ServerListen *listen);
void server_listen_close(ServerListen *listen); /* NULL is fine */

#endif
