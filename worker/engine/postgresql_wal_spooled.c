/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_wal_spooled.h"

#include "common/base/crashpoint.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/engine/postgresql_wal_file.h"
#include "worker/engine/postgresql_wal_plan.h"
#include "worker/engine/postgresql_wal_receipt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef PostgresqlWalPiece Piece;

enum { SYSTEM_ROOM = sizeof((PostgresqlWalPlan *)NULL)->system };

typedef struct Spooled {
    Source source;
    const EngineHost *host;
    PostgresqlSpool spool;
    bool opened; /* the spool */
    int64_t from_ns;
    bool has_prefix;
    char prefix[POSTGRESQL_SPOOL_SHA256];
    PostgresqlWalPlan plan;
    size_t next;
    int fd; /* of the piece that is read; -1: none */
    uint64_t bytes;
    HashSha256 *hash, *prefix_hash;
    PostgresqlWalScan scan;
    int64_t latest_us;
    char note[48];
    Buf position, details;
} Spooled;

static Spooled *self(const Source *source)
{
    return (Spooled *)(uintptr_t)source;
}

bool postgresql_wal_spooled_asked(const EngineParams *params)
{
    return text_equal(json_text_or(params->config, "from", TEXT("")), TEXT("spool"));
}

/* --- whose log ------------------------------------------------------------------------------ */

static bool take_request(Spooled *s, const json_t *request, Err *err)
{
    const json_t *log = json_object_get(request, "log");
    if (!json_is_object(log))
        return true;
    Text end = json_text_or(log, "end", TEXT("")), system = json_text_or(log, "system", TEXT(""));
    Text prefix = json_text_or(log, "sha256", TEXT(""));
    if (!postgresql_lsn_parse(end, &s->plan.from))
        return err_set(err, ERR_BUG, "source.log_request", "%.*s is no position of a log",
                       TEXT_ARG(end));
    snprintf(s->plan.system, sizeof s->plan.system, "%.*s", TEXT_ARG(system));
    s->plan.has_from = true;
    s->plan.from_timeline = (uint32_t)json_u64_or(log, "timeline", 0);
    s->from_ns = (int64_t)json_u64_or(log, "at_us", 0) * 1000;
    s->has_prefix = prefix.len == sizeof s->prefix - 1;
    if (s->has_prefix)
        memcpy(s->prefix, prefix.at, prefix.len);
    return true;
}

/* Which of the spool's folders is this source's, only its server can say. */
static bool ask_server(const Spooled *s, const json_t *config, char system[SYSTEM_ROOM], Err *err)
{
    PostgresqlLink *link = NULL;
    PGconn *conn = NULL;
    PGresult *result = NULL;
    bool fine =
        postgresql_link_open(&link, config, s->host, "source", err) &&
        postgresql_link_connect(link, TEXT(""), &conn, err) &&
        postgresql_link_query(link, conn, "asking who the server is",
                              "SELECT system_identifier FROM pg_catalog.pg_control_system()", NULL,
                              0, &result, err);
    if (fine)
        snprintf(system, SYSTEM_ROOM, "%s", PQgetvalue(result, 0, 0));
    postgresql_link_clear(&result);
    postgresql_link_disconnect(&conn);
    postgresql_link_close(link);
    return fine;
}

/* Of the first batch; the ones after it need no server. */
static bool ask_system(Spooled *s, const json_t *config, Err *err)
{
    return s->plan.has_from || ask_server(s, config, s->plan.system, err);
}

/* Where nothing came, another cluster may push from that address by now, into another folder. A
 * server that does not answer says nothing of it. */
static bool is_still_it(const Spooled *s, const json_t *config, Err *err)
{
    char system[SYSTEM_ROOM] = "";
    Err away = {0};
    if (s->plan.count > 0 || !ask_server(s, config, system, &away) ||
        strcmp(system, s->plan.system) == 0)
        return true;
    return err_set(err, ERR_CONFLICT, "source.other_system",
                   "the log that is stored is of the system %s, the server is %s: what that one "
                   "pushed stays in %s/%s; give it a source of its own",
                   s->plan.system, system, s->host->wal_spool, system);
}

/* --- what belongs to the batch -------------------------------------------------------------- */

