/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/api/api.h"

enum { BARRIERS_MOST = 1000 };

bool api_group_list(ApiCall *call, Err *err)
{
    scoped(buf_free) Buf group = {0};
    scoped(buf_free) Buf state = {0};
    ViewArgs args = {.limit = BARRIERS_MOST};
    if (!api_choice(call, "state", "complete,partial,broken,gone,gathering,holding,held,passed",
                    &state, err) ||
        !api_span(call, &args, err))
        return false;
    api_query(call, "group", &group);
    args.name = buf_text(&group);
    args.state = buf_text(&state);
    return catalog_view(call->catalog, VIEW_GROUPS, &args, &call->answer->body, err);
}
