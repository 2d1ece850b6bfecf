/* SPDX-License-Identifier: Apache-2.0
 * A cluster that is there is made equal to a backup: only what differs is written, nothing outside
 * of it is touched, a restore that is killed leaves nothing that starts and is repaired by the next
 * one, and what is not the backup's own cluster is refused untouched. */
#include "tests/integration/engine/postgresql_cluster.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static Server server;
static Surroundings around;
static Recording backup;
static char *dump; /* of the source, which nobody writes to */

static int set_up(void **state)
{
    (void)state;
    cluster_start(&server, NULL);
    cluster_fill(&server);
    server_sql(&server, "bank", "TRUNCATE forgotten");
    server_sql(&server, "bank", "VACUUM FREEZE"); /* later scans leave its pages as they are */
    surroundings_open(&around);
    cluster_record(&backup, &around, &server);
    dump = server_dump(&server, "bank", "");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mem_free(dump);
    recording_free(&backup);
    surroundings_close(&around);
    server_stop(&server);
    return 0;
}

static json_t *over(const Postgres *pg)
{
    json_t *request = cluster_request(&backup, postgres_data(pg));
    json_object_set_new(request, "delta", json_true());
    return request;
}

static json_t *restore_over(Postgres *pg)
{
    return cluster_restore_by(&backup, &around, pg, over(pg));
}

static json_int_t told(const json_t *report, const char *what)
{
    const json_t *value = json_object_get(report, what);
    assert_non_null(value);
    return json_integer_value(value);
}

/* The restore by which everything began, a server that lived on it for a while, and was stopped. */
static Postgres *lived(void)
{
    Server copy;
    int status;
    Postgres *pg = postgres_prepare(NULL);
    /* In a process of its own: this one has not passed a point of crashes yet. */
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        cluster_restore(&backup, &around, pg);
        _exit(0);
    }
    assert_true(waitpid(child, &status, 0) == child && status == 0);
    postgres_again(pg);
    server_of(&copy, pg);
    server_sql(&copy, "bank",
               "UPDATE account SET cents = cents + 1 WHERE id % 2000 = 0;"
               "CREATE TABLE later AS SELECT generate_series(1, 1000);"
               "DROP TABLE \"odd \"\"name\"");
    server_sql(&copy, "bank", "CREATE DATABASE another");
    server_sql(&copy, "bank", "CREATE TABLE near (a int) TABLESPACE other");
    server_sql(&copy, "bank", "CHECKPOINT");
    postgres_kill(pg);
    return pg;
}

static void starts_as_backed_up(Postgres *pg)
{
    Server copy;
    cluster_judge(&copy, pg);
    server_sql(&copy, "bank", "DROP EXTENSION amcheck");
    char *there = server_dump(&copy, "bank", "");
    assert_string_equal(dump, there);
    mem_free(there);
    assert_int_equal(server_count(&copy, "postgres",
                                  "SELECT count(*) FROM pg_database WHERE datname = 'another'"),
                     0);
}

static void only_what_differs_is_written(void **state)
{
    (void)state;
    Postgres *pg = lived();
    json_t *report = restore_over(pg);
    json_int_t all = told(report, "bytes"), written = told(report, "written_bytes");
    assert_true(told(report, "removed") > 0);
    assert_true(written > 0 && written < all / 2);
    json_decref(report);
    /* Again, before anybody started it: nothing but pg_control, which was away. */
    report = restore_over(pg);
    assert_int_equal(told(report, "written_bytes"), 8192);
    assert_int_equal(told(report, "changed"), 1);
    assert_int_equal(told(report, "bytes"), all);
    json_decref(report);
    starts_as_backed_up(pg);
    shell("rm -rf %s.tablespace-*", postgres_data(pg));
    postgres_stop(pg);
}

static void an_empty_directory_is_filled(void **state)
{
    (void)state;
    Postgres *pg = postgres_prepare(NULL);
    json_t *report = restore_over(pg);
    assert_true(told(report, "written_bytes") > told(report, "bytes") / 4);
    json_decref(report);
    starts_as_backed_up(pg);
    shell("rm -rf %s.tablespace-*", postgres_data(pg));
    postgres_stop(pg);
}

/* ---- links that lead out ---- */

