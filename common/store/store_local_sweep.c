/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/store_local_sweep.h"

#include "common/base/clock.h"
#include "protocol/ids.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static bool failed(const char *name, Err *err)
{
    return errno == ENOENT || err_set_sys(err, err_code_of_errno(errno), "store.sweep", "%s", name);
}

/* Of a put, a replace or an alias of ours: others may keep hidden files of their own beside. */
static bool is_temporary(const char *name)
{
    Uuid id;
    Err ignored = {0};
    size_t len = sizeof STORE_LOCAL_TEMPORARY - 1;
    return strncmp(name, STORE_LOCAL_TEMPORARY, len) == 0 &&
           uuid_parse(text_of(name + len), &id, &ignored);
}

static bool sweep_file(int directory, const char *name, const struct stat *st, StoreSweep *sweep,
                       Err *err)
{
    int64_t age_ms = clock_wall_ns() / 1000000 - (int64_t)st->st_mtime * 1000;
    if (!is_temporary(name) || age_ms < sweep->age_ms)
        return true;
    sweep->found++;
    if (sweep->look_only)
        return true;
    if (unlinkat(directory, name, 0) != 0)
        return failed(name, err);
    sweep->removed++;
    return true;
}

static bool sweep_directory(int directory, StoreSweep *sweep, Err *err);

static bool sweep_one(int directory, const char *name, StoreSweep *sweep, Err *err)
{
    struct stat st;
    if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return failed(name, err);
    if (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode))
        return sweep_file(directory, name, &st, sweep, err);
    if (!S_ISDIR(st.st_mode) || name[0] == '.')
        return true;
    int next = openat(directory, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return next < 0 ? failed(name, err) : sweep_directory(next, sweep, err);
}

/* Takes the descriptor over. */
static bool sweep_directory(int directory, StoreSweep *sweep, Err *err)
{
    bool fine = true;
    DIR *open = fdopendir(directory);
    if (open == NULL) {
        close(directory);
        return err_set_sys(err, ERR_IO, "store.sweep", "a directory");
    }
    while (fine) {
        errno = 0;
        struct dirent *item = readdir(open);
        if (item == NULL) {
            fine = errno == 0 || err_set_sys(err, ERR_IO, "store.sweep", "a directory");
            break;
        }
        fine = sweep_one(directory, item->d_name, sweep, err);
    }
    closedir(open);
    return fine;
}

bool store_local_sweep(int root, StoreSweep *sweep, Err *err)
{
    int own = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return own < 0 ? failed(".", err) : sweep_directory(own, sweep, err);
}
