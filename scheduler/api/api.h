/* SPDX-License-Identifier: Apache-2.0
 * api.h — the REST API: requests matched and authorised by protocol/routes.def, answered from the
 * catalogue's views, changes made by its fenced calls. It holds no state of its own; every handler
 * thread has a catalogue connection, which comes back by itself. */
#ifndef SCHEDULER_API_API_H
#define SCHEDULER_API_API_H

#include "common/catalog/catalog_job.h"
#include "common/catalog/catalog_token.h"
#include "common/catalog/catalog_view.h"
#include "scheduler/api/api_route.h"
#include "scheduler/core/core.h"

#include <jansson.h>

typedef struct ApiParams {
    CatalogParams catalog;
    Core *core;
    struct Feed *feed; /* NULL: /events answers 503 */
} ApiParams;

/* The functions that server_start wants; ctx is the ApiParams. */
void *api_thread_open(void *ctx);
void api_thread_close(void *ctx, void *own);
void api_handle(void *ctx, void *own, const ServerCall *call, ServerAnswer *answer);

/* The OpenAPI document; indented for eyes. */
void api_openapi_print(Buf *out, bool indented);

/* Makes the first admin token and writes it to `path`, mode 0600, where no admin token lives yet.
 */
MUST_CHECK bool api_bootstrap_token(Catalog *catalog, const char *path, bool *made, Err *err);

/* --- for the handlers (api_*.c) -----------------------------------------------------------------
 */

struct ApiCall {
    const ApiParams *params;
    Catalog *catalog;
    const ServerCall *http;
    ServerAnswer *answer;
    Text parts[API_PARTS]; /* what {…} of the route matched, decoded */
    TokenRow token;
    json_t *body;     /* an object; empty where the request had none */
    json_t *problems; /* of an ERR_INVALID: the list of errors, taken over */
};

#define ROUTE(symbol, ...) MUST_CHECK bool api_##symbol(ApiCall *call, Err *err);
#include "protocol/routes.def"
#undef ROUTE

/* A job that was made: 202, Location, the job as body. */
MUST_CHECK bool api_job_made(ApiCall *call, uint64_t job, Err *err);

/* A page of jobs by the filters of the query; `only`: of this kind, NULL: of those asked for. */
MUST_CHECK bool api_job_page(ApiCall *call, const char *only, Err *err);

/* Creates a job as the caller; params is taken over. */
MUST_CHECK bool api_make_job(ApiCall *call, const char *kind, Text source, Text pool,
                             json_t *params, uint64_t *job, Err *err);

/* The request's Idempotency-Key; empty: none. */
Text api_key(const ApiCall *call);

/* The same for a job that a function of its own has made: audited, woken for, answered. */
MUST_CHECK bool api_job_asked(ApiCall *call, const JobCreated *created, const char *action,
                              Text object, Text reason, Err *err);

/* The id of a backup from a whole id or a unique prefix. */
MUST_CHECK bool api_find_backup(ApiCall *call, Text text, Uuid *id, Err *err);

/* Calls the route's handler; a POST with an Idempotency-Key once only (api_once.c). */
MUST_CHECK bool api_once(ApiCall *call, const ApiRoute *route, Err *err);

/* The fleet file of the request, compiled; an invalid one ends with every problem in the answer. */
MUST_CHECK bool api_policy_read(ApiCall *call, json_t **compiled, Err *err);

/* Fills "next_at" of sources (objects with "name" and maybe "schedules"), null where none is due.
 */
MUST_CHECK bool api_schedule_next(ApiCall *call, json_t *sources, Err *err);

/* A value of the query, decoded; false where it is absent. */
bool api_query(const ApiCall *call, const char *name, Buf *out);
/* The same, each of its words (a,b) one of `choices`. Absent is fine. */
MUST_CHECK bool api_choice(const ApiCall *call, const char *name, const char *choices, Buf *out,
                           Err *err);

/* A number, 1 or more, of the query. */
MUST_CHECK bool api_number(const ApiCall *call, const char *name, uint64_t otherwise, uint64_t *out,
                           Err *err);

/* `since` and `until` of the query, instants; absent is fine. */
MUST_CHECK bool api_span(const ApiCall *call, ViewArgs *args, Err *err);

/* limit and cursor of the query, checked; `cursor` keeps the text that args borrows. */
typedef enum ApiCursor {
    API_CURSOR_NUMBER,
    API_CURSOR_PAIR, /* of numbers: 12.34 */
    API_CURSOR_UUID,
    API_CURSOR_NAME
} ApiCursor;
MUST_CHECK bool api_page(const ApiCall *call, ApiCursor kind, ViewArgs *args, Buf *cursor,
                         Err *err);

#endif
