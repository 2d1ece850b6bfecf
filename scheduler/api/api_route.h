/* SPDX-License-Identifier: Apache-2.0
 * api_route.h — which row of protocol/routes.def a request means. */
#ifndef SCHEDULER_API_API_ROUTE_H
#define SCHEDULER_API_API_ROUTE_H

#include "scheduler/http/server.h"

enum { API_PARTS = 3 };

typedef struct ApiCall ApiCall;

typedef struct ApiRoute {
    const char *method;
    const char *path;
    const char *role;
    bool (*handle)(ApiCall *call, Err *err);
    const char *symbol;
} ApiRoute;

/* parts: what {…} of the path matched, decoded. Not found: request.path (404); another method:
 * request.method (405), and *allow lists those that there are. */
MUST_CHECK bool api_route_find(const ServerCall *http, const ApiRoute **route, Buf parts[API_PARTS],
                               Buf *allow, Err *err);

/* Is the body of such a request a fleet file (or a bundle of them), not JSON? */
bool api_route_takes_file(const ApiRoute *route);

#endif
