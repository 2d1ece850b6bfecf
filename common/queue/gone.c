/* SPDX-License-Identifier: Apache-2.0 */
#include "common/queue/gone.h"

#include "common/base/mem.h"

typedef struct GoneWorker {
    Uuid worker;
    uint32_t pool;
    int64_t since_ms;
} GoneWorker;

static GoneWorker *find(const Gone *gone, uint32_t pool, const Uuid *worker)
{
    for (size_t i = 0; i < gone->count; i++)
        if (gone->rows[i].pool == pool && uuid_equal(&gone->rows[i].worker, worker))
            return &gone->rows[i];
    return NULL;
}

void gone_free(Gone *gone)
{
    mem_free(gone->rows);
    *gone = (Gone){0};
}

bool gone_for(const Gone *gone, uint32_t pool, const Uuid *worker, int64_t now_ms, int64_t grace_ms)
{
    const GoneWorker *row = find(gone, pool, worker);
    return row != NULL && now_ms - row->since_ms >= grace_ms;
}

void gone_seen(Gone *gone, uint32_t pool, const Uuid *worker, bool empty, int64_t now_ms)
{
    GoneWorker *row = find(gone, pool, worker);
    if (row != NULL && empty)
        return;
    if (row == NULL) {
        if (gone->count == gone->room) {
            gone->room = gone->room == 0 ? 16 : 2 * gone->room;
            gone->rows = mem_resize(gone->rows, gone->room * sizeof(GoneWorker));
        }
        row = &gone->rows[gone->count++];
    }
    *row = (GoneWorker){.worker = *worker, .pool = pool, .since_ms = now_ms};
}

void gone_drop(Gone *gone, uint32_t pool, const Uuid *worker)
{
    GoneWorker *row = find(gone, pool, worker);
    if (row != NULL)
        *row = gone->rows[--gone->count];
}
