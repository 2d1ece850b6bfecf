/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_wal_server.h"

#include "common/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIMELINES_MOST = 10000 };

static uint64_t number_of(const PGresult *result, int row, int column)
{
    return strtoull(PQgetvalue(result, row, column), NULL, 10);
}

static bool lsn_of(const PGresult *result, int row, int column, uint64_t *lsn, Err *err)
{
    Text text = postgresql_link_value(result, row, column);
    return postgresql_lsn_parse(text, lsn) ||
           err_set(err, ERR_SOURCE, "source.lsn", "the server called %.*s a position of its log",
                   TEXT_ARG(text));
}

static bool check_slot_name(const char *slot, Err *err)
{
    size_t len = strlen(slot);
    bool fits = len > 0 && len < 64;
    for (size_t i = 0; fits && i < len; i++)
        fits = (slot[i] >= 'a' && slot[i] <= 'z') || (slot[i] >= '0' && slot[i] <= '9') ||
               slot[i] == '_';
    return fits || err_set(err, ERR_INVALID, "source.slot",
                           "%.80s cannot name a replication slot: use small letters, digits and "
                           "underscores, 63 at most",
                           slot);
}

/* The instant first: whatever was committed by then is flushed when the position is asked for. */
static bool look_at_settings(PostgresqlWalServer *out, PostgresqlLink *link, PGconn *conn, Err *err)
{
    scoped(postgresql_link_clear) PGresult *result = NULL;
    if (!postgresql_link_query(
            link, conn, "asking for the log's settings",
            "SELECT pg_is_in_recovery(), (extract(epoch FROM CASE WHEN pg_is_in_recovery() THEN "
            "coalesce(pg_last_xact_replay_timestamp(), '1970-01-01') ELSE clock_timestamp() END) "
            "* 1000000)::bigint, pg_size_bytes(current_setting('wal_segment_size')), (SELECT "
            "CASE WHEN setting = '-1' THEN -1 ELSE setting::bigint * 1048576 END FROM pg_settings "
            "WHERE name = 'max_slot_wal_keep_size')",
            NULL, 0, &result, err))
        return false;
    out->standby = PQgetvalue(result, 0, 0)[0] == 't';
    out->at_us = (int64_t)number_of(result, 0, 1);
    out->segment_bytes = number_of(result, 0, 2);
    out->keeps = strtoll(PQgetvalue(result, 0, 3), NULL, 10);
    uint64_t size = out->segment_bytes;
    if (size < 1 << 20 || size > (uint64_t)1 << 30 || (size & (size - 1)) != 0)
        return err_set(err, ERR_SOURCE, "source.segment_size",
                       "the server says its log's segments have %llu bytes",
                       (unsigned long long)size);
    return true;
}

/* While one runs that was given its number, a later look could not tell that it has committed. */
static bool look_at_next(PostgresqlWalServer *out, PostgresqlLink *link, PGconn *conn, Err *err)
{
    scoped(postgresql_link_clear) PGresult *result = NULL;
    if (!postgresql_link_query(
            link, conn, "asking for the next transaction",
            "SELECT CASE WHEN txid_snapshot_xmin(s) = txid_snapshot_xmax(s) THEN "
            "txid_snapshot_xmax(s) ELSE 0 END FROM txid_current_snapshot() s",
            NULL, 0, &result, err))
        return false;
    out->next_xid = number_of(result, 0, 0);
    return true;
}

/* A commit behind the instant: a recovery to any time up to it finds one that is later, and does
 * not end with "before configured recovery target was reached" where nothing else was written. */
static bool leave_mark(PostgresqlWalServer *out, PostgresqlLink *link, PGconn *conn, uint64_t known,
                       Err *err)
{
    if (out->standby)
        return true;
    if (!look_at_next(out, link, conn, err))
        return false;
    out->quiet = known != 0 && known == out->next_xid;
    return out->quiet || (postgresql_link_exec(link, conn, "preparing the log's mark",
                                               "SET synchronous_commit = local", err) &&
                          postgresql_link_exec(link, conn, "leaving a mark in the log",
                                               "SELECT txid_current()", err) &&
                          look_at_next(out, link, conn, err));
}

