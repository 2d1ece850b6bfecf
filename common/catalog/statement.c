/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/statement.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/secret.h"

#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>

struct Catalog {
    PGconn *pg;
    char *conninfo;
    char *application;
    Secret *password;
    int64_t timeout_ms;
    int64_t connect_timeout_s;
    int interrupt_fd;
    bool broken;
};

/* --- what the server said, as an Err --------------------------------------------------------- */

/* A prefix of SQLSTATE decides the reaction; the first row that fits wins. cause NULL: the
 * exception's DETAIL is the cause, it is one of our own functions that spoke. */
static const struct {
    const char *state;
    ErrCode code;
    const char *cause;
} reactions[] = {
    {"HF001", ERR_FENCED, NULL},
    {"HF002", ERR_MISSING, NULL},
    {"HF003", ERR_CONFLICT, NULL},
    {"HF004", ERR_USAGE, NULL},
    {"HF005", ERR_DENIED, NULL},
    {"42501", ERR_DENIED, "catalogue.denied"},
    {"28", ERR_DENIED, "catalogue.login"},
    {"40", ERR_BUSY, "catalogue.busy"},    /* serialization failure, deadlock */
    {"55P03", ERR_BUSY, "catalogue.busy"}, /* lock_timeout */
    {"57014", ERR_TIMEOUT, "catalogue.timeout"},
    {"08", ERR_UNREACHABLE, "catalogue.unreachable"},
    {"57P", ERR_UNREACHABLE, "catalogue.unreachable"},   /* shutting down, starting up */
    {"53300", ERR_UNREACHABLE, "catalogue.unreachable"}, /* too many connections */
    {"53", ERR_FULL, "catalogue.full"},
    {"22", ERR_USAGE, "catalogue.value"},
    {"54", ERR_USAGE, "catalogue.value"}, /* too long for an index, too deep */
    {"23", ERR_CONFLICT, "catalogue.constraint"},
    {"3F000", ERR_CONFLICT, "catalogue.older"},
    {"42883", ERR_CONFLICT, "catalogue.older"},
    {"42P01", ERR_CONFLICT, "catalogue.older"},
    {"42703", ERR_CONFLICT, "catalogue.older"},
};

static const char *one_line(const char *message, char *room, size_t size)
{
    snprintf(room, size, "%s", message == NULL ? "" : message);
    size_t len = strlen(room);
    while (len > 0 && (room[len - 1] == '\n' || room[len - 1] == ' '))
        room[--len] = '\0';
    for (char *at = room; *at != '\0'; at++)
        if (*at == '\n')
            *at = ' ';
    return room;
}

static bool unreachable(Catalog *c, Err *err)
{
    char text[300];
    c->broken = true;
    return err_set(err, ERR_UNREACHABLE, "catalogue.unreachable",
                   "the catalogue does not answer: %s; it is tried again",
                   one_line(PQerrorMessage(c->pg), text, sizeof text));
}

static bool refused(Catalog *c, const Asset *sql, const PGresult *result, Err *err)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    char text[300];
    one_line(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), text, sizeof text);
    if (state == NULL || PQstatus(c->pg) != CONNECTION_OK)
        return unreachable(c, err);
    for (size_t i = 0; i < sizeof reactions / sizeof reactions[0]; i++) {
        if (strncmp(state, reactions[i].state, strlen(reactions[i].state)) != 0)
            continue;
        if (reactions[i].code == ERR_UNREACHABLE)
            c->broken = true;
        if (reactions[i].cause == NULL)
            return err_set(err, reactions[i].code, detail == NULL ? "catalogue" : detail, "%s",
                           text);
        return err_set(err, reactions[i].code, reactions[i].cause, "%s: %s (%s)", sql->name, text,
                       state);
    }
    return err_set(err, ERR_BUG, "catalogue.statement", "%s: %s (%s)", sql->name, text, state);
}

/* --- connecting ------------------------------------------------------------------------------ */

/* "already exists, skipping" is nobody's news. */
static void no_notice(void *ctx, const PGresult *result)
{
    (void)ctx;
    (void)result;
}

