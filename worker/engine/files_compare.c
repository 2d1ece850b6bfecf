/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_compare.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/engine/files_beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* What files_apply restores without being asked for more. */
#define MODE_BITS 01777U

enum { LANES = 4, BLOCK = 1 << 18, LINK_ROOM = 4096, DIFFERENCE = 300 };

typedef struct Lane {
    int fd; /* of the file that is compared, or -1 */
    uint64_t at, size;
    bool differs; /* told already */
    uint8_t *block;
} Lane;

typedef struct FilesCompare {
    Target base;
    char *folder;
    int root;
    Lane lanes[LANES];
    atomic_uint_fast64_t given, directories, devices, links, files, bytes, different;
    pthread_mutex_t lock; /* of what follows */
    char first[DIFFERENCE];
    Err unread; /* this user may not read what it made */
} FilesCompare;

static FilesCompare *own(Target *t)
{
    return (FilesCompare *)t;
}

static void differ(FilesCompare *compare, const Entry *entry, const char *what)
{
    pthread_mutex_lock(&compare->lock);
    if (compare->different++ == 0) {
        scoped(buf_free) Buf name = {0};
        json_escape_bytes(slice_of_text(entry->path), &name);
        snprintf(compare->first, sizeof compare->first, "%s: %s", buf_cstr(&name), what);
    }
    pthread_mutex_unlock(&compare->lock);
}

static unsigned compare_lanes(const Target *t)
{
    (void)t;
    return LANES;
}

static bool compare_phase(Target *t, uint8_t phase, Err *err)
{
    (void)t, (void)phase, (void)err;
    return true;
}

static mode_t kind_of(uint8_t type)
{
    switch (type) {
    case ENTRY_DIRECTORY:
        return S_IFDIR;
    case ENTRY_SYMLINK:
        return S_IFLNK;
    case ENTRY_FIFO:
        return S_IFIFO;
    case ENTRY_SOCKET:
        return S_IFSOCK;
    default:
        return S_IFREG;
    }
}

static const char *compare_symlink(int fd, const Entry *entry)
{
    char to[LINK_ROOM];
    ssize_t len = readlinkat(fd, "", to, sizeof to);
    Text there = {to, len < 0 ? 0 : (size_t)len};
    return len >= 0 && text_equal(there, entry->link) ? NULL : "it leads elsewhere";
}

static const char *compare_hard_link(const FilesCompare *compare, const struct stat *now,
                                     const Entry *entry)
{
    struct stat first;
    int fd = files_beneath_open(compare->root, entry->link, O_PATH | O_NOFOLLOW);
    bool same = fd >= 0 && fstat(fd, &first) == 0 && first.st_ino == now->st_ino &&
                first.st_dev == now->st_dev;
    if (fd >= 0)
        close(fd);
    return same ? NULL : "it is no link to what it was one to";
}

/* NULL: as it was. */
static const char *compare_stat(const FilesCompare *compare, int fd, const Entry *entry)
{
    struct stat now;
    if (fstat(fd, &now) != 0)
        return "it cannot be looked at";
    if (entry->type == ENTRY_HARDLINK)
        return compare_hard_link(compare, &now, entry);
    if ((now.st_mode & S_IFMT) != kind_of(entry->type))
        return "it is another kind of thing";
    if (entry->type == ENTRY_SYMLINK)
        return compare_symlink(fd, entry);
    if ((now.st_mode & MODE_BITS) != (entry->mode & MODE_BITS))
        return "its mode differs";
    int64_t time = (int64_t)now.st_mtim.tv_sec * 1000000000 + now.st_mtim.tv_nsec;
    return time == entry->mtime_ns ? NULL : "its time differs";
}

static void open_content(FilesCompare *compare, Lane *lane, const Entry *entry)
{
    struct stat now;
    lane->fd = files_beneath_open(compare->root, entry->path, O_RDONLY | O_NOFOLLOW);
    if (lane->fd < 0 && errno == EACCES && geteuid() != 0) {
        pthread_mutex_lock(&compare->lock);
        err_set(&compare->unread, ERR_DENIED, "sandbox.user",
                "this worker's user may not read some of the files that it restored: prove this "
                "source on a worker that runs as root");
        pthread_mutex_unlock(&compare->lock);
        return;
    }
    if (lane->fd < 0 || fstat(lane->fd, &now) != 0) {
        differ(compare, entry, "it cannot be opened");
        return;
    }
    /* Written by now: what is read comes from the disk. */
    (void)posix_fadvise(lane->fd, 0, 0, POSIX_FADV_DONTNEED);
    lane->size = (uint64_t)now.st_size;
}

static void count(FilesCompare *compare, const Entry *entry)
{
    compare->given++;
    if (entry->type == ENTRY_DIRECTORY)
        compare->directories++;
    else if (entry->type == ENTRY_FILE)
        compare->files++;
    else
        compare->links++;
}

static bool compare_begin(Target *t, unsigned at, const Entry *entry, bool *want, Err *err)
{
    FilesCompare *compare = own(t);
    Lane *lane = &compare->lanes[at];
    (void)err;
    *want = false;
    if (lane->fd >= 0)
        close(lane->fd);
    *lane = (Lane){.fd = -1, .block = lane->block};
    if (entry->type == ENTRY_CHARDEV || entry->type == ENTRY_BLOCKDEV) {
        compare->devices++;
        return true;
    }
    count(compare, entry);
    int fd = files_beneath_open(compare->root, entry->path, O_PATH | O_NOFOLLOW);
    const char *what = fd < 0 ? "it is not there" : compare_stat(compare, fd, entry);
    if (fd >= 0)
        close(fd);
    if (what != NULL)
        differ(compare, entry, what);
    else if (entry->type == ENTRY_FILE)
        open_content(compare, lane, entry);
    *want = lane->fd >= 0;
    return true;
}

