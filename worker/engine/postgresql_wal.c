/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_wal.h"

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/engine/postgresql_wal_receipt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SEGMENTS_MOST = 256, /* of one batch: what is behind by more is caught up with in several */
    NAME_MOST = 64,
};

/* A third of what a log may stand still before it is told. */
static const int64_t IDLE_MOST_US = INT64_C(300) * 1000000;

/* One entry of the batch. */
typedef struct Piece {
    uint32_t timeline;
    uint64_t start, end;
    const Buf *history; /* NULL: a segment */
    Sha256 sha256;
} Piece;

typedef struct Wal {
    Source source;
    const EngineHost *host;
    PostgresqlLink *link;
    PostgresqlWalServer server;
    char slot[64];
    bool has_from; /* a batch before this one is committed */
    uint32_t from_timeline;
    uint64_t from;
    int64_t from_ns; /* what the batch before reached */
    bool has_prefix; /* the segment with `from` is stored up to there; its sha256: */
    char prefix[2 * sizeof(Sha256) + 1];
    HashSha256 *prefix_hash;
    uint64_t prefix_left; /* bytes of the piece that is read, up to `from` */
    bool gap;
    uint64_t gap_from, gap_to;
    bool reached; /* all that the server had flushed is in it */
    Piece *pieces;
    size_t count, next;
    PostgresqlStream *stream;
    uint32_t stream_timeline;
    uint64_t history_at;
    HashSha256 *hash;
    uint64_t bytes;
    char name[NAME_MOST], note[48];
    Buf position, details;
} Wal;

static Wal *self(const Source *source)
{
    return (Wal *)(uintptr_t)source;
}

bool postgresql_wal_asked(const EngineParams *params)
{
    Text usual = json_text_or(params->config, "method", TEXT(""));
    return text_equal(json_text_or(params->request, "method", usual), TEXT("wal"));
}

/* --- what belongs to the batch ---------------------------------------------------------------- */

static bool take_request(Wal *wal, const json_t *request, Err *err)
{
    const json_t *log = json_object_get(request, "log");
    if (!json_is_object(log))
        return true;
    Text system = json_text_or(log, "system", TEXT("")), end = json_text_or(log, "end", TEXT(""));
    if (!postgresql_lsn_parse(end, &wal->from))
        return err_set(err, ERR_BUG, "source.log_request", "%.*s is no position of a log",
                       TEXT_ARG(end));
    if (!text_equal(system, text_of(wal->server.system)))
        return err_set(err, ERR_CONFLICT, "source.other_system",
                       "the log that is stored is of the system %.*s, the server is %s: another "
                       "cluster is at this address; give it a source of its own",
                       TEXT_ARG(system), wal->server.system);
    uint32_t timeline = (uint32_t)json_u64_or(log, "timeline", 0);
    if (timeline == wal->server.timeline && wal->server.flushed < wal->from) {
        char at[POSTGRESQL_LSN_TEXT];
        postgresql_lsn_text(wal->server.flushed, at);
        return err_set(
            err, ERR_BUSY, "source.log_behind",
            "the server's log stands at %s, and %.*s is stored already: is this a standby "
            "that lags, or a copy of the server that was set back?",
            at, TEXT_ARG(end));
    }
    wal->has_from = true;
    wal->from_timeline = timeline;
    wal->from_ns = (int64_t)json_u64_or(log, "at_us", 0) * 1000;
    Text prefix = json_text_or(log, "sha256", TEXT(""));
    wal->has_prefix = prefix.len == sizeof wal->prefix - 1;
    if (wal->has_prefix)
        memcpy(wal->prefix, prefix.at, prefix.len);
    return true;
}

/* A standby that was started and replayed no commit yet knows no instant: the one before stays. */
static bool settle_instant(Wal *wal, Err *err)
{
    if (wal->server.at_us == 0)
        wal->server.at_us = wal->from_ns / 1000;
    return wal->server.at_us != 0 ||
           err_set(err, ERR_BUSY, "source.no_instant",
                   "this standby has replayed no commit since it was started, so nobody can say "
                   "which instant its log reaches: the first batch waits for one");
}

