/* SPDX-License-Identifier: Apache-2.0
 * The S3 store and a strict server: how many parts go at once, what becomes of uploads that nobody
 * completes, and servers behind TLS. */
#include "tests/integration/store/s3_check.h"

#include <sys/wait.h>
#include <unistd.h>

static void no_more_parts_are_on_their_way_than_there_are_lanes(void **state)
{
    (void)state;
    for (unsigned lanes = 1; lanes <= 3; lanes++) {
        StoreS3Params params = s3_server_params(server);
        params.lanes = lanes;
        Store *store = open_with(&params);
        s3_server_forget(server);
        /* The first wait for each other, so that those that may go together do. */
        char members[300];
        snprintf(members, sizeof members,
                 "\"faults\": [{\"id\": \"first-%u\", \"op\": \"UploadPart\", \"times\": %u, "
                 "\"kind\": \"gather\", \"count\": %u}, {\"id\": \"rest-%u\", \"op\": "
                 "\"UploadPart\", \"times\": 99, \"kind\": \"late\", \"seconds\": 0.1}]",
                 lanes, lanes, lanes, lanes);
        s3_server_control(server, NULL, members);
        char name[40];
        snprintf(name, sizeof name, "packs/%u", lanes);
        StorePut *put;
        OK(store_put_begin(store, name, &put, &err));
        for (unsigned i = 0; i < 3; i++)
            OK(store_put_write(put, (Slice){content, LARGE}, &err));
        OK(store_put_finish(put, &err));
        assert_int_equal(s3_server_bodies(server), lanes);
        store_close(store);
    }
}

/* --- what nobody completes ------------------------------------------------------------------ */

/* A put whose writer dies: no finish, no abort. */
static void leave_one(const char *prefix, const char *name)
{
    StoreS3Params params = s3_server_params(server);
    params.prefix = prefix;
    pid_t writer = fork();
    if (writer == 0) {
        Store *store = NULL;
        StorePut *put = NULL;
        Err err = {0};
        bool fine = store_s3_open(&store, &params, &err) &&
                    store_put_begin(store, name, &put, &err) &&
                    store_put_write(put, (Slice){content, LARGE}, &err);
        _exit(fine ? 0 : 1);
    }
    int status = 1;
    assert_int_equal(waitpid(writer, &status, 0), writer);
    assert_int_equal(status, 0);
}

static void stale_uploads_are_aborted_and_nobody_elses(void **state)
{
    (void)state;
    StorePut *living;
    Store *store = open_warm();
    s3_server_control(server, NULL, "\"page\": 2");
    for (unsigned i = 0; i < 5; i++)
        leave_one("prod/", i % 2 == 0 ? "packs/same" : "packs/other");
    leave_one("production/", "packs/same"); /* begins with the same letters, and is not below */
    leave_one("elsewhere/", "packs/same");
    assert_int_equal(s3_server_uploads(server), 7);
    StoreSweep sweep = {.age_ms = 3600000};
    OK(store_sweep(store, &sweep, &err));
    assert_int_equal(sweep.found + sweep.removed, 0);
    assert_int_equal(s3_server_uploads(server), 7);
    /* The server's clock counts, and not this host's. */
    s3_server_age_uploads(server, 7200);
    OK(store_put_begin(store, "packs/living", &living, &err));
    OK(store_put_write(living, (Slice){content, LARGE}, &err));
    sweep.look_only = true;
    OK(store_sweep(store, &sweep, &err));
    assert_int_equal(sweep.found, 5);
    assert_int_equal(sweep.removed, 0);
    assert_int_equal(s3_server_uploads(server), 8);
    sweep.look_only = false;
    OK(store_sweep(store, &sweep, &err));
    assert_int_equal(sweep.found, 5);
    assert_int_equal(sweep.removed, 5);
    assert_int_equal(s3_server_uploads(server), 3);
    OK(store_put_finish(living, &err));
    must_hold(store, "packs/living", LARGE);
    OK(store_sweep(store, &sweep, &err));
    assert_int_equal(sweep.found, 0);
    store_close(store);
}

