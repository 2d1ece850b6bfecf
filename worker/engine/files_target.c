/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_target.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/engine/files_apply.h"
#include "worker/engine/files_beneath.h"
#include "worker/engine/files_bulk.h"
#include "worker/engine/files_names.h"
#include "worker/engine/files_place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { MOST_LANES = 8, LINK_BYTES = 4095, MARK_BYTES = 256 };

typedef struct Lane {
    FilesParent parent;
    char name[256];
    char temporary[FILES_PLACE_TEMPORARY];
    int directory;  /* the parent's descriptor */
    int fd;         /* of the file being written, or -1 */
    bool too_large; /* it was given up: the file system there has no files of its size */
    FilesBulk bulk;
} Lane;

typedef struct FilesTarget {
    Target base;
    const EngineHost *host;
    FilesPlace place;
    FilesApply apply;
    FilesNames *firsts;
    Lane lanes[MOST_LANES];
    unsigned lane_count;
    bool devices, sync, marked, keep_mark;
    atomic_uint_fast64_t made[ENTRY_STREAM + 1], bytes, errors;
} FilesTarget;

static FilesTarget *own(Target *t)
{
    return (FilesTarget *)t;
}

static void tell(FilesTarget *target, IssueKind kind, int sys, Text path, const char *text)
{
    Issue issue = {kind, sys, path, text_of(text)};
    if (kind != ISSUE_NOTE)
        target->errors++;
    target->host->issue(target->host->ctx, &issue);
}

/* One entry's failure: told, and the restore goes on; unless nothing more can be written at all. */
static bool entry_failed(FilesTarget *target, const Entry *entry, Err *err)
{
    int sys = errno;
    if (sys == ENOSPC || sys == EDQUOT || sys == EROFS || sys == EIO || sys == EMFILE ||
        sys == ENFILE)
        return err_set_sys(err, err_code_of_errno(sys), "files.target",
                           "the restore target cannot be written; make room or choose another");
    if (sys == ELOOP || sys == ENOTDIR)
        tell(target, ISSUE_DENIED, sys, entry->path,
             "not restored: something that is no directory is in its way; it is not followed");
    else if (sys == EEXIST)
        tell(target, ISSUE_DENIED, sys, entry->path, "not restored: the name is taken already");
    else if (sys == EISDIR || sys == ENOTEMPTY)
        tell(target, ISSUE_DENIED, sys, entry->path,
             "not restored: a directory of that name is in its way; move it away");
    else if (sys == EACCES || sys == EPERM)
        tell(target, ISSUE_DENIED, sys, entry->path,
             "not restored: permission refused, or the file system there has nothing of its kind");
    else if (sys == EFBIG)
        tell(target, ISSUE_IO, sys, entry->path,
             "not restored: it is larger than a file can be on the file system there");
    else
        tell(target, ISSUE_IO, sys, entry->path, "not restored: the file system refused it");
    return true;
}

/* Leads the lane to the entry's directory and splits off its name. */
static bool lead(FilesTarget *target, Lane *lane, Text path)
{
    Text directory, name;
    files_beneath_split(path, &directory, &name);
    snprintf(lane->name, sizeof lane->name, "%.*s", TEXT_ARG(name));
    lane->directory = files_place_parent(&target->place, &lane->parent, directory);
    return lane->directory >= 0;
}

static unsigned target_lanes(const Target *t)
{
    return ((const FilesTarget *)t)->lane_count;
}

static bool target_phase(Target *t, uint8_t phase, Err *err)
{
    (void)t;
    (void)phase;
    (void)err;
    return true;
}

static bool begin_directory(FilesTarget *target, Lane *lane, const Entry *entry, Err *err)
{
    Entry final = *entry;
    if (!files_place_directory(lane->directory, lane->name))
        return entry_failed(target, entry, err);
    if (!target->apply.numeric_owner) {
        final.uid = files_owner_uid(target->apply.names, entry->user, entry->uid);
        final.gid = files_owner_gid(target->apply.names, entry->group, entry->gid);
    }
    target->made[ENTRY_DIRECTORY]++;
    return files_dirs_add(target->place.dirs, &final, false, err);
}

static int make_symlink(int parent, const char *name, const void *what)
{
    return symlinkat(what, parent, name);
}

