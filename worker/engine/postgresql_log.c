/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_log.h"

#include "common/base/mem.h"
#include "worker/engine/postgresql_files.h"
#include "worker/engine/postgresql_receive.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct PostgresqlLog {
    PostgresqlLogParams params;
    PostgresqlReceive *receive;
    int wake; /* becomes readable, for good, when one of the following is set */
    pthread_mutex_t lock;
    bool stop_known, failed;
    uint64_t stop;
    Err why;
    /* Of the reading thread. */
    Slice piece; /* received and not yet read; lies at `at` */
    uint64_t at; /* of the next byte that is read */
    uint64_t file_end, bytes;
    unsigned files;
    bool in_history, history_done, over;
    size_t history_at;
    Buf path, history_name, history;
};

bool postgresql_log_open(PostgresqlLog **out, const PostgresqlLogParams *params, Err *err)
{
    PostgresqlLog *log = mem_new(PostgresqlLog);
    log->params = *params;
    pthread_mutex_init(&log->lock, NULL);
    log->at = params->start - params->start % params->system->segment;
    log->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    log->history_done = params->timeline == 1; /* the first one branched off from nothing */
    *out = log;
    bool ok = log->wake >= 0 ||
              err_set_sys(err, ERR_IO, "source.descriptor", "no descriptor could be opened");
    ok = ok &&
         (log->history_done ||
          postgresql_replication_history(params->link, params->conn, params->timeline,
                                         &log->history_name, &log->history, err)) &&
         postgresql_receive_open(&log->receive, params->link, params->conn, params->host,
                                 params->slot, params->timeline, log->at, err);
    if (ok)
        return true;
    postgresql_log_close(log);
    *out = NULL;
    return false;
}

static void wake(PostgresqlLog *log)
{
    uint64_t one = 1;
    ssize_t ignored = write(log->wake, &one, sizeof one); /* full is awake too */
    (void)ignored;
}

void postgresql_log_stop(PostgresqlLog *log, uint64_t stop)
{
    pthread_mutex_lock(&log->lock);
    log->stop_known = true;
    log->stop = stop;
    pthread_mutex_unlock(&log->lock);
    wake(log);
}

void postgresql_log_fail(PostgresqlLog *log, const Err *why)
{
    pthread_mutex_lock(&log->lock);
    if (!log->failed)
        log->why = *why;
    log->failed = true;
    pthread_mutex_unlock(&log->lock);
    wake(log);
}

bool postgresql_log_failed(PostgresqlLog *log, Err *err)
{
    pthread_mutex_lock(&log->lock);
    bool failed = log->failed;
    if (failed)
        *err = log->why;
    pthread_mutex_unlock(&log->lock);
    return failed;
}

/* True: everything up to the stop was read. *known: the stop is. */
static bool reached(PostgresqlLog *log, bool *known)
{
    pthread_mutex_lock(&log->lock);
    *known = log->stop_known;
    bool reached = log->stop_known && log->at >= log->stop;
    pthread_mutex_unlock(&log->lock);
    return reached;
}

/* Until there are bytes to read, or the stop is reached: then the piece is empty. */
static bool wait(PostgresqlLog *log, Err *err)
{
    bool known;
    while (!reached(log, &known) && log->piece.len == 0) {
        uint64_t at;
        if (postgresql_log_failed(log, err))
            return false;
        /* Once awake, the descriptor stays readable and would not let us rest any more. */
        if (!postgresql_receive_next(log->receive, known ? -1 : log->wake, &log->piece, &at, err))
            return false;
        if (log->piece.len > 0 && at != log->at)
            return err_set(err, ERR_SOURCE, "source.protocol",
                           "the server's log came with a hole in it; run the backup again");
    }
    return true;
}

static void describe(PostgresqlLog *log, const char *name, uint64_t size, Entry *entry)
{
    buf_clear(&log->path);
    buf_printf(&log->path, "pg_wal/%s", name);
    *entry = (Entry){.path = buf_text(&log->path),
                     .type = ENTRY_FILE,
                     .cut = CUT_DUMP,
                     .phase = POSTGRESQL_PHASE_FILL,
                     .mode = 0600,
                     .uid = log->params.uid,
                     .gid = log->params.gid,
                     .size = size};
    log->files++;
}

bool postgresql_log_next(PostgresqlLog *log, Entry *entry, bool *more, Err *err)
{
    char name[POSTGRESQL_WAL_NAME];
    bool known;
    *more = true;
    log->in_history = !log->history_done;
    if (log->in_history) {
        log->history_done = true;
        describe(log, buf_cstr(&log->history_name), log->history.len, entry);
        return true;
    }
    if (log->params.acknowledge)
        postgresql_receive_safe(log->receive, log->at);
    if (!wait(log, err))
        return false;
    log->over = reached(log, &known);
    *more = !log->over;
    if (*more) {
        postgresql_wal_name(log->params.timeline, log->at, log->params.system->segment, name);
        describe(log, name, log->params.system->segment, entry);
        log->file_end = log->at + log->params.system->segment;
    }
    return true;
}

static size_t read_history(PostgresqlLog *log, uint8_t *at, size_t room)
{
    size_t part = log->history.len - log->history_at;
    part = part < room ? part : room;
    memcpy(at, log->history.at + log->history_at, part);
    log->history_at += part;
    return part;
}

bool postgresql_log_read(PostgresqlLog *log, uint8_t *at, size_t room, size_t *got, uint64_t *zeros,
                         Err *err)
{
    *got = 0;
    *zeros = 0;
    if (log->in_history) {
        *got = read_history(log, at, room);
        return true;
    }
    if (log->at == log->file_end)
        return true;
    if (!wait(log, err))
        return false;
    uint64_t left = log->file_end - log->at;
    if (log->piece.len == 0) { /* behind the stop: the server has nothing there yet either */
        *zeros = left;
        log->at += left;
        log->bytes += left;
        return true;
    }
    size_t part = log->piece.len < room ? log->piece.len : room;
    part = part < left ? part : (size_t)left;
    memcpy(at, log->piece.at, part);
    log->piece = (Slice){log->piece.at + part, log->piece.len - part};
    log->at += part;
    log->bytes += part;
    *got = part;
    return true;
}

bool postgresql_log_whole(const PostgresqlLog *log)
{
    return log->over;
}

uint64_t postgresql_log_bytes(const PostgresqlLog *log)
{
    return log->bytes;
}

unsigned postgresql_log_files(const PostgresqlLog *log)
{
    return log->files;
}

void postgresql_log_close(PostgresqlLog *log)
{
    if (log == NULL)
        return;
    postgresql_receive_close(log->receive);
    if (log->wake >= 0)
        close(log->wake);
    pthread_mutex_destroy(&log->lock);
    buf_free(&log->path);
    buf_free(&log->history_name);
    buf_free(&log->history);
    mem_free(log);
}
