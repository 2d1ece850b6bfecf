/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_apply.h"

#include "worker/engine/files_xattr.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { NAME_BYTES = 255, SET_ID = 06000 };

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

static mode_t mode_of(FilesApply *apply, const Entry *entry)
{
    mode_t mode = entry->mode & 07777;
    if (entry->type == ENTRY_DIRECTORY || apply->setuid || (mode & SET_ID) == 0)
        return mode;
    apply->stripped_modes++;
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

/* fd, or path when fd is -1. */
static bool set_attributes(FilesApply *apply, int fd, const char *path, const Entry *entry)
{
    static const char *const acls[] = {"system.posix_acl_access", "system.posix_acl_default"};
    int failure = 0;
    for (size_t i = 0; apply->inherits && fd >= 0 && i < 2; i++)
        if (!has_attribute(entry, acls[i]))
            fremovexattr(fd, acls[i]); /* absent is as good */
    for (size_t i = 0; i < entry->attribute_count; i++) {
        const EntryAttribute *one = &entry->attributes[i];
        char name[NAME_BYTES + 1];
        if (!may_set(apply, one->name)) {
            apply->skipped_attributes++;
            continue;
        }
        snprintf(name, sizeof name, "%.*s", TEXT_ARG(one->name));
        int set = fd >= 0 ? fsetxattr(fd, name, one->value.at, one->value.len, 0)
                          : lsetxattr(path, name, one->value.at, one->value.len, 0);
        if (set != 0)
            failure = errno;
    }
    errno = failure;
    return failure == 0;
}

FilesApplyStep files_apply_fd(FilesApply *apply, int fd, const Entry *entry)
{
    FilesApplyStep step = FILES_APPLY_DONE;
    int failure = 0;
    uid_t uid;
    gid_t gid;
    owner_of(apply, entry, &uid, &gid);
    if (apply->owner && fchown(fd, uid, gid) != 0) {
        step = FILES_APPLY_OWNER;
        failure = errno;
    }
    if (!set_attributes(apply, fd, NULL, entry)) {
        step = FILES_APPLY_ATTRIBUTE;
        failure = errno;
    }
    if (step != FILES_APPLY_OWNER && fchmod(fd, mode_of(apply, entry)) != 0) {
        step = FILES_APPLY_MODE;
        failure = errno;
    }
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, stamp(entry->mtime_ns)};
    if (futimens(fd, times) != 0) {
        step = FILES_APPLY_TIME;
        failure = errno;
    }
    errno = failure;
    return step;
}

/* A mode is set through a descriptor of the very inode: between making and setting, the name could
 * have been given to something else. */
static bool set_mode(FilesApply *apply, int directory, const char *name, const Entry *entry)
{
    char path[FILES_XATTR_PATH];
    struct stat status;
    if (entry->type == ENTRY_SYMLINK)
        return true; /* a link has no mode of its own */
    int fd = openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool same = fstat(fd, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode) &&
                !S_ISLNK(status.st_mode);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    bool fine = same && chmod(path, mode_of(apply, entry)) == 0;
    int failure = same ? errno : EAGAIN;
    close(fd);
    errno = failure;
    return fine;
}

FilesApplyStep files_apply_name(FilesApply *apply, int directory, const char *name,
                                const Entry *entry)
{
    char path[FILES_XATTR_PATH];
    FilesApplyStep step = FILES_APPLY_DONE;
    int failure = 0;
    uid_t uid;
    gid_t gid;
    owner_of(apply, entry, &uid, &gid);
    files_xattr_path(directory, name, path);
    if (apply->owner && fchownat(directory, name, uid, gid, AT_SYMLINK_NOFOLLOW) != 0) {
        step = FILES_APPLY_OWNER;
        failure = errno;
    }
    if (!set_attributes(apply, -1, path, entry)) {
        step = FILES_APPLY_ATTRIBUTE;
        failure = errno;
    }
    if (step != FILES_APPLY_OWNER && !set_mode(apply, directory, name, entry)) {
        step = FILES_APPLY_MODE;
        failure = errno;
    }
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, stamp(entry->mtime_ns)};
    if (utimensat(directory, name, times, AT_SYMLINK_NOFOLLOW) != 0) {
        step = FILES_APPLY_TIME;
        failure = errno;
    }
    errno = failure;
    return step;
}

const char *files_apply_text(FilesApplyStep step)
{
    static const char *const texts[] = {
        [FILES_APPLY_DONE] = "restored",
        [FILES_APPLY_OWNER] = "restored, but its owner could not be set; its mode stays private",
        [FILES_APPLY_ATTRIBUTE] = "restored, but an extended attribute could not be set",
        [FILES_APPLY_MODE] = "restored, but its mode could not be set",
        [FILES_APPLY_TIME] = "restored, but its time could not be set",
    };
    return texts[step];
}