static bool begin_symlink(FilesTarget *target, Lane *lane, const Entry *entry, Err *err)
{
    char to[LINK_BYTES + 1];
    if (entry->link.len == 0 || entry->link.len > LINK_BYTES ||
        memchr(entry->link.at, '\0', entry->link.len) != NULL) {
        tell(target, ISSUE_DENIED, 0, entry->path, "not restored: its link text is no path");
        return true;
    }
    memcpy(to, entry->link.at, entry->link.len);
    to[entry->link.len] = '\0';
    if (!files_place_make(&target->place, lane->directory, lane->name, make_symlink, to))
        return entry_failed(target, entry, err);
    files_apply_name(&target->apply, lane->directory, lane->name, entry);
    target->made[ENTRY_SYMLINK]++;
    return true;
}

typedef struct LinkFrom {
    int parent;
    const char *name;
} LinkFrom;

static int make_link(int parent, const char *name, const void *what)
{
    const LinkFrom *from = what;
    return linkat(from->parent, from->name, parent, name, 0);
}

static bool begin_hard_link(FilesTarget *target, Lane *lane, const Entry *entry, Err *err)
{
    Text directory, base;
    char name[256];
    if (!files_names_has(target->firsts, entry->link)) {
        tell(target, ISSUE_DENIED, 0, entry->path,
             "not restored: a hard link to something that this restore did not make");
        return true;
    }
    files_beneath_split(entry->link, &directory, &base);
    snprintf(name, sizeof name, "%.*s", TEXT_ARG(base));
    LinkFrom from = {files_beneath_open(target->place.root, directory, O_PATH | O_DIRECTORY), name};
    if (from.parent < 0)
        return entry_failed(target, entry, err);
    bool made = files_place_make(&target->place, lane->directory, lane->name, make_link, &from);
    int failure = errno;
    close(from.parent);
    errno = failure;
    if (!made)
        return entry_failed(target, entry, err);
    target->made[ENTRY_HARDLINK]++;
    return true;
}

static int make_node(int parent, const char *name, const void *what)
{
    const Entry *entry = what;
    mode_t kind = entry->type == ENTRY_FIFO      ? S_IFIFO
                  : entry->type == ENTRY_SOCKET  ? S_IFSOCK
                  : entry->type == ENTRY_CHARDEV ? S_IFCHR
                                                 : S_IFBLK;
    return mknodat(parent, name, kind | 0600, makedev(entry->rdev_major, entry->rdev_minor));
}

static bool begin_node(FilesTarget *target, Lane *lane, const Entry *entry, Err *err)
{
    bool device = entry->type == ENTRY_CHARDEV || entry->type == ENTRY_BLOCKDEV;
    if (device && !target->devices) {
        files_lacks_add(target->apply.lacks, FILES_LACK_DEVICE, 0, entry->path);
        return true;
    }
    if (!files_place_make(&target->place, lane->directory, lane->name, make_node, entry)) {
        if (!device || errno != EPERM)
            return entry_failed(target, entry, err);
        files_lacks_add(target->apply.lacks, FILES_LACK_DEVICE_REFUSED, errno, entry->path);
        return true;
    }
    files_apply_name(&target->apply, lane->directory, lane->name, entry);
    target->made[entry->type]++;
    return true;
}

static void remember_first(FilesTarget *target, const Entry *entry)
{
    if (text_equal(entry->note, TEXT("{\"links\":true}")))
        files_names_add(target->firsts, entry->path);
}

/* What was begun and never ended leaves nothing. */
static void abandon(Lane *lane)
{
    if (lane->fd < 0)
        return;
    files_place_discard(lane->directory, lane->temporary);
    close(lane->fd);
    lane->fd = -1;
}

