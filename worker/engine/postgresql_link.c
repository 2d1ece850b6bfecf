/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_link.h"

#include "common/base/mem.h"
#include "worker/engine/postgresql_name.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { SETTINGS_MAX = 16, ENVIRONMENT_MAX = 24, CONNECT_PATIENCE_S = 15, OLDEST = 130000 };

typedef struct Setting {
    const char *key;
    char *value;
} Setting;

struct PostgresqlLink {
    const char *side;
    Setting settings[SETTINGS_MAX]; /* without dbname and password */
    size_t setting_count;
    Buf password;
    bool has_password;
    char *maintenance;
    char *scratch;
    int patience_s;
    pthread_mutex_t lock; /* guards what follows: made when the first program needs it */
    char *passfile;
    char *environment[ENVIRONMENT_MAX + 1];
};

static const char *const config_keys[] = {"host",        "port",    "user",   "service", "sslmode",
                                          "sslrootcert", "sslcert", "sslkey", "sslcrl"};

static bool cause_set(const PostgresqlLink *link, Err *err, ErrCode code, const char *cause,
                      const char *text)
{
    char dotted[sizeof err->cause];
    snprintf(dotted, sizeof dotted, "%s.%s", link->side, cause);
    return err_set(err, code, dotted, "%s", text);
}

static void add_setting(PostgresqlLink *link, const char *key, const char *value)
{
    link->settings[link->setting_count++] = (Setting){key, mem_string(value)};
}

static bool take_settings(PostgresqlLink *link, const json_t *config, Err *err)
{
    char number[32], text[200];
    for (size_t i = 0; i < sizeof config_keys / sizeof *config_keys; i++) {
        const json_t *value = json_object_get(config, config_keys[i]);
        if (json_is_string(value)) {
            add_setting(link, config_keys[i], json_string_value(value));
        } else if (json_is_integer(value)) {
            snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
            add_setting(link, config_keys[i], number);
        } else if (value != NULL && !json_is_null(value)) {
            snprintf(text, sizeof text, "\"%s\" must be text; correct it in the policy file",
                     config_keys[i]);
            return cause_set(link, err, ERR_INVALID, "config", text);
        }
    }
    const json_t *database = json_object_get(config, "maintenance_database");
    link->maintenance =
        mem_string(json_is_string(database) ? json_string_value(database) : "postgres");
    const json_t *patience = json_object_get(config, "connect_timeout");
    link->patience_s =
        json_is_integer(patience) ? (int)json_integer_value(patience) : CONNECT_PATIENCE_S;
    return true;
}

bool postgresql_link_open(PostgresqlLink **out, const json_t *config, const EngineHost *host,
                          const char *side, Err *err)
{
    PostgresqlLink *link = mem_new(PostgresqlLink);
    const json_t *password = json_object_get(config, "password");
    link->side = side;
    link->scratch = mem_string(host->scratch == NULL ? "/tmp" : host->scratch);
    pthread_mutex_init(&link->lock, NULL);
    *out = link;
    bool ok = take_settings(link, config, err);
    if (ok && password != NULL && !json_is_null(password)) {
        ok = host->secret(host->ctx, password, &link->password, err);
        link->has_password = ok && link->password.len > 0;
        if (link->has_password && memchr(link->password.at, 0, link->password.len) != NULL)
            ok = cause_set(link, err, ERR_INVALID, "config",
                           "the password holds a NUL byte; correct the credential");
    }
    if (!ok) {
        postgresql_link_close(link);
        *out = NULL;
    }
    return ok;
}

void postgresql_link_close(PostgresqlLink *link)
{
    if (link == NULL)
        return;
    if (link->passfile != NULL)
        unlink(link->passfile);
    for (size_t i = 0; i < link->setting_count; i++)
        mem_free(link->settings[i].value);
    for (size_t i = 0; link->environment[i] != NULL; i++)
        mem_free(link->environment[i]);
    if (link->password.at != NULL)
        explicit_bzero(link->password.at, link->password.room);
    buf_free(&link->password);
    pthread_mutex_destroy(&link->lock);
    mem_free(link->maintenance);
    mem_free(link->scratch);
    mem_free(link->passfile);
    mem_free(link);
}

void postgresql_link_release(PostgresqlLink **link)
{
    postgresql_link_close(*link);
    *link = NULL;
}

