/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void instants_are_read_in_any_zone(void **state)
{
    static const struct {
        const char *text;
        int64_t wall_s;
    } rows[] = {
        {"1970-01-01", 0},
        {"2026-11-20T18:00", 1795197600},
        {"2026-11-20T18:00Z", 1795197600},
        {"2026-11-20T18:00:00.123456Z", 1795197600},
        {"2026-11-20T19:00:00+01:00", 1795197600},
        {"2026-11-20T12:30:05-05:30", 1795197605},
        {"2200-12-31T23:59:59Z", 7289654399},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t wall_s;
        if (!clock_parse(rows[i].text, &wall_s) || wall_s != rows[i].wall_s)
            fail_msg("%s is not %lld", rows[i].text, (long long)rows[i].wall_s);
    }
}

static void what_is_no_instant_is_refused(void **state)
{
    static const char *const rows[] = {"",
                                       "2026",
                                       "2026-13-01",
                                       "2026-02-31",
                                       "2026-00-01",
                                       "9999-01-01",
                                       "1969-12-31",
                                       "2026-11-20 18:00",
                                       "2026-11-20T18",
                                       "2026-11-20T24:00",
                                       "2026-11-20T18:00x",
                                       "2026-11-20T18:00Zx",
                                       "2026-11-20T18:00+1",
                                       "2026-11-20T18:00+25:00",
                                       "2026-11-20T18:00+01:00x",
                                       "2026-11-20T18:0",
                                       "2026-11--1",
                                       "now",
                                       "-2026-11-20"};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t wall_s;
        if (clock_parse(rows[i], &wall_s))
            fail_msg("%s was taken", rows[i]);
    }
}

static void what_is_written_is_read(void **state)
{
    char text[CLOCK_TEXT];
    int64_t wall_s;
    (void)state;
    clock_rfc3339(1795197605123000000, text);
    assert_string_equal(text, "2026-11-20T18:00:05.123Z");
    assert_true(clock_parse(text, &wall_s));
    assert_int_equal(wall_s, 1795197605);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(instants_are_read_in_any_zone),
        cmocka_unit_test(what_is_no_instant_is_refused),
        cmocka_unit_test(what_is_written_is_read),
    };
    return cmocka_run_group_tests_name("base/clock", tests, NULL, NULL);
}
