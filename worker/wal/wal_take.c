/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/wal/wal_take.h"

#include "common/base/crashpoint.h"
#include "common/base/mem.h"
#include "worker/wal/wal_control.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 1 << 18, FILE_MODE = 0640 };

static const char half[] = ".half"; /* one at a time, under the lock */
static const char owner_file[] = "server";

/* The file, read once, looked through and copied meanwhile. */
typedef struct Take {
    const WalTake *params;
    WalTaken *out;
    int from;
    uint32_t timeline;
    PostgresqlWalKind kind;
    PostgresqlWalHead head;
    char folder[PATH_MAX]; /* that it lies in */
} Take;

static bool read_head(Take *take, Err *err)
{
    uint8_t head[POSTGRESQL_WAL_HEAD];
    struct stat info;
    const char *name = take->out->name;
    ssize_t got = pread(take->from, head, sizeof head, 0);
    if (got < 0 || fstat(take->from, &info) != 0)
        return err_set_sys(err, ERR_IO, "wal.read", "reading %s", take->params->path);
    if (!postgresql_wal_head_parse(text_of(name), (Slice){head, (size_t)got}, &take->head, err))
        return false;
    return info.st_size == (off_t)take->head.segment_bytes ||
           err_set(err, ERR_INVALID, "wal.size", "%s has %lld bytes, and a segment of it has %u",
                   name, (long long)info.st_size, take->head.segment_bytes);
}

/* --- histories ------------------------------------------------------------------------------ */

static bool take_history(const Take *take, const char *name, Err *err)
{
    char path[PATH_MAX + 300];
    scoped(buf_free) Buf content = {0}, before = {0};
    const PostgresqlSpool *spool = &take->out->spool;
    PostgresqlSpool server = {.fd = AT_FDCWD};
    snprintf(server.path, sizeof server.path, "%s", take->folder);
    snprintf(path, sizeof path, "%s/%s", take->folder, name);
    if (!postgresql_spool_get(&server, AT_FDCWD, path, &content, err))
        return err->code != ERR_NONE
                   ? false
                   : err_set(err, ERR_MISSING, "wal.read", "%s is not there", path);
    if (postgresql_spool_get(spool, spool->history, name, &before, err)) {
        /* Whoever put it there may have died before it was durable. */
        if (text_equal(buf_text(&content), buf_text(&before)))
            return postgresql_spool_sync(spool, spool->history, err);
        return err_set(err, ERR_CONFLICT, "wal.other_bytes",
                       "%s/history/%s has other bytes: two servers were promoted to one timeline; "
                       "give each a spool of its own",
                       spool->path, name);
    }
    return err->code == ERR_NONE &&
           postgresql_spool_put(spool, spool->history, name, buf_slice(&content), err);
}

/* A segment of a later timeline is of no use without the files that lead there; a server that was
 * promoted before it archived does not push them by itself. */
static bool take_histories(const Take *take, Err *err)
{
    uint32_t timeline;
    bool fine = true;
    if (take->timeline == 1 && take->kind == POSTGRESQL_WAL_SEGMENT)
        return true;
    DIR *dir = opendir(take->folder);
    if (dir == NULL)
        return err_set_sys(err, ERR_IO, "wal.read", "reading %s", take->folder);
    for (const struct dirent *one; fine && (one = readdir(dir)) != NULL;)
        if (postgresql_wal_kind(text_of(one->d_name), &timeline) == POSTGRESQL_WAL_HISTORY)
            fine = take_history(take, one->d_name, err);
    closedir(dir);
    return fine;
}

/* --- segments ------------------------------------------------------------------------------- */

/* Reads the whole file into `to` (-1: nowhere), and says what it has and whether it is sound. */
static bool pass(Take *take, int to, char sha256[POSTGRESQL_SPOOL_SHA256], Err *err)
{
    uint8_t *bytes = mem_array(uint8_t, PIECE);
    PostgresqlWalScan *scan = mem_new(PostgresqlWalScan);
    HashSha256 *hash = hash_sha256_new();
    Sha256 sum;
    uint64_t whole = 0;
    ssize_t got = 0;
    bool fine = true;
    postgresql_wal_scan_begin(scan, &take->head);
    while (fine && ((got = pread(take->from, bytes, PIECE, (off_t)whole)) > 0 ||
                    (got < 0 && errno == EINTR))) {
        size_t len = got > 0 ? (size_t)got : 0;
        hash_sha256_add(hash, (Slice){bytes, len});
        postgresql_wal_scan_add(scan, (Slice){bytes, len});
        fine = to < 0 || postgresql_spool_write(to, (Slice){bytes, len});
        whole += len;
    }
    if (!fine)
        (void)err_set_sys(err, errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO, "wal.spool",
                          "writing %s into %s", take->out->name, take->out->spool.path);
    else if (got < 0)
        fine = err_set_sys(err, ERR_IO, "wal.read", "reading %s", take->params->path);
    else if (take->kind == POSTGRESQL_WAL_SEGMENT && scan->sound != take->head.segment_bytes)
        fine = err_set(err, ERR_INVALID, "wal.pages",
                       "%s is no log of this segment after %llu bytes: its file is damaged, or was "
                       "used again; nothing of it is taken",
                       take->out->name, (unsigned long long)scan->sound);
    hash_sha256_end(hash, &sum);
    ids_hex(sum.bytes, sizeof sum.bytes, sha256);
    hash_sha256_free(hash);
    mem_free(scan);
    mem_free(bytes);
    return fine;
}

