/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static YamlDoc *parsed(const char *text)
{
    YamlDoc *doc = NULL;
    YamlProblems problems = {0};
    assert_true(yaml_parse("f.yaml", text_of(text), &doc, &problems));
    assert_int_equal(problems.count, 0);
    return doc;
}

static void refused(const char *text, const char *code, uint32_t line, uint32_t column)
{
    YamlDoc *doc = NULL;
    YamlProblems problems = {0};
    assert_false(yaml_parse("f.yaml", text_of(text), &doc, &problems));
    assert_int_equal(problems.errors, 1);
    assert_string_equal(problems.rows[0].code, code);
    assert_int_equal(problems.rows[0].line, line);
    assert_int_equal(problems.rows[0].column, column);
    yaml_problems_free(&problems);
    yaml_doc_free(doc);
}

static void values_are_found_by_path_with_their_place(void **state)
{
    (void)state;
    YamlDoc *doc = parsed("a:\n  b: [x, {c: deep}]\n");
    const YamlNode *node = yaml_find(doc, "a.b[1].c");
    assert_non_null(node);
    assert_true(text_equal(node->text, TEXT("deep")));
    assert_int_equal(node->line, 2);
    assert_int_equal(node->column, 14);
    assert_int_equal(node->width, 4);
    assert_null(yaml_find(doc, "a.b[2]"));
    assert_null(yaml_find(doc, "a.b[x]"));
    assert_null(yaml_find(doc, "a.z.c"));
    assert_null(yaml_get(yaml_get(yaml_root(doc), "a"), "z"));
    yaml_doc_free(doc);
}

static void an_empty_file_is_an_empty_map(void **state)
{
    (void)state;
    YamlDoc *doc = parsed("");
    assert_int_equal(yaml_root(doc)->kind, YAML_MAP);
    assert_int_equal(yaml_root(doc)->count, 0);
    yaml_doc_free(doc);
}

static void what_is_no_single_plain_document_is_refused_at_its_place(void **state)
{
    (void)state;
    refused("a: 1\nb: [\n", "syntax", 3, 1);
    refused("a: 1\na: 2\n", "duplicate-key", 2, 1);
    refused("a: 1\n---\nb: 2\n", "syntax", 3, 1);
    refused("a: !int 1\n", "tag", 1, 4);
    refused("[x, y]: 1\n", "bad-key", 1, 1);
    refused("a: &x [*x]\n", "too-deep", 1, 4);
}

static void an_alias_bomb_ends_at_the_cap(void **state)
{
    (void)state;
    char text[1024] = "a: &a [x,x,x,x,x,x,x,x,x,x]\n";
    YamlDoc *doc = NULL;
    YamlProblems problems = {0};
    for (char c = 'b'; c < 'k'; c++) {
        char line[80];
        snprintf(line, sizeof line, "%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c,
                 c - 1, c - 1, c - 1, c - 1, c - 1, c - 1, c - 1, c - 1, c - 1, c - 1);
        strcat(text, line);
    }
    assert_false(yaml_parse("f.yaml", text_of(text), &doc, &problems));
    assert_string_equal(problems.rows[0].code, "too-large");
    yaml_problems_free(&problems);
    yaml_doc_free(doc);
}

static void plain_scalars_become_json_values_and_quoted_ones_stay_text(void **state)
{
    (void)state;
    YamlDoc *doc = parsed("{a: 12, b: '12', c: true, d: yes, e: 1.5, f: ~, g: 9007199254740993, "
                          "h: 10:30, i: 1e999}");
    json_t *value = yaml_to_json(yaml_root(doc));
    char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text,
                        "{\"a\":12,\"b\":\"12\",\"c\":true,\"d\":\"yes\",\"e\":1.5,\"f\":null,"
                        "\"g\":9007199254740993,\"h\":\"10:30\",\"i\":\"1e999\"}");
    free(text);
    json_decref(value);
    yaml_doc_free(doc);
}

static const YamlField copy_fields[] = {
    {.name = "store", .type = YAML_NAME, .required = true},
    {.name = "keep_daily", .type = YAML_U64, .least = 1, .most = 999},
    {.name = "keep_weekly", .type = YAML_U64},
};
static const YamlField copy = {.type = YAML_RECORD, .fields = copy_fields, .field_count = 3};
static const YamlField stored_text = {
    .name = "verify", .type = YAML_ENUM, .choices = "always|never"};
