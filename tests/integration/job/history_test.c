/* SPDX-License-Identifier: Apache-2.0
 * Every test of a job machine ends in the checker of the invariants: a history that breaks one ends
 * the test and names it, one that was broken on purpose is left out, by name and only where it is
 * broken indeed. Each history is made by a process of its own, which is to end as such a test does.
 */
#include "tests/harness/crew.h"
#include "tests/harness/stage.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

typedef void Deed(Stage *stage, Crew *crew);

static char scratch[64];

/* One backup, then the deed, then the end of any test: what that said, and how it ended. */
static int end_of(Deed *deed, char said[4096])
{
    int status = 0, heard[2];
    size_t len = 0;
    ssize_t got = 0;
    assert_int_equal(pipe(heard), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(heard[1], STDERR_FILENO);
        close(heard[0]);
        close(heard[1]);
        Stage *stage = stage_new("");
        Crew *crew = crew_join(stage->fleet);
        file_tree_shell("echo x > %s/a", stage->tree->tree);
        stage_back_up(stage);
        fleet_settled(stage->fleet);
        deed(stage, crew);
        crew_leave(crew);
        stage_free(stage);
        _exit(0);
    }
    close(heard[1]);
    while (len < 4095 && (got = read(heard[0], said + len, 4095 - len)) > 0)
        len += (size_t)got;
    said[len] = '\0';
    close(heard[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void assert_named(Deed *deed, const char *what)
{
    char said[4096];
    int status = end_of(deed, said);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || strstr(said, what) == NULL)
        fail_msg("%s was not named, status %d: %s", what, status, said);
}

static void assert_holds(Deed *deed)
{
    char said[4096];
    int status = end_of(deed, said);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("status %d: %s", status, said);
}

static void nothing(Stage *stage, Crew *crew)
{
    (void)stage, (void)crew;
}

static void forget_the_backup(Stage *stage, Crew *crew)
{
    (void)crew;
    fleet_do(stage->fleet, "SET session_replication_role = replica; DELETE FROM backup");
}

static void forget_it_and_say_so(Stage *stage, Crew *crew)
{
    forget_the_backup(stage, crew);
    fleet_breaks(stage->fleet, "backup jobs that succeeded without a backup: it is forgotten");
}

static void say_what_is_not_so(Stage *stage, Crew *crew)
{
    (void)crew;
    fleet_breaks(stage->fleet, "backup jobs that succeeded without a backup: nobody forgot any");
}

static void leave_a_job(Stage *stage, Crew *crew)
{
    (void)stage;
    (void)crew_job(crew, "backup", "s1", "");
}

static void spoil_a_pack(Stage *stage, Crew *crew)
{
    (void)crew;
    file_tree_shell("for p in $(find %s/packs -type f); do echo x >> $p; done",
                    stage->repository->store_path);
}

static void put_a_key_into_redis(Stage *stage, Crew *crew)
{
    (void)stage;
    file_tree_shell("redis-cli -p %u set stranger 1 >/dev/null", redis_server_port(crew->redis));
}

static void kill_both_servers(Stage *stage, Crew *crew)
{
    postgres_kill(stage->fleet->pg);
    redis_server_kill(crew->redis);
}

static void forget_it_and_kill_both(Stage *stage, Crew *crew)
{
    forget_the_backup(stage, crew);
    kill_both_servers(stage, crew);
}

static void a_broken_invariant_ends_the_test_and_is_named(void **state)
{
    (void)state;
    assert_holds(nothing);
    assert_named(forget_the_backup,
                 "I8 does not hold: backup jobs that succeeded without a backup");
    assert_named(leave_a_job, "I2 does not hold: jobs that have not ended");
    assert_named(spoil_a_pack, "I6 does not hold: packs with other bytes than recorded");
    assert_named(put_a_key_into_redis, "I10 does not hold: keys in Redis that are not ours");
}

static void what_a_test_breaks_itself_is_left_out_only_where_it_is_broken(void **state)
{
    (void)state;
    assert_holds(forget_it_and_say_so);
    assert_named(say_what_is_not_so, "Left out does not hold: what was said to be broken");
}

static void servers_that_the_test_killed_hide_nothing(void **state)
{
    (void)state;
    assert_holds(kill_both_servers);
    assert_named(forget_it_and_kill_both, "I8 does not hold");
}

/* A test that is ended leaves its folders behind; these are ours. */
static int begin(void **state)
{
    const char *base = getenv("TMPDIR");
    (void)state;
    snprintf(scratch, sizeof scratch, "%s/hf-h.XXXXXX", base == NULL ? "/tmp" : base);
    if (mkdtemp(scratch) == NULL)
        return -1;
    file_tree_shell("chmod 755 %s", scratch);
    return setenv("TMPDIR", scratch, 1);
}

static int end(void **state)
{
    (void)state;
    file_tree_shell("rm -rf %s", scratch);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_broken_invariant_ends_the_test_and_is_named),
        cmocka_unit_test(what_a_test_breaks_itself_is_left_out_only_where_it_is_broken),
        cmocka_unit_test(servers_that_the_test_killed_hide_nothing),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, begin, end);
}
