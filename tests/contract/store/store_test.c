/* SPDX-License-Identifier: Apache-2.0
 * What every store promises, whatever it is made of. */
#include "tests/harness/store_place.h"

#include "common/base/mem.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { MIB = 1024 * 1024, MANY = 1500, WRITERS = 8 };

static const StoreKind *kind;

typedef struct Fixture {
    StorePlace *place;
    Store *store;
} Fixture;

static int begin(void **state, bool small)
{
    Err err = {0};
    Fixture *f = mem_new(Fixture);
    f->place = kind->begin(small);
    *state = f;
    return kind->open(f->place, &f->store, &err) ? 0 : -1;
}

static int set_up(void **state)
{
    return begin(state, false);
}

static int set_up_small(void **state)
{
    return begin(state, true);
}

static int tear_down(void **state)
{
    Fixture *f = *state;
    store_close(f->store);
    kind->end(f->place);
    mem_free(f);
    return 0;
}

static Store *store_of(void **state)
{
    return ((Fixture *)*state)->store;
}

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
    } while (0)

static bool is_there(Store *store, const char *name)
{
    bool found;
    uint64_t size;
    OK(store_head(store, name, &found, &size, &err));
    return found;
}

static void must_hold(Store *store, const char *name, Slice content)
{
    bool found;
    uint64_t size;
    scoped(buf_free) Buf back = {0};
    OK(store_get(store, name, content.len, &found, &back, &err));
    assert_true(found);
    assert_true(slice_equal(buf_slice(&back), content));
    OK(store_head(store, name, &found, &size, &err));
    assert_int_equal(size, content.len);
}

static void fill(Buf *buf, size_t len)
{
    uint8_t *at = buf_extend(buf, len);
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)(i * 7 + i / 251);
}

static void what_was_put_is_read_back_whole_and_in_parts(void **state)
{
    static const size_t sizes[] = {0,       1,   4095,    4096,        4097,
                                   MIB - 1, MIB, MIB + 1, 2 * MIB + 5, 5000003};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        scoped(buf_free) Buf content = {0};
        scoped(buf_free) Buf part = {0};
        char name[40];
        fill(&content, sizes[i]);
        snprintf(name, sizeof name, "packs/ab/size-%zu", sizes[i]);
        OK(store_put(store_of(state), name, buf_slice(&content), &err));
        must_hold(store_of(state), name, buf_slice(&content));
        for (size_t at = 0; at < sizes[i]; at += sizes[i] / 3 + 1) {
            size_t len = sizes[i] - at < 5000 ? sizes[i] - at : 5000;
            buf_clear(&part);
            OK(store_get_range(store_of(state), name, at, len, buf_extend(&part, len), &err));
            assert_memory_equal(part.at, content.at + at, len);
        }
        buf_clear(&part);
        buf_extend(&part, 16);
        OK(store_get_range(store_of(state), name, sizes[i], 0, part.at, &err));
        REFUSED("store.damaged",
                store_get_range(store_of(state), name, sizes[i], 1, part.at, &err));
        REFUSED("store.damaged",
                store_get_range(store_of(state), name, sizes[i] + 9, 1, part.at, &err));
    }
}

static void a_put_in_pieces_is_one_object(void **state)
{
    scoped(buf_free) Buf content = {0};
    StorePut *put;
    fill(&content, 3 * MIB + 77);
    OK(store_put_begin(store_of(state), "packs/cd/pieces", &put, &err));
    for (size_t at = 0, len = 1; at < content.len; at += len, len = len * 3 + 1) {
        len = content.len - at < len ? content.len - at : len;
        OK(store_put_write(put, (Slice){content.at + at, len}, &err));
    }
    OK(store_put_finish(put, &err));
    must_hold(store_of(state), "packs/cd/pieces", buf_slice(&content));
}

static void a_name_is_written_once(void **state)
{
    StorePut *slow;
    OK(store_put_begin(store_of(state), "index/x", &slow, &err));
    OK(store_put_write(slow, slice_of_text(TEXT("late")), &err));
    OK(store_put(store_of(state), "index/x", slice_of_text(TEXT("old")), &err));
    REFUSED("store.exists",
            store_put(store_of(state), "index/x", slice_of_text(TEXT("new")), &err));
    /* Begun before, finished after. */
    REFUSED("store.exists", store_put_finish(slow, &err));
    must_hold(store_of(state), "index/x", slice_of_text(TEXT("old")));
}

