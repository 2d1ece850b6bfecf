/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/wal/wal_control.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

bool wal_control_system(const char *folder, uint64_t *system, Err *err)
{
    char path[PATH_MAX + 40];
    uint8_t bytes[8];
    int fd = open("global/pg_control", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        snprintf(path, sizeof path, "%s/../global/pg_control", folder);
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    ssize_t got = fd < 0 ? -1 : read(fd, bytes, sizeof bytes);
    if (fd >= 0)
        close(fd);
    if (got != sizeof bytes)
        return err_set_sys(
            err, ERR_IO, "wal.control",
            "reading global/pg_control: wal-push and wal-fetch are to be called as a "
            "server does, in its data directory, with %%p");
    *system = 0;
    for (size_t i = sizeof bytes; i > 0; i--)
        *system = *system << 8 | bytes[i - 1];
    return true;
}
