/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_collect.h"

#include "common/base/mem.h"
#include "common/catalog/statement.h"

static void uuids(Args *args, const Uuid *list, size_t count)
{
    args_array(args, ELEMENT_UUID, count);
    for (size_t i = 0; i < count; i++)
        args_element_bytes(args, list[i].bytes, sizeof list[i].bytes);
    args_array_end(args);
}

bool catalog_backups_forget(Catalog *c, const Fence *fence, const Uuid *backups,
                            const Text *reasons, size_t count, ForgetAnswer **out, size_t *answered,
                            Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    uuids(&args, backups, count);
    args_array(&args, ELEMENT_TEXT, count);
    for (size_t i = 0; i < count; i++)
        args_element_text(&args, reasons[i]);
    args_array_end(&args);
    if (!statement_run(c, &asset_sql_backups_forget_sql, &args, &rows, err))
        return false;
    *answered = rows_count(&rows);
    *out = mem_array(ForgetAnswer, *answered);
    for (size_t i = 0; i < *answered; i++) {
        rows_uuid(&rows, i, 0, &(*out)[i].backup);
        rows_copy(&rows, i, 1, (*out)[i].answer, sizeof(*out)[i].answer);
        rows_copy(&rows, i, 2, (*out)[i].why, sizeof(*out)[i].why);
    }
    return true;
}

bool catalog_forgets_due(Catalog *c, const Fence *fence, size_t most, ForgetRow **out,
                         size_t *count, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_i32(&args, (int32_t)most);
    if (!statement_run(c, &asset_sql_forgets_due_sql, &args, &rows, err))
        return false;
    *count = rows_count(&rows);
    *out = mem_array(ForgetRow, *count);
    for (size_t i = 0; i < *count; i++) {
        rows_uuid(&rows, i, 0, &(*out)[i].backup);
        rows_sha256(&rows, i, 1, &(*out)[i].manifest);
        rows_copy(&rows, i, 2, (*out)[i].source, sizeof(*out)[i].source);
        rows_copy(&rows, i, 3, (*out)[i].reason, sizeof(*out)[i].reason);
    }
    return true;
}

bool catalog_forget_done(Catalog *c, const Fence *fence, const Uuid *backup, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_uuid(&args, backup);
    return statement_run(c, &asset_sql_forget_done_sql, &args, NULL, err);
}

/* The one row of a statement, as so many numbers. */
static bool numbers(Catalog *c, const Asset *sql, const Args *args, uint64_t *out, int count,
                    Err *err)
{
    scoped(rows_free) Rows rows = {0};
    if (!statement_row(c, sql, args, &rows, err))
        return false;
    for (int i = 0; i < count; i++)
        out[i] = rows_u64(&rows, 0, i);
    return true;
}

bool catalog_collect_look(Catalog *c, const Fence *fence, CollectLook *out, Err *err)
{
    scoped(args_free) Args args = {0};
    uint64_t n[6];
    statement_fence(&args, fence);
    if (!numbers(c, &asset_sql_collect_look_sql, &args, n, 6, err))
        return false;
    *out = (CollectLook){n[0], n[1], n[2], n[3], n[4], n[5]};
    return true;
}

bool catalog_repack_look(Catalog *c, const Fence *fence, RepackLook *out, Err *err)
{
    scoped(args_free) Args args = {0};
    uint64_t n[8];
    statement_fence(&args, fence);
    if (!numbers(c, &asset_sql_repack_look_sql, &args, n, 8, err))
        return false;
    *out = (RepackLook){n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7]};
    return true;
}

bool catalog_collect_condemn(Catalog *c, const Fence *fence, bool anyway, CollectCondemned *out,
                             Err *err)
{
    scoped(args_free) Args args = {0};
    uint64_t n[5];
    statement_fence(&args, fence);
    args_flag(&args, anyway);
    do {
        if (!numbers(c, &asset_sql_collect_condemn_sql, &args, n, 5, err))
            return false;
    } while (n[4] > 0);
    *out = (CollectCondemned){n[0], n[1], n[2], n[3]};
    return true;
}

bool catalog_collect_flip(Catalog *c, const Fence *fence, size_t most, CollectFlipped *out,
                          Err *err)
{
    scoped(args_free) Args args = {0};
    uint64_t n[4];
    statement_fence(&args, fence);
    args_i32(&args, (int32_t)most);
    if (!numbers(c, &asset_sql_collect_flip_sql, &args, n, 4, err))
        return false;
    *out = (CollectFlipped){n[0], n[1], n[2], n[3]};
    return true;
}

bool catalog_collect_epoch(Catalog *c, const Fence *fence, uint64_t *epoch, uint64_t *confirmed,
                           Err *err)
{
    scoped(args_free) Args args = {0};
    uint64_t n[2];
    statement_fence(&args, fence);
    if (!numbers(c, &asset_sql_collect_epoch_sql, &args, n, 2, err))
        return false;
    *epoch = n[0];
    *confirmed = n[1];
    return true;
}

