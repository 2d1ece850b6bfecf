/* SPDX-License-Identifier: Apache-2.0
 * gone.h — the dead workers whose lists are looked at a while longer.
 * A worker whose liveness key is gone may be dead, or stopped, or cut off; what it asked for last
 * may still be on its way, and Redis then moves a ticket into its list after that was found empty.
 * So a worker is forgotten only when its list was empty throughout a grace. Who remembers is the
 * scheduler that looks; another one begins its own grace. Kept in memory, in no order. */
#ifndef COMMON_QUEUE_GONE_H
#define COMMON_QUEUE_GONE_H

#include "protocol/ids.h"

typedef struct Gone {
    struct GoneWorker *rows;
    size_t count, room;
} Gone;

void gone_free(Gone *gone);

/* Was this worker's list of this pool found empty grace_ms ago, and ever since? */
bool gone_for(const Gone *gone, uint32_t pool, const Uuid *worker, int64_t now_ms,
              int64_t grace_ms);
/* Found dead just now. empty: nothing was in its list; otherwise its grace begins anew. */
void gone_seen(Gone *gone, uint32_t pool, const Uuid *worker, bool empty, int64_t now_ms);
/* It lives, or was forgotten. */
void gone_drop(Gone *gone, uint32_t pool, const Uuid *worker);

#endif
