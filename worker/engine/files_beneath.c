/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    PIECE = 4000,     /* PATH_MAX is 4096 with the NUL */
    NAME_BYTES = 255, /* NAME_MAX of every file system this runs on */
};

static int open_piece(int directory, Text path, int flags)
{
    char name[PIECE + 1];
    struct open_how how = {.flags = (unsigned)flags | O_CLOEXEC};
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    memcpy(name, path.at, path.len);
    name[path.len] = '\0';
    /* EAGAIN: a rename raced with the walk and the kernel could not be sure; trying again is right.
     */
    for (int tries = 0; tries < 64; tries++) {
        long fd = syscall(SYS_openat2, directory, path.len == 0 ? "." : name, &how, sizeof how);
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            return (int)fd;
    }
    return -1;
}

int files_beneath_open(int directory, Text path, int flags)
{
    int from = directory;
    while (path.len > PIECE) {
        size_t cut = PIECE;
        while (cut > 0 && path.at[cut] != '/')
            cut--;
        if (cut == 0) {
            if (from != directory)
                close(from);
            errno = ENAMETOOLONG;
            return -1;
        }
        int next = open_piece(from, (Text){path.at, cut}, O_PATH | O_DIRECTORY);
        int failure = errno;
        if (from != directory)
            close(from);
        errno = failure;
        if (next < 0)
            return -1;
        from = next;
        path = (Text){path.at + cut + 1, path.len - cut - 1};
    }
    int fd = open_piece(from, path, flags);
    int failure = errno;
    if (from != directory)
        close(from);
    errno = failure;
    return fd;
}

int files_beneath_open_absolute(Text path, int flags)
{
    if (path.len == 0 || path.at[0] != '/') {
        errno = EINVAL;
        return -1;
    }
    int top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (top < 0)
        return -1;
    while (path.len > 0 && path.at[0] == '/')
        path = (Text){path.at + 1, path.len - 1};
    while (path.len > 0 && path.at[path.len - 1] == '/')
        path.len--;
    int fd = files_beneath_open(top, path, flags);
    int failure = errno;
    close(top);
    errno = failure;
    return fd;
}

static bool part_is_safe(Text part)
{
    return part.len > 0 && part.len <= NAME_BYTES && !text_equal(part, TEXT(".")) &&
           !text_equal(part, TEXT("..")) && memchr(part.at, '\0', part.len) == NULL;
}

bool files_beneath_check(Text path, Err *err)
{
    bool safe = path.len > 0;
    for (size_t at = 0, end; safe && at <= path.len; at = end + 1) {
        for (end = at; end < path.len && path.at[end] != '/';)
            end++;
        safe = part_is_safe((Text){path.at + at, end - at});
    }
    if (safe)
        return true;
    int shown = path.len > 120 ? 120 : (int)path.len;
    return err_set(err, ERR_CORRUPT, "files.hostile_name",
                   "the backup holds the name '%.*s', which would leave the restore target; it is "
                   "not restored: verify the backup and ask who could write this repository",
                   shown, path.at);
}

void files_beneath_split(Text path, Text *directory, Text *name)
{
    size_t slash = path.len;
    while (slash > 0 && path.at[slash - 1] != '/')
        slash--;
    *directory = (Text){path.at, slash == 0 ? 0 : slash - 1};
    *name = (Text){path.at + slash, path.len - slash};
}
