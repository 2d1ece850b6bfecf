/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/mem.h"
#include "common/catalog/catalog_plan.h"
#include "common/catalog/statement.h"

bool catalog_pools(Catalog *c, PoolList *out, Err *err)
{
    scoped(rows_free) Rows rows = {0};
    *out = (PoolList){0};
    if (!statement_run(c, &asset_sql_pools_sql, NULL, &rows, err))
        return false;
    out->count = rows_count(&rows);
    out->rows = mem_array(PoolRow, out->count);
    for (size_t i = 0; i < out->count; i++) {
        PoolRow *row = &out->rows[i];
        row->number = rows_u32(&rows, i, 0);
        rows_copy(&rows, i, 1, row->name, sizeof row->name);
        rows_uuid(&rows, i, 2, &row->generation);
        row->window = rows_u32(&rows, i, 3);
        row->due = rows_u32(&rows, i, 4);
        row->queued = rows_u32(&rows, i, 5);
        row->running = rows_u32(&rows, i, 6);
        row->paused = rows_flag(&rows, i, 7);
        row->oldest_ns = rows_time(&rows, i, 8);
        out->next_ns = rows_time(&rows, i, 9);
    }
    return true;
}

bool catalog_jobs_due(Catalog *c, PoolList *out, Err *err)
{
    *out = (PoolList){0};
    return statement_run(c, &asset_sql_jobs_overdue_sql, NULL, NULL, err) &&
           catalog_pools(c, out, err);
}

void catalog_pools_free(PoolList *list)
{
    mem_free(list->rows);
    *list = (PoolList){0};
}

static bool tickets(Catalog *c, const Asset *sql, const Args *args, TicketList *out, Err *err)
{
    scoped(rows_free) Rows rows = {0};
    *out = (TicketList){0};
    if (!statement_run(c, sql, args, &rows, err))
        return false;
    out->count = rows_count(&rows);
    out->rows = mem_array(TicketRow, out->count);
    for (size_t i = 0; i < out->count; i++) {
        out->rows[i].job = rows_u64(&rows, i, 0);
        out->rows[i].dispatch = rows_u64(&rows, i, 1);
        rows_copy(&rows, i, 2, out->rows[i].kind, sizeof out->rows[i].kind);
        out->rows[i].urgent = rows_flag(&rows, i, 3);
    }
    return true;
}

bool catalog_dispatch_pick(Catalog *c, uint32_t pool, int32_t most, TicketList *out, Err *err)
{
    scoped(args_free) Args args = {0};
    args_i32(&args, (int32_t)pool);
    args_i32(&args, most);
    return tickets(c, &asset_sql_dispatch_pick_sql, &args, out, err);
}

static bool requeue(Catalog *c, uint32_t pool, bool all, TicketList *out, Err *err)
{
    scoped(args_free) Args args = {0};
    args_i32(&args, (int32_t)pool);
    args_flag(&args, all);
    return tickets(c, &asset_sql_requeue_sql, &args, out, err);
}

bool catalog_requeue(Catalog *c, uint32_t pool, TicketList *out, Err *err)
{
    return requeue(c, pool, false, out, err);
}

bool catalog_requeue_all(Catalog *c, uint32_t pool, TicketList *out, Err *err)
{
    return requeue(c, pool, true, out, err);
}

void catalog_tickets_free(TicketList *list)
{
    mem_free(list->rows);
    *list = (TicketList){0};
}

bool catalog_tickets_done(Catalog *c, const TicketRow *rows, size_t count, bool *done, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows ended = {0};
    args_array(&args, ELEMENT_I64, count);
    for (size_t i = 0; i < count; i++)
        args_element_i64(&args, (int64_t)rows[i].job);
    args_array_end(&args);
    args_array(&args, ELEMENT_I64, count);
    for (size_t i = 0; i < count; i++)
        args_element_i64(&args, (int64_t)rows[i].dispatch);
    args_array_end(&args);
    if (!statement_run(c, &asset_sql_tickets_done_sql, &args, &ended, err))
        return false;
    memset(done, 0, count * sizeof *done);
    for (size_t i = 0; i < rows_count(&ended); i++) {
        size_t n = (size_t)rows_i64(&ended, i, 0);
        if (n > 0 && n <= count)
            done[n - 1] = true;
    }
    return true;
}

bool catalog_redis_generation(Catalog *c, uint32_t pool, bool renew, Uuid *out, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    const Asset *sql = renew ? &asset_sql_pool_renew_sql : &asset_sql_pool_generation_sql;
    args_i32(&args, (int32_t)pool);
    if (!statement_run(c, sql, &args, &rows, err))
        return false;
    if (rows_count(&rows) == 0)
        return err_set(err, ERR_MISSING, "pool.unknown", "there is no pool p%u", pool);
    rows_uuid(&rows, 0, 0, out);
    return true;
}

/* A switch of a named thing: no row means that nothing has the name. */
static bool flip(Catalog *c, const Asset *sql, Text name, bool on, Text reason, Text actor,
                 const char *cause, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    args_text(&args, name);
    args_flag(&args, on);
    args_text(&args, actor);
    args_text(&args, reason);
    if (!statement_run(c, sql, &args, &rows, err))
        return false;
    if (rows_count(&rows) == 0)
        return err_set(err, ERR_MISSING, cause, "nothing is called %.*s", TEXT_ARG(name));
    return true;
}

bool catalog_pool_pause(Catalog *c, Text pool, bool paused, Text reason, Text actor, Err *err)
{
    return flip(c, &asset_sql_pool_pause_sql, pool, paused, reason, actor, "pool.unknown", err);
}

bool catalog_worker_drain(Catalog *c, Text worker, bool drain, Text reason, Text actor, Err *err)
{
    return flip(c, &asset_sql_worker_drain_sql, worker, drain, reason, actor, "worker.unknown",
                err);
}