static void add_piece(Wal *wal, const Piece *piece)
{
    wal->pieces = mem_resize(wal->pieces, (wal->count + 1) * sizeof *wal->pieces);
    wal->pieces[wal->count++] = *piece;
}

static bool room_for_more(const Wal *wal)
{
    return !wal->has_from || wal->count < SEGMENTS_MOST;
}

/* Segments of one timeline; false: the batch is full. */
static bool add_segments(Wal *wal, uint32_t timeline, uint64_t start, uint64_t end)
{
    uint64_t size = wal->server.segment_bytes;
    for (uint64_t at = start - start % size; at < end; at += size) {
        if (!room_for_more(wal))
            return false;
        uint64_t until = at + size < end ? at + size : end;
        add_piece(wal, &(Piece){.timeline = timeline, .start = at, .end = until});
    }
    return true;
}

static const PostgresqlTimeline *timeline_of(const PostgresqlWalServer *server, uint32_t number)
{
    for (size_t i = 0; i < server->timeline_count; i++)
        if (server->timelines[i].number == number)
            return &server->timelines[i];
    return NULL;
}

/* From where: what is stored, on its own line of timelines; else what the slot keeps. */
static void choose_start(const Wal *wal, uint32_t *timeline, uint64_t *start)
{
    const PostgresqlWalServer *server = &wal->server;
    *timeline = server->timeline;
    *start = server->kept_from;
    /* A slot that is younger than a promotion may keep log from before it, of the timeline it was.
     */
    for (size_t i = 0; i < server->timeline_count; i++)
        if (server->timelines[i].start <= server->kept_from)
            *timeline = server->timelines[i].number;
    if (!wal->has_from || wal->gap)
        return;
    if (timeline_of(server, wal->from_timeline) != NULL) {
        *timeline = wal->from_timeline;
        *start = wal->from;
    }
}

static void plan(Wal *wal)
{
    const PostgresqlWalServer *server = &wal->server;
    uint32_t first;
    uint64_t start;
    choose_start(wal, &first, &start);
    wal->count = wal->next = 0;
    wal->reached = true;
    for (size_t i = 0; wal->reached && i < server->timeline_count; i++) {
        const PostgresqlTimeline *timeline = &server->timelines[i];
        bool last = i + 1 == server->timeline_count;
        uint64_t end = last ? server->flushed : server->timelines[i + 1].start;
        if (timeline->number < first)
            continue;
        /* In every batch: a segment is never stored without the history that leads to it. */
        if (server->histories[i].len > 0)
            add_piece(wal,
                      &(Piece){.timeline = timeline->number, .history = &server->histories[i]});
        uint64_t begin = timeline->number == first ? start : timeline->start;
        if (begin < end)
            wal->reached = add_segments(wal, timeline->number, begin, end);
    }
}

/* --- the stream --------------------------------------------------------------------------------
 */

static const Piece *first_segment(const Wal *wal)
{
    for (size_t i = 0; i < wal->count; i++)
        if (wal->pieces[i].history == NULL)
            return &wal->pieces[i];
    return NULL;
}

/* Before the batch's first segment all that leads to it is stored: so much the slot may forget. */
static bool open_stream(Wal *wal, const Piece *piece, Err *err)
{
    PostgresqlStreamParams params = {.link = wal->link,
                                     .host = wal->host,
                                     .slot = wal->slot,
                                     .timeline = piece->timeline,
                                     .start = piece->start,
                                     .safe = first_segment(wal)->start};
    postgresql_stream_close(wal->stream);
    wal->stream = NULL;
    if (!postgresql_stream_open(&wal->stream, &params, err))
        return false;
    wal->stream_timeline = piece->timeline;
    return postgresql_stream_peek(wal->stream, piece->end, err);
}