const char *postgresql_link_side(const PostgresqlLink *link)
{
    return link->side;
}

/* What libpq says may hold line breaks; an Err is one line. */
static void one_line(const char *message, char *out, size_t room)
{
    size_t at = 0;
    for (; message != NULL && *message != 0 && at + 1 < room; message++) {
        bool space = isspace((unsigned char)*message) != 0;
        if (!space)
            out[at++] = *message;
        else if (at > 0 && out[at - 1] != ' ')
            out[at++] = ' ';
    }
    while (at > 0 && out[at - 1] == ' ')
        at--;
    out[at] = 0;
}

typedef struct Reaction {
    const char *state; /* SQLSTATE, or its first characters */
    ErrCode code;
    const char *cause;
    const char *next;
    const char *word; /* NULL, or what the message holds in every language, or our own words */
} Reaction;

/* '@' stands for the role. */
static const Reaction reactions[] = {
    {"28", ERR_DENIED, "auth", "check user, password, the role's VALID UNTIL and pg_hba.conf",
     NULL},
    {"3D000", ERR_MISSING, "missing", "check the name of the database", NULL},
    {"42501", ERR_DENIED, "denied", "ALTER ROLE @ REPLICATION", "replication slot"},
    {"42501", ERR_DENIED, "denied", "GRANT pg_read_all_data TO @", NULL},
    {"42P01", ERR_SOURCE, "changed", "it was dropped meanwhile; the next attempt sees it so", NULL},
    {"42703", ERR_SOURCE, "changed", "it was altered meanwhile; the next attempt sees it so", NULL},
    {"55P03", ERR_BUSY, "locked", "somebody holds an exclusive lock; try again later", NULL},
    {"53300", ERR_BUSY, "connections", "lower `jobs` or raise max_connections", NULL},
    {"53100", ERR_FULL, "full", "make room on the server's disk", NULL},
    {"53200", ERR_SOURCE, "memory", "raise max_locks_per_transaction or the server's memory", NULL},
    {"57014", ERR_CANCELLED, "cancelled", "somebody cancelled the statement", NULL},
    {"57P03", ERR_UNREACHABLE, "starting", "the server starts or stops; try again later", NULL},
    {"57P", ERR_UNREACHABLE, "lost", "the server ended the connection; see its log", NULL},
    {"08", ERR_UNREACHABLE, "lost", "the connection broke; see the server's log", NULL},
    {"", ERR_SOURCE, "query", "see the server's log", NULL},
};

/* Where a restore goes to. */
static const Reaction target_reactions[] = {
    {"42501", ERR_DENIED, "denied",
     "restore as a SUPERUSER, or grant @ what it lacks (CREATEDB, membership in the owners)", NULL},
};

/* What else it may be where the server is asked for replication. */
static const Reaction replication_reactions[] = {
    {"28000", ERR_DENIED, "auth",
     "add `host replication @ ADDRESS-OF-THIS-HOST/32 scram-sha-256` to the server's pg_hba.conf "
     "(`local` without an address for its socket) and SELECT pg_reload_conf()",
     "pg_hba.conf"},
    {"42501", ERR_DENIED, "denied", "ALTER ROLE @ REPLICATION", NULL},
    {"53300", ERR_BUSY, "connections", "raise max_wal_senders; a physical backup takes two",
     "max_wal_senders"},
    {"53400", ERR_BUSY, "connections",
     "raise max_replication_slots; a physical backup takes one while it runs", NULL},
    {"58P01", ERR_SOURCE, "wal_gone",
     "the server has removed WAL that is still needed; see max_slot_wal_keep_size and "
     "wal_keep_size, take a new base backup",
     NULL},
    {"55000", ERR_SOURCE, "state",
     "the server is in no state for it: wal_level must be replica or more, a standby must not be "
     "promoted meanwhile; try again",
     NULL},
};

static const Reaction *find_reaction(const Reaction *rows, size_t count, const char *state,
                                     const char *what, const char *message)
{
    for (size_t i = 0; i < count; i++)
        if (strncmp(state, rows[i].state, strlen(rows[i].state)) == 0 &&
            (rows[i].word == NULL || strstr(message, rows[i].word) != NULL ||
             strstr(what, rows[i].word) != NULL))
            return &rows[i];
    return NULL;
}

#define FIND(rows) find_reaction(rows, sizeof(rows) / sizeof *(rows), state, what, message)

