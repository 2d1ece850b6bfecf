/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/view_args.h"

enum { OID_INT8 = 20, OID_INT4 = 23, OID_TEXT = 25, OID_TIMESTAMPTZ = 1184, OID_UUID = 2950 };

const unsigned view_args_types[VIEW_ARGS_COUNT] = {
    OID_TEXT, OID_TEXT, OID_TEXT, OID_TEXT,        OID_TEXT,        OID_INT8,
    OID_INT8, OID_UUID, OID_UUID, OID_TIMESTAMPTZ, OID_TIMESTAMPTZ, OID_INT4,
};

static void number(Args *args, uint64_t value)
{
    if (value == 0)
        args_i64_null(args);
    else
        args_i64(args, (int64_t)value);
}

void view_args_add(Args *args, const ViewArgs *view)
{
    uint32_t limit = view->limit == 0 ? 100 : view->limit > 1000 ? 1000 : view->limit;
    args_text_or_null(args, view->source);
    args_text_or_null(args, view->state);
    args_text_or_null(args, view->kind);
    args_text_or_null(args, view->name);
    args_text_or_null(args, view->cursor);
    number(args, view->job);
    number(args, view->after);
    args_uuid(args, view->first);
    args_uuid(args, view->last);
    args_time(args, view->since_ns);
    args_time(args, view->until_ns);
    args_i32(args, (int32_t)limit);
}
