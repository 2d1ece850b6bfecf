/* SPDX-License-Identifier: Apache-2.0
 * A store in a directory. An object is written into an unnamed file (O_TMPFILE) of its directory,
 * synced, given its name by linkat, which refuses a name that is taken, and the directory is
 * synced; so a crash leaves the old or the new state. A failed fsync condemns the file: it is never
 * synced again, because the kernel has then dropped what it could not write. Bulk data goes around
 * the page cache (O_DIRECT) from buffers that are used again: on a machine with a slow first touch
 * of memory that is five times as fast and costs a fiftieth of the CPU. */
#include "common/store/store.h"

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/store/store_local_sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* O_DIRECT wants offsets, lengths and memory in multiples of the device's block; 4096 suits all. */
enum { BLOCK = 4096, WINDOW = 1 << 20, SPARE_WINDOWS = 4 };

typedef struct LocalStore {
    Store store;
    int root;
    char *path;
    pthread_mutex_t lock; /* guards spare */
    uint8_t *spare[SPARE_WINDOWS];
    size_t spare_count;
} LocalStore;

typedef struct LocalPut {
    StorePut put;
    int directory;
    int file;
    bool direct;
    bool broken;        /* a write failed: finish refuses */
    char temporary[64]; /* name in the directory, empty with O_TMPFILE */
    char name[STORE_NAME_MOST + 1];
    uint8_t *window;
    size_t filled;
    uint64_t written;
} LocalPut;

static LocalStore *local_of(const LocalPut *put)
{
    return (LocalStore *)put->put.store;
}

static uint8_t *window_take(LocalStore *local)
{
    uint8_t *window = NULL;
    pthread_mutex_lock(&local->lock);
    if (local->spare_count != 0)
        window = local->spare[--local->spare_count];
    pthread_mutex_unlock(&local->lock);
    if (window == NULL && posix_memalign((void **)&window, BLOCK, WINDOW) != 0)
        abort();
    return window;
}

static void window_give(LocalStore *local, uint8_t *window)
{
    pthread_mutex_lock(&local->lock);
    bool kept = local->spare_count < SPARE_WINDOWS;
    if (kept)
        local->spare[local->spare_count++] = window;
    pthread_mutex_unlock(&local->lock);
    if (!kept)
        free(window);
}

/* A refusal of the kernel, with the next step where the reason tells one. */
static bool refused(const LocalStore *local, const char *cause, const char *name, Err *err)
{
    struct stat st;
    int sys = errno;
    if (sys == ENOENT && fstat(local->root, &st) == 0 && st.st_nlink == 0)
        return err_set(err, ERR_UNREACHABLE, "store.gone",
                       "the store's directory %s is gone since it was opened: mount its disk again",
                       local->path);
    errno = sys;
    if (sys == ENOSPC || sys == EDQUOT || sys == EFBIG)
        return err_set_sys(err, ERR_FULL, "store.full",
                           "the store %s has no room for %s: free some on its disk or raise the "
                           "quota; what is stored already stays whole",
                           local->path, name);
    if (sys == EROFS || sys == EACCES || sys == EPERM)
        return err_set_sys(err, ERR_DENIED, "store.denied",
                           "the store %s does not let %s be written or read: look at its owner and "
                           "at how its disk is mounted",
                           local->path, name);
    return err_set_sys(err, err_code_of_errno(sys), cause, "store %s: %s", local->path, name);
}

static bool sync_fd(const LocalStore *local, int fd, const char *what, Err *err)
{
    return fsync(fd) == 0 || refused(local, "store.sync", what, err);
}

/* Makes one directory of a path and syncs its parent, so that the new name survives a crash. */
static bool step_into(const LocalStore *local, int *at, const char *part, bool create, Err *err)
{
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
    int next = openat(*at, part, flags);
    if (next < 0 && errno == ENOENT && create) {
        if (mkdirat(*at, part, 0700) != 0 && errno != EEXIST)
            return refused(local, "store.directory", part, err);
        if (!sync_fd(local, *at, "a directory", err))
            return false;
        next = openat(*at, part, flags);
    }
    if (next < 0)
        return refused(local, "store.directory", part, err);
    close(*at);
    *at = next;
    return true;
}

