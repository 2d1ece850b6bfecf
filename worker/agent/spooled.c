/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/agent/spooled.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/catalog/catalog_log.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SYSTEMS_MOST = 32, SYSTEM = 24, SEGMENT_DIGITS = 24 };

static const int64_t LOOK_NS = INT64_C(250) * 1000000;
static const int64_t TELL_NS = INT64_C(1000) * 1000000; /* again while something waits */
static const int64_t LOST_NS = INT64_C(5000) * 1000000; /* after the catalogue did not answer */

typedef struct Found {
    char system[SYSTEM];
    uint64_t files, bytes;
    int64_t oldest_ns;
} Found;

struct SpoolWatch {
    DeskTask task; /* first */
    Desk *desk;
    Found found[SYSTEMS_MOST]; /* what is told, or was told last */
    size_t count;
    bool busy, told; /* told: nothing waits, and the catalogue knows */
    int64_t next_look_ns, next_tell_ns;
};

static bool tell(DeskTask *task, Catalog *catalog, Err *err)
{
    const SpoolWatch *watch = (SpoolWatch *)task;
    for (size_t i = 0; i < watch->count; i++) {
        const Found *one = &watch->found[i];
        LogSpool spool = {text_of(one->system), one->files, one->bytes, one->oldest_ns};
        uint64_t job;
        if (!catalog_log_spooled(catalog, &spool, &job, err))
            return false;
    }
    return true;
}

static void told(DeskTask *task, const Err *err)
{
    SpoolWatch *watch = (SpoolWatch *)task;
    bool fine = err->code == ERR_NONE;
    uint64_t waiting = 0;
    for (size_t i = 0; i < watch->count; i++)
        waiting += watch->found[i].files;
    watch->busy = false;
    watch->told = fine && waiting == 0;
    watch->next_tell_ns = clock_mono_ns() + (fine ? TELL_NS : LOST_NS);
    if (!fine && err->code != ERR_CANCELLED)
        log_err("wal.spool_untold", err);
}

SpoolWatch *spooled_new(Desk *desk)
{
    SpoolWatch *watch = mem_new(SpoolWatch);
    watch->desk = desk;
    return watch;
}

/* Whole, or the last of a timeline; what else lies there does not wait. */
static bool is_segment(const char *name)
{
    return strspn(name, "0123456789ABCDEF") == SEGMENT_DIGITS &&
           (name[SEGMENT_DIGITS] == '\0' || strcmp(name + SEGMENT_DIGITS, ".partial") == 0);
}

static void count_files(int fd, Found *found)
{
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        close(fd);
        return;
    }
    for (const struct dirent *one; (one = readdir(dir)) != NULL;) {
        struct stat info;
        if (!is_segment(one->d_name) ||
            fstatat(dirfd(dir), one->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        int64_t at = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
        found->files++;
        found->bytes += (uint64_t)info.st_size;
        if (found->oldest_ns == 0 || at < found->oldest_ns)
            found->oldest_ns = at;
    }
    closedir(dir);
}

static bool is_system(const char *name)
{
    size_t len = strspn(name, "0123456789");
    return len > 0 && len < SYSTEM && name[len] == '\0';
}

/* Files that wait, of all clusters. */
static uint64_t look(SpoolWatch *watch, const char *root)
{
    uint64_t files = 0;
    DIR *dir = opendir(root);
    watch->count = 0;
    if (dir == NULL)
        return 0;
    for (const struct dirent *one; watch->count < SYSTEMS_MOST && (one = readdir(dir)) != NULL;) {
        int fd = is_system(one->d_name) ? openat(dirfd(dir), one->d_name,
                                                 O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                                        : -1;
        if (fd < 0)
            continue;
        Found *found = &watch->found[watch->count++];
        *found = (Found){0};
        memcpy(found->system, one->d_name, strlen(one->d_name) + 1);
        count_files(fd, found);
        files += found->files;
    }
    closedir(dir);
    return files;
}

void spooled_look(SpoolWatch *watch, const char *root)
{
    int64_t now = clock_mono_ns();
    if (root == NULL || watch->busy || now < watch->next_look_ns || now < watch->next_tell_ns)
        return;
    watch->next_look_ns = now + LOOK_NS;
    uint64_t files = look(watch, root);
    if (watch->count == 0 || (files == 0 && watch->told))
        return;
    watch->busy = true;
    watch->task = (DeskTask){.work = tell, .done = told};
    desk_post(watch->desk, &watch->task);
}

void spooled_free(SpoolWatch *watch)
{
    mem_free(watch);
}
