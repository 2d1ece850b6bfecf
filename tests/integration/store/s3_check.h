/* SPDX-License-Identifier: Apache-2.0
 * s3_check.h — a strict server and a store of it for each test, and what is asked of them. */
#ifndef TESTS_INTEGRATION_STORE_S3_CHECK_H
#define TESTS_INTEGRATION_STORE_S3_CHECK_H

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "tests/harness/s3_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MIB = 1 << 20, LARGE = 3 * MIB + 77 };

static S3Server *server;
static uint8_t *content; /* LARGE bytes that repeat nowhere */

#define OK(call)                                                                                   \
    do {                                                                                           \
        Err err = {0};                                                                             \
        if (!(call))                                                                               \
            fail_msg("%s: %s: %s", #call, err.cause, err.text);                                    \
    } while (0)
#define REFUSED(want, call)                                                                        \
    do {                                                                                           \
        Err err = {0};                                                                             \
        assert_false(call);                                                                        \
        assert_string_equal(err.cause, want);                                                      \
        assert_null(strstr(err.text, "secret/"));                                                  \
    } while (0)

static int begin(S3Server *started)
{
    server = started;
    content = mem_zeroed(LARGE, 1);
    rand_bytes(content, LARGE);
    return 0;
}

__attribute__((unused)) static int set_up(void **state)
{
    (void)state;
    return begin(s3_server_start());
}

__attribute__((unused)) static int set_up_tls(void **state)
{
    (void)state;
    return begin(s3_server_start_tls());
}

__attribute__((unused)) static int tear_down(void **state)
{
    (void)state;
    s3_server_stop(server);
    mem_free(content);
    return 0;
}

__attribute__((unused)) static Store *open_with(const StoreS3Params *params)
{
    Store *store = NULL;
    OK(store_s3_open(&store, params, &err));
    store_let_remove(store);
    return store;
}

__attribute__((unused)) static Store *open_store(void)
{
    StoreS3Params params = s3_server_params(server);
    return open_with(&params);
}

/* A store whose condition is proven, so that each put is one request. */
__attribute__((unused)) static Store *open_warm(void)
{
    Store *store = open_store();
    OK(store_put(store, "warm", slice_of_text(TEXT("1")), &err));
    assert_int_equal(store_s3_condition(store), STORE_S3_HONOURED);
    s3_server_forget(server);
    return store;
}

__attribute__((unused)) static void faults(const char *members)
{
    static unsigned number;
    char text[600];
    snprintf(text, sizeof text, "\"faults\": [{\"id\": \"%u\", %s}]", number++, members);
    s3_server_control(server, NULL, text);
}

__attribute__((unused)) static void must_hold(Store *store, const char *name, size_t len)
{
    bool found = false;
    scoped(buf_free) Buf back = {0};
    OK(store_get(store, name, LARGE, &found, &back, &err));
    assert_true(found);
    assert_int_equal(back.len, len);
    assert_memory_equal(back.at, content, len);
}

__attribute__((unused)) static void must_lack(Store *store, const char *name)
{
    bool found = true;
    uint64_t size;
    OK(store_head(store, name, &found, &size, &err));
    assert_false(found);
    assert_int_equal(s3_server_uploads(server), 0);
}

__attribute__((unused)) static bool count_one(void *ctx, const char *name, uint64_t size, Err *err)
{
    (void)name;
    (void)size;
    (void)err;
    ++*(unsigned *)ctx;
    return true;
}

#define TEST(name)     cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_TLS(name) cmocka_unit_test_setup_teardown(name, set_up_tls, tear_down)

#endif