static const Reaction *reaction_for(const PostgresqlLink *link, const char *state, const char *what,
                                    const char *message, bool replication)
{
    const Reaction *row = replication ? FIND(replication_reactions) : NULL;
    if (row == NULL && strcmp(link->side, "target") == 0)
        row = FIND(target_reactions);
    return row != NULL ? row : FIND(reactions);
}

static bool react(const PostgresqlLink *link, const PGconn *conn, const char *state,
                  const char *what, const char *message, bool replication, Err *err)
{
    char line[240], text[400];
    scoped(buf_free) Buf next = {0};
    const Reaction *row = reaction_for(link, state, what, message, replication);
    const char *role = PQuser(conn);
    for (const char *at = row->next; *at != 0; at++)
        if (*at == '@')
            postgresql_name_quote(&next, text_of(role == NULL ? "" : role));
        else
            buf_add_byte(&next, (uint8_t)*at);
    one_line(message, line, replication ? 170 : sizeof line);
    snprintf(text, sizeof text, "%s: %s; next: %s", what, line, buf_cstr(&next));
    return cause_set(link, err, row->code, row->cause, text);
}

/* With verbose messages libpq writes "FATAL:  28P01: password …": the only place where a failed
 * connect carries its SQLSTATE. */
static void state_of_message(const char *message, char state[6])
{
    state[0] = 0;
    for (const char *at = strchr(message, ':'); at != NULL; at = strchr(at + 1, ':')) {
        size_t len = 0, digits = 0;
        if (at - message < 6 || at[-6] != ' ')
            continue;
        for (const char *c = at - 5; c < at; c++) {
            digits += isdigit((unsigned char)*c) != 0;
            len += isdigit((unsigned char)*c) != 0 || isupper((unsigned char)*c) != 0;
        }
        if (len == 5 && digits > 0) {
            memcpy(state, at - 5, 5);
            state[5] = 0;
            return;
        }
    }
}

static bool connect_failed(const PostgresqlLink *link, PGconn *conn, Text database,
                           bool replication, Err *err)
{
    char state[6], what[128];
    const char *message = PQerrorMessage(conn);
    state_of_message(message, state);
    if (replication && state[0] != 0) /* what stands before it is known to who configured it */
        message = strstr(message, state) + strlen(state) + 1;
    if (state[0] == 0 && PQconnectionNeedsPassword(conn) == 1)
        snprintf(state, sizeof state, "28000");
    if (state[0] == 0)
        snprintf(state, sizeof state, "08006");
    if (replication)
        snprintf(what, sizeof what, "connecting for replication");
    else
        snprintf(what, sizeof what, "connecting to database %.*s", (int)database.len, database.at);
    if (memcmp(state, "08", 2) == 0) {
        char line[200], text[400];
        one_line(message, line, sizeof line);
        snprintf(text, sizeof text, "%s: %s; next: check host, port and that the server runs", what,
                 line);
        return cause_set(link, err, ERR_UNREACHABLE, "unreachable", text);
    }
    return react(link, conn, state, what, message, replication, err);
}

static int64_t seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec;
}

static bool wait_connected(PGconn *conn, int patience_s)
{
    int64_t end = seconds_now() + patience_s;
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    while (state != PGRES_POLLING_OK && state != PGRES_POLLING_FAILED) {
        int64_t left = end - seconds_now();
        struct pollfd fd = {.fd = PQsocket(conn),
                            .events = state == PGRES_POLLING_READING ? POLLIN : POLLOUT};
        if (left <= 0)
            return false;
        if (poll(&fd, 1, (int)left * 1000) > 0 || errno == EINTR)
            state = PQconnectPoll(conn);
    }
    return state == PGRES_POLLING_OK;
}

static const char session_settings[] =
    "SET datestyle = ISO; SET intervalstyle = postgres; SET extra_float_digits = 3; "
    "SET synchronize_seqscans = off; SET statement_timeout = 0; SET lock_timeout = 0; "
    "SET idle_in_transaction_session_timeout = 0; SET row_security = off; "
    "SET standard_conforming_strings = on; SET bytea_output = hex; "
    "SELECT pg_catalog.set_config('search_path', '', false), "
    "pg_catalog.set_config('client_encoding', pg_catalog.current_setting('server_encoding'), "
    "false)";

