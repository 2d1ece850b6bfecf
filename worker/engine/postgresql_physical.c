/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_physical.h"

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "worker/engine/postgresql_files.h"
#include "worker/engine/postgresql_log.h"
#include "worker/engine/postgresql_versions.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { LANE_FILES = 0, LANE_LOG = 1, LANE_COUNT = 2 };

typedef struct PostgresqlPhysical {
    Source source;
    const EngineHost *host;
    PostgresqlLink *link;
    PGconn *files_conn, *log_conn;
    PostgresqlSystem system;
    PostgresqlFiles *files;
    PostgresqlLog *log;
    bool spread, acknowledge;
    char slot[POSTGRESQL_SLOT_NAME];
    int64_t stopped_ns;
    Buf position, details;
} PostgresqlPhysical;

static PostgresqlPhysical *self(Source *source)
{
    return (PostgresqlPhysical *)source;
}

bool postgresql_physical_asked(const EngineParams *params)
{
    Text own = json_text_or(params->config, "method", TEXT("logical"));
    return text_equal(json_text_or(params->request, "method", own), TEXT("physical"));
}

static unsigned source_lanes(const Source *source)
{
    (void)source;
    return LANE_COUNT;
}

/* What one lane cannot do ends the other. */
static bool pass(PostgresqlPhysical *s, bool ok, const Err *err)
{
    if (!ok && s->log != NULL)
        postgresql_log_fail(s->log, err);
    return ok;
}

static bool log_failed(void *ctx, Err *err)
{
    PostgresqlPhysical *s = ctx;
    return s->log != NULL && postgresql_log_failed(s->log, err);
}

static bool next_file(PostgresqlPhysical *s, Entry *entry, bool *more, Err *err)
{
    if (!postgresql_files_next(s->files, entry, more, err))
        return false;
    if (!*more && s->stopped_ns == 0) {
        s->stopped_ns = clock_wall_ns();
        postgresql_log_stop(s->log, postgresql_files_facts(s->files)->stop);
    }
    return true;
}

static bool source_next(Source *source, unsigned lane, Entry *entry, bool *more, Err *err)
{
    PostgresqlPhysical *s = self(source);
    return pass(s,
                lane == LANE_FILES ? next_file(s, entry, more, err)
                                   : postgresql_log_next(s->log, entry, more, err),
                err);
}

static bool source_read(Source *source, unsigned lane, uint8_t *at, size_t room, size_t *got,
                        uint64_t *zeros, Err *err)
{
    PostgresqlPhysical *s = self(source);
    *zeros = 0;
    return pass(s,
                lane == LANE_FILES ? postgresql_files_read(s->files, at, room, got, err)
                                   : postgresql_log_read(s->log, at, room, got, zeros, err),
                err);
}

static bool source_end(Source *source, unsigned lane, Entry *entry, bool *keep, Err *err)
{
    PostgresqlPhysical *s = self(source);
    *keep = true;
    return lane != LANE_FILES || pass(s, postgresql_files_end(s->files, entry, err), err);
}

/* The lines that the catalogue shows: the data directory, each tablespace, the log. */
static json_t *items_of(const PostgresqlPhysical *s)
{
    json_t *items = json_array();
    size_t i;
    const json_t *place;
    json_array_foreach(postgresql_files_places(s->files), i, place)
    {
        json_t *oid = json_object_get(place, "oid");
        json_t *item =
            json_pack("{s:s, s:O, s:O}", "kind", "path", "entries", json_object_get(place, "files"),
                      "bytes", json_object_get(place, "bytes"));
        json_object_set_new(
            item, "name",
            oid == NULL ? json_string("data directory")
                        : json_sprintf("pg_tblspc/%lld", (long long)json_integer_value(oid)));
        json_array_append_new(items, item);
    }
    json_array_append_new(items, json_pack("{s:s, s:s, s:i, s:I}", "kind", "path", "name", "pg_wal",
                                           "entries", (int)postgresql_log_files(s->log), "bytes",
                                           (json_int_t)postgresql_log_bytes(s->log)));
    return items;
}

static json_t *details_of(const PostgresqlPhysical *s)
{
    const PostgresqlBaseFacts *facts = postgresql_files_facts(s->files);
    const PostgresqlFilesCount *count = postgresql_files_count(s->files);
    char version[32], start[POSTGRESQL_LSN_TEXT], stop[POSTGRESQL_LSN_TEXT];
    json_t *details = json_object(), *spaces = json_array();
    size_t i;
    json_t *place;
    snprintf(version, sizeof version, "%d.%d", s->system.version / 10000,
             s->system.version % 10000);
    postgresql_lsn_text(facts->start, start);
    postgresql_lsn_text(facts->stop, stop);
    json_array_foreach(postgresql_files_places(s->files), i, place)
    {
        if (json_object_get(place, "oid") != NULL)
            json_array_append(spaces, place);
    }
    json_t *own = json_pack(
        "{s:s, s:s, s:s, s:s, s:i, s:s, s:s, s:s, s:I, s:b, s:I, s:I, s:I, s:o, s:o}", "engine",
        "postgresql", "method", "physical", "server_version", version, "system",
        s->system.identifier, "timeline", (int)facts->timeline, "start", start, "stop", stop,
        "from", s->system.standby ? "standby" : "primary", "wal_segment_bytes",
        (json_int_t)s->system.segment, "page_checksums", (int)s->system.checksums, "corrupt_pages",
        (json_int_t)count->wrong_pages, "files", (json_int_t)count->files, "bytes",
        (json_int_t)count->bytes, "tablespaces", spaces, "items", items_of(s));
    json_object_update(details, own);
    json_decref(own);
    return details;
}

