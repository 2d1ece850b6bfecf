/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/suggest.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char *const names[] = {"keep_daily", NULL, "keep_weekly", "on"};

static const char *near(const char *word)
{
    return suggest_nearest(text_of(word), names, 4);
}

static void distance_counts_edits_and_a_swap_as_one(void **state)
{
    (void)state;
    assert_int_equal(suggest_distance(TEXT("abc"), TEXT("abc")), 0);
    assert_int_equal(suggest_distance(TEXT("abc"), TEXT("acb")), 1);
    assert_int_equal(suggest_distance(TEXT("abc"), TEXT("ab")), 1);
    assert_int_equal(suggest_distance(TEXT(""), TEXT("xyz")), 3);
    assert_int_equal(suggest_distance(TEXT("kitten"), TEXT("sitting")), 3);
}

static void the_nearest_word_is_given_when_it_is_near(void **state)
{
    (void)state;
    assert_string_equal(near("keep_dayly"), "keep_daily");
    assert_string_equal(near("keepweekly"), "keep_weekly");
    assert_string_equal(near("no"), "on");
    assert_null(near("compression"));
    assert_null(suggest_nearest(TEXT("x"), names, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distance_counts_edits_and_a_swap_as_one),
        cmocka_unit_test(the_nearest_word_is_given_when_it_is_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