static void tell_gap(const Spooled *s)
{
    char text[300], from[POSTGRESQL_LSN_TEXT], to[POSTGRESQL_LSN_TEXT];
    postgresql_lsn_text(s->plan.gap_from, from);
    postgresql_lsn_text(s->plan.gap_to, to);
    snprintf(text, sizeof text,
             "the log from %s to %s was never pushed: no restore crosses it; a new base backup "
             "begins a new window; was archive_command another one for a while?",
             from, to);
    Issue issue = {ISSUE_NOTE, 0, text_of("pg_wal"), text_of(text)};
    s->host->note(s->host->ctx, "wal.gap", text);
    s->host->issue(s->host->ctx, &issue);
}

static bool make_plan(Spooled *s, const json_t *config, Err *err)
{
    bool spooled = text_equal(json_text_or(config, "returns", TEXT("stored")), TEXT("spooled"));
    if (s->host->wal_spool == NULL)
        return err_set(err, ERR_MISSING, "wal.no_spool",
                       "wal_spool is empty in this worker's file: name the directory that wal-push "
                       "writes to");
    if (!postgresql_spool_open(&s->spool, s->host->wal_spool, s->plan.system, false, err))
        return false;
    s->opened = true;
    s->plan.spool = &s->spool;
    if (!postgresql_spool_set_returns(&s->spool, spooled, err) ||
        !postgresql_wal_plan_make(&s->plan, err))
        return false;
    if (s->plan.gap)
        tell_gap(s);
    return true;
}

static const SourceOps ops;

bool postgresql_wal_spooled_open(Source **out, const EngineParams *params, Err *err)
{
    Spooled *s = mem_new(Spooled);
    s->source.ops = &ops;
    s->host = params->host;
    s->fd = -1;
    s->hash = hash_sha256_new();
    s->prefix_hash = hash_sha256_new();
    if (take_request(s, params->request, err) && ask_system(s, params->config, err) &&
        make_plan(s, params->config, err) && is_still_it(s, params->config, err)) {
        *out = &s->source;
        return true;
    }
    ops.close(&s->source);
    *out = NULL;
    return false;
}

/* --- entries -------------------------------------------------------------------------------- */

static unsigned lanes(const Source *source)
{
    (void)source;
    return 1;
}

static bool source_idle(const Source *source)
{
    return self(source)->plan.count == 0;
}

static bool source_next(Source *source, unsigned lane, Entry *entry, bool *more, Err *err)
{
    Spooled *s = self(source);
    uint8_t head[POSTGRESQL_WAL_HEAD] = {0};
    PostgresqlWalHead found;
    (void)lane;
    *more = s->next < s->plan.count;
    if (!*more)
        return true;
    const Piece *piece = &s->plan.pieces[s->next];
    s->bytes = 0;
    *entry = (Entry){.type = ENTRY_STREAM,
                     .cut = piece->history != NULL ? CUT_DUMP : CUT_IMAGE,
                     .mode = 0600,
                     .path = text_of(piece->name)};
    if (piece->history != NULL) {
        entry->size = piece->history->len;
        return true;
    }
    snprintf(s->note, sizeof s->note, "{\"segment_bytes\":%u}", piece->segment_bytes);
    entry->note = text_of(s->note);
    entry->size = piece->end - piece->start;
    s->fd = postgresql_spool_file(&s->spool, s->spool.fd, piece->file, err);
    if (s->fd < 0)
        return err->code != ERR_NONE ? false
                                     : err_set(err, ERR_SOURCE, "wal.spool_damaged",
                                               "%s vanished from %s while it was to be stored",
                                               piece->name, s->spool.path);
    if (pread(s->fd, head, sizeof head, 0) < 0)
        return err_set_sys(err, ERR_IO, "wal.spool", "reading %s in %s", piece->name,
                           s->spool.path);
    if (!postgresql_wal_head_parse(text_of(piece->name), (Slice){head, sizeof head}, &found, err))
        return false;
    postgresql_wal_scan_begin(&s->scan, &found);
    return true;
}