static const YamlField policy_fields[] = {
    {.name = "copies", .type = YAML_LIST_OF, .required = true, .least = 1, .fields = &copy},
    {.name = "timeout", .type = YAML_DURATION, .fallback = "8h", .least = 1000},
    {.name = "rate", .type = YAML_RATE},
    {.name = "free", .type = YAML_SHARE},
    {.name = "overlap", .type = YAML_ENUM, .choices = "skip|queue", .fallback = "skip"},
    {.name = "password", .type = YAML_SECRET},
    {.name = "verify",
     .type = YAML_RECORD,
     .fields = copy_fields,
     .field_count = 3,
     .other = &stored_text},
    {.name = "initial", .type = YAML_BOOL},
};
static const YamlField policy = {.type = YAML_RECORD, .fields = policy_fields, .field_count = 8};
static const YamlField policies = {.type = YAML_MAP_OF, .fields = &policy};

/* Walks text as a map of policies; gives the problems as people read them, or the JSON when there
 * are none. */
static char *walked(const char *text)
{
    YamlDoc *doc = parsed(text);
    YamlProblems problems = {0};
    Buf out = {0};
    json_t *value = NULL;
    bool good = yaml_walk(doc, yaml_root(doc), "", &policies, &value, &problems);
    assert_int_equal(good, problems.errors == 0);
    yaml_problems_print(&problems, &out);
    char *result = good ? json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS) : strdup(buf_cstr(&out));
    buf_free(&out);
    json_decref(value);
    yaml_problems_free(&problems);
    yaml_doc_free(doc);
    return result;
}

static void expect(const char *text, const char *wanted)
{
    char *got = walked(text);
    assert_string_equal(got, wanted);
    free(got);
}

static void a_good_tree_gives_amounts_in_plain_units_and_defaults(void **state)
{
    (void)state;
    expect("gold:\n  copies: [{store: nas, keep_daily: 14}]\n  rate: 80MiB/s\n  free: 25%\n"
           "  verify: always\n  password: {credential: db}\n",
           "{\"gold\":{\"copies\":[{\"keep_daily\":14,\"store\":\"nas\"}],\"free\":0.25,"
           "\"overlap\":\"skip\",\"password\":{\"credential\":\"db\"},\"rate\":83886080,"
           "\"timeout\":28800000,\"verify\":\"always\"}}");
}

static void every_problem_is_told_at_once_in_order_with_suggestions(void **state)
{
    (void)state;
    expect("gold:\n  copies: [{store: nas, keep_dayly: 14}]\n  timeout: soon\n"
           "  password: hunter2\n  overlap: skipp\n",
           "f.yaml:2:25: error[unknown-key]: 'keep_dayly' is not known in gold.copies[0]\n"
           "    2 |   copies: [{store: nas, keep_dayly: 14}]\n"
           "      |                         ^^^^^^^^^^ did you mean 'keep_daily'?\n"
           "f.yaml:3:12: error[bad-amount]: gold.timeout: 'soon' is not a duration; write 30s, "
           "10m, 6h or 7d\n"
           "    3 |   timeout: soon\n"
           "      |            ^^^^\n"
           "f.yaml:4:13: error[literal-secret]: gold.password is written in the file\n"
           "      | put it in /etc/holdfast/credentials/NAME and write  password: {credential: "
           "NAME}   then change it: it was seen\n"
           "f.yaml:5:12: error[unknown-value]: gold.overlap is 'skipp'; it can be skip|queue\n"
           "    5 |   overlap: skipp\n"
           "      |            ^^^^^ did you mean 'skip'?\n");
}