/* Notices are for people at a terminal. */
static void ignore_notice(void *ctx, const char *message)
{
    (void)ctx;
    (void)message;
}

/* A walsender that waits for us while the store is slow is not dead: it gives up after this. */
static const char replication_options[] = "-c wal_sender_timeout=600000";

/* What is asked of a server, and how its answers are read, is written for these versions. */
static bool is_known(const PostgresqlLink *link, const PGconn *conn, Err *err)
{
    int version = PQserverVersion(conn);
    char text[160];
    snprintf(text, sizeof text,
             "the server is PostgreSQL %d.%d; next: upgrade it, %d is the oldest that is served",
             version / 10000, version % 10000, OLDEST / 10000);
    return version >= OLDEST || cause_set(link, err, ERR_SOURCE, "version", text);
}

static bool dial(PostgresqlLink *link, const char *name, bool replication, PGconn **out, Err *err)
{
    const char *keys[SETTINGS_MAX + 8], *values[SETTINGS_MAX + 8];
    size_t count = 0;
    for (; count < link->setting_count; count++) {
        keys[count] = link->settings[count].key;
        values[count] = link->settings[count].value;
    }
    keys[count] = "dbname";
    values[count++] = name;
    keys[count] = "application_name";
    values[count++] = "holdfast";
    keys[count] = "password";
    values[count++] = link->has_password ? buf_cstr(&link->password) : NULL;
    keys[count] = "replication";
    values[count++] = replication ? "true" : NULL;
    keys[count] = "options";
    values[count++] = replication ? replication_options : NULL;
    keys[count] = values[count] = NULL;
    PGconn *conn = PQconnectStartParams(keys, values, 0); /* 0: the name is never a conninfo */
    *out = conn;
    if (conn == NULL)
        return err_set(err, ERR_FULL, "source.memory", "no memory for a connection");
    PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);
    PQsetNoticeProcessor(conn, ignore_notice, NULL);
    if (PQstatus(conn) == CONNECTION_BAD || !wait_connected(conn, link->patience_s)) {
        bool late = PQstatus(conn) != CONNECTION_BAD;
        connect_failed(link, conn, text_of(name), replication, err);
        if (late)
            cause_set(link, err, ERR_UNREACHABLE, "unreachable",
                      "the server did not answer in time; check host, port and firewall");
        postgresql_link_disconnect(out);
        return false;
    }
    PQsetErrorVerbosity(conn, PQERRORS_DEFAULT);
    if (is_known(link, conn, err))
        return true;
    postgresql_link_disconnect(out);
    return false;
}

bool postgresql_link_connect(PostgresqlLink *link, Text database, PGconn **out, Err *err)
{
    scoped(mem_release) char *name =
        database.len > 0 ? mem_text(database) : mem_string(link->maintenance);
    if (!dial(link, name, false, out, err))
        return false;
    if (postgresql_link_exec(link, *out, "preparing the session", session_settings, err))
        return true;
    postgresql_link_disconnect(out);
    return false;
}

bool postgresql_link_replication(PostgresqlLink *link, PGconn **out, Err *err)
{
    return dial(link, "replication", true, out, err);
}

void postgresql_link_disconnect(PGconn **conn)
{
    if (*conn != NULL)
        PQfinish(*conn);
    *conn = NULL;
}

static bool write_passfile(PostgresqlLink *link, Err *err)
{
    scoped(buf_free) Buf path = {0};
    scoped(buf_free) Buf line = {0};
    if (memchr(link->password.at, '\n', link->password.len) != NULL ||
        memchr(link->password.at, '\r', link->password.len) != NULL)
        return cause_set(link, err, ERR_INVALID, "config",
                         "the server's own programs cannot be given a password with a line break; "
                         "choose another password for this role");
    buf_printf(&path, "%s/pgpass-%s-XXXXXX", link->scratch, link->side);
    buf_cstr(&path);
    int fd = mkostemp((char *)path.at, O_CLOEXEC); /* mkostemp makes it 0600 */
    if (fd < 0)
        return err_set_sys(err, ERR_IO, "source.scratch", "cannot write into %s", link->scratch);
    link->passfile = mem_string((char *)path.at);
    buf_add_text(&line, TEXT("*:*:*:*:"));
    for (size_t i = 0; i < link->password.len; i++) {
        if (link->password.at[i] == ':' || link->password.at[i] == '\\')
            buf_add_byte(&line, '\\');
        buf_add_byte(&line, link->password.at[i]);
    }
    buf_add_byte(&line, '\n');
    bool ok = write(fd, line.at, line.len) == (ssize_t)line.len;
    explicit_bzero(line.at, line.room);
    if (!ok)
        err_set_sys(err, ERR_IO, "source.scratch", "cannot write into %s", link->scratch);
    close(fd);
    return ok;
}

