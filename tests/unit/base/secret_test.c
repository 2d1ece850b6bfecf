/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/secret.h"

#include "common/base/json.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/hf-secret.XXXXXX";
static char path[64];

static void put(const char *name, const char *text, mode_t mode)
{
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static bool resolves(const char *json, const SecretScope *scope, const char *wanted, Err *err)
{
    scoped(json_release) json_t *reference = NULL;
    scoped(secret_release) Secret *secret = NULL;
    assert_true(json_parse(text_of(json), &reference, err));
    if (!secret_resolve(reference, scope, &secret, err))
        return false;
    assert_true(slice_equal(secret_slice(secret), slice_of_text(text_of(wanted))));
    return true;
}

static void a_file_gives_its_content_without_one_newline(void **state)
{
    (void)state;
    Err err = {0};
    Secret *secret = NULL;
    put("a", "pass word\n\n", 0600);
    assert_true(secret_read_file(path, &secret, &err));
    assert_true(slice_equal(secret_slice(secret), slice_of_text(TEXT("pass word\n"))));
    secret_free(secret);
    put("b", "", 0400);
    assert_true(secret_read_file(path, &secret, &err));
    assert_int_equal(secret_slice(secret).len, 0);
    secret_free(secret);
    put("c", "key\n", 0400);
    assert_true(secret_read_bytes(path, &secret, &err));
    assert_true(slice_equal(secret_slice(secret), slice_of_text(TEXT("key\n"))));
    secret_free(secret);
    secret_free(NULL);
}

static void a_file_that_others_may_read_is_refused_with_the_command_that_helps(void **state)
{
    (void)state;
    Err err = {0};
    Secret *secret = NULL;
    put("a", "x", 0604);
    assert_false(secret_read_file(path, &secret, &err));
    assert_string_equal(err.cause, "secret.readable");
    assert_non_null(strstr(err.text, "chmod 600"));
    assert_null(secret);
    assert_false(secret_read_file("/nonexistent/secret", &secret, &err));
    assert_int_equal(err.code, ERR_MISSING);
    assert_false(secret_read_file(folder, &secret, &err));
}

static void a_file_over_one_mebibyte_is_refused(void **state)
{
    (void)state;
    Err err = {0};
    Secret *secret = NULL;
    put("a", "", 0600);
    assert_int_equal(truncate(path, (1 << 20) + 1), 0);
    assert_false(secret_read_file(path, &secret, &err));
    assert_string_equal(err.cause, "secret.large");
    assert_int_equal(truncate(path, 1 << 20), 0);
    assert_true(secret_read_file(path, &secret, &err));
    assert_int_equal(secret_slice(secret).len, 1 << 20);
    secret_free(secret);
}

static void a_credential_is_looked_for_in_its_places_in_order(void **state)
{
    (void)state;
    Err err = {0};
    SecretScope scope = {.credentials = folder};
    put("db", "of the folder", 0600);
    assert_true(resolves("{\"credential\":\"db\"}", &scope, "of the folder", &err));
    put("hf_db", "of systemd", 0600);
    setenv("CREDENTIALS_DIRECTORY", folder, 1);
    assert_true(resolves("{\"credential\":\"db\"}", &scope, "of systemd", &err));
    unsetenv("CREDENTIALS_DIRECTORY");
    assert_false(resolves("{\"credential\":\"none-such\"}", &scope, "", &err));
    assert_string_equal(err.cause, "no-credential");
    assert_false(resolves("{\"credential\":\"../db\"}", &scope, "", &err));
    assert_string_equal(err.cause, "no-credential");
}

static void a_file_outside_the_allowed_folders_is_refused(void **state)
{
    (void)state;
    Err err = {0};
    char json[128];
    const char *below[] = {NULL, folder};
    SecretScope scope = {.below = below, .below_count = 2};
    put("a", "inside", 0600);
    snprintf(json, sizeof json, "{\"file\":\"%s\"}", path);
    assert_true(resolves(json, &scope, "inside", &err));
    snprintf(json, sizeof json, "{\"file\":\"%s/../../etc/passwd\"}", folder);
    assert_false(resolves(json, &scope, "", &err));
    assert_string_equal(err.cause, "not-allowed-here");
    snprintf(path, sizeof path, "%s/link", folder);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    snprintf(json, sizeof json, "{\"file\":\"%s\"}", path);
    assert_false(resolves(json, &scope, "", &err));
    assert_string_equal(err.cause, "not-allowed-here");
    unlink(path);
}

static void the_environment_is_only_for_a_daemons_own_file(void **state)
{
    (void)state;
    Err err = {0};
    SecretScope daemon = {.daemon = true};
    SecretScope policy = {0};
    setenv("HF_TEST_SECRET", "of the environment", 1);
    assert_true(resolves("{\"env\":\"HF_TEST_SECRET\"}", &daemon, "of the environment", &err));
    assert_false(resolves("{\"env\":\"HF_TEST_SECRET\"}", &policy, "", &err));
    assert_string_equal(err.cause, "secret.reference");
    unsetenv("HF_TEST_SECRET");
    assert_false(resolves("{\"env\":\"HF_TEST_SECRET\"}", &daemon, "", &err));
    assert_string_equal(err.cause, "no-credential");
    assert_false(resolves("{}", &daemon, "", &err));
    assert_false(resolves("{\"env\":\"A\",\"file\":\"/b\"}", &daemon, "", &err));
}

static int setup(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"a", "b", "c", "db", "hf_db", "link"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_gives_its_content_without_one_newline),
        cmocka_unit_test(a_file_that_others_may_read_is_refused_with_the_command_that_helps),
        cmocka_unit_test(a_file_over_one_mebibyte_is_refused),
        cmocka_unit_test(a_credential_is_looked_for_in_its_places_in_order),
        cmocka_unit_test(a_file_outside_the_allowed_folders_is_refused),
        cmocka_unit_test(the_environment_is_only_for_a_daemons_own_file),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
