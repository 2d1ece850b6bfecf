/* SPDX-License-Identifier: Apache-2.0
 * postgresql_fixture.h — what the PostgreSQL engine's tests share: a private server, a recorder
 * that holds a backup in memory, and the threads that drive lanes as a job does. */
#ifndef TESTS_INTEGRATION_ENGINE_POSTGRESQL_FIXTURE_H
#define TESTS_INTEGRATION_ENGINE_POSTGRESQL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "tests/harness/postgres.h"
#include "worker/engine/postgresql.h"

#include <glob.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct Server {
    Postgres *pg;
    const char *folder; /* of its socket */
    char tools[200];
    int port;
} Server;

static inline PGconn *server_connect(const Server *server, const char *database)
{
    char port[16];
    snprintf(port, sizeof port, "%d", server->port);
    const char *keys[] = {"host", "port", "user", "dbname", "options", NULL};
    const char *values[] = {
        server->folder, port, "postgres", database, "-c client_min_messages=warning", NULL};
    PGconn *conn = PQconnectdbParams(keys, values, 0);
    if (PQstatus(conn) == CONNECTION_OK)
        return conn;
    PQfinish(conn);
    return NULL;
}

static inline void server_sql(const Server *server, const char *database, const char *sql)
{
    PGconn *conn = server_connect(server, database);
    assert_non_null(conn);
    PGresult *result = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail_msg("%s", PQerrorMessage(conn));
    PQclear(result);
    PQfinish(conn);
}

