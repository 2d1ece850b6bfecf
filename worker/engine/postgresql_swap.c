/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_swap.h"

#include "common/base/crashpoint.h"
#include "worker/engine/postgresql_name.h"

#include <poll.h>
#include <stdlib.h>

/* A rename waits five seconds for those inside before it gives up. */
enum { TRIES = 6, LOOK_MS = 100 };
#define LOCK_WAIT "10s"

static void add_rename(Buf *sql, const char *from, const char *to)
{
    buf_clear(sql);
    buf_add_text(sql, TEXT("ALTER DATABASE "));
    postgresql_name_quote(sql, text_of(from));
    buf_add_text(sql, TEXT(" RENAME TO "));
    postgresql_name_quote(sql, text_of(to));
}

/* The server ends its own workers, which have no user, itself. Of other roles' sessions an ordinary
 * role is not told the type. */
static bool end_sessions(const PostgresqlRules *rules, PGconn *other, const char *database,
                         unsigned *ended, Err *err)
{
    scoped(postgresql_link_clear) PGresult *rows = NULL;
    const char *values[] = {database};
    if (!postgresql_link_query(
            rules->link, other, "ending the sessions of the database that is replaced",
            "SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid)) FROM "
            "pg_catalog.pg_stat_activity WHERE datname = $1::text AND pid <> "
            "pg_catalog.pg_backend_pid() AND usesysid IS NOT NULL AND (backend_type IS NULL OR "
            "backend_type IN ('client backend', 'walsender'))",
            values, 1, &rows, err))
        return false;
    *ended += (unsigned)strtoul(PQgetvalue(rows, 0, 0), NULL, 10);
    return true;
}

static bool may_go_on(const PostgresqlRules *rules, Err *err)
{
    const EngineHost *host = rules->host;
    return host->cancelled == NULL || !host->cancelled(host->ctx) ||
           err_set(err, ERR_CANCELLED, "job.cancelled", "the job was cancelled");
}

/* Ends who is inside until the rename, which was sent, has its answer: at the latest when it waited
 * LOCK_WAIT for its lock. */
static bool end_while_waiting(const PostgresqlRules *rules, PGconn *conn, PGconn *other,
                              const char *database, unsigned *ended, Err *err)
{
    bool may = true;
    for (;;) {
        struct pollfd fd = {.fd = PQsocket(conn), .events = POLLIN};
        may = may && may_go_on(rules, err) && end_sessions(rules, other, database, ended, err);
        (void)poll(&fd, 1, LOOK_MS);
        if (PQconsumeInput(conn) != 1 || PQisBusy(conn) == 0)
            return may;
    }
}

/* In use, or its lock is somebody else's. */
static bool is_in_use(const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    return state != NULL && (strcmp(state, "55006") == 0 || strcmp(state, "55P03") == 0);
}

/* *again: somebody was still inside. */
static bool rename_database(const PostgresqlRules *rules, PGconn *conn, PGconn *other,
                            const char *from, const char *to, unsigned *ended, bool *again,
                            Err *err)
{
    scoped(buf_free) Buf sql = {0};
    static const char what[] = "giving a database another name";
    *again = false;
    add_rename(&sql, from, to);
    if (PQsendQuery(conn, buf_cstr(&sql)) != 1)
        return postgresql_link_failed(rules->link, conn, NULL, what, err);
    bool may = end_while_waiting(rules, conn, other, from, ended, err);
    PGresult *result = PQgetResult(conn);
    bool done = PQresultStatus(result) == PGRES_COMMAND_OK;
    *again = may && !done && is_in_use(result);
    if (may && !done)
        postgresql_link_failed(rules->link, conn, result, what, err);
    PQclear(result);
    while ((result = PQgetResult(conn)) != NULL)
        PQclear(result);
    return may && done;
}

static bool swap(const PostgresqlRules *rules, PGconn *conn, PGconn *other,
                 const PostgresqlRestore *restore, unsigned *ended, bool *again, Err *err)
{
    unsigned strangers = 0; /* who looks into every database, also into one that is not ready */
    *again = false;
    if (!may_go_on(rules, err) ||
        !postgresql_link_exec(rules->link, conn, "giving the database its name",
                              "BEGIN; SET LOCAL lock_timeout = '" LOCK_WAIT "'", err) ||
        (restore->set_aside != NULL && !rename_database(rules, conn, other, restore->final,
                                                        restore->set_aside, ended, again, err)))
        return false;
    CRASHPOINT("restore.swapping");
    return rename_database(rules, conn, other, restore->temporary, restore->final, &strangers,
                           again, err) &&
           postgresql_link_exec(rules->link, conn, "giving the database its name", "COMMIT", err);
}

bool postgresql_swap(const PostgresqlRules *rules, PGconn *conn, const PostgresqlRestore *restore,
                     unsigned *ended, Err *err)
{
    PGconn *other = NULL;
    bool done = false, again = true;
    *ended = 0;
    if (!postgresql_link_connect(rules->link, (Text){0}, &other, err))
        return false;
    for (int i = 0; i < TRIES && again && !done; i++) {
        *err = (Err){0};
        done = swap(rules, conn, other, restore, ended, &again, err);
        if (!done)
            PQclear(PQexec(conn, "ROLLBACK"));
    }
    postgresql_link_disconnect(&other);
    if (!done && again)
        return err_set(err, ERR_CONFLICT, "target.busy",
                       "database \"%s\" is still in use after its sessions were ended: see "
                       "pg_prepared_xacts and pg_stat_activity, then restore again; it is as it "
                       "was",
                       restore->final);
    return done;
}
