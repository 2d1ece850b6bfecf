/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/crashpoint.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool watching;
static long fatal;
static const char *only;
static int log_fd = -1;
static int number = SIGKILL;
static atomic_long passed;

static void start(void)
{
    const char *n = getenv("HOLDFAST_CRASHPOINT");
    const char *log = getenv("HOLDFAST_CRASHPOINT_LOG");
    const char *how = getenv("HOLDFAST_CRASHPOINT_HOW");
    only = getenv("HOLDFAST_CRASHPOINT_ONLY");
    number = how != NULL && strcmp(how, "stop") == 0 ? SIGSTOP : SIGKILL;
    fatal = n == NULL ? 0 : strtol(n, NULL, 10);
    if (log != NULL)
        log_fd = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    watching = fatal > 0 || log_fd >= 0;
}

void crashpoint_pass(const char *name)
{
    pthread_once(&once, start);
    if (!watching || (only != NULL && strncmp(name, only, strlen(only)) != 0))
        return;
    if (log_fd >= 0) {
        char line[128];
        size_t len = strnlen(name, sizeof line - 1);
        memcpy(line, name, len);
        line[len] = '\n';
        if (write(log_fd, line, len + 1) < 0)
            abort();
    }
    if (atomic_fetch_add(&passed, 1) + 1 == fatal)
        pthread_kill(pthread_self(), number); /* this thread stops here, not a little later */
}
