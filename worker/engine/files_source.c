/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_source.h"

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/engine/files_ahead.h"
#include "worker/engine/files_glob.h"
#include "worker/engine/files_grown.h"
#include "worker/engine/files_links.h"
#include "worker/engine/files_owner.h"
#include "worker/engine/files_stand.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

enum {
    PHASE_MAKE = 0,
    PHASE_LINK = 1,
    PHASE_SYMLINK = 2,
    PHASE_SYMLINK_LINK = 3,
};

/* Two ticks of the slowest kernel clock: a time stamp younger than this may hide a second change.
 */
#define STAMP_NS INT64_C(20000000)

typedef struct RootCount {
    uint64_t entries, bytes;
} RootCount;

typedef struct FilesSource {
    Source base;
    const EngineHost *host;
    FilesGlob *exclude;
    FilesWalk *walk;
    FilesAhead *ahead; /* looks at what the walk yields */
    FilesLinks *links;
    FilesMarks *marks;
    FilesOwner *owner;
    FilesSeen *seen;
    FilesFound found; /* of `seen`; its status is the latest look's */
    FilesStand stand;
    Buf link;     /* target of a symbolic link, or first path of a hard link */
    bool linked;  /* the current entry is the first name of its inode */
    bool content; /* the current entry has bytes to read */
    int fd;       /* of the current content, or -1 */
    struct stat opened;
    uint64_t at;                   /* in the content */
    bool sparse, withdrawn, again; /* again: the same entry is to be yielded once more */
    bool second;                   /* this is the second reading */
    uint32_t sum, before;          /* of what it read so far; of the same just before it */
    bool looked;                   /* `before` is known */
    bool specials;                 /* fifos, sockets and devices are kept */
    RootCount *counts;
    int64_t started_ns;
    Buf details;
} FilesSource;

static FilesSource *own(Source *s)
{
    return (FilesSource *)s;
}

static void tell(FilesSource *source, IssueKind kind, int sys, const char *text)
{
    Issue issue = {kind, sys, source->found.path, text_of(text)};
    source->host->issue(source->host->ctx, &issue);
}

static void on_walk_issue(void *ctx, const Issue *issue)
{
    FilesSource *source = ctx;
    source->host->issue(source->host->ctx, issue);
}

static void tell_unreadable(FilesSource *source, int sys)
{
    if (sys == ENOENT)
        tell(source, ISSUE_NOTE, sys, "vanished between listing and opening");
    else if (sys == EACCES || sys == EPERM)
        tell(source, ISSUE_DENIED, sys,
             "permission refused: the content is not in the backup; let the worker read it, for "
             "example by CAP_DAC_READ_SEARCH, or exclude it");
    else
        tell(source, ISSUE_IO, sys, "read error: the content is not in the backup");
}

static int64_t stamp_ns(struct timespec at)
{
    return (int64_t)at.tv_sec * INT64_C(1000000000) + at.tv_nsec;
}

static bool same_content(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           stamp_ns(a->st_mtim) == stamp_ns(b->st_mtim) &&
           stamp_ns(a->st_ctim) == stamp_ns(b->st_ctim);
}

/* A file of this size is more likely to be edited in places than to be written anew. Below, larger
 * chunks save rows of the catalogue and requests. */
enum { LARGE_FILE = 16 * 1024 * 1024 };

/* Disk images and database files are cut at their pages. */
static uint8_t cut_of(Text path, uint64_t size)
{
    static const char *const endings[] = {".img", ".raw",  ".qcow2", ".vmdk",   ".vdi",
                                          ".vhd", ".vhdx", ".db",    ".sqlite", ".sqlite3",
                                          ".ibd", ".mdb",  ".frm",   ".myd",    ".dbf"};
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        Text ending = text_of(endings[i]);
        if (path.len > ending.len &&
            memcmp(path.at + path.len - ending.len, ending.at, ending.len) == 0)
            return CUT_IMAGE;
    }
    return size < LARGE_FILE ? CUT_DUMP : CUT_LARGE;
}