/* What libpq reads from the environment and is no secret, and nothing else of ours. */
static const char *const environment_kept[] = {
    "PATH",     "HOME",       "PGSERVICEFILE", "PGSYSCONFDIR",  "PGHOST",
    "PGPORT",   "PGUSER",     "PGSSLMODE",     "PGSSLROOTCERT", "PGSSLCERT",
    "PGSSLKEY", "PGPASSFILE", "KRB5CCNAME",    "KRB5_CONFIG",   "TZ",
};

static bool make_environment(PostgresqlLink *link, Err *err)
{
    size_t count = 0;
    if (link->environment[0] != NULL)
        return true;
    if (link->has_password && !write_passfile(link, err))
        return false;
    for (size_t i = 0; i < sizeof environment_kept / sizeof *environment_kept; i++) {
        const char *name = environment_kept[i], *value = getenv(name);
        scoped(buf_free) Buf pair = {0};
        if (strcmp(name, "PGPASSFILE") == 0 && link->passfile != NULL)
            value = link->passfile;
        if (value == NULL)
            continue;
        buf_printf(&pair, "%s=%s", name, value);
        link->environment[count++] = mem_string(buf_cstr(&pair));
    }
    link->environment[count++] = mem_string("LC_ALL=C"); /* its words are read by us */
    link->environment[count++] = mem_string("PGAPPNAME=holdfast");
    return true;
}

bool postgresql_link_program(PostgresqlLink *link, Text database, Buf *conninfo,
                             const char *const **environment, Err *err)
{
    pthread_mutex_lock(&link->lock);
    bool ok = make_environment(link, err);
    pthread_mutex_unlock(&link->lock);
    if (!ok)
        return false;
    for (size_t i = 0; i < link->setting_count; i++)
        postgresql_name_conninfo(conninfo, link->settings[i].key, text_of(link->settings[i].value));
    postgresql_name_conninfo(conninfo, "dbname",
                             database.len > 0 ? database : text_of(link->maintenance));
    *environment = (const char *const *)link->environment;
    return true;
}

static bool failed(const PostgresqlLink *link, PGconn *conn, const PGresult *result,
                   const char *what, bool replication, Err *err)
{
    const char *state = result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *primary =
        result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (state == NULL)
        state = PQstatus(conn) == CONNECTION_BAD ? "08006" : "XX000";
    return react(link, conn, state, what, primary != NULL ? primary : PQerrorMessage(conn),
                 replication, err);
}

bool postgresql_link_failed(const PostgresqlLink *link, PGconn *conn, const PGresult *result,
                            const char *what, Err *err)
{
    return failed(link, conn, result, what, false, err);
}

bool postgresql_link_replication_failed(const PostgresqlLink *link, PGconn *conn,
                                        const PGresult *result, const char *what, Err *err)
{
    return failed(link, conn, result, what, true, err);
}

bool postgresql_link_query(const PostgresqlLink *link, PGconn *conn, const char *what,
                           const char *sql, const char *const *values, int count, PGresult **out,
                           Err *err)
{
    PGresult *result = count == 0 ? PQexec(conn, sql)
                                  : PQexecParams(conn, sql, count, NULL, values, NULL, NULL, 0);
    ExecStatusType status = PQresultStatus(result);
    bool ok = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
    if (!ok)
        postgresql_link_failed(link, conn, result, what, err);
    if (ok && out != NULL)
        *out = result;
    else
        PQclear(result);
    return ok;
}

bool postgresql_link_exec(const PostgresqlLink *link, PGconn *conn, const char *what,
                          const char *sql, Err *err)
{
    return postgresql_link_query(link, conn, what, sql, NULL, 0, NULL, err);
}

void postgresql_link_clear(PGresult **result)
{
    PQclear(*result);
    *result = NULL;
}

Text postgresql_link_value(const PGresult *result, int row, int column)
{
    return (Text){PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column)};
}