static void what_links_lead_to_is_left_alone(void **state)
{
    struct stat about;
    char outside[300], path[400];
    (void)state;
    Postgres *pg = lived();
    const char *data = postgres_data(pg);
    snprintf(outside, sizeof outside, "%s.outside", data);
    shell("mkdir %s && cp -al %s/base %s/kept && tar -C %s/kept -cf %s/before.tar .", outside, data,
          outside, outside, outside);
    shell("mv %s/pg_wal %s/wal && ln -s %s/wal %s/pg_wal && touch %s/wal/mine", data, outside,
          outside, data, outside);
    shell("mv %s/pg_xact %s/xact && ln -s %s/xact %s/pg_xact && cp -a %s/xact %s/xact.before", data,
          outside, outside, data, outside, outside);
    shell(
        "ln -s %s/kept %s/base/7 && rm %s/PG_VERSION && ln -s %s/passwd %s/PG_VERSION && echo no > "
        "%s/passwd",
        outside, data, data, outside, data, outside);
    shell("mkdir -p %s/base/deep/er && ln %s/passwd %s/base/deep/er/hard", data, outside, data);
    unsigned notes = around.notes;
    json_decref(restore_over(pg));
    assert_int_equal(around.notes, notes + 2);
    snprintf(path, sizeof path, "%s/pg_wal", data);
    assert_int_equal(lstat(path, &about), 0);
    assert_true(S_ISDIR(about.st_mode));
    shell(
        "tar -C %s/kept -df %s/before.tar && diff -r %s/xact %s/xact.before && test -e %s/wal/mine",
        outside, outside, outside, outside, outside);
    shell("test \"$(cat %s/passwd)\" = no && test ! -e %s/base/7 && test ! -e %s/base/deep",
          outside, data, data);
    starts_as_backed_up(pg);
    shell("rm -rf %s.tablespace-* %s", data, outside);
    postgres_stop(pg);
}

/* ---- killed ---- */

/* The n-th point of a restore over it, as kill -9. False: there are not so many. */
static bool killed_at(Postgres *pg, unsigned n)
{
    char number[16];
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        json_t *config = json_object();
        snprintf(number, sizeof number, "%u", n);
        setenv("HOLDFAST_CRASHPOINT", number, 1);
        setenv("HOLDFAST_CRASHPOINT_ONLY", "delta.", 1);
        _exit(restore(&backup, &around, config, over(pg), NULL) ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status);
}

static bool is_there(const Postgres *pg, const char *name)
{
    char path[400];
    struct stat about;
    snprintf(path, sizeof path, "%s/%s", postgres_data(pg), name);
    return lstat(path, &about) == 0;
}

/* No server takes it up, and no other restore takes it for its own. */
static void is_fenced(Postgres *pg)
{
    json_t *config = json_object(), *plain = cluster_request(&backup, postgres_data(pg));
    assert_false(is_there(pg, "global/pg_control"));
    shell("! %s%spostgres --single -D %s template1 < /dev/null > /dev/null 2>&1", as_server(),
          postgres_binaries(pg), postgres_data(pg));
    assert_false(restore(&backup, &around, config, plain, NULL));
    assert_string_equal(backup.err.cause, "files.target_not_empty");
    json_decref(plain);
    json_decref(config);
}

static void killed_anywhere_it_is_repaired_by_the_next(void **state)
{
    static const unsigned early[] = {2, 3, 5, 40, 300, 700};
    unsigned points = 0, fenced = 0;
    (void)state;
    Postgres *pg = lived();
    /* Marked and nothing moved: what is there is whole still. */
    assert_true(killed_at(pg, 1));
    assert_true(is_there(pg, "global/pg_control") && is_there(pg, ".holdfast-unfinished-restore"));
    for (size_t i = 0; i < sizeof early / sizeof *early; i++) {
        assert_true(killed_at(pg, early[i]));
        is_fenced(pg);
    }
    /* How many there are: marked, disarmed, one a file, fed, cleared, pg_control, two ends. */
    for (size_t i = 0; i < backup.count; i++)
        points += backup.items[i].entry.type == ENTRY_FILE;
    points += 6;
    for (unsigned n = points - 4; n <= points; n++) {
        assert_true(killed_at(pg, n));
        if (!is_there(pg, "global/pg_control")) {
            is_fenced(pg);
            fenced++;
        }
    }
    assert_int_equal(fenced, 2); /* fed, cleared */
    json_decref(restore_over(pg));
    assert_false(is_there(pg, ".holdfast-unfinished-restore"));
    assert_false(is_there(pg, "global/pg_control.holdfast"));
    starts_as_backed_up(pg);
    shell("rm -rf %s.tablespace-*", postgres_data(pg));
    postgres_stop(pg);
}