static uint8_t type_of(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return ENTRY_FILE;
    case S_IFDIR:
        return ENTRY_DIRECTORY;
    case S_IFLNK:
        return ENTRY_SYMLINK;
    case S_IFIFO:
        return ENTRY_FIFO;
    case S_IFSOCK:
        return ENTRY_SOCKET;
    case S_IFCHR:
        return ENTRY_CHARDEV;
    case S_IFBLK:
        return ENTRY_BLOCKDEV;
    default:
        return 0;
    }
}

static void fill_status(FilesSource *source, const struct stat *status, Entry *entry)
{
    entry->mode = status->st_mode & 07777;
    entry->uid = status->st_uid;
    entry->gid = status->st_gid;
    entry->user = files_owner_user(source->owner, status->st_uid);
    entry->group = files_owner_group(source->owner, status->st_gid);
    entry->mtime_ns = stamp_ns(status->st_mtim);
    entry->ctime_ns = stamp_ns(status->st_ctim);
    entry->device = status->st_dev;
    entry->inode = status->st_ino;
    entry->size = S_ISREG(status->st_mode) ? (uint64_t)status->st_size : 0;
    if (S_ISCHR(status->st_mode) || S_ISBLK(status->st_mode)) {
        entry->rdev_major = major(status->st_rdev);
        entry->rdev_minor = minor(status->st_rdev);
    }
}

static void fill_attributes(FilesSource *source, Entry *entry)
{
    int failure = source->seen->xattr_errno;
    if (failure != 0 && failure != ENOENT)
        tell(source, failure == EACCES || failure == EPERM ? ISSUE_DENIED : ISSUE_IO, failure,
             "its extended attributes could not be read: they are not in the backup");
    entry->attributes = source->seen->xattr.list;
    entry->attribute_count = source->seen->xattr.count;
    entry->attributes_unsure = source->seen->xattr.unsure;
}

static void look_at_attributes(FilesSource *source)
{
    source->seen->xattr_errno =
        files_stand_look(&source->stand, &source->found, &source->seen->xattr);
    source->seen->looked = true;
}

static bool read_link(FilesSource *source)
{
    size_t room = source->found.status.st_size > 0 ? (size_t)source->found.status.st_size + 1 : 256;
    for (;; room *= 2) {
        buf_clear(&source->link);
        ssize_t got = readlinkat(source->found.directory, source->found.name,
                                 (char *)buf_extend(&source->link, room), room);
        if (got < 0)
            return false;
        source->link.len = (size_t)got;
        if ((size_t)got < room)
            return true;
    }
}

/* Turns a later name of an inode into a hard link; remembers the first one. */
static void fill_hard_link(FilesSource *source, Entry *entry)
{
    const struct stat *status = &source->found.status;
    Text first;
    if (status->st_nlink < 2 || entry->type == ENTRY_DIRECTORY)
        return;
    FilesInode inode = {status->st_dev, status->st_ino};
    if (!files_links_meet(source->links, inode, status->st_nlink, entry->path, &first))
        return;
    if (first.len == 0) {
        source->linked = true;
        entry->note = TEXT("{\"links\":true}");
        return;
    }
    buf_clear(&source->link);
    buf_add_text(&source->link, first);
    entry->phase = entry->type == ENTRY_SYMLINK ? PHASE_SYMLINK_LINK : PHASE_LINK;
    entry->type = ENTRY_HARDLINK;
    entry->cut = 0;
    entry->size = 0;
    entry->link = buf_text(&source->link);
}

static const char *left_out(uint8_t type)
{
    return type == ENTRY_FIFO     ? "a fifo: `specials: false` of the source leaves it out"
           : type == ENTRY_SOCKET ? "a socket: `specials: false` of the source leaves it out"
                                  : "a device: `specials: false` of the source leaves it out";
}

