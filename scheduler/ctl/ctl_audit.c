/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/ctl.h"

#include <stdlib.h>

bool ctl_audit_log(Ctl *ctl, Err *err)
{
    static const PrintColumn columns[] = {
        {"SEQ", "seq", AS_COUNT},      {"AT", "at", AS_WHEN},         {"WHO", "actor", AS_TEXT},
        {"VIA", "via", AS_TEXT},       {"WHAT", "action", AS_TEXT},   {"OBJECT", "object", AS_TEXT},
        {"RESULT", "result", AS_TEXT}, {"REASON", "reason", AS_TEXT},
    };
    json_t *items = NULL;
    size_t limit;
    scoped(buf_free) Buf path = {0};
    buf_printf(&path, "/audit/events");
    ctl_query(&path, "since", ctl->args->since);
    ctl_query(&path, "until", ctl->args->until);
    bool done = ctl_limit(ctl, 50, &limit, err) &&
                client_list(ctl->client, buf_cstr(&path), limit, &items, err);
    if (done)
        ctl_list(ctl, items, columns, sizeof columns / sizeof *columns, "seq");
    json_decref(items);
    return done;
}
