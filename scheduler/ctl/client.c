/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/client.h"

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/base/secret.h"

#include <stdlib.h>

static const char DEFAULT_SERVER[] = "http://127.0.0.1:8480";

/* Long enough for a policy of a large fleet, short enough to say so at 3 a.m. */
static const int64_t REQUEST_MS = 60000;

struct Client {
    Http *http;
    char *server;
    char *ca_file;
    char *cert_file;
    char *key_file;
    Secret *token;
    json_t *problem;
    Http *ears; /* what client_listen began */
    Buf ears_url;
    bool heard;
};

static const char *setting(const char *flag, const char *variable)
{
    return flag != NULL ? flag : getenv(variable);
}

bool client_open(Client **out, const Args *args, Err *err)
{
    const char *server = setting(args->server, "HOLDFAST_SERVER");
    const char *token_file = setting(args->token_file, "HOLDFAST_TOKEN_FILE");
    Client *client = mem_new(Client);
    *out = client;
    client->server = mem_string(server == NULL ? DEFAULT_SERVER : server);
    client->ca_file = mem_string(setting(args->ca_file, "HOLDFAST_CA_FILE"));
    client->cert_file = mem_string(setting(args->cert_file, "HOLDFAST_CERT_FILE"));
    client->key_file = mem_string(setting(args->key_file, "HOLDFAST_KEY_FILE"));
    size_t len = strlen(client->server);
    if (len != 0 && client->server[len - 1] == '/')
        client->server[len - 1] = 0;
    if (!http_open(&client->http, err))
        return false;
    if (token_file == NULL)
        return true;
    if (!secret_read_file(token_file, &client->token, err))
        return err_note(err, "reading the token");
    return true;
}

void client_close(Client *client)
{
    if (client == NULL)
        return;
    http_close(client->ears);
    buf_free(&client->ears_url);
    http_close(client->http);
    secret_free(client->token);
    json_decref(client->problem);
    mem_free(client->server);
    mem_free(client->ca_file);
    mem_free(client->cert_file);
    mem_free(client->key_file);
    mem_free(client);
}

const json_t *client_problem(const Client *client)
{
    return client == NULL ? NULL : client->problem;
}

static ErrCode code_of_status(int status)
{
    switch (status) {
    case 400:
    case 405:
    case 413:
    case 414:
    case 415:
        return ERR_USAGE;
    case 401:
    case 403:
        return ERR_DENIED;
    case 404:
        return ERR_MISSING;
    case 409:
    case 410:
    case 412:
        return ERR_CONFLICT;
    case 422:
        return ERR_INVALID;
    case 408:
    case 502:
    case 503:
    case 504:
        return ERR_UNREACHABLE;
    default:
        return ERR_IO;
    }
}

/* A problem document as an Err; what is not one is quoted. */
static bool refuse(Client *client, const HttpResponse *response, Err *err)
{
    json_t *problem = json_loadb((const char *)response->body.at, response->body.len, 0, NULL);
    const char *code = json_string_value(json_object_get(problem, "code"));
    const char *detail = json_string_value(json_object_get(problem, "detail"));
    const char *title = json_string_value(json_object_get(problem, "title"));
    client->problem = problem;
    if (code == NULL)
        code = response->status == 401 ? "auth.required" : "http.status";
    if (detail == NULL)
        detail = title;
    if (response->status == 401)
        return err_set(err, ERR_DENIED, code,
                       "%s; name a token with --token-file or HOLDFAST_TOKEN_FILE",
                       detail == NULL ? "not signed in" : detail);
    if (detail != NULL)
        return err_set(err, code_of_status(response->status), code, "%s", detail);
    return err_set(err, code_of_status(response->status), code, "the server answered %d: %.*s",
                   response->status, (int)(response->body.len > 200 ? 200 : response->body.len),
                   (const char *)response->body.at);
}