/* The worst that a sweep can do: a put that took too long fails by name, and another goes well. */
static void a_put_that_is_swept_away_fails_and_leaves_nothing(void **state)
{
    (void)state;
    StorePut *put;
    Store *store = open_warm();
    StoreSweep sweep = {.age_ms = 0};
    OK(store_put_begin(store, "packs/1", &put, &err));
    OK(store_put_write(put, (Slice){content, LARGE}, &err));
    OK(store_sweep(store, &sweep, &err));
    assert_int_equal(sweep.removed, 1);
    REFUSED("store.lost", store_put_finish(put, &err));
    must_lack(store, "packs/1");
    OK(store_put(store, "packs/1", (Slice){content, LARGE}, &err));
    must_hold(store, "packs/1", LARGE);
    store_close(store);
}

static void who_may_not_abort_or_list_uploads_is_told(void **state)
{
    (void)state;
    StoreSweep sweep = {.age_ms = 0};
    Store *store = open_warm();
    leave_one("prod/", "packs/1");
    s3_server_control(server, "put,get,list", NULL);
    REFUSED("store.denied", store_sweep(store, &sweep, &err));
    assert_int_equal(sweep.removed, 0);
    s3_server_control(server, "put,get,delete", NULL);
    REFUSED("store.denied", store_sweep(store, &sweep, &err));
    s3_server_control(server, NULL,
                      "\"faults\": [{\"id\": \"cut-uploads\", \"op\": \"ListUploads\", \"kind\": "
                      "\"garbage\"}]");
    REFUSED("store.protocol", store_sweep(store, &sweep, &err));
    s3_server_control(server, NULL, NULL);
    StoreS3Params params = s3_server_params(server);
    Store *keeps = NULL;
    OK(store_s3_open(&keeps, &params, &err));
    REFUSED("store.keeps", store_sweep(keeps, &sweep, &err));
    assert_int_equal(s3_server_uploads(server), 1);
    store_close(keeps);
    store_close(store);
}

/* --- TLS, and the bucket in the host's name --------------------------------------------------- */

static void what_a_ca_vouches_for_is_used_in_both_styles(void **state)
{
    (void)state;
    char ca[128];
    StoreS3Params params = s3_server_params(server);
    snprintf(ca, sizeof ca, "%s/ca.pem", s3_server_directory(server));
    params.ca_file = ca;
    for (unsigned style = 0; style < 2; style++) {
        char name[40];
        unsigned rows = 0;
        snprintf(name, sizeof name, "packs/%u/large", style);
        params.host_style = style == 1;
        s3_server_control(server, NULL, style == 1 ? "\"host\": \"localhost\"" : NULL);
        Store *store = open_with(&params);
        OK(store_put(store, name, (Slice){content, LARGE}, &err));
        must_hold(store, name, LARGE);
        OK(store_list(store, "packs/", count_one, &rows, &err));
        assert_int_equal(rows, style + 1);
        store_close(store);
    }
    assert_true(s3_server_logged(server, "\"host\": \"backups.localhost:") > 0);
}

static void a_server_that_no_ca_vouches_for_is_left(void **state)
{
    (void)state;
    static const char *const files[] = {NULL, "stranger.pem", "absent.pem", "server.key"};
    s3_server_forget(server);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[128];
        Store *store = NULL;
        Err err = {0};
        StoreS3Params params = s3_server_params(server);
        if (files[i] != NULL) {
            snprintf(path, sizeof path, "%s/%s", s3_server_directory(server), files[i]);
            params.ca_file = path;
        }
        assert_false(store_s3_open(&store, &params, &err));
        assert_string_equal(err.cause, "store.certificate");
        assert_non_null(strstr(err.text, "ca_file"));
    }
    /* Nor one that shows another name than the one it is asked by. */
    char ca[128], other[64];
    Store *store = NULL;
    StoreS3Params params = s3_server_params(server);
    snprintf(ca, sizeof ca, "%s/ca.pem", s3_server_directory(server));
    snprintf(other, sizeof other, "https://127.0.0.1:%s", strrchr(params.endpoint, ':') + 1);
    params.ca_file = ca;
    params.endpoint = other;
    REFUSED("store.certificate", store_s3_open(&store, &params, &err));
    assert_int_equal(s3_server_logged(server, NULL), 0); /* no key was shown to anybody */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(no_more_parts_are_on_their_way_than_there_are_lanes),
        TEST(stale_uploads_are_aborted_and_nobody_elses),
        TEST(a_put_that_is_swept_away_fails_and_leaves_nothing),
        TEST(who_may_not_abort_or_list_uploads_is_told),
        TEST_TLS(what_a_ca_vouches_for_is_used_in_both_styles),
        TEST_TLS(a_server_that_no_ca_vouches_for_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
