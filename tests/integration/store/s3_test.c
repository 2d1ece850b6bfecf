/* SPDX-License-Identifier: Apache-2.0
 * The S3 store and a strict server: what its bad moments cost, and what is refused by name. */
#include "common/store/s3_keys.h"
#include "tests/integration/store/s3_check.h"

enum { PUTS = 12 };

/* --- bad moments ---------------------------------------------------------------------------- */

static void each_request_survives_a_bad_moment(void **state)
{
    (void)state;
    static const char *const kinds[] = {
        "\"kind\": \"error\", \"status\": 500, \"code\": \"InternalError\"",
        "\"kind\": \"error\", \"status\": 503, \"code\": \"SlowDown\"",
        "\"kind\": \"error\", \"status\": 429, \"code\": \"TooManyRequests\"",
        "\"kind\": \"error\", \"status\": 400, \"code\": \"RequestTimeout\"",
        "\"kind\": \"error\", \"status\": 409, \"code\": \"ConditionalRequestConflict\"",
        "\"kind\": \"reset\"",
        "\"kind\": \"reset_after\"",
        "\"kind\": \"after\", \"status\": 500",
        "\"kind\": \"swallow\"",
    };
    static const char *const ops[] = {"PutObject",   "GetObject",     "HeadObject",
                                      "ListObjects", "DeleteObject",  "CreateUpload",
                                      "UploadPart",  "CompleteUpload"};
    Store *store = open_warm();
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (size_t o = 0; o < sizeof ops / sizeof *ops; o++) {
            /* The answer to a HEAD has no body to tell what a 400 or a 409 is about. */
            if (strcmp(ops[o], "HeadObject") == 0 && strstr(kinds[k], "\"status\": 4") != NULL &&
                strstr(kinds[k], "429") == NULL)
                continue;
            char members[300], small[60], large[60];
            unsigned rows = 0;
            snprintf(members, sizeof members, "\"op\": \"%s\", \"times\": 2, %s", ops[o], kinds[k]);
            snprintf(small, sizeof small, "packs/%zu-%zu/small", k, o);
            snprintf(large, sizeof large, "packs/%zu-%zu/large", k, o);
            faults(members);
            OK(store_put(store, small, (Slice){content, 1000}, &err));
            OK(store_put(store, large, (Slice){content, LARGE}, &err));
            must_hold(store, small, 1000);
            must_hold(store, large, LARGE);
            OK(store_list(store, "packs/", count_one, &rows, &err));
            assert_int_equal(rows, 2);
            OK(store_remove(store, small, &err));
            OK(store_remove(store, large, &err));
        }
    store_close(store);
}

static void a_bad_moment_that_stays_has_a_name_and_leaves_nothing(void **state)
{
    (void)state;
    static const char *const ops[] = {"PutObject", "UploadPart", "CompleteUpload"};
    Store *store = open_warm();
    for (size_t i = 0; i < 3; i++) {
        char members[200];
        snprintf(members, sizeof members,
                 "\"op\": \"%s\", \"times\": 99, \"kind\": \"error\", \"status\": 503", ops[i]);
        faults(members);
        REFUSED("store.busy",
                store_put(store, "packs/x", (Slice){content, i == 0 ? 1000 : LARGE}, &err));
        must_lack(store, "packs/x");
    }
    store_close(store);
}

/* Success is what the object itself shows. */
static void an_answer_that_never_comes_is_no_failure(void **state)
{
    (void)state;
    static const char *const kinds[] = {"reset_after", "after"};
    Store *store = open_warm();
    for (size_t i = 0; i < 2; i++) {
        char members[200], name[40];
        snprintf(members, sizeof members, "\"op\": \"PutObject\", \"times\": 99, \"kind\": \"%s\"",
                 kinds[i]);
        snprintf(name, sizeof name, "packs/%zu/small", i);
        faults(members);
        OK(store_put(store, name, (Slice){content, 1000}, &err));
        must_hold(store, name, 1000);
        snprintf(members, sizeof members,
                 "\"op\": \"CompleteUpload\", \"times\": 99, \"kind\": \"%s\"", kinds[i]);
        snprintf(name, sizeof name, "packs/%zu/large", i);
        faults(members);
        OK(store_put(store, name, (Slice){content, LARGE}, &err));
        must_hold(store, name, LARGE);
    }
    /* Another's object is not taken for ours, though it has the same bytes. */
    faults("\"op\": \"PutObject\", \"times\": 1, \"kind\": \"after\"");
    REFUSED("store.exists", store_put(store, "packs/0/small", (Slice){content, 1000}, &err));
    REFUSED("store.exists", store_put(store, "packs/0/large", (Slice){content, LARGE}, &err));
    assert_int_equal(s3_server_uploads(server), 0);
    store_close(store);
}