typedef struct Race {
    Store *store;
    uint8_t number;
    bool won;
} Race;

static void *race(void *ctx)
{
    Race *r = ctx;
    uint8_t content[70000];
    Err err = {0};
    memset(content, r->number, sizeof content);
    r->won = store_put(r->store, "packs/ef/race", (Slice){content, sizeof content}, &err);
    return r->won || strcmp(err.cause, "store.exists") == 0 ? NULL : r;
}

static void of_many_writers_of_one_name_one_wins(void **state)
{
    pthread_t threads[WRITERS];
    Race races[WRITERS];
    unsigned winners = 0;
    uint8_t content[70000];
    for (unsigned i = 0; i < WRITERS; i++) {
        races[i] = (Race){store_of(state), (uint8_t)(i + 1), false};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &races[i]), 0);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
        winners += races[i].won;
        if (races[i].won)
            memset(content, races[i].number, sizeof content);
    }
    assert_int_equal(winners, 1);
    must_hold(store_of(state), "packs/ef/race", (Slice){content, sizeof content});
}

static bool count_one(void *ctx, const char *name, uint64_t size, Err *err)
{
    (void)name;
    (void)size;
    (void)err;
    ++*(int *)ctx;
    return true;
}

static int listed(Store *store, const char *prefix)
{
    int count = 0;
    OK(store_list(store, prefix, count_one, &count, &err));
    return count;
}

static void before_its_end_a_put_is_nothing_and_then_all_of_it_for_everyone(void **state)
{
    Fixture *f = *state;
    Store *other;
    StorePut *put;
    OK(kind->open(f->place, &other, &err));
    OK(store_put_begin(f->store, "packs/01/slow", &put, &err));
    OK(store_put_write(put, slice_of_text(TEXT("whole")), &err));
    assert_false(is_there(other, "packs/01/slow"));
    assert_int_equal(listed(other, ""), 0);
    OK(store_put_finish(put, &err));
    must_hold(other, "packs/01/slow", slice_of_text(TEXT("whole")));
    assert_int_equal(listed(other, "packs/"), 1);
    store_close(other);
}

static void an_aborted_put_leaves_nothing(void **state)
{
    StorePut *put;
    OK(store_put_begin(store_of(state), "packs/cd/two", &put, &err));
    OK(store_put_write(put, slice_of_text(TEXT("half")), &err));
    store_put_abort(put);
    store_put_abort(NULL);
    assert_false(is_there(store_of(state), "packs/cd/two"));
    assert_int_equal(listed(store_of(state), ""), 0);
    OK(store_put(store_of(state), "packs/cd/two", slice_of_text(TEXT("again")), &err));
}

