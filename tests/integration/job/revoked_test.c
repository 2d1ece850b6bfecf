/* SPDX-License-Identifier: Apache-2.0
 * What a host stored before its keys were revoked is shared by nobody, its own source too, before a
 * reader has seen it: it may hold anything under the name of a chunk. */
#include "common/base/hash.h"
#include "tests/harness/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static int set_up(void **state)
{
    Stage *stage = stage_new("");
    fleet_settled(stage->fleet);
    fleet_do(stage->fleet, "UPDATE worker SET host = 'testhost'"); /* of its certificate */
    *state = stage;
    return 0;
}

static int tear_down(void **state)
{
    stage_free(*state);
    return 0;
}

static int64_t newest(const Stage *stage, const char *column)
{
    char sql[100];
    snprintf(sql, sizeof sql, "SELECT %s FROM backup ORDER BY sequence DESC LIMIT 1", column);
    return fleet_count(stage->fleet, sql);
}

typedef struct Kept {
    Repository *repository;
    Sha256 sums[8];
    size_t count;
} Kept;

static bool keep(void *ctx, const char *name, uint64_t size, Err *err)
{
    Kept *kept = ctx;
    scoped(buf_free) Buf stored = {0};
    bool found = false;
    (void)size;
    assert_true(kept->count < 8);
    assert_true(store_get(kept->repository->store, name, 1 << 20, &found, &stored, err) && found);
    hash_sha256(buf_slice(&stored), &kept->sums[kept->count++]);
    return true;
}

/* As `key revoke`, with every manifest so far kept, and a new enrolment of the host. */
static void revoke(Stage *stage)
{
    Kept kept = {.repository = stage->repository};
    Err err = {0};
    assert_true(store_list(stage->repository->store, "manifests/", keep, &kept, &err));
    repository_revoke(stage->repository, "testhost", kept.sums, kept.count);
    repository_enroll(stage->repository);
}

static void check(Stage *stage)
{
    char params[120], id[UUID_TEXT];
    stage_backup(stage, id);
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"level\":\"content\"}", id);
    stage_must(stage, "verify", params, "completed");
}

static void large_file(const Stage *stage)
{
    file_tree_shell("cd %s && head -c 3000000 /dev/urandom > large", stage->tree->tree);
}

static void packs_of_a_revoked_host_are_shared_only_after_a_reader_saw_them(void **state)
{
    Stage *stage = *state;
    large_file(stage);
    stage_back_up(stage);
    stage_back_up(stage);
    assert_int_equal(newest(stage, "new_bytes"), 0);
    revoke(stage);
    stage_back_up(stage);
    assert_true(newest(stage, "new_bytes") >= 3000000);
    check(stage); /* a reader saw what the third stored */
    stage_back_up(stage);
    assert_int_equal(newest(stage, "new_bytes"), 0);
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
}

/* Bytes that the next backup stores of a tree in which nothing changed. */
static int64_t stores_again(Stage *stage)
{
    stage_back_up(stage);
    return newest(stage, "new_bytes");
}

/* What the host's new login makes counts again; what the old one made does not. */
static void a_new_login_of_the_host_is_trusted_again(void **state)
{
    Stage *stage = *state;
    large_file(stage);
    stage_back_up(stage);
    revoke(stage);
    fleet_do(stage->fleet, "UPDATE worker SET enrolled_at = clock_timestamp() + interval '2 s'");
    assert_true(stores_again(stage) >= 3000000);
    assert_int_equal(stores_again(stage), 0);
}

/* A login from before the revocation is not made new by an older one that was given up, and what it
 * stored stays its own when it moves to another host or another login takes over its jobs. */
static void who_made_a_pack_stays_written_down(void **state)
{
    Stage *stage = *state;
    large_file(stage);
    stage_back_up(stage);
    fleet_do(stage->fleet,
             "INSERT INTO worker(role_name, name, host, pools, retired_at) VALUES ('old', 'old', "
             "'testhost', '{}', clock_timestamp())");
    assert_int_equal(stores_again(stage), 0);
    revoke(stage);
    fleet_do(stage->fleet, "UPDATE job_attempt SET worker = (SELECT no FROM worker WHERE name = "
                           "'old'); UPDATE worker SET host = 'elsewhere'");
    assert_true(stores_again(stage) >= 3000000);
    assert_int_equal(stores_again(stage), 0); /* of elsewhere, which nobody revoked */
}

/* What a catalogue was told again has no login: the generation of its certificate counts. */
static void a_certificate_from_before_the_revocation_counts_no_more(void **state)
{
    Stage *stage = *state;
    large_file(stage);
    stage_back_up(stage);
    fleet_do(stage->fleet, "UPDATE pack SET maker_since = NULL, maker_generation = 2");
    revoke(stage); /* what is older than generation 2 */
    assert_int_equal(stores_again(stage), 0);
    fleet_do(stage->fleet, "UPDATE pack SET maker_generation = 1");
    assert_true(stores_again(stage) >= 3000000);
}

static void what_a_revoked_host_staged_is_not_taken_over(void **state)
{
    Stage *stage = *state;
    StageEnd end = {0};
    large_file(stage);
    stage_killed(stage, "backup", "", "commit.before");
    assert_true(stage_counted(stage, "pack WHERE state = 'staged' AND sha256 IS NOT NULL") > 0);
    revoke(stage);
    fleet_do(stage->fleet, "UPDATE worker SET enrolled_at = clock_timestamp() + interval '2 s'");
    stage_reap(stage);
    stage_again(stage, &end);
    assert_string_equal(end.outcome, "completed");
    assert_true(newest(stage, "new_bytes") >= 3000000);
    assert_int_equal(stage_counted(stage, "pack p JOIN backup b ON p.no = ANY (b.packs) WHERE "
                                          "p.maker_since < clock_timestamp()"),
                     0);
    stage_end_free(&end);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(packs_of_a_revoked_host_are_shared_only_after_a_reader_saw_them),
        TEST(a_new_login_of_the_host_is_trusted_again),
        TEST(who_made_a_pack_stays_written_down),
        TEST(a_certificate_from_before_the_revocation_counts_no_more),
        TEST(what_a_revoked_host_staged_is_not_taken_over),
    };
    return cmocka_run_group_tests_name("integration.job.revoked", tests, NULL, NULL);
}
