/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/ceiling.h"

#include "common/base/buf.h"
#include "common/base/json.h"
#include "common/base/mem.h"

static bool each_path(const Job *job, const json_t *list, Err *err)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *path = json_string_value(json_array_get(list, i));
        if (path != NULL && !allow_read_path(job->settings->allow, path, err))
            return false;
    }
    return true;
}

/* A server is named by host, or by the libpq service that names the host here; one that is not
 * named is this host's own socket. libpq takes a list of hosts: each must be allowed. */
static bool each_server(const Job *job, const json_t *config,
                        bool (*allowed)(const Allow *allow, Text host, Err *err), Err *err)
{
    Text hosts = json_text_or(config, "host", json_text_or(config, "service", TEXT("localhost")));
    for (size_t at = 0, end; at <= hosts.len; at = end + 1) {
        for (end = at; end < hosts.len && hosts.at[end] != ',';)
            end++;
        if (!allowed(job->settings->allow, (Text){hosts.at + at, end - at}, err))
            return false;
    }
    return true;
}

bool ceiling_source(const Job *job, Text type, const json_t *config, Err *err)
{
    if (text_equal(type, TEXT("files")))
        return each_path(job, json_object_get(config, "paths"), err);
    return each_server(job, config, allow_read_server, err);
}

/* Beside the data directory of a cluster its tablespaces are made: where the request says, else at
 * the same path with the ending .tablespace-<oid>. */
static bool each_tablespace(const Job *job, const json_t *target, size_t count, Err *err)
{
    const json_t *spaces = json_object_get(target, "tablespaces");
    scoped(buf_free) Buf beside = {0};
    buf_printf(&beside, "%.*s.tablespace-", TEXT_ARG(json_text_or(target, "path", TEXT(""))));
    /* jansson's iteration is not const-correct; nothing is changed. */
    json_t *map = (json_t *)(uintptr_t)spaces;
    for (void *at = json_object_iter(map); at != NULL; at = json_object_iter_next(map, at)) {
        const char *path = json_string_value(json_object_iter_value(at));
        if (path == NULL || !allow_restore_path(job->settings->allow, path, err))
            return path != NULL ? false
                                : err_set(err, ERR_USAGE, "target.tablespaces",
                                          "tablespaces are mapped to absolute paths");
    }
    return json_object_size(spaces) >= count ||
           allow_restore_path(job->settings->allow, buf_cstr(&beside), err);
}

/* What a stolen scheduler could arm a local user with. */
static bool each_power(const Job *job, const json_t *request, Err *err)
{
    static const char *const powers[] = {"devices", "setuid", "security"};
    const json_t *options = json_object_get(request, "options");
    for (size_t i = 0; i < sizeof powers / sizeof *powers; i++)
        if (json_is_true(json_object_get(options, powers[i])) &&
            !allow_restore_with(job->settings->allow, text_of(powers[i]), err))
            return false;
    return true;
}

bool ceiling_target(const Job *job, Text type, const json_t *request, Err *err)
{
    const json_t *target = json_object_get(request, "target");
    const json_t *details = json_object_get(request, "details");
    const json_t *spaces = json_object_get(details, "tablespaces");
    if (json_array_size(spaces) > 0 && !each_tablespace(job, target, json_array_size(spaces), err))
        return false;
    if (!text_equal(type, TEXT("files")) && details == NULL) {
        const json_t *server = json_object_get(target, "server");
        if (!json_is_object(server))
            server = json_object_get(job->source, "config");
        return each_server(job, server, allow_restore_server, err);
    }
    scoped(mem_release) char *path = mem_text(json_text_or(target, "path", TEXT("")));
    return each_power(job, request, err) && allow_restore_path(job->settings->allow, path, err);
}