static void a_refusal_that_says_200_is_a_refusal(void **state)
{
    (void)state;
    Store *store = open_warm();
    faults("\"op\": \"CompleteUpload\", \"times\": 2, \"kind\": \"error200\"");
    OK(store_put(store, "packs/1", (Slice){content, LARGE}, &err));
    must_hold(store, "packs/1", LARGE);
    faults("\"op\": \"CompleteUpload\", \"times\": 99, \"kind\": \"error200\"");
    REFUSED("store.busy", store_put(store, "packs/2", (Slice){content, LARGE}, &err));
    must_lack(store, "packs/2");
    faults("\"op\": \"CompleteUpload\", \"times\": 1, \"kind\": \"error200\", \"done\": true, "
           "\"code\": \"InternalError\"");
    OK(store_put(store, "packs/2", (Slice){content, LARGE}, &err));
    must_hold(store, "packs/2", LARGE);
    faults("\"op\": \"CreateUpload\", \"times\": 1, \"kind\": \"error200\"");
    OK(store_put(store, "packs/3", (Slice){content, LARGE}, &err));
    faults("\"op\": \"CompleteUpload\", \"times\": 1, \"kind\": \"error200\", \"code\": "
           "\"AccessDenied\"");
    REFUSED("store.denied", store_put(store, "packs/4", (Slice){content, LARGE}, &err));
    must_lack(store, "packs/4");
    store_close(store);
}

static void a_body_that_is_cut_is_read_again_or_refused(void **state)
{
    (void)state;
    bool found;
    uint8_t part[4000];
    scoped(buf_free) Buf back = {0};
    Store *store = open_warm();
    OK(store_put(store, "packs/1", (Slice){content, 100000}, &err));
    faults("\"op\": \"GetObject\", \"times\": 2, \"kind\": \"cut\"");
    must_hold(store, "packs/1", 100000);
    faults("\"op\": \"GetObject\", \"times\": 2, \"kind\": \"cut\"");
    OK(store_get_range(store, "packs/1", 5000, sizeof part, part, &err));
    assert_memory_equal(part, content + 5000, sizeof part);
    faults("\"op\": \"GetObject\", \"times\": 99, \"kind\": \"cut\"");
    REFUSED("store.unreachable", store_get(store, "packs/1", LARGE, &found, &back, &err));
    faults("\"op\": \"GetObject\", \"times\": 1, \"kind\": \"short\"");
    REFUSED("store.damaged", store_get_range(store, "packs/1", 0, sizeof part, part, &err));
    store_close(store);
}

static void a_listing_that_is_no_listing_is_refused(void **state)
{
    (void)state;
    unsigned rows = 0;
    Store *store = open_warm();
    for (unsigned i = 0; i < 7; i++) {
        char name[40];
        snprintf(name, sizeof name, "packs/%u", i);
        OK(store_put(store, name, (Slice){content, i}, &err));
    }
    s3_server_control(server, NULL, "\"page\": 2");
    OK(store_list(store, "packs/", count_one, &rows, &err));
    assert_int_equal(rows, 7);
    s3_server_control(server, NULL,
                      "\"page\": 2, \"faults\": [{\"id\": \"garbage\", \"op\": \"ListObjects\", "
                      "\"kind\": \"garbage\"}]");
    REFUSED("store.protocol", store_list(store, "packs/", count_one, &rows, &err));
    s3_server_control(server, NULL,
                      "\"page\": 2, \"faults\": [{\"id\": \"loop\", \"op\": \"ListObjects\", "
                      "\"kind\": \"loop\", \"times\": 9}]");
    REFUSED("store.protocol", store_list(store, "packs/", count_one, &rows, &err));
    store_close(store);
}