static bool connect_now(Catalog *c, Err *err)
{
    char seconds[24];
    Slice password = c->password == NULL ? (Slice){0} : secret_slice(c->password);
    char *word = c->password == NULL ? NULL : mem_text(text_of_slice(password));
    snprintf(seconds, sizeof seconds, "%lld", (long long)c->connect_timeout_s);
    const char *const names[] = {"dbname",
                                 "fallback_application_name",
                                 "connect_timeout",
                                 "client_encoding",
                                 "keepalives_idle",
                                 "keepalives_interval",
                                 "keepalives_count",
                                 "tcp_user_timeout",
                                 word == NULL ? NULL : "password",
                                 NULL};
    const char *const values[] = {c->conninfo, c->application, seconds, "UTF8", "10", "5",
                                  "3",         "20000",        word,    NULL};
    PQfinish(c->pg);
    c->pg = PQconnectdbParams(names, values, 1);
    if (word != NULL)
        explicit_bzero(word, password.len);
    mem_free(word);
    c->broken = PQstatus(c->pg) != CONNECTION_OK;
    if (!c->broken) {
        PQsetnonblocking(c->pg, 1);
        PQsetNoticeReceiver(c->pg, no_notice, NULL);
        return true;
    }
    char text[300];
    one_line(PQerrorMessage(c->pg), text, sizeof text);
    if (PQconnectionNeedsPassword(c->pg) || strstr(text, "authentication failed") != NULL ||
        strstr(text, "no pg_hba.conf entry") != NULL)
        return err_set(err, ERR_DENIED, "catalogue.login",
                       "%s: check role, password and pg_hba.conf", text);
    return err_set(err, ERR_UNREACHABLE, "catalogue.unreachable", "%s; it is tried again", text);
}

bool statement_connect(Catalog **out, const CatalogParams *params, Err *err)
{
    Catalog *c = mem_new(Catalog);
    *out = NULL;
    c->conninfo = mem_string(params->conninfo == NULL ? "" : params->conninfo);
    c->application = mem_string(params->application == NULL ? "holdfast" : params->application);
    c->password = params->password == NULL ? NULL : secret_new(secret_slice(params->password));
    c->timeout_ms = params->timeout_ms == 0 ? 30000 : params->timeout_ms;
    c->connect_timeout_s = params->connect_timeout_s == 0 ? 5 : params->connect_timeout_s;
    c->interrupt_fd = params->interrupt_fd;
    if (!connect_now(c, err)) {
        statement_close(c);
        return false;
    }
    *out = c;
    return true;
}

bool statement_ok(const Catalog *c)
{
    return c != NULL && !c->broken && PQstatus(c->pg) == CONNECTION_OK;
}

bool statement_reset(Catalog *c, Err *err)
{
    return connect_now(c, err);
}

void statement_close(Catalog *c)
{
    if (c == NULL)
        return;
    PQfinish(c->pg);
    secret_free(c->password);
    mem_free(c->conninfo);
    mem_free(c->application);
    mem_free(c);
}

/* --- one exchange ---------------------------------------------------------------------------- */

/* Waits for the socket until the deadline. Past it the connection is dropped, not cancelled: a
 * cancel goes over another connection and may hang as long, and every call may be repeated. */
static bool wait_socket(Catalog *c, short events, int64_t deadline_ns, Err *err)
{
    int64_t left_ms = (deadline_ns - clock_mono_ns()) / 1000000;
    struct pollfd fds[] = {{.fd = PQsocket(c->pg), .events = events},
                           {.fd = c->interrupt_fd, .events = POLLIN}};
    if (left_ms > 0) {
        /* An interrupted poll only looks again. */
        bool woken = poll(fds, c->interrupt_fd == 0 ? 1 : 2, (int)left_ms) > 0;
        if (!woken || fds[0].revents != 0 || fds[1].revents == 0)
            return true;
    }
    c->broken = true;
    if (left_ms > 0)
        return err_set(err, ERR_CANCELLED, "catalogue.interrupted",
                       "the answer of the catalogue is not waited for; the connection was dropped");
    return err_set(err, ERR_TIMEOUT, "catalogue.timeout",
                   "no answer from the catalogue within %lld ms; the connection was dropped",
                   (long long)c->timeout_ms);
}

