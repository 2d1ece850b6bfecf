/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_apply.h"

#include "worker/engine/files_xattr.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum {
    NAME_BYTES = 255,
    SET_ID = 06000,
    ROUNDED_S = 2, /* the coarsest clock of a file system that is in use, FAT's */
};

static const char *const acls[] = {"system.posix_acl_access", "system.posix_acl_default"};

static struct timespec stamp(int64_t ns)
{
    int64_t seconds = ns / 1000000000, rest = ns % 1000000000;
    if (rest < 0) {
        seconds--;
        rest += 1000000000;
    }
    return (struct timespec){seconds, rest};
}

static bool starts_with(Text text, Text start)
{
    return text.len > start.len && memcmp(text.at, start.at, start.len) == 0;
}

static bool may_set(const FilesApply *apply, Text name)
{
    if (name.len > NAME_BYTES || memchr(name.at, '\0', name.len) != NULL)
        return false;
    if (starts_with(name, TEXT("user.")) || starts_with(name, TEXT("system.posix_acl_")))
        return true;
    return apply->security &&
           (starts_with(name, TEXT("security.")) || starts_with(name, TEXT("trusted.")));
}

/* foreign: it stays somebody else's than it was, to whom the bit would give another's power. */
static mode_t mode_of(FilesApply *apply, const Entry *entry, bool foreign)
{
    mode_t mode = entry->mode & 07777;
    bool asked = apply->setuid || entry->type == ENTRY_DIRECTORY;
    if ((mode & SET_ID) == 0 || (asked && !foreign))
        return mode;
    files_lacks_add(apply->lacks, FILES_LACK_SETUID, 0, entry->path);
    return mode & ~(mode_t)SET_ID;
}

static bool has_attribute(const Entry *entry, const char *name)
{
    for (size_t i = 0; i < entry->attribute_count; i++)
        if (text_equal(entry->attributes[i].name, text_of(name)))
            return true;
    return false;
}

static void owner_of(const FilesApply *apply, const Entry *entry, uid_t *uid, gid_t *gid)
{
    *uid = entry->uid;
    *gid = entry->gid;
    if (apply->numeric_owner)
        return;
    *uid = files_owner_uid(apply->names, entry->user, entry->uid);
    *gid = files_owner_gid(apply->names, entry->group, entry->gid);
}

/* What was made: an open file or directory, or a name that cannot be opened. */
typedef struct Thing {
    int fd; /* of it, where it has no name here */
    int directory;
    const char *name;
    char path[FILES_XATTR_PATH];
} Thing;

