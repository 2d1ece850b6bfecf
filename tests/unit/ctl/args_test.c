/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/args.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { WORDS_MOST = 80 };

/* A command line, cut at blanks. */
static bool parse(Args *args, const char *line, Err *err)
{
    static char copy[1000];
    static char *argv[WORDS_MOST];
    int argc = 0;
    char *rest = copy;
    assert_true(strlen(line) < sizeof copy);
    strcpy(copy, line);
    for (char *word; (word = strsep(&rest, " ")) != NULL && argc < WORDS_MOST;)
        if (*word != 0)
            argv[argc++] = word;
    *err = (Err){0};
    return args_parse(args, argc, argv, err);
}

static void words_and_flags_are_understood_in_any_order(void **state)
{
    Args args;
    Err err;
    (void)state;
    assert_true(parse(&args, "holdfast --utc job list --state failed --limit=5 --json", &err));
    assert_int_equal(args.verb, VERB_job_list);
    assert_true(args.utc && args.json && !args.quiet);
    assert_string_equal(args.state, "failed");
    assert_string_equal(args.limit, "5");
    assert_string_equal(args.output, "json");
    assert_int_equal(args.words.count, 0);
    assert_true(
        parse(&args, "holdfast restore a@latest --to x --only p --only q --in-place", &err));
    assert_int_equal(args.verb, VERB_restore);
    assert_int_equal(args.only.count, 2);
    assert_string_equal(args.only.at[1], "q");
    assert_string_equal(args.words.at[0], "a@latest");
    assert_true(parse(&args, "holdfast run a b c", &err));
    assert_int_equal(args.words.count, 3);
    assert_true(parse(&args, "holdfast backup fetch a -- --utc", &err));
    assert_string_equal(args.words.at[1], "--utc");
    assert_true(parse(&args, "holdfast policy check -", &err));
    assert_string_equal(args.words.at[0], "-");
    assert_true(parse(&args, "holdfast", &err));
    assert_int_equal(args.verb, VERB_help);
}