static bool make_slot(PostgresqlWalServer *out, PostgresqlLink *link, PGconn *conn,
                      const char *slot, Err *err)
{
    const char *values[] = {slot};
    out->slot_made = true;
    return postgresql_link_query(link, conn, "making the replication slot",
                                 "SELECT pg_create_physical_replication_slot($1, true)", values, 1,
                                 NULL, err);
}

static bool find_slot(PostgresqlWalServer *out, PostgresqlLink *link, PGconn *conn,
                      const char *slot, bool *found, Err *err)
{
    scoped(postgresql_link_clear) PGresult *result = NULL;
    const char *values[] = {slot};
    *found = false;
    if (!postgresql_link_query(link, conn, "looking for the replication slot",
                               "SELECT restart_lsn, slot_type, wal_status FROM "
                               "pg_replication_slots WHERE slot_name = $1",
                               values, 1, &result, err))
        return false;
    if (PQntuples(result) == 0)
        return true;
    if (strcmp(PQgetvalue(result, 0, 1), "physical") != 0)
        return err_set(err, ERR_CONFLICT, "source.slot",
                       "the slot %s is there and is a logical one: name another in `slot`", slot);
    if (PQgetisnull(result, 0, 0) || strcmp(PQgetvalue(result, 0, 2), "lost") == 0) {
        out->slot_lost = true;
        return postgresql_link_query(link, conn, "dropping the slot that lost its log",
                                     "SELECT pg_drop_replication_slot($1)", values, 1, NULL, err);
    }
    *found = true;
    if (!lsn_of(result, 0, 0, &out->kept_from, err))
        return false;
    out->kept_from -= out->kept_from % out->segment_bytes;
    return true;
}

static bool look_at_slot(PostgresqlWalServer *out, PostgresqlLink *link, PGconn *conn,
                         const char *slot, Err *err)
{
    bool found;
    if (!find_slot(out, link, conn, slot, &found, err))
        return false;
    if (found)
        return true;
    if (!make_slot(out, link, conn, slot, err) || !find_slot(out, link, conn, slot, &found, err))
        return false;
    return found || err_set(err, ERR_SOURCE, "source.slot",
                            "the slot %s was made and is gone again: does somebody drop it?", slot);
}

/* --- timelines ------------------------------------------------------------------------------ */

static void add_timeline(PostgresqlWalServer *out, uint32_t number, uint32_t parent, uint64_t start)
{
    size_t count = out->timeline_count + 1;
    out->timelines = mem_resize(out->timelines, count * sizeof *out->timelines);
    out->histories = mem_resize(out->histories, count * sizeof *out->histories);
    out->timelines[count - 1] = (PostgresqlTimeline){number, parent, start};
    out->histories[count - 1] = (Buf){0};
    out->timeline_count = count;
}

/* The next line; comments and empty ones are passed over. False: there is none. */
static bool next_line(Text *rest, Text *line)
{
    while (rest->len > 0) {
        const char *end = memchr(rest->at, '\n', rest->len);
        size_t len = end == NULL ? rest->len : (size_t)(end - rest->at);
        *line = (Text){rest->at, len};
        size_t used = end == NULL ? len : len + 1;
        *rest = (Text){rest->at + used, rest->len - used};
        while (line->len > 0 && (line->at[0] == ' ' || line->at[0] == '\t'))
            *line = (Text){line->at + 1, line->len - 1};
        if (line->len > 0 && line->at[0] != '#')
            return true;
    }
    return false;
}

/* "number<blanks>position<blanks>reason"; false when it is no such line. */
static bool take_line(Text line, uint64_t *number, uint64_t *end)
{
    size_t digits = 0, at, stop;
    while (digits < line.len && line.at[digits] >= '0' && line.at[digits] <= '9')
        digits++;
    for (at = digits; at < line.len && (line.at[at] == ' ' || line.at[at] == '\t');)
        at++;
    for (stop = at; stop < line.len && line.at[stop] != ' ' && line.at[stop] != '\t';)
        stop++;
    *number = 0;
    for (size_t i = 0; i < digits; i++)
        *number = *number * 10 + (uint64_t)(line.at[i] - '0');
    return digits > 0 && digits < 10 && at > digits &&
           postgresql_lsn_parse((Text){line.at + at, stop - at}, end);
}

