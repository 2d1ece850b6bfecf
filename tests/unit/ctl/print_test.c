/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/follow.h"
#include "scheduler/ctl/print.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const char *safe(Buf *out, const char *text)
{
    buf_clear(out);
    print_add_safe(out, text);
    return buf_cstr(out);
}

static void what_moves_a_terminal_is_shown_instead(void **state)
{
    static const struct {
        const char *text, *shown;
    } rows[] = {
        {"plain", "plain"},
        {"caf\u00e9 \u65e5\u672c \U0001F4A9", "caf\u00e9 \u65e5\u672c \U0001F4A9"},
        {"\033[31mred\a\r\n\t\b", "\\x1b[31mred\\x07\\x0d\\x0a\\x09\\x08"},
        {"\177", "\\x7f"},
        {"\xc2\x9b"
         "31m",
         "\\u009b31m"}, /* the one-byte form of ESC [ */
        {"a\u202eb\u2066c\u200f", "a\\u202eb\\u2066c\\u200f"},
        {"\u2028\u2029\ufeff", "\\u2028\\u2029\\ufeff"},
        {"\xc3", "\xc3"},    /* half a character says nothing */
        {"\x9b", "\\u009b"}, /* a stray byte could be that form */
        {"\xe2\x80x", "\xe2\\u0080x"},
    };
    scoped(buf_free) Buf out = {0};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(safe(&out, rows[i].text), rows[i].shown);
}

/* The table as text, the caller's. */
static char *drawn(const json_t *items, const PrintColumn *columns, size_t count)
{
    FILE *out = tmpfile();
    assert_non_null(out);
    print_table(out, items, columns, count, true);
    size_t len = (size_t)ftell(out);
    char *text = calloc(1, len + 1);
    rewind(out);
    assert_int_equal(fread(text, 1, len, out), len);
    fclose(out);
    return text;
}

static void columns_stand_below_each_other(void **state)
{
    static const PrintColumn columns[] = {
        {"NAME", "name", AS_TEXT}, {"SIZE", "n.size", AS_BYTES}, {"WHY", "why", AS_TEXT}};
    json_t *items = json_pack("[{s:s, s:{s:i}, s:s}, {s:s, s:n, s:s}, {s:s}]", "name", "caf\u00e9",
                              "n", "size", 2048, "why", "x", "name", "\u65e5\u672c", "n", "why",
                              "a\nb", "name", "plain-one");
    (void)state;
    char *text = drawn(items, columns, 3);
    assert_string_equal(text, "NAME       SIZE     WHY\n"
                              "caf\u00e9       2.0 KiB  x\n"
                              "\u65e5\u672c       -        a\\x0ab\n"
                              "plain-one  -        -\n");
    free(text);
    json_decref(items);
}

static void a_cell_that_is_too_wide_is_cut_unless_it_is_the_last(void **state)
{
    static const PrintColumn columns[] = {{"A", "a", AS_TEXT}, {"B", "b", AS_TEXT}};
    char wide[101];
    memset(wide, 'w', 100);
    wide[100] = 0;
    json_t *items = json_pack("[{s:s, s:s}]", "a", wide, "b", wide);
    (void)state;
    char *text = drawn(items, columns, 2);
    char *row = strchr(text, '\n') + 1;
    assert_int_equal(strspn(row, "w"), 59);
    assert_memory_equal(row + 59, "\u2026  ", 5);
    assert_int_equal(strspn(row + 64, "w"), 100);
    free(text);
    json_decref(items);
}

