/* SPDX-License-Identifier: Apache-2.0
 * client.h — a server on a thread of its own, and clients that write bytes and read answers as they
 * like, whole or not. Every wait ends after WAIT_MS and fails the test. */
#ifndef TESTS_UNIT_HTTP_CLIENT_H
#define TESTS_UNIT_HTTP_CLIENT_H

#include "common/base/clock.h"
#include "scheduler/http/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAIT_MS = 30000 };

typedef struct Stand {
    Loop *loop;
    Server *server;
    pthread_t thread;
    sem_t gate; /* what /slow waits for */
    int slow;   /* so many are at it */
} Stand;

static inline void *stand_thread(void *ctx)
{
    return ctx;
}

static inline void stand_thread_end(void *ctx, void *own)
{
    (void)ctx;
    (void)own;
}

/* /slow waits for the gate, /stream/T is answered by a stream, /listen/KIND listens (?N: from the
 * N-th on), the rest with what was asked. */
static inline void stand_handle(void *ctx, void *own, const ServerCall *call, ServerAnswer *answer)
{
    Stand *stand = ctx;
    (void)own;
    answer->status = 200;
    if (strcmp(call->path, "/slow") == 0) {
        __atomic_add_fetch(&stand->slow, 1, __ATOMIC_SEQ_CST);
        sem_wait(&stand->gate);
    }
    if (strncmp(call->path, "/listen/", 8) == 0) {
        answer->listen.on = true;
        answer->listen.after =
            call->query[0] == 0 ? server_told(stand->server) : strtoull(call->query, NULL, 10);
        buf_printf(&answer->listen.kinds, "%s", call->path + 8);
        buf_printf(&answer->body, "retry: 1\n\n");
        return;
    }
    if (strncmp(call->path, "/stream/", 8) == 0)
        buf_printf(&answer->stream, "%s", call->path + 8);
    buf_printf(&answer->body, "{%s %s %s %zu}", call->method, call->path, call->query,
               call->body.len);
}

static inline void *stand_run(void *ctx)
{
    loop_run(((Stand *)ctx)->loop);
    return NULL;
}

static inline Stand *stand_up(ServerParams params)
{
    Err err = {0};
    Stand *stand = calloc(1, sizeof *stand);
    assert_non_null(stand);
    sem_init(&stand->gate, 0, 0);
    params.listen = "127.0.0.1:0";
    params.ctx = stand;
    params.thread_open = stand_thread;
    params.thread_close = stand_thread_end;
    params.handle = stand_handle;
    params.stream_prefix = "/streams/";
    assert_true(loop_new(&stand->loop, &err));
    assert_true(server_start(&stand->server, stand->loop, &params, &err));
    assert_int_equal(pthread_create(&stand->thread, NULL, stand_run, stand), 0);
    return stand;
}

static inline void stand_down(Stand *stand)
{
    for (int i = 0; i < 100; i++)
        sem_post(&stand->gate);
    loop_stop(stand->loop);
    pthread_join(stand->thread, NULL);
    server_stop(stand->server);
    loop_free(stand->loop);
    sem_destroy(&stand->gate);
    free(stand);
}

static inline int dial(const Stand *stand)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)server_port(stand->server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Sends what the other side takes; a closed connection is no failure here. */
static inline void say(int fd, const void *bytes, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t sent = send(fd, (const char *)bytes + at, len - at, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        at += (size_t)sent;
    }
}

static inline void say_text(int fd, const char *format, ...) PRINTF_LIKE(2, 3);
static inline void say_text(int fd, const char *format, ...)
{
    scoped(buf_free) Buf text = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    say(fd, text.at, text.len);
}

/* The next bytes; 0: the other side closed. */
static inline size_t hear(int fd, char *out, size_t room)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, WAIT_MS), 1);
    ssize_t got = recv(fd, out, room, 0);
    return got < 0 ? 0 : (size_t)got;
}

/* One answer with its Content-Length; its status, or 0 when the connection ended before. */
static inline int hear_answer(int fd, Buf *out)
{
    char byte;
    const char *length;
    buf_clear(out);
    while (out->len < 4 || memcmp(out->at + out->len - 4, "\r\n\r\n", 4) != 0) {
        if (hear(fd, &byte, 1) == 0)
            return 0;
        buf_add_byte(out, (uint8_t)byte);
    }
    int status = atoi(buf_cstr(out) + 9);
    if (status == 100)
        return status;
    length = strstr(buf_cstr(out), "Content-Length: ");
    for (long left = length == NULL ? 0 : atol(length + 16); left > 0; left--) {
        assert_int_equal(hear(fd, &byte, 1), 1);
        buf_add_byte(out, (uint8_t)byte);
    }
    return status;
}

static inline bool ends(int fd)
{
    char byte;
    return hear(fd, &byte, 1) == 0;
}

/* A request on a connection of its own: its status. */
static inline int ask(const Stand *stand, const char *method, const char *target, Slice body,
                      Buf *out)
{
    int fd = dial(stand);
    say_text(fd, "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", method, target,
             body.len);
    say(fd, body.at, body.len);
    int status = hear_answer(fd, out);
    close(fd);
    return status;
}

static inline int64_t now_ms(void)
{
    return clock_mono_ns() / 1000000;
}

#endif
