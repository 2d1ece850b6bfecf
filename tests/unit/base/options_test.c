/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/options.h"

#include "common/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct Settings {
    char *name;
    uint32_t slots;
    int64_t lease;
    uint64_t memory;
    bool plain;
    json_t *redis_password;
    json_t *tags;
    char *log_level;
} Settings;

static const OptionsRow rows[] = {
    OPTIONS_ROW(Settings, text, name, "", "name of this worker; the host's when empty")
        OPTIONS_ROW(Settings, u32, slots, "4",
                    "how many jobs run at once, which is a sentence that is "
                    "so long that it does not fit into one line")
            OPTIONS_ROW(Settings, duration, lease, "30s", "how long a lease lasts")
                OPTIONS_ROW(Settings, size, memory, "96MiB", "buffers of one job")
                    OPTIONS_ROW(Settings, flag, plain, "false", "allow plain copies")
                        OPTIONS_ROW(Settings, secret, redis_password, "", "the password of Redis")
                            OPTIONS_ROW(Settings, tree, tags, "", "labels that pools select by")
                                OPTIONS_ROW(Settings, text, log_level, "info",
                                            "debug, info, warn or error")};

static const YamlField tag = {.type = YAML_TEXT};
static const YamlField tags_field = {.type = YAML_MAP_OF, .fields = &tag};
static const OptionsTree trees[] = {{"tags", &tags_field}};

static const OptionsSpec spec = {
    .program = "holdfast-worker",
    .usage = "[OPTION]... [once|key|repo VERB]",
    .about = "Takes jobs from its pools and runs each in a process of its own.",
    .config = "/nonexistent/worker.yaml",
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
    .trees = trees,
    .tree_count = 1,
};

static char file_path[] = "/tmp/hf-options.XXXXXX";

