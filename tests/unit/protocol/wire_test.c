/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/wire.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const WireLimits LIMITS = {64, 3, 8};

static bool scans(const char *bytes, size_t len)
{
    Err err = {0};
    bool good = wire_scan((Slice){(const uint8_t *)bytes, len}, &LIMITS, &err);
    if (!good)
        assert_string_equal(err.cause, "wire.malformed");
    return good;
}
#define SCANS(literal) scans(literal, sizeof(literal) - 1)

static void each_kind_of_value_is_scanned_to_its_end(void **state)
{
    (void)state;
    assert_true(SCANS("\x00"));
    assert_true(SCANS("\xff"));
    assert_true(SCANS("\xc0"));
    assert_true(SCANS("\xc3"));
    assert_true(SCANS("\xcf\x00\x00\x00\x00\x00\x00\x00\x01"));
    assert_true(SCANS("\xd3\xff\xff\xff\xff\xff\xff\xff\xff"));
    assert_true(SCANS("\xcb\x00\x00\x00\x00\x00\x00\x00\x00"));
    assert_true(SCANS("\xa2ok"));
    assert_true(SCANS("\xd9\x02ok"));
    assert_true(SCANS("\xda\x00\x02ok"));
    assert_true(SCANS("\xdb\x00\x00\x00\x02ok"));
    assert_true(SCANS("\xc4\x01x"));
    assert_true(SCANS("\x82\x00\x01\x01\x92\x02\x03"));
    assert_true(SCANS("\xdc\x00\x01\x05"));
    assert_true(SCANS("\xde\x00\x01\x05\xa1x"));
    assert_true(SCANS("\x80"));
    assert_true(SCANS("\xdd\x00\x00\x00\x00"));
}

static void what_is_cut_short_or_goes_on_is_refused(void **state)
{
    (void)state;
    assert_false(SCANS(""));
    assert_false(SCANS("\xa2o"));
    assert_false(SCANS("\xcf\x00"));
    assert_false(SCANS("\x81\x00"));
    assert_false(SCANS("\x92\x00"));
    assert_false(SCANS("\xda\x00"));
    assert_false(SCANS("\x00\x00"));
    assert_false(SCANS("\x81\x00\x01\x02"));
}

static void a_header_that_announces_gigabytes_is_refused_before_msgpack_sees_it(void **state)
{
    (void)state;
    assert_false(SCANS("\xdd\x06\x00\x00\x00"));
    assert_false(SCANS("\xdd\xff\xff\xff\xff"));
    assert_false(SCANS("\xdf\xff\xff\xff\xff"));
    assert_false(SCANS("\xdf\x80\x00\x00\x00"));
    assert_false(SCANS("\xdb\xff\xff\xff\xff"));
    assert_false(SCANS("\xc6\xff\xff\xff\xff"));
}

static void the_limits_of_bytes_depth_and_elements_hold(void **state)
{
    (void)state;
    char long_text[80] = "\xd9\x4d";
    assert_true(SCANS("\x91\x91\x91\x00"));
    assert_false(SCANS("\x91\x91\x91\x91\x00"));
    assert_true(SCANS("\x97\x00\x00\x00\x00\x00\x00\x00"));
    assert_false(SCANS("\x98\x00\x00\x00\x00\x00\x00\x00\x00"));
    assert_false(scans(long_text, 79));
}

static void extension_types_are_not_ours(void **state)
{
    (void)state;
    assert_false(SCANS("\xd4\x01\x00"));
    assert_false(SCANS("\xc7\x01\x01\x00"));
    assert_false(SCANS("\xc1"));
}

static void takers_name_what_has_the_wrong_type(void **state)
{
    (void)state;
    Err err = {0};
    msgpack_unpacked unpacked;
    uint64_t u = 0;
    int64_t i = 0;
    bool flag = false;
    Text text = {0};
    Slice bytes = {0};
    const char raw[] = "\x95\xff\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xc3\xa1x\xc4\x01y";
    assert_true(
        wire_unpack((Slice){(const uint8_t *)raw, sizeof raw - 1}, &WIRE_SMALL, &unpacked, &err));
    const msgpack_object *at = unpacked.data.via.array.ptr;
    assert_true(wire_take_i64(&at[0], "a", &i, &err) && i == -1);
    assert_false(wire_take_u64(&at[0], "a", &u, &err));
    assert_string_equal(err.text, "a is not a whole number that is not negative");
    assert_true(wire_take_u64(&at[1], "b", &u, &err) && u == UINT64_MAX);
    assert_false(wire_take_i64(&at[1], "b", &i, &err));
    assert_true(wire_take_bool(&at[2], "c", &flag, &err) && flag);
    assert_false(wire_take_i64(&at[2], "c", &i, &err));
    assert_true(wire_take_text(&at[3], "d", &text, &err) && text_equal(text, TEXT("x")));
    assert_false(wire_take_bytes(&at[3], "d", &bytes, &err));
    assert_true(wire_take_bytes(&at[4], "e", &bytes, &err) && bytes.len == 1);
    assert_false(wire_take_text(&at[4], "e", &text, &err));
    assert_false(wire_take_bool(&at[4], "e", &flag, &err));
    assert_false(wire_take_map(&at[4], "e", &err));
    assert_string_equal(err.cause, "wire.type");
    msgpack_unpacked_destroy(&unpacked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_of_value_is_scanned_to_its_end),
        cmocka_unit_test(what_is_cut_short_or_goes_on_is_refused),
        cmocka_unit_test(a_header_that_announces_gigabytes_is_refused_before_msgpack_sees_it),
        cmocka_unit_test(the_limits_of_bytes_depth_and_elements_hold),
        cmocka_unit_test(extension_types_are_not_ours),
        cmocka_unit_test(takers_name_what_has_the_wrong_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
