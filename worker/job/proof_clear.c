/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/proof_clear.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEEPEST = 24, PASSES = 8, LOOKS = 1000 };

typedef struct Clear {
    int top; /* what lies deeper than DEEPEST is moved up here first */
    unsigned long raised;
} Clear;

static bool clear_folder(Clear *clear, int folder, unsigned depth);

static int open_below(int folder, const char *name)
{
    int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(folder, name, flags);
    if (fd >= 0 || errno != EACCES)
        return fd;
    /* Restored without our rights; who is not root owns all of it. */
    (void)!fchmodat(folder, name, 0700, 0);
    return openat(folder, name, flags);
}

static bool clear_one(Clear *clear, int folder, const char *name, unsigned depth)
{
    char raised[40];
    if (unlinkat(folder, name, 0) == 0 || errno == ENOENT)
        return true;
    if (errno != EISDIR && errno != EPERM)
        return false;
    if (depth >= DEEPEST) {
        snprintf(raised, sizeof raised, ".raised-%lu", clear->raised++);
        return renameat(folder, name, clear->top, raised) == 0;
    }
    int fd = open_below(folder, name);
    return fd >= 0 && clear_folder(clear, fd, depth + 1) &&
           unlinkat(folder, name, AT_REMOVEDIR) == 0;
}

static bool is_dot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Takes the descriptor. Again while something was there: what was raised lands at the top. */
static bool clear_folder(Clear *clear, int folder, unsigned depth)
{
    DIR *list = fdopendir(folder);
    bool fine = list != NULL, found = true;
    int looks = 0;
    if (list == NULL)
        close(folder);
    else
        (void)!fchmod(folder, 0700);
    while (fine && found) {
        found = false;
        if (looks++ == LOOKS) { /* somebody makes them faster than they go */
            errno = EBUSY;
            fine = false;
        }
        rewinddir(list);
        for (const struct dirent *one = readdir(list); fine && one != NULL; one = readdir(list)) {
            if (is_dot(one->d_name))
                continue;
            found = true;
            fine = clear_one(clear, folder, one->d_name, depth);
        }
    }
    int kept = errno;
    if (list != NULL)
        closedir(list);
    errno = kept;
    return fine;
}

bool proof_clear(const char *folder)
{
    for (int pass = 0; pass < PASSES; pass++) {
        Clear clear = {.top = open_below(AT_FDCWD, folder)};
        if (clear.top < 0)
            return errno == ENOENT;
        int again = fcntl(clear.top, F_DUPFD_CLOEXEC, 3);
        bool fine = again >= 0 && clear_folder(&clear, again, 0);
        int kept = errno;
        close(clear.top);
        if (fine && (rmdir(folder) == 0 || errno == ENOENT))
            return true;
        if (!fine) {
            errno = kept;
            return false;
        }
    }
    return false;
}