static void write_file(const char *text)
{
    FILE *file = fopen(file_path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* Words up to NULL; the last call's settings stay in `got`. */
static Settings got;
static OptionsEnd end;

static bool reads(Err *err, const char *first, ...)
{
    char *argv[16] = {(char[]){"holdfast-worker"}};
    int argc = 1;
    va_list args;
    va_start(args, first);
    for (const char *word = first; word != NULL; word = va_arg(args, const char *))
        argv[argc++] = mem_string(word);
    va_end(args);
    options_free(&spec, &got, &end);
    got = (Settings){0};
    bool done = options_read(&spec, argc, argv, &got, &end, err);
    /* Flags point into argv only while options_read runs. */
    for (int i = 1; i < argc; i++)
        mem_free(argv[i]);
    return done;
}

static void defaults_stand_when_nothing_is_said(void **state)
{
    (void)state;
    Err err = {0};
    assert_true(reads(&err, NULL));
    assert_string_equal(got.name, "");
    assert_int_equal(got.slots, 4);
    assert_int_equal(got.lease, 30000);
    assert_int_equal(got.memory, 96 << 20);
    assert_false(got.plain);
    assert_null(got.redis_password);
    assert_null(got.tags);
    assert_string_equal(got.log_level, "info");
    assert_int_equal(end.rest, 1);
    assert_null(end.config);
}

static void a_flag_wins_over_the_environment_and_that_over_the_file(void **state)
{
    (void)state;
    Err err = {0};
    write_file("slots: 2\nname: filed\nmemory: 1GiB\nlog: {level: debug}\ntags: {site: fra}\n"
               "redis_password: {credential: redis}\n");
    setenv("HOLDFAST_SLOTS", "3", 1);
    setenv("HOLDFAST_MEMORY", "2GiB", 1);
    assert_true(reads(&err, "--config", file_path, "--slots=7", "--plain", "once", "--list", NULL));
    assert_int_equal(got.slots, 7);
    assert_int_equal(got.memory, 2ull << 30);
    assert_string_equal(got.name, "filed");
    assert_string_equal(got.log_level, "debug");
    assert_true(got.plain);
    assert_string_equal(json_string_value(json_object_get(got.tags, "site")), "fra");
    assert_string_equal(json_string_value(json_object_get(got.redis_password, "credential")),
                        "redis");
    assert_int_equal(end.rest, 5);
    assert_string_equal(end.config, file_path);
    unsetenv("HOLDFAST_SLOTS");
    unsetenv("HOLDFAST_MEMORY");
}

static void a_variable_may_name_a_file_that_holds_the_value(void **state)
{
    (void)state;
    Err err = {0};
    write_file("fra-w1\n");
    setenv("HOLDFAST_NAME_FILE", file_path, 1);
    setenv("HOLDFAST_REDIS_PASSWORD_FILE", "/run/secrets/redis", 1);
    assert_true(reads(&err, NULL));
    assert_string_equal(got.name, "fra-w1");
    assert_string_equal(json_string_value(json_object_get(got.redis_password, "file")),
                        "/run/secrets/redis");
    setenv("HOLDFAST_NAME", "other", 1);
    assert_false(reads(&err, NULL));
    assert_string_equal(err.cause, "options.twice");
    unsetenv("HOLDFAST_NAME");
    setenv("HOLDFAST_NAME_FILE", "/nonexistent/name", 1);
    assert_false(reads(&err, NULL));
    assert_string_equal(err.cause, "options.file");
    unsetenv("HOLDFAST_NAME_FILE");
    unsetenv("HOLDFAST_REDIS_PASSWORD_FILE");
}

static void a_secret_is_a_reference_and_never_the_secret(void **state)
{
    (void)state;
    Err err = {0};
    assert_true(reads(&err, "--redis-password", "file:/etc/redis.pw", NULL));
    assert_string_equal(json_string_value(json_object_get(got.redis_password, "file")),
                        "/etc/redis.pw");
    setenv("HOLDFAST_REDIS_PASSWORD", "hunter2", 1);
    assert_true(reads(&err, NULL));
    assert_string_equal(json_string_value(json_object_get(got.redis_password, "env")),
                        "HOLDFAST_REDIS_PASSWORD");
    unsetenv("HOLDFAST_REDIS_PASSWORD");
    assert_false(reads(&err, "--redis-password", "hunter2", NULL));
    assert_int_equal(err.code, ERR_INVALID);
}

static void wrong_words_are_refused_with_the_nearest_right_one(void **state)
{
    (void)state;
    Err err = {0};
    assert_false(reads(&err, "--slotts", "3", NULL));
    assert_int_equal(err.code, ERR_USAGE);
    assert_non_null(strstr(err.text, "did you mean --slots?"));
    assert_false(reads(&err, "-x", NULL));
    assert_false(reads(&err, "--slots", NULL));
    assert_non_null(strstr(err.text, "needs a value"));
    assert_false(reads(&err, "--no-slots", NULL));
    assert_false(reads(&err, "--slots", "many", NULL));
    assert_int_equal(err.code, ERR_INVALID);
    assert_false(reads(&err, "--slots", "4294967296", NULL));
    assert_false(reads(&err, "--config", "/nonexistent/other.yaml", NULL));
    assert_int_equal(err.code, ERR_MISSING);
}

static void every_problem_of_the_file_counts(void **state)
{
    (void)state;
    Err err = {0};
    write_file("slots: many\nslotts: 3\nlog: {levle: info}\ntags: {a: [b]}\n");
    assert_false(reads(&err, "--config", file_path, NULL));
    assert_int_equal(err.code, ERR_INVALID);
    assert_non_null(strstr(err.text, "4 errors"));
    write_file("[not, a, map]\n");
    assert_false(reads(&err, "--config", file_path, NULL));
    write_file("a: [\n");
    assert_false(reads(&err, "--config", file_path, NULL));
}

static void words_after_two_dashes_are_left_alone(void **state)
{
    (void)state;
    Err err = {0};
    assert_true(reads(&err, "--no-plain", "--", "--slots", NULL));
    assert_int_equal(end.rest, 3);
}

static void help_fits_eighty_columns_and_names_every_option(void **state)
{
    (void)state;
    Buf out = {0};
    options_help(&spec, &out);
    const char *text = buf_cstr(&out);
    for (const char *line = text; *line != 0;) {
        size_t len = strcspn(line, "\n");
        assert_in_range(len, 0, 80);
        line += len + 1;
    }
    assert_non_null(strstr(
        text, "  --slots N                   how many jobs run at once, which is a sentence"));
    assert_non_null(strstr(text, "  --redis-password REF "));
    assert_non_null(strstr(text, "  --[no-]plain "));
    assert_non_null(strstr(text, "[96MiB]"));
    buf_free(&out);
    options_markdown(&spec, &out);
    assert_non_null(strstr(buf_cstr(&out),
                           "| `redis_password` | `--redis-password` | "
                           "`HOLDFAST_REDIS_PASSWORD` |  | the password of Redis |"));
    buf_free(&out);
}

static int teardown(void **state)
{
    (void)state;
    options_free(&spec, &got, &end);
    unlink(file_path);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    int fd = mkstemp(file_path);
    return fd < 0 ? -1 : close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_stand_when_nothing_is_said),
        cmocka_unit_test(a_flag_wins_over_the_environment_and_that_over_the_file),
        cmocka_unit_test(a_variable_may_name_a_file_that_holds_the_value),
        cmocka_unit_test(a_secret_is_a_reference_and_never_the_secret),
        cmocka_unit_test(wrong_words_are_refused_with_the_nearest_right_one),
        cmocka_unit_test(every_problem_of_the_file_counts),
        cmocka_unit_test(words_after_two_dashes_are_left_alone),
        cmocka_unit_test(help_fits_eighty_columns_and_names_every_option),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
