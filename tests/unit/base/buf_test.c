/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/buf.h"

#include "common/base/clock.h"
#include "common/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void bytes_are_added_and_the_memory_grows_with_them(void **state)
{
    (void)state;
    Buf buf = {0};
    assert_null(buf_extend(&buf, 0));
    for (int i = 0; i < 1000; i++)
        buf_add_byte(&buf, (uint8_t)i);
    buf_add(&buf, NULL, 0);
    assert_int_equal(buf.len, 1000);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(buf.at[i], i & 255);
    buf_clear(&buf);
    assert_int_equal(buf.len, 0);
    assert_true(buf.room >= 1000);
    buf_free(&buf);
    assert_null(buf.at);
    buf_free(&buf);
}

static void integers_are_little_endian(void **state)
{
    (void)state;
    Buf buf = {0};
    buf_add_le16(&buf, 0x0102);
    buf_add_le32(&buf, 0x03040506);
    buf_add_le64(&buf, 0x0708090a0b0c0d0e);
    assert_int_equal(buf.len, 14);
    assert_memory_equal(buf.at, "\x02\x01\x06\x05\x04\x03\x0e\x0d\x0c\x0b\x0a\x09\x08\x07", 14);
    buf_free(&buf);
}

static void printing_appends_and_the_end_is_a_c_string(void **state)
{
    (void)state;
    Buf buf = {0};
    assert_string_equal(buf_cstr(&buf), "");
    buf_printf(&buf, "%s-%d", "a", 1);
    buf_printf(&buf, "%100s", "b");
    assert_int_equal(buf.len, 103);
    assert_int_equal(strlen(buf_cstr(&buf)), 103);
    assert_int_equal(buf.len, 103);
    size_t len = 0;
    uint8_t *taken = buf_take(&buf, &len);
    assert_int_equal(len, 103);
    assert_null(buf.at);
    mem_free(taken);
}

static void an_instant_is_written_in_utc_with_milliseconds(void **state)
{
    (void)state;
    char text[CLOCK_TEXT];
    clock_rfc3339(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    clock_rfc3339(1795227270123999999, text);
    assert_string_equal(text, "2026-11-21T02:14:30.123Z");
    clock_rfc3339(-1, text);
    assert_string_equal(text, "1969-12-31T23:59:59.999Z");
    int64_t first = clock_mono_ns();
    assert_true(clock_mono_ns() >= first);
    assert_true(clock_boot_ns() > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_added_and_the_memory_grows_with_them),
        cmocka_unit_test(integers_are_little_endian),
        cmocka_unit_test(printing_appends_and_the_end_is_a_c_string),
        cmocka_unit_test(an_instant_is_written_in_utc_with_milliseconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