bool catalog_collect_confirm(Catalog *c, const Fence *fence, uint64_t epoch, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_i64(&args, (int64_t)epoch);
    return statement_run(c, &asset_sql_collect_confirm_sql, &args, NULL, err);
}

bool catalog_collect_dead(Catalog *c, const Fence *fence, uint64_t after, size_t most,
                          DeadPack **out, size_t *count, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_i64(&args, (int64_t)after);
    args_i32(&args, (int32_t)most);
    if (!statement_run(c, &asset_sql_collect_dead_sql, &args, &rows, err))
        return false;
    *count = rows_count(&rows);
    *out = mem_array(DeadPack, *count);
    for (size_t i = 0; i < *count; i++) {
        (*out)[i].no = rows_u64(&rows, i, 0);
        rows_uuid(&rows, i, 1, &(*out)[i].object);
        (*out)[i].bytes = rows_u64(&rows, i, 2);
        (*out)[i].again = rows_flag(&rows, i, 3);
        (*out)[i].damaged = rows_flag(&rows, i, 4);
    }
    return true;
}

bool catalog_collect_gone(Catalog *c, const Fence *fence, const uint64_t *nos, size_t count,
                          Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_array(&args, ELEMENT_I64, count);
    for (size_t i = 0; i < count; i++)
        args_element_i64(&args, (int64_t)nos[i]);
    args_array_end(&args);
    return statement_run(c, &asset_sql_collect_gone_sql, &args, NULL, err);
}

bool catalog_collect_indexes(Catalog *c, const Fence *fence, size_t most, DeadIndex **out,
                             size_t *count, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_i32(&args, (int32_t)most);
    if (!statement_run(c, &asset_sql_collect_indexes_sql, &args, &rows, err))
        return false;
    *count = rows_count(&rows);
    *out = mem_array(DeadIndex, *count);
    for (size_t i = 0; i < *count; i++) {
        rows_uuid(&rows, i, 0, &(*out)[i].backup);
        rows_uuid(&rows, i, 1, &(*out)[i].object);
    }
    return true;
}

bool catalog_collect_indexes_gone(Catalog *c, const Fence *fence, const DeadIndex *rows,
                                  size_t count, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_array(&args, ELEMENT_UUID, count);
    for (size_t i = 0; i < count; i++)
        args_element_bytes(&args, rows[i].backup.bytes, sizeof rows[i].backup.bytes);
    args_array_end(&args);
    return statement_run(c, &asset_sql_collect_indexes_gone_sql, &args, NULL, err);
}

bool catalog_epoch_is_late(Catalog *c, const Fence *fence, uint64_t epoch, uint64_t by_job,
                           uint64_t by_attempt, bool *late, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_i64(&args, (int64_t)epoch);
    args_i64(&args, (int64_t)by_job);
    args_i64(&args, (int64_t)by_attempt);
    if (!statement_row(c, &asset_sql_epoch_is_late_sql, &args, &rows, err))
        return false;
    *late = rows_flag(&rows, 0, 0);
    return true;
}

bool catalog_collect_tell(Catalog *c, const Fence *fence, Text done, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_text(&args, done);
    return statement_run(c, &asset_sql_collect_tell_sql, &args, NULL, err);
}

static bool created(Catalog *c, const Asset *sql, const Args *args, JobCreated *out, Err *err)
{
    scoped(rows_free) Rows rows = {0};
    if (!statement_row(c, sql, args, &rows, err))
        return false;
    *out = (JobCreated){.job = rows_u64(&rows, 0, 0),
                        .pool = rows_u32(&rows, 0, 1),
                        .again = rows_flag(&rows, 0, 2)};
    return true;
}

bool catalog_repository_job(Catalog *c, const RepositoryRequest *request, JobCreated *out, Err *err)
{
    scoped(args_free) Args args = {0};
    args_text(&args, request->kind);
    args_text(&args, request->trigger);
    args_text(&args, request->store);
    args_text_or_null(&args, request->key_set);
    args_text(&args, request->params);
    args_text(&args, request->actor);
    args_text_or_null(&args, request->idempotency_key);
    return created(c, &asset_sql_repository_job_sql, &args, out, err);
}

bool catalog_backup_delete(Catalog *c, const Uuid *backup, Text store, Text reason, Text actor,
                           Text key, JobCreated *out, Err *err)
{
    scoped(args_free) Args args = {0};
    args_uuid(&args, backup);
    args_text_or_null(&args, store);
    args_text(&args, reason);
    args_text(&args, actor);
    args_text_or_null(&args, key);
    return created(c, &asset_sql_backup_delete_sql, &args, out, err);
}

bool catalog_prunes_fire(Catalog *c, uint64_t *made, Err *err)
{
    scoped(args_free) Args args = {0};
    return numbers(c, &asset_sql_prunes_fire_sql, &args, made, 1, err);
}