static inline char *server_ask(const Server *server, const char *database, const char *sql)
{
    PGconn *conn = server_connect(server, database);
    assert_non_null(conn);
    PGresult *result = PQexec(conn, sql);
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s", PQerrorMessage(conn));
    char *value = mem_string(PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    PQfinish(conn);
    return value;
}

static inline int64_t server_count(const Server *server, const char *database, const char *sql)
{
    char *text = server_ask(server, database, sql);
    int64_t value = strtoll(text, NULL, 10);
    mem_free(text);
    return value;
}

static inline void server_start(Server *server)
{
    glob_t found = {0};
    server->pg = postgres_start(NULL);
    server->folder = postgres_socket(server->pg);
    server->port = postgres_port(server->pg);
    assert_int_equal(glob("/usr/lib/postgresql/*/bin", 0, NULL, &found), 0);
    snprintf(server->tools, sizeof server->tools, "%s", found.gl_pathv[found.gl_pathc - 1]);
    globfree(&found);
}

static inline void server_stop(Server *server)
{
    postgres_stop(server->pg);
}

/* ---- the surroundings of an engine ---- */

typedef struct Surroundings {
    EngineHost host;
    const char *password;
    pthread_mutex_t lock;
    unsigned issues, notes;
    char last_note[400], last_issue[400];
    char scratch[64];
} Surroundings;

static inline bool surroundings_secret(void *ctx, const json_t *reference, Buf *secret, Err *err)
{
    const Surroundings *around = ctx;
    if (json_object_get(reference, "credential") == NULL || around->password == NULL)
        return err_set(err, ERR_MISSING, "no-credential", "no such credential");
    buf_add_text(secret, text_of(around->password));
    return true;
}

static inline void surroundings_issue(void *ctx, const Issue *issue)
{
    Surroundings *around = ctx;
    pthread_mutex_lock(&around->lock);
    around->issues++;
    snprintf(around->last_issue, sizeof around->last_issue, "%.*s: %.*s", TEXT_ARG(issue->path),
             TEXT_ARG(issue->text));
    pthread_mutex_unlock(&around->lock);
}

static inline void surroundings_note(void *ctx, const char *event, const char *text)
{
    Surroundings *around = ctx;
    pthread_mutex_lock(&around->lock);
    around->notes++;
    snprintf(around->last_note, sizeof around->last_note, "%s: %s", event, text);
    pthread_mutex_unlock(&around->lock);
}

static inline bool surroundings_cancelled(void *ctx)
{
    (void)ctx;
    return false;
}

static inline void surroundings_open(Surroundings *around)
{
    *around = (Surroundings){.lock = PTHREAD_MUTEX_INITIALIZER};
    snprintf(around->scratch, sizeof around->scratch, "/tmp/holdfast-scratch.XXXXXX");
    assert_non_null(mkdtemp(around->scratch));
    around->host = (EngineHost){around,
                                surroundings_secret,
                                surroundings_issue,
                                surroundings_note,
                                surroundings_cancelled,
                                around->scratch,
                                NULL};
}

static inline void surroundings_close(Surroundings *around)
{
    assert_int_equal(rmdir(around->scratch), 0); /* nothing may be left in it */
}

/* ---- a backup in memory ---- */

typedef struct Recorded {
    Entry entry;
    char *path, *note;
    Buf content;
} Recorded;

typedef struct Recording {
    pthread_mutex_t lock;
    Recorded *items;
    size_t count, room;
    char *details, *position;
    int64_t consistent_ns;
    Err err; /* the first one */
    Source *source;
    Target *target;
    const char *damaged; /* this entry's content breaks off when it is restored */
    void (*on_read)(void *ctx, const Entry *entry, size_t so_far);
    void *on_read_ctx;
} Recording;

typedef struct LaneThread {
    Recording *recording;
    unsigned lane;
    uint8_t phase;
    size_t *next; /* of the items to restore */
    pthread_t thread;
} LaneThread;

static inline void recording_fail(Recording *r, const Err *err)
{
    pthread_mutex_lock(&r->lock);
    if (r->err.code == ERR_NONE)
        r->err = *err;
    pthread_mutex_unlock(&r->lock);
}

static inline bool recording_failed(Recording *r)
{
    pthread_mutex_lock(&r->lock);
    bool failed = r->err.code != ERR_NONE;
    pthread_mutex_unlock(&r->lock);
    return failed;
}

static inline bool record_entry(Recording *r, unsigned lane, Entry *entry, Err *err)
{
    Recorded item = {.path = mem_text(entry->path), .note = mem_text(entry->note)};
    size_t got = 0;
    uint64_t zeros = 0;
    bool keep = true, ok = true;
    do {
        buf_reserve(&item.content, 65536);
        ok = r->source->ops->read(r->source, lane, item.content.at + item.content.len, 65536, &got,
                                  &zeros, err);
        if (!ok)
            break;
        item.content.len += got;
        if (zeros > 0)
            memset(buf_extend(&item.content, zeros), 0, zeros);
        if (r->on_read != NULL)
            r->on_read(r->on_read_ctx, entry, item.content.len);
    } while (got > 0 || zeros > 0);
    ok = ok && r->source->ops->end(r->source, lane, entry, &keep, err);
    item.entry = *entry;
    item.entry.path = text_of(item.path);
    item.entry.note = text_of(item.note);
    item.entry.link = (Text){0};
    if (!ok || !keep) {
        mem_free(item.path);
        mem_free(item.note);
        buf_free(&item.content);
        return ok;
    }
    pthread_mutex_lock(&r->lock);
    if (r->count == r->room) {
        r->room = r->room == 0 ? 64 : 2 * r->room;
        r->items = mem_resize(r->items, r->room * sizeof *r->items);
    }
    r->items[r->count++] = item;
    pthread_mutex_unlock(&r->lock);
    return true;
}

static inline void *record_lane(void *arg)
{
    LaneThread *me = arg;
    Err err = {0};
    Entry entry;
    bool more = true;
    while (more && !recording_failed(me->recording)) {
        if (!me->recording->source->ops->next(me->recording->source, me->lane, &entry, &more,
                                              &err) ||
            (more && !record_entry(me->recording, me->lane, &entry, &err))) {
            recording_fail(me->recording, &err);
            break;
        }
    }
    return NULL;
}

static inline int recorded_order(const void *a, const void *b)
{
    return text_compare(((const Recorded *)a)->entry.path, ((const Recorded *)b)->entry.path);
}

/* False with r->err when the backup failed. */
static inline bool record(Recording *r, Surroundings *around, const json_t *config, unsigned lanes)
{
    LaneThread threads[32];
    EngineParams params = {config, NULL, &around->host, lanes};
    Receipt receipt = {0};
    pthread_mutex_init(&r->lock, NULL);
    r->err = (Err){0};
    if (!postgresql_engine.open_source(&r->source, &params, &r->err))
        return false;
    unsigned count = r->source->ops->lanes(r->source);
    for (unsigned i = 0; i < count; i++) {
        threads[i] = (LaneThread){.recording = r, .lane = i};
        pthread_create(&threads[i].thread, NULL, record_lane, &threads[i]);
    }
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i].thread, NULL);
    bool ok = r->err.code == ERR_NONE && r->source->ops->finish(r->source, &receipt, &r->err);
    if (ok) {
        r->details = mem_text(receipt.details);
        r->position = mem_text(receipt.position);
        r->consistent_ns = receipt.consistent_ns;
        qsort(r->items, r->count, sizeof *r->items, recorded_order);
    }
    r->source->ops->close(r->source);
    return ok;
}

static inline void recording_free(Recording *r)
{
    for (size_t i = 0; i < r->count; i++) {
        mem_free(r->items[i].path);
        mem_free(r->items[i].note);
        buf_free(&r->items[i].content);
    }
    mem_free(r->items);
    mem_free(r->details);
    mem_free(r->position);
}

