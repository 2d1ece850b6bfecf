/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void setting_fills_every_field_and_says_false(void **state)
{
    (void)state;
    Err err = {0};
    assert_false(err_set(&err, ERR_FULL, "store.full", "no room for %d packs; free some", 3));
    assert_int_equal(err.code, ERR_FULL);
    assert_string_equal(err.cause, "store.full");
    assert_string_equal(err.text, "no room for 3 packs; free some");
    assert_non_null(err.file);
    assert_true(err.line > 0);
}

static void the_systems_words_are_added_and_its_number_kept(void **state)
{
    (void)state;
    Err err = {0};
    errno = ENOENT;
    assert_false(err_set_sys(&err, ERR_MISSING, "file.open", "opening x"));
    assert_int_equal(err.sys, ENOENT);
    assert_string_equal(err.text, "opening x: No such file or directory");
}

static void a_note_prefixes_context_and_keeps_code_and_cause(void **state)
{
    (void)state;
    Err err = {0};
    err_set(&err, ERR_IO, "a.b", "why");
    assert_false(err_note(&err, "doing %s", "this"));
    assert_string_equal(err.text, "doing this: why");
    assert_string_equal(err.cause, "a.b");
    assert_int_equal(err.code, ERR_IO);
}

static void texts_longer_than_their_room_are_cut_and_ended(void **state)
{
    (void)state;
    Err err = {0};
    char words[600];
    memset(words, 'x', sizeof words - 1);
    words[sizeof words - 1] = 0;
    err_set(&err, ERR_IO, words, "%s", words);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_int_equal(strlen(err.cause), sizeof err.cause - 1);
    err_note(&err, "%s", words);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    err_set(&err, ERR_IO, "a", "%s", words);
    err_note(&err, "context");
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_memory_equal(err.text, "context: xxx", 12);
}

static void every_code_has_a_name_that_leads_back_to_it(void **state)
{
    (void)state;
    for (ErrCode code = ERR_NONE; code < ERR_COUNT; code++) {
        assert_int_equal(err_code_of(text_of(err_name(code))), code);
        assert_true(strlen(err_meaning(code)) > 0);
        assert_in_range(err_exit_code(code), 0, 130);
        assert_in_range(err_http_status(code), 200, 599);
    }
    assert_int_equal(err_code_of(TEXT("of a newer version")), ERR_BUG);
    assert_true(err_retry(ERR_UNREACHABLE));
    assert_false(err_retry(ERR_CORRUPT));
}

static void errnos_have_the_reaction_of_what_they_mean(void **state)
{
    (void)state;
    assert_int_equal(err_code_of_errno(ENOSPC), ERR_FULL);
    assert_int_equal(err_code_of_errno(EACCES), ERR_DENIED);
    assert_int_equal(err_code_of_errno(ENOENT), ERR_MISSING);
    assert_int_equal(err_code_of_errno(ECONNREFUSED), ERR_UNREACHABLE);
    assert_int_equal(err_code_of_errno(ETIMEDOUT), ERR_TIMEOUT);
    assert_int_equal(err_code_of_errno(EIO), ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(setting_fills_every_field_and_says_false),
        cmocka_unit_test(the_systems_words_are_added_and_its_number_kept),
        cmocka_unit_test(a_note_prefixes_context_and_keeps_code_and_cause),
        cmocka_unit_test(texts_longer_than_their_room_are_cut_and_ended),
        cmocka_unit_test(every_code_has_a_name_that_leads_back_to_it),
        cmocka_unit_test(errnos_have_the_reaction_of_what_they_mean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
