/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/allow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static Allow *parsed(const char *json)
{
    json_t *tree = json_loads(json, 0, NULL);
    Allow *allow = NULL;
    Err err = {0};
    assert_non_null(tree);
    if (!allow_parse(tree, &allow, &err))
        fail_msg("%s", err.text);
    json_decref(tree);
    return allow;
}

#define YES(call)                                                                                  \
    do {                                                                                           \
        Err err = {0};                                                                             \
        if (!(call))                                                                               \
            fail_msg("%s: %s", #call, err.text);                                                   \
    } while (0)
#define NO(call)                                                                                   \
    do {                                                                                           \
        Err err = {0};                                                                             \
        if (call)                                                                                  \
            fail_msg("allowed: %s", #call);                                                        \
        assert_string_equal(err.cause, "not-allowed-here");                                        \
        assert_int_equal(err.code, ERR_DENIED);                                                    \
    } while (0)

static void what_is_not_limited_is_allowed_and_what_is_dangerous_is_not(void **state)
{
    (void)state;
    Allow *allow = parsed("{}");
    YES(allow_key_set(allow, TEXT("any"), &err));
    YES(allow_store(allow, TEXT("any"), &err));
    YES(allow_read_path(allow, "/srv", &err));
    YES(allow_read_server(allow, TEXT("db1"), &err));
    YES(allow_restore_path(allow, ALLOW_RESTORE_DEFAULT "/x", &err));
    NO(allow_restore_path(allow, "/etc", &err));
    NO(allow_restore_server(allow, TEXT("db1"), &err));
    NO(allow_restore_file(allow, "/srv/dumps/x.sql", &err));
    NO(allow_restore_with(allow, TEXT("setuid"), &err));
    NO(allow_hook(allow, TEXT("anything"), &err));
    NO(allow_plain(allow, &err));
    assert_int_equal(allow_prune_packs(allow), 0);
    assert_null(allow_stores(allow));
    allow_free(allow);
}

static void lists_limit_by_name(void **state)
{
    (void)state;
    Allow *allow = parsed("{\"key_sets\":[\"k1\"],\"stores\":[],\"hooks\":[\"h\"],"
                          "\"read\":{\"servers\":[\"DB1\"]},\"restore\":{\"servers\":[\"s1\"],"
                          "\"files\":[\"/srv/dumps\"]},"
                          "\"allow_plain\":true,\"prune_packs\":10}");
    YES(allow_key_set(allow, TEXT("k1"), &err));
    NO(allow_key_set(allow, TEXT("k"), &err));
    NO(allow_key_set(allow, TEXT("k12"), &err));
    NO(allow_store(allow, TEXT("any"), &err));
    YES(allow_hook(allow, TEXT("h"), &err));
    NO(allow_hook(allow, TEXT("../h"), &err));
    YES(allow_read_server(allow, TEXT("db1"), &err));
    NO(allow_read_server(allow, TEXT("db2"), &err));
    YES(allow_restore_server(allow, TEXT("s1"), &err));
    YES(allow_restore_file(allow, "/srv/dumps/x.sql", &err));
    NO(allow_restore_file(allow, "/srv/dumps2/x.sql", &err));
    NO(allow_restore_path(allow, "/srv/dumps/x.sql", &err));
    YES(allow_plain(allow, &err));
    assert_int_equal(allow_prune_packs(allow), 10);
    allow_free(allow);
}

static void paths_are_judged_where_they_lead(void **state)
{
    char root[] = "/tmp/hf-allow.XXXXXX";
    char path[256], json[256];
    (void)state;
    assert_non_null(mkdtemp(root));
    snprintf(json, sizeof json, "{\"restore\":{\"paths\":[\"%s/in/\"]}}", root);
    Allow *allow = parsed(json);
    snprintf(path, sizeof path, "%s/in", root);
    assert_int_equal(mkdir(path, 0700), 0);
    YES(allow_restore_path(allow, path, &err));
    snprintf(path, sizeof path, "%s/in/new/deep", root);
    YES(allow_restore_path(allow, path, &err));
    snprintf(path, sizeof path, "%s/inside", root);
    NO(allow_restore_path(allow, path, &err));
    snprintf(path, sizeof path, "%s/in/../out", root);
    NO(allow_restore_path(allow, path, &err));
    NO(allow_restore_path(allow, root, &err));
    NO(allow_restore_path(allow, "in", &err));
    NO(allow_restore_path(allow, "", &err));
    NO(allow_restore_path(allow, "/", &err));
    snprintf(path, sizeof path, "%s/in/link", root);
    assert_int_equal(symlink("/etc", path), 0);
    NO(allow_restore_path(allow, path, &err));
    snprintf(path, sizeof path, "%s/in/link/new", root);
    NO(allow_restore_path(allow, path, &err));
    snprintf(path, sizeof path, "%s/in/link", root);
    unlink(path);
    snprintf(path, sizeof path, "%s/in", root);
    rmdir(path);
    rmdir(root);
    allow_free(allow);
}

static void a_mistake_in_the_file_is_named(void **state)
{
    static const char *const wrong[] = {
        "[]",
        "{\"store\":[]}",
        "{\"stores\":\"nas\"}",
        "{\"stores\":[1]}",
        "{\"hooks\":[\"\"]}",
        "{\"read\":{\"files\":[\"/srv\"]}}",
        "{\"restore\":{\"files\":[\"srv\"]}}",
        "{\"read\":{\"path\":[]}}",
        "{\"read\":{\"paths\":[\"srv\"]}}",
        "{\"allow_plain\":\"yes\"}",
        "{\"prune_packs\":-1}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        json_t *tree = json_loads(wrong[i], 0, NULL);
        Allow *allow = NULL;
        Err err = {0};
        if (allow_parse(tree, &allow, &err))
            fail_msg("accepted: %s", wrong[i]);
        assert_string_equal(err.cause, "options.allow");
        json_decref(tree);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_limited_is_allowed_and_what_is_dangerous_is_not),
        cmocka_unit_test(lists_limit_by_name),
        cmocka_unit_test(paths_are_judged_where_they_lead),
        cmocka_unit_test(a_mistake_in_the_file_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
