/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/agent/always.h"

#include "common/base/json.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NOTE_MOST = 1 << 20 };

bool always_wanted(const json_t *order)
{
    const json_t *hooks = json_object_get(json_object_get(order, "policy"), "hooks");
    return json_is_true(json_object_get(json_object_get(hooks, "after"), "always"));
}

static bool write_note(int fd, Text order, Err *err)
{
    /* Locked before it has content: a finder takes an empty one for unfinished. */
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return err_set_sys(err, ERR_BUSY, "agent.note", "locking the note of a hook");
    ssize_t wrote = write(fd, order.at, order.len);
    if (wrote < 0 || (size_t)wrote != order.len || fsync(fd) != 0)
        return err_set_sys(err, err_code_of_errno(errno), "agent.note",
                           "writing the note of a hook");
    return true;
}

bool always_note(const char *cache, const Fence *fence, Text order, char path[ALWAYS_PATH], int *fd,
                 Err *err)
{
    snprintf(path, ALWAYS_PATH, "%s/always", cache);
    (void)mkdir(path, 0700);
    snprintf(path, ALWAYS_PATH, "%s/always/%" PRIu64 ".%" PRIu64, cache, fence->job,
             fence->attempt);
    *fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (*fd < 0)
        return err_set_sys(err, err_code_of_errno(errno), "agent.note",
                           "a job with a hook marked always needs %s; see to cache in worker.yaml",
                           path);
    if (write_note(*fd, order, err))
        return true;
    always_done(path, fd);
    return false;
}

void always_done(const char *path, int *fd)
{
    if (*fd < 0)
        return;
    unlink(path);
    close(*fd);
    *fd = -1;
}

/* A note is for its finder when it is a file of ours, whole, and unlocked. */
static bool take_note(const char *path, int *fd, Buf *order)
{
    struct stat about;
    *fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    bool ok = *fd >= 0 && flock(*fd, LOCK_EX | LOCK_NB) == 0 && fstat(*fd, &about) == 0 &&
              S_ISREG(about.st_mode) && about.st_uid == geteuid() && about.st_nlink == 1 &&
              about.st_size <= NOTE_MOST;
    if (ok) {
        size_t size = (size_t)about.st_size;
        uint8_t *at = buf_extend(order, size);
        ok = read(*fd, at, size) == (ssize_t)size;
    }
    if (!ok && *fd >= 0)
        close(*fd);
    return ok;
}

void always_left(const char *cache, AlwaysVisit *visit, void *ctx)
{
    char path[ALWAYS_PATH];
    snprintf(path, sizeof path, "%s/always", cache);
    DIR *directory = opendir(path);
    for (const struct dirent *one = directory == NULL ? NULL : readdir(directory); one != NULL;
         one = readdir(directory)) {
        scoped(buf_free) Buf order = {0};
        int fd = -1;
        if (one->d_name[0] == '.' || strlen(one->d_name) > 64)
            continue;
        snprintf(path, sizeof path, "%s/always/%s", cache, one->d_name);
        if (!take_note(path, &fd, &order))
            continue;
        if (order.len == 0)
            always_done(path, &fd); /* died before anything was started */
        else
            visit(ctx, path, buf_text(&order), fd);
    }
    if (directory != NULL)
        closedir(directory);
}