static void a_writer_that_is_killed_leaves_nothing(void **state)
{
    Fixture *f = *state;
    pid_t pid = fork();
    if (pid == 0) {
        Store *store;
        StorePut *put;
        Err err = {0};
        uint8_t *content = mem_zeroed(3, MIB);
        if (kind->open(f->place, &store, &err) &&
            store_put_begin(store, "packs/cd/killed", &put, &err) &&
            store_put_write(put, (Slice){content, 3 * MIB}, &err))
            raise(SIGKILL);
        _exit(1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_false(is_there(f->store, "packs/cd/killed"));
    assert_int_equal(listed(f->store, ""), 0);
    OK(store_put(f->store, "packs/cd/killed", slice_of_text(TEXT("again")), &err));
}

static void an_absent_object_is_a_result(void **state)
{
    bool found = true;
    uint8_t byte;
    scoped(buf_free) Buf back = {0};
    OK(store_get(store_of(state), "no/such/thing", 10, &found, &back, &err));
    assert_false(found);
    assert_int_equal(back.len, 0);
    assert_false(is_there(store_of(state), "thing"));
    OK(store_remove(store_of(state), "no/such/thing", &err));
    REFUSED("store.damaged", store_get_range(store_of(state), "no/such", 0, 1, &byte, &err));
}

static void a_length_that_was_not_expected_is_damage(void **state)
{
    bool found;
    uint8_t part[16];
    scoped(buf_free) Buf back = {0};
    Err code = {0};
    OK(store_put(store_of(state), "packs/ef/three", slice_of_text(TEXT("short")), &err));
    REFUSED("store.damaged",
            store_get_range(store_of(state), "packs/ef/three", 0, sizeof part, part, &err));
    REFUSED("store.large", store_get(store_of(state), "packs/ef/three", 4, &found, &back, &err));
    assert_false(store_get(store_of(state), "packs/ef/three", 4, &found, &back, &code));
    assert_int_equal(code.code, ERR_CORRUPT);
}

static void a_replaced_object_is_the_new_one(void **state)
{
    OK(store_replace(store_of(state), "epoch", slice_of_text(TEXT("1")), &err));
    OK(store_replace(store_of(state), "epoch", slice_of_text(TEXT("22")), &err));
    must_hold(store_of(state), "epoch", slice_of_text(TEXT("22")));
    OK(store_replace(store_of(state), "holds/one", slice_of_text(TEXT("")), &err));
    must_hold(store_of(state), "holds/one", (Slice){0});
    assert_int_equal(listed(store_of(state), ""), 2);
}

static void a_store_that_was_not_opened_to_delete_deletes_nothing(void **state)
{
    OK(store_put(store_of(state), "packs/aa/x", slice_of_text(TEXT("1")), &err));
    store_of(state)->removes = false; /* as it was opened */
    REFUSED("store.keeps", store_remove(store_of(state), "packs/aa/x", &err));
    must_hold(store_of(state), "packs/aa/x", slice_of_text(TEXT("1")));
}

static void what_is_removed_is_gone_and_its_name_is_free(void **state)
{
    OK(store_put(store_of(state), "packs/aa/x", slice_of_text(TEXT("1")), &err));
    OK(store_put(store_of(state), "packs/aa/y", slice_of_text(TEXT("2")), &err));
    OK(store_remove(store_of(state), "packs/aa/x", &err));
    OK(store_remove(store_of(state), "packs/aa/x", &err));
    assert_false(is_there(store_of(state), "packs/aa/x"));
    must_hold(store_of(state), "packs/aa/y", slice_of_text(TEXT("2")));
    assert_int_equal(listed(store_of(state), "packs/"), 1);
    OK(store_put(store_of(state), "packs/aa/x", slice_of_text(TEXT("3")), &err));
}

typedef struct Tally {
    unsigned seen[MANY];
    int left; /* visits until it has had enough; -1: never */
    Store *adding;
} Tally;

static bool tally(void *ctx, const char *name, uint64_t size, Err *err)
{
    Tally *t = ctx;
    unsigned number;
    if (t->left == 0)
        return err_set(err, ERR_CANCELLED, "test.enough", "enough");
    t->left -= t->left > 0;
    if (sscanf(name, "packs/%*2s/x%u", &number) == 1 && number < MANY) {
        assert_int_equal(size, number % 5);
        t->seen[number]++;
    }
    if (t->adding != NULL && number % 50 == 0) {
        char more[40];
        snprintf(more, sizeof more, "packs/%02u/more%u", number % 100, number);
        assert_true(store_put(t->adding, more, slice_of_text(TEXT("x")), err));
    }
    return true;
}

static bool named(void *ctx, const char *name, uint64_t size, Err *err)
{
    Tally *t = ctx;
    unsigned number;
    (void)err;
    assert_int_equal(size, 0);
    if (sscanf(name, "packs/%*2s/x%u", &number) == 1 && number < MANY)
        t->seen[number]++;
    return true;
}

/* More than any page of a listing. */
static void a_listing_visits_each_object_below_its_prefix_once(void **state)
{
    Tally t = {.left = -1};
    for (unsigned i = 0; i < MANY; i++) {
        char name[40];
        snprintf(name, sizeof name, "packs/%02u/x%u", i % 100, i);
        OK(store_put(store_of(state), name, (Slice){(const uint8_t *)"12345", i % 5}, &err));
    }
    OK(store_put(store_of(state), "packs-not", slice_of_text(TEXT("1")), &err));
    OK(store_put(store_of(state), "index/1", slice_of_text(TEXT("1")), &err));
    OK(store_list(store_of(state), "packs/", tally, &t, &err));
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(t.seen[i], 1);
    assert_int_equal(listed(store_of(state), ""), MANY + 2);
    assert_int_equal(listed(store_of(state), "packs/07/"), MANY / 100);
    assert_int_equal(listed(store_of(state), "packs/0/"), 0);
    assert_int_equal(listed(store_of(state), "absent/"), 0);
    t = (Tally){.left = -1};
    OK(store_list_names(store_of(state), "packs/", NULL, named, &t, &err));
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(t.seen[i], 1);
    t = (Tally){.left = -1};
    OK(store_list_names(store_of(state), "packs/", "packs/98/x98", named, &t, &err));
    for (unsigned i = 0; i < MANY; i++) {
        char name[40];
        snprintf(name, sizeof name, "packs/%02u/x%u", i % 100, i);
        assert_int_equal(t.seen[i], strcmp(name, "packs/98/x98") > 0);
    }

    t = (Tally){.left = 7};
    REFUSED("test.enough", store_list(store_of(state), "packs/", tally, &t, &err));
    t = (Tally){.left = -1, .adding = store_of(state)};
    OK(store_list(store_of(state), "packs/", tally, &t, &err));
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(t.seen[i], 1);
}

static void names_cannot_leave_the_store(void **state)
{
    char lengthy[STORE_NAME_MOST + 2];
    memset(lengthy, 'a', sizeof lengthy - 1);
    lengthy[sizeof lengthy - 1] = 0;
    const char *const bad[] = {"",
                               "/",
                               "/etc",
                               "a//b",
                               "../x",
                               "..",
                               "a/..",
                               "a/../b",
                               "a/",
                               ".x",
                               "a b",
                               "a.",
                               "a/.b",
                               "a\nb",
                               "a\\b",
                               "a/b./",
                               "./a",
                               "$(id)",
                               "a;b",
                               "a%2fb",
                               "a\x7f"
                               "b",
                               "\xc3\xa9",
                               "a:b",
                               "a*",
                               "a?b",
                               lengthy};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        bool found;
        uint64_t size;
        uint8_t byte;
        StorePut *put;
        scoped(buf_free) Buf back = {0};
        assert_false(store_name_valid(bad[i]));
        REFUSED("store.name", store_put(store_of(state), bad[i], (Slice){0}, &err));
        REFUSED("store.name", store_put_begin(store_of(state), bad[i], &put, &err));
        REFUSED("store.name", store_replace(store_of(state), bad[i], (Slice){0}, &err));
        REFUSED("store.name", store_get(store_of(state), bad[i], 1, &found, &back, &err));
        REFUSED("store.name", store_get_range(store_of(state), bad[i], 0, 1, &byte, &err));
        REFUSED("store.name", store_head(store_of(state), bad[i], &found, &size, &err));
        REFUSED("store.name", store_remove(store_of(state), bad[i], &err));
    }
    static const char *const prefixes[] = {"../", "/", "a", "a/../", "a//", "./", "..", "a/.b/"};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        int count = 0;
        REFUSED("store.name", store_list(store_of(state), prefixes[i], count_one, &count, &err));
        assert_int_equal(count, 0);
    }
    assert_true(store_name_valid("packs/ab/01234567-89ab.1"));
    assert_int_equal(listed(store_of(state), ""), 0);
}

