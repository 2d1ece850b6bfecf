/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_retention.h"

#include "common/base/mem.h"
#include "common/catalog/statement.h"

static char *text_or_null(const Rows *rows, size_t row, int column)
{
    return rows_null(rows, row, column) ? NULL : mem_text(rows_text(rows, row, column));
}

static bool load_sources(Catalog *c, const Args *args, RetentionSources *out, Err *err)
{
    scoped(rows_free) Rows rows = {0};
    *out = (RetentionSources){0};
    if (!statement_run(c, &asset_sql_retention_sources_sql, args, &rows, err))
        return false;
    out->count = rows_count(&rows);
    out->rows = mem_array(RetentionSource, out->count);
    for (size_t i = 0; i < out->count; i++) {
        RetentionSource *row = &out->rows[i];
        row->source = rows_u32(&rows, i, 0);
        rows_copy(&rows, i, 1, row->name, sizeof row->name);
        row->repository = rows_u32(&rows, i, 2);
        rows_copy(&rows, i, 3, row->store, sizeof row->store);
        rows_copy(&rows, i, 4, row->key_set, sizeof row->key_set);
        row->spec = mem_text(rows_text(&rows, i, 5));
        rows_copy(&rows, i, 6, row->timezone, sizeof row->timezone);
        row->failures = rows_u64(&rows, i, 7);
        row->suspicious = text_or_null(&rows, i, 8);
        row->frozen = text_or_null(&rows, i, 9);
        row->lock_s = rows_i64(&rows, i, 10);
        row->policy = rows_i64(&rows, i, 11);
        row->now_ns = rows_time(&rows, i, 12);
        row->retired = rows_flag(&rows, i, 13);
    }
    return true;
}

bool catalog_retention_sources(Catalog *c, Text name, Text after, uint32_t most,
                               RetentionSources *out, Err *err)
{
    scoped(args_free) Args args = {0};
    args_text_or_null(&args, name);
    args_i64_null(&args);
    args_i64_null(&args);
    args_text_or_null(&args, after);
    args_i32(&args, (int32_t)most);
    return load_sources(c, &args, out, err);
}

bool catalog_retention_source(Catalog *c, uint32_t source, uint32_t repository,
                              RetentionSources *out, Err *err)
{
    scoped(args_free) Args args = {0};
    args_text_or_null(&args, (Text){0});
    args_i64(&args, source);
    args_i64(&args, repository);
    args_text_or_null(&args, (Text){0});
    args_i32(&args, 1);
    return load_sources(c, &args, out, err);
}

void catalog_retention_sources_free(RetentionSources *list)
{
    for (size_t i = 0; i < list->count; i++) {
        mem_free(list->rows[i].spec);
        mem_free(list->rows[i].suspicious);
        mem_free(list->rows[i].frozen);
    }
    mem_free(list->rows);
    *list = (RetentionSources){0};
}

static bool load_backups(Catalog *c, const Asset *sql, const Args *args, RetentionBackups *out,
                         Err *err)
{
    scoped(rows_free) Rows rows = {0};
    *out = (RetentionBackups){0};
    if (!statement_run(c, sql, args, &rows, err))
        return false;
    out->count = rows_count(&rows);
    out->rows = mem_array(RetentionBackup, out->count);
    for (size_t i = 0; i < out->count; i++) {
        RetentionBackup *row = &out->rows[i];
        rows_uuid(&rows, i, 0, &row->id);
        row->at_ns = rows_time(&rows, i, 1);
        row->started_ns = rows_time(&rows, i, 2);
        row->committed_ns = rows_time(&rows, i, 3);
        row->sequence = rows_u64(&rows, i, 4);
        rows_copy(&rows, i, 5, row->schedule, sizeof row->schedule);
        row->quality = rows_u32(&rows, i, 6);
        row->proved = rows_flag(&rows, i, 7);
        row->in_use = rows_flag(&rows, i, 8);
        row->held_until_ns = rows_time(&rows, i, 9);
        row->locked_until_ns = rows_time(&rows, i, 10);
        row->bytes = rows_u64(&rows, i, 11);
        rows_copy(&rows, i, 12, row->outcome, sizeof row->outcome);
    }
    return true;
}

bool catalog_retention_backups(Catalog *c, uint32_t source, uint32_t repository,
                               RetentionBackups *out, Err *err)
{
    scoped(args_free) Args args = {0};
    args_i32(&args, (int32_t)source);
    args_i32(&args, (int32_t)repository);
    return load_backups(c, &asset_sql_retention_backups_sql, &args, out, err);
}

bool catalog_retention_plain(Catalog *c, uint32_t source, Text store, RetentionBackups *out,
                             Err *err)
{
    scoped(args_free) Args args = {0};
    args_i32(&args, (int32_t)source);
    args_text(&args, store);
    return load_backups(c, &asset_sql_plain_backups_sql, &args, out, err);
}

bool catalog_retention_plain_stores(Catalog *c, uint32_t source, RetentionPlainStore **out,
                                    size_t *count, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    args_i32(&args, (int32_t)source);
    if (!statement_run(c, &asset_sql_plain_stores_sql, &args, &rows, err))
        return false;
    *count = rows_count(&rows);
    *out = mem_array(RetentionPlainStore, *count);
    for (size_t i = 0; i < *count; i++) {
        rows_copy(&rows, i, 0, (*out)[i].name, sizeof(*out)[i].name);
        (*out)[i].lock_s = rows_i64(&rows, i, 1);
    }
    return true;
}

void catalog_retention_backups_free(RetentionBackups *list)
{
    mem_free(list->rows);
    *list = (RetentionBackups){0};
}