static void tell_gap(Wal *wal)
{
    char text[300], from[POSTGRESQL_LSN_TEXT], to[POSTGRESQL_LSN_TEXT];
    postgresql_lsn_text(wal->gap_from, from);
    postgresql_lsn_text(wal->gap_to, to);
    snprintf(text, sizeof text,
             "the log from %s to %s is gone from the server and was never stored: no restore "
             "crosses it; a new base backup begins a new window; %s",
             from, to,
             wal->server.slot_lost
                 ? "max_slot_wal_keep_size let the slot lose it: raise it, and see why nothing was "
                   "fetched for so long"
                 : "see who dropped the slot, and how long the server was not reached");
    Issue issue = {ISSUE_NOTE, 0, text_of("pg_wal"), text_of(text)};
    wal->host->note(wal->host->ctx, "wal.gap", text);
    wal->host->issue(wal->host->ctx, &issue);
}

/* The server may have thrown away what is to follow: then the log goes on after the hole. */
static bool begin(Wal *wal, Err *err)
{
    plan(wal);
    const Piece *first = first_segment(wal);
    bool follows = timeline_of(&wal->server, wal->from_timeline) != NULL;
    bool refused = false;
    if (first == NULL)
        return true;
    if (!wal->has_from || follows) {
        if (open_stream(wal, first, err))
            return true;
        refused = strcmp(err->cause, "source.wal_gone") == 0;
        if (!refused || !wal->has_from)
            return false;
    }
    /* Also where the server's line of timelines does not lead through what is stored. */
    *err = (Err){0};
    wal->gap = true;
    wal->gap_from = wal->from;
    wal->gap_to = wal->server.kept_from;
    plan(wal);
    first = first_segment(wal);
    tell_gap(wal);
    return first == NULL || open_stream(wal, first, err);
}

static void take_slot(Wal *wal, const json_t *config)
{
    Text slot = json_text_or(config, "slot", TEXT("holdfast"));
    snprintf(wal->slot, sizeof wal->slot, "%.*s", TEXT_ARG(slot));
}

/* An idle server's batch is left out, but one now and then: so its last instant goes on. */
static uint64_t known_xid(const EngineParams *params)
{
    const json_t *log = json_object_get(params->request, "log");
    int64_t at_us = (int64_t)json_u64_or(log, "at_us", 0);
    bool young = clock_wall_ns() / 1000 - at_us < IDLE_MOST_US;
    return young ? json_u64_or(log, "next_xid", 0) : 0;
}

static const SourceOps ops;

/* Of a server whose timeline is another one there is something to store. */
static bool source_idle(const Source *source)
{
    const Wal *wal = self(source);
    return wal->server.quiet && wal->has_from && !wal->gap &&
           wal->from_timeline == wal->server.timeline;
}

bool postgresql_wal_source_open(Source **out, const EngineParams *params, Err *err)
{
    Wal *wal = mem_new(Wal);
    wal->source.ops = &ops;
    wal->host = params->host;
    wal->hash = hash_sha256_new();
    wal->prefix_hash = hash_sha256_new();
    take_slot(wal, params->config);
    if (postgresql_link_open(&wal->link, params->config, params->host, "source", err) &&
        postgresql_wal_server_look(&wal->server, wal->link, wal->slot, known_xid(params), err) &&
        take_request(wal, params->request, err) && settle_instant(wal, err) &&
        (source_idle(&wal->source) || begin(wal, err))) {
        *out = &wal->source;
        return true;
    }
    ops.close(&wal->source);
    *out = NULL;
    return false;
}

/* --- entries -----------------------------------------------------------------------------------
 */

static unsigned lanes(const Source *source)
{
    (void)source;
    return 1;
}

static bool is_partial(const Wal *wal, const Piece *piece)
{
    return piece->end % wal->server.segment_bytes != 0;
}

static void name_piece(const Wal *wal, const Piece *piece, char out[NAME_MOST])
{
    char segment[POSTGRESQL_WAL_NAME];
    if (piece->history != NULL) {
        snprintf(out, NAME_MOST, "%08X.history", piece->timeline);
        return;
    }
    postgresql_wal_name(piece->timeline, piece->start, wal->server.segment_bytes, segment);
    snprintf(out, NAME_MOST, "%s%s", segment, is_partial(wal, piece) ? ".partial" : "");
}

