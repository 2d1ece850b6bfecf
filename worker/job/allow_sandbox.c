/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/allow_sandbox.h"

#include "common/base/mem.h"
#include "common/base/units.h"

enum { USUAL_MEMORY = 512 << 20, LEAST_MEMORY = 32 << 20, USUAL_HOURS = 6, USUAL_STALL_S = 480 };

static bool invalid(Err *err, const char *key, const char *must)
{
    return err_set(err, ERR_INVALID, "options.allow", "allow.sandbox.%s in worker.yaml must be %s",
                   key, must);
}

static Text text_of_json(const json_t *value)
{
    return json_is_string(value) ? (Text){json_string_value(value), json_string_length(value)}
                                 : (Text){0};
}

static bool take_size(uint64_t *out, const char *key, const json_t *value, Err *err)
{
    Err ignored = {0};
    return (units_size(text_of_json(value), out, &ignored) && *out >= LEAST_MEMORY) ||
           invalid(err, key, "a size of at least 32MiB, as 512MiB");
}

static bool take_time(int64_t *out, const char *key, const json_t *value, Err *err)
{
    Err ignored = {0};
    return (units_duration_ms(text_of_json(value), out, &ignored) && *out >= 1000) ||
           invalid(err, key, "a time of at least a second, as 6h");
}

static bool take(AllowSandbox *sandbox, const char *key, const json_t *value, Err *err)
{
    Text text = text_of_json(value);
    if (strcmp(key, "folder") == 0) {
        if (text.len == 0 || text.at[0] != '/' || text.len > 400)
            return invalid(err, key, "an absolute path");
        mem_free(sandbox->folder);
        sandbox->folder = mem_text(text);
        return true;
    }
    if (strcmp(key, "user") == 0) {
        if (text.len == 0)
            return invalid(err, key, "the name of a user of this host");
        mem_free(sandbox->user);
        sandbox->user = mem_text(text);
        return true;
    }
    if (strcmp(key, "memory") == 0)
        return take_size(&sandbox->memory_bytes, key, value, err);
    if (strcmp(key, "most") == 0)
        return take_size(&sandbox->most_bytes, key, value, err);
    if (strcmp(key, "time") == 0)
        return take_time(&sandbox->time_ms, key, value, err);
    if (strcmp(key, "stall") == 0)
        return take_time(&sandbox->stall_ms, key, value, err);
    return err_set(err, ERR_INVALID, "options.allow",
                   "allow.sandbox.%.60s in worker.yaml is unknown; it has folder, user, memory, "
                   "most, time and stall",
                   key);
}

bool allow_sandbox_parse(const json_t *value, AllowSandbox **out, Err *err)
{
    if (!json_is_object(value))
        return err_set(err, ERR_INVALID, "options.allow",
                       "allow.sandbox in worker.yaml must be a mapping with a folder");
    AllowSandbox *sandbox = mem_new(AllowSandbox);
    sandbox->memory_bytes = USUAL_MEMORY;
    sandbox->time_ms = (int64_t)USUAL_HOURS * 3600 * 1000;
    sandbox->stall_ms = (int64_t)USUAL_STALL_S * 1000;
    bool fine = true;
    json_t *object = (json_t *)(uintptr_t)value; /* jansson's iteration is not const-correct */
    for (void *at = json_object_iter(object); fine && at != NULL;
         at = json_object_iter_next(object, at))
        fine = take(sandbox, json_object_iter_key(at), json_object_iter_value(at), err);
    if (fine && sandbox->folder == NULL)
        fine = invalid(err, "folder", "there: an absolute path");
    if (!fine) {
        allow_sandbox_free(sandbox);
        return false;
    }
    *out = sandbox;
    return true;
}

void allow_sandbox_free(AllowSandbox *sandbox)
{
    if (sandbox == NULL)
        return;
    mem_free(sandbox->folder);
    mem_free(sandbox->user);
    mem_free(sandbox);
}
