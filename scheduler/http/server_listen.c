/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/http/server_listen.h"

#include "common/base/log.h"
#include "common/base/mem.h"

#include <event2/listener.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* When no descriptor is to be had the socket stays readable: without a rest the loop would spin. */
enum { BACKLOG = 512, REST_MS = 100 };

struct ServerListen {
    ConnectionHost *host;
    size_t most;
    struct evconnlistener *listener;
    LoopTimer *rest;
    int port;
    int64_t refused;
};

/* Nobody can be put out: the newcomer learns when to come again, if the socket takes it at once.
 * One that waits for TLS would not understand, and a handshake is work that there is no room for.
 */
static void turn_away(evutil_socket_t fd, bool plain)
{
    scoped(buf_free) Buf body = {0};
    scoped(buf_free) Buf answer = {0};
    connection_problem_json(&body, 503, "http.busy", "too many clients at once; try again", "");
    buf_printf(&answer,
               "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nConnection: close\r\n"
               "Content-Type: application/problem+json\r\nContent-Length: %zu\r\n\r\n",
               body.len);
    buf_add_slice(&answer, buf_slice(&body));
    if (plain && send(fd, answer.at, answer.len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        shutdown(fd, SHUT_WR);
    evutil_closesocket(fd);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int len, void *ctx)
{
    ServerListen *listen = ctx;
    char ip[INET6_ADDRSTRLEN] = "";
    (void)listener;
    getnameinfo(address, (socklen_t)len, ip, sizeof ip, NULL, 0, NI_NUMERICHOST);
    if (listen->host->count >= listen->most && !connection_close_idlest(listen->host)) {
        if (listen->refused++ % 1000 == 0)
            log_warn("http.full", "connections=%zu refused=%lld", listen->host->count,
                     (long long)listen->refused);
        turn_away(fd, listen->host->tls == NULL);
        return;
    }
    connection_open(listen->host, fd, ip);
}

static void on_rested(void *ctx)
{
    ServerListen *listen = ctx;
    evconnlistener_enable(listen->listener);
}

static void on_error(struct evconnlistener *listener, void *ctx)
{
    ServerListen *listen = ctx;
    evconnlistener_disable(listener);
    connection_close_idlest(listen->host);
    loop_timer_once(listen->rest, REST_MS);
}

/* "HOST:PORT" or "[HOST]:PORT" in two. */
static bool split(const char *listen, char host[256], char port[16])
{
    const char *colon = strrchr(listen, ':');
    size_t len = colon == NULL ? 0 : (size_t)(colon - listen);
    if (len >= 2 && listen[0] == '[' && listen[len - 1] == ']') {
        listen++;
        len -= 2;
    }
    if (len == 0 || len >= 256 || strlen(colon + 1) >= 16 ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1) || colon[1] == 0 ||
        strtol(colon + 1, NULL, 10) > 65535)
        return false;
    memcpy(host, listen, len);
    host[len] = 0;
    snprintf(port, 16, "%s", colon + 1);
    return true;
}

static size_t room_for(size_t most)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur / 2 < most)
        return (size_t)files.rlim_cur / 2;
    return most;
}

static bool bind_to(ServerListen *listen, const struct addrinfo *address, const char *words,
                    Err *err)
{
    struct sockaddr_storage bound = {0};
    socklen_t len = sizeof bound;
    char port[16];
    int one = 1;
    listen->listener =
        evconnlistener_new_bind(loop_base(listen->host->loop), on_accept, listen,
                                LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE,
                                BACKLOG, address->ai_addr, (int)address->ai_addrlen);
    if (listen->listener == NULL)
        return err_set(err, ERR_BUSY, "http.listen",
                       "%s cannot be listened on; is another scheduler running there?", words);
    evutil_socket_t fd = evconnlistener_get_fd(listen->listener);
    /* Accepted sockets inherit it; without it an answer could wait 40 ms for an acknowledgement. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    evconnlistener_set_error_cb(listen->listener, on_error);
    if (getsockname(fd, (struct sockaddr *)&bound, &len) != 0 ||
        getnameinfo((struct sockaddr *)&bound, len, NULL, 0, port, sizeof port, NI_NUMERICSERV) !=
            0)
        return err_set_sys(err, ERR_IO, "http.listen", "%s", words);
    listen->port = (int)strtol(port, NULL, 10);
    return true;
}

bool server_listen_open(ServerListen **out, ConnectionHost *host, const char *words, size_t most,
                        Err *err)
{
    char name[256];
    char port[16];
    struct addrinfo *found = NULL;
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    ServerListen *listen = mem_new(ServerListen);
    *out = listen;
    listen->host = host;
    listen->most = room_for(most);
    listen->rest = loop_timer_new(host->loop, on_rested, listen);
    if (!split(words, name, port))
        return err_set(err, ERR_USAGE, "http.listen", "listen is written ADDRESS:PORT, not '%s'",
                       words);
    int wrong = getaddrinfo(name, port, &hints, &found);
    if (wrong != 0)
        return err_set(err, ERR_USAGE, "http.listen", "'%s': %s", words, gai_strerror(wrong));
    bool done = bind_to(listen, found, words, err);
    freeaddrinfo(found);
    return done;
}

int server_listen_port(const ServerListen *listen)
{
    return listen->port;
}

void server_listen_close(ServerListen *listen)
{
    if (listen == NULL)
        return;
    if (listen->listener != NULL)
        evconnlistener_free(listen->listener);
    loop_timer_free(listen->rest);
    mem_free(listen);
}