static bool target_begin(Target *t, unsigned at, const Entry *entry, bool *want, Err *err)
{
    FilesTarget *target = own(t);
    Lane *lane = &target->lanes[at];
    Err refused = {0};
    *want = lane->too_large = false;
    abandon(lane);
    if (target->host->cancelled(target->host->ctx))
        return err_set(err, ERR_CANCELLED, "files.cancelled", "the restore was cancelled");
    if (!files_beneath_check(entry->path, &refused)) {
        tell(target, ISSUE_DENIED, 0, entry->path, refused.text);
        return true;
    }
    if (!lead(target, lane, entry->path))
        return entry_failed(target, entry, err);
    switch (entry->type) {
    case ENTRY_FILE:
        lane->fd = files_place_create(lane->directory, lane->temporary);
        if (lane->fd < 0)
            return entry_failed(target, entry, err);
        files_bulk_begin(&lane->bulk, lane->fd, entry->size);
        *want = true;
        return true;
    case ENTRY_DIRECTORY:
        return begin_directory(target, lane, entry, err);
    case ENTRY_SYMLINK:
        remember_first(target, entry);
        return begin_symlink(target, lane, entry, err);
    case ENTRY_HARDLINK:
        return begin_hard_link(target, lane, entry, err);
    case ENTRY_FIFO:
    case ENTRY_SOCKET:
    case ENTRY_CHARDEV:
    case ENTRY_BLOCKDEV:
        remember_first(target, entry);
        return begin_node(target, lane, entry, err);
    default:
        tell(target, ISSUE_SKIPPED, 0, entry->path, "not restored: it is no kind of file");
        return true;
    }
}

/* A file that is too large ends itself, whatever else fails the restore. */
static bool unwritable(Lane *lane, Err *err)
{
    if (errno == EFBIG) {
        abandon(lane);
        lane->too_large = true;
        return true;
    }
    return err_set_sys(err, err_code_of_errno(errno), "files.target",
                       "writing beneath the restore target; make room or choose another");
}

static bool target_write(Target *t, unsigned at, Slice bytes, Err *err)
{
    FilesTarget *target = own(t);
    Lane *lane = &target->lanes[at];
    if (lane->fd >= 0 && !files_bulk_write(&lane->bulk, bytes.at, bytes.len))
        return unwritable(lane, err);
    target->bytes += bytes.len;
    return true;
}

static bool target_zeros(Target *t, unsigned at, uint64_t count, Err *err)
{
    FilesTarget *target = own(t);
    Lane *lane = &target->lanes[at];
    if (lane->fd >= 0 && !files_bulk_zeros(&lane->bulk, count))
        return unwritable(lane, err);
    target->bytes += count;
    return true;
}

static bool target_end(Target *t, unsigned at, const Entry *entry, Err *err)
{
    FilesTarget *target = own(t);
    Lane *lane = &target->lanes[at];
    errno = EFBIG;
    if (lane->fd < 0)
        return !lane->too_large || entry_failed(target, entry, err);
    bool whole = files_bulk_end(&lane->bulk);
    if (whole) {
        files_apply_fd(&target->apply, lane->fd, entry);
        whole = files_place_publish(&target->place, lane->directory, lane->fd, lane->temporary,
                                    lane->name);
    }
    int failure = errno;
    if (!whole)
        files_place_discard(lane->directory, lane->temporary);
    if (close(lane->fd) != 0 && whole) {
        whole = false;
        failure = errno;
    }
    lane->fd = -1;
    errno = failure;
    if (!whole)
        return entry_failed(target, entry, err);
    remember_first(target, entry);
    target->made[ENTRY_FILE]++;
    return true;
}