static void a_server_that_falls_silent_is_left(void **state)
{
    (void)state;
    StoreS3Params params = s3_server_params(server);
    params.idle_ms = 2500; /* a busy machine moves nothing for a while too */
    params.tries = 2;
    Store *store = open_with(&params);
    faults("\"op\": \"PutObject\", \"times\": 1, \"kind\": \"stall\", \"seconds\": 30");
    unsigned before = s3_server_logged(server, "\"PutObject\"");
    /* So much may take a minute and more: only the silence ends it sooner. */
    OK(store_replace(store, "epoch", (Slice){content, 1024 * 1024}, &err));
    /* The server notes a request when it is through with it: the silent one is not. */
    assert_int_equal(s3_server_logged(server, "\"PutObject\"") - before, 1);
    faults("\"op\": \"GetObject\", \"times\": 9, \"kind\": \"stall\", \"seconds\": 60");
    bool found;
    Err err = {0};
    scoped(buf_free) Buf back = {0};
    assert_false(store_get(store, "epoch", LARGE, &found, &back, &err));
    assert_string_equal(err.cause, "store.timeout");
    assert_non_null(
        strstr(err.text, "nothing moves any more")); /* and not the time for all of it */
    store_close(store);
}

/* --- what people must mend ------------------------------------------------------------------ */

static void a_wrong_clock_is_named_at_once(void **state)
{
    (void)state;
    Err err = {0};
    Store *store = open_warm();
    s3_server_control(server, NULL, "\"clock\": 7200");
    assert_false(store_put(store, "packs/1", (Slice){content, 10}, &err));
    assert_string_equal(err.cause, "store.clock");
    assert_non_null(strstr(err.text, "NTP"));
    assert_int_equal(s3_server_logged(server, "\"PutObject\""), 1);
    store_close(store);
}

static void no_redirect_is_followed(void **state)
{
    (void)state;
    Store *store = open_warm();
    faults("\"op\": \"PutObject\", \"times\": 9, \"kind\": \"redirect\", \"to\": "
           "\"http://elsewhere.example/x\"");
    Err err = {0};
    assert_false(store_put(store, "packs/1", (Slice){content, 10}, &err));
    assert_string_equal(err.cause, "store.redirect");
    assert_non_null(strstr(err.text, "elsewhere.example"));
    assert_int_equal(s3_server_logged(server, "\"PutObject\""), 1);
    store_close(store);
}

static void settings_that_are_wrong_are_named(void **state)
{
    (void)state;
    Store *store;
    StoreS3Params params = s3_server_params(server);
    params.region = "eu-west-1";
    REFUSED("store.region", store_s3_open(&store, &params, &err));
    params = s3_server_params(server);
    params.bucket = "others";
    REFUSED("store.missing", store_s3_open(&store, &params, &err));
    params = s3_server_params(server);
    params.prefix = "no-slash";
    REFUSED("store.prefix", store_s3_open(&store, &params, &err));
    params = s3_server_params(server);
    params.endpoint = "ftp://127.0.0.1";
    REFUSED("store.endpoint", store_s3_open(&store, &params, &err));
    params.endpoint = "http://127.0.0.1:1";
    REFUSED("store.unreachable", store_s3_open(&store, &params, &err));
    params = s3_server_params(server);
    params.secret_key = NULL;
    REFUSED("no-credential", store_s3_open(&store, &params, &err));
    params = s3_server_params(server);
    params.storage_class = "ATTIC";
    store = open_with(&params);
    REFUSED("store.unsupported", store_put(store, "packs/1", (Slice){content, 10}, &err));
    store_close(store);
}

/* --- rights, conditions, keys ---------------------------------------------------------------- */

static void rights_to_put_get_and_list_are_enough(void **state)
{
    (void)state;
    unsigned rows = 0;
    s3_server_control(server, "put,get,list", NULL);
    Store *store = open_store();
    OK(store_put(store, "packs/small", (Slice){content, 1000}, &err));
    OK(store_put(store, "packs/large", (Slice){content, LARGE}, &err));
    must_hold(store, "packs/small", 1000);
    must_hold(store, "packs/large", LARGE);
    OK(store_list(store, "packs/", count_one, &rows, &err));
    assert_int_equal(rows, 2);
    assert_int_equal(s3_server_logged(server, "\"status\": 403"), 0);
    REFUSED("store.denied", store_remove(store, "packs/small", &err));
    must_hold(store, "packs/small", 1000);
    store_close(store);
}

