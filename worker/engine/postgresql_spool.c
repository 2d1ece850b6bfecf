/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_spool.h"

#include "common/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FOLDER_MODE = 02770, /* the group of the root goes on to what is in it */
    FILE_MODE = 0640,
    MARKS_KEPT = 2048,
};

static bool make_folder(int parent, const char *name, const char *shown, Err *err)
{
    struct stat info;
    if (mkdirat(parent, name, 0770) != 0 && errno != EEXIST)
        return err_set_sys(err, ERR_IO, "wal.spool", "making %s", shown);
    /* The umask may have narrowed it; and whoever made it may have died here. */
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool fine = fd >= 0 && fstat(fd, &info) == 0 &&
                (info.st_uid != geteuid() || (info.st_mode & 07777) == FOLDER_MODE ||
                 fchmod(fd, FOLDER_MODE) == 0) &&
                fsync(parent) == 0;
    if (fd >= 0)
        close(fd);
    return fine || err_set_sys(err, ERR_IO, "wal.spool", "making %s", shown);
}

static bool open_folder(int parent, const char *name, const char *shown, bool make, int *out,
                        Err *err)
{
    if (make && !make_folder(parent, name, shown, err))
        return false;
    *out = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*out >= 0)
        return true;
    if (errno == ENOENT)
        return err_set(
            err, ERR_MISSING, "wal.no_spool",
            "%s is not there: nothing was ever pushed; is archive_command of the server "
            "'holdfast-worker wal-push %%p', and wal_spool in worker.yaml the same place?",
            shown);
    return err_set_sys(err, ERR_IO, "wal.spool", "opening %s", shown);
}

bool postgresql_spool_open(PostgresqlSpool *out, const char *root, const char *system, bool make,
                           Err *err)
{
    *out = (PostgresqlSpool){.fd = -1, .stored = -1, .history = -1};
    int base = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (base < 0)
        return err_set_sys(err, ERR_IO, "wal.spool",
                           "opening the spool %s, which must be a directory that the server's user "
                           "and the worker may write",
                           root);
    snprintf(out->path, sizeof out->path, "%s/%s", root, system);
    bool fine = open_folder(base, system, out->path, make, &out->fd, err) &&
                open_folder(out->fd, "stored", out->path, make, &out->stored, err) &&
                open_folder(out->fd, "history", out->path, make, &out->history, err);
    if (base >= 0)
        close(base);
    if (!fine)
        postgresql_spool_close(out);
    return fine;
}

void postgresql_spool_close(PostgresqlSpool *spool)
{
    int *const fds[] = {&spool->fd, &spool->stored, &spool->history};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (*fds[i] > 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
}

bool postgresql_spool_sync(const PostgresqlSpool *spool, int folder, Err *err)
{
    return fsync(folder) == 0 ||
           err_set_sys(err, ERR_IO, "wal.spool", "making %s durable", spool->path);
}

bool postgresql_spool_write(int fd, Slice bytes)
{
    for (size_t done = 0; done < bytes.len;) {
        ssize_t wrote = write(fd, bytes.at + done, bytes.len - done);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return false;
        done += (size_t)wrote;
    }
    return true;
}

bool postgresql_spool_put(const PostgresqlSpool *spool, int folder, const char *name, Slice bytes,
                          Err *err)
{
    char half[300];
    snprintf(half, sizeof half, ".%s.%ld", name, (long)getpid());
    int fd = openat(folder, half, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    bool fine = fd >= 0 && fchmod(fd, FILE_MODE) == 0 && postgresql_spool_write(fd, bytes) &&
                fsync(fd) == 0;
    if (fd >= 0 && close(fd) != 0)
        fine = false;
    if (fine && renameat(folder, half, folder, name) == 0)
        return postgresql_spool_sync(spool, folder, err);
    (void)err_set_sys(err, errno == ENOSPC ? ERR_FULL : ERR_IO, "wal.spool", "writing %s in %s",
                      name, spool->path);
    (void)unlinkat(folder, half, 0);
    return false;
}

int postgresql_spool_file(const PostgresqlSpool *spool, int folder, const char *name, Err *err)
{
    struct stat info;
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        if (errno != ENOENT)
            (void)err_set_sys(err, ERR_IO, "wal.spool", "opening %s in %s", name, spool->path);
        return -1;
    }
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode))
        return fd;
    close(fd);
    (void)err_set(err, ERR_IO, "wal.spool", "%s in %s is no file: remove it", name, spool->path);
    return -1;
}