static void a_place_that_is_not_there_is_named(void **state)
{
    Fixture *f = *state;
    Store *other;
    OK(store_put(f->store, "packs/01/one", slice_of_text(TEXT("1")), &err));
    kind->away(f->place, true);
    REFUSED("store.missing", kind->open(f->place, &other, &err));
    kind->away(f->place, false);
    must_hold(f->store, "packs/01/one", slice_of_text(TEXT("1")));
}

/* Absent and gone are not the same: nobody may think that the objects were deleted. */
static void a_place_that_goes_away_under_an_open_store_is_named(void **state)
{
    Fixture *f = *state;
    bool found;
    int count = 0;
    uint8_t byte;
    scoped(buf_free) Buf back = {0};
    OK(store_put(f->store, "packs/01/one", slice_of_text(TEXT("1")), &err));
    kind->destroy(f->place);
    REFUSED("store.gone", store_put(f->store, "two", slice_of_text(TEXT("2")), &err));
    REFUSED("store.gone", store_put(f->store, "packs/01/two", slice_of_text(TEXT("2")), &err));
    REFUSED("store.gone", store_replace(f->store, "epoch", slice_of_text(TEXT("2")), &err));
    REFUSED("store.gone", store_get(f->store, "packs/01/one", 9, &found, &back, &err));
    REFUSED("store.gone", store_get_range(f->store, "packs/01/one", 0, 1, &byte, &err));
    REFUSED("store.gone", store_list(f->store, "packs/", count_one, &count, &err));
    REFUSED("store.gone", store_list(f->store, "", count_one, &count, &err));
}

