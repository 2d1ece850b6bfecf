/* SPDX-License-Identifier: Apache-2.0
 * The OpenAPI 3.1 document, from the same rows as the server: routes.def, exchange.def, api.def. */
#include "scheduler/api/api.h"
#include "common/base/json.h"
#include "scheduler/api/api_exchange.h"
#include "scheduler/plan/fleet_bundle.h"

#include <stdlib.h>

static const struct {
    const char *symbol, *method, *path, *role, *meaning;
} routes[] = {
#define ROUTE(symbol, method, path, role, meaning) {#symbol, method, path, role, meaning},
#include "protocol/routes.def"
#undef ROUTE
};

static const struct {
    const char *resource, *member, *type, *meaning;
} members[] = {
#define API(resource, field, type, meaning) {#resource, #field, #type, meaning},
#include "protocol/api.def"
#undef API
};

enum {
    ROUTES = sizeof routes / sizeof *routes,
    MEMBERS = sizeof members / sizeof *members,
};

static const char PROBLEM[] = "#/components/schemas/problem";

static json_t *reference(const char *to)
{
    return json_pack("{s:s}", "$ref", to);
}

static json_t *schema_reference(const char *resource)
{
    return json_pack("{s:s+}", "$ref", "#/components/schemas/", resource);
}

/* A type of the tables as JSON Schema; a member that does not apply is null. */
static json_t *type_of(const char *type, bool nullable, const char *meaning)
{
    static const struct {
        const char *ours, *theirs, *format;
    } types[] = {
        {"text", "string", NULL},   {"choice", "string", NULL},  {"count", "integer", NULL},
        {"bytes", "integer", NULL}, {"seconds", "number", NULL}, {"time", "string", "date-time"},
        {"flag", "boolean", NULL},  {"object", "object", NULL},  {"list", "array", NULL},
        {"anything", NULL, NULL},
    };
    json_t *schema = json_object();
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i].ours, type) != 0)
            continue;
        if (types[i].theirs != NULL && nullable)
            json_object_set_new(schema, "type", json_pack("[s, s]", types[i].theirs, "null"));
        else if (types[i].theirs != NULL)
            json_object_set_new(schema, "type", json_string(types[i].theirs));
        if (types[i].format != NULL)
            json_object_set_new(schema, "format", json_string(types[i].format));
    }
    json_object_set_new(schema, "description", json_string(meaning));
    return schema;
}

static json_t *schemas(void)
{
    json_t *all = json_object();
    for (size_t i = 0; i < MEMBERS; i++) {
        json_t *one = json_object_get(all, members[i].resource);
        if (one == NULL) {
            one = json_pack("{s:s, s:{}}", "type", "object", "properties");
            json_object_set_new(all, members[i].resource, one);
        }
        json_object_set_new(json_object_get(one, "properties"), members[i].member,
                            type_of(members[i].type, true, members[i].meaning));
    }
    json_object_set_new(
        all, "problem",
        json_pack("{s:s, s:s, s:[s, s, s, s, s], s:{s:{s:s}, s:{s:s}, s:{s:s}, s:{s:s}, s:{s:s}, "
                  "s:{s:s}, s:{s:s}}}",
                  "type", "object", "description", "RFC 9457", "required", "type", "title",
                  "status", "code", "request_id", "properties", "type", "type", "string", "title",
                  "type", "string", "status", "type", "integer", "code", "type", "string", "detail",
                  "type", "string", "request_id", "type", "string", "errors", "type", "array"));
    return all;
}

static json_t *page_of(const char *resource)
{
    return json_pack("{s:s, s:[s, s], s:{s:{s:s, s:o}, s:{s:[s, s]}}}", "type", "object",
                     "required", "items", "next_cursor", "properties", "items", "type", "array",
                     "items", schema_reference(resource), "next_cursor", "type", "string", "null");
}

static json_t *content_of(const ApiGives *gives)
{
    static const char *const types[] = {[API_ONE] = "application/json",
                                        [API_LIST] = "application/json",
                                        [API_WHOLE] = "application/json",
                                        [API_BYTES] = "application/octet-stream",
                                        [API_EVENTS] = "text/event-stream"};
    json_t *schema = gives->shape == API_ONE ? schema_reference(gives->resource)
                     : gives->shape == API_LIST || gives->shape == API_WHOLE
                         ? page_of(gives->resource)
                         : json_pack("{s:s}", "type", "string");
    return json_pack("{s:{s:o}}", types[gives->shape], "schema", schema);
}

static void add_parameter(json_t *list, const char *name, const char *in, const char *type,
                          const char *meaning)
{
    json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:s, s:o}", "name", name, "in", in,
                                          "required", strcmp(in, "path") == 0, "description",
                                          meaning, "schema", type_of(type, false, meaning)));
}

