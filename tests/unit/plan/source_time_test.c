/* SPDX-License-Identifier: Apache-2.0
 * The compiled policy's word about time: JSON in, a week a method and one calendar out. */
#include "scheduler/plan/source_time.h"
#include "scheduler/plan/zones.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Minutes of the week: Sunday is day 0. */
static bool open_in(const WindowWeek *week, int day, int hour)
{
    int minute = day * 1440 + hour * 60;
    return (week->open[minute / 64] >> minute % 64 & 1) != 0;
}

static void each_method_has_the_week_of_the_windows_that_let_it_in(void **state)
{
    SourceTime time;
    WindowWeek week;
    Err err = {0};
    (void)state;
    assert_true(source_time_read(
        &time,
        TEXT("[{\"hours\":\"08:00-18:00\",\"methods\":[\"hot\"]},"
             "{\"hours\":\"22:00-06:00\",\"days\":[\"sat\"],\"on_close\":\"cancel\"}]"),
        TEXT("{}"), &err));
    assert_true(source_time_week(&time, TEXT("hot"), &week, &err));
    assert_true(week.limited && open_in(&week, 3, 9) && open_in(&week, 0, 5));
    assert_true(source_time_week(&time, TEXT("cold"), &week, &err));
    assert_true(week.limited && !open_in(&week, 3, 9));
    assert_true(open_in(&week, 6, 23) && open_in(&week, 0, 5) && !open_in(&week, 0, 23));
    /* Without methods every window is its own. */
    assert_true(source_time_week(&time, TEXT(""), &week, &err));
    assert_true(open_in(&week, 3, 9) && open_in(&week, 6, 23));
    source_time_free(&time);
}

static void a_method_that_no_window_lets_in_is_never_open(void **state)
{
    SourceTime time;
    WindowWeek week;
    Err err = {0};
    (void)state;
    assert_true(source_time_read(&time, TEXT("[{\"hours\":\"08:00-18:00\",\"methods\":[\"hot\"]}]"),
                                 TEXT("{}"), &err));
    assert_true(source_time_week(&time, TEXT("cold"), &week, &err));
    assert_true(week.limited);
    for (int hour = 0; hour < 168; hour++)
        assert_false(open_in(&week, hour / 24, hour % 24));
    source_time_free(&time);
}

static void calendars_keep_their_names(void **state)
{
    SourceTime time;
    WindowWeek week;
    Err err = {0};
    (void)state;
    assert_true(source_time_read(
        &time, TEXT("[]"),
        TEXT("{\"freeze\":[\"2026-12-20..2026-12-24\"],\"holidays\":[\"12-25\"]}"), &err));
    assert_string_equal(calendar_find(&time.exclude, 20812)->name, "holidays"); /* 2026-12-25 */
    assert_string_equal(calendar_find(&time.exclude, 20811)->name, "freeze");
    assert_null(calendar_find(&time.exclude, 20813));
    assert_true(source_time_week(&time, TEXT("logical"), &week, &err));
    assert_false(week.limited);
    source_time_free(&time);
}

static void what_is_no_window_is_refused(void **state)
{
    static const char *const wrong[] = {"[{\"hours\":\"8-18\"}]", "[{}]",
                                        "[{\"hours\":\"08:00-18:00\",\"days\":[\"someday\"]}]",
                                        "[{\"hours\":\"08:00-18:00\",\"on_close\":\"explode\"}]"};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        SourceTime time;
        WindowWeek week;
        Err err = {0};
        assert_true(source_time_read(&time, text_of(wrong[i]), TEXT("{}"), &err));
        assert_false(source_time_week(&time, TEXT(""), &week, &err));
        assert_int_equal(err.code, ERR_INVALID);
        source_time_free(&time);
    }
}

static void a_zone_is_read_once_and_one_that_is_not_there_is_said_so_again(void **state)
{
    Zones zones = {0};
    (void)state;
    for (int i = 0; i < 2; i++) {
        Err err = {0};
        assert_null(zones_get(&zones, TEXT("Atlantis/Poseidonis"), &err));
        assert_string_equal(err.cause, "zone.unknown");
    }
    Err err = {0};
    const Zone *berlin = zones_get(&zones, TEXT("Europe/Berlin"), &err);
    assert_non_null(berlin);
    for (int i = 0; i < 40; i++)
        assert_non_null(zones_get(&zones, i % 2 == 0 ? TEXT("UTC") : TEXT("Asia/Tokyo"), &err));
    assert_ptr_equal(berlin, zones_get(&zones, TEXT("Europe/Berlin"), &err));
    assert_int_equal(zones.count, 4);
    zones_free(&zones);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_method_has_the_week_of_the_windows_that_let_it_in),
        cmocka_unit_test(a_method_that_no_window_lets_in_is_never_open),
        cmocka_unit_test(calendars_keep_their_names),
        cmocka_unit_test(what_is_no_window_is_refused),
        cmocka_unit_test(a_zone_is_read_once_and_one_that_is_not_there_is_said_so_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
