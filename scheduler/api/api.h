/* SPDX-License-Identifier: Apache-2.0
 * api.h — the REST API: requests matched and authorised by protocol/routes.def, answered from the
 * catalogue's views, changes made by its fenced calls. It holds no state of its own; every handler
 * thread has a catalogue connection, which comes back by itself. */
#ifndef SCHEDULER_API_API_H
#define SCHEDULER_API_API_H

#include "common/catalog/catalog_token.h"
#include "scheduler/core/core.h"
#include "scheduler/http/server.h"

#include <jansson.h>

typedef struct ApiParams {
    CatalogParams catalog;
    Core *core;
} ApiParams;

/* The functions that server_start wants; ctx is the ApiParams. */
void *api_thread_open(void *ctx);
void api_thread_close(void *ctx, void *own);
void api_handle(void *ctx, void *own, const ServerCall *call, ServerAnswer *answer);

/* Makes the first admin token and writes it to `path`, mode 0600, where no admin token lives yet.
 */
MUST_CHECK bool api_bootstrap_token(Catalog *catalog, const char *path, bool *made, Err *err);

/* --- for the handlers (api_*.c) -----------------------------------------------------------------
 */

enum { API_PARTS = 3 };

typedef struct ApiCall {
    const ApiParams *params;
    Catalog *catalog;
    const ServerCall *http;
    ServerAnswer *answer;
    Text parts[API_PARTS]; /* what {…} of the route matched, decoded */
    TokenRow token;
    json_t *body;     /* an object; empty where the request had none */
    json_t *problems; /* of an ERR_INVALID: the list of errors, taken over */
} ApiCall;

#define ROUTE(symbol, ...) MUST_CHECK bool api_##symbol(ApiCall *call, Err *err);
#include "protocol/routes.def"
#undef ROUTE

/* A job that was made: 202, Location, the job as body. */
MUST_CHECK bool api_job_made(ApiCall *call, uint64_t job, Err *err);

/* Creates a job as the caller; params is taken over. */
MUST_CHECK bool api_make_job(ApiCall *call, const char *kind, Text source, Text pool,
                             json_t *params, uint64_t *job, Err *err);

/* The id of a backup from a whole id or a unique prefix. */
MUST_CHECK bool api_find_backup(ApiCall *call, Text text, Uuid *id, Err *err);

/* limit and cursor of the query. */
void api_page(const ApiCall *call, uint32_t *limit, Buf *cursor);

#endif
