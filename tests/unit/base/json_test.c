/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/json.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static json_t *parsed(const char *text)
{
    Err err = {0};
    json_t *value = NULL;
    assert_true(json_parse(text_of(text), &value, &err));
    return value;
}

static void a_document_that_is_wrong_is_refused_with_its_place(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",         "{",    "{\"a\":1,\"a\":2}",
                                        "\"text\"", "{} x", "{\"a\":\"\xff\"}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        Err err = {0};
        json_t *value = NULL;
        assert_false(json_parse(text_of(wrong[i]), &value, &err));
        assert_string_equal(err.cause, "json.syntax");
        assert_non_null(strstr(err.text, "line "));
    }
}

static void members_are_taken_by_type_and_a_wrong_one_is_named(void **state)
{
    (void)state;
    Err err = {0};
    Text text = {0};
    uint64_t number = 0;
    const json_t *object = NULL;
    scoped(json_release) json_t *value =
        parsed("{\"t\":\"x\",\"n\":9007199254740993,\"o\":{},\"m\":-1}");
    assert_true(json_take_text(value, "t", &text, &err) && text_equal(text, TEXT("x")));
    assert_true(json_take_u64(value, "n", &number, &err) && number == 9007199254740993u);
    assert_true(json_take_object(value, "o", &object, &err));
    assert_false(json_take_text(value, "n", &text, &err));
    assert_string_equal(err.text, "'n' must be a string");
    assert_false(json_take_u64(value, "m", &number, &err));
    assert_false(json_take_u64(value, "z", &number, &err));
    assert_string_equal(err.text, "'z' is missing; it must be a whole number that is not negative");
    assert_false(json_take_object(value, "t", &object, &err));
    assert_int_equal(json_u64_or(value, "z", 7), 7);
    assert_int_equal(json_u64_or(value, "m", 7), 7);
    assert_true(text_equal(json_text_or(value, "z", TEXT("y")), TEXT("y")));
    assert_true(json_bool_or(value, "z", true));
    assert_true(json_real_or(value, "m", 0) == -1);
}

static void the_same_value_has_the_same_text(void **state)
{
    (void)state;
    scoped(json_release) json_t *one =
        parsed("{\"b\": [1, 2], \"a\": {\"d\": null, \"c\": \"é\"}}");
    scoped(json_release) json_t *two = parsed("{\"a\":{\"c\":\"\\u00e9\",\"d\":null},\"b\":[1,2]}");
    scoped(buf_free) Buf first = {0};
    scoped(buf_free) Buf second = {0};
    json_canonical(one, &first);
    json_canonical(two, &second);
    assert_string_equal(buf_cstr(&first), "{\"a\":{\"c\":\"é\",\"d\":null},\"b\":[1,2]}");
    assert_string_equal(buf_cstr(&first), buf_cstr(&second));
}

static void any_bytes_become_a_string_and_come_back(void **state)
{
    (void)state;
    static const char *const escaped[] = {"caf\xc3\xa9", "a%25b", "%FF%0Ax",
                                          "%ED%A0%80",   "%C3",   "\xf0\x9f\x98\x80"};
    static const char *const bytes[] = {"caf\xc3\xa9",  "a%b",  "\xff\nx",
                                        "\xed\xa0\x80", "\xc3", "\xf0\x9f\x98\x80"};
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
        Err err = {0};
        scoped(buf_free) Buf back = {0};
        Slice slice = slice_of_text(text_of(bytes[i]));
        scoped(json_release) json_t *string = json_bytes(slice);
        assert_string_equal(json_string_value(string), escaped[i]);
        assert_true(json_unbytes(text_of(escaped[i]), &back, &err));
        assert_true(slice_equal(buf_slice(&back), slice));
    }
    Err err = {0};
    scoped(buf_free) Buf back = {0};
    assert_false(json_unbytes(TEXT("50%"), &back, &err));
    assert_false(json_unbytes(TEXT("%4"), &back, &err));
    assert_false(json_unbytes(TEXT("%4G"), &back, &err));
    assert_string_equal(err.cause, "json.bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_document_that_is_wrong_is_refused_with_its_place),
        cmocka_unit_test(members_are_taken_by_type_and_a_wrong_one_is_named),
        cmocka_unit_test(the_same_value_has_the_same_text),
        cmocka_unit_test(any_bytes_become_a_string_and_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
