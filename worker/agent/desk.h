/* SPDX-License-Identifier: Apache-2.0
 * desk.h — the thread that asks the catalogue, so that the event loop never waits for it.
 * A DeskTask is work to be done with the connection and an end on the loop's thread. Tasks run one
 * after the other in the order posted; those of a kind that can be done together and wait one
 * behind the other are. While the catalogue cannot be reached a task with patience waits and is
 * tried again, one without fails at once; every task may run more than once, as every call of the
 * catalogue may. */
#ifndef WORKER_AGENT_DESK_H
#define WORKER_AGENT_DESK_H

#include "common/base/loop.h"
#include "common/catalog/catalog.h"

typedef struct Desk Desk;
typedef struct DeskTask DeskTask;

/* First member of each kind of task. The poster owns it until desk_post, and again in done. */
struct DeskTask {
    bool (*work)(DeskTask *task, Catalog *catalog, Err *err); /* on the desk's thread */
    /* The same for several that have the same work_all; all or none is done. NULL: each alone. */
    bool (*work_all)(DeskTask *const *tasks, size_t count, Catalog *catalog, Err *err);
    void (*done)(DeskTask *task, const Err *err); /* on the loop's thread */
    int64_t patience_ms; /* how long an unreachable catalogue is waited for */
    int64_t until_ns;    /* below: the desk's own */
    Err err;
    DeskTask *next;
};

enum { DESK_TOGETHER_MOST = 32 };

typedef struct DeskParams {
    Loop *loop;
    CatalogParams catalog; /* what it points at lives as long as the desk */
    void *ctx;
    /* The catalogue became reachable (err NULL) or not; on the loop's thread. */
    void (*on_state)(void *ctx, const Err *err);
} DeskParams;

/* Will the same call succeed later, by itself? */
bool desk_passing(const Err *err);

MUST_CHECK bool desk_start(Desk **out, const DeskParams *params, Err *err);
void desk_post(Desk *desk, DeskTask *task);

/* Ends the thread; an answer that it waits for is not waited for any longer: behind a pooler a
 * server that is away shows as silence. Tasks that did not run are ended here, with ERR_CANCELLED,
 * as are those whose end had not reached the loop. NULL is fine. */
void desk_stop(Desk *desk);

#endif