/* What is stored of the segment already must be its beginning. */
static bool check_prefix(Spooled *s, const Piece *piece, Slice bytes, Err *err)
{
    Sha256 sha256;
    char found[POSTGRESQL_SPOOL_SHA256];
    uint64_t len = s->plan.from - piece->start;
    if (!s->has_prefix || s->plan.gap || piece->timeline != s->plan.from_timeline ||
        piece->start >= s->plan.from || s->plan.from > piece->end || s->bytes >= len)
        return true;
    size_t take = bytes.len < len - s->bytes ? bytes.len : (size_t)(len - s->bytes);
    hash_sha256_add(s->prefix_hash, (Slice){bytes.at, take});
    if (s->bytes + take < len)
        return true;
    hash_sha256_end(s->prefix_hash, &sha256);
    ids_hex(sha256.bytes, sizeof sha256.bytes, found);
    if (memcmp(found, s->prefix, sizeof found - 1) == 0)
        return true;
    return err_set(err, ERR_CONFLICT, "source.log_spliced",
                   "%s of timeline %u is not what was stored of it: the server was set back to an "
                   "earlier state, or two servers write one timeline; give what runs now a source "
                   "of its own, and restore what is stored to before the two parted",
                   piece->name, piece->timeline);
}

static bool read_file(Spooled *s, const Piece *piece, uint8_t *at, size_t room, size_t *got,
                      Err *err)
{
    uint64_t left = piece->end - piece->start - s->bytes;
    if (left < room)
        room = (size_t)left;
    *got = 0;
    while (room > 0) {
        ssize_t some = read(s->fd, at, room);
        if (some < 0 && errno == EINTR)
            continue;
        if (some < 0)
            return err_set_sys(err, ERR_IO, "wal.spool", "reading %s in %s", piece->name,
                               s->spool.path);
        *got = (size_t)some;
        return true;
    }
    return true;
}

static bool source_read(Source *source, unsigned lane, uint8_t *at, size_t room, size_t *got,
                        uint64_t *zeros, Err *err)
{
    Spooled *s = self(source);
    const Piece *piece = &s->plan.pieces[s->next];
    (void)lane;
    *zeros = 0;
    if (piece->history != NULL) {
        size_t left = piece->history->len - (size_t)s->bytes;
        *got = left < room ? left : room;
        memcpy(at, piece->history->at + s->bytes, *got);
    } else {
        if (!read_file(s, piece, at, room, got, err) ||
            !check_prefix(s, piece, (Slice){at, *got}, err))
            return false;
        postgresql_wal_scan_add(&s->scan, (Slice){at, *got});
    }
    hash_sha256_add(s->hash, (Slice){at, *got});
    s->bytes += *got;
    return true;
}

/* Of a part: the whole file is what a push that comes again is held against. */
static bool hash_file(Spooled *s, Piece *piece, Err *err)
{
    uint8_t bytes[65536];
    ssize_t got;
    piece->file_sha256 = piece->sha256;
    if (piece->end == piece->start + piece->segment_bytes)
        return true;
    if (lseek(s->fd, 0, SEEK_SET) != 0)
        return err_set_sys(err, ERR_IO, "wal.spool", "reading %s", piece->name);
    while ((got = read(s->fd, bytes, sizeof bytes)) > 0 || (got < 0 && errno == EINTR))
        if (got > 0)
            hash_sha256_add(s->hash, (Slice){bytes, (size_t)got});
    hash_sha256_end(s->hash, &piece->file_sha256);
    return got == 0 || err_set_sys(err, ERR_IO, "wal.spool", "reading %s", piece->name);
}

static bool source_end(Source *source, unsigned lane, Entry *entry, bool *keep, Err *err)
{
    Spooled *s = self(source);
    Piece *piece = &s->plan.pieces[s->next];
    (void)lane;
    *keep = true;
    hash_sha256_end(s->hash, &piece->sha256);
    entry->size = s->bytes;
    s->next++;
    if (piece->history != NULL)
        return true;
    bool fine = hash_file(s, piece, err);
    close(s->fd);
    s->fd = -1;
    /* A line that was left goes on without us: what is committed there is not in ours. */
    if (piece->timeline >= s->plan.from_timeline && s->scan.latest_us > s->latest_us)
        s->latest_us = s->scan.latest_us;
    if (fine && (s->bytes != piece->end - piece->start ||
                 s->scan.sound < s->bytes - s->bytes % s->scan.head.page_bytes))
        return err_set(err, ERR_SOURCE, "wal.spool_damaged",
                       "%s in %s is damaged after %llu bytes: what follows is no page of this "
                       "segment; move it away",
                       piece->name, s->spool.path, (unsigned long long)s->scan.sound);
    return fine;
}

