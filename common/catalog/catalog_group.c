/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_group.h"

#include "common/catalog/statement.h"

static bool state_of(Text name, GroupState *out)
{
    static const char *const names[] = {[GROUP_GATHERING] = "gathering",
                                        [GROUP_HOLDING] = "holding",
                                        [GROUP_HELD] = "held",
                                        [GROUP_PASSED] = "passed",
                                        [GROUP_BROKEN] = "broken"};
    for (GroupState state = GROUP_GATHERING; state <= GROUP_BROKEN; state++) {
        if (text_equal(name, text_of(names[state]))) {
            *out = state;
            return true;
        }
    }
    return false;
}

bool catalog_group_step(Catalog *c, const Fence *fence, const char *step, const char *text,
                        GroupNow *out, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_text(&args, text_of(step));
    args_text_or_null(&args, text_of(text));
    if (!statement_row(c, &asset_sql_group_step_sql, &args, &rows, err))
        return false;
    if (!state_of(rows_text(&rows, 0, 0), &out->state))
        return err_set(err, ERR_BUG, "group.state", "an unknown state of a group");
    out->ready = rows_flag(&rows, 0, 1);
    rows_copy(&rows, 0, 2, out->why, sizeof out->why);
    rows_copy(&rows, 0, 3, out->held_at, sizeof out->held_at);
    return true;
}

bool catalog_group_unreleased(Catalog *c, uint64_t job, uint64_t attempt, const char *text,
                              Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    args_i64(&args, (int64_t)job);
    args_i64(&args, (int64_t)attempt);
    args_text(&args, text_of(text));
    return statement_row(c, &asset_sql_group_unreleased_sql, &args, &rows, err);
}
