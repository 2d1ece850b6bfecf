/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/allow.h"

#include "common/base/mem.h"
#include "worker/job/allow_sandbox.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { BACKUPS_USUALLY = 100 }; /* a run may forget, where the file does not say */

typedef enum List {
    LIST_KEY_SETS,
    LIST_STORES,
    LIST_READ_PATHS, /* servers stand behind paths */
    LIST_READ_SERVERS,
    LIST_RESTORE_PATHS,
    LIST_RESTORE_SERVERS,
    LIST_RESTORE_FILES,
    LIST_RESTORE_WITH,
    LIST_HOOKS,
    LIST_GRANTS,
    LIST_COUNT
} List;

struct Allow {
    json_t *lists[LIST_COUNT]; /* arrays of strings; NULL where absent */
    bool plain;
    uint64_t prune_packs;
    uint64_t prune_backups;
    AllowSandbox *sandbox;
};

/* How people find the line again. */
static const char *const names[LIST_COUNT] = {
    [LIST_KEY_SETS] = "allow.key_sets",
    [LIST_STORES] = "allow.stores",
    [LIST_READ_PATHS] = "allow.read.paths",
    [LIST_READ_SERVERS] = "allow.read.servers",
    [LIST_RESTORE_PATHS] = "allow.restore.paths",
    [LIST_RESTORE_SERVERS] = "allow.restore.servers",
    [LIST_RESTORE_FILES] = "allow.restore.files",
    [LIST_RESTORE_WITH] = "allow.restore.with",
    [LIST_HOOKS] = "allow.hooks",
    [LIST_GRANTS] = "allow.grants",
};

static bool invalid(Err *err, const char *key, const char *must)
{
    return err_set(err, ERR_INVALID, "options.allow", "%s in worker.yaml must be %s", key, must);
}

static bool take_list(Allow *allow, List list, const json_t *value, Err *err)
{
    size_t at = 0;
    const json_t *one = NULL;
    if (!json_is_array(value))
        return invalid(err, names[list], "a list of names");
    bool paths =
        list == LIST_READ_PATHS || list == LIST_RESTORE_PATHS || list == LIST_RESTORE_FILES;
    json_array_foreach(value, at, one)
    {
        if (!json_is_string(one) || json_string_length(one) == 0)
            return invalid(err, names[list], "a list of names");
        if (paths && json_string_value(one)[0] != '/')
            return invalid(err, names[list], "a list of absolute paths");
    }
    allow->lists[list] = json_deep_copy(value);
    return true;
}

/* The lists of `read` or `restore`. */
static bool take_place(Allow *allow, bool restore, const json_t *value, Err *err)
{
    static const struct {
        const char *key;
        List read, restore;
    } lists[] = {{"paths", LIST_READ_PATHS, LIST_RESTORE_PATHS},
                 {"servers", LIST_READ_SERVERS, LIST_RESTORE_SERVERS},
                 {"files", LIST_COUNT, LIST_RESTORE_FILES},
                 {"with", LIST_COUNT, LIST_RESTORE_WITH}};
    const char *name = restore ? "allow.restore" : "allow.read";
    const char *has = restore ? "paths, servers, files and with" : "paths and servers";
    if (!json_is_object(value))
        return err_set(err, ERR_INVALID, "options.allow",
                       "%s in worker.yaml must be a mapping with %s", name, has);
    /* jansson's iteration is not const-correct; nothing is changed. */
    for (void *at = json_object_iter((json_t *)(uintptr_t)value); at != NULL;
         at = json_object_iter_next((json_t *)(uintptr_t)value, at)) {
        const char *key = json_object_iter_key(at);
        List list = LIST_COUNT;
        for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
            if (strcmp(key, lists[i].key) == 0)
                list = restore ? lists[i].restore : lists[i].read;
        if (list == LIST_COUNT)
            return err_set(err, ERR_INVALID, "options.allow",
                           "%s.%.60s in worker.yaml is unknown; it has %s", name, key, has);
        if (!take_list(allow, list, json_object_iter_value(at), err))
            return false;
    }
    return true;
}

static bool take_number(uint64_t *out, const char *name, const json_t *value, Err *err)
{
    *out = (uint64_t)json_integer_value(value);
    return (json_is_integer(value) && json_integer_value(value) >= 0) ||
           invalid(err, name, "a number");
}

