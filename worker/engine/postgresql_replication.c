/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_replication.h"

#include "worker/engine/postgresql_versions.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

enum { LOOK_MS = 200 };

static const char digits_of_lsn[] = "0123456789ABCDEF";

/* One command with one result of rows, at least `columns` wide. */
static bool ask(const PostgresqlLink *link, PGconn *conn, const char *what, const char *command,
                int columns, PGresult **out, Err *err)
{
    *out = PQexec(conn, command);
    if (PQresultStatus(*out) != PGRES_TUPLES_OK && PQresultStatus(*out) != PGRES_COMMAND_OK)
        return postgresql_link_replication_failed(link, conn, *out, what, err);
    if (columns == 0 || (PQntuples(*out) == 1 && PQnfields(*out) >= columns))
        return true;
    return err_set(err, ERR_SOURCE, "source.protocol",
                   "%s: the server answered with %d rows of %d fields; is it PostgreSQL 13 or "
                   "newer?",
                   what, PQntuples(*out), PQnfields(*out));
}

bool postgresql_replication_show(const PostgresqlLink *link, PGconn *conn, const char *setting,
                                 char out[POSTGRESQL_SETTING], Err *err)
{
    scoped(postgresql_link_clear) PGresult *result = NULL;
    scoped(buf_free) Buf command = {0};
    buf_printf(&command, "SHOW %s", setting);
    if (!ask(link, conn, "asking for a setting", buf_cstr(&command), 1, &result, err))
        return false;
    snprintf(out, POSTGRESQL_SETTING, "%s", PQgetvalue(result, 0, 0));
    return true;
}

/* "16MB" as SHOW writes sizes. */
static bool parse_size(const char *text, uint64_t *out)
{
    static const struct {
        const char *unit;
        uint64_t bytes;
    } units[] = {{"B", 1}, {"kB", 1024}, {"MB", 1024 * 1024}, {"GB", 1024 * 1024 * 1024}};
    char *end = NULL;
    uint64_t count = strtoull(text, &end, 10);
    for (size_t i = 0; end != text && i < sizeof units / sizeof *units; i++)
        if (strcmp(end, units[i].unit) == 0) {
            *out = count * units[i].bytes;
            return *out >= 1024 * 1024 && (*out & (*out - 1)) == 0;
        }
    return false;
}

bool postgresql_replication_identify(const PostgresqlLink *link, PGconn *conn,
                                     PostgresqlSystem *out, Err *err)
{
    char setting[POSTGRESQL_SETTING];
    scoped(postgresql_link_clear) PGresult *result = NULL;
    *out = (PostgresqlSystem){.version = PQserverVersion(conn)};
    if (!ask(link, conn, "asking who the server is", "IDENTIFY_SYSTEM", 3, &result, err))
        return false;
    snprintf(out->identifier, sizeof out->identifier, "%s", PQgetvalue(result, 0, 0));
    out->timeline = (uint32_t)strtoul(PQgetvalue(result, 0, 1), NULL, 10);
    if (!postgresql_lsn_parse(postgresql_link_value(result, 0, 2), &out->flushed) ||
        out->timeline == 0)
        return err_set(err, ERR_SOURCE, "source.protocol",
                       "the server said neither its timeline nor its place in the log");
    if (!postgresql_replication_show(link, conn, "wal_segment_size", setting, err))
        return false;
    if (!parse_size(setting, &out->segment))
        return err_set(err, ERR_SOURCE, "source.protocol",
                       "the server has WAL files of the size \"%s\", which nothing can be",
                       setting);
    if (!postgresql_replication_show(link, conn, "segment_size", setting, err))
        return false;
    if (!parse_size(setting, &out->relation))
        return err_set(err, ERR_SOURCE, "source.protocol",
                       "the server has relations in files of \"%s\", which nothing can be",
                       setting);
    if (!postgresql_replication_show(link, conn, "block_size", setting, err))
        return false;
    out->page = (uint32_t)strtoul(setting, NULL, 10);
    if (!postgresql_replication_show(link, conn, "data_checksums", setting, err))
        return false;
    out->checksums = strcmp(setting, "on") == 0;
    if (!postgresql_replication_show(link, conn, "data_directory_mode", setting, err))
        return false;
    out->group_access = (strtoul(setting, NULL, 8) & 050) != 0;
    const PostgresqlVersion *version = postgresql_version_find(out->version);
    if (version == NULL || !version->tells_standby) { /* BASE_BACKUP works, nobody is told */
        out->standby = false;
        return true;
    }
    if (!postgresql_replication_show(link, conn, "in_hot_standby", setting, err))
        return false;
    out->standby = strcmp(setting, "on") == 0;
    return true;
}

