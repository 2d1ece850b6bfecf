/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_adopt.h"

#include "common/base/crashpoint.h"
#include "common/base/json.h"
#include "common/base/rand.h"
#include "worker/engine/postgresql_archive.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_ROOM = 700, DEEPEST = 32 };

void postgresql_adopt_user(char out[POSTGRESQL_ADOPT_USER])
{
    uint8_t random[8];
    rand_bytes(random, sizeof random);
    int n = snprintf(out, POSTGRESQL_ADOPT_USER, "holdfast_proof_");
    for (size_t i = 0; i < sizeof random; i++)
        n += snprintf(out + n, POSTGRESQL_ADOPT_USER - (size_t)n, "%02x", random[i]);
}

/* --- files ---------------------------------------------------------------------------------- */

/* Only a tablespace is a link, and leads to its place beside the data directory: what leads
 * elsewhere was made by nobody's server, and ours would write there. */
static bool may_link(const PostgresqlServer *server, int folder, const char *name,
                     const char *where, Err *err)
{
    char target[PATH_ROOM], space[PATH_ROOM];
    ssize_t len = readlinkat(folder, name, target, sizeof target - 1);
    target[len < 0 ? 0 : len] = 0;
    snprintf(space, sizeof space, "%s.tablespace-%s", postgresql_server_data(server), name);
    if (len > 0 && strcmp(where, "data/pg_tblspc") == 0 && strcmp(target, space) == 0)
        return true;
    return err_set(err, ERR_CORRUPT, "proof.link",
                   "%s/%s leads to %s, and a base backup has links to tablespaces only: somebody "
                   "else made it; revoke who wrote it, and restore an older one",
                   where, name, target);
}

static bool give_folder(const PostgresqlServer *server, int folder, const char *where,
                        unsigned depth, Err *err);

static bool give_one(const PostgresqlServer *server, int folder, const char *name,
                     const char *where, unsigned depth, Err *err)
{
    const Confine *confine = postgresql_server_confine(server);
    struct stat about;
    char path[PATH_ROOM];
    snprintf(path, sizeof path, "%s/%s", where, name);
    if (fstatat(folder, name, &about, AT_SYMLINK_NOFOLLOW) != 0 ||
        (confine->other_user &&
         fchownat(folder, name, confine->uid, confine->gid, AT_SYMLINK_NOFOLLOW) != 0))
        return err_set_sys(err, ERR_IO, "sandbox.folder", "cannot give %s to the sandbox's user",
                           path);
    if (S_ISLNK(about.st_mode))
        return may_link(server, folder, name, where, err);
    if (!S_ISDIR(about.st_mode))
        return S_ISREG(about.st_mode) ||
               err_set(err, ERR_CORRUPT, "proof.link", "%s is no file of a cluster", path);
    int inside = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return inside >= 0 ? give_folder(server, inside, path, depth + 1, err)
                       : err_set_sys(err, ERR_IO, "sandbox.folder", "cannot open %s", path);
}

/* Takes the descriptor. */
static bool give_folder(const PostgresqlServer *server, int folder, const char *where,
                        unsigned depth, Err *err)
{
    bool fine = depth < DEEPEST ||
                err_set(err, ERR_CORRUPT, "proof.link", "%s is deeper than a cluster", where);
    DIR *list = fdopendir(folder);
    if (list == NULL) {
        close(folder);
        return err_set_sys(err, ERR_IO, "sandbox.folder", "cannot list %s", where);
    }
    for (const struct dirent *one = readdir(list); fine && one != NULL; one = readdir(list))
        if (strcmp(one->d_name, ".") != 0 && strcmp(one->d_name, "..") != 0)
            fine = give_one(server, folder, one->d_name, where, depth, err);
    closedir(list);
    return fine;
}

/* The data directory, and the tablespaces beside it. */
static bool give_all(const PostgresqlServer *server, Err *err)
{
    const char *directory = postgresql_server_confine(server)->directory;
    bool fine = true;
    int folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = folder < 0 ? NULL : fdopendir(folder);
    if (list == NULL)
        return err_set_sys(err, ERR_IO, "sandbox.folder", "cannot list %s", directory);
    for (const struct dirent *one = readdir(list); fine && one != NULL; one = readdir(list)) {
        bool space = strncmp(one->d_name, "data.tablespace-", 16) == 0;
        if (!space && strcmp(one->d_name, "data") != 0)
            continue;
        const Confine *confine = postgresql_server_confine(server);
        int inside = openat(folder, one->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (inside < 0 || (confine->other_user && fchown(inside, confine->uid, confine->gid) != 0))
            fine = err_set_sys(err, ERR_IO, "sandbox.folder", "cannot take over %s", one->d_name);
        if (fine)
            fine = give_folder(server, inside, one->d_name, 0, err);
        else if (inside >= 0)
            close(inside);
    }
    closedir(list);
    return fine;
}

/* Of the order's log only the line of timelines matters: recovery goes to its end. */
static bool configure(const PostgresqlServer *server, const json_t *log, Err *err)
{
    char path[PATH_ROOM];
    scoped(buf_free) Buf settings = {0};
    const Confine *confine = postgresql_server_confine(server);
    if (log == NULL)
        return postgresql_server_configure(server, (Text){0}, err);
    scoped(json_release) json_t *line =
        json_pack("{s:I}", "timeline", (json_int_t)json_u64_or(log, "timeline", 0));
    if (!postgresql_archive_settings(line, &settings, err) ||
        !postgresql_server_configure(server, buf_text(&settings), err))
        return false;
    snprintf(path, sizeof path, "%s/recovery.signal", postgresql_server_data(server));
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool fine = fd >= 0 && (!confine->other_user || fchown(fd, confine->uid, confine->gid) == 0);
    if (!fine)
        err_set_sys(err, ERR_IO, "sandbox.folder", "cannot write %s", path);
    if (fd >= 0)
        close(fd);
    return fine;
}

/* What came with the cluster says where its servers archive, what they load and whom they follow.
 */
static bool forget_settings(const PostgresqlServer *server, const json_t *log, Err *err)
{
    static const char *const files[] = {"postgresql.conf", "postgresql.auto.conf", "pg_hba.conf",
                                        "pg_ident.conf",   "recovery.signal",      "standby.signal",
                                        "postmaster.pid"};
    char path[PATH_ROOM];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", postgresql_server_data(server), files[i]);
        if (unlink(path) != 0 && errno != ENOENT)
            return err_set_sys(err, ERR_IO, "sandbox.folder", "cannot remove %s", path);
    }
    return configure(server, log, err);
}

