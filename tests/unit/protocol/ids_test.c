/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/ids.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const uint8_t ones[16] = {255, 255, 255, 255, 255, 255, 255, 255,
                                 255, 255, 255, 255, 255, 255, 255, 255};

static void a_uuid_has_one_text_and_is_read_with_or_without_dashes(void **state)
{
    (void)state;
    Err err = {0};
    char text[UUID_TEXT];
    Uuid back;
    Uuid id = uuid_random(ones);
    uuid_text(&id, text);
    assert_string_equal(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    assert_true(uuid_parse(text_of(text), &back, &err) && uuid_equal(&id, &back));
    assert_true(uuid_parse(TEXT("FFFFFFFFFFFF4FFFBFFFFFFFFFFFFFFF"), &back, &err));
    assert_true(uuid_equal(&id, &back));
    assert_false(uuid_parse(TEXT("ffffffff-ffff-4fff-bfff-fffffffffff"), &back, &err));
    assert_false(uuid_parse(TEXT("ffffffff-ffff-4fff-bfff+ffffffffffff"), &back, &err));
    assert_false(uuid_parse(TEXT("gfffffffffff4fffbfffffffffffffff"), &back, &err));
    assert_string_equal(err.cause, "id.invalid");
    assert_false(uuid_is_nil(&id));
    assert_true(uuid_is_nil(&(Uuid){0}));
}

static void a_backup_id_sorts_by_age_and_comes_back_from_its_text(void **state)
{
    (void)state;
    Err err = {0};
    char text[BACKUP_ID_TEXT];
    Uuid back;
    uint8_t random[16] = {0};
    Uuid old = uuid_backup(1, ones);
    Uuid young = uuid_backup(2, random);
    assert_true(uuid_compare(&old, &young) < 0);
    uuid_backup_text(&old, text);
    assert_string_equal(text, "bk_0000000001ZZZZZZZZZZZZZZZZ");
    assert_true(uuid_backup_parse(text_of(text), &back, &err) && uuid_equal(&old, &back));
    assert_true(uuid_backup_parse(TEXT("BK_oooooooooizzzzzzzzzzzzzzzz"), &back, &err));
    assert_true(uuid_equal(&old, &back));
    assert_false(uuid_backup_parse(TEXT("bk_8ZZZZZZZZZZZZZZZZZZZZZZZZZ"), &back, &err));
    assert_false(uuid_backup_parse(TEXT("bk_0000000001ZZZZZZZZZZZZZZZU"), &back, &err));
    assert_false(uuid_backup_parse(TEXT("bk_00"), &back, &err));
}

static void a_prefix_is_the_range_of_ids_that_begin_so(void **state)
{
    (void)state;
    Err err = {0};
    char text[BACKUP_ID_TEXT];
    Uuid first;
    Uuid last;
    assert_true(uuid_backup_range(TEXT("bk_01J"), &first, &last, &err));
    uuid_backup_text(&first, text);
    assert_string_equal(text, "bk_01J00000000000000000000000");
    uuid_backup_text(&last, text);
    assert_string_equal(text, "bk_01JZZZZZZZZZZZZZZZZZZZZZZZ");
    assert_false(uuid_backup_range(TEXT("bk_"), &first, &last, &err));
    assert_false(uuid_backup_range(TEXT("jb_01J"), &first, &last, &err));
}

static void a_job_id_is_at_least_seven_digits_and_comes_back(void **state)
{
    (void)state;
    static const uint64_t jobs[] = {0, 12, 1ull << 35, UINT64_MAX};
    static const char *const texts[] = {"jb_0000000", "jb_000000C", "jb_10000000",
                                        "jb_FZZZZZZZZZZZZ"};
    for (size_t i = 0; i < 4; i++) {
        Err err = {0};
        char text[JOB_ID_TEXT];
        uint64_t back = 0;
        ids_job_text(jobs[i], text);
        assert_string_equal(text, texts[i]);
        assert_true(ids_job_parse(text_of(text), &back, &err));
        assert_int_equal(back, jobs[i]);
    }
    Err err = {0};
    uint64_t job;
    assert_false(ids_job_parse(TEXT("jb_"), &job, &err));
    assert_false(ids_job_parse(TEXT("jb_GZZZZZZZZZZZZ"), &job, &err));
    assert_false(ids_job_parse(TEXT("jb_ZZZZZZZZZZZZZZ"), &job, &err));
    assert_false(ids_job_parse(TEXT("12"), &job, &err));
    assert_false(ids_job_parse(TEXT("jb_0000U"), &job, &err));
}

static void hex_is_exact_in_length_and_letters(void **state)
{
    (void)state;
    Err err = {0};
    char text[7];
    uint8_t bytes[3];
    ids_hex((const uint8_t *)"\x00\xab\xff", 3, text);
    assert_string_equal(text, "00abff");
    assert_true(ids_unhex(TEXT("00ABff"), bytes, 3, &err));
    assert_memory_equal(bytes, "\x00\xab\xff", 3);
    assert_false(ids_unhex(TEXT("00abf"), bytes, 3, &err));
    assert_false(ids_unhex(TEXT("00abfg"), bytes, 3, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_uuid_has_one_text_and_is_read_with_or_without_dashes),
        cmocka_unit_test(a_backup_id_sorts_by_age_and_comes_back_from_its_text),
        cmocka_unit_test(a_prefix_is_the_range_of_ids_that_begin_so),
        cmocka_unit_test(a_job_id_is_at_least_seven_digits_and_comes_back),
        cmocka_unit_test(hex_is_exact_in_length_and_letters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
