/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_delta.h"

#include "common/base/json.h"
#include "worker/engine/files_beneath.h"
#include "worker/engine/files_delta.h"
#include "worker/engine/postgresql_running.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINK_BYTES = 4095 };

static const char control[] = "pg_control", moved[] = "pg_control.holdfast";

void postgresql_delta_mark(const json_t *details, char out[POSTGRESQL_DELTA_MARK])
{
    Text system = json_text_or(details, "system", TEXT(""));
    snprintf(out, POSTGRESQL_DELTA_MARK, "delta of system %.*s\n",
             (int)(system.len > 24 ? 24 : system.len), system.at);
}

/* The system's number is what pg_control begins with, in the host's byte order. *known false: there
 * is no pg_control, or a part of one. */
static bool system_of(Text data, uint64_t *system, bool *known, Err *err)
{
    int directory = files_beneath_open_absolute(data, O_PATH | O_DIRECTORY);
    int fd = directory < 0
                 ? -1
                 : files_beneath_open(directory, TEXT("global/pg_control"), O_RDONLY | O_NONBLOCK);
    int failure = errno;
    ssize_t got = fd < 0 ? 0 : read(fd, system, sizeof *system);
    if (fd >= 0)
        close(fd);
    if (directory >= 0)
        close(directory);
    *known = got == (ssize_t)sizeof *system;
    errno = failure;
    if (fd >= 0 || failure == ENOENT || failure == ENOTDIR)
        return true;
    return err_set_sys(err, err_code_of_errno(failure), "target.path",
                       "%.*s/global/pg_control cannot be read", TEXT_ARG(data));
}

static bool is_same_system(const PostgresqlPlace *place, const json_t *details, bool marked,
                           Err *err)
{
    uint64_t system = 0;
    bool known;
    char text[24];
    Text wanted = json_text_or(details, "system", TEXT("(unknown)"));
    if (!system_of(place->path, &system, &known, err))
        return false;
    if (!known)
        return marked ||
               err_set(err, ERR_CONFLICT, "target.not_a_cluster",
                       "%.*s is not empty and holds no cluster (no global/pg_control): what is "
                       "there would be removed; restore into an empty directory",
                       TEXT_ARG(place->path));
    snprintf(text, sizeof text, "%" PRIu64, system);
    if (text_equal(text_of(text), wanted))
        return true;
    return err_set(
        err, ERR_CONFLICT, "target.other_system",
        "%.*s holds the cluster of system %s and the backup is of %.*s: another server's "
        "data would be lost; restore into an empty directory",
        TEXT_ARG(place->path), text, TEXT_ARG(wanted));
}

/* The cluster that is there says which directories are its own. */
static bool leads_here(const PostgresqlPlace *data, const PostgresqlPlace *space)
{
    char name[64], to[LINK_BYTES + 1];
    int directory = files_beneath_open_absolute(data->path, O_PATH | O_DIRECTORY);
    snprintf(name, sizeof name, "pg_tblspc/%lld", (long long)space->oid);
    int folder =
        directory < 0 ? -1 : files_beneath_open(directory, TEXT("pg_tblspc"), O_PATH | O_DIRECTORY);
    ssize_t len = folder < 0 ? -1 : readlinkat(folder, name + strlen("pg_tblspc/"), to, sizeof to);
    if (folder >= 0)
        close(folder);
    if (directory >= 0)
        close(directory);
    return len > 0 && text_equal((Text){to, (size_t)len}, space->path);
}

static bool check_place(const PostgresqlPlaces *where, size_t at, const json_t *details,
                        FilesDeltaState *state, Err *err)
{
    char mark[POSTGRESQL_DELTA_MARK];
    const PostgresqlPlace *place = &where->at[at];
    postgresql_delta_mark(details, mark);
    if (!files_delta_look(place->path, text_of(mark), state, err))
        return false;
    if (*state == FILES_DELTA_OTHER)
        return err_set(err, ERR_CONFLICT, "target.unfinished",
                       "an unfinished restore of something else lies in %.*s: look whose it is, "
                       "and empty the directory",
                       TEXT_ARG(place->path));
    if (*state == FILES_DELTA_MISSING)
        return true;
    if (at == 0)
        return is_same_system(place, details, *state == FILES_DELTA_MARKED, err);
    return *state == FILES_DELTA_MARKED || leads_here(&where->at[0], place) ||
           err_set(err, ERR_CONFLICT, "target.tablespace",
                   "%.*s is not empty and is not tablespace %lld of the cluster in %.*s: "
                   "--tablespace OLD=NEW says where else it goes",
                   TEXT_ARG(place->path), (long long)place->oid, TEXT_ARG(where->at[0].path));
}

bool postgresql_delta_check(const PostgresqlPlaces *where, const json_t *details, bool *exists,
                            Err *err)
{
    *exists = false;
    for (size_t i = 0; i < where->count; i++) {
        FilesDeltaState state;
        if (!check_place(where, i, details, &state, err))
            return false;
        *exists |= state != FILES_DELTA_MISSING;
    }
    return true;
}

bool postgresql_delta_disarm(Text data, Err *err)
{
    int directory = files_beneath_open_absolute(data, O_PATH | O_DIRECTORY);
    int global =
        directory < 0 ? -1 : files_beneath_open(directory, TEXT("global"), O_RDONLY | O_DIRECTORY);
    bool there = global >= 0, gone = false;
    if (there) {
        gone = renameat(global, control, global, moved) == 0;
        there = gone || errno != ENOENT;
    }
    bool fine = !there || (gone && fsync(global) == 0);
    if (!fine)
        err_set_sys(err, ERR_IO, "target.write", "moving %.*s/global/pg_control away",
                    TEXT_ARG(data));
    fine = fine && postgresql_running_none(data, err);
    if (!fine && gone)
        (void)renameat(global, moved, global, control);
    if (global >= 0)
        close(global);
    if (directory >= 0)
        close(directory);
    return fine;
}