/* False: there is nothing to yield, and it was told why. */
static bool fill_entry(FilesSource *source, Entry *entry)
{
    const struct stat *status = &source->found.status;
    *entry = (Entry){.path = source->found.path, .type = type_of(status->st_mode)};
    if (entry->type == 0) {
        tell(source, ISSUE_SKIPPED, 0, "an unknown kind of file: it is not in the backup");
        return false;
    }
    if (!source->specials && entry->type >= ENTRY_FIFO) {
        tell(source, ISSUE_NOTE, 0, left_out(entry->type));
        return false;
    }
    entry->phase = entry->type == ENTRY_SYMLINK ? PHASE_SYMLINK : PHASE_MAKE;
    if (entry->type == ENTRY_FILE)
        entry->cut = cut_of(entry->path, (uint64_t)status->st_size);
    fill_status(source, status, entry);
    fill_hard_link(source, entry);
    if (entry->type == ENTRY_HARDLINK)
        return true;
    if (entry->type == ENTRY_SYMLINK) {
        if (!read_link(source)) {
            tell_unreadable(source, errno);
            return false;
        }
        entry->link = buf_text(&source->link);
    }
    if (source->seen->looked)
        fill_attributes(source, entry);
    return true;
}

static unsigned source_lanes(const Source *s)
{
    (void)s;
    return 1;
}

/* The entry that was withdrawn because it changed, once more; false when it is gone. */
static bool look_again(FilesSource *source)
{
    source->again = false;
    source->second = true;
    if (fstatat(source->found.directory, source->found.name, &source->found.status,
                AT_SYMLINK_NOFOLLOW) == 0) {
        source->seen->looked = false;
        return true;
    }
    tell_unreadable(source, errno);
    return false;
}

static bool source_next(Source *s, unsigned lane, Entry *entry, bool *more, Err *err)
{
    FilesSource *source = own(s);
    (void)lane;
    for (*more = true;;) {
        if (source->host->cancelled(source->host->ctx))
            return err_set(err, ERR_CANCELLED, "files.cancelled", "the backup was cancelled");
        bool once_more = source->again && look_again(source);
        if (!once_more) {
            source->again = source->second = false;
            if (!files_ahead_next(source->ahead, &source->seen, err))
                return false;
            *more = source->seen != NULL;
            if (!*more)
                return true;
            source->found = source->seen->found;
        }
        source->withdrawn = source->linked = source->sparse = false;
        source->at = source->sum = 0;
        if (fill_entry(source, entry)) {
            source->content = entry->type == ENTRY_FILE;
            return true;
        }
    }
}

static bool source_attributes(Source *s, unsigned lane, Entry *entry, Err *err)
{
    FilesSource *source = own(s);
    (void)lane;
    (void)err;
    if (source->seen->looked || entry->type == ENTRY_HARDLINK)
        return true;
    look_at_attributes(source);
    fill_attributes(source, entry);
    return true;
}

/* A change within one tick of the file system's clock would leave no trace in the stamps. */
static void outwait_stamp(FilesSource *source)
{
    struct timespec now, pause = {.tv_nsec = STAMP_NS};
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    int64_t age = stamp_ns(now) - stamp_ns(source->opened.st_ctim);
    if (age >= 0 && age < STAMP_NS) {
        nanosleep(&pause, NULL);
        fstat(source->fd, &source->opened);
    }
}

