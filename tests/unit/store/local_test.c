/* SPDX-License-Identifier: Apache-2.0
 * What is true of a local store alone: it follows no link, and shows nothing that is not an object.
 */
#include "common/store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char top[] = "/tmp/hf-local.XXXXXX";
static Store *store;

static bool never(void *ctx, const char *name, uint64_t size, Err *err)
{
    (void)ctx;
    (void)size;
    return err_set(err, ERR_BUG, "test.visited", "%s", name);
}

static void shell(const char *script)
{
    char command[2048];
    snprintf(command, sizeof command, "cd %s && %s", top, script);
    assert_int_equal(system(command), 0);
}

static void a_link_that_somebody_planted_is_not_followed(void **state)
{
    (void)state;
    bool found;
    uint8_t byte;
    scoped(buf_free) Buf back = {0};
    shell("mkdir other && echo secret > other/file && mkdir store/real && "
          "ln -s ../other store/linked && ln -s ../../other/file store/real/file");
    static const char *const names[] = {"linked/file", "real/file"};
    for (size_t i = 0; i < 2; i++) {
        Err err = {0};
        assert_false(store_get(store, names[i], 100, &found, &back, &err));
        err = (Err){0};
        assert_false(store_get_range(store, names[i], 0, 1, &byte, &err));
        err = (Err){0};
        assert_false(store_put(store, names[i], slice_of_text(TEXT("x")), &err));
    }
    Err err = {0};
    assert_false(store_put(store, "linked/new", slice_of_text(TEXT("x")), &err));
    err = (Err){0};
    assert_false(store_list(store, "linked/", never, NULL, &err));
    assert_string_not_equal(err.cause, "test.visited");
    err = (Err){0};
    assert_true(store_list(store, "", never, NULL, &err));
    shell("test \"$(cat other/file)\" = secret && test \"$(ls other)\" = file && rm -r store/*");
}

static void files_on_their_way_and_strange_things_are_not_listed(void **state)
{
    (void)state;
    Err err = {0};
    shell("mkdir store/packs && touch store/packs/.tmp-1 store/packs/'a b' store/.hidden && "
          "mkfifo store/packs/fifo && mkdir store/packs/.dot && touch store/packs/.dot/x");
    assert_true(store_list(store, "", never, NULL, &err));
    shell("rm -r store/packs store/.hidden");
}

/* All but the last digit of a uuid. */
#define ID "0123456789abcdef0123456789abcde"

static void files_whose_put_died_are_swept_and_nothing_else(void **state)
{
    (void)state;
    Err err = {0};
    StoreSweep sweep = {.age_ms = 3600000, .look_only = true};
    shell("mkdir -p store/packs/aa other && touch store/packs/.tmp-" ID "0 "
          "store/packs/aa/.hidden && touch -d '2 hours ago' store/packs/aa/.tmp-" ID
          "1 store/.tmp-" ID "2 store/packs/aa/whole store/.tmp-strangers other/.tmp-" ID "3 && "
          "ln -s ../other store/link && ln -s ../other/.tmp-" ID "3 store/.tmp-link && "
          "ln -s ../other/.tmp-" ID "3 store/.tmp-" ID
          "5 && touch -h -d '2 hours ago' store/.tmp-" ID
          "5 && mkdir store/.tmp-dir && touch -d '2 hours ago' store/.tmp-dir/.tmp-" ID "4");
    assert_false(store_sweep(store, &sweep, &err));
    assert_string_equal(err.cause, "store.keeps");
    err = (Err){0};
    store_let_remove(store);
    assert_true(store_sweep(store, &sweep, &err));
    assert_int_equal(sweep.found, 3);
    assert_int_equal(sweep.removed, 0);
    sweep.look_only = false;
    assert_true(store_sweep(store, &sweep, &err));
    assert_int_equal(sweep.found, 3);
    assert_int_equal(sweep.removed, 3);
    shell("test ! -e store/packs/aa/.tmp-" ID "1 && test ! -e store/.tmp-" ID
          "2 && test ! -L store/.tmp-" ID "5 && test -e store/packs/.tmp-" ID
          "0 && test -e store/packs/aa/whole && test -e store/packs/aa/.hidden && "
          "test -e store/.tmp-strangers && test -e other/.tmp-" ID
          "3 && test -L store/.tmp-link && "
          "test -e store/.tmp-dir/.tmp-" ID "4");
    shell("rm -r store/packs store/.tmp-link store/.tmp-dir store/link store/.tmp-strangers "
          "other/.tmp-" ID "3");
}

static int setup(void **state)
{
    Err err = {0};
    char path[64];
    (void)state;
    if (mkdtemp(top) == NULL)
        return -1;
    shell("mkdir store");
    snprintf(path, sizeof path, "%s/store", top);
    return store_local_open(&store, path, &err) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    store_close(store);
    shell("rm -r store other");
    return rmdir(top);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_link_that_somebody_planted_is_not_followed),
        cmocka_unit_test(files_on_their_way_and_strange_things_are_not_listed),
        cmocka_unit_test(files_whose_put_died_are_swept_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
