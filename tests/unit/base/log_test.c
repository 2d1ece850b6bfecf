/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/log.h"

#include "common/base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static int ends[2];
static char line[4096];

/* The next line without its time. */
static const char *written(void)
{
    ssize_t got = read(ends[0], line, sizeof line - 1);
    assert_true(got > 0);
    line[got] = 0;
    return strchr(line, ' ') + 1;
}

static void a_line_is_level_event_context_and_fields(void **state)
{
    (void)state;
    log_open(LOG_INFO, LOG_LOGFMT, ends[1]);
    log_info("job.done", "bytes=%d", 12);
    assert_string_equal(written(), "info job.done bytes=12\n");
    log_context("job=jb_0000012");
    log_warn("job.slow", "%s", "");
    assert_string_equal(written(), "warn job.slow job=jb_0000012\n");
    log_context(NULL);
    log_debug("not.shown", "a=%d", 1);
    log_error("shown", "a=%d", 1);
    assert_string_equal(written(), "error shown a=1\n");
}

static void what_came_from_outside_cannot_make_a_second_line_or_field(void **state)
{
    (void)state;
    char out[LOG_QUOTED];
    assert_string_equal(log_quote(TEXT("plain"), out), "plain");
    assert_string_equal(log_quote(TEXT(""), out), "\"\"");
    assert_string_equal(log_quote(TEXT("a b=c\n\"d\"\\"), out), "\"a b=c\\x0a\\\"d\\\"\\\\\"");
    char large[2000];
    memset(large, '\n', sizeof large);
    assert_in_range(strlen(log_quote((Text){large, sizeof large}, out)), 400, LOG_QUOTED - 1);
}

static void a_failure_is_told_whole_and_weighed_by_its_code(void **state)
{
    (void)state;
    Err err = {0};
    log_open(LOG_INFO, LOG_LOGFMT, ends[1]);
    err_set(&err, ERR_UNREACHABLE, "redis.down", "no answer");
    log_err("queue.lost", &err);
    assert_non_null(strstr(written(), "warn queue.lost code=unreachable cause=redis.down "
                                      "error=\"no answer\" at="));
    err_set(&err, ERR_CORRUPT, "pack.tag", "bad");
    log_err("verify.failed", &err);
    assert_memory_equal(written(), "error ", 6);
}

static void json_lines_are_objects_with_the_same_fields(void **state)
{
    (void)state;
    Err err = {0};
    char out[LOG_QUOTED];
    log_open(LOG_INFO, LOG_JSON, ends[1]);
    log_context("job=jb_1");
    log_info("job.done", "bytes=%d path=%s", 12, log_quote(TEXT("a \"b\"\xff"), out));
    log_context(NULL);
    written();
    scoped(json_release) json_t *object = NULL;
    assert_true(json_parse(text_of(line), &object, &err));
    assert_string_equal(json_string_value(json_object_get(object, "event")), "job.done");
    assert_string_equal(json_string_value(json_object_get(object, "job")), "jb_1");
    assert_string_equal(json_string_value(json_object_get(object, "bytes")), "12");
    assert_non_null(json_object_get(object, "path"));
    log_open(LOG_INFO, LOG_LOGFMT, STDERR_FILENO);
}

static void words_of_level_and_format_are_read(void **state)
{
    (void)state;
    Err err = {0};
    LogLevel level;
    LogFormat format;
    assert_true(log_level_of(TEXT("warn"), &level, &err) && level == LOG_WARN);
    assert_true(log_format_of(TEXT("json"), &format, &err) && format == LOG_JSON);
    assert_true(log_format_of(TEXT("logfmt"), &format, &err) && format == LOG_LOGFMT);
    assert_false(log_level_of(TEXT("loud"), &level, &err));
    assert_false(log_format_of(TEXT("xml"), &format, &err));
    assert_int_equal(err.code, ERR_USAGE);
}

static int setup(void **state)
{
    (void)state;
    return pipe(ends);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_level_event_context_and_fields),
        cmocka_unit_test(what_came_from_outside_cannot_make_a_second_line_or_field),
        cmocka_unit_test(a_failure_is_told_whole_and_weighed_by_its_code),
        cmocka_unit_test(json_lines_are_objects_with_the_same_fields),
        cmocka_unit_test(words_of_level_and_format_are_read),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