static bool set_owner(const Thing *thing, uid_t uid, gid_t gid)
{
    return thing->name == NULL
               ? fchown(thing->fd, uid, gid) == 0
               : fchownat(thing->directory, thing->name, uid, gid, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool set_time(const Thing *thing, struct timespec at)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, at};
    return thing->name == NULL
               ? futimens(thing->fd, times) == 0
               : utimensat(thing->directory, thing->name, times, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool look(const Thing *thing, struct stat *now)
{
    return thing->name == NULL
               ? fstat(thing->fd, now) == 0
               : fstatat(thing->directory, thing->name, now, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A mode is set through a descriptor of the very inode: between making and setting, the name could
 * have been given to something else. */
static bool set_mode_of_name(const Thing *thing, mode_t mode)
{
    char path[FILES_XATTR_PATH];
    struct stat status;
    int fd = openat(thing->directory, thing->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool same = fstat(fd, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode) &&
                !S_ISLNK(status.st_mode);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    bool fine = same && chmod(path, mode) == 0;
    int failure = same ? errno : EAGAIN;
    close(fd);
    errno = failure;
    return fine;
}

/* Where an access list is lost, a mode's group bits are its mask, which may be more than the group
 * itself had: the group's own entry says what it may. A list is a version and rows of tag, rights
 * and id, of 4, 2, 2 and 4 bytes. */
static mode_t group_bits(Slice list, mode_t mode)
{
    enum { HEAD = 4, ROW = 8, GROUP_OBJ = 4 };
    for (size_t at = HEAD; at + ROW <= list.len; at += ROW)
        if (list.at[at] == GROUP_OBJ && list.at[at + 1] == 0)
            return mode & (~(mode_t)070 | (mode_t)(list.at[at + 2] & 7) << 3);
    return mode & ~(mode_t)070;
}

static void lack_attribute(FilesApply *apply, const Entry *entry, Text name, int sys)
{
    bool none = sys == ENOTSUP;
    bool list = starts_with(name, TEXT("system."));
    files_lacks_add(apply->lacks,
                    !none  ? FILES_LACK_ATTRIBUTE_REFUSED
                    : list ? FILES_LACK_ACL
                           : FILES_LACK_ATTRIBUTE,
                    sys, entry->path);
}

/* *mode loses what an access list that could not be set held back. */
static void set_attributes(FilesApply *apply, const Thing *thing, const Entry *entry, mode_t *mode)
{
    for (size_t i = 0; apply->inherits && thing->name == NULL && i < 2; i++)
        if (!has_attribute(entry, acls[i]))
            fremovexattr(thing->fd, acls[i]); /* absent is as good */
    for (size_t i = 0; i < entry->attribute_count; i++) {
        const EntryAttribute *one = &entry->attributes[i];
        char name[NAME_BYTES + 1];
        if (!may_set(apply, one->name)) {
            files_lacks_add(apply->lacks, FILES_LACK_SECURITY, 0, entry->path);
            continue;
        }
        snprintf(name, sizeof name, "%.*s", TEXT_ARG(one->name));
        if ((thing->name == NULL
                 ? fsetxattr(thing->fd, name, one->value.at, one->value.len, 0)
                 : lsetxattr(thing->path, name, one->value.at, one->value.len, 0)) == 0)
            continue;
        lack_attribute(apply, entry, one->name, errno);
        if (strcmp(name, acls[0]) == 0)
            *mode = group_bits(one->value, *mode);
    }
}

/* A file system may take a mode or a time and keep another. */
static void check(FilesApply *apply, const Thing *thing, const Entry *entry, mode_t mode)
{
    struct stat now;
    if (!look(thing, &now))
        return;
    if (entry->type != ENTRY_SYMLINK && (now.st_mode & 07777) != mode)
        files_lacks_add(apply->lacks, FILES_LACK_MODE, 0, entry->path);
    struct timespec wanted = stamp(entry->mtime_ns);
    int64_t apart = (int64_t)now.st_mtim.tv_sec - wanted.tv_sec;
    if (apart == 0 && now.st_mtim.tv_nsec == wanted.tv_nsec)
        return;
    bool rounded = apart >= -ROUNDED_S && apart <= ROUNDED_S;
    files_lacks_add(apply->lacks, rounded ? FILES_LACK_FRACTION : FILES_LACK_TIME, 0, entry->path);
}

static void apply_all(FilesApply *apply, const Thing *thing, const Entry *entry)
{
    uid_t uid;
    gid_t gid;
    owner_of(apply, entry, &uid, &gid);
    bool foreign = !apply->owner && (uid != geteuid() || gid != getegid());
    bool private = apply->owner && !set_owner(thing, uid, gid);
    if (private)
        files_lacks_add(apply->lacks, FILES_LACK_OWNER_REFUSED, errno, entry->path);
    if (foreign)
        files_lacks_add(apply->lacks, FILES_LACK_OWNER, 0, entry->path);
    mode_t mode = private ? 0 : mode_of(apply, entry, foreign);
    set_attributes(apply, thing, entry, &mode);
    bool set = private || entry->type == ENTRY_SYMLINK || /* a link has no mode of its own */
               (thing->name == NULL ? fchmod(thing->fd, mode) == 0 : set_mode_of_name(thing, mode));
    if (!set)
        files_lacks_add(apply->lacks, FILES_LACK_MODE, errno, entry->path);
    if (!set_time(thing, stamp(entry->mtime_ns)))
        files_lacks_add(apply->lacks, FILES_LACK_TIME, errno, entry->path);
    else if (set && !private)
        check(apply, thing, entry, mode);
}

void files_apply_fd(FilesApply *apply, int fd, const Entry *entry)
{
    Thing thing = {.fd = fd};
    apply_all(apply, &thing, entry);
}

void files_apply_name(FilesApply *apply, int directory, const char *name, const Entry *entry)
{
    Thing thing = {.directory = directory, .name = name};
    files_xattr_path(directory, name, thing.path);
    apply_all(apply, &thing, entry);
}
