/* SPDX-License-Identifier: Apache-2.0
 * Days without slots: every form, against the C library's calendar day by day. */
#include "scheduler/plan/calendar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <time.h>

static void each_form_holds_its_days_and_no_others(void **state)
{
    /* from and to as they stand in "%Y-%m-%d" and "%m-%d": ISO dates are in the order of time. */
    static const struct {
        const char *item, *from, *to;
        bool yearly;
    } cases[] = {
        {"2026-12-24", "2026-12-24", "2026-12-24", false},
        {"2026-12-24..2027-01-02", "2026-12-24", "2027-01-02", false},
        {"12-25", "12-25", "12-25", true},
        {"02-29", "02-29", "02-29", true},
        {"06-30..07-04", "06-30", "07-04", true},
        {"12-24..01-02", "12-24", "01-02", true},
        {"2028-02-29", "2028-02-29", "2028-02-29", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Calendar calendar = {0};
        Err err = {0};
        assert_true(calendar_add(&calendar, text_of(cases[i].item), &err));
        for (int64_t day = 20000; day < 20000 + 8 * 366; day++) {
            char text[32];
            struct tm tm;
            time_t at = (time_t)(day * 86400);
            gmtime_r(&at, &tm);
            assert_true(strftime(text, sizeof text, "%Y-%m-%d", &tm) == 10);
            const char *shown = cases[i].yearly ? text + 5 : text;
            bool after = strcmp(shown, cases[i].from) >= 0;
            bool before = strcmp(shown, cases[i].to) <= 0;
            bool inside =
                strcmp(cases[i].from, cases[i].to) <= 0 ? after && before : after || before;
            if (calendar_holds(&calendar, day) != inside)
                fail_msg("%s: wrong on %s", cases[i].item, text);
        }
        calendar_free(&calendar);
    }
}

static void a_day_is_one_of_the_zone(void **state)
{
    Calendar calendar = {0};
    Zone *zone;
    Err err = {0};
    (void)state;
    assert_true(zone_open(&zone, TEXT("America/New_York"), &err));
    assert_true(calendar_add(&calendar, TEXT("2026-12-25"), &err));
    /* New York is five hours behind. */
    assert_false(calendar_excludes(&calendar, zone, 1798174800 - 1));
    assert_true(calendar_excludes(&calendar, zone, 1798174800));
    assert_true(calendar_excludes(&calendar, zone, 1798174800 + 86400 - 1));
    assert_false(calendar_excludes(&calendar, zone, 1798174800 + 86400));
    assert_false(calendar_excludes(NULL, zone, 1798174800));
    calendar_free(&calendar);
    zone_free(zone);
}

static void what_is_no_day_is_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "2026-02-29",
                                      "2026-13-01",
                                      "02-30",
                                      "12-5",
                                      "2026-12-24..",
                                      "2027-01-02..2026-12-24",
                                      "2026-12-24..01-02",
                                      "12-24..2027-01-02",
                                      "2026-12-24 2027-01-02",
                                      "christmas",
                                      "2026/12/24",
                                      "00-10"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CalendarSpan span;
        Err err = {0};
        if (calendar_span(text_of(bad[i]), &span, &err))
            fail_msg("'%s' was taken", bad[i]);
        assert_string_equal(err.cause, "calendar.invalid");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_form_holds_its_days_and_no_others),
        cmocka_unit_test(a_day_is_one_of_the_zone),
        cmocka_unit_test(what_is_no_day_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
