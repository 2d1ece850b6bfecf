/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/engine/files_beneath.h"
#include "worker/engine/files_glob.h"
#include "worker/engine/files_sandbox.h"
#include "worker/engine/files_source.h"
#include "worker/engine/files_target.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static json_t *check_of(const char *name, Text subject, bool ok, const char *text, const char *next)
{
    scoped(buf_free) Buf line = {0};
    json_t *check = json_object();
    json_object_set_new(check, "name", json_string(name));
    json_object_set_new(check, "ok", json_boolean(ok));
    buf_add_text(&line, subject);
    buf_add_text(&line, TEXT(": "));
    buf_add_text(&line, text_of(text));
    json_object_set_new(check, "text", json_bytes(buf_slice(&line)));
    json_object_set_new(check, "next", json_string(next));
    return check;
}

static json_t *test_path(Text path)
{
    int fd = files_beneath_open_absolute(path, O_RDONLY | O_NONBLOCK);
    if (fd >= 0) {
        close(fd);
        return check_of("path", path, true, "can be read", "");
    }
    if (errno == ENOENT || errno == ENOTDIR)
        return check_of("path", path, false, "is not there",
                        "mount it, or take it out of the source's paths");
    if (errno == ELOOP)
        return check_of("path", path, false, "is, or leads through, a symbolic link",
                        "name the real path, as `realpath` prints it");
    return check_of("path", path, false, "cannot be read by this worker",
                    "give the worker CAP_DAC_READ_SEARCH, or run it as a user who may");
}

static json_t *test_pattern(const json_t *pattern)
{
    Text text = {json_string_value(pattern), json_string_length(pattern)};
    FilesGlob *globs = files_glob_new();
    Err err = {0};
    bool fine = files_glob_add(globs, text, &err);
    files_glob_free(globs);
    return check_of("exclude", text, fine, fine ? "is a pattern" : "is no pattern",
                    fine ? "" : err.text);
}

static bool test(const EngineParams *params, json_t **report, Err *err)
{
    Text *paths = NULL;
    size_t count, i;
    const json_t *pattern;
    bool ok = true;
    if (!files_source_paths(params->config, &paths, &count, err))
        return false;
    json_t *checks = json_array();
    for (i = 0; i < count; i++)
        json_array_append_new(checks, test_path(paths[i]));
    json_array_foreach(json_object_get(params->config, "exclude"), i, pattern)
        json_array_append_new(checks, test_pattern(pattern));
    for (i = 0; i < json_array_size(checks); i++)
        ok = ok && json_is_true(json_object_get(json_array_get(checks, i), "ok"));
    mem_free(paths);
    *report = json_object();
    json_object_set_new(*report, "ok", json_boolean(ok));
    json_object_set_new(*report, "checks", checks);
    return true;
}

static bool tools(json_t **report, Err *err)
{
    (void)err;
    *report = json_object();
    return true;
}

const Engine files_engine = {
    .name = "files",
    .open_source = files_source_open,
    .open_target = files_target_open,
    .test = test,
    .plan = files_target_plan,
    .settle = files_target_settle,
    .tools = tools,
    .sandbox = &files_sandbox,
};