/* bytes.at NULL: so many zeros. */
static bool compare_bytes(FilesCompare *compare, Lane *lane, const uint8_t *bytes, uint64_t len)
{
    while (len > 0) {
        size_t part = len < BLOCK ? (size_t)len : BLOCK;
        ssize_t got = pread(lane->fd, lane->block, part, (off_t)lane->at);
        if (got <= 0)
            return false;
        bool same = bytes != NULL;
        if (bytes != NULL)
            same = memcmp(lane->block, bytes, (size_t)got) == 0;
        else
            for (ssize_t i = (same = true, 0); same && i < got; i++)
                same = lane->block[i] == 0;
        if (!same)
            return false;
        bytes = bytes == NULL ? NULL : bytes + got;
        lane->at += (uint64_t)got;
        compare->bytes += (uint64_t)got;
        len -= (uint64_t)got;
    }
    return true;
}

static bool compare_write(Target *t, unsigned at, Slice bytes, Err *err)
{
    FilesCompare *compare = own(t);
    Lane *lane = &compare->lanes[at];
    (void)err;
    lane->differs = lane->differs || !compare_bytes(compare, lane, bytes.at, bytes.len);
    return true;
}

static bool compare_zeros(Target *t, unsigned at, uint64_t count, Err *err)
{
    FilesCompare *compare = own(t);
    Lane *lane = &compare->lanes[at];
    (void)err;
    lane->differs = lane->differs || !compare_bytes(compare, lane, NULL, count);
    return true;
}

static bool compare_end(Target *t, unsigned at, const Entry *entry, Err *err)
{
    FilesCompare *compare = own(t);
    Lane *lane = &compare->lanes[at];
    (void)err;
    if (lane->fd < 0)
        return true;
    if (lane->differs)
        differ(compare, entry, "its content differs");
    else if (lane->at != lane->size)
        differ(compare, entry, "it has another length");
    close(lane->fd);
    lane->fd = -1;
    return true;
}

/* --- the end -------------------------------------------------------------------------------- */

static _Thread_local uint64_t met; /* of the walk: nftw lends no context */

static int meet(const char *path, const struct stat *about, int type, struct FTW *where)
{
    (void)path, (void)about, (void)where;
    if (type != FTW_D && type != FTW_DNR)
        met++;
    return 0;
}

static bool judge(FilesCompare *compare, Err *err)
{
    uint64_t expected = compare->given - compare->directories;
    met = 0;
    if (compare->unread.code != ERR_NONE) {
        *err = compare->unread;
        return false;
    }
    if (compare->different > 0)
        return err_set(err, ERR_CORRUPT, "proof.files",
                       "%" PRIu64 " of what was restored is not as the backup has it, first %s; "
                       "look at the disk of this host, then verify the backup's content",
                       (uint64_t)compare->different, compare->first);
    if (nftw(compare->folder, meet, 16, FTW_PHYS) != 0)
        return err_set_sys(err, ERR_IO, "sandbox.folder", "counting what is in %s",
                           compare->folder);
    return met == expected ||
           err_set(err, ERR_CORRUPT, "proof.files",
                   "the restore left %" PRIu64 " files and links, the backup has %" PRIu64
                   ": somebody else writes into the sandbox's folder, or some were not made",
                   met, expected);
}

static bool compare_finish(Target *t, json_t **report, Err *err)
{
    FilesCompare *compare = own(t);
    *report = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "files", (json_int_t)compare->files,
                        "directories", (json_int_t)compare->directories, "links",
                        (json_int_t)compare->links, "bytes", (json_int_t)compare->bytes, "devices",
                        (json_int_t)compare->devices, "different", (json_int_t)compare->different);
    return judge(compare, err);
}

static void compare_close(Target *t)
{
    FilesCompare *compare = own(t);
    for (unsigned i = 0; i < LANES; i++) {
        if (compare->lanes[i].fd >= 0)
            close(compare->lanes[i].fd);
        mem_free(compare->lanes[i].block);
    }
    if (compare->root >= 0)
        close(compare->root);
    pthread_mutex_destroy(&compare->lock);
    mem_free(compare->folder);
    mem_free(compare);
}

static const TargetOps compare_ops = {compare_lanes, compare_phase, compare_begin,  compare_write,
                                      compare_zeros, compare_end,   compare_finish, compare_close};

bool files_compare_open(Target **out, const char *folder, Err *err)
{
    FilesCompare *compare = mem_new(FilesCompare);
    compare->base.ops = &compare_ops;
    compare->folder = mem_string(folder);
    pthread_mutex_init(&compare->lock, NULL);
    for (unsigned i = 0; i < LANES; i++) {
        compare->lanes[i].fd = -1;
        compare->lanes[i].block = mem_array(uint8_t, BLOCK);
    }
    compare->root = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (compare->root < 0) {
        err_set_sys(err, ERR_IO, "sandbox.folder", "cannot open %s", folder);
        compare_close(&compare->base);
        return false;
    }
    *out = &compare->base;
    return true;
}
