/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/bundle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char home[] = "/tmp/hf-bundle.XXXXXX";

static void write_file(const char *name, const char *text, size_t len)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", home, name);
    FILE *file = fopen(path, "wbe");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    fclose(file);
}

static const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", home, name);
    return path;
}

static bool is_there(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

static bool writes(const char *name, const char *directory, Err *err)
{
    json_t *files = json_pack("[{s:s, s:s}, {s:s, s:s}]", "name", "first.yaml", "text", "1", "name",
                              name, "text", "x");
    bool done = bundle_write(files, directory, err);
    json_decref(files);
    return done;
}

static void a_file_goes_with_what_it_includes(void **state)
{
    (void)state;
    Bundle bundle;
    Err err = {0};
    mkdir(path_of("d"), 0755);
    write_file("fleet.yaml", "include: [d/*.yaml]\n", 20);
    write_file("d/web.yaml", "", 0);
    assert_true(bundle_read(path_of("fleet.yaml"), &bundle, &err));
    assert_string_equal(bundle.directory, home);
    assert_string_equal(buf_cstr(&bundle.body),
                        "{\"files\":[{\"name\":\"fleet.yaml\",\"text\":\"include: [d/*.yaml]\\n\"},"
                        "{\"name\":\"d/web.yaml\",\"text\":\"\"}]}");
    bundle_free(&bundle);
}

static void what_is_no_text_is_refused_by_name(void **state)
{
    (void)state;
    Bundle bundle;
    Err err = {0};
    write_file("latin.yaml", "a: \xe9\n", 5);
    assert_false(bundle_read(path_of("latin.yaml"), &bundle, &err));
    assert_string_equal(err.cause, "policy.text");
    assert_non_null(strstr(err.text, "latin.yaml"));
    bundle_free(&bundle);
}

static void files_are_written_below_a_new_directory(void **state)
{
    (void)state;
    Err err = {0};
    char out[256];
    snprintf(out, sizeof out, "%s", path_of("out"));
    assert_true(writes("a/b/c.yaml", out, &err));
    assert_true(is_there("out/first.yaml") && is_there("out/a/b/c.yaml"));
    assert_false(writes("a/b/c.yaml", out, &err));
    assert_string_equal(err.cause, "policy.directory");
}

static void nothing_is_written_outside_whatever_the_server_names(void **state)
{
    (void)state;
    static const char *const names[] = {
        "../stolen", "a/../../stolen", "/tmp/hf-bundle-stolen", "..", ".", "", "a//stolen", "a/"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        Err err = {0};
        char out[256];
        snprintf(out, sizeof out, "%s/out%zu", home, i);
        if (writes(names[i], out, &err))
            fail_msg("'%s' was written", names[i]);
        assert_int_equal(err.code, ERR_CORRUPT);
    }
    assert_false(is_there("stolen"));
    assert_int_not_equal(access("/tmp/hf-bundle-stolen", F_OK), 0);
}

static int make_home(void **state)
{
    (void)state;
    return mkdtemp(home) == NULL;
}

static int remove_home(void **state)
{
    char command[64];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", home);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_goes_with_what_it_includes),
        cmocka_unit_test(what_is_no_text_is_refused_by_name),
        cmocka_unit_test(files_are_written_below_a_new_directory),
        cmocka_unit_test(nothing_is_written_outside_whatever_the_server_names),
    };
    return cmocka_run_group_tests(tests, make_home, remove_home);
}
