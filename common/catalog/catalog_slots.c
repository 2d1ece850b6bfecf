/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/mem.h"
#include "common/catalog/catalog_plan.h"
#include "common/catalog/statement.h"

bool catalog_schedule_load(Catalog *c, ScheduleList *out, Err *err)
{
    scoped(rows_free) Rows rows = {0};
    *out = (ScheduleList){0};
    if (!catalog_server_now(c, &out->now_ns, err) ||
        !statement_run(c, &asset_sql_schedule_load_sql, NULL, &rows, err))
        return false;
    out->count = rows_count(&rows);
    out->rows = mem_array(ScheduleRow, out->count);
    for (size_t i = 0; i < out->count; i++) {
        ScheduleRow *row = &out->rows[i];
        row->source = rows_u32(&rows, i, 0);
        rows_copy(&rows, i, 1, row->source_name, sizeof row->source_name);
        rows_copy(&rows, i, 2, row->name, sizeof row->name);
        rows_copy(&rows, i, 3, row->kind, sizeof row->kind);
        rows_copy(&rows, i, 4, row->at, sizeof row->at);
        rows_copy(&rows, i, 5, row->timezone, sizeof row->timezone);
        row->catch_up = rows_flag(&rows, i, 6);
        row->paused = rows_flag(&rows, i, 7);
        row->start_deadline_s = rows_i64(&rows, i, 8);
        row->last_slot_ns = rows_time(&rows, i, 9);
        out->now_ns = rows_time(&rows, i, 10);
        out->policy_mark = rows_u64(&rows, i, 11);
        rows_copy(&rows, i, 12, row->method, sizeof row->method);
        row->overlap_queue = rows_flag(&rows, i, 13);
    }
    return true;
}

void catalog_schedule_free(ScheduleList *list)
{
    mem_free(list->rows);
    *list = (ScheduleList){0};
}

static void slot_times(Args *args, const SlotRow *rows, size_t count, size_t offset)
{
    args_array(args, ELEMENT_TIME, count);
    for (size_t i = 0; i < count; i++) {
        int64_t value;
        memcpy(&value, (const char *)&rows[i] + offset, sizeof value);
        args_element_time(args, value);
    }
    args_array_end(args);
}

bool catalog_slots_fire(Catalog *c, const SlotRow *rows, size_t count, SlotAnswer *answers,
                        Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows made = {0};
    args_array(&args, ELEMENT_I32, count);
    for (size_t i = 0; i < count; i++)
        args_element_i32(&args, (int32_t)rows[i].source);
    args_array_end(&args);
    args_array(&args, ELEMENT_TEXT, count);
    for (size_t i = 0; i < count; i++)
        args_element_text(&args, rows[i].schedule);
    args_array_end(&args);
    slot_times(&args, rows, count, offsetof(SlotRow, old_slot_ns));
    slot_times(&args, rows, count, offsetof(SlotRow, slot_ns));
    slot_times(&args, rows, count, offsetof(SlotRow, start_by_ns));
    args_array(&args, ELEMENT_FLAG, count);
    for (size_t i = 0; i < count; i++)
        args_element_flag(&args, rows[i].missed);
    args_array_end(&args);
    args_array(&args, ELEMENT_TEXT, count);
    for (size_t i = 0; i < count; i++)
        args_element_text(&args, rows[i].code);
    args_array_end(&args);
    args_array(&args, ELEMENT_TEXT, count);
    for (size_t i = 0; i < count; i++)
        args_element_text(&args, rows[i].why);
    args_array_end(&args);
    if (!statement_run(c, &asset_sql_slots_fire_sql, &args, &made, err))
        return false;
    memset(answers, 0, count * sizeof *answers);
    for (size_t i = 0; i < rows_count(&made); i++) {
        size_t n = (size_t)rows_i64(&made, i, 0);
        if (n == 0 || n > count)
            return err_set(err, ERR_BUG, "catalogue.place", "slots_fire gave place %zu of %zu", n,
                           count);
        answers[n - 1].job = rows_u64(&made, i, 1);
        rows_copy(&made, i, 2, answers[n - 1].state, sizeof answers[n - 1].state);
    }
    return true;
}
