/* SPDX-License-Identifier: Apache-2.0
 * Parts that are given from blocks are what the server has, however they are asked for. The server
 * here is a table of bytes that counts what it is asked. */
#include "common/store/s3_ahead.h"

#include "common/base/mem.h"
#include "common/base/rand.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>

#include <cmocka.h>

enum { SIZE = 9 * 1024 * 1024 + 777, PARTS = 300, THREADS = 4 };

typedef struct Server {
    uint8_t *bytes;
    atomic_uint asked;
    atomic_bool failing;
} Server;

static bool fetch(void *ctx, const char *name, uint64_t offset, size_t least, size_t most,
                  uint8_t *at, size_t *got, Err *err)
{
    Server *server = ctx;
    assert_string_equal(name, "packs/01/one");
    atomic_fetch_add(&server->asked, 1);
    *got = offset >= SIZE ? 0 : SIZE - offset < most ? (size_t)(SIZE - offset) : most;
    if (server->failing || *got < least)
        return err_set(err, ERR_CORRUPT, "store.damaged", "ends early");
    memcpy(at, server->bytes + offset, *got);
    return true;
}

static Server *server_new(void)
{
    Server *server = mem_new(Server);
    server->bytes = mem_resize(NULL, SIZE);
    rand_bytes(server->bytes, SIZE);
    return server;
}

static void server_free(Server *server)
{
    mem_free(server->bytes);
    mem_free(server);
}

typedef struct Reading {
    Server *server;
    S3Ahead *ahead;
    unsigned first;
    pthread_t thread;
} Reading;

static void read_one(S3Ahead *ahead, const Server *server, uint64_t offset, size_t len)
{
    Err err = {0};
    uint8_t *at = mem_resize(NULL, len);
    assert_true(s3_ahead_read(ahead, "packs/01/one", offset, len, at, &err));
    assert_memory_equal(at, server->bytes + offset, len);
    mem_free(at);
}

/* Parts lie behind one another; each thread takes its own, so they are not asked for in order. */
static void *read_parts(void *ctx)
{
    Reading *reading = ctx;
    const size_t len = SIZE / PARTS;
    for (unsigned i = reading->first; i < PARTS; i += THREADS)
        read_one(reading->ahead, reading->server, i * len, len);
    return NULL;
}

static void many_parts_take_few_requests(void **state)
{
    (void)state;
    Server *server = server_new();
    S3Ahead *ahead = s3_ahead_new(fetch, server);
    Reading readings[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        readings[i] = (Reading){.server = server, .ahead = ahead, .first = i};
        assert_int_equal(pthread_create(&readings[i].thread, NULL, read_parts, &readings[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(readings[i].thread, NULL), 0);
    assert_true(server->asked < PARTS / 4);
    s3_ahead_free(ahead);
    server_free(server);
}

/* What was damaged on the way is not given twice. */
static void a_part_that_is_asked_for_again_comes_from_the_server(void **state)
{
    (void)state;
    Err err = {0};
    uint8_t part[5000];
    Server *server = server_new();
    S3Ahead *ahead = s3_ahead_new(fetch, server);
    for (unsigned i = 0; i < 4; i++) /* the fourth brings a block */
        read_one(ahead, server, i * 5000, 5000);
    server->bytes[30000] ^= 1;
    assert_true(s3_ahead_read(ahead, "packs/01/one", 30000, sizeof part, part, &err));
    assert_memory_not_equal(part, server->bytes + 30000, sizeof part);
    assert_true(s3_ahead_read(ahead, "packs/01/one", 30000, sizeof part, part, &err));
    assert_memory_equal(part, server->bytes + 30000, sizeof part);
    unsigned asked = server->asked;
    read_one(ahead, server, 40000, 5000); /* the rest of the block is there still */
    assert_int_equal(server->asked, asked);
    s3_ahead_free(ahead);
    server_free(server);
}

static void the_end_of_an_object_and_a_failure_are_told_as_the_server_tells_them(void **state)
{
    (void)state;
    Err err = {0};
    uint8_t part[5000];
    Server *server = server_new();
    S3Ahead *ahead = s3_ahead_new(fetch, server);
    for (unsigned i = 0; i < 4; i++)
        read_one(ahead, server, i * 5000, 5000);
    read_one(ahead, server, SIZE - 5000, 5000);
    read_one(ahead, server, 1024 * 1024 * 3 - 100, 5000); /* over the edge of two blocks */
    assert_false(s3_ahead_read(ahead, "packs/01/one", SIZE - 4999, 5000, part, &err));
    assert_string_equal(err.cause, "store.damaged");
    assert_false(s3_ahead_read(ahead, "packs/01/one", SIZE, 1, part, &err));
    server->failing = true;
    err = (Err){0};
    assert_false(s3_ahead_read(ahead, "packs/01/one", 1024 * 1024 * 5, 5000, part, &err));
    assert_string_equal(err.cause, "store.damaged");
    server->failing = false;
    read_one(ahead, server, 1024 * 1024 * 5, 5000);
    s3_ahead_free(ahead);
    server_free(server);
}

static void one_look_at_an_object_fetches_that_and_no_more(void **state)
{
    (void)state;
    Server *server = server_new();
    S3Ahead *ahead = s3_ahead_new(fetch, server);
    read_one(ahead, server, 0, 40);
    read_one(ahead, server, 40, 128);
    read_one(ahead, server, 500000, 3000);
    assert_int_equal(server->asked, 3);
    s3_ahead_free(ahead);
    server_free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_parts_take_few_requests),
        cmocka_unit_test(a_part_that_is_asked_for_again_comes_from_the_server),
        cmocka_unit_test(the_end_of_an_object_and_a_failure_are_told_as_the_server_tells_them),
        cmocka_unit_test(one_look_at_an_object_fetches_that_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
