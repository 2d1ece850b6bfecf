/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_place.h"

#include "common/base/rand.h"
#include "worker/engine/files_beneath.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static void draw_name(char out[FILES_PLACE_TEMPORARY])
{
    Uuid random = rand_uuid();
    char hex[33];
    ids_hex(random.bytes, sizeof random.bytes, hex);
    snprintf(out, FILES_PLACE_TEMPORARY, ".holdfast-%s", hex);
}

void files_place_forget(FilesParent *parent)
{
    if (parent->set && parent->fd >= 0)
        close(parent->fd);
    buf_free(&parent->path);
    *parent = (FilesParent){.fd = -1};
}

bool files_place_directory(int parent, const char *name)
{
    if (mkdirat(parent, name, 0700) == 0)
        return true;
    if (errno != EEXIST)
        return false;
    int fd = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return false;
    close(fd);
    return true;
}

/* Opens the deepest part that is there and makes the rest, one name at a time. */
static int open_or_make(const FilesPlace *place, Text directory)
{
    int fd = files_beneath_open(place->root, directory, O_PATH | O_DIRECTORY);
    if (fd >= 0 || errno != ENOENT || directory.len == 0)
        return fd;
    int from = dup(place->root);
    for (size_t at = 0, end; from >= 0 && at < directory.len; at = end + 1) {
        char name[256];
        for (end = at; end < directory.len && directory.at[end] != '/';)
            end++;
        snprintf(name, sizeof name, "%.*s", (int)(end - at), directory.at + at);
        int made = mkdirat(from, name, 0700), next = -1;
        if (made == 0) {
            Err err = {0};
            Entry entry = {.path = {directory.at, end}, .type = ENTRY_DIRECTORY};
            if (place->dirs != NULL && !files_dirs_add(place->dirs, &entry, true, &err))
                errno = err.sys;
            else
                next = openat(from, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        } else if (errno == EEXIST) {
            next = openat(from, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        }
        int failure = errno;
        close(from);
        errno = failure;
        from = next;
    }
    return from;
}

int files_place_parent(const FilesPlace *place, FilesParent *parent, Text directory)
{
    if (parent->set && text_equal(buf_text(&parent->path), directory))
        return parent->fd;
    int fd = open_or_make(place, directory);
    if (fd < 0)
        return -1;
    files_place_forget(parent);
    parent->fd = fd;
    parent->set = true;
    buf_add_text(&parent->path, directory);
    return fd;
}

int files_place_create(int parent, char temporary[FILES_PLACE_TEMPORARY])
{
    temporary[0] = '\0';
    int fd = openat(parent, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT))
        return fd;
    draw_name(temporary);
    return openat(parent, temporary, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0600);
}

static bool name_open_file(int parent, int fd, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, path, parent, name, AT_SYMLINK_FOLLOW) == 0;
}

static bool move_over(const FilesPlace *place, int parent, const char *from, const char *name)
{
    if (!place->replace)
        return renameat2(parent, from, parent, name, RENAME_NOREPLACE) == 0;
    if (renameat(parent, from, parent, name) != 0)
        return false;
    unlinkat(parent, from, 0); /* rename does nothing when both names were one inode already */
    return true;
}

bool files_place_publish(const FilesPlace *place, int parent, int fd, const char *temporary,
                         const char *name)
{
    char drawn[FILES_PLACE_TEMPORARY];
    if (temporary[0] != '\0')
        return move_over(place, parent, temporary, name);
    if (name_open_file(parent, fd, name))
        return true;
    if (errno != EEXIST || !place->replace)
        return false;
    draw_name(drawn);
    if (!name_open_file(parent, fd, drawn))
        return false;
    if (move_over(place, parent, drawn, name))
        return true;
    int failure = errno;
    unlinkat(parent, drawn, 0);
    errno = failure;
    return false;
}

void files_place_discard(int parent, const char *temporary)
{
    if (temporary[0] != '\0')
        unlinkat(parent, temporary, 0);
}

bool files_place_make(const FilesPlace *place, int parent, const char *name, FilesPlaceMake *make,
                      const void *what)
{
    char drawn[FILES_PLACE_TEMPORARY];
    if (make(parent, name, what) == 0)
        return true;
    if (errno != EEXIST || !place->replace)
        return false;
    draw_name(drawn);
    if (make(parent, drawn, what) != 0)
        return false;
    if (move_over(place, parent, drawn, name))
        return true;
    int failure = errno;
    unlinkat(parent, drawn, 0);
    errno = failure;
    return false;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* A directory that already has its final mode may refuse its own owner. */
static bool unlock(int directory, const char *name)
{
    char path[64];
    int fd = openat(directory, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return false;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    bool fine = chmod(path, 0700) == 0;
    close(fd);
    return fine;
}

/* Empties `fd` of all but directories; those move up into `top`, so that no depth needs a stack. */
static bool flatten(int top, int fd, const char *keep)
{
    DIR *list = fdopendir(fd);
    if (list == NULL) {
        close(fd);
        return false;
    }
    bool fine = true;
    for (const struct dirent *entry; fine && (entry = readdir(list)) != NULL;) {
        char drawn[FILES_PLACE_TEMPORARY];
        if (is_dots(entry->d_name) || (keep != NULL && strcmp(entry->d_name, keep) == 0))
            continue;
        if (unlinkat(dirfd(list), entry->d_name, 0) == 0 || errno == ENOENT)
            continue;
        draw_name(drawn);
        fine = errno == EISDIR && (unlinkat(dirfd(list), entry->d_name, AT_REMOVEDIR) == 0 ||
                                   (unlock(dirfd(list), entry->d_name) &&
                                    renameat(dirfd(list), entry->d_name, top, drawn) == 0));
    }
    int failure = errno;
    closedir(list);
    errno = failure;
    return fine;
}

/* One pass over `top`: true in *empty when nothing but `keep` was left. */
static bool clear_pass(int top, const char *keep, bool *empty)
{
    DIR *list = fdopendir(openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    bool fine = list != NULL;
    *empty = true;
    for (const struct dirent *entry; fine && (entry = readdir(list)) != NULL;) {
        if (is_dots(entry->d_name) || (keep != NULL && strcmp(entry->d_name, keep) == 0))
            continue;
        *empty = false;
        if (unlinkat(top, entry->d_name, 0) == 0 || errno == ENOENT)
            continue;
        fine = errno == EISDIR;
        if (!fine || unlinkat(top, entry->d_name, AT_REMOVEDIR) == 0)
            continue;
        int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
        int fd = openat(top, entry->d_name, flags);
        if (fd < 0 && errno == EACCES && unlock(top, entry->d_name))
            fd = openat(top, entry->d_name, flags);
        fine = fd >= 0 && flatten(top, fd, NULL) && unlinkat(top, entry->d_name, AT_REMOVEDIR) == 0;
    }
    int failure = errno;
    if (list != NULL)
        closedir(list);
    errno = failure;
    return fine;
}

bool files_place_clear(int directory, const char *keep)
{
    for (bool empty = false; !empty;)
        if (!clear_pass(directory, keep, &empty))
            return false;
    return true;
}