bool postgresql_wal_history_parse(PostgresqlWalServer *server, uint32_t timeline, Text content,
                                  Err *err)
{
    Text rest = content, line;
    uint32_t before = 0;
    uint64_t start = 0;
    while (next_line(&rest, &line)) {
        uint64_t number, end = 0;
        if (!take_line(line, &number, &end) || number <= before || end < start ||
            number >= timeline || server->timeline_count >= TIMELINES_MOST)
            return err_set(err, ERR_SOURCE, "source.history",
                           "the history of timeline %u makes no sense at \"%.*s\": look at "
                           "%08X.history in the server's pg_wal",
                           timeline, (int)(line.len < 60 ? line.len : 60), line.at, timeline);
        add_timeline(server, (uint32_t)number, before, start);
        before = (uint32_t)number;
        start = end;
    }
    add_timeline(server, timeline, before, start);
    return true;
}

static bool take_history(PostgresqlLink *link, PGconn *conn, uint32_t timeline, Buf *content,
                         Err *err)
{
    scoped(buf_free) Buf name = {0};
    if (postgresql_replication_history(link, conn, timeline, &name, content, err))
        return true;
    if (PQstatus(conn) != CONNECTION_OK)
        return false;
    return err_set(err, ERR_SOURCE, "source.history_missing",
                   "the server has no readable %08X.history: without it no restore crosses to "
                   "timeline %u; copy it into its pg_wal from where that timeline was begun",
                   timeline, timeline);
}

/* The whole line to the server's own timeline, with the files of all but the first. */
static bool look_at_timelines(PostgresqlWalServer *out, PostgresqlLink *link, PGconn *conn,
                              Err *err)
{
    if (out->timeline == 1) {
        add_timeline(out, 1, 0, 0);
        return true;
    }
    scoped(buf_free) Buf own = {0};
    if (!take_history(link, conn, out->timeline, &own, err) ||
        !postgresql_wal_history_parse(out, out->timeline, text_of_slice(buf_slice(&own)), err))
        return false;
    buf_add_slice(&out->histories[out->timeline_count - 1], buf_slice(&own));
    return true;
}

static bool identify(PostgresqlWalServer *out, PostgresqlLink *link, PGconn *conn, Err *err)
{
    PostgresqlSystem system;
    if (!postgresql_replication_identify(link, conn, &system, err))
        return false;
    memcpy(out->system, system.identifier, sizeof out->system);
    out->timeline = system.timeline;
    out->flushed = system.flushed;
    return true;
}

bool postgresql_wal_server_look(PostgresqlWalServer *out, PostgresqlLink *link, const char *slot,
                                uint64_t known, Err *err)
{
    PGconn *conn = NULL;
    *out = (PostgresqlWalServer){0};
    bool fine = check_slot_name(slot, err) && postgresql_link_connect(link, TEXT(""), &conn, err) &&
                look_at_settings(out, link, conn, err) && leave_mark(out, link, conn, known, err) &&
                look_at_slot(out, link, conn, slot, err);
    postgresql_link_disconnect(&conn);
    fine = fine && postgresql_link_replication(link, &conn, err) &&
           identify(out, link, conn, err) && look_at_timelines(out, link, conn, err);
    postgresql_link_disconnect(&conn);
    if (!fine)
        postgresql_wal_server_free(out);
    return fine;
}

void postgresql_wal_server_free(PostgresqlWalServer *server)
{
    for (size_t i = 0; i < server->timeline_count; i++)
        buf_free(&server->histories[i]);
    mem_free(server->histories);
    mem_free(server->timelines);
    *server = (PostgresqlWalServer){0};
}
