/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char directory[64];

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    (void)st;
    (void)kind;
    (void)walk;
    return remove(path);
}

static int set_up(void **state)
{
    Err err = {0};
    snprintf(directory, sizeof directory, "/tmp/hf-store-XXXXXX");
    assert_non_null(mkdtemp(directory));
    assert_true(store_local_open((Store **)state, directory, &err));
    return 0;
}

static int tear_down(void **state)
{
    store_close(*state);
    return nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void what_was_put_is_read_back(void **state)
{
    Err err = {0};
    bool found;
    uint64_t size;
    scoped(buf_free) Buf big = {0};
    scoped(buf_free) Buf back = {0};
    for (size_t i = 0; i < 5000003; i++)
        buf_add_byte(&big, (uint8_t)(i * 7 + i / 251));
    assert_true(store_put(*state, "packs/ab/one", buf_slice(&big), &err));
    assert_true(store_get(*state, "packs/ab/one", 6000000, &found, &back, &err));
    assert_true(found);
    assert_true(slice_equal(buf_slice(&big), buf_slice(&back)));
    assert_true(store_head(*state, "packs/ab/one", &found, &size, &err));
    assert_int_equal(size, big.len);
    uint8_t part[1000];
    assert_true(store_get_range(*state, "packs/ab/one", 4096, sizeof part, part, &err));
    assert_memory_equal(part, big.at + 4096, sizeof part);
}

static void a_name_is_written_once(void **state)
{
    Err err = {0};
    bool found;
    scoped(buf_free) Buf back = {0};
    assert_true(store_put(*state, "index/x", (Slice){(const uint8_t *)"old", 3}, &err));
    assert_false(store_put(*state, "index/x", (Slice){(const uint8_t *)"new", 3}, &err));
    assert_string_equal(err.cause, "store.exists");
    err = (Err){0};
    assert_true(store_get(*state, "index/x", 10, &found, &back, &err));
    assert_true(text_equal(buf_text(&back), TEXT("old")));
}

static void an_aborted_put_leaves_nothing(void **state)
{
    Err err = {0};
    bool found;
    uint64_t size;
    StorePut *put;
    assert_true(store_put_begin(*state, "packs/cd/two", &put, &err));
    assert_true(store_put_write(put, (Slice){(const uint8_t *)"half", 4}, &err));
    store_put_abort(put);
    assert_true(store_head(*state, "packs/cd/two", &found, &size, &err));
    assert_false(found);
}

static void an_absent_object_is_a_result(void **state)
{
    Err err = {0};
    bool found = true;
    scoped(buf_free) Buf back = {0};
    assert_true(store_get(*state, "no/such/thing", 10, &found, &back, &err));
    assert_false(found);
    assert_true(store_remove(*state, "no/such/thing", &err));
}

static void a_short_object_is_damage(void **state)
{
    Err err = {0};
    uint8_t part[16];
    assert_true(store_put(*state, "packs/ef/three", (Slice){(const uint8_t *)"short", 5}, &err));
    assert_false(store_get_range(*state, "packs/ef/three", 0, sizeof part, part, &err));
    assert_string_equal(err.cause, "store.damaged");
    assert_int_equal(err.code, ERR_CORRUPT);
}

static void a_replaced_object_is_the_new_one(void **state)
{
    Err err = {0};
    bool found;
    scoped(buf_free) Buf back = {0};
    assert_true(store_replace(*state, "epoch", (Slice){(const uint8_t *)"1", 1}, &err));
    assert_true(store_replace(*state, "epoch", (Slice){(const uint8_t *)"22", 2}, &err));
    assert_true(store_get(*state, "epoch", 10, &found, &back, &err));
    assert_true(text_equal(buf_text(&back), TEXT("22")));
}

static bool count_one(void *ctx, const char *name, uint64_t size, Err *err)
{
    (void)name;
    (void)size;
    (void)err;
    ++*(int *)ctx;
    return true;
}

static void a_listing_finds_each_object_below_its_prefix(void **state)
{
    Err err = {0};
    int count = 0;
    for (int i = 0; i < 20; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s/%02d/x%d", i % 2 ? "packs" : "index", i, i);
        assert_true(store_put(*state, name, (Slice){(const uint8_t *)"x", 1}, &err));
    }
    assert_true(store_list(*state, "packs/", count_one, &count, &err));
    assert_int_equal(count, 10);
    assert_true(store_list(*state, "", count_one, &count, &err));
    assert_int_equal(count, 30);
    assert_true(store_list(*state, "absent/", count_one, &count, &err));
    assert_int_equal(count, 30);
}

static void names_cannot_leave_the_store(void **state)
{
    Err err = {0};
    (void)state;
    static const char *const bad[] = {"",   "/etc", "a//b", "../x", "a/..", "a/../b",
                                      "a/", ".x",   "a b",  "a/.b", "a\nb"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(store_name_valid(bad[i]));
    assert_true(store_name_valid("packs/ab/01234567-89ab"));
    assert_false(store_put(*state, "../x", (Slice){0}, &err));
}

static void a_missing_directory_is_not_a_store(void **state)
{
    Err err = {0};
    Store *store;
    (void)state;
    assert_false(store_local_open(&store, "/nonexistent/holdfast", &err));
    assert_string_equal(err.cause, "store.missing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_put_is_read_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_name_is_written_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_aborted_put_leaves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_absent_object_is_a_result, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_short_object_is_damage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_replaced_object_is_the_new_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_listing_finds_each_object_below_its_prefix, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(names_cannot_leave_the_store, set_up, tear_down),
        cmocka_unit_test(a_missing_directory_is_not_a_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