/* The last result of what was sent; an error of any of them wins. */
static bool receive(Catalog *c, const Asset *sql, PGresult **out, Err *err)
{
    int64_t deadline_ns = clock_mono_ns() + c->timeout_ms * 1000000;
    PGresult *kept = NULL, *result;
    int flushing;
    *out = NULL;
    while ((flushing = PQflush(c->pg)) == 1) {
        if (!wait_socket(c, POLLIN | POLLOUT, deadline_ns, err))
            return false;
        if (!PQconsumeInput(c->pg))
            return unreachable(c, err);
    }
    if (flushing < 0)
        return unreachable(c, err);
    for (;;) {
        while (PQisBusy(c->pg)) {
            if (!wait_socket(c, POLLIN, deadline_ns, err)) {
                PQclear(kept);
                return false;
            }
            if (!PQconsumeInput(c->pg)) {
                PQclear(kept);
                return unreachable(c, err);
            }
        }
        if ((result = PQgetResult(c->pg)) == NULL)
            break;
        ExecStatusType status = PQresultStatus(kept);
        if (kept != NULL && status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
            PQclear(result);
            continue;
        }
        PQclear(kept);
        kept = result;
    }
    if (kept == NULL)
        return unreachable(c, err);
    ExecStatusType status = PQresultStatus(kept);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
        *out = kept;
        return true;
    }
    refused(c, sql, kept, err);
    PQclear(kept);
    return false;
}

static bool usable(Catalog *c, Err *err)
{
    if (statement_ok(c))
        return true;
    return err_set(err, ERR_UNREACHABLE, "catalogue.unreachable",
                   "the connection to the catalogue is broken; it is opened again");
}

bool statement_run(Catalog *c, const Asset *sql, const Args *args, Rows *rows, Err *err)
{
    static const Args none;
    const char *values[ARGS_MOST];
    int formats[ARGS_MOST];
    PGresult *result;
    if (args == NULL)
        args = &none;
    if (rows != NULL)
        rows_free(rows);
    if (!usable(c, err))
        return false;
    for (unsigned i = 0; i < args->count; i++) {
        /* A parameter of no bytes still needs an address: NULL means SQL's NULL. */
        values[i] = args->at[i] == SIZE_MAX  ? NULL
                    : args->bytes.at == NULL ? ""
                                             : (const char *)args->bytes.at + args->at[i];
        formats[i] = 1;
    }
    if (!PQsendQueryParams(c->pg, (const char *)sql->bytes, (int)args->count, args->types, values,
                           args->lengths, formats, 1))
        return unreachable(c, err);
    if (!receive(c, sql, &result, err))
        return false;
    if (rows != NULL)
        rows->result = result;
    else
        PQclear(result);
    return true;
}

bool statement_row(Catalog *c, const Asset *sql, const Args *args, Rows *rows, Err *err)
{
    if (!statement_run(c, sql, args, rows, err))
        return false;
    if (rows_count(rows) > 0)
        return true;
    return err_set(err, ERR_BUG, "catalogue.no_row", "%s gave no row", sql->name);
}

bool statement_script(Catalog *c, const Asset *sql, Err *err)
{
    PGresult *result;
    if (!usable(c, err))
        return false;
    if (!PQsendQuery(c->pg, (const char *)sql->bytes))
        return unreachable(c, err);
    if (!receive(c, sql, &result, err))
        return false;
    PQclear(result);
    return true;
}

bool statement_check(Catalog *c, const Asset *sql, const unsigned *types, unsigned count, Err *err)
{
    PGresult *result;
    if (!usable(c, err))
        return false;
    if (!PQsendPrepare(c->pg, "", (const char *)sql->bytes, (int)count, types))
        return unreachable(c, err);
    if (!receive(c, sql, &result, err))
        return false;
    PQclear(result);
    return true;
}

void statement_fence(Args *args, const Fence *fence)
{
    args_i64(args, (int64_t)fence->job);
    args_i64(args, (int64_t)fence->attempt);
    args_uuid(args, &fence->claim);
}

void statement_packs(Args *args, const uint64_t *pack_nos, const Sha256 *sha256s, size_t count)
{
    args_array(args, ELEMENT_I64, count);
    for (size_t i = 0; i < count; i++)
        args_element_i64(args, (int64_t)pack_nos[i]);
    args_array_end(args);
    args_array(args, ELEMENT_BYTES, count);
    for (size_t i = 0; i < count; i++)
        args_element_bytes(args, sha256s[i].bytes, sizeof sha256s[i].bytes);
    args_array_end(args);
}

bool statement_verifier(Catalog *c, Text role, Slice password, Buf *out, Err *err)
{
    char *name = mem_text(role), *word = mem_text(text_of_slice(password));
    char *made = PQencryptPasswordConn(c->pg, word, name, "scram-sha-256");
    explicit_bzero(word, password.len);
    mem_free(word);
    mem_free(name);
    if (made == NULL)
        return err_set(err, ERR_BUG, "catalogue.password", "no SCRAM verifier: %s",
                       PQerrorMessage(c->pg));
    buf_add(out, made, strlen(made));
    PQfreemem(made);
    return true;
}
