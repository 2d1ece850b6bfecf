/* SPDX-License-Identifier: Apache-2.0 */
#include "common/queue/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void all_keys_of_a_pool_share_one_hash_tag(void **state)
{
    Uuid worker = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
    (void)state;
    assert_string_equal(keys_ready(7).text, "hf:{p7}:ready");
    assert_string_equal(keys_inq(7).text, "hf:{p7}:inq");
    assert_string_equal(keys_workers(7).text, "hf:{p7}:workers");
    assert_string_equal(keys_generation(7).text, "hf:{p7}:generation");
    assert_string_equal(keys_claimed(7, &worker).text,
                        "hf:{p7}:claimed:01020304-0506-0708-090a-0b0c0d0e0f10");
    assert_string_equal(keys_alive(7, &worker).text,
                        "hf:{p7}:w:01020304-0506-0708-090a-0b0c0d0e0f10");
}

static void the_largest_pool_number_fits(void **state)
{
    Uuid worker = {{0}};
    (void)state;
    KeysName name = keys_claimed(UINT32_MAX, &worker);
    assert_string_equal(name.text, "hf:{p4294967295}:claimed:00000000-0000-0000-0000-000000000000");
    assert_int_equal(name.len, strlen(name.text));
    assert_int_equal(keys_slice(&name).len, name.len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_keys_of_a_pool_share_one_hash_tag),
        cmocka_unit_test(the_largest_pool_number_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
