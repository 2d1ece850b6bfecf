/* SPDX-License-Identifier: Apache-2.0
 * client.h — the REST API as the command uses it: one server, one token, JSON in and out.
 * A problem document (RFC 9457) becomes an Err with its code as cause; its exit code follows from
 * the HTTP status. */
#ifndef SCHEDULER_CTL_CLIENT_H
#define SCHEDULER_CTL_CLIENT_H

#include "common/base/http.h"
#include "scheduler/ctl/args.h"

#include <jansson.h>

typedef struct Client Client;

/* Server, token and certificates from flags or their variables: HOLDFAST_SERVER,
 * HOLDFAST_TOKEN_FILE, HOLDFAST_CA_FILE, HOLDFAST_CERT_FILE, HOLDFAST_KEY_FILE. */
MUST_CHECK bool client_open(Client **out, const Args *args, Err *err);
void client_close(Client *client);

/* GET path (below /api/v1). *answer is the caller's (json_decref). */
MUST_CHECK bool client_get(Client *client, const char *path, json_t **answer, Err *err);

/* A POST, PUT or DELETE; body may be NULL. A fresh Idempotency-Key goes with every POST, and the
 * request is sent once more with the same key when the connection broke. */
MUST_CHECK bool client_send(Client *client, const char *method, const char *path,
                            const json_t *body, json_t **answer, Err *err);

/* A body that is not JSON: a fleet file. if_match: the ETag that must be there, in its quotes;
 * NULL: any. */
typedef struct ClientBody {
    Slice bytes;
    const char *type;
    const char *if_match;
} ClientBody;

/* The same with such a body. */
MUST_CHECK bool client_send_file(Client *client, const char *method, const char *path,
                                 const ClientBody *body, json_t **answer, Err *err);

/* A body that streams to `sink`. */
MUST_CHECK bool client_stream(Client *client, const char *path, HttpSink *sink, void *ctx,
                              Err *err);

/* What happens, as the API tells it: client_listen begins (path with its filter), client_hear waits
 * timeout_ms at most and says whether anything came. A server that cannot be listened to any more
 * is no failure: *deaf, and the caller must look for itself. */
MUST_CHECK bool client_listen(Client *client, const char *path, Err *err);
void client_hear(Client *client, int64_t timeout_ms, bool *news, bool *deaf);

/* Every item of a list, page after page, `limit` at most (0: all). */
MUST_CHECK bool client_list(Client *client, const char *path, size_t limit, json_t **items,
                            Err *err);

/* The last problem document, for `-o json` on stderr; NULL when there was none. */
const json_t *client_problem(const Client *client);

#endif
