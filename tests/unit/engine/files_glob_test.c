/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_glob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

static bool names(const char *pattern, const char *path, bool directory)
{
    Err err = {0};
    FilesGlob *globs = files_glob_new();
    assert_true(files_glob_add(globs, text_of(pattern), &err));
    bool fits = files_glob_match(globs, text_of(path), text_of(path), directory);
    files_glob_free(globs);
    return fits;
}

static void a_pattern_without_a_slash_names_the_last_part_at_any_depth(void **state)
{
    (void)state;
    assert_true(names("*.tmp", "a.tmp", false));
    assert_true(names("*.tmp", "x/y/a.tmp", false));
    assert_false(names("*.tmp", "a.tmp/b", false));
    assert_true(names(".env", "deep/.env", false));
    assert_false(names(".env", "deep/.env2", false));
    assert_true(names("a?c", "abc", false));
    assert_false(names("a?c", "ac", false));
}

static void a_slash_at_the_end_means_directories_only(void **state)
{
    (void)state;
    assert_true(names("node_modules/", "web/node_modules", true));
    assert_false(names("node_modules/", "web/node_modules", false));
}

static void another_slash_compares_the_whole_path(void **state)
{
    (void)state;
    assert_true(names("/cache", "cache", true));
    assert_false(names("/cache", "var/cache", true));
    assert_true(names("var/cache", "var/cache", true));
    assert_false(names("var/*", "var/a/b", false));
    assert_true(names("var/*", "var/a", false));
}

static void two_stars_pass_slashes(void **state)
{
    (void)state;
    assert_true(names("a/**/z", "a/z", false));
    assert_true(names("a/**/z", "a/b/c/z", false));
    assert_false(names("a/**/z", "a/b/c/y", false));
    assert_true(names("a/**", "a/b/c", false));
    assert_false(names("a/**", "a", true));
    assert_true(names("**/z", "z", false));
    assert_true(names("**/y/z", "q/y/y/z", false));
}

static void sets_and_escapes_are_bytes(void **state)
{
    (void)state;
    assert_true(names("[a-c]x", "bx", false));
    assert_false(names("[!a-c]x", "bx", false));
    assert_true(names("[]]x", "]x", false));
    assert_true(names("\\*x", "*x", false));
    assert_false(names("\\*x", "ax", false));
    assert_true(names("\xff?", "\xff\n", false));
    assert_true(names("\\!x", "!x", false));
}

static void the_last_fitting_pattern_decides(void **state)
{
    (void)state;
    Err err = {0};
    FilesGlob *globs = files_glob_new();
    assert_true(files_glob_add(globs, TEXT("*.log"), &err));
    assert_true(files_glob_add(globs, TEXT("!keep.log"), &err));
    assert_true(files_glob_match(globs, TEXT("a.log"), TEXT("srv/a.log"), false));
    assert_false(files_glob_match(globs, TEXT("keep.log"), TEXT("srv/keep.log"), false));
    assert_int_equal(files_glob_count(globs), 2);
    files_glob_free(globs);
}

static void a_path_may_be_seen_from_the_root_or_from_the_top(void **state)
{
    (void)state;
    Err err = {0};
    FilesGlob *globs = files_glob_new();
    assert_true(files_glob_add(globs, TEXT("/srv/data/cache"), &err));
    assert_true(files_glob_match(globs, TEXT("cache"), TEXT("srv/data/cache"), true));
    assert_false(files_glob_match(globs, TEXT("x/cache"), TEXT("srv/data/x/cache"), true));
    files_glob_free(globs);
}

static void nonsense_is_refused_by_name(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", "!", "/", "[a", "x[!"};
    FilesGlob *globs = files_glob_new();
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        Err err = {0};
        assert_false(files_glob_add(globs, text_of(wrong[i]), &err));
        assert_string_equal(err.cause, "files.pattern");
    }
    files_glob_free(globs);
}

static void a_hostile_pattern_takes_no_exponential_time(void **state)
{
    (void)state;
    clock_t start = clock();
    assert_false(names("*a*a*a*a*a*a*a*a*a*a*a*b",
                       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                       false));
    assert_false(names("**/a/**/a/**/a/**/a/**/a/**/a/**/b",
                       "a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a", false));
    assert_true(clock() - start < CLOCKS_PER_SEC / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pattern_without_a_slash_names_the_last_part_at_any_depth),
        cmocka_unit_test(a_slash_at_the_end_means_directories_only),
        cmocka_unit_test(another_slash_compares_the_whole_path),
        cmocka_unit_test(two_stars_pass_slashes),
        cmocka_unit_test(sets_and_escapes_are_bytes),
        cmocka_unit_test(the_last_fitting_pattern_decides),
        cmocka_unit_test(a_path_may_be_seen_from_the_root_or_from_the_top),
        cmocka_unit_test(nonsense_is_refused_by_name),
        cmocka_unit_test(a_hostile_pattern_takes_no_exponential_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
