/* SPDX-License-Identifier: Apache-2.0
 * api_exchange.h — what a route takes and gives, by the rows of protocol/exchange.def. */
#ifndef SCHEDULER_API_API_EXCHANGE_H
#define SCHEDULER_API_API_EXCHANGE_H

#include "common/base/buf.h"

#include <jansson.h>

typedef enum ApiShape { API_ONE, API_LIST, API_WHOLE, API_BYTES, API_EVENTS } ApiShape;
typedef enum ApiPlace { API_QUERY, API_BODY } ApiPlace;

typedef struct ApiGives {
    const char *route; /* symbol of routes.def */
    int status;
    ApiShape shape;
    const char *resource; /* of api.def */
} ApiGives;

typedef struct ApiTakes {
    const char *route;
    ApiPlace place;
    const char *name;
    const char *type;
    const char *meaning;
} ApiTakes;

const ApiGives *api_exchange_gives(const char *route); /* NULL: the table has no row for it */
const ApiTakes *api_exchange_takes(size_t n);          /* NULL past the last */

/* ERR_USAGE request.parameter: the query holds a name that the route does not take, or one twice. A
 * filter that is misspelt must not look like one that finds everything. */
MUST_CHECK bool api_exchange_check(const char *route, const char *query, Err *err);

/* Of the answer's members only those that are named ("a,b"): of each item of a list, or of the one.
 * ERR_USAGE request.fields: the resource has no such member. */
MUST_CHECK bool api_exchange_select(const ApiGives *gives, Text fields, Buf *body, Err *err);

#endif