static void missing_empty_misshapen_and_out_of_range_values_are_told(void **state)
{
    (void)state;
    expect("gold: {copies: [], rate: }\n",
           "f.yaml:1:16: error[out-of-range]: gold.copies has 0 items; 1 is the least\n"
           "    1 | gold: {copies: [], rate: }\n"
           "      |                ^^\n"
           "f.yaml:1:26: error[no-value]: gold.rate has no value; take the key away or give it "
           "one\n"
           "    1 | gold: {copies: [], rate: }\n"
           "      |                          ^\n");
    expect("gold: {copies: [{keep_daily: 1000}], initial: yes}\n",
           "f.yaml:1:17: error[missing-key]: gold.copies[0] needs 'store'\n"
           "    1 | gold: {copies: [{keep_daily: 1000}], initial: yes}\n"
           "      |                 ^^^^^^^^^^^^^^^^^^\n"
           "f.yaml:1:30: error[out-of-range]: gold.copies[0].keep_daily must be 1 to 999\n"
           "    1 | gold: {copies: [{keep_daily: 1000}], initial: yes}\n"
           "      |                              ^^^^\n"
           "f.yaml:1:47: error[bad-boolean]: gold.initial must be true or false\n"
           "    1 | gold: {copies: [{keep_daily: 1000}], initial: yes}\n"
           "      |                                               ^^^\n");
    expect("'a b': {copies: [{store: x}]}\n",
           "f.yaml:1:1: error[bad-name]: a b must be a name: letters, digits, '.', '_' and '-', at "
           "most 63, a letter or digit first\n"
           "    1 | 'a b': {copies: [{store: x}]}\n"
           "      | ^^^^^\n");
}

static void a_line_that_may_hold_a_secret_is_never_shown(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "gold: {copies: [], pasword: hunter2}\n",
        "gold: {copeis: [], password: hunter2}\n",
        "gold: {copies: [], password: {hunter2: x}}\n",
        "gold: {copies: [], password: {credential: 'hunter2 hunter2'}}\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *printed = walked(texts[i]);
        assert_null(strstr(printed, "hunter2"));
        assert_non_null(strstr(printed, "error["));
        free(printed);
    }
}

static void what_would_move_a_terminal_is_not_printed(void **state)
{
    (void)state;
    char *printed = walked("\"a\\e[2J\\u009b1m\": {copies: [{store: x}]}\n");
    assert_null(strchr(printed, 0x1b));
    assert_null(strstr(printed, "\xc2\x9b"));
    free(printed);
}

static void problems_are_json_with_the_same_fields(void **state)
{
    (void)state;
    YamlDoc *doc = parsed("a: 1\n");
    YamlProblems problems = {0};
    yaml_problem(&problems, doc, yaml_find(doc, "a"), true, "odd", "b", "a is %d", 1);
    json_t *list = yaml_problems_json(&problems);
    char *text = json_dumps(list, JSON_COMPACT | JSON_SORT_KEYS);
    assert_int_equal(problems.errors, 0);
    assert_string_equal(text, "[{\"code\":\"odd\",\"column\":4,\"detail\":\"a is "
                              "1\",\"excerpt\":\"a: 1\",\"file\":\"f.yaml\","
                              "\"line\":1,\"pointer\":\"/"
                              "a\",\"severity\":\"warning\",\"suggestion\":\"b\",\"width\":1}]");
    free(text);
    YamlProblems again = {0};
    Buf before = {0};
    Buf after = {0};
    yaml_problems_read(list, &again);
    yaml_problems_print(&problems, &before);
    yaml_problems_print(&again, &after);
    assert_string_equal(buf_cstr(&before), buf_cstr(&after));
    buf_free(&before);
    buf_free(&after);
    yaml_problems_free(&again);
    json_decref(list);
    yaml_problems_free(&problems);
    yaml_doc_free(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_found_by_path_with_their_place),
        cmocka_unit_test(an_empty_file_is_an_empty_map),
        cmocka_unit_test(what_is_no_single_plain_document_is_refused_at_its_place),
        cmocka_unit_test(an_alias_bomb_ends_at_the_cap),
        cmocka_unit_test(plain_scalars_become_json_values_and_quoted_ones_stay_text),
        cmocka_unit_test(a_good_tree_gives_amounts_in_plain_units_and_defaults),
        cmocka_unit_test(every_problem_is_told_at_once_in_order_with_suggestions),
        cmocka_unit_test(missing_empty_misshapen_and_out_of_range_values_are_told),
        cmocka_unit_test(a_line_that_may_hold_a_secret_is_never_shown),
        cmocka_unit_test(what_would_move_a_terminal_is_not_printed),
        cmocka_unit_test(problems_are_json_with_the_same_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
