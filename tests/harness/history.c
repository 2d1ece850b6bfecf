/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/history.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS_MOST = 32 };

typedef struct Words {
    char *at[WORDS_MOST + 1]; /* ended by NULL */
    size_t count;
} Words;

static void add(Words *words, const char *word)
{
    if (words->count == WORDS_MOST || (words->at[words->count++] = strdup(word)) == NULL)
        abort();
}

static void add_option(Words *words, const char *name, const char *value)
{
    if (value == NULL)
        return;
    add(words, name);
    add(words, value);
}

/* Beside the folder that this test program lies in. */
static void add_worker(Words *words)
{
    char path[PATH_MAX + 32];
    ssize_t len = readlink("/proc/self/exe", path, PATH_MAX);
    path[len > 0 ? len : 0] = '\0';
    char *name = strrchr(path, '/');
    if (name == NULL)
        abort();
    snprintf(name, sizeof path - (size_t)(name - path), "/../holdfast-worker");
    add_option(words, "--worker", path);
}

static void command(Words *words, const Postgres *pg, const History *history)
{
    char text[32];
    add(words, "python3");
    add(words, "-B");
    add(words, HOLDFAST_SOURCES "/tests/harness/invariants.py");
    add_option(words, "--catalogue", postgres_url(pg));
    if (!history->settled)
        add(words, "--running");
    if (history->redis != NULL && redis_server_pid(history->redis) > 0) {
        snprintf(text, sizeof text, "127.0.0.1:%u", redis_server_port(history->redis));
        add_option(words, "--redis", text);
        add(words, "--unacknowledged"); /* no whole scheduler runs in these tests */
    }
    if (history->store != NULL) {
        add_option(words, "--store", history->store);
        add_option(words, "--key-set", history->key_set);
        add_option(words, "--keys", history->keys);
        add_worker(words);
    }
    for (size_t i = 0; i < HISTORY_BROKEN_MOST; i++)
        add_option(words, "--broken", history->broken[i]);
}

static int run(char *const *words)
{
    int status = -1;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(STDERR_FILENO, STDOUT_FILENO);
        execv("/usr/bin/python3", words);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return -1;
    return status;
}

void history_broken(History *history, const char *what_and_why)
{
    size_t i = 0;
    while (i < HISTORY_BROKEN_MOST && history->broken[i] != NULL)
        i++;
    if (i == HISTORY_BROKEN_MOST)
        abort();
    history->broken[i] = what_and_why;
}

bool history_holds(Postgres *pg, const History *history)
{
    Words words = {0};
    if (postgres_pid(pg) <= 0)
        postgres_again(pg);
    command(&words, pg, history);
    int status = run(words.at);
    for (size_t i = 0; i < words.count; i++)
        free(words.at[i]);
    return status == 0;
}