static void a_full_place_is_named_and_keeps_what_it_has(void **state)
{
    Fixture *f = *state;
    scoped(buf_free) Buf content = {0};
    Err code = {0};
    fill(&content, 4 * MIB);
    OK(store_put(f->store, "packs/01/one", slice_of_text(TEXT("1")), &err));
    assert_true(kind->fill(f->place, true));
    bool done = store_put(f->store, "packs/01/two", buf_slice(&content), &code);
    bool replaced = store_replace(f->store, "packs/01/one", buf_slice(&content), &(Err){0});
    bool listable = listed(f->store, "packs/") == 1;
    assert_true(kind->fill(f->place, false));
    assert_false(done);
    assert_false(replaced);
    assert_true(listable);
    assert_string_equal(code.cause, "store.full");
    assert_int_equal(code.code, ERR_FULL);
    assert_false(is_there(f->store, "packs/01/two"));
    must_hold(f->store, "packs/01/one", slice_of_text(TEXT("1")));
    OK(store_put(f->store, "packs/01/two", buf_slice(&content), &err));
    must_hold(f->store, "packs/01/two", buf_slice(&content));
}

static void a_place_that_cannot_be_written_is_named_and_read(void **state)
{
    Fixture *f = *state;
    OK(store_put(f->store, "packs/01/one", slice_of_text(TEXT("1")), &err));
    if (!kind->freeze(f->place, true))
        skip();
    REFUSED("store.denied", store_put(f->store, "packs/01/two", (Slice){0}, &err));
    REFUSED("store.denied", store_put(f->store, "other/two", (Slice){0}, &err));
    REFUSED("store.denied", store_replace(f->store, "epoch", (Slice){0}, &err));
    REFUSED("store.denied", store_remove(f->store, "packs/01/one", &err));
    must_hold(f->store, "packs/01/one", slice_of_text(TEXT("1")));
    assert_int_equal(listed(f->store, ""), 1);
    assert_true(kind->freeze(f->place, false));
    OK(store_put(f->store, "packs/01/two", (Slice){0}, &err));
}

#define TEST(name)       cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define SMALL_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_small, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_put_is_read_back_whole_and_in_parts),
        TEST(a_put_in_pieces_is_one_object),
        TEST(a_name_is_written_once),
        TEST(of_many_writers_of_one_name_one_wins),
        TEST(before_its_end_a_put_is_nothing_and_then_all_of_it_for_everyone),
        TEST(an_aborted_put_leaves_nothing),
        TEST(a_writer_that_is_killed_leaves_nothing),
        TEST(an_absent_object_is_a_result),
        TEST(a_length_that_was_not_expected_is_damage),
        TEST(a_replaced_object_is_the_new_one),
        TEST(a_store_that_was_not_opened_to_delete_deletes_nothing),
        TEST(what_is_removed_is_gone_and_its_name_is_free),
        TEST(a_listing_visits_each_object_below_its_prefix_once),
        TEST(names_cannot_leave_the_store),
        TEST(a_place_that_is_not_there_is_named),
        TEST(a_place_that_goes_away_under_an_open_store_is_named),
        SMALL_TEST(a_full_place_is_named_and_keeps_what_it_has),
        SMALL_TEST(a_place_that_cannot_be_written_is_named_and_read),
    };
    int failed = 0;
    for (size_t i = 0; i < STORE_KIND_COUNT; i++) {
        kind = STORE_KINDS[i];
        failed += cmocka_run_group_tests_name(kind->name, tests, NULL, NULL);
    }
    return failed;
}