/* --- the receipt ---------------------------------------------------------------------------- */

static json_t *segments_json(const Spooled *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->plan.count; i++) {
        const Piece *piece = &s->plan.pieces[i];
        if (piece->history == NULL)
            json_array_append_new(list, postgresql_wal_segment_json(piece->name, piece->timeline,
                                                                    piece->start, piece->end,
                                                                    &piece->sha256));
    }
    return list;
}

static json_t *log_json(const Spooled *s)
{
    const Piece *first = &s->plan.pieces[0], *last = first;
    for (size_t i = 0; i < s->plan.count; i++)
        if (s->plan.pieces[i].history == NULL)
            last = &s->plan.pieces[i];
    /* What comes once more does not set the log back. */
    bool again =
        s->plan.has_from && (last->timeline < s->plan.from_timeline ||
                             (last->timeline == s->plan.from_timeline && last->end < s->plan.from));
    json_t *log = json_pack(
        "{s:s, s:I, s:I, s:o, s:o, s:I, s:s, s:b, s:o, s:o}", "system", s->plan.system, "timeline",
        (json_int_t)(again ? s->plan.from_timeline : last->timeline), "segment_bytes",
        (json_int_t)last->segment_bytes, "start", postgresql_wal_lsn_json(first->start), "end",
        postgresql_wal_lsn_json(again ? s->plan.from : last->end), "lag", (json_int_t)0, "slot", "",
        "reached", s->plan.reached, "segments", segments_json(s), "histories",
        postgresql_wal_histories_json(&s->plan.line));
    if (s->plan.gap)
        json_object_set_new(log, "gap",
                            json_pack("{s:o, s:o}", "from",
                                      postgresql_wal_lsn_json(s->plan.gap_from), "to",
                                      postgresql_wal_lsn_json(s->plan.gap_to)));
    return log;
}

/* The latest commit's, and never before what the batch before reached. Of a first batch without any
 * commit the file's own time stands in: all that lies before it in the log is older. */
static int64_t instant_ns(const Spooled *s)
{
    int64_t at = s->latest_us == 0 ? 0 : (s->latest_us - 1) * 1000;
    if (at < s->from_ns)
        at = s->from_ns;
    return at != 0 ? at : s->plan.oldest_file_us * 1000;
}

static bool source_finish(Source *source, Receipt *receipt, Err *err)
{
    Spooled *s = self(source);
    if (s->next != s->plan.count)
        return err_set(err, ERR_BUG, "source.order", "finish before the last entry ended");
    scoped(json_release) json_t *details = json_pack("{s:o}", "log", log_json(s));
    const json_t *log = json_object_get(details, "log");
    json_canonical(details, &s->details);
    buf_printf(&s->position, "LSN %s timeline %llu", json_string_value(json_object_get(log, "end")),
               (unsigned long long)json_u64_or(log, "timeline", 0));
    *receipt = (Receipt){.consistent_ns = instant_ns(s),
                         .position = buf_text(&s->position),
                         .details = buf_text(&s->details)};
    return true;
}

static bool source_stored(Source *source, Err *err)
{
    Spooled *s = self(source);
    for (size_t i = 0; i < s->plan.count; i++) {
        const Piece *piece = &s->plan.pieces[i];
        if (piece->history != NULL || piece->borrowed)
            continue;
        if (!postgresql_spool_mark(&s->spool, piece->file, &piece->file_sha256, err))
            return false;
        CRASHPOINT("wal.marked");
    }
    return postgresql_spool_sync(&s->spool, s->spool.fd, err) &&
           postgresql_spool_tidy(&s->spool, err);
}

static void source_close(Source *source)
{
    Spooled *s = self(source);
    if (s->fd >= 0)
        close(s->fd);
    if (s->opened)
        postgresql_spool_close(&s->spool);
    postgresql_wal_plan_free(&s->plan);
    hash_sha256_free(s->hash);
    hash_sha256_free(s->prefix_hash);
    buf_free(&s->position);
    buf_free(&s->details);
    mem_free(s);
}

static const SourceOps ops = {
    .lanes = lanes,
    .next = source_next,
    .read = source_read,
    .end = source_end,
    .finish = source_finish,
    .idle = source_idle,
    .stored = source_stored,
    .close = source_close,
};