static void without_a_condition_names_are_looked_up(void **state)
{
    (void)state;
    static const char *const servers[] = {"\"condition\": \"ignore\"", "\"condition\": \"refuse\""};
    for (size_t i = 0; i < 2; i++) {
        char small[40], large[40];
        snprintf(small, sizeof small, "packs/%zu/small", i);
        snprintf(large, sizeof large, "packs/%zu/large", i);
        s3_server_control(server, NULL, servers[i]);
        Store *store = open_store();
        OK(store_put(store, small, (Slice){content, 1000}, &err));
        assert_int_equal(store_s3_condition(store), STORE_S3_LACKING);
        OK(store_put(store, large, (Slice){content, LARGE}, &err));
        REFUSED("store.exists", store_put(store, small, (Slice){content + 1, 1000}, &err));
        REFUSED("store.exists", store_put(store, large, (Slice){content + 1, LARGE - 1}, &err));
        must_hold(store, small, 1000);
        must_hold(store, large, LARGE);
        store_close(store);
    }
}

static void rotated_keys_are_used_without_a_restart(void **state)
{
    (void)state;
    Store *store = open_warm();
    s3_server_rotate(server, true);
    OK(store_put(store, "packs/1", (Slice){content, LARGE}, &err));
    s3_server_rotate(server, false);
    REFUSED("store.credentials", store_put(store, "packs/2", (Slice){content, 1000}, &err));
    s3_server_rotate(server, true);
    must_hold(store, "packs/1", LARGE);
    store_close(store);
}

static void keys_come_from_the_environment_a_profile_or_the_machine(void **state)
{
    (void)state;
    Store *store;
    char path[128], text[200];
    StoreS3Params params = s3_server_params(server);
    params.access_key = params.secret_key = NULL;
    setenv("AWS_ACCESS_KEY_ID", "WRITER", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "secret/0", 1);
    store_close(open_with(&params));
    setenv("AWS_SECRET_ACCESS_KEY", "wrong", 1);
    REFUSED("store.credentials", store_s3_open(&store, &params, &err));
    unsetenv("AWS_ACCESS_KEY_ID");
    s3_keys_lend(TEXT("WRITER"), TEXT("secret/0"), TEXT(""));
    store_close(open_with(&params));
    s3_keys_lend(TEXT("WRITER"), TEXT("wrong"), TEXT(""));
    REFUSED("store.credentials", store_s3_open(&store, &params, &err));
    s3_keys_lend(TEXT(""), TEXT("secret/0"), TEXT(""));

    snprintf(path, sizeof path, "%s/credentials", s3_server_directory(server));
    FILE *file = fopen(path, "we");
    fprintf(file, "[default]\naws_access_key_id=X\naws_secret_access_key=Y\n# no\n[ deep ]\n"
                  "aws_access_key_id = WRITER\naws_secret_access_key=secret/0\n");
    fclose(file);
    snprintf(text, sizeof text, "chmod 600 %s", path);
    assert_int_equal(system(text), 0);
    setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
    REFUSED("store.credentials", store_s3_open(&store, &params, &err));
    setenv("AWS_PROFILE", "deep", 1);
    store_close(open_with(&params));
    setenv("AWS_PROFILE", "absent", 1);
    REFUSED("no-credential", store_s3_open(&store, &params, &err));

    setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent", 1);
    setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", params.endpoint, 1);
    REFUSED("no-credential", store_s3_open(&store, &params, &err));
    s3_server_control(server, NULL, "\"role\": {\"id\": \"WRITER\", \"seconds\": 3600}");
    store_close(open_with(&params));
}

