/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_backup.h"

#include "common/base/mem.h"
#include "common/catalog/statement.h"

#include <stdio.h>

static void item_texts(Args *args, const BackupRow *row, size_t offset)
{
    args_array(args, ELEMENT_TEXT, row->item_count);
    for (size_t i = 0; i < row->item_count; i++) {
        Text value;
        memcpy(&value, (const char *)&row->items[i] + offset, sizeof value);
        args_element_text(args, value);
    }
    args_array_end(args);
}

static void item_counts(Args *args, const BackupRow *row, size_t offset)
{
    args_array(args, ELEMENT_I64, row->item_count);
    for (size_t i = 0; i < row->item_count; i++) {
        uint64_t value;
        memcpy(&value, (const char *)&row->items[i] + offset, sizeof value);
        args_element_i64(args, (int64_t)value);
    }
    args_array_end(args);
}

static void commit_args(Args *args, const Fence *fence, const BackupRow *row)
{
    statement_fence(args, fence);
    args_uuid(args, &row->id);
    args_bytes(args, row->manifest_sha256.bytes, sizeof row->manifest_sha256.bytes);
    args_uuid(args, &row->index_object);
    args_bytes(args, row->index_sha256.bytes, sizeof row->index_sha256.bytes);
    args_i64(args, (int64_t)row->sequence);
    args_time(args, row->consistent_ns);
    args_text(args, row->position);
    args_text(args, row->receipt.len == 0 ? TEXT("{}") : row->receipt);
    args_flag(args, row->partial);
    args_flag(args, row->stored_verified);
    args_i64(args, (int64_t)row->entries);
    args_i64(args, (int64_t)row->bytes);
    args_i64(args, (int64_t)row->stored_bytes);
    args_i64(args, (int64_t)row->new_bytes);
    args_array(args, ELEMENT_I64, row->pack_count);
    for (size_t i = 0; i < row->pack_count; i++)
        args_element_i64(args, (int64_t)row->pack_nos[i]);
    args_array_end(args);
    args_text(args, row->issues.len == 0 ? TEXT("[]") : row->issues);
    args_i64(args, (int64_t)row->issue_count);
    item_texts(args, row, offsetof(BackupItem, kind));
    item_texts(args, row, offsetof(BackupItem, name));
    item_counts(args, row, offsetof(BackupItem, entries));
    item_counts(args, row, offsetof(BackupItem, rows));
    item_counts(args, row, offsetof(BackupItem, bytes));
}

bool catalog_backup_begin(Catalog *c, const Fence *fence, const Uuid *id, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_uuid(&args, id);
    return statement_run(c, &asset_sql_backup_begin_sql, &args, NULL, err);
}

bool catalog_backup_commit(Catalog *c, const Fence *fence, const BackupRow *row,
                           CommitAnswer *answer, char detail[256], Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    commit_args(&args, fence, row);
    if (!statement_row(c, &asset_sql_backup_commit_sql, &args, &rows, err))
        return false;
    return catalog_commit_answer(&rows, answer, detail, err);
}

bool catalog_marker_done(Catalog *c, const Fence *fence, const Uuid *backup, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_uuid(&args, backup);
    return statement_run(c, &asset_sql_marker_done_sql, &args, NULL, err);
}

bool catalog_markers_due(Catalog *c, const Fence *fence, MarkerRow **out, size_t *count, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    if (!statement_run(c, &asset_sql_markers_due_sql, &args, &rows, err))
        return false;
    *count = rows_count(&rows);
    *out = mem_array(MarkerRow, *count);
    for (size_t i = 0; i < *count; i++) {
        MarkerRow *row = &(*out)[i];
        rows_uuid(&rows, i, 0, &row->backup);
        rows_sha256(&rows, i, 1, &row->manifest_sha256);
        rows_uuid(&rows, i, 2, &row->index_object);
        rows_sha256(&rows, i, 3, &row->index_sha256);
        row->job = rows_u64(&rows, i, 4);
        row->attempt = rows_u64(&rows, i, 5);
        row->sequence = rows_u64(&rows, i, 6);
        row->committed_ns = rows_time(&rows, i, 7);
        rows_copy(&rows, i, 8, row->source, sizeof row->source);
    }
    return true;
}

bool catalog_backup_open(Catalog *c, const Fence *fence, const Uuid *backup, BackupOpened *out,
                         Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_uuid(&args, backup);
    if (!statement_run(c, &asset_sql_backup_open_sql, &args, &rows, err))
        return false;
    if (rows_count(&rows) == 0)
        return err_set(err, ERR_MISSING, "backup.unknown",
                       "the catalogue has no such backup: holdfast backup list");
    *out = (BackupOpened){.backup = *backup};
    rows_uuid(&rows, 0, 0, &out->repository);
    out->repository_no = rows_u32(&rows, 0, 1);
    rows_sha256(&rows, 0, 2, &out->manifest_sha256);
    rows_uuid(&rows, 0, 3, &out->index_object);
    rows_sha256(&rows, 0, 4, &out->index_sha256);
    out->sequence = rows_u64(&rows, 0, 5);
    out->entries = rows_u64(&rows, 0, 6);
    out->bytes = rows_u64(&rows, 0, 7);
    out->consistent_ns = rows_time(&rows, 0, 8);
    rows_copy(&rows, 0, 9, out->source, sizeof out->source);
    rows_copy(&rows, 0, 10, out->source_type, sizeof out->source_type);
    return true;
}

bool catalog_verification_add(Catalog *c, const Fence *fence, const VerificationRow *row, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_uuid(&args, &row->backup);
    args_text(&args, row->level);
    args_text(&args, row->result);
    args_time(&args, row->started_ns);
    args_text(&args, row->checks.len == 0 ? TEXT("{}") : row->checks);
    return statement_run(c, &asset_sql_verification_add_sql, &args, NULL, err);
}
