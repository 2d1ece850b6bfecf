/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/fleet_bundle.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define FILE_OF(name) "{\"files\":[{\"name\":\"" name "\",\"text\":\"\"}]}"

static bool reads(Text text)
{
    FleetBundle bundle;
    Err err = {0};
    bool read = fleet_bundle_read(text, &bundle, &err);
    if (!read)
        assert_string_equal(err.cause, "policy.bundle");
    fleet_bundle_free(&bundle);
    return read;
}

static void files_keep_their_order_names_and_every_byte(void **state)
{
    (void)state;
    FleetBundle bundle;
    Err err = {0};
    assert_true(fleet_bundle_read(TEXT("{\"files\":[{\"name\":\"z.yaml\",\"text\":\"a\\nb\"},"
                                       "{\"text\":\"\\u0000x\",\"name\":\"d/\\u00fc.yaml\"}]}"),
                                  &bundle, &err));
    assert_int_equal(bundle.count, 2);
    assert_string_equal(bundle.files[0].name, "z.yaml");
    assert_true(text_equal(bundle.files[0].text, TEXT("a\nb")));
    assert_string_equal(bundle.files[1].name, "d/\xc3\xbc.yaml");
    assert_int_equal(bundle.files[1].text.len, 2);
    fleet_bundle_free(&bundle);
}

static void names_that_are_no_relative_paths_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        FILE_OF(""),         FILE_OF("/etc/passwd"), FILE_OF(".."),    FILE_OF("../a"),
        FILE_OF("a/../b"),   FILE_OF("a/.."),        FILE_OF("a//b"),  FILE_OF("a/"),
        FILE_OF("./a"),      FILE_OF("a\\u0000b"),   FILE_OF("a\\nb"), FILE_OF("\\u001b[31m"),
        FILE_OF("\\u0085x"), FILE_OF("\\u007f"),
    };
    static const char *const right[] = {FILE_OF("a"), FILE_OF("..a"), FILE_OF("a/b/c.yaml"),
                                        FILE_OF(".hidden"), FILE_OF("a..b")};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (reads(text_of(wrong[i])))
            fail_msg("%s was read", wrong[i]);
    for (size_t i = 0; i < sizeof right / sizeof *right; i++)
        if (!reads(text_of(right[i])))
            fail_msg("%s was refused", right[i]);
}

static void what_is_no_bundle_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "version: 1",
        "[]",
        "{}",
        "{\"files\":[]}",
        "{\"files\":{}}",
        "{\"files\":[1]}",
        "{\"files\":[{\"name\":\"a\"}]}",
        "{\"files\":[{\"name\":\"a\",\"text\":1}]}",
        "{\"files\":[{\"name\":\"a\",\"text\":\"\",\"mode\":1}]}",
        "{\"files\":[{\"name\":\"a\",\"text\":\"\"}],\"more\":1}",
        "{\"files\":[{\"name\":\"a\",\"text\":\"\"},{\"name\":\"a\",\"text\":\"\"}]}",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (reads(text_of(wrong[i])))
            fail_msg("%s was read", wrong[i]);
}

static void there_is_an_end_to_names_and_files(void **state)
{
    (void)state;
    for (int more = 0; more < 2; more++) {
        scoped(buf_free) Buf name = {0};
        scoped(buf_free) Buf files = {0};
        buf_printf(&name, "{\"files\":[{\"text\":\"\",\"name\":\"%0*d\"}]}",
                   FLEET_BUNDLE_NAME + more, 1);
        assert_int_equal(reads(buf_text(&name)), more == 0);
        buf_printf(&files, "{\"files\":[");
        for (int i = 0; i < FLEET_BUNDLE_FILES + more; i++)
            buf_printf(&files, "%s{\"text\":\"\",\"name\":\"f%d\"}", i == 0 ? "" : ",", i);
        buf_printf(&files, "]}");
        assert_int_equal(reads(buf_text(&files)), more == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_keep_their_order_names_and_every_byte),
        cmocka_unit_test(names_that_are_no_relative_paths_are_refused),
        cmocka_unit_test(what_is_no_bundle_is_refused),
        cmocka_unit_test(there_is_an_end_to_names_and_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
