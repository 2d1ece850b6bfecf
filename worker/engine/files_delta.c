/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_delta.h"

#include "common/base/crashpoint.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/engine/files_apply.h"
#include "worker/engine/files_beneath.h"
#include "worker/engine/files_names.h"
#include "worker/engine/files_patch.h"
#include "worker/engine/files_place.h"
#include "worker/engine/files_target.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_LANES = 8, LINK_BYTES = 4095, MARK_BYTES = 256, DEEPEST = 64 };

typedef struct Lane {
    FilesParent parent;
    char name[256];
    int directory; /* the parent's descriptor */
    int fd;        /* of the file that is made equal, or -1 */
    FilesPatch patch;
} Lane;

typedef struct FilesDelta {
    Target base;
    const EngineHost *host;
    FilesPlace place;
    FilesApply apply;
    FilesNames *named;   /* by entries */
    pthread_mutex_t way; /* of who clears a way */
    Lane lanes[MOST_LANES];
    unsigned lane_count;
    int mark; /* open and locked */
    bool shared, cleared, unmark;
    atomic_uint_fast64_t files, bytes, changed, written, removed;
} FilesDelta;

static FilesDelta *own(Target *t)
{
    return (FilesDelta *)t;
}

static bool failed(Text path, const char *what, Err *err)
{
    int sys = errno;
    return err_set_sys(err, err_code_of_errno(sys), "target.write", "%s %.*s", what,
                       (int)(path.len > 200 ? 200 : path.len), path.at);
}

/* --- what is in the way --------------------------------------------------------------------- */

/* Removes whatever has this name, and all in it; nothing is followed. */
static bool remove_name(int directory, const char *name)
{
    if (unlinkat(directory, name, 0) == 0 || errno == ENOENT)
        return true;
    if (errno != EISDIR)
        return false;
    int fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool fine = fd >= 0 && files_place_clear(fd, NULL);
    int failure = errno;
    if (fd >= 0)
        close(fd);
    errno = failure;
    return fine && unlinkat(directory, name, AT_REMOVEDIR) == 0;
}

static void tell_replaced(FilesDelta *target, Text path, const struct stat *was)
{
    char text[300];
    snprintf(text, sizeof text,
             "%.*s was %s and is a directory now, as in the backup: nothing was written through it",
             (int)(path.len > 200 ? 200 : path.len), path.at,
             S_ISLNK(was->st_mode) ? "a symbolic link" : "no directory");
    target->host->note(target->host->ctx, "target.replaced", text);
}

/* A directory of this name, whatever was there. Under the lock: between the look and the removal
 * another lane could have made it, and put something into it. */
