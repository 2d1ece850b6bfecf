/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_worker.h"

#include "common/base/mem.h"
#include "common/catalog/statement.h"

static bool pools(Catalog *c, WorkerWelcome *out, Err *err)
{
    scoped(rows_free) Rows rows = {0};
    if (!statement_run(c, &asset_sql_worker_pools_sql, NULL, &rows, err))
        return false;
    out->pool_count = rows_count(&rows);
    out->pools = mem_array(WorkerPool, out->pool_count);
    for (size_t i = 0; i < out->pool_count; i++) {
        out->pools[i].number = rows_u32(&rows, i, 0);
        rows_copy(&rows, i, 1, out->pools[i].name, sizeof out->pools[i].name);
        rows_uuid(&rows, i, 2, &out->pools[i].generation);
    }
    return true;
}

bool catalog_worker_hello(Catalog *c, const WorkerHello *hello, WorkerWelcome *out, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    *out = (WorkerWelcome){0};
    args_uuid(&args, &hello->instance);
    args_text(&args, hello->name);
    args_text(&args, hello->version);
    args_i32(&args, (int32_t)hello->slots);
    args_time(&args, hello->clock_ns);
    args_text(&args, hello->facts.len == 0 ? TEXT("{}") : hello->facts);
    if (!statement_row(c, &asset_sql_worker_hello_sql, &args, &rows, err))
        return false;
    out->worker = rows_u32(&rows, 0, 0);
    out->lease_ms = rows_i64(&rows, 0, 1);
    out->beat_ms = rows_i64(&rows, 0, 2);
    out->liveness_ms = rows_i64(&rows, 0, 3);
    out->drain = rows_flag(&rows, 0, 4);
    return pools(c, out, err);
}

void catalog_worker_welcome_free(WorkerWelcome *welcome)
{
    mem_free(welcome->pools);
    *welcome = (WorkerWelcome){0};
}

bool catalog_worker_bye(Catalog *c, const Uuid *instance, Err *err)
{
    scoped(args_free) Args args = {0};
    args_uuid(&args, instance);
    return statement_run(c, &asset_sql_worker_bye_sql, &args, NULL, err);
}

static void column(Args *args, const BeatRow *rows, size_t count, size_t offset)
{
    args_array(args, ELEMENT_I64, count);
    for (size_t i = 0; i < count; i++) {
        uint64_t value;
        memcpy(&value, (const char *)&rows[i] + offset, sizeof value);
        args_element_i64(args, (int64_t)value);
    }
    args_array_end(args);
}

static void texts(Args *args, const BeatRow *rows, size_t count, size_t offset)
{
    args_array(args, ELEMENT_TEXT, count);
    for (size_t i = 0; i < count; i++) {
        Text value;
        memcpy(&value, (const char *)&rows[i] + offset, sizeof value);
        args_element_text(args, value);
    }
    args_array_end(args);
}

static void beat_args(Args *args, const Uuid *instance, const BeatRow *rows, size_t count)
{
    args_uuid(args, instance);
    column(args, rows, count, offsetof(BeatRow, fence.job));
    column(args, rows, count, offsetof(BeatRow, fence.attempt));
    args_array(args, ELEMENT_UUID, count);
    for (size_t i = 0; i < count; i++)
        args_element_bytes(args, rows[i].fence.claim.bytes, sizeof rows[i].fence.claim.bytes);
    args_array_end(args);
    texts(args, rows, count, offsetof(BeatRow, phase));
    column(args, rows, count, offsetof(BeatRow, bytes_done));
    column(args, rows, count, offsetof(BeatRow, bytes_total));
    texts(args, rows, count, offsetof(BeatRow, total_basis));
    column(args, rows, count, offsetof(BeatRow, items_done));
    column(args, rows, count, offsetof(BeatRow, errors));
    column(args, rows, count, offsetof(BeatRow, stored));
}

bool catalog_worker_beat(Catalog *c, const Uuid *instance, const BeatRow *rows, size_t count,
                         BeatAnswer *answers, BeatSummary *summary, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows renewed = {0};
    *summary = (BeatSummary){0};
    beat_args(&args, instance, rows, count);
    if (!statement_run(c, &asset_sql_worker_beat_sql, &args, &renewed, err))
        return false;
    /* Only after the answer is there: a call that failed says nothing about the leases. */
    for (size_t i = 0; i < count; i++)
        answers[i] = (BeatAnswer){0};
    for (size_t i = 0; i < rows_count(&renewed); i++) {
        size_t n = (size_t)rows_i64(&renewed, i, 0);
        if (n == 0)
            *summary = (BeatSummary){.known = true,
                                     .drain = rows_flag(&renewed, i, 2),
                                     .changed = rows_flag(&renewed, i, 3)};
        else if (n <= count)
            answers[n - 1] = (BeatAnswer){.held = true, .cancel = rows_flag(&renewed, i, 2)};
    }
    return true;
}