static void class_encryption_and_lock_reach_the_object(void **state)
{
    (void)state;
    StoreS3Params params = s3_server_params(server);
    s3_server_control(server, NULL, "\"lock\": true");
    params.storage_class = "STANDARD_IA";
    params.encryption = "aws:kms";
    params.kms_key = "arn:aws:kms:eu-west-1:1:key/x";
    params.lock_mode = "COMPLIANCE";
    params.lock_ms = 86400000;
    Store *store = open_with(&params);
    OK(store_put(store, "packs/small", (Slice){content, 1000}, &err));
    OK(store_put(store, "packs/large", (Slice){content, LARGE}, &err));
    OK(store_replace(store, "epoch", (Slice){content, 10}, &err));
    static const char *const said[] = {"x-amz-storage-class\": \"STANDARD_IA\"",
                                       "x-amz-server-side-encryption\": \"aws:kms\"",
                                       "aws-kms-key-id\": \"arn:aws:kms:eu-west-1:1:key/x\""};
    s3_server_forget(server);
    OK(store_put(store, "packs/other", (Slice){content, 1000}, &err));
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(s3_server_logged(server, said[i]), 1);
    REFUSED("store.denied", store_remove(store, "packs/small", &err));
    REFUSED("store.denied", store_remove(store, "packs/large", &err));
    OK(store_remove(store, "epoch", &err));
    must_hold(store, "packs/large", LARGE);
    store_close(store);
}

/* --- parts ---------------------------------------------------------------------------------- */

static void an_aborted_upload_leaves_no_part(void **state)
{
    (void)state;
    StorePut *put;
    Store *store = open_warm();
    OK(store_put_begin(store, "packs/1", &put, &err));
    OK(store_put_write(put, (Slice){content, LARGE}, &err));
    assert_int_equal(s3_server_uploads(server), 1);
    store_put_abort(put);
    must_lack(store, "packs/1");
    store_close(store);
}

static void many_puts_at_once_share_a_bounded_memory_and_wait_for_none(void **state)
{
    (void)state;
    StorePut *puts[PUTS];
    char name[40];
    Store *store = open_warm();
    for (unsigned i = 0; i < PUTS; i++) {
        snprintf(name, sizeof name, "packs/%u", i);
        OK(store_put_begin(store, name, &puts[i], &err));
    }
    for (size_t at = 0; at < LARGE; at += 700000)
        for (unsigned i = 0; i < PUTS; i++)
            OK(store_put_write(
                puts[i], (Slice){content + at, LARGE - at < 700000 ? LARGE - at : 700000}, &err));
    for (unsigned i = 0; i < PUTS; i++)
        OK(store_put_finish(puts[i], &err));
    for (unsigned i = 0; i < PUTS; i++) {
        snprintf(name, sizeof name, "packs/%u", i);
        must_hold(store, name, LARGE);
    }
    assert_int_equal(s3_server_uploads(server), 0);
    store_close(store);
}

static void what_is_exactly_a_part_is_one_request(void **state)
{
    (void)state;
    Store *store = open_warm();
    OK(store_put(store, "packs/1", (Slice){content, MIB}, &err));
    assert_int_equal(s3_server_logged(server, NULL), 1);
    OK(store_put(store, "packs/2", (Slice){content, 2 * MIB}, &err));
    assert_int_equal(s3_server_logged(server, "UploadPart"), 2);
    must_hold(store, "packs/1", MIB);
    must_hold(store, "packs/2", 2 * MIB);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_request_survives_a_bad_moment),
        TEST(a_bad_moment_that_stays_has_a_name_and_leaves_nothing),
        TEST(an_answer_that_never_comes_is_no_failure),
        TEST(a_refusal_that_says_200_is_a_refusal),
        TEST(a_body_that_is_cut_is_read_again_or_refused),
        TEST(a_listing_that_is_no_listing_is_refused),
        TEST(a_server_that_falls_silent_is_left),
        TEST(a_wrong_clock_is_named_at_once),
        TEST(no_redirect_is_followed),
        TEST(settings_that_are_wrong_are_named),
        TEST(rights_to_put_get_and_list_are_enough),
        TEST(without_a_condition_names_are_looked_up),
        TEST(rotated_keys_are_used_without_a_restart),
        TEST(keys_come_from_the_environment_a_profile_or_the_machine),
        TEST(class_encryption_and_lock_reach_the_object),
        TEST(an_aborted_upload_leaves_no_part),
        TEST(many_puts_at_once_share_a_bounded_memory_and_wait_for_none),
        TEST(what_is_exactly_a_part_is_one_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
