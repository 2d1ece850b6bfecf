/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/counts.h"

#include "common/base/json.h"

#include <inttypes.h>
#include <stdio.h>

json_t *counts_expected(const json_t *details)
{
    size_t i;
    const json_t *database;
    const json_t *databases = json_object_get(details, "databases");
    if (!json_is_array(databases))
        return NULL;
    json_t *expected = json_array();
    json_array_foreach(databases, i, database)
    {
        json_array_append_new(expected, json_pack("{s:O*, s:O*, s:O*}", "name",
                                                  json_object_get(database, "name"), "tables",
                                                  json_object_get(database, "tables"), "rows",
                                                  json_object_get(database, "rows")));
    }
    return expected;
}

bool counts_fed(const JobCounters *counters, const RepoBackup *backup, bool files, Err *err)
{
    uint64_t entries = counters->items_done, bytes = counters->bytes_done;
    if (entries != backup->entries)
        return err_set(err, ERR_CORRUPT, "restore.counts",
                       "%" PRIu64 " entries came back, the backup recorded %" PRIu64
                       ": holdfast verify it with --level content, take an older one",
                       entries, backup->entries);
    if (files && bytes != backup->bytes)
        return err_set(err, ERR_CORRUPT, "restore.counts",
                       "%" PRIu64 " bytes came back, the backup recorded %" PRIu64
                       ": holdfast verify it with --level content, take an older one",
                       bytes, backup->bytes);
    return true;
}

/* 1203441 -> "1 203 441": read aloud when it matters. */
static void add_number(Buf *said, uint64_t number)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, number);
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            buf_add_byte(said, ' ');
        buf_add_byte(said, (uint8_t)digits[i]);
    }
}

static void add_some(Buf *said, uint64_t number, const char *one, const char *many)
{
    if (said->len > 0)
        buf_add_text(said, TEXT(", "));
    add_number(said, number);
    buf_printf(said, " %s", number == 1 ? one : many);
}

static void tell_databases(const json_t *databases, json_t *counts, Buf *said)
{
    size_t i;
    const json_t *database;
    uint64_t tables = 0, rows = 0;
    json_array_foreach(databases, i, database)
    {
        tables += json_u64_or(database, "tables", 0);
        rows += json_u64_or(database, "rows", 0);
    }
    json_object_set_new(counts, "databases", json_integer((json_int_t)json_array_size(databases)));
    json_object_set_new(counts, "tables", json_integer((json_int_t)tables));
    json_object_set_new(counts, "rows", json_integer((json_int_t)rows));
    if (json_array_size(databases) > 1)
        add_some(said, json_array_size(databases), "database", "databases");
    add_some(said, tables, "table", "tables");
    add_some(said, rows, "row", "rows");
}

/* What was replaced goes on existing, and takes room. */
static void tell_kept(const json_t *databases, Buf *said)
{
    size_t i;
    const json_t *database;
    json_array_foreach(databases, i, database)
    {
        Text kept = json_text_or(database, "kept_as", TEXT(""));
        if (kept.len > 0)
            buf_printf(said, "; what was there is kept as %.*s, drop it when it is not needed",
                       TEXT_ARG(kept));
    }
}

void counts_tell(json_t *report, const JobCounters *counters, uint64_t damaged, bool whole,
                 Buf *said)
{
    uint64_t entries = counters->items_done, bytes = counters->bytes_done;
    uint64_t errors = counters->errors;
    const json_t *databases = json_object_get(report, "databases");
    json_t *counts = json_object();
    if (json_is_array(databases)) {
        tell_databases(databases, counts, said);
    } else {
        add_some(said, entries, "entry", "entries");
        add_some(said, bytes, "byte", "bytes");
    }
    json_object_set_new(counts, "entries", json_integer((json_int_t)entries));
    json_object_set_new(counts, "bytes", json_integer((json_int_t)bytes));
    bool faults = errors > 0 || damaged > 0;
    json_object_set_new(counts, "as_backed_up",
                        faults  ? json_false()
                        : whole ? json_true()
                                : json_null());
    json_object_set_new(report, "counts", counts);
    if (whole && !faults)
        buf_add_text(said, TEXT(" as backed up"));
    else if (errors > 0)
        add_some(said, errors, "error", "errors");
    tell_kept(databases, said);
}