static void add_ids(Args *args, const void *first, size_t step, size_t count)
{
    args_array(args, ELEMENT_UUID, count);
    for (size_t i = 0; i < count; i++)
        args_element_bytes(args, (const char *)first + i * step, sizeof(Uuid));
    args_array_end(args);
}

bool catalog_retention_frees(Catalog *c, uint32_t repository, const Uuid *backups, size_t count,
                             uint64_t *bytes, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    for (size_t i = 0; i < count; i++)
        bytes[i] = 0;
    if (count == 0)
        return true;
    args_i32(&args, (int32_t)repository);
    add_ids(&args, backups, sizeof *backups, count);
    if (!statement_run(c, &asset_sql_retention_frees_sql, &args, &rows, err))
        return false;
    for (size_t row = 0; row < rows_count(&rows); row++) {
        Uuid id;
        rows_uuid(&rows, row, 0, &id);
        for (size_t i = 0; i < count; i++)
            if (uuid_equal(&backups[i], &id))
                bytes[i] = rows_u64(&rows, row, 1);
    }
    return true;
}

bool catalog_retention_due(Catalog *c, RetentionJob *jobs, size_t *count, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    args_i32(&args, (int32_t)*count);
    *count = 0;
    if (!statement_run(c, &asset_sql_retention_due_sql, &args, &rows, err))
        return false;
    *count = rows_count(&rows);
    for (size_t i = 0; i < *count; i++)
        jobs[i] = (RetentionJob){.job = rows_u64(&rows, i, 0),
                                 .source = rows_u32(&rows, i, 1),
                                 .repository = rows_u32(&rows, i, 2)};
    return true;
}

static void add_rulings(Args *args, const RetentionRuling *rulings, size_t count)
{
    add_ids(args, &rulings->backup, sizeof *rulings, count);
    args_array(args, ELEMENT_FLAG, count);
    for (size_t i = 0; i < count; i++)
        args_element_flag(args, rulings[i].expires);
    args_array_end(args);
    args_array(args, ELEMENT_TEXT, count);
    for (size_t i = 0; i < count; i++)
        args_element_text(args, rulings[i].reason);
    args_array_end(args);
}

bool catalog_retention_plan(Catalog *c, uint64_t job, int64_t policy, const char *frozen,
                            const RetentionRuling *rulings, size_t count, bool *taken, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    args_i64(&args, (int64_t)job);
    args_i64(&args, policy);
    args_text_or_null(&args, frozen == NULL ? (Text){0} : text_of(frozen));
    add_rulings(&args, rulings, count);
    if (!statement_row(c, &asset_sql_retention_plan_sql, &args, &rows, err))
        return false;
    *taken = rows_flag(&rows, 0, 0);
    return true;
}

bool catalog_retention_plain_plan(Catalog *c, uint32_t source, Text store, int64_t policy,
                                  const RetentionRuling *rulings, size_t count, bool *taken,
                                  Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    args_i32(&args, (int32_t)source);
    args_text(&args, store);
    args_i64(&args, policy);
    add_rulings(&args, rulings, count);
    if (!statement_row(c, &asset_sql_plain_plan_sql, &args, &rows, err))
        return false;
    *taken = rows_flag(&rows, 0, 0);
    return true;
}

bool catalog_retention_take(Catalog *c, const Fence *fence, RetentionVisit *visit, void *ctx,
                            Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    if (!statement_run(c, &asset_sql_retention_take_sql, &args, &rows, err))
        return false;
    for (size_t i = 0; i < rows_count(&rows); i++) {
        Uuid backup;
        rows_uuid(&rows, i, 0, &backup);
        if (!visit(ctx, &backup, rows_text(&rows, i, 1), err))
            return false;
    }
    return true;
}

bool catalog_retention_resume(Catalog *c, Text store, Text source, Text reason, Text actor,
                              uint32_t *resumed, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    args_text_or_null(&args, store);
    args_text_or_null(&args, source);
    args_text_or_null(&args, reason);
    args_text(&args, actor);
    if (!statement_row(c, &asset_sql_retention_resume_sql, &args, &rows, err))
        return false;
    *resumed = rows_u32(&rows, 0, 0);
    return true;
}

bool catalog_backup_hold(Catalog *c, const Uuid *backup, int64_t until_ns, Text reason, Text actor,
                         Text idempotency_key, JobCreated *made, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    args_uuid(&args, backup);
    args_time(&args, until_ns);
    args_text_or_null(&args, reason);
    args_text(&args, actor);
    args_text_or_null(&args, idempotency_key);
    if (!statement_row(c, &asset_sql_backup_hold_sql, &args, &rows, err))
        return false;
    *made = (JobCreated){.job = rows_u64(&rows, 0, 0), .pool = rows_u32(&rows, 0, 1)};
    return true;
}

bool catalog_hold_now(Catalog *c, const Fence *fence, RetentionHold *out, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    *out = (RetentionHold){0};
    statement_fence(&args, fence);
    if (!statement_row(c, &asset_sql_hold_now_sql, &args, &rows, err))
        return false;
    rows_uuid(&rows, 0, 0, &out->backup);
    out->until_ns = rows_time(&rows, 0, 1);
    buf_add_text(&out->reason, rows_text(&rows, 0, 2));
    return true;
}

bool catalog_hold_stored(Catalog *c, const Fence *fence, int64_t until_ns, bool *same, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_time(&args, until_ns);
    if (!statement_row(c, &asset_sql_hold_stored_sql, &args, &rows, err))
        return false;
    *same = rows_flag(&rows, 0, 0);
    return true;
}

bool catalog_source_suspect(Catalog *c, Text source, Text reason, Text actor, Err *err)
{
    scoped(args_free) Args args = {0};
    args_text(&args, source);
    args_text_or_null(&args, reason);
    args_text(&args, actor);
    return statement_run(c, &asset_sql_source_suspect_sql, &args, NULL, err);
}