static bool make_directory(FilesDelta *target, int parent, const char *name, Text path)
{
    struct stat about;
    if (fstatat(parent, name, &about, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(about.st_mode)) {
        if (unlinkat(parent, name, 0) != 0)
            return false;
        target->removed++;
        tell_replaced(target, path, &about);
    }
    return files_place_directory(parent, name);
}

/* Something that is no directory, or leads elsewhere, stands on the way to a name: it goes. */
static bool clear_way(FilesDelta *target, Text directory)
{
    int from = dup(target->place.root);
    for (size_t at = 0, end; from >= 0 && at < directory.len; at = end + 1) {
        char name[256];
        for (end = at; end < directory.len && directory.at[end] != '/';)
            end++;
        snprintf(name, sizeof name, "%.*s", (int)(end - at), directory.at + at);
        int next = -1;
        if (make_directory(target, from, name, (Text){directory.at, end}))
            next = openat(from, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int failure = errno;
        close(from);
        errno = failure;
        from = next;
    }
    if (from >= 0)
        close(from);
    return from >= 0;
}

/* Leads the lane to the entry's directory and splits off its name. */
static bool lead(FilesDelta *target, Lane *lane, Text path)
{
    Text directory, name;
    files_beneath_split(path, &directory, &name);
    snprintf(lane->name, sizeof lane->name, "%.*s", TEXT_ARG(name));
    lane->directory = files_place_parent(&target->place, &lane->parent, directory);
    if (lane->directory < 0 && (errno == ELOOP || errno == ENOTDIR)) {
        pthread_mutex_lock(&target->way);
        bool clear = clear_way(target, directory);
        int failure = errno;
        pthread_mutex_unlock(&target->way);
        errno = failure;
        if (clear)
            lane->directory = files_place_parent(&target->place, &lane->parent, directory);
    }
    return lane->directory >= 0;
}

/* --- entries -------------------------------------------------------------------------------- */

static unsigned target_lanes(const Target *t)
{
    return ((const FilesDelta *)t)->lane_count;
}

static bool target_phase(Target *t, uint8_t phase, Err *err)
{
    (void)t;
    (void)phase;
    (void)err;
    return true;
}

/* The file that is there, if its content is nobody else's; else a new one in its stead. */
static bool begin_file(Lane *lane)
{
    struct stat about;
    int fd = openat(lane->directory, lane->name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode) || about.st_nlink != 1)) {
        close(fd);
        fd = -1;
    }
    if (fd < 0) {
        about.st_size = 0;
        if (remove_name(lane->directory, lane->name))
            fd = openat(lane->directory, lane->name,
                        O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    }
    lane->fd = fd;
    if (fd >= 0)
        files_patch_begin(&lane->patch, fd, (uint64_t)about.st_size);
    return fd >= 0;
}

static bool begin_directory(FilesDelta *target, Lane *lane, const Entry *entry, Err *err)
{
    pthread_mutex_lock(&target->way);
    bool made = make_directory(target, lane->directory, lane->name, entry->path);
    int failure = errno;
    pthread_mutex_unlock(&target->way);
    errno = failure;
    if (!made)
        return failed(entry->path, "making the directory", err);
    return files_dirs_add(target->place.dirs, entry, false, err);
}

static bool begin_link(FilesDelta *target, Lane *lane, const Entry *entry, Err *err)
{
    char to[LINK_BYTES + 1], is[LINK_BYTES + 1];
    if (entry->link.len == 0 || entry->link.len > LINK_BYTES ||
        memchr(entry->link.at, '\0', entry->link.len) != NULL)
        return err_set(err, ERR_CORRUPT, "target.entry", "the link %.*s leads to no path",
                       TEXT_ARG(entry->path));
    memcpy(to, entry->link.at, entry->link.len);
    to[entry->link.len] = 0;
    ssize_t len = readlinkat(lane->directory, lane->name, is, sizeof is);
    if (len >= 0 && text_equal((Text){is, (size_t)len}, entry->link))
        return true;
    target->changed++;
    return (remove_name(lane->directory, lane->name) &&
            symlinkat(to, lane->directory, lane->name) == 0) ||
           failed(entry->path, "making the link", err);
}

static void abandon(Lane *lane)
{
    if (lane->fd >= 0)
        close(lane->fd);
    lane->fd = -1;
}

static bool target_begin(Target *t, unsigned at, const Entry *entry, bool *want, Err *err)
{
    FilesDelta *target = own(t);
    Lane *lane = &target->lanes[at];
    *want = false;
    abandon(lane);
    if (target->host->cancelled(target->host->ctx))
        return err_set(err, ERR_CANCELLED, "files.cancelled", "the restore was cancelled");
    if (!files_beneath_check(entry->path, err))
        return false;
    if (!lead(target, lane, entry->path))
        return failed(entry->path, "opening the directory of", err);
    files_names_add(target->named, entry->path);
    switch (entry->type) {
    case ENTRY_FILE:
        *want = true;
        return begin_file(lane) || failed(entry->path, "opening", err);
    case ENTRY_DIRECTORY:
        return begin_directory(target, lane, entry, err);
    case ENTRY_SYMLINK:
        return begin_link(target, lane, entry, err);
    default:
        return err_set(err, ERR_CORRUPT, "target.entry",
                       "the backup holds %.*s, which is neither a file nor a directory",
                       TEXT_ARG(entry->path));
    }
}

static bool unwritable(Err *err)
{
    return err_set_sys(err, err_code_of_errno(errno), "files.target",
                       "writing beneath the restore target; make room and run the restore again, "
                       "it goes on with what differs");
}

static bool target_write(Target *t, unsigned at, Slice bytes, Err *err)
{
    FilesDelta *target = own(t);
    target->bytes += bytes.len;
    return files_patch_write(&target->lanes[at].patch, bytes) || unwritable(err);
}

static bool target_zeros(Target *t, unsigned at, uint64_t count, Err *err)
{
    FilesDelta *target = own(t);
    target->bytes += count;
    return files_patch_zeros(&target->lanes[at].patch, count) || unwritable(err);
}

static bool target_end(Target *t, unsigned at, const Entry *entry, Err *err)
{
    FilesDelta *target = own(t);
    Lane *lane = &target->lanes[at];
    if (lane->fd < 0)
        return true;
    bool fine = files_patch_end(&lane->patch) || unwritable(err);
    if (fine)
        files_apply_fd(&target->apply, lane->fd, entry);
    if (close(lane->fd) != 0 && fine)
        fine = failed(entry->path, "closing", err);
    lane->fd = -1;
    target->files++;
    target->changed += lane->patch.changed;
    target->written += lane->patch.written;
    CRASHPOINT("delta.file");
    return fine;
}

/* --- what the backup has not ---------------------------------------------------------------- */

static bool clear_folder(FilesDelta *target, int folder, Text path, unsigned depth, Err *err);

static bool clear_one(FilesDelta *target, int folder, const char *name, Text path, unsigned depth,
                      Err *err)
{
    struct stat about;
    bool top = depth == 0;
    if (top && strcmp(name, FILES_TARGET_MARK) == 0)
        return true;
    if (!files_names_has(target->named, path)) {
        if (top && target->shared)
            return true;
        target->removed++;
        return remove_name(folder, name) || failed(path, "removing", err);
    }
    if (fstatat(folder, name, &about, AT_SYMLINK_NOFOLLOW) != 0)
        return failed(path, "looking at", err);
    if (!S_ISDIR(about.st_mode))
        return true;
    int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd >= 0 ? clear_folder(target, fd, path, depth + 1, err) : failed(path, "opening", err);
}

/* Takes the descriptor. A name that is removed while the list is read may hide another from it, so
 * it is read until nothing went. */
static bool clear_folder(FilesDelta *target, int folder, Text path, unsigned depth, Err *err)
{
    DIR *list = depth > DEEPEST ? NULL : fdopendir(folder);
    if (list == NULL) {
        close(folder);
        return err_set(err, ERR_IO, "target.write", "%.*s cannot be listed, or lies too deep",
                       TEXT_ARG(path));
    }
    bool fine = true;
    for (uint64_t before = UINT64_MAX; fine && before != target->removed;) {
        before = target->removed;
        rewinddir(list);
        for (const struct dirent *one; fine && (one = readdir(list)) != NULL;) {
            scoped(buf_free) Buf below = {0};
            if (strcmp(one->d_name, ".") == 0 || strcmp(one->d_name, "..") == 0)
                continue;
            buf_printf(&below, "%.*s%s%s", TEXT_ARG(path), path.len > 0 ? "/" : "", one->d_name);
            fine = clear_one(target, dirfd(list), one->d_name, buf_text(&below), depth, err);
        }
    }
    closedir(list);
    return fine;
}

void files_delta_keep(Target *t)
{
    own(t)->unmark = false;
}

bool files_delta_clear(Target *t, Err *err)
{
    FilesDelta *target = own(t);
    int top = openat(target->place.root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (top < 0)
        return failed(TEXT("the target"), "opening", err);
    target->cleared = clear_folder(target, top, (Text){"", 0}, 0, err);
    return target->cleared;
}

/* --- the end -------------------------------------------------------------------------------- */

static bool finish_directory(void *ctx, const Entry *entry, bool implied, Err *err)
{
    FilesDelta *target = ctx;
    if (implied)
        return true;
    int fd = files_beneath_open(target->place.root, entry->path, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return failed(entry->path, "opening", err);
    files_apply_fd(&target->apply, fd, entry);
    close(fd);
    return true;
}

static bool target_finish(Target *t, json_t **report, Err *err)
{
    FilesDelta *target = own(t);
    if (!target->cleared)
        return err_set(err, ERR_BUG, "target.order", "finish before what is too much was removed");
    if (!files_dirs_each(target->place.dirs, finish_directory, target, err))
        return false;
    if (files_lacks_tell(target->apply.lacks, target->host) > 0)
        return err_set(err, ERR_IO, "target.attributes",
                       "owners, modes or times could not be set as they were: the log names them");
    if (syncfs(target->place.root) != 0)
        return err_set_sys(err, ERR_IO, "files.sync",
                           "the restored files did not reach the disk: check it, restore again");
    if (unlinkat(target->place.root, FILES_TARGET_MARK, 0) != 0 || fsync(target->place.root) != 0)
        return err_set_sys(err, ERR_IO, "files.target", "the mark of the restore stays behind");
    *report = json_pack("{s:I, s:I, s:I, s:I, s:I}", "files", (json_int_t)target->files, "bytes",
                        (json_int_t)target->bytes, "changed", (json_int_t)target->changed,
                        "written_bytes", (json_int_t)target->written, "removed",
                        (json_int_t)target->removed);
    return true;
}

static void target_close(Target *t)
{
    FilesDelta *target = own(t);
    for (unsigned i = 0; i < MOST_LANES; i++) {
        abandon(&target->lanes[i]);
        files_place_forget(&target->lanes[i].parent);
        files_patch_free(&target->lanes[i].patch);
    }
    if (target->unmark)
        (void)unlinkat(target->place.root, FILES_TARGET_MARK, 0);
    if (target->mark >= 0)
        close(target->mark);
    if (target->place.root >= 0)
        close(target->place.root);
    files_dirs_free(target->place.dirs);
    files_names_free(target->named);
    files_owner_free(target->apply.names);
    files_lacks_free(target->apply.lacks);
    pthread_mutex_destroy(&target->way);
    mem_free(target);
}

static const TargetOps target_ops = {target_lanes, target_phase, target_begin,  target_write,
                                     target_zeros, target_end,   target_finish, target_close};

/* --- the beginning -------------------------------------------------------------------------- */

static bool read_mark(int root, char have[MARK_BYTES], ssize_t *got)
{
    int fd = openat(root, FILES_TARGET_MARK, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    *got = fd < 0 ? -1 : read(fd, have, MARK_BYTES);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* But for a mark that says nothing: who made it died before the first change. */
static bool is_empty(int root, bool *empty)
{
    DIR *list = fdopendir(openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    *empty = true;
    if (list == NULL)
        return false;
    for (const struct dirent *one; (one = readdir(list)) != NULL;)
        if (strcmp(one->d_name, ".") != 0 && strcmp(one->d_name, "..") != 0 &&
            strcmp(one->d_name, FILES_TARGET_MARK) != 0)
            *empty = false;
    closedir(list);
    return true;
}

static bool look(int root, Text mark, FilesDeltaState *state)
{
    char have[MARK_BYTES];
    ssize_t got;
    bool empty;
    if (read_mark(root, have, &got) && got != 0) {
        *state = got > 0 && text_equal((Text){have, (size_t)got}, mark) ? FILES_DELTA_MARKED
                                                                        : FILES_DELTA_OTHER;
        return true;
    }
    if (!is_empty(root, &empty))
        return false;
    *state = empty ? FILES_DELTA_MISSING : FILES_DELTA_THERE;
    return true;
}

bool files_delta_look(Text path, Text mark, FilesDeltaState *state, Err *err)
{
    *state = FILES_DELTA_MISSING;
    int fd = files_beneath_open_absolute(path, O_RDONLY | O_DIRECTORY);
    if (fd < 0 && errno == ENOENT)
        return true;
    bool fine = fd >= 0 && look(fd, mark, state);
    if (!fine)
        failed(path,
               errno == ELOOP ? "a symbolic link is, or leads to, what is to be restored:"
                              : "opening",
               err);
    if (fd >= 0)
        close(fd);
    return fine;
}

/* Opens the directory, making what lacks of it 0700. */
static bool open_root(FilesDelta *target, Text path, Err *err)
{
    FilesPlace all = {.root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)};
    FilesParent parent = {.fd = -1};
    int fd =
        all.root < 0 ? -1 : files_place_parent(&all, &parent, (Text){path.at + 1, path.len - 1});
    if (fd >= 0)
        target->place.root = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int failure = errno;
    files_place_forget(&parent);
    if (all.root >= 0)
        close(all.root);
    errno = failure;
    return target->place.root >= 0 || failed(path, "opening", err);
}

/* Ours, and not one that its restore has just removed. */
static bool lock_mark(const FilesDelta *target)
{
    struct stat named, opened;
    return flock(target->mark, LOCK_EX | LOCK_NB) == 0 && fstat(target->mark, &opened) == 0 &&
           fstatat(target->place.root, FILES_TARGET_MARK, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           named.st_ino == opened.st_ino && named.st_dev == opened.st_dev;
}

/* The mark is on the disk, and ours alone, before anything else changes. */
static bool put_mark(FilesDelta *target, Text path, Text mark, Err *err)
{
    FilesDeltaState state;
    if (!look(target->place.root, mark, &state))
        return failed(path, "looking at", err);
    if (state == FILES_DELTA_OTHER)
        return err_set(err, ERR_CONFLICT, "target.unfinished",
                       "an unfinished restore of something else lies in %.*s: look whose it is, "
                       "and empty the directory",
                       TEXT_ARG(path));
    target->mark = openat(target->place.root, FILES_TARGET_MARK,
                          O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (target->mark < 0)
        return failed(path, "marking", err);
    if (!lock_mark(target))
        return err_set(err, ERR_CONFLICT, "target.busy", "another restore is at work in %.*s",
                       TEXT_ARG(path));
    target->unmark = state != FILES_DELTA_MARKED;
    bool put = state == FILES_DELTA_MARKED ||
               (ftruncate(target->mark, 0) == 0 &&
                pwrite(target->mark, mark.at, mark.len, 0) == (ssize_t)mark.len);
    return (put && fsync(target->mark) == 0 && fsync(target->place.root) == 0) ||
           failed(path, "marking", err);
}

bool files_delta_open(Target **out, const FilesDeltaParams *params, Err *err)
{
    FilesDelta *target = mem_new(FilesDelta);
    target->base.ops = &target_ops;
    target->host = params->host;
    target->shared = params->shared;
    target->place.root = target->mark = -1;
    target->place.replace = true;
    target->place.dirs = files_dirs_new(params->host->scratch);
    target->named = files_names_new();
    target->apply.names = files_owner_new();
    target->apply.lacks = files_lacks_new();
    target->apply.owner = geteuid() == 0;
    target->apply.numeric_owner = true;
    target->apply.inherits = true;
    target->lane_count = params->lanes < 1 ? 1 : params->lanes;
    if (target->lane_count > MOST_LANES)
        target->lane_count = MOST_LANES;
    pthread_mutex_init(&target->way, NULL);
    for (unsigned i = 0; i < MOST_LANES; i++)
        target->lanes[i] = (Lane){.fd = -1, .directory = -1, .parent = {.fd = -1}};
    if (!open_root(target, params->path, err) ||
        !put_mark(target, params->path, params->mark, err)) {
        target_close(&target->base);
        return false;
    }
    *out = &target->base;
    return true;
}
