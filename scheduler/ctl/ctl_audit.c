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
    bool done = ctl_limit(ctl, 50, &limit, err) &&
                client_list(ctl->client, "/audit/events", limit, &items, err);
    if (done)
        ctl_list(ctl, items, columns, sizeof columns / sizeof *columns, "seq");
    json_decref(items);
    return done;
}
