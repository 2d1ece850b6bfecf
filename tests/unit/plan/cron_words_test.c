/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/cron_words.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* What a rule of the source `orders` becomes, and what is said of it. */
static void told(const char *rule, const char *fields, const char *words)
{
    Cron cron;
    Err err = {0};
    scoped(buf_free) Buf became = {0};
    scoped(buf_free) Buf said = {0};
    assert_true(cron_parse(text_of(rule), TEXT("orders"), &cron, &err));
    cron_words_fields(text_of(rule), &cron, &became);
    cron_words_told(&cron, &said);
    assert_string_equal(buf_cstr(&became), fields);
    assert_string_equal(buf_cstr(&said), words);
}

static void plain_rules_stay_as_they_are(void **state)
{
    (void)state;
    told("0 2 * * *", "0 2 * * *", "02:00 every day");
    told("30 2,14 * * *", "30 2,14 * * *", "02:30 and 14:30 every day");
    told("0 */6 * * *", "0 */6 * * *", "00:00, 06:00, 12:00 and 18:00 every day");
    told("5 * * * *", "5 * * * *", "minute 5 of every hour");
    told("*/10 1-4 * * *", "*/10 1-4 * * *", "minutes 0,10,20,30,40,50 of the hours 1-4 every day");
    told("0 3 * * mon-fri", "0 3 * * mon-fri", "03:00 on mon-fri");
    told("0 3 * jan-mar,dec *", "0 3 * jan-mar,dec *", "03:00 every day, in jan-mar,dec");
    told("0 3 1 * *", "0 3 1 * *", "03:00 on day 1 of the month");
}

/* crontab(5): two restricted days are either; a step of * is not restricted. */
static void two_days_are_either_or_both(void **state)
{
    (void)state;
    told("0 3 1,15 * 0", "0 3 1,15 * 0", "03:00 on days 1,15 of the month or on sun");
    told("0 3 */10 * 1", "0 3 */10 * 1",
         "03:00 on days 1,11,21,31 of the month, if that is on mon");
}

static void hashes_become_numbers_that_are_due(void **state)
{
    (void)state;
    Cron cron;
    Err err = {0};
    static const char *const rules[] = {"H 1 * * *", "@daily",       "H H(2-5) * * H",
                                        "@yearly",   "H/15 * * * *", "H H 1 * *"};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        scoped(buf_free) Buf became = {0};
        Cron again;
        assert_true(cron_parse(text_of(rules[i]), TEXT("orders"), &cron, &err));
        cron_words_fields(text_of(rules[i]), &cron, &became);
        assert_null(strchr(buf_cstr(&became), 'H'));
        assert_true(cron_parse(buf_text(&became), TEXT("another"), &again, &err));
        assert_true(again.minutes == cron.minutes && again.hours == cron.hours &&
                    again.days == cron.days && again.months == cron.months &&
                    again.weekdays == cron.weekdays && again.any_day == cron.any_day &&
                    again.any_weekday == cron.any_weekday);
    }
}

static void intervals_say_their_span(void **state)
{
    (void)state;
    told("every 6h", "every 6h", "every 6h, counted in UTC");
    told("every 90m", "every 90m", "every 90m, counted in UTC");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_rules_stay_as_they_are),
        cmocka_unit_test(two_days_are_either_or_both),
        cmocka_unit_test(hashes_become_numbers_that_are_due),
        cmocka_unit_test(intervals_say_their_span),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