bool postgresql_spool_get(const PostgresqlSpool *spool, int folder, const char *name, Buf *out,
                          Err *err)
{
    int fd = postgresql_spool_file(spool, folder, name, err);
    ssize_t got = 0;
    if (fd < 0)
        return false;
    do {
        buf_reserve(out, 4096);
        got = read(fd, out->at + out->len, 4096);
        out->len += got > 0 ? (size_t)got : 0;
    } while ((got > 0 && out->len <= POSTGRESQL_SPOOL_SMALL) || (got < 0 && errno == EINTR));
    if (got < 0)
        (void)err_set_sys(err, ERR_IO, "wal.spool", "reading %s in %s", name, spool->path);
    else if (got > 0)
        (void)err_set(err, ERR_INVALID, "wal.spool", "%s in %s is longer than 1 MiB", name,
                      spool->path);
    close(fd);
    return got == 0;
}

/* --- what is stored ------------------------------------------------------------------------- */

bool postgresql_spool_stored(const PostgresqlSpool *spool, const char *name,
                             char out[POSTGRESQL_SPOOL_SHA256], Err *err)
{
    scoped(buf_free) Buf text = {0};
    out[0] = '\0';
    if (!postgresql_spool_get(spool, spool->stored, name, &text, err))
        return err->code == ERR_NONE;
    if (text.len < POSTGRESQL_SPOOL_SHA256 - 1)
        return err_set(err, ERR_INVALID, "wal.spool", "%s/stored/%s is damaged: remove it",
                       spool->path, name);
    memcpy(out, text.at, POSTGRESQL_SPOOL_SHA256 - 1);
    out[POSTGRESQL_SPOOL_SHA256 - 1] = '\0';
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

bool postgresql_spool_tidy(const PostgresqlSpool *spool, Err *err)
{
    PostgresqlSpoolNames names;
    if (!postgresql_spool_list(spool, spool->stored, &names, err))
        return false;
    for (size_t i = 0; i + MARKS_KEPT < names.count; i++)
        (void)unlinkat(spool->stored, names.at[i], 0);
    postgresql_spool_names_free(&names);
    return true;
}

bool postgresql_spool_mark(const PostgresqlSpool *spool, const char *name, const Sha256 *sha256,
                           Err *err)
{
    char text[POSTGRESQL_SPOOL_SHA256 + 1];
    ids_hex(sha256->bytes, sizeof sha256->bytes, text);
    text[POSTGRESQL_SPOOL_SHA256 - 1] = '\n';
    Slice mark = {(const uint8_t *)text, POSTGRESQL_SPOOL_SHA256};
    bool marked = postgresql_spool_put(spool, spool->stored, name, mark, err);
    if (!marked && err->code == ERR_FULL && unlinkat(spool->fd, name, 0) == 0) {
        /* Without its note a push that comes again is stored once more, and that is all. */
        *err = (Err){0};
        marked = postgresql_spool_put(spool, spool->stored, name, mark, err);
    }
    if (!marked)
        return false;
    if (unlinkat(spool->fd, name, 0) != 0 && errno != ENOENT)
        return err_set_sys(err, ERR_IO, "wal.spool", "removing %s, which is stored, from %s", name,
                           spool->path);
    return true;
}

/* --- lists ---------------------------------------------------------------------------------- */

bool postgresql_spool_list(const PostgresqlSpool *spool, int folder, PostgresqlSpoolNames *out,
                           Err *err)
{
    *out = (PostgresqlSpoolNames){0};
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL)
        return err_set_sys(err, ERR_IO, "wal.spool", "reading %s", spool->path);
    for (const struct dirent *one; (one = readdir(dir)) != NULL;) {
        if (one->d_name[0] == '.')
            continue;
        out->at = mem_resize(out->at, (out->count + 1) * sizeof *out->at);
        out->at[out->count++] = mem_string(one->d_name);
    }
    closedir(dir);
    if (out->count > 0)
        qsort(out->at, out->count, sizeof *out->at, by_name);
    return true;
}

void postgresql_spool_names_free(PostgresqlSpoolNames *names)
{
    for (size_t i = 0; i < names->count; i++)
        mem_free(names->at[i]);
    mem_free(names->at);
    *names = (PostgresqlSpoolNames){0};
}

/* --- when a push is done -------------------------------------------------------------------- */

bool postgresql_spool_returns(const PostgresqlSpool *spool, bool *spooled, Err *err)
{
    scoped(buf_free) Buf text = {0};
    bool found = postgresql_spool_get(spool, spool->fd, "returns", &text, err);
    *spooled = found && text_equal(buf_text(&text), TEXT("spooled\n"));
    return found || err->code == ERR_NONE;
}

bool postgresql_spool_set_returns(const PostgresqlSpool *spool, bool spooled, Err *err)
{
    bool now;
    Text text = spooled ? TEXT("spooled\n") : TEXT("stored\n");
    if (!postgresql_spool_returns(spool, &now, err))
        return false;
    return now == spooled ||
           postgresql_spool_put(spool, spool->fd, "returns", slice_of_text(text), err);
}