static void values_are_shown_as_people_read_them(void **state)
{
    static const struct {
        const char *json;
        PrintAs as;
        const char *shown;
    } rows[] = {
        {"1023", AS_BYTES, "1023 B"},
        {"1536", AS_BYTES, "1.5 KiB"},
        {"1099511627776", AS_BYTES, "1.0 TiB"},
        {"2097152", AS_RATE, "2.0 MiB/s"},
        {"59", AS_SECONDS, "59s"},
        {"61", AS_SECONDS, "1m 1s"},
        {"3660", AS_SECONDS, "1h 1m"},
        {"173520", AS_SECONDS, "2d 0h"},
        {"-5", AS_SECONDS, "0s"},
        {"\"2026-11-20T18:00:05.123Z\"", AS_WHEN, "Fri 20 Nov 18:00:05 UTC"},
        {"\"2026-11-20T18:00:05+01:00\"", AS_WHEN, "Fri 20 Nov 17:00:05 UTC"},
        {"\"never\\u001b\"", AS_WHEN, "never\\x1b"},
        {"\"never\"", AS_AGO, "never"},
        {"\"x\"", AS_BYTES, "x"},
        {"null", AS_TEXT, "-"},
        {"[]", AS_TEXT, "-"},
        {"[\"a\",\"b\\u001b\"]", AS_TEXT, "a, b\\x1b"},
        {"[1,\"b\"]", AS_TEXT, "[1,\"b\"]"},
        {"{\"a\":\"\\u009b\"}", AS_TEXT, "{\"a\":\"\\u009b\"}"},
        {"7", AS_COUNT, "7"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        PrintColumn column = {"T", "v", rows[i].as};
        json_t *items = json_array();
        json_array_append_new(
            items, json_pack("{s:o}", "v", json_loads(rows[i].json, JSON_DECODE_ANY, NULL)));
        char *text = drawn(items, &column, 1);
        char expected[100];
        snprintf(expected, sizeof expected, "T\n%s\n", rows[i].shown);
        assert_string_equal(text, expected);
        free(text);
        json_decref(items);
    }
}

static char *printed(void (*print)(FILE *, const json_t *, const PrintColumn *, size_t),
                     const json_t *items, const PrintColumn *columns, size_t count)
{
    char *text = NULL;
    size_t len;
    FILE *file = open_memstream(&text, &len);
    print(file, items, columns, count);
    fclose(file);
    return text;
}

static void a_cell_of_csv_comes_back_as_it_was_and_is_no_formula(void **state)
{
    static const PrintColumn columns[] = {{"A", "a", AS_BYTES}, {"B", "b.c", AS_AGO}};
    static const struct {
        const char *value;
        const char *line;
    } rows[] = {
        {"\"plain\"", "1024,plain\n"},
        {"\"a,b\"", "1024,\"a,b\"\n"},
        {"\"say \\\"no\\\"\"", "1024,\"say \"\"no\"\"\"\n"},
        {"\"two\\nlines\"", "1024,\"two\nlines\"\n"},
        {"\" led\"", "1024,\" led\"\n"},
        {"\"=1+2\"", "1024,'=1+2\n"},
        {"\"@SUM(A1,B1)\"", "1024,\"'@SUM(A1,B1)\"\n"},
        {"\"-x\"", "1024,'-x\n"},
        {"-5", "1024,-5\n"},
        {"null", "1024,\n"},
        {"true", "1024,true\n"},
        {"0.5", "1024,0.5\n"},
        {"[\"a\",\"b\"]", "1024,a b\n"},
        {"[]", "1024,\n"},
        {"[1,2]", "1024,\"[1,2]\"\n"},
        {"{\"x\":1}", "1024,\"{\"\"x\"\":1}\"\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char expected[100];
        json_t *items = json_pack("[{s:i, s:{s:o}}]", "a", 1024, "b", "c",
                                  json_loads(rows[i].value, JSON_DECODE_ANY, NULL));
        char *text = printed(print_csv, items, columns, 2);
        snprintf(expected, sizeof expected, "a,b.c\n%s", rows[i].line);
        assert_string_equal(text, expected);
        free(text);
        json_decref(items);
    }
}

static void a_card_has_no_empty_lines(void **state)
{
    static const PrintColumn columns[] = {
        {"to", "to", AS_TEXT}, {"replaces", "replaces", AS_TEXT}, {"free", "free", AS_BYTES}};
    char *text = NULL;
    size_t len;
    json_t *item = json_pack("{s:s, s:s, s:n}", "to", "/x", "replaces", "", "free");
    FILE *file = open_memstream(&text, &len);
    (void)state;
    print_card(file, item, columns, 3, true);
    fclose(file);
    assert_string_equal(text, "to             /x\n");
    free(text);
    json_decref(item);
}

static void paths_lead_into_objects_and_null_is_absent(void **state)
{
    json_t *item = json_pack("{s:{s:s, s:n}, s:i}", "a", "b", "text", "c", "n", 5);
    (void)state;
    assert_string_equal(print_text_at(item, "a.b"), "text");
    assert_string_equal(print_text_at(item, "a.c"), "");
    assert_string_equal(print_text_at(item, "a.b.c"), "");
    assert_string_equal(print_text_at(item, "x.y"), "");
    assert_string_equal(print_text_at(item, "n"), "");
    assert_int_equal(print_number_at(item, "n"), 5);
    assert_int_equal(print_number_at(item, "a"), 0);
    assert_null(print_at(NULL, "a"));
    json_decref(item);
}

static void a_job_s_end_has_its_exit_code(void **state)
{
    static const struct {
        const char *job;
        bool terminal;
        int code;
    } rows[] = {{"completed", true, 0}, {"partial", true, 3},    {"failed", true, 1},
                {"skipped", true, 6},   {"missed", true, 6},     {"cancelled", true, 130},
                {"running", false, 1},  {"pending", false, 1},   {"queued", false, 1},
                {"", false, 1},         {"completely", false, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(follow_terminal(rows[i].job), rows[i].terminal);
        assert_int_equal(follow_exit_code(rows[i].job), rows[i].code);
    }
}

static void a_timeout_is_a_duration(void **state)
{
    int64_t ms;
    Err err = {0};
    (void)state;
    assert_true(follow_timeout(NULL, &ms, &err) && ms == INT64_MAX);
    assert_true(follow_timeout("90s", &ms, &err) && ms == 90000);
    assert_false(follow_timeout("soon", &ms, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_moves_a_terminal_is_shown_instead),
        cmocka_unit_test(columns_stand_below_each_other),
        cmocka_unit_test(a_cell_that_is_too_wide_is_cut_unless_it_is_the_last),
        cmocka_unit_test(values_are_shown_as_people_read_them),
        cmocka_unit_test(a_cell_of_csv_comes_back_as_it_was_and_is_no_formula),
        cmocka_unit_test(a_card_has_no_empty_lines),
        cmocka_unit_test(paths_lead_into_objects_and_null_is_absent),
        cmocka_unit_test(a_job_s_end_has_its_exit_code),
        cmocka_unit_test(a_timeout_is_a_duration),
    };
    return cmocka_run_group_tests_name("ctl/print", tests, NULL, NULL);
}
