/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/api/api_route.h"

#include "scheduler/api/api.h"

static const char PREFIX[] = "/api/v1";

static const ApiRoute routes[] = {
#define ROUTE(symbol, method, path, role, meaning) {method, path, role, api_##symbol, #symbol},
#include "protocol/routes.def"
#undef ROUTE
};
enum { ROUTE_COUNT = sizeof routes / sizeof *routes };

static Text next_part(Text *path)
{
    Text part = *path;
    const char *slash = memchr(path->at, '/', path->len);
    part.len = slash == NULL ? path->len : (size_t)(slash - path->at);
    size_t step = slash == NULL ? path->len : part.len + 1;
    *path = (Text){path->at + step, path->len - step};
    return part;
}

/* Does the path fit the pattern? {…} takes one part that is not empty. */
static bool fits(const char *pattern, Text path, Text parts[API_PARTS])
{
    Text shape = text_of(pattern);
    size_t count = 0;
    memset(parts, 0, API_PARTS * sizeof *parts);
    if (path.len == 0 || path.at[path.len - 1] == '/')
        return false;
    while (shape.len != 0 && path.len != 0) {
        Text want = next_part(&shape);
        Text have = next_part(&path);
        if (want.len != 0 && want.at[0] == '{') {
            if (count == API_PARTS || have.len == 0)
                return false;
            parts[count++] = have;
        } else if (!text_equal(want, have))
            return false;
    }
    return shape.len == 0 && path.len == 0;
}

/* No part is ever "." or "..", written plainly or not: a proxy in front may read them otherwise. */
static bool check_parts(Text path, Err *err)
{
    while (path.len != 0) {
        scoped(buf_free) Buf text = {0};
        if (!server_decode(next_part(&path), false, &text))
            return err_set(err, ERR_USAGE, "request.path",
                           "the path is not well-formed: %%XX of UTF-8 text without NUL");
        if (text_equal(buf_text(&text), TEXT(".")) || text_equal(buf_text(&text), TEXT("..")))
            return err_set(err, ERR_USAGE, "request.path", "the path holds '.' or '..'");
    }
    return true;
}

static bool answers(const ApiRoute *route, const char *method)
{
    static const char *const making[] = {"backup_files", "backup_diff", "backup_fetch", "events"};
    if (strcmp(route->method, method) == 0)
        return true;
    if (strcmp(method, "HEAD") != 0 || strcmp(route->method, "GET") != 0)
        return false;
    for (size_t i = 0; i < sizeof making / sizeof *making; i++)
        if (strcmp(route->symbol, making[i]) == 0)
            return false; /* asking for them makes a job, or has no end */
    return true;
}

bool api_route_takes_file(const ApiRoute *route)
{
    return strcmp(route->symbol, "policy_apply") == 0 ||
           strcmp(route->symbol, "policy_check") == 0 ||
           strcmp(route->symbol, "policy_plan") == 0 ||
           strcmp(route->symbol, "retention_plan") == 0;
}

/* Where those who only ask whether it lives expect it, beside its place below /api/v1. */
static bool is_probe(const char *path)
{
    return strcmp(path, "/healthz") == 0 || strcmp(path, "/readyz") == 0;
}

bool api_route_find(const ServerCall *http, const ApiRoute **route, Buf parts[API_PARTS],
                    Buf *allow, Err *err)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE"};
    Text raw[API_PARTS];
    bool below = strncmp(http->path, PREFIX, sizeof PREFIX - 1) == 0;
    bool ours = below || is_probe(http->path);
    size_t skip = below ? sizeof PREFIX - 1 : 0;
    if (!check_parts(text_of(http->path), err))
        return false;
    for (size_t i = 0; ours && i < ROUTE_COUNT; i++) {
        if (!fits(routes[i].path, text_of(http->path + skip), raw))
            continue;
        if (answers(&routes[i], http->method)) {
            *route = &routes[i];
            for (size_t p = 0; p < API_PARTS; p++)
                if (!server_decode(raw[p], false, &parts[p]))
                    return err_set(err, ERR_USAGE, "request.path", "the path is not well-formed");
            return true;
        }
        for (size_t m = 0; m < sizeof methods / sizeof *methods; m++)
            if (answers(&routes[i], methods[m]))
                buf_printf(allow, "%s%s", allow->len == 0 ? "" : ", ", methods[m]);
    }
    if (allow->len != 0)
        return err_set(err, ERR_USAGE, "request.method", "%.20s is not for this path; there are %s",
                       http->method, buf_cstr(allow));
    return err_set(err, ERR_MISSING, "request.path", "there is no such path");
}