/* ---- a full disk ---- */

/* Over what is there or into an empty directory: it ends by name, nothing starts, and with room
 * enough the next one is whole. Only root may make a small disk. */
static void a_full_disk_leaves_nothing_that_starts(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    Postgres *pg = postgres_prepare(NULL);
    json_t *config = json_object(), *request = over(pg), *plain = NULL;
    const char *data = postgres_data(pg);
    shell("mkdir %s && mount -t tmpfs -o size=24m none %s", data, data);
    plain = cluster_request(&backup, data);
    for (int i = 0; i < 2; i++) {
        assert_false(restore(&backup, &around, config, i == 0 ? plain : request, NULL));
        if (backup.err.code != ERR_FULL || strcmp(backup.err.cause, "files.target") != 0)
            fail_msg("%s: %s", backup.err.cause, backup.err.text);
        assert_non_null(strstr(backup.err.text, "make room"));
        assert_false(is_there(pg, "global/pg_control"));
        if (i == 0) /* what another restore began is not taken over */
            shell("find %s -mindepth 1 -delete && rm -rf %s.tablespace-*", data, data);
    }
    is_fenced(pg);
    shell("mount -o remount,size=200m %s", data);
    json_decref(restore_over(pg));
    starts_as_backed_up(pg);
    postgres_kill(pg);
    shell("umount %s && rm -rf %s.tablespace-*", data, data);
    json_decref(plain);
    json_decref(request);
    json_decref(config);
    postgres_stop(pg);
}

/* ---- refused ---- */

static void refused(const Postgres *pg, const char *cause)
{
    json_t *config = json_object(), *request = over(pg), *plan = NULL;
    EngineParams params = {config, request, &around.host, 1};
    Err err = {0};
    shell("rm -rf %s.list; find %s -printf '%%p %%s %%T@\\n' | sort > %s.list", postgres_data(pg),
          postgres_data(pg), postgres_data(pg));
    if (postgresql_engine.plan(&params, &plan, &err))
        fail_msg("planned, and not %s", cause);
    assert_string_equal(err.cause, cause);
    assert_false(restore(&backup, &around, config, request, NULL));
    assert_string_equal(backup.err.cause, cause);
    if (strcmp(cause, "target.running") != 0)
        shell("find %s -printf '%%p %%s %%T@\\n' | sort | cmp - %s.list", postgres_data(pg),
              postgres_data(pg));
    shell("rm %s.list", postgres_data(pg));
    json_decref(plan);
    json_decref(request);
    json_decref(config);
}

static void what_is_not_its_own_is_refused_untouched(void **state)
{
    (void)state;
    Postgres *other = postgres_checked(NULL);
    refused(other, "target.running");
    assert_false(is_there(other, ".holdfast-unfinished-restore"));
    postgres_kill(other);
    /* Each cluster of the tests is a copy of one: this one becomes another. */
    shell("printf 12345678 | dd of=%s/global/pg_control conv=notrunc status=none",
          postgres_data(other));
    refused(other, "target.other_system");
    postgres_stop(other);
    Postgres *pg = postgres_prepare(NULL);
    shell("%smkdir -p %s && touch %s/thesis.odt", as_server(), postgres_data(pg),
          postgres_data(pg));
    refused(pg, "target.not_a_cluster");
    shell("rm %s/thesis.odt && printf 'delta of system 1\\n' > %s/.holdfast-unfinished-restore",
          postgres_data(pg), postgres_data(pg));
    refused(pg, "target.unfinished");
    shell("rm %s/.holdfast-unfinished-restore", postgres_data(pg));
    /* A directory that holds something, and no cluster that says it is its tablespace. */
    shell("d=%s.tablespace-$(ls %s/pg_tblspc | head -1) && mkdir $d && touch $d/mine",
          postgres_data(pg), postgres_data(server.pg));
    refused(pg, "target.tablespace");
    shell("rm -r %s.tablespace-*", postgres_data(pg));
    postgres_stop(pg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_anywhere_it_is_repaired_by_the_next),
        cmocka_unit_test(only_what_differs_is_written),
        cmocka_unit_test(an_empty_directory_is_filled),
        cmocka_unit_test(what_links_lead_to_is_left_alone),
        cmocka_unit_test(a_full_disk_leaves_nothing_that_starts),
        cmocka_unit_test(what_is_not_its_own_is_refused_untouched),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