static json_t *parameters_of(size_t route, const ApiGives *gives)
{
    json_t *list = json_array();
    const char *symbol = routes[route].symbol;
    for (const char *at = routes[route].path; (at = strchr(at, '{')) != NULL; at++) {
        scoped(buf_free) Buf name = {0};
        buf_add(&name, at + 1, strcspn(at + 1, "}"));
        add_parameter(list, buf_cstr(&name), "path", "text", "which one");
    }
    const ApiTakes *takes;
    for (size_t n = 0; (takes = api_exchange_takes(n)) != NULL; n++)
        if (takes->place == API_QUERY && strcmp(takes->route, symbol) == 0)
            add_parameter(list, takes->name, "query", takes->type, takes->meaning);
    if (gives->shape == API_WHOLE)
        add_parameter(list, "limit", "query", "count", "of a page; this list has but one");
    if (gives->shape == API_LIST) {
        add_parameter(list, "limit", "query", "count", "items of a page, 1000 at most");
        add_parameter(list, "cursor", "query", "text", "next_cursor of the page before");
    }
    if (gives->shape == API_ONE || gives->shape == API_LIST || gives->shape == API_WHOLE)
        add_parameter(list, "fields", "query", "text", "only these members: a,b");
    if (strcmp(routes[route].method, "POST") == 0)
        add_parameter(list, "Idempotency-Key", "header", "text",
                      "sent again with the same key it is done once; kept for 24 h");
    if (strcmp(symbol, "policy_apply") == 0)
        add_parameter(list, "If-Match", "header", "text", "ETag of the policy that it replaces");
    if (strcmp(symbol, "events") == 0)
        add_parameter(list, "Last-Event-ID", "header", "count", "go on after this one");
    return list;
}

/* The members of the body, or what kind of file it is; NULL: it has none. */
static json_t *body_of(const char *symbol)
{
    bool file = strncmp(symbol, "policy_", 7) == 0;
    json_t *properties = json_object();
    const ApiTakes *takes;
    for (size_t n = 0; (takes = api_exchange_takes(n)) != NULL; n++)
        if (takes->place == API_BODY && strcmp(takes->route, symbol) == 0)
            json_object_set_new(properties, takes->name,
                                type_of(takes->type, false, takes->meaning));
    if (!file && strcmp(symbol, "stream_put") != 0)
        return json_pack("{s:{s:{s:{s:s, s:o}}}}", "content", "application/json", "schema", "type",
                         "object", "properties", properties);
    json_decref(properties);
    json_t *body = json_pack("{s:b, s:{s:{s:{s:s}}}}", "required", 1, "content",
                             file ? "application/yaml" : "application/octet-stream", "schema",
                             "type", "string");
    if (file)
        json_object_set_new(json_object_get(body, "content"), FLEET_BUNDLE_TYPE,
                            json_pack("{s:{s:s, s:{s:{s:s}}}}", "schema", "type", "object",
                                      "properties", "files", "type", "array"));
    return body;
}

static json_t *operation_of(size_t route, const ApiGives *gives)
{
    char status[16];
    snprintf(status, sizeof status, "%d", gives->status);
    bool open =
        strcmp(routes[route].role, "none") == 0 || strcmp(routes[route].role, "worker") == 0;
    json_t *operation = json_pack(
        "{s:s, s:s, s:s, s:o, s:{s:{s:s, s:o}, s:{s:s, s:{s:{s:o}}}}}", "operationId",
        routes[route].symbol, "summary", routes[route].meaning, "x-role", routes[route].role,
        "parameters", parameters_of(route, gives), "responses", status, "description", "done",
        "content", content_of(gives), "default", "description", "refused or failed", "content",
        "application/problem+json", "schema", reference(PROBLEM));
    json_object_set_new(operation, "security",
                        open ? json_array() : json_pack("[{s:[]}]", "token"));
    if (strcmp(routes[route].method, "POST") == 0 || strcmp(routes[route].method, "PUT") == 0)
        json_object_set_new(operation, "requestBody", body_of(routes[route].symbol));
    return operation;
}

static const char *lower(const char *method, char out[16])
{
    size_t i = 0;
    for (; method[i] != 0 && i < 15; i++)
        out[i] = (char)(method[i] | 0x20);
    out[i] = 0;
    return out;
}

void api_openapi_print(Buf *out, bool indented)
{
    json_t *paths = json_object();
    for (size_t i = 0; i < ROUTES; i++) {
        char method[16];
        const ApiGives *gives = api_exchange_gives(routes[i].symbol);
        json_t *path = json_object_get(paths, routes[i].path);
        if (gives == NULL)
            continue;
        if (path == NULL)
            json_object_set_new(paths, routes[i].path, path = json_object());
        json_object_set_new(path, lower(routes[i].method, method), operation_of(i, gives));
    }
    json_t *document = json_pack(
        "{s:s, s:{s:s, s:s, s:s}, s:[{s:s}], s:o, s:{s:o, s:{s:{s:s, s:s, s:s}}}}", "openapi",
        "3.1.0", "info", "title", "Holdfast", "version", HOLDFAST_VERSION, "description",
        "Times are RFC 3339 in UTC, sizes bytes, durations seconds. Objects may get more members.",
        "servers", "url", "/api/v1", "paths", paths, "components", "schemas", schemas(),
        "securitySchemes", "token", "type", "http", "scheme", "bearer", "description",
        "holdfast token create");
    char *text = json_dumps(document, indented ? JSON_INDENT(2) : JSON_COMPACT);
    buf_printf(out, "%s", text == NULL ? "" : text);
    free(text);
    json_decref(document);
}

bool api_openapi(ApiCall *call, Err *err)
{
    (void)err;
    api_openapi_print(&call->answer->body, false);
    return true;
}