static bool finish_directory(void *ctx, const Entry *entry, bool implied, Err *err)
{
    FilesTarget *target = ctx;
    int fd = files_beneath_open(target->place.root, entry->path, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return entry_failed(target, entry, err);
    if (implied)
        fchmod(fd, 0755); /* nobody said what it was: as mkdir would have made it */
    else
        files_apply_fd(&target->apply, fd, entry);
    close(fd);
    return true;
}

static json_t *report_of(const FilesTarget *target)
{
    json_t *report = json_object();
    uint64_t specials = target->made[ENTRY_FIFO] + target->made[ENTRY_SOCKET] +
                        target->made[ENTRY_CHARDEV] + target->made[ENTRY_BLOCKDEV];
    json_object_set_new(report, "files", json_integer((json_int_t)target->made[ENTRY_FILE]));
    json_object_set_new(report, "directories",
                        json_integer((json_int_t)target->made[ENTRY_DIRECTORY]));
    json_object_set_new(report, "symlinks", json_integer((json_int_t)target->made[ENTRY_SYMLINK]));
    json_object_set_new(report, "hardlinks",
                        json_integer((json_int_t)target->made[ENTRY_HARDLINK]));
    json_object_set_new(report, "specials", json_integer((json_int_t)specials));
    json_object_set_new(report, "bytes", json_integer((json_int_t)target->bytes));
    json_object_set_new(report, "errors", json_integer((json_int_t)target->errors));
    json_object_set_new(report, "skipped", files_lacks_report(target->apply.lacks));
    return report;
}

static bool remove_mark(int root, Err *err)
{
    if (unlinkat(root, FILES_TARGET_MARK, 0) == 0 || errno == ENOENT)
        return true;
    return err_set_sys(err, ERR_IO, "files.target", "the mark of the restore stays behind");
}

static bool target_finish(Target *t, json_t **report, Err *err)
{
    FilesTarget *target = own(t);
    if (!files_dirs_each(target->place.dirs, finish_directory, target, err))
        return false;
    if (target->marked && !target->keep_mark && !remove_mark(target->place.root, err))
        return false;
    target->marked = false;
    /* One call for all files: it waits until everything is on the disk and tells a write error. */
    if (target->sync && syncfs(target->place.root) != 0)
        return err_set_sys(err, ERR_IO, "files.sync",
                           "the restored files did not reach the disk: check it, restore again");
    target->errors += files_lacks_tell(target->apply.lacks, target->host);
    *report = report_of(target);
    return true;
}

static void target_close(Target *t)
{
    FilesTarget *target = own(t);
    for (unsigned i = 0; i < MOST_LANES; i++) {
        abandon(&target->lanes[i]);
        files_place_forget(&target->lanes[i].parent);
        files_bulk_free(&target->lanes[i].bulk);
    }
    if (target->place.root >= 0)
        close(target->place.root);
    files_dirs_free(target->place.dirs);
    files_names_free(target->firsts);
    files_owner_free(target->apply.names);
    files_lacks_free(target->apply.lacks);
    mem_free(target);
}

static const TargetOps target_ops = {target_lanes, target_phase, target_begin,  target_write,
                                     target_zeros, target_end,   target_finish, target_close};

static bool take_path(const json_t *request, Text *path, Err *err)
{
    *path = json_text_or(json_object_get(request, "target"), "path", TEXT(""));
    while (path->len > 1 && path->at[path->len - 1] == '/')
        path->len--;
    if (path->len > 0 && path->at[0] == '/' &&
        (path->len == 1 || files_beneath_check((Text){path->at + 1, path->len - 1}, err)))
        return true;
    return err_set(err, ERR_USAGE, "files.target_path",
                   "a restore of files needs target.path, an absolute path without '.' or '..'");
}

static bool target_refused(Text path, Err *err)
{
    if (errno == ELOOP)
        return err_set(err, ERR_CONFLICT, "files.target_is_symlink",
                       "%.*s is, or leads through, a symbolic link: name the real path, as "
                       "`realpath` prints it",
                       TEXT_ARG(path));
    return err_set_sys(err, err_code_of_errno(errno), "files.target_path",
                       "the restore target %.*s cannot be opened or made", TEXT_ARG(path));
}

/* Opens the directory, making what lacks of it 0700. */
static bool open_root(FilesTarget *target, Text path, Err *err)
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
    return target->place.root >= 0 || target_refused(path, err);
}

