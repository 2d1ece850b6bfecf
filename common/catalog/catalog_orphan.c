/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_orphan.h"

#include "common/base/mem.h"
#include "common/catalog/statement.h"

static bool one_flag(Catalog *c, const Asset *sql, const Args *args, bool *out, Err *err)
{
    scoped(rows_free) Rows rows = {0};
    if (!statement_row(c, sql, args, &rows, err))
        return false;
    *out = rows_flag(&rows, 0, 0);
    return true;
}

static void texts(Args *args, const Text *list, size_t count)
{
    args_array(args, ELEMENT_TEXT, count);
    for (size_t i = 0; i < count; i++)
        args_element_text(args, list[i]);
    args_array_end(args);
}

static void epoch_or_null(Args *args, uint64_t epoch)
{
    if (epoch > INT64_MAX)
        args_i64_null(args);
    else
        args_i64(args, (int64_t)epoch);
}

bool catalog_orphan_begin(Catalog *c, const Fence *fence, bool asked, bool *begun, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_flag(&args, asked);
    return one_flag(c, &asset_sql_orphan_begin_sql, &args, begun, err);
}

static OrphanKind kind_of(Text kind, Text why)
{
    if (text_equal(why, TEXT("foreign")))
        return ORPHAN_FOREIGN;
    if (text_equal(kind, TEXT("marker")) && text_equal(why, TEXT("unknown")))
        return ORPHAN_MARKER;
    return text_equal(kind, TEXT("index")) ? ORPHAN_INDEX : ORPHAN_OTHER;
}

bool catalog_orphan_ask(Catalog *c, const Fence *fence, const Text *names, size_t count,
                        OrphanAnswer *out, size_t *answered, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    texts(&args, names, count);
    if (!statement_run(c, &asset_sql_orphan_ask_sql, &args, &rows, err))
        return false;
    *answered = rows_count(&rows);
    for (size_t i = 0; i < *answered; i++) {
        uint64_t n = rows_u64(&rows, i, 0);
        if (n == 0 || n > count || *answered > count)
            return err_set(err, ERR_BUG, "orphan.answer", "the catalogue speaks of object %llu",
                           (unsigned long long)n);
        out[i] = (OrphanAnswer){n - 1, kind_of(rows_text(&rows, i, 1), rows_text(&rows, i, 2))};
    }
    return true;
}

bool catalog_orphan_packs(Catalog *c, const Fence *fence, const Uuid *objects, size_t count,
                          bool *known, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_array(&args, ELEMENT_UUID, count);
    for (size_t i = 0; i < count; i++)
        args_element_bytes(&args, objects[i].bytes, sizeof objects[i].bytes);
    args_array_end(&args);
    return one_flag(c, &asset_sql_orphan_packs_sql, &args, known, err);
}

bool catalog_orphan_note(Catalog *c, const Fence *fence, const Text *names, const uint64_t *bytes,
                         size_t count, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    texts(&args, names, count);
    args_array(&args, ELEMENT_I64, count);
    for (size_t i = 0; i < count; i++)
        args_element_i64(&args, (int64_t)bytes[i]);
    args_array_end(&args);
    return statement_run(c, &asset_sql_orphan_note_sql, &args, NULL, err);
}

bool catalog_orphan_listed(Catalog *c, const Fence *fence, uint64_t epoch, uint64_t listed,
                           OrphanListed *out, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    epoch_or_null(&args, epoch);
    args_i64(&args, (int64_t)listed);
    if (!statement_row(c, &asset_sql_orphan_listed_sql, &args, &rows, err))
        return false;
    *out = (OrphanListed){rows_u64(&rows, 0, 0), rows_u64(&rows, 0, 1), rows_u64(&rows, 0, 2), ""};
    rows_copy(&rows, 0, 3, out->blocked, sizeof out->blocked);
    return true;
}

bool catalog_orphan_look(Catalog *c, const Fence *fence, uint64_t epoch, OrphanLook *out, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    epoch_or_null(&args, epoch);
    if (!statement_row(c, &asset_sql_orphan_look_sql, &args, &rows, err))
        return false;
    *out = (OrphanLook){rows_u64(&rows, 0, 0), rows_u64(&rows, 0, 1), ""};
    rows_copy(&rows, 0, 2, out->blocked, sizeof out->blocked);
    return true;
}

bool catalog_orphan_due(Catalog *c, const Fence *fence, size_t most, OrphanDue **out, size_t *count,
                        Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_i32(&args, (int32_t)most);
    if (!statement_run(c, &asset_sql_orphan_due_sql, &args, &rows, err))
        return false;
    *count = rows_count(&rows);
    *out = mem_array(OrphanDue, *count);
    for (size_t i = 0; i < *count; i++) {
        OrphanDue *due = &(*out)[i];
        due->no = rows_u64(&rows, i, 0);
        rows_copy(&rows, i, 1, due->name, sizeof due->name);
        rows_copy(&rows, i, 2, due->place, sizeof due->place);
        due->over = rows_flag(&rows, i, 3);
        due->bytes = rows_u64(&rows, i, 4);
    }
    return true;
}

bool catalog_orphan_moving(Catalog *c, const Fence *fence, uint64_t no, bool *may, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_i64(&args, (int64_t)no);
    return one_flag(c, &asset_sql_orphan_moving_sql, &args, may, err);
}

bool catalog_orphan_moved(Catalog *c, const Fence *fence, uint64_t no, Text state, Text error,
                          Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_i64(&args, (int64_t)no);
    args_text(&args, state);
    args_text_or_null(&args, error);
    return statement_run(c, &asset_sql_orphan_moved_sql, &args, NULL, err);
}

bool catalog_orphan_damaged(Catalog *c, const Fence *fence, uint64_t pack_no, OrphanDue *out,
                            Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_i64(&args, (int64_t)pack_no);
    if (!statement_row(c, &asset_sql_orphan_damaged_sql, &args, &rows, err))
        return false;
    *out = (OrphanDue){.no = rows_u64(&rows, 0, 0)};
    rows_copy(&rows, 0, 1, out->name, sizeof out->name);
    rows_copy(&rows, 0, 2, out->place, sizeof out->place);
    return true;
}
