/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_running.h"

#include "worker/engine/files_beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/shm.h>
#include <unistd.h>

enum { LINE_OF_MEMORY = 7 };

static void read_file(Text path, char *text, size_t room)
{
    int directory = files_beneath_open_absolute(path, O_PATH | O_DIRECTORY);
    int fd = directory < 0 ? -1
                           : openat(directory, "postmaster.pid",
                                    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : read(fd, text, room - 1);
    text[got > 0 ? got : 0] = 0;
    if (fd >= 0)
        close(fd);
    if (directory >= 0)
        close(directory);
}

/* "  5432001   98304": key and id. */
static bool memory_is_used(const char *text)
{
    struct shmid_ds about;
    char *end = NULL;
    for (int line = 1; line < LINE_OF_MEMORY && text != NULL; line++) {
        text = strchr(text, '\n');
        text = text == NULL ? NULL : text + 1;
    }
    if (text == NULL)
        return false;
    (void)strtoul(text, &end, 10);
    const char *id = end;
    long shared = strtol(id, &end, 10);
    return end != id && shmctl((int)shared, IPC_STAT, &about) == 0 && about.shm_nattch > 0;
}

bool postgresql_running_none(Text path, Err *err)
{
    char text[1024];
    read_file(path, text, sizeof text);
    long pid = labs(strtol(text, NULL, 10)); /* a single-user server writes it with a minus */
    if (pid > 1 && pid != getpid() && (kill((pid_t)pid, 0) == 0 || errno != ESRCH))
        return err_set(err, ERR_CONFLICT, "target.running",
                       "a PostgreSQL server (process %ld) runs on %.*s: stop it, or restore "
                       "elsewhere; if that process is something else, remove postmaster.pid there",
                       pid, TEXT_ARG(path));
    if (pid == 1)
        return err_set(err, ERR_CONFLICT, "target.running",
                       "%.*s was opened by a server in a container (postmaster.pid says 1), which "
                       "cannot be seen from here: when it is stopped, remove postmaster.pid there",
                       TEXT_ARG(path));
    if (memory_is_used(text))
        return err_set(err, ERR_CONFLICT, "target.running",
                       "the PostgreSQL server of %.*s (process %ld) was killed and processes of it "
                       "live on: end them, `ps -C postgres` shows them",
                       TEXT_ARG(path), pid);
    return true;
}
