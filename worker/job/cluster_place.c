/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/cluster_place.h"

#include "common/base/json.h"

#include <stdio.h>

static Text trimmed(Text path)
{
    while (path.len > 1 && path.at[path.len - 1] == '/')
        path.len--;
    return path;
}

static Text own_directory(const Job *job)
{
    const json_t *config = json_object_get(job->source, "config");
    return trimmed(json_text_or(config, "data_directory", TEXT("")));
}

/* What the operator did not map goes back to where it was. */
static json_t *spaces_in_place(const json_t *request)
{
    size_t i;
    const json_t *space;
    const json_t *asked = json_object_get(json_object_get(request, "target"), "tablespaces");
    json_t *map = asked == NULL ? json_object() : json_deep_copy(asked);
    json_array_foreach(json_object_get(json_object_get(request, "details"), "tablespaces"), i,
                       space)
    {
        char oid[24];
        const char *location = json_string_value(json_object_get(space, "location"));
        snprintf(oid, sizeof oid, "%lld",
                 (long long)json_integer_value(json_object_get(space, "oid")));
        if (location != NULL && json_object_get(map, oid) == NULL &&
            json_object_get(map, location) == NULL)
            json_object_set_new(map, oid, json_string(location));
    }
    return map;
}

static bool in_place(const Job *job, json_t *request, Err *err)
{
    Text own = own_directory(job);
    if (own.len == 0)
        return err_set(err, ERR_USAGE, "restore.in_place",
                       "the source does not say where its cluster lies: give it a data_directory "
                       "in the fleet file, or restore with --delta --to DIRECTORY");
    /* The server would open on the timeline whose log is stored beyond it, and write that log anew.
     */
    if (!text_equal(json_text_or(json_object_get(job->source, "config"), "wal", TEXT("none")),
                    TEXT("none")))
        return err_set(err, ERR_USAGE, "restore.in_place_log",
                       "a source whose log is kept is not restored in place: restore it into an "
                       "empty directory (--to DIRECTORY, with --until latest or a time) and start "
                       "that server in its place");
    json_t *target =
        json_pack("{s:s%, s:o}", "path", own.at, own.len, "tablespaces", spaces_in_place(request));
    json_object_set_new(request, "target", target);
    json_object_set_new(request, "delta", json_true());
    return true;
}

bool cluster_place(const Job *job, json_t *request, Err *err)
{
    bool delta = json_bool_or(request, "delta", false);
    Text own = own_directory(job);
    if (json_object_get(request, "details") == NULL)
        return !delta || err_set(err, ERR_USAGE, "restore.delta",
                                 "only a physical backup of PostgreSQL is restored with --delta: "
                                 "leave it out");
    if (json_bool_or(request, "in_place", false))
        return in_place(job, request, err);
    if (delta && json_is_object(json_object_get(request, "recover")))
        return err_set(err, ERR_USAGE, "restore.delta_until",
                       "a delta is of the backup alone, as the cluster would start before its log "
                       "lies there: leave --until out, or restore into an empty directory");
    Text path = json_text_or(json_object_get(request, "target"), "path", TEXT(""));
    if (!delta || own.len == 0 || !text_equal(trimmed(path), own))
        return true;
    return err_set(err, ERR_USAGE, "restore.in_place",
                   "%.*s is the source's own data directory: say --in-place in place of --delta "
                   "--to, which takes a backup of what is there first",
                   TEXT_ARG(own));
}