static inline const Recorded *recording_find(const Recording *r, const char *path)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->items[i].path, path) == 0)
            return &r->items[i];
    return NULL;
}

/* ---- and back ---- */

static inline bool restore_entry(Recording *r, unsigned lane, const Recorded *item, Err *err)
{
    const TargetOps *ops = r->target->ops;
    bool want = false;
    if (!ops->begin(r->target, lane, &item->entry, &want, err))
        return false;
    for (size_t at = 0; want && at < item->content.len; at += 100001) { /* cuts rows anywhere */
        size_t len = item->content.len - at < 100001 ? item->content.len - at : 100001;
        if (!ops->write(r->target, lane, (Slice){item->content.at + at, len}, err))
            return false;
        if (r->damaged != NULL && strcmp(r->damaged, item->path) == 0)
            return true; /* as a job does: told, and never ended */
    }
    return ops->end(r->target, lane, &item->entry, err);
}

static inline void *restore_lane(void *arg)
{
    LaneThread *me = arg;
    Recording *r = me->recording;
    Err err = {0};
    while (!recording_failed(r)) {
        pthread_mutex_lock(&r->lock);
        while (*me->next < r->count && r->items[*me->next].entry.phase != me->phase)
            ++*me->next;
        size_t at = (*me->next)++;
        pthread_mutex_unlock(&r->lock);
        if (at >= r->count)
            break;
        if (!restore_entry(r, me->lane, &r->items[at], &err))
            recording_fail(r, &err);
    }
    return NULL;
}

/* Feeds r->target phase by phase and closes it. */
static inline bool drive(Recording *r, json_t **report)
{
    LaneThread threads[32];
    json_t *told = NULL;
    unsigned count = r->target->ops->lanes(r->target);
    bool ok = true;
    for (uint8_t phase = 0; ok && phase < 4; phase++) {
        size_t next = 0;
        ok = r->target->ops->phase(r->target, phase, &r->err);
        for (unsigned i = 0; ok && i < count; i++) {
            threads[i] = (LaneThread){.recording = r, .lane = i, .phase = phase, .next = &next};
            pthread_create(&threads[i].thread, NULL, restore_lane, &threads[i]);
        }
        for (unsigned i = 0; ok && i < count; i++)
            pthread_join(threads[i].thread, NULL);
        ok = ok && r->err.code == ERR_NONE;
    }
    ok = ok && r->target->ops->finish(r->target, &told, &r->err);
    r->target->ops->close(r->target);
    if (report != NULL)
        *report = told;
    else
        json_decref(told);
    return ok;
}

/* False with r->err when the restore failed. *report may be NULL. */
static inline bool restore(Recording *r, Surroundings *around, const json_t *config,
                           const json_t *request, json_t **report)
{
    EngineParams params = {config, request, &around->host, 4};
    r->err = (Err){0};
    return postgresql_engine.open_target(&r->target, &params, &r->err) && drive(r, report);
}

/* What pg_dump says of a whole database, but for its random restrict key. */
static inline char *server_dump(const Server *server, const char *database, const char *options)
{
    Buf command = {0}, text = {0};
    buf_printf(&command,
               "%s/pg_dump -h %s -p %d -U postgres %s -d %s | grep -av '^.\\(un\\)\\?restrict '",
               server->tools, server->folder, server->port, options, database);
    FILE *pipe = popen(buf_cstr(&command), "r");
    assert_non_null(pipe);
    for (int c; (c = getc(pipe)) != EOF;)
        buf_add_byte(&text, (uint8_t)c);
    assert_int_equal(pclose(pipe), 0);
    buf_free(&command);
    buf_cstr(&text);
    return (char *)buf_take(&text, &(size_t){0});
}

static inline void assert_same_dump(const Server *server, const char *a, const char *b)
{
    char *first = server_dump(server, a, ""), *second = server_dump(server, b, "");
    assert_true(strlen(first) > 500);
    if (strcmp(first, second) != 0) {
        size_t at = 0;
        while (first[at] == second[at])
            at++;
        size_t from = at > 300 ? at - 300 : 0;
        fail_msg("the dumps differ:\n%.600s\n------\n%.600s", first + from, second + from);
    }
    mem_free(first);
    mem_free(second);
}

static inline json_t *server_config(const Server *server, const char *databases)
{
    json_t *names = json_loads(databases, 0, NULL);
    assert_non_null(names);
    return json_pack("{s:s, s:i, s:s, s:o, s:i}", "host", server->folder, "port", server->port,
                     "user", "postgres", "databases", names, "jobs", 4);
}

#endif
