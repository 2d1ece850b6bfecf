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

/* A server is named by host; one that is not named is this host's own socket. */
static Text server_of(const json_t *config)
{
    return json_text_or(config, "host", TEXT("localhost"));
}

bool ceiling_source(const Job *job, Text type, const json_t *config, Err *err)
{
    if (text_equal(type, TEXT("files")))
        return each_path(job, json_object_get(config, "paths"), err);
    return allow_read_server(job->settings->allow, server_of(config), err);
}

bool ceiling_target(const Job *job, Text type, const json_t *request, Err *err)
{
    const json_t *target = json_object_get(request, "target");
    if (!text_equal(type, TEXT("files"))) {
        const json_t *server = json_object_get(target, "server");
        if (!json_is_object(server))
            server = json_object_get(job->source, "config");
        return allow_restore_server(job->settings->allow, server_of(server), err);
    }
    scoped(mem_release) char *path = mem_text(json_text_or(target, "path", TEXT("")));
    return allow_restore_path(job->settings->allow, path, err);
}