/* The file's own time goes with it: all that lies before it in the log is older. */
static bool seal(const Take *take, int fd)
{
    struct stat info;
    if (fstat(take->from, &info) != 0)
        return false;
    const struct timespec times[2] = {info.st_mtim, info.st_mtim};
    return futimens(fd, times) == 0 && fchmod(fd, FILE_MODE) == 0 && fsync(fd) == 0;
}

static bool copy_in(Take *take, Err *err)
{
    WalTaken *out = take->out;
    const PostgresqlSpool *spool = &out->spool;
    int fd =
        openat(spool->fd, half, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (fd < 0)
        return err_set_sys(err, ERR_IO, "wal.spool", "writing into %s", spool->path);
    bool fine = pass(take, fd, out->sha256, err);
    if (fine && !seal(take, fd))
        fine = err_set_sys(err, ERR_IO, "wal.spool", "making %s durable in %s", out->name,
                           spool->path);
    if (close(fd) != 0 && fine)
        fine = err_set_sys(err, ERR_IO, "wal.spool", "writing %s into %s", out->name, spool->path);
    CRASHPOINT("wal.copied");
    if (fine && renameat(spool->fd, half, spool->fd, out->name) != 0)
        fine = err_set_sys(err, ERR_IO, "wal.spool", "writing %s into %s", out->name, spool->path);
    if (!fine)
        (void)unlinkat(spool->fd, half, 0);
    return fine && postgresql_spool_sync(spool, spool->fd, err);
}

static bool other_bytes(const WalTaken *out, const char *where, Err *err)
{
    return err_set(
        err, ERR_CONFLICT, "wal.other_bytes",
        "%s is %s with other bytes: two servers write one log, or this one was set back; "
        "give what runs now a spool and a source of its own",
        out->name, where);
}

/* What lies there already: the same, or refused. */
static bool compare(Take *take, int fd, Err *err)
{
    char there[POSTGRESQL_SPOOL_SHA256];
    Take other = *take;
    other.from = fd;
    if (!pass(&other, -1, there, err) || !pass(take, -1, take->out->sha256, err))
        return false;
    return strcmp(there, take->out->sha256) == 0 || other_bytes(take->out, "in the spool", err);
}

static bool check_limit(const Take *take, Err *err)
{
    PostgresqlSpoolNames names;
    uint64_t waiting = 0;
    const PostgresqlSpool *spool = &take->out->spool;
    if (take->params->limit == 0)
        return true;
    if (!postgresql_spool_list(spool, spool->fd, &names, err))
        return false;
    for (size_t i = 0; i < names.count; i++) {
        struct stat info;
        if (fstatat(spool->fd, names.at[i], &info, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(info.st_mode))
            waiting += (uint64_t)info.st_size;
    }
    postgresql_spool_names_free(&names);
    return waiting + take->head.segment_bytes <= take->params->limit ||
           err_set(err, ERR_FULL, "wal.spool_full",
                   "%llu bytes wait in %s and are not stored yet, and --limit is %llu: nothing of "
                   "them is dropped; the server keeps %s until there is room",
                   (unsigned long long)waiting, spool->path,
                   (unsigned long long)take->params->limit, take->out->name);
}

/* --- whose spool ---------------------------------------------------------------------------- */

/* Another directory is not there any more, or has another cluster by now: then it pushes no more.
 */
static bool pushes_still(const char *directory, const char *system)
{
    char path[PATH_MAX + 40], found[24];
    uint64_t number = 0;
    uint8_t bytes[8];
    snprintf(path, sizeof path, "%s/global/pg_control", directory);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno != ENOENT && errno != ENOTDIR;
    ssize_t got = read(fd, bytes, sizeof bytes);
    close(fd);
    for (size_t i = sizeof bytes; got == sizeof bytes && i > 0; i--)
        number = number << 8 | bytes[i - 1];
    snprintf(found, sizeof found, "%llu", (unsigned long long)number);
    return strcmp(found, system) == 0;
}

/* A copy of the cluster that was made on the same host and promoted has its name and its
 * archive_command: what it pushes would be a timeline to which the source's own log seems to go
 * over. So a spool is of one data directory. */
static bool check_owner(const Take *take, const char *system, Err *err)
{
    char here[PATH_MAX];
    scoped(buf_free) Buf owner = {0};
    const PostgresqlSpool *spool = &take->out->spool;
    if (getcwd(here, sizeof here) == NULL)
        return err_set_sys(err, ERR_IO, "wal.control", "asking for the data directory");
    bool known = postgresql_spool_get(spool, spool->fd, owner_file, &owner, err);
    if (known && strcmp(buf_cstr(&owner), here) == 0)
        return true;
    if (!known && err->code != ERR_NONE)
        return false;
    if (known && !take->params->take_over && pushes_still(buf_cstr(&owner), system))
        return err_set(err, ERR_CONFLICT, "wal.other_server",
                       "%s is the spool of the server in %s, and %s is a copy of it: give the copy "
                       "another archive_command, or a source and a spool of its own; if it is the "
                       "successor, call wal-push --take-over once with one file",
                       spool->path, buf_cstr(&owner), here);
    return postgresql_spool_put(spool, spool->fd, owner_file, slice_of_text(text_of(here)), err);
}

static bool take_locked(Take *take, const char *system, Err *err)
{
    WalTaken *out = take->out;
    bool spooled;
    if (!check_owner(take, system, err))
        return false;
    if (take->kind == POSTGRESQL_WAL_HISTORY)
        return take_history(take, out->name, err);
    if (!take_histories(take, err) || !postgresql_spool_returns(&out->spool, &spooled, err))
        return false;
    char stored[POSTGRESQL_SPOOL_SHA256];
    if (!postgresql_spool_stored(&out->spool, out->name, stored, err))
        return false;
    if (stored[0] != '\0') {
        out->done = true;
        return pass(take, -1, out->sha256, err) &&
               (strcmp(stored, out->sha256) == 0 || other_bytes(out, "stored", err));
    }
    int there = postgresql_spool_file(&out->spool, out->spool.fd, out->name, err);
    if (there < 0 && err->code != ERR_NONE)
        return false;
    bool fine = there >= 0 ? compare(take, there, err) &&
                                 postgresql_spool_sync(&out->spool, out->spool.fd, err)
                           : check_limit(take, err) && copy_in(take, err);
    if (there >= 0)
        close(there);
    out->done = spooled;
    return fine;
}

static bool locked(Take *take, const char *system, Err *err)
{
    int fd = openat(take->out->spool.fd, ".lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX) != 0) {
        if (fd >= 0)
            close(fd);
        return err_set_sys(err, ERR_IO, "wal.spool", "locking %s", take->out->spool.path);
    }
    bool fine = take_locked(take, system, err);
    close(fd);
    return fine;
}

static bool take_file(Take *take, Err *err)
{
    WalTaken *out = take->out;
    char system[24];
    uint64_t number;
    bool segment = take->kind == POSTGRESQL_WAL_SEGMENT || take->kind == POSTGRESQL_WAL_PARTIAL;
    if (segment ? !read_head(take, err) : !wal_control_system(take->folder, &number, err))
        return false;
    if (segment)
        number = take->head.system;
    snprintf(system, sizeof system, "%llu", (unsigned long long)number);
    if (!postgresql_spool_open(&out->spool, take->params->root, system, true, err))
        return false;
    out->done = !segment; /* a history file goes with the next segment, which waits for both */
    bool fine = locked(take, system, err);
    if (!fine)
        wal_taken_close(out);
    return fine;
}

bool wal_take(const WalTake *params, WalTaken *out, Err *err)
{
    Take take = {.params = params, .out = out};
    const char *slash = strrchr(params->path, '/'),
               *name = slash == NULL ? params->path : slash + 1;
    *out = (WalTaken){.spool = {.fd = -1, .stored = -1, .history = -1}};
    take.kind = postgresql_wal_kind(text_of(name), &take.timeline);
    if (take.kind == POSTGRESQL_WAL_OTHER)
        return err_set(err, ERR_INVALID, "wal.name",
                       "%.80s is no file of a server's log: wal-push is to be called with %%p",
                       name);
    snprintf(out->name, sizeof out->name, "%s", name);
    snprintf(take.folder, sizeof take.folder, "%.*s",
             slash == NULL ? 1 : (int)(slash - params->path), slash == NULL ? "." : params->path);
    /* A note for people: a base backup of ours brings its own. */
    out->done = take.kind == POSTGRESQL_WAL_NOTE;
    if (out->done)
        return true;
    take.from = open(params->path, O_RDONLY | O_CLOEXEC);
    if (take.from < 0)
        return err_set_sys(err, ERR_IO, "wal.read", "opening %s", params->path);
    bool fine = take_file(&take, err);
    close(take.from);
    return fine;
}

bool wal_taken_stored(const WalTaken *taken, bool *stored, Err *err)
{
    char sha256[POSTGRESQL_SPOOL_SHA256];
    if (!postgresql_spool_stored(&taken->spool, taken->name, sha256, err))
        return false;
    *stored = sha256[0] != '\0';
    return !*stored || strcmp(sha256, taken->sha256) == 0 || other_bytes(taken, "stored", err);
}

void wal_taken_close(WalTaken *taken)
{
    postgresql_spool_close(&taken->spool);
}
