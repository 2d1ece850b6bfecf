/* SPDX-License-Identifier: Apache-2.0
 * Which entries a walk visits. */
#include "common/repo/selection.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void globs_know_folders(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *path;
        bool fits;
    } ROWS[] = {
        {"*.c", "a.c", true},
        {"*.c", "x/a.c", false},
        {"**.c", "x/y/a.c", true},
        {"x/**/a", "x/y/z/a", true},
        {"x/*/a", "x/y/z/a", false},
        {"?", "/", false},
        {"a?c", "abc", true},
        {"*a*b*", "xaybz", true},
        {"**x*y", "a/x/by", false},
        {"**/x*y", "a/b/xzy", true},
        {"", "a", false},
        {"**", "a/b", true},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++)
        if (selection_glob(text_of(ROWS[i].pattern), text_of(ROWS[i].path)) != ROWS[i].fits)
            fail_msg("%s and %s", ROWS[i].pattern, ROWS[i].path);
}

static void a_path_takes_what_is_below_it_and_no_neighbour(void **state)
{
    (void)state;
    Text path = TEXT("etc/ssl");
    ReaderSelection s = {.paths = &path, .path_count = 1, .phase = -1};
    assert_true(selection_takes(&s, TEXT("etc/ssl"), 0));
    assert_true(selection_takes(&s, TEXT("etc/ssl/certs/a"), 3));
    assert_false(selection_takes(&s, TEXT("etc/ssl-old"), 0));
    assert_false(selection_takes(&s, TEXT("etc"), 0));
    s.phase = 1;
    assert_false(selection_takes(&s, TEXT("etc/ssl"), 0));
    s.phase = -1;
    s.after = TEXT("etc/ssl/b");
    assert_false(selection_takes(&s, TEXT("etc/ssl/b"), 0));
    assert_true(selection_takes(&s, TEXT("etc/ssl/c"), 0));
}

/* '-' sorts before '/', so a neighbour stands between a folder and what is in it. */
static void pages_without_a_wanted_entry_are_not_opened(void **state)
{
    (void)state;
    Text path = TEXT("b/c");
    ReaderSelection s = {.paths = &path, .path_count = 1, .phase = -1};
    assert_false(selection_touches(&s, TEXT("a"), TEXT("b/b")));
    assert_true(selection_touches(&s, TEXT("a"), TEXT("b/d")));
    assert_true(selection_touches(&s, TEXT("b/c-x"), TEXT("b/c/x")));
    assert_true(selection_touches(&s, TEXT("b/c/x"), TEXT("b/c/y")));
    assert_true(selection_touches(&s, TEXT("b/c"), (Text){0}));
    assert_false(selection_touches(&s, TEXT("b/d"), TEXT("c")));
    assert_false(selection_touches(&s, TEXT("a"), TEXT("b/c")));
    s.path_count = 0;
    s.after = TEXT("m");
    assert_false(selection_touches(&s, TEXT("a"), TEXT("m")));
    assert_true(selection_touches(&s, TEXT("a"), TEXT("n")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(globs_know_folders),
        cmocka_unit_test(a_path_takes_what_is_below_it_and_no_neighbour),
        cmocka_unit_test(pages_without_a_wanted_entry_are_not_opened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
