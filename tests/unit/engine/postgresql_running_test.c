/* SPDX-License-Identifier: Apache-2.0
 * postgresql_running_test.c — what a postmaster.pid says of who runs. */
#include "worker/engine/postgresql_running.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char top[] = "/var/tmp/postgresql-running.XXXXXX";

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(top) == NULL;
}

static int tear_down(void **state)
{
    char path[80];
    (void)state;
    snprintf(path, sizeof path, "%s/postmaster.pid", top);
    unlink(path);
    return rmdir(top);
}

/* As servers of 13 to 18 write it. */
static void put(long pid, int memory)
{
    char path[80];
    snprintf(path, sizeof path, "%s/postmaster.pid", top);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "%ld\n/data\n1763800000\n5432\n/tmp\nlocalhost\n  5432001 %9d\nready   \n", pid,
            memory);
    fclose(file);
}

static void runs(bool expected)
{
    Err err = {0};
    assert_int_equal(!postgresql_running_none(text_of(top), &err), expected);
    if (expected) {
        assert_int_equal(err.code, ERR_CONFLICT);
        assert_string_equal(err.cause, "target.running");
    }
}

/* A process that has ended and was waited for. */
static long dead(void)
{
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    return child;
}

static void who_lives_runs(void **state)
{
    (void)state;
    runs(false); /* no such file */
    put(getppid(), -1);
    runs(true);
    put(dead(), -1);
    runs(false);
    put(getpid(), -1); /* written by one who had our number before us */
    runs(false);
    put(0, -1);
    runs(false);
}

/* The server was killed, and a process of it still has its memory. */
static void whose_memory_is_used_runs(void **state)
{
    (void)state;
    int memory = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    assert_true(memory >= 0);
    put(dead(), memory);
    runs(false); /* nobody is attached */
    void *at = shmat(memory, NULL, 0);
    assert_true((intptr_t)at != -1);
    runs(true);
    shmdt(at);
    runs(false);
    shmctl(memory, IPC_RMID, NULL);
    runs(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_lives_runs),
        cmocka_unit_test(whose_memory_is_used_runs),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
