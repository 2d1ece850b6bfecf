/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_places.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/engine/files_beneath.h"

#include <stdio.h>

static const char prefix_of_all[] = "pg_tblspc/";

/* Without slashes at its end. */
static bool is_absolute(Text *path)
{
    Err unsafe = {0};
    while (path->len > 1 && path->at[path->len - 1] == '/')
        path->len--;
    return path->len > 1 && path->at[0] == '/' &&
           files_beneath_check((Text){path->at + 1, path->len - 1}, &unsafe);
}

static bool take_path(const json_t *request, Text *path, Err *err)
{
    *path = json_text_or(json_object_get(request, "target"), "path", TEXT(""));
    return is_absolute(path) ||
           err_set(err, ERR_USAGE, "target.path",
                   "a physical backup is restored into a directory: say --to with an absolute "
                   "path without '.' or '..'");
}

/* --- what the operator says ----------------------------------------------------------------- */

static const json_t *map_of(const json_t *request)
{
    return json_object_get(json_object_get(request, "target"), "tablespaces");
}

static const json_t *spaces_of(const json_t *request)
{
    return json_object_get(json_object_get(request, "details"), "tablespaces");
}

static Text location_of(const json_t *space)
{
    return json_text_or(space, "location", TEXT(""));
}

static bool is_named(const json_t *space, const char *name)
{
    char oid[24];
    snprintf(oid, sizeof oid, "%lld", (long long)json_integer_value(json_object_get(space, "oid")));
    return strcmp(oid, name) == 0 || text_equal(location_of(space), text_of(name));
}

/* "16384 (/srv/fast), 16390 (/srv/old)" */
static void list(const json_t *request, Buf *out)
{
    size_t i;
    const json_t *space;
    json_array_foreach(spaces_of(request), i, space) buf_printf(
        out, "%s%lld (%.*s)", i == 0 ? "" : ", ",
        (long long)json_integer_value(json_object_get(space, "oid")), TEXT_ARG(location_of(space)));
    if (out->len == 0)
        buf_add_text(out, TEXT("none"));
}

static bool is_known(const json_t *request, const char *name, Err *err)
{
    size_t i;
    const json_t *space;
    scoped(buf_free) Buf there = {0};
    json_array_foreach(spaces_of(request), i, space)
    {
        if (is_named(space, name))
            return true;
    }
    list(request, &there);
    return err_set(err, ERR_USAGE, "target.tablespaces",
                   "the backup has no tablespace %.120s; its tablespaces, by number and by where "
                   "they were, are: %.160s",
                   name, buf_cstr(&there));
}

/* A word that maps nothing is a slip that would put a tablespace where nobody wants it. */
static bool check_map(const json_t *request, Err *err)
{
    /* jansson's iteration is not const-correct; nothing is changed. */
    json_t *map = (json_t *)(uintptr_t)map_of(request);
    if (map != NULL && !json_is_object(map))
        return err_set(err, ERR_USAGE, "target.tablespaces",
                       "tablespaces are mapped as {\"/old/directory\": \"/new/directory\"}");
    for (void *at = json_object_iter(map); at != NULL; at = json_object_iter_next(map, at)) {
        const json_t *value = json_object_iter_value(at);
        const char *name = json_object_iter_key(at);
        Text path = {json_string_value(value), json_string_length(value)};
        if (!is_known(request, name, err))
            return false;
        if (!json_is_string(value) || !is_absolute(&path))
            return err_set(err, ERR_USAGE, "target.tablespaces",
                           "tablespace %.120s needs an absolute directory without '.' or '..', as "
                           "OLD=/new/directory",
                           name);
    }
    return true;
}

/* By its number or by where it was, not by both. */
static bool mapped(const json_t *request, const json_t *space, Text *out, Err *err)
{
    const char *key;
    json_t *value, *map = (json_t *)(uintptr_t)map_of(request);
    *out = (Text){0};
    json_object_foreach(map, key, value)
    {
        if (!is_named(space, key))
            continue;
        if (out->at != NULL)
            return err_set(err, ERR_USAGE, "target.tablespaces",
                           "tablespace %lld is mapped twice: by its number, and by where it was",
                           (long long)json_integer_value(json_object_get(space, "oid")));
        *out = (Text){json_string_value(value), json_string_length(value)};
        (void)is_absolute(out);
    }
    return true;
}

/* --- places --------------------------------------------------------------------------------- */

static bool place_of(const json_t *request, Text path, const json_t *space, PostgresqlPlace *place,
                     Err *err)
{
    Text wish = path;
    if (space != NULL) {
        if (!mapped(request, space, &wish, err))
            return false;
        place->oid = json_integer_value(json_object_get(space, "oid"));
        place->location = location_of(space);
        buf_printf(&place->bytes, "%s%lld/", prefix_of_all, (long long)place->oid);
    }
    size_t prefix = place->bytes.len;
    buf_add_text(&place->bytes, wish.at != NULL ? wish : path);
    if (wish.at == NULL)
        buf_printf(&place->bytes, ".tablespace-%lld", (long long)place->oid);
    buf_cstr(&place->bytes);
    place->prefix = (Text){(const char *)place->bytes.at, prefix};
    place->path = (Text){(const char *)place->bytes.at + prefix, place->bytes.len - prefix};
    return true;
}

static bool lies_within(Text inner, Text outer)
{
    return inner.len >= outer.len && memcmp(inner.at, outer.at, outer.len) == 0 &&
           (inner.len == outer.len || inner.at[outer.len] == '/');
}

static void name_of(const PostgresqlPlace *place, char out[40])
{
    if (place->oid == 0)
        snprintf(out, 40, "the data directory");
    else
        snprintf(out, 40, "tablespace %lld", (long long)place->oid);
}

static bool none_meet(const PostgresqlPlaces *places, Err *err)
{
    for (size_t i = 0; i < places->count; i++)
        for (size_t j = 0; j < places->count; j++) {
            char inner[40], outer[40];
            if (i == j || !lies_within(places->at[i].path, places->at[j].path))
                continue;
            name_of(&places->at[i], inner);
            name_of(&places->at[j], outer);
            return err_set(err, ERR_CONFLICT, "target.tablespaces_meet",
                           "%s would be restored to %.*s, which is in %s, restored to %.*s: give "
                           "each a directory of its own (--tablespace OLD=NEW)",
                           inner, TEXT_ARG(places->at[i].path), outer,
                           TEXT_ARG(places->at[j].path));
        }
    return true;
}

bool postgresql_places_of(const json_t *request, PostgresqlPlaces *out, Err *err)
{
    Text path;
    size_t i;
    const json_t *space;
    const json_t *spaces = spaces_of(request);
    *out = (PostgresqlPlaces){0};
    if (!take_path(request, &path, err) || !check_map(request, err))
        return false;
    out->count = 1 + json_array_size(spaces);
    out->at = mem_array(PostgresqlPlace, out->count);
    bool ok = place_of(request, path, NULL, &out->at[0], err);
    json_array_foreach(spaces, i, space) ok =
        ok && place_of(request, path, space, &out->at[i + 1], err);
    if (ok && none_meet(out, err))
        return true;
    postgresql_places_free(out);
    return false;
}

void postgresql_places_free(PostgresqlPlaces *places)
{
    for (size_t i = 0; i < places->count; i++)
        buf_free(&places->at[i].bytes);
    mem_free(places->at);
    *places = (PostgresqlPlaces){0};
}
