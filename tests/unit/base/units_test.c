/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/units.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void durations_are_read_in_every_unit(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {{"250ms", 250},    {"6s", 6000},       {"2m", 120000},   {"6h", 21600000},
                 {"7d", 604800000}, {"2w", 1209600000}, {"1.5s", 1500},   {"0s", 0},
                 {"0.25h", 900000}, {"1.2345s", 1234},  {"00012s", 12000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Err err = {0};
        int64_t ms = -1;
        assert_true(units_duration_ms(text_of(cases[i].text), &ms, &err));
        assert_int_equal(ms, cases[i].ms);
    }
}

static void what_is_no_duration_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {"",
                                        "6",
                                        "s",
                                        "6 s",
                                        "-1s",
                                        "6S",
                                        "6ss",
                                        ".5s",
                                        "5.s",
                                        "1e3s",
                                        "1..5s",
                                        "0x6s",
                                        "99999999999999999999s",
                                        "9223372036854775807w"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Err err = {0};
        int64_t ms;
        assert_false(units_duration_ms(text_of(cases[i]), &ms, &err));
        assert_int_equal(err.code, ERR_INVALID);
        assert_string_equal(err.cause, "unit.duration");
    }
}

static void sizes_have_binary_and_decimal_units(void **state)
{
    (void)state;
    Err err = {0};
    uint64_t bytes = 0;
    assert_true(units_size(TEXT("512KiB"), &bytes, &err) && bytes == 524288);
    assert_true(units_size(TEXT("1.5GiB"), &bytes, &err) && bytes == 1610612736);
    assert_true(units_size(TEXT("80MB"), &bytes, &err) && bytes == 80000000);
    assert_true(units_size(TEXT("7B"), &bytes, &err) && bytes == 7);
    assert_true(units_size(TEXT("1TiB"), &bytes, &err) && bytes == 1ull << 40);
    assert_false(units_size(TEXT("7"), &bytes, &err));
    assert_false(units_size(TEXT("80mib"), &bytes, &err));
    assert_false(units_size(TEXT("99999999999TiB"), &bytes, &err));
    assert_string_equal(err.cause, "unit.size");
}

static void a_rate_is_a_size_a_second(void **state)
{
    (void)state;
    Err err = {0};
    uint64_t rate = 0;
    assert_true(units_rate(TEXT("80MiB/s"), &rate, &err) && rate == 83886080);
    assert_false(units_rate(TEXT("80MiB"), &rate, &err));
    assert_false(units_rate(TEXT("/s"), &rate, &err));
    assert_false(units_rate(TEXT("80MiB/m"), &rate, &err));
    assert_string_equal(err.cause, "unit.rate");
}

static void a_share_is_zero_to_a_hundred_percent(void **state)
{
    (void)state;
    Err err = {0};
    double share = 0;
    assert_true(units_percent(TEXT("15%"), &share, &err) && share == 0.15);
    assert_true(units_percent(TEXT("0.1%"), &share, &err) && share == 0.001);
    assert_true(units_percent(TEXT("100%"), &share, &err) && share == 1);
    assert_false(units_percent(TEXT("101%"), &share, &err));
    assert_false(units_percent(TEXT("15"), &share, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_read_in_every_unit),
        cmocka_unit_test(what_is_no_duration_is_refused),
        cmocka_unit_test(sizes_have_binary_and_decimal_units),
        cmocka_unit_test(a_rate_is_a_size_a_second),
        cmocka_unit_test(a_share_is_zero_to_a_hundred_percent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
