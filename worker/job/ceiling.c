/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/ceiling.h"

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

bool ceiling_target(const Job *job, Text type, const json_t *request, Err *err)
{
    const json_t *target = json_object_get(request, "target");
    if (!text_equal(type, TEXT("files"))) {
        const json_t *server = json_object_get(target, "server");
        if (!json_is_object(server))
            server = json_object_get(job->source, "config");
        return each_server(job, server, allow_restore_server, err);
    }
    scoped(mem_release) char *path = mem_text(json_text_or(target, "path", TEXT("")));
    return allow_restore_path(job->settings->allow, path, err);
}