static bool open_content(FilesSource *source)
{
    int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    source->fd = openat(source->found.directory, source->found.name, flags | O_NOATIME);
    if (source->fd < 0 && errno == EPERM)
        source->fd = openat(source->found.directory, source->found.name, flags);
    if ((source->fd < 0 && errno != ELOOP) ||
        (source->fd >= 0 && fstat(source->fd, &source->opened) != 0)) {
        tell_unreadable(source, errno);
        return false;
    }
    if (source->fd < 0 || !S_ISREG(source->opened.st_mode)) {
        /* Replaced by another kind of file since it was listed: yield what it is now. */
        source->again = !source->second;
        if (source->second)
            tell(source, ISSUE_TORN, 0, "it was replaced while it was read, twice");
        return false;
    }
    outwait_stamp(source);
    source->looked = source->second && files_grown_sum(source->fd, (uint64_t)source->opened.st_size,
                                                       source->host, &source->before);
    source->sparse = (int64_t)source->opened.st_blocks * 512 < source->opened.st_size;
    posix_fadvise(source->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return true;
}

/* At a hole: its length. Else 0, and *room is cut so that the read ends at the next hole. */
static uint64_t hole_at(FilesSource *source, size_t *room)
{
    off_t at = (off_t)source->at, end = source->opened.st_size;
    off_t data = lseek(source->fd, at, SEEK_DATA);
    if (data < 0)
        return errno == ENXIO ? (uint64_t)(end - at) : 0;
    if (data > at)
        return (uint64_t)((data > end ? end : data) - at);
    off_t hole = lseek(source->fd, at, SEEK_HOLE);
    if (hole > at && (uint64_t)(hole - at) < *room)
        *room = (size_t)(hole - at);
    return 0;
}

static bool source_read(Source *s, unsigned lane, uint8_t *at, size_t room, size_t *got,
                        uint64_t *zeros, Err *err)
{
    FilesSource *source = own(s);
    (void)lane;
    (void)err;
    *got = 0;
    *zeros = 0;
    if (source->withdrawn || !source->content)
        return true;
    if (source->fd < 0 && !open_content(source)) {
        source->withdrawn = true;
        return true;
    }
    uint64_t left = (uint64_t)source->opened.st_size - source->at;
    if (left == 0)
        return true;
    if (room > left)
        room = (size_t)left; /* what is appended while this reads belongs to the next backup */
    if (source->sparse && (*zeros = hole_at(source, &room)) != 0) {
        source->at += *zeros;
        if (source->second)
            source->sum = files_grown_zeros(source->sum, *zeros);
        return true;
    }
    ssize_t have;
    do
        have = pread(source->fd, at, room, (off_t)source->at);
    while (have < 0 && errno == EINTR);
    if (have < 0) {
        tell_unreadable(source, errno);
        source->withdrawn = true;
        return true;
    }
    source->at += (uint64_t)have; /* 0: it shrank, and `end` will see that */
    if (source->second)
        source->sum = files_grown_add(source->sum, at, (size_t)have);
    *got = (size_t)have;
    return true;
}

/* What was read is what the file held when its second reading began (files_grown.h). */
static bool only_grew(const FilesSource *source, const struct stat *now)
{
    uint32_t after;
    return now->st_ino == source->opened.st_ino && now->st_dev == source->opened.st_dev &&
           now->st_nlink > 0 && now->st_size > source->opened.st_size &&
           source->at == (uint64_t)source->opened.st_size && source->looked &&
           source->sum == source->before &&
           files_grown_sum(source->fd, source->at, source->host, &after) && source->sum == after;
}

/* After the last byte: did it stay what it was when the first one was read? */
static void judge_reading(FilesSource *source, Entry *entry)
{
    struct stat now = {0};
    bool steady = fstat(source->fd, &now) == 0 && same_content(&source->opened, &now) &&
                  source->at == (uint64_t)source->opened.st_size;
    if (!steady && !source->second) {
        source->again = source->withdrawn = true;
        return;
    }
    if (!steady && only_grew(source, &now))
        tell(source, ISSUE_NOTE, 0,
             "it grew while it was read: what it held when the reading began is in the backup");
    else if (!steady)
        tell(source, ISSUE_TORN, 0,
             "it changed while it was read, and again on the second reading");
    else if (source->second)
        tell(source, ISSUE_NOTE, 0, "it changed while it was read; steady on the second reading");
    if (stamp_ns(source->opened.st_ctim) != entry->ctime_ns) {
        look_at_attributes(source);
        fill_attributes(source, entry);
    }
    fill_status(source, &source->opened, entry);
    entry->size = source->at;
}

static bool source_end(Source *s, unsigned lane, Entry *entry, bool *keep, Err *err)
{
    FilesSource *source = own(s);
    (void)lane;
    (void)err;
    if (source->fd >= 0 && !source->withdrawn)
        judge_reading(source, entry);
    if (source->fd >= 0)
        close(source->fd);
    source->fd = -1;
    *keep = !source->withdrawn;
    if (*keep) {
        source->counts[source->found.root].entries++;
        source->counts[source->found.root].bytes += entry->size;
    } else if (source->linked) {
        FilesInode inode = {source->found.status.st_dev, source->found.status.st_ino};
        files_links_forget(source->links, inode);
    }
    return true;
}

static bool source_finish(Source *s, Receipt *receipt, Err *err)
{
    FilesSource *source = own(s);
    (void)err;
    json_t *items = json_array(), *details = json_object();
    for (size_t i = 0; i < files_walk_root_count(source->walk); i++) {
        scoped(buf_free) Buf path = {0};
        buf_add_byte(&path, '/');
        buf_add_text(&path, files_walk_root(source->walk, i));
        json_t *row = json_object();
        json_object_set_new(row, "kind", json_string("path"));
        json_object_set_new(row, "name", json_bytes(buf_slice(&path)));
        json_object_set_new(row, "entries", json_integer((json_int_t)source->counts[i].entries));
        json_object_set_new(row, "bytes", json_integer((json_int_t)source->counts[i].bytes));
        json_array_append_new(items, row);
    }
    json_object_set_new(details, "items", items);
    json_object_set_new(details, "excluded",
                        json_integer((json_int_t)files_walk_excluded(source->walk)));
    buf_clear(&source->details);
    json_canonical(details, &source->details);
    json_decref(details);
    *receipt =
        (Receipt){.consistent_ns = source->started_ns, .details = buf_text(&source->details)};
    return true;
}

static void source_close(Source *s)
{
    FilesSource *source = own(s);
    if (source->fd >= 0)
        close(source->fd);
    files_stand_leave(&source->stand);
    files_ahead_close(source->ahead);
    files_walk_close(source->walk);
    files_glob_free(source->exclude);
    files_links_free(source->links);
    files_owner_free(source->owner);
    files_marks_free(source->marks);
    buf_free(&source->link);
    buf_free(&source->details);
    mem_free(source->counts);
    mem_free(source);
}

static const SourceOps source_ops = {
    .lanes = source_lanes,
    .next = source_next,
    .attributes = source_attributes,
    .read = source_read,
    .end = source_end,
    .finish = source_finish,
    .close = source_close,
};

bool files_source_paths(const json_t *config, Text **paths, size_t *count, Err *err)
{
    const json_t *list = json_object_get(config, "paths");
    *paths = NULL;
    *count = json_array_size(list);
    if (*count == 0)
        return err_set(err, ERR_INVALID, "files.no_paths",
                       "a source of type files needs `paths`, a list of absolute paths");
    Text *made = mem_array(Text, *count);
    for (size_t i = 0; i < *count; i++) {
        const json_t *one = json_array_get(list, i);
        made[i] = (Text){json_string_value(one), json_string_length(one)};
        if (!json_is_string(one)) {
            mem_free(made);
            return err_set(err, ERR_INVALID, "files.no_paths",
                           "`paths` of a files source holds something that is no text");
        }
    }
    *paths = made;
    return true;
}

static bool add_excludes(FilesGlob *globs, const json_t *config, Err *err)
{
    const json_t *list = json_object_get(config, "exclude");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        if (!json_is_string(one))
            return err_set(err, ERR_INVALID, "files.pattern",
                           "`exclude` of a files source holds something that is no text");
        if (!files_glob_add(globs, (Text){json_string_value(one), json_string_length(one)}, err))
            return false;
    }
    return true;
}

bool files_source_open(Source **out, const EngineParams *params, Err *err)
{
    Text *paths = NULL;
    FilesSource *source = mem_new(FilesSource);
    FilesWalkParams walk = {.issue = on_walk_issue, .ctx = source};
    *source = (FilesSource){.base = {&source_ops}, .host = params->host, .fd = -1};
    source->exclude = files_glob_new();
    walk.exclude = source->exclude;
    source->links = files_links_new(0);
    source->owner = files_owner_new();
    source->started_ns = clock_wall_ns();
    source->specials = json_bool_or(params->config, "specials", true);
    walk.one_file_system = json_is_true(json_object_get(params->config, "one_file_system"));
    bool opened = files_source_paths(params->config, &paths, &walk.root_count, err) &&
                  add_excludes(source->exclude, params->config, err) &&
                  files_marks_new(&source->marks, params->config, err);
    walk.roots = paths;
    walk.marks = source->marks;
    opened = opened && files_walk_open(&source->walk, &walk, err) &&
             files_ahead_open(&source->ahead, source->walk, err);
    mem_free(paths);
    if (!opened) {
        source_close(&source->base);
        return false;
    }
    source->counts = mem_array(RootCount, files_walk_root_count(source->walk));
    *out = &source->base;
    return true;
}
