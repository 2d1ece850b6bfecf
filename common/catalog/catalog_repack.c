/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_repack.h"

#include "common/base/mem.h"
#include "common/catalog/statement.h"

static void numbers(Args *args, const uint64_t *list, size_t count)
{
    args_array(args, ELEMENT_I64, count);
    for (size_t i = 0; i < count; i++)
        args_element_i64(args, (int64_t)list[i]);
    args_array_end(args);
}

static RepackPack *take_packs(const Rows *rows, size_t *count)
{
    *count = rows_count(rows);
    RepackPack *packs = mem_array(RepackPack, *count);
    for (size_t i = 0; i < *count; i++) {
        RepackPack *pack = &packs[i];
        pack->row.pack_no = rows_u64(rows, i, 0);
        rows_uuid(rows, i, 1, &pack->row.object);
        rows_uuid(rows, i, 2, &pack->row.pack);
        pack->row.kind = text_equal(rows_text(rows, i, 3), TEXT("meta")) ? PACK_META : PACK_DATA;
        pack->row.bytes = rows_u64(rows, i, 4);
        rows_sha256(rows, i, 5, &pack->row.sha256);
        pack->domain = rows_i64(rows, i, 6);
    }
    return packs;
}

bool catalog_repack_pick(Catalog *c, const Fence *fence, bool all, size_t most, RepackPack **out,
                         size_t *count, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_flag(&args, all);
    args_i32(&args, (int32_t)most);
    if (!statement_run(c, &asset_sql_repack_pick_sql, &args, &rows, err))
        return false;
    *out = take_packs(&rows, count);
    return true;
}

bool catalog_reseal_pick(Catalog *c, const Fence *fence, uint64_t generation, uint64_t after,
                         size_t most, RepackPack **out, size_t *count, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_i64(&args, (int64_t)generation);
    args_i64(&args, (int64_t)after);
    args_i32(&args, (int32_t)most);
    if (!statement_run(c, &asset_sql_reseal_pick_sql, &args, &rows, err))
        return false;
    *out = take_packs(&rows, count);
    return true;
}

bool catalog_reseal_seen(Catalog *c, const Fence *fence, uint64_t generation, const uint64_t *nos,
                         size_t count, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_i64(&args, (int64_t)generation);
    numbers(&args, nos, count);
    return statement_run(c, &asset_sql_reseal_seen_sql, &args, NULL, err);
}

bool catalog_reseal_holds(Catalog *c, const Fence *fence, const Uuid *backups, size_t count,
                          uint64_t *jobs, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_array(&args, ELEMENT_UUID, count);
    for (size_t i = 0; i < count; i++)
        args_element_bytes(&args, backups[i].bytes, sizeof backups[i].bytes);
    args_array_end(&args);
    if (!statement_row(c, &asset_sql_reseal_holds_sql, &args, &rows, err))
        return false;
    *jobs = rows_u64(&rows, 0, 0);
    return true;
}

bool catalog_reseal_left(Catalog *c, const Fence *fence, uint64_t generation, ResealLeft *out,
                         Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_i64(&args, (int64_t)generation);
    if (!statement_row(c, &asset_sql_reseal_left_sql, &args, &rows, err))
        return false;
    *out = (ResealLeft){rows_u64(&rows, 0, 0), rows_u64(&rows, 0, 1), rows_u64(&rows, 0, 2)};
    return true;
}

bool catalog_repack_backups(Catalog *c, const Fence *fence, const uint64_t *nos, size_t no_count,
                            Uuid *after, size_t most, RepackName **out, size_t *count, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    numbers(&args, nos, no_count);
    args_uuid(&args, after);
    args_i32(&args, (int32_t)most);
    if (!statement_run(c, &asset_sql_repack_backups_sql, &args, &rows, err))
        return false;
    *count = rows_count(&rows);
    *out = mem_array(RepackName, *count);
    for (size_t i = 0; i < *count; i++) {
        RepackName *name = &(*out)[i];
        rows_uuid(&rows, i, 0, &name->backup);
        rows_sha256(&rows, i, 1, &name->manifest);
        name->going = rows_flag(&rows, i, 2);
        name->no = rows_u64(&rows, i, 3);
        *after = name->backup;
    }
    return true;
}

bool catalog_repack_looked(Catalog *c, const Fence *fence, const uint64_t *nos,
                           const uint64_t *needed, size_t count, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    numbers(&args, nos, count);
    numbers(&args, needed, count);
    return statement_run(c, &asset_sql_repack_looked_sql, &args, NULL, err);
}

bool catalog_repack_take(Catalog *c, const Fence *fence, const uint64_t *nos, size_t count,
                         uint64_t **out, size_t *out_count, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    numbers(&args, nos, count);
    if (!statement_run(c, &asset_sql_repack_take_sql, &args, &rows, err))
        return false;
    *out_count = rows_count(&rows);
    *out = mem_array(uint64_t, *out_count);
    for (size_t i = 0; i < *out_count; i++)
        (*out)[i] = rows_u64(&rows, i, 0);
    return true;
}

bool catalog_repack_new(Catalog *c, const Fence *fence, const Uuid *object, const Uuid *pack,
                        uint64_t like, uint64_t *no, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_uuid(&args, object);
    args_uuid(&args, pack);
    args_i64(&args, (int64_t)like);
    if (!statement_row(c, &asset_sql_repack_new_sql, &args, &rows, err))
        return false;
    *no = rows_u64(&rows, 0, 0);
    return true;
}

bool catalog_repack_commit(Catalog *c, const Fence *fence, const RepackSwap *swap,
                           uint64_t *swapped, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    numbers(&args, swap->made, swap->made_count);
    numbers(&args, swap->old, swap->old_count);
    numbers(&args, swap->from, swap->pair_count);
    numbers(&args, swap->into, swap->pair_count);
    args_array(&args, ELEMENT_UUID, swap->backup_count);
    for (size_t i = 0; i < swap->backup_count; i++)
        args_element_bytes(&args, swap->backups[i].bytes, sizeof swap->backups[i].bytes);
    args_array_end(&args);
    args_uuid(&args, swap->index);
    if (!statement_row(c, &asset_sql_repack_commit_sql, &args, &rows, err))
        return false;
    *swapped = rows_u64(&rows, 0, 0);
    return true;
}