/* Of this piece the beginning is stored already. */
static uint64_t prefix_of(const Wal *wal, const Piece *piece)
{
    bool has = wal->has_prefix && !wal->gap && piece->history == NULL &&
               piece->timeline == wal->from_timeline && piece->start < wal->from &&
               wal->from <= piece->end;
    return has ? wal->from - piece->start : 0;
}

static bool source_next(Source *source, unsigned lane, Entry *entry, bool *more, Err *err)
{
    Wal *wal = self(source);
    (void)lane;
    *more = wal->next < wal->count;
    if (!*more)
        return true;
    const Piece *piece = &wal->pieces[wal->next];
    wal->bytes = wal->history_at = 0;
    wal->prefix_left = prefix_of(wal, piece);
    name_piece(wal, piece, wal->name);
    *entry = (Entry){.type = ENTRY_STREAM,
                     .cut = piece->history != NULL ? CUT_DUMP : CUT_IMAGE,
                     .mode = 0600,
                     .path = text_of(wal->name)};
    if (piece->history != NULL) {
        entry->size = piece->history->len;
        return true;
    }
    snprintf(wal->note, sizeof wal->note, "{\"segment_bytes\":%llu}",
             (unsigned long long)wal->server.segment_bytes);
    entry->note = text_of(wal->note);
    entry->size = piece->end - piece->start;
    if (wal->stream == NULL || wal->stream_timeline != piece->timeline)
        return open_stream(wal, piece, err);
    return true;
}

/* What is stored must be what the server still has there: else it was set back to an earlier state,
 * or another server writes the same timeline, and what follows belongs to another past. */
static bool check_prefix(Wal *wal, const Piece *piece, Slice bytes, Err *err)
{
    Sha256 sha256;
    char found[sizeof wal->prefix];
    if (wal->prefix_left == 0)
        return true;
    size_t take = bytes.len < wal->prefix_left ? bytes.len : (size_t)wal->prefix_left;
    hash_sha256_add(wal->prefix_hash, (Slice){bytes.at, take});
    wal->prefix_left -= take;
    if (wal->prefix_left > 0)
        return true;
    hash_sha256_end(wal->prefix_hash, &sha256);
    ids_hex(sha256.bytes, sizeof sha256.bytes, found);
    if (memcmp(found, wal->prefix, sizeof found - 1) == 0)
        return true;
    return err_set(err, ERR_CONFLICT, "source.log_spliced",
                   "%s of timeline %u is not what was stored of it: the server was set back to an "
                   "earlier state, or two servers write one timeline; give what runs now a source "
                   "of its own, and restore what is stored to before the two parted",
                   wal->name, piece->timeline);
}

static bool source_read(Source *source, unsigned lane, uint8_t *at, size_t room, size_t *got,
                        uint64_t *zeros, Err *err)
{
    Wal *wal = self(source);
    const Piece *piece = &wal->pieces[wal->next];
    (void)lane;
    *zeros = 0;
    if (piece->history != NULL) {
        size_t left = piece->history->len - wal->history_at;
        *got = left < room ? left : room;
        memcpy(at, piece->history->at + wal->history_at, *got);
        wal->history_at += *got;
    } else if (!postgresql_stream_read(wal->stream, piece->end, at, room, got, err)) {
        return false;
    }
    hash_sha256_add(wal->hash, (Slice){at, *got});
    wal->bytes += *got;
    return check_prefix(wal, piece, (Slice){at, *got}, err);
}

static bool source_end(Source *source, unsigned lane, Entry *entry, bool *keep, Err *err)
{
    Wal *wal = self(source);
    Piece *piece = &wal->pieces[wal->next++];
    (void)lane;
    *keep = true;
    hash_sha256_end(wal->hash, &piece->sha256);
    entry->size = wal->bytes;
    if (piece->history == NULL && wal->bytes != piece->end - piece->start)
        return err_set(err, ERR_BUG, "source.short_segment", "%s ended after %llu bytes", wal->name,
                       (unsigned long long)wal->bytes);
    return true;
}