/* The directory that holds `name`; *leaf is the rest of the name. */
static bool open_directory(LocalStore *local, const char *name, bool create, int *directory,
                           const char **leaf, Err *err)
{
    char part[STORE_NAME_MOST + 1];
    int at = fcntl(local->root, F_DUPFD_CLOEXEC, 0);
    if (at < 0)
        return err_set_sys(err, ERR_IO, "store.open", "%s", local->path);
    for (const char *slash; (slash = strchr(name, '/')) != NULL; name = slash + 1) {
        snprintf(part, sizeof part, "%.*s", (int)(slash - name), name);
        if (!step_into(local, &at, part, create, err)) {
            close(at);
            return false;
        }
    }
    struct stat st;
    if (fstat(at, &st) == 0 && st.st_nlink == 0) {
        close(at);
        errno = ENOENT;
        return refused(local, "store.open", local->path, err);
    }
    *directory = at;
    *leaf = name;
    return true;
}

/* An unnamed file where the file system has such, else a name that nobody lists. */
static bool open_file(LocalPut *put, Err *err)
{
    put->file = openat(put->directory, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (put->file >= 0)
        return true;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)
        return refused(local_of(put), "store.create", put->name, err);
    Uuid id = rand_uuid();
    char text[UUID_TEXT];
    uuid_text(&id, text);
    snprintf(put->temporary, sizeof put->temporary, STORE_LOCAL_TEMPORARY "%s", text);
    put->file =
        openat(put->directory, put->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return put->file >= 0 || refused(local_of(put), "store.create", put->name, err);
}

static bool local_put_begin(Store *s, const char *name, StorePut **out, Err *err)
{
    LocalStore *local = (LocalStore *)s;
    const char *leaf;
    LocalPut *put = mem_new(LocalPut);
    *put = (LocalPut){.put = {s}, .directory = -1, .file = -1};
    snprintf(put->name, sizeof put->name, "%s", name);
    if (!open_directory(local, name, true, &put->directory, &leaf, err) || !open_file(put, err)) {
        s->ops->put_abort(s, &put->put);
        return false;
    }
    put->window = window_take(local);
    put->direct = fcntl(put->file, F_SETFL, O_DIRECT) == 0;
    *out = &put->put;
    return true;
}

static bool write_all(LocalPut *put, const uint8_t *at, size_t len, Err *err)
{
    while (len != 0) {
        ssize_t wrote = write(put->file, at, len);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0 && errno == EINVAL && put->direct) {
            put->direct = false; /* this file system has no direct writes */
            fcntl(put->file, F_SETFL, 0);
            continue;
        }
        if (wrote <= 0) {
            put->broken = true;
            return refused(local_of(put), "store.write", put->name, err);
        }
        if (put->direct && (size_t)wrote % BLOCK != 0 && (size_t)wrote != len) {
            put->direct = false;
            fcntl(put->file, F_SETFL, 0);
        }
        at += wrote;
        len -= (size_t)wrote;
        put->written += (uint64_t)wrote;
    }
    return true;
}

static bool local_put_write(Store *s, StorePut *base, Slice bytes, Err *err)
{
    LocalPut *put = (LocalPut *)base;
    (void)s;
    while (bytes.len != 0) {
        size_t part = WINDOW - put->filled < bytes.len ? WINDOW - put->filled : bytes.len;
        memcpy(put->window + put->filled, bytes.at, part);
        put->filled += part;
        bytes = (Slice){bytes.at + part, bytes.len - part};
        if (put->filled == WINDOW) {
            put->filled = 0;
            if (!write_all(put, put->window, WINDOW, err))
                return false;
        }
    }
    return true;
}

/* The last window: whole blocks directly, what is left through the page cache. */
static bool write_tail(LocalPut *put, Err *err)
{
    size_t whole = put->direct ? put->filled / BLOCK * BLOCK : put->filled;
    if (!write_all(put, put->window, whole, err))
        return false;
    if (put->direct && whole != put->filled) {
        put->direct = false;
        fcntl(put->file, F_SETFL, 0);
    }
    return write_all(put, put->window + whole, put->filled - whole, err);
}