static bool is_empty(int root, bool *empty)
{
    DIR *list = fdopendir(openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const struct dirent *entry;
    *empty = true;
    if (list == NULL)
        return false;
    while ((entry = readdir(list)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            *empty = false;
    closedir(list);
    return true;
}

static bool mark_is_ours(int root, Text mark)
{
    char have[MARK_BYTES];
    int fd = openat(root, FILES_TARGET_MARK, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, have, sizeof have);
    if (fd >= 0)
        close(fd);
    return got > 0 && text_equal((Text){have, (size_t)got}, mark);
}

/* Before anything is made: an unfinished restore of the same mark is emptied, anything else is left
 * alone and refused. */
static bool prepare_root(FilesTarget *target, Text path, Text mark, Err *err)
{
    bool empty;
    int root = target->place.root;
    if (target->place.replace)
        return true;
    if (!is_empty(root, &empty))
        return target_refused(path, err);
    if (!empty && (mark.len == 0 || !mark_is_ours(root, mark)))
        return err_set(err, ERR_CONFLICT, "files.target_not_empty",
                       "the restore target %.*s is not empty: choose another, or ask for a restore "
                       "in place",
                       TEXT_ARG(path));
    if (!empty && !files_place_clear(root, FILES_TARGET_MARK))
        return target_refused(path, err);
    (void)unlinkat(root, FILES_TARGET_MARK,
                   0); /* made anew: nobody else has this one open, or a name for it */
    int fd =
        openat(root, FILES_TARGET_MARK, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool put = fd >= 0 && write(fd, mark.at, mark.len) == (ssize_t)mark.len;
    int failure = errno;
    if (fd >= 0)
        close(fd);
    errno = failure;
    target->marked = put;
    return put || target_refused(path, err);
}

static void take_options(FilesTarget *target, const json_t *request)
{
    const json_t *options = json_object_get(request, "options");
    target->place.replace = json_bool_or(request, "in_place", false);
    target->keep_mark = json_bool_or(request, "keep_mark", false);
    target->apply.owner = json_bool_or(options, "owner", geteuid() == 0);
    target->apply.numeric_owner = json_bool_or(options, "numeric_owner", false);
    target->apply.setuid = json_bool_or(options, "setuid", false);
    target->apply.security = json_bool_or(options, "security", false);
    target->devices = json_bool_or(options, "devices", false);
    target->sync = json_bool_or(options, "sync", true);
}

bool files_target_open(Target **out, const EngineParams *params, Err *err)
{
    Text path;
    if (!take_path(params->request, &path, err))
        return false;
    FilesTarget *target = mem_new(FilesTarget);
    target->base.ops = &target_ops;
    target->host = params->host;
    target->place.root = -1;
    target->place.dirs = files_dirs_new(params->host->scratch);
    target->firsts = files_names_new();
    target->apply.names = files_owner_new();
    target->apply.lacks = files_lacks_new();
    target->lane_count = params->lanes < 1 ? 1 : params->lanes;
    if (target->lane_count > MOST_LANES)
        target->lane_count = MOST_LANES;
    for (unsigned i = 0; i < MOST_LANES; i++)
        target->lanes[i] = (Lane){.fd = -1, .directory = -1, .parent = {.fd = -1}};
    take_options(target, params->request);
    if (!open_root(target, path, err) ||
        !prepare_root(target, path, json_text_or(params->request, "mark", TEXT("")), err)) {
        target_close(&target->base);
        return false;
    }
    /* Only what was there before can hand ACLs down to what is made now. */
    target->apply.inherits = target->place.replace ||
                             fgetxattr(target->place.root, "system.posix_acl_default", NULL, 0) > 0;
    *out = &target->base;
    return true;
}

bool files_target_settle(const EngineParams *params, Err *err)
{
    Text path;
    if (!take_path(params->request, &path, err))
        return false;
    int root = files_beneath_open_absolute(path, O_RDONLY | O_DIRECTORY);
    if (root < 0)
        return errno == ENOENT ||
               target_refused(path, err); /* whoever has it already may move it */
    bool fine = !mark_is_ours(root, json_text_or(params->request, "mark", TEXT(""))) ||
                (remove_mark(root, err) && (fsync(root) == 0 || target_refused(path, err)));
    close(root);
    return fine;
}

bool files_target_plan(const EngineParams *params, json_t **report, Err *err)
{
    Text path;
    bool empty = true;
    struct statvfs room;
    if (!take_path(params->request, &path, err))
        return false;
    int fd = files_beneath_open_absolute(path, O_RDONLY | O_DIRECTORY);
    if (fd < 0 && errno != ENOENT)
        return target_refused(path, err);
    bool exists = fd >= 0;
    if (exists && !is_empty(fd, &empty)) {
        close(fd);
        return target_refused(path, err);
    }
    for (Text above = path, name; fd < 0 && above.len > 0;) {
        files_beneath_split(above, &above, &name);
        fd =
            files_beneath_open_absolute(above.len == 0 ? TEXT("/") : above, O_RDONLY | O_DIRECTORY);
        if (above.len == 0)
            break;
    }
    if (fd < 0)
        return target_refused(path, err);
    uint64_t free_bytes = fstatvfs(fd, &room) == 0 ? (uint64_t)room.f_bavail * room.f_frsize : 0;
    close(fd);
    *report = json_object();
    json_object_set_new(*report, "target", json_bytes(slice_of_text(path)));
    json_object_set_new(*report, "exists", json_boolean(exists));
    json_object_set_new(*report, "empty", json_boolean(empty));
    json_object_set_new(*report, "creates", json_boolean(!exists));
    json_object_set_new(*report, "free_bytes", json_integer((json_int_t)free_bytes));
    return true;
}