/* --- the receipt -------------------------------------------------------------------------------
 */

static json_t *segments_json(const Wal *wal)
{
    json_t *list = json_array();
    for (size_t i = 0; i < wal->count; i++) {
        const Piece *piece = &wal->pieces[i];
        char name[NAME_MOST];
        if (piece->history != NULL)
            continue;
        name_piece(wal, piece, name);
        json_array_append_new(list, postgresql_wal_segment_json(name, piece->timeline, piece->start,
                                                                piece->end, &piece->sha256));
    }
    return list;
}

static json_t *log_json(const Wal *wal)
{
    const Piece *first = first_segment(wal), *last = first;
    for (size_t i = 0; i < wal->count; i++)
        if (wal->pieces[i].history == NULL)
            last = &wal->pieces[i];
    uint64_t start = first == NULL ? wal->from : first->start;
    uint64_t end = last == NULL ? wal->from : last->end;
    uint32_t timeline = last == NULL ? wal->server.timeline : last->timeline;
    json_t *log = json_pack(
        "{s:s, s:I, s:I, s:o, s:o, s:I, s:s, s:b, s:o, s:o}", "system", wal->server.system,
        "timeline", (json_int_t)timeline, "segment_bytes", (json_int_t)wal->server.segment_bytes,
        "start", postgresql_wal_lsn_json(start), "end", postgresql_wal_lsn_json(end), "lag",
        (json_int_t)(wal->server.flushed - wal->server.kept_from), "slot", wal->slot, "reached",
        wal->reached, "segments", segments_json(wal), "histories",
        postgresql_wal_histories_json(&wal->server));
    /* What is not in it yet may have been committed before that number was read. */
    if (wal->reached && wal->server.next_xid != 0)
        json_object_set_new(log, "next_xid", json_integer((json_int_t)wal->server.next_xid));
    if (wal->gap)
        json_object_set_new(log, "gap",
                            json_pack("{s:o, s:o, s:s}", "from",
                                      postgresql_wal_lsn_json(wal->gap_from), "to",
                                      postgresql_wal_lsn_json(wal->gap_to), "why",
                                      wal->server.slot_lost ? "slot_lost" : "slot_gone"));
    json_object_set_new(log, "keeps", json_integer((json_int_t)wal->server.keeps));
    return log;
}

static bool source_finish(Source *source, Receipt *receipt, Err *err)
{
    Wal *wal = self(source);
    if (wal->next != wal->count)
        return err_set(err, ERR_BUG, "source.order", "finish before the last entry ended");
    scoped(json_release) json_t *details = json_pack("{s:o}", "log", log_json(wal));
    const json_t *log = json_object_get(details, "log");
    json_canonical(details, &wal->details);
    buf_printf(&wal->position, "LSN %s timeline %llu",
               json_string_value(json_object_get(log, "end")),
               (unsigned long long)json_u64_or(log, "timeline", 0));
    *receipt = (Receipt){.consistent_ns = wal->reached ? wal->server.at_us * 1000 : wal->from_ns,
                         .position = buf_text(&wal->position),
                         .details = buf_text(&wal->details)};
    return true;
}

static void source_close(Source *source)
{
    Wal *wal = self(source);
    postgresql_stream_close(wal->stream);
    postgresql_link_close(wal->link);
    postgresql_wal_server_free(&wal->server);
    hash_sha256_free(wal->hash);
    hash_sha256_free(wal->prefix_hash);
    mem_free(wal->pieces);
    buf_free(&wal->position);
    buf_free(&wal->details);
    mem_free(wal);
}

static const SourceOps ops = {
    .lanes = lanes,
    .next = source_next,
    .read = source_read,
    .end = source_end,
    .finish = source_finish,
    .idle = source_idle,
    .close = source_close,
};
