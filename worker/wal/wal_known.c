/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/wal/wal_known.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/repo/reader.h"
#include "worker/engine/postgresql_spool.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FORMAT = 1,
    MARKERS_MOST = 1 << 20,
    NAME = POSTGRESQL_WAL_NAME - 1, /* of a segment, without the NUL */
    TIMELINE_DIGITS = 8,
};

static const char file_name[] = "known.json";

/* --- the file ------------------------------------------------------------------------------- */

static json_t *read_file(int folder)
{
    int fd = openat(folder, file_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    json_t *tree = json_loadfd(fd, JSON_REJECT_DUPLICATES, NULL);
    close(fd);
    return tree;
}

static bool same(const json_t *tree, const char *key, const char *value)
{
    return text_equal(json_text_or(tree, key, TEXT("")), text_of(value));
}

void wal_known_load(WalKnown *out, int folder, const char *source, const char *system,
                    const Uuid *repository)
{
    *out = (WalKnown){0};
    snprintf(out->source, sizeof out->source, "%s", source);
    snprintf(out->system, sizeof out->system, "%s", system);
    uuid_text(repository, out->repository);
    scoped(json_release) json_t *tree = read_file(folder);
    json_t *batches = json_object_get(tree, "batches");
    if (json_is_object(batches) && json_u64_or(tree, "format", 0) == FORMAT &&
        same(tree, "source", source) && same(tree, "system", system) &&
        same(tree, "repository", out->repository))
        out->batches = json_incref(batches);
    else
        out->batches = json_object();
}

bool wal_known_save(WalKnown *known, int folder, Err *err)
{
    if (!known->changed)
        return true;
    PostgresqlSpool here = {.fd = folder, .path = "the folder of wal-fetch"};
    scoped(buf_free) Buf text = {0};
    scoped(json_release) json_t *tree =
        json_pack("{s:i, s:s, s:s, s:s, s:O}", "format", FORMAT, "source", known->source, "system",
                  known->system, "repository", known->repository, "batches", known->batches);
    json_canonical(tree, &text);
    if (!postgresql_spool_put(&here, folder, file_name, buf_slice(&text), err))
        return false;
    known->changed = false;
    return true;
}

void wal_known_free(WalKnown *known)
{
    json_decref(known->batches);
    *known = (WalKnown){0};
}

/* --- what the repository has ---------------------------------------------------------------- */

/* What is needed of a batch of this log; null of anything else. */
static json_t *log_of(const WalKnown *known, const RepoReader *reader, Err *err)
{
    static const char *const kept[] = {"segment_bytes", "segments", "histories"};
    scoped(json_release) json_t *details = NULL;
    if (strcmp(reader_backup(reader)->source, known->source) != 0)
        return json_null();
    if (!json_parse(reader_receipt(reader)->details, &details, err))
        return NULL;
    const json_t *log = json_object_get(details, "log");
    if (!text_equal(json_text_or(log, "system", TEXT("")), text_of(known->system)))
        return json_null();
    json_t *out = json_object();
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        json_object_set(out, kept[i], json_object_get(log, kept[i]));
    return out;
}

static bool gone(Repo *repo, const Uuid *id)
{
    Sha256 sha256;
    bool found = true;
    Err ignored = {0};
    return repo_marker_get(repo, id, &found, &sha256, &ignored) && !found;
}

/* *err is set only by what may be otherwise in a moment. */
static bool look_at(WalKnown *known, Repo *repo, const Uuid *id, Err *err)
{
    char key[UUID_TEXT];
    Sha256 manifest;
    bool found = false;
    RepoReader *reader = NULL;
    ReaderParams params = {.repo = repo, .backup = *id, .manifest = &manifest};
    json_t *log = NULL;
    uuid_text(id, key);
    if (json_object_get(known->batches, key) != NULL)
        return true;
    bool fine = repo_marker_get(repo, id, &found, &manifest, err);
    if (fine && !found)
        return true; /* it was let go since the list was made */
    fine = fine && reader_open(&reader, &params, err) && (log = log_of(known, reader, err)) != NULL;
    reader_close(reader);
    if (fine) {
        known->changed = true;
        return json_object_set_new(known->batches, key, log) == 0;
    }
    if (err_retry(err->code))
        return false;
    if (!gone(repo, id) && uuid_compare(id, &known->unreadable) > 0) {
        known->unreadable = *id;
        known->unreadable_as = *err;
    }
    *err = (Err){0};
    return true;
}

static int compare(const void *a, const void *b)
{
    return uuid_compare(a, b);
}

static void forget_gone(WalKnown *known, const Uuid *ids, size_t count)
{
    const char *key;
    json_t *log;
    void *next;
    known->newest = (Uuid){0};
    json_object_foreach_safe(known->batches, next, key, log)
    {
        Uuid id;
        Err ignored = {0};
        bool there = uuid_parse(text_of(key), &id, &ignored) && count > 0 &&
                     bsearch(&id, ids, count, sizeof id, compare) != NULL;
        if (there && json_is_object(log) && uuid_compare(&id, &known->newest) > 0)
            known->newest = id;
        known->changed = known->changed || !there;
        if (!there)
            json_object_del(known->batches, key);
    }
}

bool wal_known_refresh(WalKnown *known, Repo *repo, Err *err)
{
    const Uuid first = {0};
    Uuid *ids = mem_array(Uuid, MARKERS_MOST);
    size_t count = 0;
    known->unreadable = (Uuid){0};
    bool fine = repo_markers(repo, &first, MARKERS_MOST, ids, &count, err);
    for (size_t i = 0; fine && i < count; i++)
        fine = look_at(known, repo, &ids[i], err);
    if (fine)
        forget_gone(known, ids, count);
    mem_free(ids);
    return fine;
}

bool wal_known_blind(const WalKnown *known)
{
    return uuid_compare(&known->unreadable, &known->newest) > 0;
}

/* --- questions ------------------------------------------------------------------------------ */

static bool segment_of(const char *key, const json_t *log, const json_t *item, WalSegment *out)
{
    Text name = json_text_or(item, "name", TEXT(""));
    Err ignored = {0};
    *out = (WalSegment){.timeline = (uint32_t)json_u64_or(item, "timeline", 0),
                        .segment_bytes = json_u64_or(log, "segment_bytes", 0)};
    if (name.len < NAME || name.len >= sizeof out->entry)
        return false;
    memcpy(out->entry, name.at, name.len);
    return uuid_parse(text_of(key), &out->batch, &ignored) &&
           postgresql_lsn_parse(json_text_or(item, "start", TEXT("")), &out->start) &&
           postgresql_lsn_parse(json_text_or(item, "end", TEXT("")), &out->end) &&
           ids_unhex(json_text_or(item, "sha256", TEXT("")), out->sha256.bytes,
                     sizeof out->sha256.bytes, &ignored) &&
           out->segment_bytes > 0 && out->start % out->segment_bytes == 0 &&
           out->end > out->start && out->end - out->start <= out->segment_bytes;
}

static bool better(const WalSegment *one, const WalSegment *than)
{
    return one->end > than->end ||
           (one->end == than->end && uuid_compare(&one->batch, &than->batch) > 0);
}

bool wal_known_find(const WalKnown *known, const char *segment, WalSegment *out)
{
    const char *key;
    json_t *log;
    bool found = false;
    json_object_foreach(known->batches, key, log)
    {
        size_t i;
        const json_t *item;
        json_array_foreach(json_object_get(log, "segments"), i, item)
        {
            WalSegment one;
            if (!segment_of(key, log, item, &one) || memcmp(one.entry, segment, NAME) != 0 ||
                (found && !better(&one, out)))
                continue;
            *out = one;
            found = true;
        }
    }
    return found;
}

/* Where a segment of this name ends: the names of 4 GiB of log have its upper half in common. */
static uint64_t end_of(const char *segment, uint64_t segment_bytes)
{
    char digits[TIMELINE_DIGITS + 1] = {0};
    memcpy(digits, segment + TIMELINE_DIGITS, TIMELINE_DIGITS);
    uint64_t high = strtoull(digits, NULL, 16);
    uint64_t low = strtoull(segment + 2 * TIMELINE_DIGITS, NULL, 16);
    return (high << 32) + (low + 1) * segment_bytes;
}

/* Did a timeline leave that of the segment behind its end? Then the segment belongs to its past. */
static bool left_behind(const json_t *log, const char *segment)
{
    char digits[TIMELINE_DIGITS + 1] = {0};
    size_t i;
    const json_t *item;
    memcpy(digits, segment, TIMELINE_DIGITS);
    uint64_t timeline = strtoull(digits, NULL, 16);
    uint64_t end = end_of(segment, json_u64_or(log, "segment_bytes", 0));
    json_array_foreach(json_object_get(log, "histories"), i, item)
    {
        uint64_t left;
        if (json_u64_or(item, "parent", 0) == timeline &&
            postgresql_lsn_parse(json_text_or(item, "switch", TEXT("")), &left) && left >= end)
            return true;
    }
    return false;
}

bool wal_known_behind(const WalKnown *known, const char *segment, WalSegment *out)
{
    const char *key;
    json_t *log;
    json_object_foreach(known->batches, key, log)
    {
        size_t i;
        const json_t *item;
        bool left = left_behind(log, segment);
        json_array_foreach(json_object_get(log, "segments"), i, item)
        {
            if (segment_of(key, log, item, out) &&
                (memcmp(out->entry, segment, TIMELINE_DIGITS) == 0
                     ? memcmp(out->entry, segment, NAME) > 0
                     : left && memcmp(out->entry, segment, TIMELINE_DIGITS) > 0))
                return true;
        }
    }
    return false;
}

static bool own_timeline(const json_t *log, uint32_t timeline)
{
    uint64_t own = 0;
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(log, "histories"), i, item)
    {
        uint64_t one = json_u64_or(item, "timeline", 0);
        own = one > own ? one : own;
    }
    return own == timeline;
}

bool wal_known_history(const WalKnown *known, uint32_t timeline, unsigned n, Uuid *batch)
{
    Uuid before;
    memset(&before, 0xff, sizeof before);
    for (unsigned i = 0; i <= n; i++) {
        const char *key;
        json_t *log;
        *batch = (Uuid){0};
        json_object_foreach(known->batches, key, log)
        {
            Uuid id;
            Err ignored = {0};
            if (own_timeline(log, timeline) && uuid_parse(text_of(key), &id, &ignored) &&
                uuid_compare(&id, &before) < 0 && uuid_compare(&id, batch) > 0)
                *batch = id;
        }
        before = *batch;
        if (uuid_is_nil(batch))
            return false;
    }
    return true;
}
