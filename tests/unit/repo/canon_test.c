/* SPDX-License-Identifier: Apache-2.0
 * One way to write each value, and no other is read. */
#include "common/repo/canon.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const int64_t NUMBERS[] = {
    0,  1,   127, 128,  255,  256,    65535,  65536,       4294967295,  4294967296, INT64_MAX,
    -1, -32, -33, -128, -129, -32768, -32769, -2147483648, -2147483649, INT64_MIN,
};

static void numbers_come_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof NUMBERS / sizeof NUMBERS[0]; i++) {
        scoped(buf_free) Buf bytes = {0};
        canon_int(&bytes, NUMBERS[i]);
        CanonReader r = canon_reader(buf_slice(&bytes));
        assert_int_equal(canon_read_int(&r), NUMBERS[i]);
        assert_true(canon_done(&r));
        CanonReader skip = canon_reader(buf_slice(&bytes));
        canon_skip(&skip);
        assert_true(canon_done(&skip));
    }
}

static void refused(const char *bytes, size_t len, void (*read)(CanonReader *r))
{
    CanonReader r = canon_reader((Slice){(const uint8_t *)bytes, len});
    read(&r);
    assert_true(r.bad);
}

static void read_uint(CanonReader *r)
{
    canon_read_uint(r);
}

static void read_int(CanonReader *r)
{
    canon_read_int(r);
}

static void read_bin(CanonReader *r)
{
    canon_read_bin(r);
}

static void read_array(CanonReader *r)
{
    canon_read_array(r);
}

static void read_keys(CanonReader *r)
{
    uint64_t last = 0;
    canon_read_key(r, &last);
    canon_read_key(r, &last);
}

static void longer_forms_than_needed_are_refused(void **state)
{
    (void)state;
    refused("\xcc\x7f", 2, read_uint);
    refused("\xcd\x00\xff", 3, read_uint);
    refused("\xce\x00\x00\xff\xff", 5, read_uint);
    refused("\xcf\x00\x00\x00\x00\xff\xff\xff\xff", 9, read_uint);
    refused("\xd0\xff", 2, read_int);
    refused("\xd1\xff\x80", 3, read_int);
    refused("\xc5\x00\x01x", 4, read_bin);
    refused("\xdc\x00\x01\x01", 4, read_array);
    refused("\xa1x", 2, read_bin);
    refused("\x02\x02", 2, read_keys);
    refused("\x02\x01", 2, read_keys);
}

static void lengths_that_the_bytes_do_not_have_are_refused(void **state)
{
    (void)state;
    refused("\xc6\xff\xff\xff\xff", 5, read_bin);
    refused("\xdd\xff\xff\xff\xff\x01", 6, read_array);
    refused("\xc4\x02x", 3, read_bin);
    refused("", 0, read_uint);
    char deep[40];
    memset(deep, '\x91', sizeof deep);
    refused(deep, sizeof deep, canon_skip);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_come_back),
        cmocka_unit_test(longer_forms_than_needed_are_refused),
        cmocka_unit_test(lengths_that_the_bytes_do_not_have_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