static bool parse(const HttpResponse *response, json_t **answer, Err *err)
{
    json_error_t why;
    if (response->body.len == 0) {
        *answer = json_object();
        return true;
    }
    *answer = json_loadb((const char *)response->body.at, response->body.len,
                         JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (*answer == NULL)
        return err_set(err, ERR_CORRUPT, "http.not_json",
                       "the server's answer is not JSON (%s); is this a Holdfast scheduler?",
                       why.text);
    return true;
}

static void add_credentials(const Client *client, HttpRequest *request)
{
    request->ca_file = client->ca_file;
    request->cert_file = client->cert_file;
    request->key_file = client->key_file;
    if (client->token != NULL)
        request->bearer = secret_slice(client->token);
}

static bool exchange(Client *client, HttpRequest *request, const char *path, json_t **answer,
                     Err *err)
{
    scoped(buf_free) Buf url = {0};
    scoped(http_response_free) HttpResponse response = {0};
    buf_printf(&url, "%s/api/v1%s", client->server, path);
    json_decref(client->problem);
    client->problem = NULL;
    request->url = buf_cstr(&url);
    add_credentials(client, request);
    if (!http_send(client->http, request, &response, err)) {
        bool cut = err->code == ERR_UNREACHABLE && response.status != 0;
        return err->code == ERR_UNREACHABLE
                   ? err_note(err, cut ? "the answer broke off"
                                       : "the scheduler (--server) cannot be asked")
                   : false;
    }
    if (response.status < 200 || response.status > 299) /* also a redirect: see http.h */
        return refuse(client, &response, err);
    return answer == NULL || parse(&response, answer, err);
}

bool client_get(Client *client, const char *path, json_t **answer, Err *err)
{
    HttpRequest request = {.method = "GET", .timeout_ms = REQUEST_MS};
    return exchange(client, &request, path, answer, err);
}

bool client_send_file(Client *client, const char *method, const char *path, const ClientBody *body,
                      json_t **answer, Err *err)
{
    char key[UUID_TEXT];
    Uuid id = rand_uuid();
    uuid_text(&id, key);
    HttpHeader headers[] = {{"Idempotency-Key", key}, {"If-Match", body->if_match}};
    HttpRequest request = {.method = method,
                           .type = body->type,
                           .body = body->bytes,
                           .headers = headers,
                           .header_count = body->if_match == NULL ? 1 : 2,
                           .timeout_ms = REQUEST_MS};
    if (exchange(client, &request, path, answer, err))
        return true;
    if (err->code != ERR_UNREACHABLE || client->problem != NULL)
        return false;
    *err = (Err){0};
    return exchange(client, &request, path, answer, err);
}

bool client_send(Client *client, const char *method, const char *path, const json_t *body,
                 json_t **answer, Err *err)
{
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    ClientBody bytes = {.bytes = {(const uint8_t *)text, text == NULL ? 0 : strlen(text)},
                        .type = text == NULL ? NULL : "application/json"};
    bool done = client_send_file(client, method, path, &bytes, answer, err);
    free(text);
    return done;
}

bool client_stream(Client *client, const char *path, HttpSink *sink, void *ctx, Err *err)
{
    HttpRequest request = {.method = "GET", .sink = sink, .sink_ctx = ctx};
    return exchange(client, &request, path, NULL, err);
}

/* That something happened is all that is wanted. One that comes in two pieces may go unnoticed: who
 * listens looks now and then all the same. */
static bool take_event(void *ctx, Slice bytes, Err *err)
{
    Client *client = ctx;
    (void)err;
    client->heard = client->heard || memmem(bytes.at, bytes.len, "data:", 5) != NULL;
    return true;
}

bool client_listen(Client *client, const char *path, Err *err)
{
    HttpRequest request = {.method = "GET", .sink = take_event, .sink_ctx = client};
    http_close(client->ears);
    client->ears = NULL;
    buf_clear(&client->ears_url);
    buf_printf(&client->ears_url, "%s/api/v1%s", client->server, path);
    request.url = buf_cstr(&client->ears_url);
    add_credentials(client, &request);
    return http_open(&client->ears, err) && http_begin(client->ears, &request, err);
}

void client_hear(Client *client, int64_t timeout_ms, bool *news, bool *deaf)
{
    Err ignored = {0};
    client->heard = false;
    *deaf = client->ears == NULL;
    if (!*deaf && !http_wait(client->ears, timeout_ms, deaf, &ignored))
        *deaf = true;
    *news = client->heard;
}

bool client_list(Client *client, const char *path, size_t limit, json_t **items, Err *err)
{
    scoped(buf_free) Buf first = {0};
    scoped(buf_free) Buf next = {0};
    scoped(buf_free) Buf last = {0};
    *items = json_array();
    buf_printf(&first, "%s%climit=%zu", path, strchr(path, '?') == NULL ? '?' : '&',
               limit == 0 || limit > 1000 ? 1000 : limit);
    buf_add_slice(&next, buf_slice(&first));
    for (;;) {
        json_t *page = NULL;
        if (!client_get(client, buf_cstr(&next), &page, err))
            return false;
        size_t i;
        json_t *item;
        json_array_foreach(json_object_get(page, "items"), i, item)
        {
            if (limit == 0 || json_array_size(*items) < limit)
                json_array_append(*items, item);
        }
        const char *cursor = json_string_value(json_object_get(page, "next_cursor"));
        bool more = cursor != NULL && (limit == 0 || json_array_size(*items) < limit);
        bool moved = more && !text_equal(text_of(cursor), buf_text(&last)) &&
                     json_array_size(json_object_get(page, "items")) != 0;
        if (more && !moved) {
            json_decref(page);
            return err_set(err, ERR_CORRUPT, "http.endless_list",
                           "the server's list goes on without getting further");
        }
        buf_clear(&last);
        buf_printf(&last, "%s", more ? cursor : "");
        buf_clear(&next);
        if (more) {
            buf_printf(&next, "%s&cursor=", buf_cstr(&first));
            http_escape(&next, text_of(cursor));
        }
        json_decref(page);
        if (!more)
            return true;
    }
}