static bool take_key(Allow *allow, const char *key, const json_t *value, Err *err)
{
    if (strcmp(key, "key_sets") == 0)
        return take_list(allow, LIST_KEY_SETS, value, err);
    if (strcmp(key, "stores") == 0)
        return take_list(allow, LIST_STORES, value, err);
    if (strcmp(key, "grants") == 0)
        return take_list(allow, LIST_GRANTS, value, err);
    if (strcmp(key, "hooks") == 0)
        return take_list(allow, LIST_HOOKS, value, err);
    if (strcmp(key, "read") == 0 || strcmp(key, "restore") == 0)
        return take_place(allow, strcmp(key, "restore") == 0, value, err);
    if (strcmp(key, "allow_plain") == 0) {
        allow->plain = json_is_true(value);
        return json_is_boolean(value) || invalid(err, "allow.allow_plain", "true or false");
    }
    if (strcmp(key, "prune_packs") == 0)
        return take_number(&allow->prune_packs, "allow.prune_packs", value, err);
    if (strcmp(key, "prune_backups") == 0)
        return take_number(&allow->prune_backups, "allow.prune_backups", value, err);
    if (strcmp(key, "sandbox") == 0)
        return allow_sandbox_parse(value, &allow->sandbox, err);
    return err_set(err, ERR_INVALID, "options.allow", "allow.%.60s in worker.yaml is unknown", key);
}

bool allow_parse(const json_t *tree, Allow **out, Err *err)
{
    Allow *allow = mem_new(Allow);
    allow->prune_backups = BACKUPS_USUALLY;
    bool ok = true;
    if (tree != NULL && !json_is_null(tree) && !json_is_object(tree))
        ok = invalid(err, "allow", "a mapping");
    json_t *object = (json_t *)(uintptr_t)(ok && json_is_object(tree) ? tree : NULL);
    for (void *at = json_object_iter(object); ok && at != NULL;
         at = json_object_iter_next(object, at))
        ok = take_key(allow, json_object_iter_key(at), json_object_iter_value(at), err);
    if (!ok) {
        allow_free(allow);
        return false;
    }
    *out = allow;
    return true;
}

void allow_free(Allow *allow)
{
    if (allow == NULL)
        return;
    for (size_t i = 0; i < LIST_COUNT; i++)
        json_decref(allow->lists[i]);
    allow_sandbox_free(allow->sandbox);
    mem_free(allow);
}

static bool refuse(Err *err, List list, Text what)
{
    return err_set(err, ERR_DENIED, "not-allowed-here",
                   "this worker's own file does not allow \"%.*s\"; add it to %s in worker.yaml "
                   "there, or send the job elsewhere",
                   (int)(what.len < 160 ? what.len : 160), what.at, names[list]);
}

static bool listed(const Allow *allow, List list, Text name, bool when_absent, Err *err)
{
    size_t at = 0;
    const json_t *one = NULL;
    if (allow->lists[list] == NULL)
        return when_absent || refuse(err, list, name);
    json_array_foreach(allow->lists[list], at, one)
    {
        Text have = {json_string_value(one), json_string_length(one)};
        if (text_equal(have, name))
            return true;
    }
    return refuse(err, list, name);
}

/* Host names are compared without regard to case. */
static bool server(const Allow *allow, List list, Text host, bool when_absent, Err *err)
{
    size_t at = 0;
    const json_t *one = NULL;
    json_array_foreach(allow->lists[list], at, one)
    {
        size_t len = json_string_length(one);
        if (len == host.len && strncasecmp(json_string_value(one), host.at, len) == 0)
            return true;
    }
    return (allow->lists[list] == NULL && when_absent) || refuse(err, list, host);
}

static bool has_dots(const char *path)
{
    for (const char *at = path; *at != '\0'; at++)
        if (at[0] == '/' && at[1] == '.' && at[2] == '.' && (at[3] == '/' || at[3] == '\0'))
            return true;
    return false;
}

