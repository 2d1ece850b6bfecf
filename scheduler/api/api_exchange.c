/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/api/api_exchange.h"

#include "common/base/json.h"
#include "common/base/suggest.h"
#include "scheduler/http/server.h"

/* A route without its row of what it gives does not compile: GIVEN_<route> is missing then. */
enum {
#define GIVES(route, status, ...) GIVEN_##route = status,
#define TAKES(...)
#include "protocol/exchange.def"
#undef GIVES
#undef TAKES
};
#define ROUTE(symbol, ...) _Static_assert(GIVEN_##symbol != 0, "exchange.def: " #symbol);
#include "protocol/routes.def"
#undef ROUTE

static const ApiGives gives_rows[] = {
#define GIVES(route, status, shape, resource) {#route, status, API_##shape, #resource},
#define TAKES(...)
#include "protocol/exchange.def"
#undef GIVES
#undef TAKES
};
static const ApiTakes takes_rows[] = {
#define GIVES(...)
#define TAKES(route, place, name, type, meaning) {#route, API_##place, #name, #type, meaning},
#include "protocol/exchange.def"
#undef GIVES
#undef TAKES
};
enum { GIVES_COUNT = sizeof gives_rows / sizeof *gives_rows };
enum { TAKES_COUNT = sizeof takes_rows / sizeof *takes_rows, NAMES_MOST = 32 };

static const struct {
    const char *resource;
    const char *member;
} members[] = {
#define API(resource, field, type, meaning) {#resource, #field},
#include "protocol/api.def"
#undef API
};

const ApiGives *api_exchange_gives(const char *route)
{
    for (size_t i = 0; i < GIVES_COUNT; i++)
        if (strcmp(gives_rows[i].route, route) == 0)
            return &gives_rows[i];
    return NULL;
}

const ApiTakes *api_exchange_takes(size_t n)
{
    return n < TAKES_COUNT ? &takes_rows[n] : NULL;
}

/* The names that the route's query may hold. */
static size_t names_of(const char *route, const char *names[NAMES_MOST])
{
    size_t count = 0;
    const ApiGives *gives = api_exchange_gives(route);
    ApiShape shape = gives == NULL ? API_BYTES : gives->shape;
    for (size_t i = 0; i < TAKES_COUNT && count < NAMES_MOST - 3; i++)
        if (takes_rows[i].place == API_QUERY && strcmp(takes_rows[i].route, route) == 0)
            names[count++] = takes_rows[i].name;
    if (shape == API_LIST || shape == API_WHOLE)
        names[count++] = "limit";
    if (shape == API_LIST)
        names[count++] = "cursor";
    if (shape == API_LIST || shape == API_ONE || shape == API_WHOLE)
        names[count++] = "fields";
    return count;
}

static bool unknown(Text name, const char *const names[], size_t count, Err *err)
{
    scoped(buf_free) Buf all = {0};
    const char *near = suggest_nearest(name, names, count);
    for (size_t i = 0; i < count; i++)
        buf_printf(&all, "%s%s", i == 0 ? "" : ", ", names[i]);
    return err_set(err, ERR_USAGE, "request.parameter", "there is no '%.*s' here; %s%s",
                   (int)(name.len > 40 ? 40 : name.len), name.at,
                   near != NULL ? "did you mean " : "there are ",
                   near != NULL ? near : buf_cstr(&all));
}

bool api_exchange_check(const char *route, const char *query, Err *err)
{
    const char *names[NAMES_MOST];
    bool seen[NAMES_MOST] = {false};
    size_t count = names_of(route, names);
    for (const char *at = query; *at != 0;) {
        scoped(buf_free) Buf name = {0};
        size_t pair = strcspn(at, "&");
        size_t found = 0;
        Text raw = {at, strcspn(at, "=&")};
        at += pair + (at[pair] == '&');
        if (pair == 0)
            continue;
        if (!server_decode(raw, true, &name))
            return err_set(err, ERR_USAGE, "request.query", "the query is not well-formed");
        while (found < count && !text_equal(buf_text(&name), text_of(names[found])))
            found++;
        if (found == count)
            return unknown(buf_text(&name), names, count, err);
        if (seen[found])
            return err_set(err, ERR_USAGE, "request.parameter", "'%s' stands twice in the query",
                           names[found]);
        seen[found] = true;
    }
    return true;
}

static bool has_member(const char *resource, Text name)
{
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (strcmp(members[i].resource, resource) == 0 &&
            text_equal(text_of(members[i].member), name))
            return true;
    return false;
}

static void keep_only(json_t *object, Text fields)
{
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(object, next, key, value)
    {
        bool kept = false;
        for (Text left = fields; left.len != 0 && !kept;) {
            const char *comma = memchr(left.at, ',', left.len);
            size_t len = comma == NULL ? left.len : (size_t)(comma - left.at);
            kept = text_equal((Text){left.at, len}, text_of(key));
            len += comma != NULL;
            left = (Text){left.at + len, left.len - len};
        }
        if (!kept)
            json_object_del(object, key);
    }
}

bool api_exchange_select(const ApiGives *gives, Text fields, Buf *body, Err *err)
{
    size_t i;
    json_t *item;
    scoped(json_release) json_t *answer = NULL;
    for (Text left = fields; left.len != 0;) {
        const char *comma = memchr(left.at, ',', left.len);
        size_t len = comma == NULL ? left.len : (size_t)(comma - left.at);
        if (!has_member(gives->resource, (Text){left.at, len}))
            return err_set(err, ERR_USAGE, "request.fields", "a %s has no member '%.*s'",
                           gives->resource, (int)(len > 40 ? 40 : len), left.at);
        len += comma != NULL;
        left = (Text){left.at + len, left.len - len};
    }
    if (!json_parse(buf_text(body), &answer, err))
        return false;
    if (gives->shape == API_ONE)
        keep_only(answer, fields);
    json_array_foreach(json_object_get(answer, "items"), i, item)
    {
        if (gives->shape != API_ONE)
            keep_only(item, fields);
    }
    buf_clear(body);
    json_canonical(answer, body);
    return true;
}