static void a_mistake_is_named_with_what_would_have_worked(void **state)
{
    static const struct {
        const char *line, *cause, *words;
    } rows[] = {
        {"holdfast statsu", "usage.verb", "holdfast status"},
        {"holdfast jobb list", "usage.verb", "holdfast job"},
        {"holdfast xyzzy", "usage.verb", "holdfast help"},
        {"holdfast job", "usage.verb", "list, show, logs, follow, cancel, retry"},
        {"holdfast job lst", "usage.verb", "holdfast job list"},
        {"holdfast job xyzzy", "usage.verb", "there are list,"},
        {"holdfast backup orders-pg", "usage.verb", "holdfast run orders-pg"},
        {"holdfast status --watchh", "usage.flag", "--watch"},
        {"holdfast status --xyzzy", "usage.flag", "holdfast help"},
        {"holdfast status --to x", "usage.flag", "--to does not go with 'holdfast status'"},
        {"holdfast status --watch=1", "usage.flag", "takes no value"},
        {"holdfast restore a --to", "usage.flag", "--to needs a TARGET"},
        {"holdfast job list -o xml", "usage.output", "wide, json, ndjson, csv or name"},
        {"holdfast job show jb_1 -o csv", "usage.output", "table or json"},
        {"holdfast job list -o json,csv", "usage.output", "csv or name"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Args args;
        Err err;
        if (parse(&args, rows[i].line, &err))
            fail_msg("'%s' was taken", rows[i].line);
        assert_string_equal(err.cause, rows[i].cause);
        assert_int_equal(err_exit_code(err.code), 2);
        if (strstr(err.text, rows[i].words) == NULL)
            fail_msg("'%s' says: %s", rows[i].line, err.text);
    }
}

static void more_words_than_there_is_room_for_are_refused(void **state)
{
    Args args;
    Err err;
    char line[400] = "holdfast run";
    (void)state;
    for (int i = 0; i < ARGS_MOST; i++)
        strcat(line, " a");
    assert_false(parse(&args, line, &err));
    assert_string_equal(err.cause, "usage.many");
}

static void help_is_asked_for_anywhere(void **state)
{
    static const struct {
        const char *line;
        Verb verb;
        const char *about;
    } rows[] = {
        {"holdfast --help", VERB_help, NULL},
        {"holdfast -h", VERB_help, NULL},
        {"holdfast job --help", VERB_help, "job"},
        {"holdfast job lst --help", VERB_help, "job"},
        {"holdfast -h job list", VERB_job_list, NULL},
        {"holdfast run a --to x -h", VERB_run, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Args args;
        Err err;
        assert_true(parse(&args, rows[i].line, &err));
        assert_true(args.help);
        assert_int_equal(args.verb, rows[i].verb);
        assert_int_equal(args.help_words.count, rows[i].about != NULL);
        if (rows[i].about != NULL)
            assert_string_equal(args.help_words.at[0], rows[i].about);
    }
}

static void assert_fits(const Buf *page)
{
    for (size_t at = 0; at < page->len;) {
        const uint8_t *end = memchr(page->at + at, '\n', page->len - at);
        assert_non_null(end); /* the last line ends, too */
        size_t len = (size_t)(end - page->at) - at;
        if (len > 80)
            fail_msg("%zu columns: %.*s", len, (int)len, (char *)page->at + at);
        at += len + 1;
    }
}

static void every_page_of_help_fits_eighty_columns(void **state)
{
    scoped(buf_free) Buf page = {0};
    (void)state;
    args_help(&page);
    assert_fits(&page);
    for (Verb verb = 0; verb < VERB_COUNT; verb++) {
        char noun[32];
        buf_clear(&page);
        args_help_verb(&page, verb);
        assert_fits(&page);
        assert_non_null(strstr(buf_cstr(&page), args_words(verb)));
        snprintf(noun, sizeof noun, "%.*s", (int)strcspn(args_words(verb), " "), args_words(verb));
        buf_clear(&page);
        assert_int_equal(args_help_noun(&page, noun), strchr(args_words(verb), ' ') != NULL);
        assert_fits(&page);
    }
}

/* flags.def names verbs by symbol: a wrong one would quietly take a flag from everybody. */
static void every_flag_goes_with_a_verb(void **state)
{
    ArgsFlag flag;
    (void)state;
    for (size_t n = 0; args_flag_of(n, VERB_help, &flag); n++) {
        bool fits = false;
        for (Verb verb = 0; verb < VERB_COUNT; verb++) {
            assert_true(args_flag_of(n, verb, &flag));
            fits = fits || flag.fits;
        }
        if (!fits)
            fail_msg("%s goes with no verb", flag.flag);
    }
}

static void the_table_as_json_is_whole(void **state)
{
    json_t *table = args_json();
    (void)state;
    assert_int_equal(json_array_size(json_object_get(table, "verbs")), VERB_COUNT);
    json_decref(table);
}

static void a_completion_names_every_verb_and_its_flags(void **state)
{
    static const char *const shells[] = {"bash", "zsh", "fish"};
    (void)state;
    for (size_t s = 0; s < sizeof shells / sizeof *shells; s++) {
        Err err = {0};
        scoped(buf_free) Buf script = {0};
        assert_true(args_completion(&script, text_of(shells[s]), &err));
        for (Verb verb = 0; verb < VERB_COUNT; verb++) {
            const char *blank = strchr(args_words(verb), ' ');
            assert_non_null(
                strstr(buf_cstr(&script), blank == NULL ? args_words(verb) : blank + 1));
        }
        assert_non_null(strstr(buf_cstr(&script), s == 2 ? "-l in-place" : "--in-place"));
    }
    Err err = {0};
    scoped(buf_free) Buf none = {0};
    assert_false(args_completion(&none, TEXT("csh"), &err));
    assert_string_equal(err.cause, "usage.shell");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_and_flags_are_understood_in_any_order),
        cmocka_unit_test(a_mistake_is_named_with_what_would_have_worked),
        cmocka_unit_test(more_words_than_there_is_room_for_are_refused),
        cmocka_unit_test(help_is_asked_for_anywhere),
        cmocka_unit_test(every_page_of_help_fits_eighty_columns),
        cmocka_unit_test(every_flag_goes_with_a_verb),
        cmocka_unit_test(the_table_as_json_is_whole),
        cmocka_unit_test(a_completion_names_every_verb_and_its_flags),
    };
    return cmocka_run_group_tests_name("ctl/args", tests, NULL, NULL);
}