/* --- the server's own programs ---------------------------------------------------------------- */

static bool verify(PostgresqlServer *server, Err *err)
{
    static const char laid[] = "--ignore=" POSTGRESQL_ARCHIVE_FOLDER;
    scoped(buf_free) Buf said = {0};
    const char *const arguments[] = {
        "--no-parse-wal", "--exit-on-error", "--quiet", laid, postgresql_server_data(server), NULL};
    return postgresql_server_program(server, "pg_verifybackup", arguments, -1, "proof.manifest",
                                     &said, err) ||
           err_note(err, "what was restored is not what the server sent");
}

static int standard_input(const char *text, Err *err)
{
    int fd = memfd_create("single", MFD_CLOEXEC);
    size_t len = strlen(text);
    if (fd >= 0 && write(fd, text, len) == (ssize_t)len && lseek(fd, 0, SEEK_SET) == 0)
        return fd;
    err_set_sys(err, ERR_FULL, "sandbox.memory", "no memory for a few lines of SQL");
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Recovery happens before the first statement is read. */
static bool recover(PostgresqlServer *server, const char *user, Err *err)
{
    char sql[400];
    scoped(buf_free) Buf said = {0};
    const char *const arguments[] = {"--single",
                                     "-D",
                                     postgresql_server_data(server),
                                     "-c",
                                     "default_transaction_read_only=off",
                                     "template1",
                                     NULL};
    snprintf(sql, sizeof sql,
             "CREATE ROLE %s SUPERUSER LOGIN\n"
             "ALTER ROLE %s SET default_transaction_read_only = off\n"
             "DELETE FROM pg_catalog.pg_db_role_setting WHERE setconfig::pg_catalog.text LIKE "
             "'%%preload_libraries%%'\n",
             user, user);
    int input = standard_input(sql, err);
    if (input < 0)
        return false;
    bool fine = postgresql_server_program(server, "postgres", arguments, input, "proof.recovery",
                                          &said, err) ||
                err_note(err, "the restored cluster does not recover");
    close(input);
    return fine;
}

static bool check_pages(PostgresqlServer *server, Err *err)
{
    scoped(buf_free) Buf said = {0};
    const char *const arguments[] = {"--check", "-D", postgresql_server_data(server), NULL};
    return postgresql_server_program(server, "pg_checksums", arguments, -1, "proof.pages", &said,
                                     err) ||
           err_note(err, "a page is damaged: look at the source's disk, and restore an older "
                         "backup meanwhile");
}

bool postgresql_adopt(PostgresqlServer *server, const PostgresqlAdopt *how, Err *err)
{
    if (!give_all(server, err) || !verify(server, err) || !forget_settings(server, how->log, err))
        return false;
    CRASHPOINT("sandbox.adopted");
    return recover(server, how->user, err) && (!how->checksums || check_pages(server, err)) &&
           postgresql_server_start(server, err);
}

/* The new timeline's history says where the old one was left. What the source had written last may
 * end within a record, which is then not replayed; but something of the last file must be. */
static const char reached_sql[] =
    "SELECT at, at - '0/0'::pg_catalog.pg_lsn > pg_catalog.floor("
    "($1::pg_catalog.pg_lsn - '0/1'::pg_catalog.pg_lsn) / $2::pg_catalog.numeric) "
    "* $2::pg_catalog.numeric FROM "
    "(SELECT (pg_catalog.regexp_match(pg_catalog.pg_read_file('pg_wal/' || pg_catalog.lpad("
    "pg_catalog.upper(pg_catalog.to_hex(timeline_id)), 8, '0') || '.history'), "
    "'([0-9A-F]+/[0-9A-F]+)[^\n]*\n?$'))[1]::pg_catalog.pg_lsn AS at "
    "FROM pg_catalog.pg_control_checkpoint()) x";

bool postgresql_adopt_reached(PostgresqlLink *link, PGconn *conn, const PostgresqlAdopt *how,
                              json_t *report, Err *err)
{
    char segment[24];
    scoped(postgresql_link_clear) PGresult *row = NULL;
    const char *wanted = json_string_value(json_object_get(how->log, "to_lsn"));
    snprintf(segment, sizeof segment, "%llu", (unsigned long long)how->segment);
    const char *values[] = {wanted, segment};
    if (!postgresql_link_query(link, conn, "asking where recovery ended", reached_sql, values, 2,
                               &row, err))
        return false;
    json_t *log = json_object_get(report, "log");
    if (log != NULL)
        json_object_set_new(log, "reached", json_string(PQgetvalue(row, 0, 0)));
    return *PQgetvalue(row, 0, 1) == 't' ||
           err_set(err, ERR_CORRUPT, "proof.log_short",
                   "recovery ended at %s, the log that is stored goes to %s: holdfast windows says "
                   "where it has holes; take a base backup now",
                   PQgetvalue(row, 0, 0), wanted);
}