static const char *leaf_of(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash == NULL ? name : slash + 1;
}

/* Gives the file its name; a taken name is refused by the kernel. */
static bool publish(LocalPut *put, Err *err)
{
    char path[64];
    int result;
    const char *leaf = leaf_of(put->name);
    if (put->temporary[0] == 0) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", put->file);
        result = linkat(AT_FDCWD, path, put->directory, leaf, AT_SYMLINK_FOLLOW);
    } else {
        result = (int)syscall(SYS_renameat2, put->directory, put->temporary, put->directory, leaf,
                              RENAME_NOREPLACE);
        if (result == 0)
            put->temporary[0] = 0;
    }
    if (result == 0)
        return sync_fd(local_of(put), put->directory, put->name, err);
    if (errno == EEXIST)
        return err_set(err, ERR_CONFLICT, "store.exists", "the store already has %s", put->name);
    return refused(local_of(put), "store.publish", put->name, err);
}

static void local_put_abort(Store *s, StorePut *base)
{
    LocalPut *put = (LocalPut *)base;
    if (put->temporary[0] != 0)
        unlinkat(put->directory, put->temporary, 0);
    if (put->file >= 0)
        close(put->file);
    if (put->directory >= 0)
        close(put->directory);
    if (put->window != NULL)
        window_give((LocalStore *)s, put->window);
    mem_free(put);
}

static bool local_put_finish(Store *s, StorePut *base, Err *err)
{
    LocalPut *put = (LocalPut *)base;
    bool done = put->broken
                    ? err_set(err, ERR_IO, "store.write", "%s was not written", put->name)
                    : write_tail(put, err) && sync_fd(local_of(put), put->file, put->name, err) &&
                          publish(put, err);
    if (done && close(put->file) != 0)
        done = err_set_sys(err, ERR_IO, "store.close", "%s", put->name);
    if (done)
        put->file = -1;
    local_put_abort(s, base);
    return done;
}