/* Where the path leads: symbolic links are followed as far as it exists, the rest is kept. */
static bool resolve(const char *path, char out[PATH_MAX])
{
    char head[PATH_MAX];
    char real[PATH_MAX];
    size_t len = strlen(path);
    if (path[0] != '/' || len >= PATH_MAX || has_dots(path))
        return false;
    memcpy(head, path, len + 1);
    size_t kept = len;
    while (realpath(head, real) == NULL) {
        while (kept > 1 && head[kept - 1] != '/')
            kept--;
        while (kept > 1 && head[kept - 1] == '/')
            kept--;
        head[kept] = '\0';
        if (kept == 1) {
            real[0] = '/', real[1] = '\0';
            break;
        }
    }
    const char *rest = path + kept;
    while (*rest == '/')
        rest++;
    int wrote = snprintf(out, PATH_MAX, "%s%s%s", strcmp(real, "/") == 0 ? "" : real,
                         *rest == '\0' && strcmp(real, "/") != 0 ? "" : "/", rest);
    return wrote > 0 && wrote < PATH_MAX;
}

static bool below(const char *path, const char *root)
{
    size_t len = strlen(root);
    while (len > 1 && root[len - 1] == '/')
        len--;
    if (len == 1)
        return true;
    return strncmp(path, root, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

static bool path_below(const char *path, const char *root)
{
    char real[PATH_MAX];
    return resolve(root, real) && below(path, real);
}

static bool path_allowed(const Allow *allow, List list, const char *path, const char *otherwise,
                         Err *err)
{
    char real[PATH_MAX];
    size_t at = 0;
    const json_t *one = NULL;
    if (!resolve(path, real))
        return err_set(err, ERR_DENIED, "not-allowed-here",
                       "\"%.160s\" is not an absolute path without \"..\"", path);
    json_array_foreach(allow->lists[list], at, one)
    {
        if (path_below(real, json_string_value(one)))
            return true;
    }
    if (allow->lists[list] == NULL && (otherwise == NULL || path_below(real, otherwise)))
        return true;
    return refuse(err, list, text_of(path));
}

bool allow_key_set(const Allow *allow, Text name, Err *err)
{
    return listed(allow, LIST_KEY_SETS, name, true, err);
}

bool allow_plain(const Allow *allow, Err *err)
{
    return allow->plain ||
           err_set(err, ERR_DENIED, "not-allowed-here",
                   "this worker does not store unencrypted; give the policy a key set, or set "
                   "allow.allow_plain in worker.yaml there");
}

bool allow_store(const Allow *allow, Text name, Err *err)
{
    return listed(allow, LIST_STORES, name, true, err);
}

bool allow_read_path(const Allow *allow, const char *path, Err *err)
{
    return path_allowed(allow, LIST_READ_PATHS, path, NULL, err);
}

bool allow_restore_path(const Allow *allow, const char *path, Err *err)
{
    return path_allowed(allow, LIST_RESTORE_PATHS, path, ALLOW_RESTORE_DEFAULT, err);
}

bool allow_restore_file(const Allow *allow, const char *path, Err *err)
{
    if (allow->lists[LIST_RESTORE_FILES] == NULL)
        return refuse(err, LIST_RESTORE_FILES, text_of(path));
    return path_allowed(allow, LIST_RESTORE_FILES, path, NULL, err);
}

bool allow_read_server(const Allow *allow, Text host, Err *err)
{
    return server(allow, LIST_READ_SERVERS, host, true, err);
}

bool allow_restore_server(const Allow *allow, Text host, Err *err)
{
    return server(allow, LIST_RESTORE_SERVERS, host, false, err);
}

bool allow_restore_with(const Allow *allow, Text what, Err *err)
{
    return listed(allow, LIST_RESTORE_WITH, what, false, err);
}

bool allow_hook(const Allow *allow, Text name, Err *err)
{
    return listed(allow, LIST_HOOKS, name, false, err);
}

bool allow_grant(const Allow *allow, Text host, Err *err)
{
    return server(allow, LIST_GRANTS, host, false, err);
}

uint64_t allow_prune_packs(const Allow *allow)
{
    return allow->prune_packs;
}

uint64_t allow_prune_backups(const Allow *allow)
{
    return allow->prune_packs == 0 ? 0 : allow->prune_backups;
}

const AllowSandbox *allow_sandbox(const Allow *allow)
{
    return allow->sandbox;
}

const json_t *allow_key_sets(const Allow *allow)
{
    return allow->lists[LIST_KEY_SETS];
}

const json_t *allow_stores(const Allow *allow)
{
    return allow->lists[LIST_STORES];
}
