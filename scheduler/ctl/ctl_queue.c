/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/ctl.h"

bool ctl_queue_list(Ctl *ctl, Err *err)
{
    static const PrintColumn columns[] = {
        {"POOL", "name", AS_TEXT},
        {"PENDING", "pending", AS_COUNT},
        {"QUEUED", "queued", AS_COUNT},
        {"RUNNING", "running", AS_COUNT},
        {"SLOTS", "slots", AS_COUNT},
        {"WORKERS", "workers", AS_COUNT},
        {"OLDEST", "oldest_seconds", AS_SECONDS},
    };
    json_t *items = NULL;
    bool done = client_list(ctl->client, "/queues", 0, &items, err);
    if (done)
        ctl_list(ctl, items, columns, sizeof columns / sizeof *columns, "name");
    json_decref(items);
    return done;
}