bool postgresql_replication_history(const PostgresqlLink *link, PGconn *conn, uint32_t timeline,
                                    Buf *name, Buf *content, Err *err)
{
    scoped(postgresql_link_clear) PGresult *result = NULL;
    scoped(buf_free) Buf command = {0};
    buf_printf(&command, "TIMELINE_HISTORY %" PRIu32, timeline);
    if (!ask(link, conn, "asking for a timeline's history", buf_cstr(&command), 2, &result, err))
        return false;
    buf_add_text(name, postgresql_link_value(result, 0, 0));
    buf_add_text(content, postgresql_link_value(result, 0, 1));
    return true;
}

bool postgresql_replication_slot(const PostgresqlLink *link, PGconn *conn, const char *name,
                                 bool temporary, Err *err)
{
    scoped(postgresql_link_clear) PGresult *result = NULL;
    scoped(buf_free) Buf command = {0};
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    if (name[len] != 0 || len == 0 || len >= POSTGRESQL_SLOT_NAME)
        return err_set(err, ERR_INVALID, "source.slot",
                       "\"%.80s\" is no name of a replication slot: lower-case letters, digits "
                       "and _, 63 at most",
                       name);
    /* The words with parentheses came with 15; these are understood by every version. */
    buf_printf(&command, "CREATE_REPLICATION_SLOT %s%s PHYSICAL RESERVE_WAL", name,
               temporary ? " TEMPORARY" : "");
    return ask(link, conn, "making a replication slot", buf_cstr(&command), 0, &result, err);
}

bool postgresql_replication_result(const PostgresqlLink *link, PGconn *conn, const EngineHost *host,
                                   const char *what, PGresult **out, Err *err)
{
    *out = NULL;
    while (PQisBusy(conn) == 1) {
        struct pollfd fd = {.fd = PQsocket(conn), .events = POLLIN};
        if (host->cancelled != NULL && host->cancelled(host->ctx))
            return err_set(err, ERR_CANCELLED, "job.cancelled", "the job was cancelled");
        int ready = poll(&fd, 1, LOOK_MS);
        if (ready < 0 && errno != EINTR)
            return err_set_sys(err, ERR_IO, "source.poll", "%s", what);
        if (ready > 0 && PQconsumeInput(conn) == 0)
            return postgresql_link_replication_failed(link, conn, NULL, what, err);
    }
    *out = PQgetResult(conn);
    return true;
}

bool postgresql_lsn_parse(Text text, uint64_t *out)
{
    uint64_t halves[2] = {0, 0};
    size_t half = 0, digits = 0;
    for (size_t i = 0; i < text.len; i++) {
        const char *found = strchr(digits_of_lsn, text.at[i]);
        if (text.at[i] == '/' && half == 0 && digits > 0) {
            half = 1;
            digits = 0;
        } else if (text.at[i] != 0 && found != NULL && ++digits <= 8) {
            halves[half] = halves[half] << 4 | (uint64_t)(found - digits_of_lsn);
        } else {
            return false;
        }
    }
    *out = halves[0] << 32 | halves[1];
    return half == 1 && digits > 0;
}

void postgresql_lsn_text(uint64_t lsn, char out[POSTGRESQL_LSN_TEXT])
{
    snprintf(out, POSTGRESQL_LSN_TEXT, "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn >> 32),
             (uint32_t)lsn);
}

void postgresql_wal_name(uint32_t timeline, uint64_t lsn, uint64_t segment,
                         char out[POSTGRESQL_WAL_NAME])
{
    uint64_t number = lsn / segment, each = (UINT64_C(1) << 32) / segment;
    snprintf(out, POSTGRESQL_WAL_NAME, "%08" PRIX32 "%08" PRIX32 "%08" PRIX32, timeline,
             (uint32_t)(number / each), (uint32_t)(number % each));
}
