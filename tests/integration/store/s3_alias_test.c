/* SPDX-License-Identifier: Apache-2.0
 * A name that stands for another object in S3: copied by the server, whole or in pieces, replaced
 * by the next one, and never in the place of a stranger's object. */
#include "tests/integration/store/s3_check.h"

enum { PART = 64 * 1024, HUGE = 640 * PART + 12345 }; /* longer than one copy of such parts */

static void must_be(Store *store, const char *name, const uint8_t *bytes, size_t len)
{
    bool found;
    scoped(buf_free) Buf out = {0};
    OK(store_get(store, name, len, &found, &out, &err));
    assert_true(found);
    assert_int_equal(out.len, len);
    assert_memory_equal(out.at, bytes, len);
}

static void an_alias_is_the_object_and_the_next_one_replaces_it(void **state)
{
    (void)state;
    bool made;
    Store *store = open_warm();
    OK(store_put(store, "files/a_1.tar.gz", (Slice){content, LARGE}, &err));
    OK(store_put(store, "files/a_2.tar.gz", (Slice){content + 5, 1000}, &err));
    OK(store_alias(store, "files/latest.tar.gz", "files/a_1.tar.gz", &made, &err));
    assert_true(made);
    must_be(store, "files/latest.tar.gz", content, LARGE);
    OK(store_alias(store, "files/latest.tar.gz", "files/a_2.tar.gz", &made, &err));
    assert_true(made);
    must_be(store, "files/latest.tar.gz", content + 5, 1000);
    must_hold(store, "files/a_1.tar.gz", LARGE);
    assert_int_equal(s3_server_logged(server, "CopyObject"), 2);
    store_close(store);
}

static void what_is_longer_than_one_copy_is_copied_in_pieces(void **state)
{
    (void)state;
    bool made;
    StoreS3Params params = s3_server_params(server);
    params.part_bytes = PART;
    s3_server_control(server, NULL, "\"part\": 65536");
    Store *store = open_with(&params);
    uint8_t *bytes = mem_zeroed(HUGE, 1);
    rand_bytes(bytes, HUGE);
    OK(store_put(store, "huge", (Slice){bytes, HUGE}, &err));
    OK(store_alias(store, "latest", "huge", &made, &err));
    assert_true(made);
    must_be(store, "latest", bytes, HUGE);
    assert_int_equal(s3_server_logged(server, "UploadPartCopy"), 6);
    s3_server_control(
        server, NULL,
        "\"part\": 65536, \"faults\": [{\"id\": \"copy\", \"op\": \"UploadPartCopy\", "
        "\"times\": 99, \"kind\": \"error\", \"status\": 503}]");
    REFUSED("store.busy", store_alias(store, "latest", "huge", &made, &err));
    assert_int_equal(s3_server_uploads(server), 0);
    must_be(store, "latest", bytes, HUGE);
    mem_free(bytes);
    store_close(store);
}

static void an_object_of_its_own_is_never_replaced(void **state)
{
    (void)state;
    bool made;
    Store *store = open_warm();
    OK(store_put(store, "a", (Slice){content, 1000}, &err));
    OK(store_put(store, "mine", (Slice){content, 2000}, &err));
    REFUSED("store.exists", store_alias(store, "mine", "a", &made, &err));
    must_hold(store, "mine", 2000);
    REFUSED("store.damaged", store_alias(store, "latest", "nowhere", &made, &err));
    must_lack(store, "latest");
    store_close(store);
}

static void a_refusal_in_a_good_answer_is_no_copy(void **state)
{
    (void)state;
    bool made;
    static const char *const kinds[] = {"error200", "reset", "after", "garbage"};
    Store *store = open_warm();
    OK(store_put(store, "a", (Slice){content, 1000}, &err));
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        char members[120], name[16];
        snprintf(members, sizeof members, "\"op\": \"CopyObject\", \"times\": 2, \"kind\": \"%s\"",
                 kinds[i]);
        snprintf(name, sizeof name, "latest%zu", i);
        faults(members);
        if (strcmp(kinds[i], "garbage") == 0) {
            REFUSED("store.protocol", store_alias(store, name, "a", &made, &err));
            continue;
        }
        OK(store_alias(store, name, "a", &made, &err));
        must_be(store, name, content, 1000);
    }
    faults("\"op\": \"CopyObject\", \"times\": 99, \"kind\": \"error\", \"status\": 501, "
           "\"code\": \"NotImplemented\"");
    OK(store_alias(store, "lacking", "a", &made, &err));
    assert_false(made);
    must_lack(store, "lacking");
    store_close(store);
}

static bool is_ours(void *ctx, const char *name, bool *ours, Err *err)
{
    (void)ctx;
    (void)err;
    *ours = strncmp(name, "ours_", 5) == 0;
    return true;
}

/* Where others put objects too, only what is known to be ours is given up. */
static void uploads_of_strangers_beside_ours_stay(void **state)
{
    (void)state;
    StorePut *ours, *strangers;
    Store *store = open_warm();
    OK(store_put_begin(store, "ours_1", &ours, &err));
    OK(store_put_write(ours, (Slice){content, LARGE}, &err));
    OK(store_put_begin(store, "theirs_1", &strangers, &err));
    OK(store_put_write(strangers, (Slice){content, LARGE}, &err));
    StoreSweep sweep = {.age_ms = 0, .ours = is_ours};
    OK(store_sweep(store, &sweep, &err));
    assert_int_equal(sweep.removed, 1);
    assert_int_equal(s3_server_uploads(server), 1);
    store_put_abort(ours);
    OK(store_put_finish(strangers, &err));
    must_hold(store, "theirs_1", LARGE);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_alias_is_the_object_and_the_next_one_replaces_it),
        TEST(what_is_longer_than_one_copy_is_copied_in_pieces),
        TEST(an_object_of_its_own_is_never_replaced),
        TEST(a_refusal_in_a_good_answer_is_no_copy),
        TEST(uploads_of_strangers_beside_ours_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