static bool source_finish(Source *source, Receipt *receipt, Err *err)
{
    PostgresqlPhysical *s = self(source);
    const PostgresqlBaseFacts *facts = postgresql_files_facts(s->files);
    char stop[POSTGRESQL_LSN_TEXT];
    if (s->stopped_ns == 0 || !postgresql_log_whole(s->log))
        return err_set(err, ERR_BUG, "source.order",
                       "finish before the base backup and its log ended");
    json_t *details = details_of(s);
    postgresql_lsn_text(facts->stop, stop);
    buf_printf(&s->position, "LSN %s timeline %" PRIu32, stop, facts->timeline);
    json_canonical(details, &s->details);
    json_decref(details);
    *receipt = (Receipt){.consistent_ns = s->stopped_ns,
                         .position = buf_text(&s->position),
                         .details = buf_text(&s->details)};
    return true;
}

static void source_close(Source *source)
{
    PostgresqlPhysical *s = self(source);
    postgresql_log_close(s->log);
    postgresql_files_close(s->files);
    postgresql_link_disconnect(&s->log_conn);
    postgresql_link_disconnect(&s->files_conn);
    postgresql_link_close(s->link);
    buf_free(&s->position);
    buf_free(&s->details);
    mem_free(s);
}

static const SourceOps source_ops = {
    .lanes = source_lanes,
    .next = source_next,
    .read = source_read,
    .end = source_end,
    .finish = source_finish,
    .close = source_close,
};

/* Where the server may count us among its synchronous standbys it would take our word for a
 * commit's safety, so the slot then keeps the log until the backup is over. */
static bool may_acknowledge(PostgresqlPhysical *s, bool *may, Err *err)
{
    char names[POSTGRESQL_SETTING];
    if (!postgresql_replication_show(s->link, s->log_conn, "synchronous_standby_names", names, err))
        return false;
    *may = strchr(names, '*') == NULL && strstr(names, "holdfast") == NULL;
    return true;
}

static bool open_slot(PostgresqlPhysical *s, Err *err)
{
    uint8_t random[6];
    rand_bytes(random, sizeof random);
    int len = snprintf(s->slot, sizeof s->slot, "holdfast_");
    for (size_t i = 0; i < sizeof random; i++)
        len += snprintf(s->slot + len, sizeof s->slot - (size_t)len, "%02x", random[i]);
    return may_acknowledge(s, &s->acknowledge, err) &&
           postgresql_replication_slot(s->link, s->log_conn, s->slot, true, err);
}

/* The slot first: from then on the server keeps what the backup will need. */
static bool begin(PostgresqlPhysical *s, Err *err)
{
    const PostgresqlVersion *version;
    if (!postgresql_link_replication(s->link, &s->files_conn, err) ||
        !postgresql_replication_identify(s->link, s->files_conn, &s->system, err) ||
        !postgresql_version_of(s->system.version, &version, err) ||
        !postgresql_link_replication(s->link, &s->log_conn, err) || !open_slot(s, err))
        return false;
    PostgresqlBaseParams base = {.link = s->link,
                                 .conn = s->files_conn,
                                 .host = s->host,
                                 .system = &s->system,
                                 .spread = s->spread,
                                 .failed = log_failed,
                                 .ctx = s};
    if (!postgresql_files_open(&s->files, &base, err))
        return false;
    const PostgresqlBaseFacts *facts = postgresql_files_facts(s->files);
    PostgresqlLogParams log = {.link = s->link,
                               .conn = s->log_conn,
                               .host = s->host,
                               .system = &s->system,
                               .slot = s->slot,
                               .timeline = facts->timeline,
                               .start = facts->start,
                               .acknowledge = s->acknowledge};
    postgresql_files_owner(s->files, &log.uid, &log.gid);
    return postgresql_log_open(&s->log, &log, err);
}

bool postgresql_physical_open(Source **out, const EngineParams *params, Err *err)
{
    PostgresqlPhysical *s = mem_new(PostgresqlPhysical);
    Text checkpoint = json_text_or(params->config, "checkpoint", TEXT("fast"));
    s->source.ops = &source_ops;
    s->host = params->host;
    s->spread = text_equal(checkpoint, TEXT("spread"));
    *out = &s->source;
    if (postgresql_link_open(&s->link, params->config, params->host, "source", err) &&
        begin(s, err))
        return true;
    source_close(&s->source);
    *out = NULL;
    return false;
}