/* config, epoch and holds: a new file over the old name, atomically. */
static bool local_replace(Store *s, const char *name, Slice bytes, Err *err)
{
    LocalStore *local = (LocalStore *)s;
    const char *leaf;
    LocalPut put = {.put = {s}, .directory = -1, .file = -1};
    char text[UUID_TEXT];
    Uuid id = rand_uuid();
    snprintf(put.name, sizeof put.name, "%s", name);
    uuid_text(&id, text);
    if (!open_directory(local, name, true, &put.directory, &leaf, err))
        return false;
    snprintf(put.temporary, sizeof put.temporary, ".tmp-%s", text);
    put.file = openat(put.directory, put.temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool done = put.file >= 0 ? write_all(&put, bytes.at, bytes.len, err) &&
                                    sync_fd(local, put.file, name, err)
                              : refused(local, "store.create", name, err);
    if (done && renameat(put.directory, put.temporary, put.directory, leaf) != 0)
        done = refused(local, "store.publish", name, err);
    else if (done)
        done = sync_fd(local, put.directory, name, err);
    if (!done && put.file >= 0)
        unlinkat(put.directory, put.temporary, 0);
    if (put.file >= 0)
        close(put.file);
    close(put.directory);
    return done;
}

/* A symbolic link, which replaces the one before it in one step. */
static bool local_alias(Store *s, const char *name, const char *target, bool *made, Err *err)
{
    LocalStore *local = (LocalStore *)s;
    scoped(buf_free) Buf path = {0};
    char temporary[64], id_text[UUID_TEXT];
    struct stat st;
    Uuid id = rand_uuid();
    int directory;
    const char *leaf;
    store_name_relative(name, target, &path);
    uuid_text(&id, id_text);
    snprintf(temporary, sizeof temporary, ".tmp-%s", id_text);
    if (!open_directory(local, name, true, &directory, &leaf, err))
        return false;
    bool done = fstatat(directory, leaf, &st, AT_SYMLINK_NOFOLLOW) != 0 || S_ISLNK(st.st_mode) ||
                err_set(err, ERR_CONFLICT, "store.exists",
                        "%s is a file of its own in the store: move it away", name);
    done = done && (symlinkat(buf_cstr(&path), directory, temporary) == 0 ||
                    refused(local, "store.create", name, err));
    if (done && renameat(directory, temporary, directory, leaf) != 0) {
        done = refused(local, "store.publish", name, err);
        unlinkat(directory, temporary, 0);
    }
    done = done && sync_fd(local, directory, name, err);
    *made = done;
    close(directory);
    return done;
}

/* The whole name in one step; what fails is looked at step by step for its reason. */
static int open_at_once(const LocalStore *local, const char *name)
{
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    return (int)syscall(SYS_openat2, local->root, name, &how, sizeof how);
}

/* Opens an object for reading; *file -1 when it is not there. */
static bool open_object(LocalStore *local, const char *name, int *file, Err *err)
{
    int directory;
    const char *leaf;
    *file = open_at_once(local, name);
    if (*file >= 0)
        return true;
    if (!open_directory(local, name, false, &directory, &leaf, err)) {
        if (err->code != ERR_MISSING)
            return false;
        *err = (Err){0};
        return true;
    }
    *file = openat(directory, leaf, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int sys = errno;
    close(directory);
    errno = sys;
    return *file >= 0 || sys == ENOENT || refused(local, "store.open", name, err);
}

static bool read_at(int file, uint64_t offset, uint8_t *at, size_t len, const char *name, Err *err)
{
    while (len != 0) {
        ssize_t got = pread(file, at, len, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set_sys(err, err_code_of_errno(errno), "store.read", "%s", name);
        if (got == 0)
            return err_set(err, ERR_CORRUPT, "store.damaged",
                           "%s ends early, %zu bytes are missing", name, len);
        at += got;
        offset += (uint64_t)got;
        len -= (size_t)got;
    }
    return true;
}

static bool local_get(Store *s, const char *name, size_t most, bool *found, Buf *out, Err *err)
{
    int file;
    struct stat st;
    if (!open_object((LocalStore *)s, name, &file, err))
        return false;
    if (file < 0)
        return true;
    *found = true;
    bool done = fstat(file, &st) == 0 || err_set_sys(err, ERR_IO, "store.read", "%s", name);
    if (done && (uint64_t)st.st_size > most)
        done = err_set(err, ERR_CORRUPT, "store.large", "%s has %lld bytes, %zu are the most", name,
                       (long long)st.st_size, most);
    if (done) {
        size_t len = (size_t)st.st_size;
        done = read_at(file, 0, buf_extend(out, len), len, name, err);
    }
    close(file);
    return done;
}

static bool local_get_range(Store *s, const char *name, uint64_t offset, size_t len, uint8_t *at,
                            Err *err)
{
    int file;
    if (!open_object((LocalStore *)s, name, &file, err))
        return false;
    if (file < 0)
        return err_set(err, ERR_CORRUPT, "store.damaged", "the store has no %s", name);
    bool done = read_at(file, offset, at, len, name, err);
    close(file);
    return done;
}

static bool local_head(Store *s, const char *name, bool *found, uint64_t *size, Err *err)
{
    int file;
    struct stat st;
    if (!open_object((LocalStore *)s, name, &file, err))
        return false;
    if (file < 0)
        return true;
    bool done = fstat(file, &st) == 0 || err_set_sys(err, ERR_IO, "store.read", "%s", name);
    *found = done;
    *size = done ? (uint64_t)st.st_size : 0;
    close(file);
    return done;
}

static bool list_directory(int directory, const char *prefix, const StoreListing *listing,
                           Err *err);

static bool visit_file(const char *name, uint64_t size, const StoreListing *listing, Err *err)
{
    bool wanted = listing->after == NULL || strcmp(name, listing->after) > 0;
    return !wanted || !store_name_valid(name) || listing->visit(listing->ctx, name, size, err);
}

static bool list_one(int directory, const char *prefix, const struct dirent *item,
                     const StoreListing *listing, Err *err)
{
    char name[STORE_NAME_MOST + 300];
    struct stat st;
    if (item->d_name[0] == '.')
        return true; /* this, the parent, and files on their way */
    snprintf(name, sizeof name, "%s%s", prefix, item->d_name);
    if (listing->names_only && item->d_type == DT_REG)
        return visit_file(name, 0, listing, err);
    if (fstatat(directory, item->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT || err_set_sys(err, ERR_IO, "store.list", "%s", item->d_name);
    if (S_ISDIR(st.st_mode)) {
        int next = openat(directory, item->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (next < 0)
            return err_set_sys(err, err_code_of_errno(errno), "store.list", "%s", item->d_name);
        snprintf(name, sizeof name, "%s%s/", prefix, item->d_name);
        return list_directory(next, name, listing, err);
    }
    return !S_ISREG(st.st_mode) ||
           visit_file(name, listing->names_only ? 0 : (uint64_t)st.st_size, listing, err);
}

/* Takes the descriptor over. */
static bool list_directory(int directory, const char *prefix, const StoreListing *listing, Err *err)
{
    bool done = true;
    DIR *open = fdopendir(directory);
    if (open == NULL) {
        close(directory);
        return err_set_sys(err, ERR_IO, "store.list", "%s", prefix);
    }
    for (;;) {
        errno = 0;
        struct dirent *item = readdir(open);
        if (item == NULL) {
            if (errno != 0)
                done = err_set_sys(err, ERR_IO, "store.list", "%s", prefix);
            break;
        }
        if (!list_one(directory, prefix, item, listing, err)) {
            done = false;
            break;
        }
    }
    closedir(open);
    return done;
}

static bool local_list(Store *s, const StoreListing *listing, Err *err)
{
    LocalStore *local = (LocalStore *)s;
    const char *prefix = listing->prefix;
    int directory;
    const char *leaf;
    if (!open_directory(local, prefix, false, &directory, &leaf, err)) {
        bool absent = err->code == ERR_MISSING;
        if (absent)
            *err = (Err){0};
        return absent;
    }
    /* dup shares the read position of the root with other listings: open it anew. */
    int own = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(directory);
    if (own < 0)
        return err_set_sys(err, err_code_of_errno(errno), "store.list", "%s", prefix);
    return list_directory(own, prefix, listing, err);
}

static bool local_remove(Store *s, const char *name, Err *err)
{
    int directory;
    const char *leaf;
    if (!open_directory((LocalStore *)s, name, false, &directory, &leaf, err)) {
        bool absent = err->code == ERR_MISSING;
        if (absent)
            *err = (Err){0};
        return absent;
    }
    bool done = unlinkat(directory, leaf, 0) == 0 || errno == ENOENT ||
                refused((LocalStore *)s, "store.remove", name, err);
    done = done && sync_fd((LocalStore *)s, directory, name, err);
    close(directory);
    return done;
}

static bool local_sweep(Store *s, StoreSweep *sweep, Err *err)
{
    return store_local_sweep(((LocalStore *)s)->root, sweep, err);
}

static void local_close(Store *s)
{
    LocalStore *local = (LocalStore *)s;
    if (local->root >= 0)
        close(local->root);
    for (size_t i = 0; i < local->spare_count; i++)
        free(local->spare[i]);
    pthread_mutex_destroy(&local->lock);
    mem_free(local->path);
    mem_free(local);
}

static const StoreOps local_ops = {
    .scheme = "local",
    .put_begin = local_put_begin,
    .put_write = local_put_write,
    .put_finish = local_put_finish,
    .put_abort = local_put_abort,
    .replace = local_replace,
    .alias = local_alias,
    .get = local_get,
    .get_range = local_get_range,
    .head = local_head,
    .list = local_list,
    .remove = local_remove,
    .sweep = local_sweep,
    .close = local_close,
};

bool store_local_open(Store **out, const char *path, Err *err)
{
    *out = NULL;
    int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 && errno == ENOENT)
        return err_set(err, ERR_MISSING, "store.missing",
                       "the store's directory %s is not there; is its disk mounted?", path);
    if (root < 0)
        return err_set_sys(err, err_code_of_errno(errno), "store.open", "the store's directory %s",
                           path);
    LocalStore *local = mem_new(LocalStore);
    *local = (LocalStore){.store = {.ops = &local_ops}, .root = root, .path = mem_string(path)};
    pthread_mutex_init(&local->lock, NULL);
    *out = &local->store;
    return true;
}
