/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_window.h"

#include "common/base/mem.h"
#include "common/catalog/statement.h"

bool catalog_time_load(Catalog *c, TimeList *out, Err *err)
{
    scoped(rows_free) Rows rows = {0};
    *out = (TimeList){0};
    if (!statement_run(c, &asset_sql_time_load_sql, NULL, &rows, err))
        return false;
    out->count = rows_count(&rows);
    out->rows = mem_array(TimeRow, out->count);
    for (size_t i = 0; i < out->count; i++) {
        TimeRow *row = &out->rows[i];
        row->source = rows_u32(&rows, i, 0);
        rows_copy(&rows, i, 1, row->timezone, sizeof row->timezone);
        row->windows = mem_text(rows_text(&rows, i, 2));
        row->calendars = mem_text(rows_text(&rows, i, 3));
        row->methods = mem_text(rows_text(&rows, i, 4));
    }
    return true;
}

void catalog_time_free(TimeList *list)
{
    for (size_t i = 0; i < list->count; i++) {
        mem_free(list->rows[i].windows);
        mem_free(list->rows[i].calendars);
        mem_free(list->rows[i].methods);
    }
    mem_free(list->rows);
    *list = (TimeList){0};
}

bool catalog_windows_keep(Catalog *c, uint64_t policy_mark, const WindowRow *rows, size_t count,
                          bool all, bool *taken, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows answer = {0};
    args_i64(&args, (int64_t)policy_mark);
    args_array(&args, ELEMENT_I32, count);
    for (size_t i = 0; i < count; i++)
        args_element_i32(&args, (int32_t)rows[i].source);
    args_array_end(&args);
    args_array(&args, ELEMENT_TEXT, count);
    for (size_t i = 0; i < count; i++)
        args_element_text(&args, rows[i].method);
    args_array_end(&args);
    args_array(&args, ELEMENT_FLAG, count);
    for (size_t i = 0; i < count; i++)
        args_element_flag(&args, rows[i].open);
    args_array_end(&args);
    args_array(&args, ELEMENT_TIME, count);
    for (size_t i = 0; i < count; i++)
        args_element_time(&args, rows[i].since_ns);
    args_array_end(&args);
    args_array(&args, ELEMENT_TIME, count);
    for (size_t i = 0; i < count; i++)
        args_element_time(&args, rows[i].until_ns);
    args_array_end(&args);
    args_array(&args, ELEMENT_FLAG, count);
    for (size_t i = 0; i < count; i++)
        args_element_flag(&args, rows[i].cancels);
    args_array_end(&args);
    args_array(&args, ELEMENT_TEXT, count);
    for (size_t i = 0; i < count; i++)
        args_element_text(&args, rows[i].words);
    args_array_end(&args);
    args_flag(&args, all);
    if (!statement_row(c, &asset_sql_windows_keep_sql, &args, &answer, err))
        return false;
    *taken = rows_flag(&answer, 0, 0);
    return true;
}

bool catalog_windows_act(Catalog *c, WindowsActed *out, Err *err)
{
    scoped(rows_free) Rows rows = {0};
    if (!statement_row(c, &asset_sql_windows_act_sql, NULL, &rows, err))
        return false;
    *out = (WindowsActed){.now_ns = rows_time(&rows, 0, 0),
                          .policy_mark = rows_u64(&rows, 0, 1),
                          .put_off = rows_u32(&rows, 0, 2),
                          .stopped = rows_u32(&rows, 0, 3)};
    return true;
}

bool catalog_source_shut(Catalog *c, Text source, Text method, Buf *why, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    args_text(&args, source);
    args_text_or_null(&args, method);
    if (!statement_run(c, &asset_sql_source_shut_sql, &args, &rows, err))
        return false;
    if (rows_count(&rows) != 0)
        buf_add_text(why, rows_text(&rows, 0, 0));
    return true;
}
