/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_cluster.h"

#include "common/base/crashpoint.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/engine/files_beneath.h"
#include "worker/engine/files_delta.h"
#include "worker/engine/files_target.h"
#include "worker/engine/postgresql_delta.h"
#include "worker/engine/postgresql_running.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LANES_MOST = 8, PHASE_CONTROL = 2 };

typedef struct Place {
    Target *target;
    const PostgresqlPlace *of; /* prefix, path, oid */
} Place;

typedef struct PostgresqlCluster {
    Target target;
    EngineHost host; /* the caller's, but issues come to us */
    const EngineHost *caller;
    const json_t *details;
    PostgresqlPlaces where;
    bool delta;    /* over what is there */
    Place *places; /* 0: the data directory; as many as `where` has */
    size_t place_count;
    size_t at[LANES_MOST]; /* the place of each lane's entry */
    unsigned lanes;
    pthread_mutex_t lock; /* of the two that follow */
    unsigned errors;
    char first[300];
    bool owner_known;
    uint32_t uid, gid;
    mode_t mode; /* of the data directory */
} PostgresqlCluster;

static PostgresqlCluster *self(const Target *target)
{
    return (PostgresqlCluster *)(uintptr_t)target;
}

bool postgresql_cluster_asked(const EngineParams *params)
{
    return text_equal(json_text_or(json_object_get(params->request, "details"), "method", TEXT("")),
                      TEXT("physical"));
}

/* Says of which of them an error speaks. */
static bool whose(const PostgresqlPlace *place, Err *err)
{
    if (place->oid == 0)
        return err_note(err, "the data directory");
    return err_note(err, "tablespace %lld (--tablespace OLD=NEW says where to)",
                    (long long)place->oid);
}

/* --- the target ----------------------------------------------------------------------------- */

static void on_issue(void *ctx, const Issue *issue)
{
    PostgresqlCluster *t = ctx;
    if (issue->kind != ISSUE_NOTE) {
        pthread_mutex_lock(&t->lock);
        if (t->errors++ == 0)
            snprintf(t->first, sizeof t->first, "%.*s: %.*s",
                     (int)(issue->path.len < 120 ? issue->path.len : 120), issue->path.at,
                     TEXT_ARG(issue->text));
        pthread_mutex_unlock(&t->lock);
    }
    t->caller->issue(t->caller->ctx, issue);
}

static void on_note(void *ctx, const char *event, const char *text)
{
    PostgresqlCluster *t = ctx;
    t->caller->note(t->caller->ctx, event, text);
}

static bool on_cancelled(void *ctx)
{
    PostgresqlCluster *t = ctx;
    return t->caller->cancelled != NULL && t->caller->cancelled(t->caller->ctx);
}

static unsigned target_lanes(const Target *target)
{
    return self(target)->lanes;
}

static bool is_whole(PostgresqlCluster *t, Err *err)
{
    pthread_mutex_lock(&t->lock);
    unsigned errors = t->errors;
    pthread_mutex_unlock(&t->lock);
    return errors == 0 || err_set(err, ERR_IO, "target.incomplete",
                                  "%u entries could not be restored, and a cluster must be whole; "
                                  "the first is %.240s",
                                  errors, t->first);
}

static bool sync_place(const Place *place, Err *err)
{
    int fd = files_beneath_open_absolute(place->of->path, O_RDONLY | O_DIRECTORY);
    bool ok = fd >= 0 && syncfs(fd) == 0;
    if (!ok)
        err_set_sys(err, ERR_IO, "target.sync", "%.*s did not reach the disk",
                    TEXT_ARG(place->of->path));
    if (fd >= 0)
        close(fd);
    return ok;
}

/* Before pg_control: with it a server may start. */
static bool clear_all(PostgresqlCluster *t, Err *err)
{
    CRASHPOINT("delta.fed");
    for (size_t i = 0; t->delta && i < t->where.count; i++)
        if (!files_delta_clear(t->places[i].target, err))
            return whose(t->places[i].of, err);
    CRASHPOINT("delta.cleared");
    return true;
}

static bool target_phase(Target *target, uint8_t phase, Err *err)
{
    PostgresqlCluster *t = self(target);
    if (phase == PHASE_CONTROL && (!is_whole(t, err) || !clear_all(t, err)))
        return false;
    for (size_t i = 0; i < t->where.count; i++) {
        if (phase == PHASE_CONTROL && !sync_place(&t->places[i], err))
            return false;
        if (!t->places[i].target->ops->phase(t->places[i].target, phase, err))
            return false;
    }
    return true;
}

static bool starts_with(Text path, Text prefix)
{
    return path.len > prefix.len && memcmp(path.at, prefix.at, prefix.len) == 0;
}

static void look_at_owner(PostgresqlCluster *t, const Entry *entry)
{
    if (!text_equal(entry->path, TEXT("PG_VERSION")))
        return;
    pthread_mutex_lock(&t->lock);
    t->owner_known = true;
    t->uid = entry->uid;
    t->gid = entry->gid;
    t->mode = (entry->mode & 040) != 0 ? 0750 : 0700;
    pthread_mutex_unlock(&t->lock);
}

/* The tablespace's own entry becomes the link to where it now lies. */
static const Place *link_of(const PostgresqlCluster *t, Text path)
{
    for (size_t i = 1; i < t->where.count; i++)
        if (path.len + 1 == t->places[i].of->prefix.len &&
            memcmp(path.at, t->places[i].of->prefix.at, path.len) == 0)
            return &t->places[i];
    return NULL;
}

static bool target_begin(Target *target, unsigned lane, const Entry *entry, bool *want, Err *err)
{
    PostgresqlCluster *t = self(target);
    Entry here = *entry;
    const Place *leads_to = link_of(t, entry->path);
    t->at[lane] = 0;
    look_at_owner(t, entry);
    if (leads_to != NULL) {
        here.type = ENTRY_SYMLINK;
        here.link = leads_to->of->path;
        here.size = 0;
    }
    for (size_t i = 1; i < t->where.count && leads_to == NULL; i++)
        if (starts_with(entry->path, t->places[i].of->prefix)) {
            t->at[lane] = i;
            here.path = (Text){entry->path.at + t->places[i].of->prefix.len,
                               entry->path.len - t->places[i].of->prefix.len};
        }
    Target *into = t->places[t->at[lane]].target;
    return into->ops->begin(into, lane, &here, want, err);
}

static bool target_write(Target *target, unsigned lane, Slice bytes, Err *err)
{
    PostgresqlCluster *t = self(target);
    Target *into = t->places[t->at[lane]].target;
    return into->ops->write(into, lane, bytes, err);
}

static bool target_zeros(Target *target, unsigned lane, uint64_t count, Err *err)
{
    PostgresqlCluster *t = self(target);
    Target *into = t->places[t->at[lane]].target;
    return into->ops->zeros(into, lane, count, err);
}

static bool target_end(Target *target, unsigned lane, const Entry *entry, Err *err)
{
    PostgresqlCluster *t = self(target);
    const Place *place = &t->places[t->at[lane]];
    Entry here = *entry;
    here.path =
        (Text){entry->path.at + place->of->prefix.len, entry->path.len - place->of->prefix.len};
    return place->target->ops->end(place->target, lane, &here, err);
}

/* The server refuses a directory that is not its own, or that others may enter. */
static bool hand_over(const PostgresqlCluster *t, const Place *place, Err *err)
{
    int fd = files_beneath_open_absolute(place->of->path, O_RDONLY | O_DIRECTORY);
    bool ok = fd >= 0 && (geteuid() != 0 || fchown(fd, t->uid, t->gid) == 0) &&
              fchmod(fd, t->mode) == 0 && fsync(fd) == 0;
    if (!ok)
        err_set_sys(err, ERR_IO, "target.owner", "%.*s cannot be given to the server's user",
                    TEXT_ARG(place->of->path));
    if (fd >= 0)
        close(fd);
    return ok;
}

/* What each place counted, together. */
static void add_counts(json_t *sum, const json_t *part)
{
    static const char *const counted[] = {"files", "bytes", "changed", "written_bytes", "removed"};
    for (size_t i = 0; i < sizeof counted / sizeof *counted; i++) {
        const json_t *more = json_object_get(part, counted[i]);
        json_int_t so_far = json_integer_value(json_object_get(sum, counted[i]));
        if (more != NULL)
            json_object_set_new(sum, counted[i], json_integer(so_far + json_integer_value(more)));
    }
}

static json_t *report_of(const PostgresqlCluster *t, const json_t *counts)
{
    json_t *spaces = json_array();
    for (size_t i = 1; i < t->where.count; i++)
        json_array_append_new(spaces, json_pack("{s:I, s:o}", "oid", t->places[i].of->oid, "path",
                                                json_bytes(slice_of_text(t->places[i].of->path))));
    json_t *report =
        json_pack("{s:s, s:s, s:o, s:o}", "engine", "postgresql", "method", "physical", "path",
                  json_bytes(slice_of_text(t->places[0].of->path)), "tablespaces", spaces);
    add_counts(report, counts);
    static const char *const told[] = {"server_version", "timeline", "start", "stop"};
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        if (json_object_get(t->details, told[i]) != NULL)
            json_object_set(report, told[i], json_object_get(t->details, told[i]));
    return report;
}

static bool finish_place(PostgresqlCluster *t, const Place *place, json_t *counts, Err *err)
{
    scoped(json_release) json_t *part = NULL;
    if (!place->target->ops->finish(place->target, &part, err) || !is_whole(t, err) ||
        !hand_over(t, place, err))
        return false;
    add_counts(counts, part);
    return true;
}

static bool target_finish(Target *target, json_t **report, Err *err)
{
    PostgresqlCluster *t = self(target);
    scoped(json_release) json_t *counts = json_object();
    if (!is_whole(t, err))
        return false;
    if (!t->owner_known)
        return err_set(err, ERR_CORRUPT, "target.incomplete",
                       "the backup has no PG_VERSION, so it is no cluster; take another one");
    for (size_t i = t->where.count; i-- > 0;) {
        CRASHPOINT("delta.finish");
        if (!finish_place(t, &t->places[i], counts, err))
            return false;
    }
    *report = report_of(t, counts);
    return true;
}

static void target_close(Target *target)
{
    PostgresqlCluster *t = self(target);
    for (size_t i = 0; i < t->where.count; i++)
        if (t->places[i].target != NULL)
            t->places[i].target->ops->close(t->places[i].target);
    mem_free(t->places);
    postgresql_places_free(&t->where);
    pthread_mutex_destroy(&t->lock);
    mem_free(t);
}

static const TargetOps target_ops = {target_lanes, target_phase, target_begin,  target_write,
                                     target_zeros, target_end,   target_finish, target_close};

static bool open_over(PostgresqlCluster *t, Err *err)
{
    char mark[POSTGRESQL_DELTA_MARK];
    bool exists;
    if (!postgresql_running_none(t->where.at[0].path, err) ||
        !postgresql_delta_check(&t->where, t->details, &exists, err))
        return false;
    postgresql_delta_mark(t->details, mark);
    for (size_t i = 0; i < t->where.count; i++) {
        FilesDeltaParams params = {.host = &t->host,
                                   .path = t->places[i].of->path,
                                   .mark = text_of(mark),
                                   .lanes = t->lanes,
                                   .shared = i > 0};
        if (!files_delta_open(&t->places[i].target, &params, err))
            return whose(t->places[i].of, err);
    }
    CRASHPOINT("delta.marked");
    if (!postgresql_delta_disarm(t->places[0].of->path, err))
        return false;
    for (size_t i = 0; i < t->where.count; i++)
        files_delta_keep(t->places[i].target);
    CRASHPOINT("delta.disarmed");
    return true;
}

static bool open_place(PostgresqlCluster *t, const EngineParams *params, Place *place, Err *err)
{
    scoped(json_release) json_t *request =
        json_pack("{s:{s:s%}, s:{s:b}}", "target", "path", place->of->path.at, place->of->path.len,
                  "options", "numeric_owner", 1);
    json_t *mark = json_object_get(params->request, "mark");
    if (mark != NULL)
        json_object_set(request, "mark", mark);
    EngineParams inner = {.request = request, .host = &t->host, .lanes = t->lanes};
    return files_target_open(&place->target, &inner, err) || whose(place->of, err);
}

static bool refuse_parts(const EngineParams *params, Err *err)
{
    const json_t *select = json_object_get(params->request, "select");
    if (json_array_size(json_object_get(select, "paths")) == 0 &&
        json_array_size(json_object_get(select, "globs")) == 0)
        return true;
    return err_set(err, ERR_USAGE, "target.select",
                   "a physical backup is restored whole: its files mean nothing alone; restore it "
                   "and dump from there, or take a file with `holdfast backup fetch`");
}

bool postgresql_cluster_open(Target **out, const EngineParams *params, Err *err)
{
    PostgresqlPlaces where;
    if (!refuse_parts(params, err) || !postgresql_places_of(params->request, &where, err))
        return false;
    PostgresqlCluster *t = mem_new(PostgresqlCluster);
    t->target.ops = &target_ops;
    t->caller = params->host;
    t->host = *params->host;
    t->host.ctx = t;
    t->host.issue = on_issue;
    t->host.note = on_note;
    t->host.cancelled = on_cancelled;
    t->host.secret = NULL; /* files have none */
    t->details = json_object_get(params->request, "details");
    t->where = where;
    t->places = mem_array(Place, where.count);
    t->lanes = params->lanes < 1 ? 1 : params->lanes > LANES_MOST ? LANES_MOST : params->lanes;
    t->mode = 0700;
    pthread_mutex_init(&t->lock, NULL);
    for (size_t i = 0; i < where.count; i++)
        t->places[i].of = &t->where.at[i];
    t->delta = json_bool_or(params->request, "delta", false);
    bool ok = t->delta ? open_over(t, err) : postgresql_running_none(where.at[0].path, err);
    for (size_t i = 0; !t->delta && ok && i < where.count; i++)
        ok = open_place(t, params, &t->places[i], err);
    if (!ok) {
        target_close(&t->target);
        return false;
    }
    *out = &t->target;
    return true;
}

/* --- the plan ------------------------------------------------------------------------------- */

static bool plan_space(const PostgresqlPlace *place, json_t *report, bool warn, Err *err)
{
    bool ok = true;
    scoped(json_release) json_t *plan = NULL;
    scoped(json_release) json_t *request =
        json_pack("{s:{s:s%}}", "target", "path", place->path.at, place->path.len);
    EngineParams inner = {.request = request, .lanes = 1};
    ok = files_target_plan(&inner, &plan, err);
    if (!ok)
        return whose(place, err);
    json_array_append_new(json_object_get(report, "tablespaces"),
                          json_pack("{s:I, s:o, s:o, s:O, s:O, s:O}", "oid", place->oid, "from",
                                    json_bytes(slice_of_text(place->location)), "path",
                                    json_bytes(slice_of_text(place->path)), "exists",
                                    json_object_get(plan, "exists"), "empty",
                                    json_object_get(plan, "empty"), "free_bytes",
                                    json_object_get(plan, "free_bytes")));
    if (warn && json_is_false(json_object_get(plan, "empty")))
        json_object_set_new(report, "warning",
                            json_string("the directory of a tablespace is not empty"));
    return true;
}

/* In place the server that runs now is stopped before the restore begins, or that is refused. */
static bool plan_running(const EngineParams *params, Text path, const char **warning, Err *err)
{
    *warning = NULL;
    if (postgresql_running_none(path, err))
        return true;
    if (!json_bool_or(params->request, "in_place", false))
        return false;
    *err = (Err){0};
    *warning = "a server runs there: what hooks.apps names must stop it, else nothing is restored";
    return true;
}

/* What is there, and may it be restored over? */
static bool plan_over(const EngineParams *params, const PostgresqlPlaces *where, json_t *report,
                      Err *err)
{
    bool exists;
    if (!postgresql_delta_check(where, json_object_get(params->request, "details"), &exists, err))
        return false;
    if (exists)
        json_object_set_new(report, "replaces",
                            json_string("the cluster that is there: what differs is written, what "
                                        "the backup has not is removed"));
    return true;
}

static bool plan_all(const EngineParams *params, const PostgresqlPlaces *where, json_t **report,
                     Err *err)
{
    const char *warning;
    bool delta = json_bool_or(params->request, "delta", false);
    if (!plan_running(params, where->at[0].path, &warning, err) ||
        !files_target_plan(params, report, err))
        return false;
    json_object_set_new(*report, "tablespaces", json_array());
    json_object_set_new(*report, "method", json_string("physical"));
    if (!delta && json_is_false(json_object_get(*report, "empty")))
        warning = "the directory is not empty: choose another, or say --delta";
    if (warning != NULL)
        json_object_set_new(*report, "warning", json_string(warning));
    for (size_t i = 1; i < where->count; i++)
        if (!plan_space(&where->at[i], *report, !delta, err))
            return false;
    return !delta || plan_over(params, where, *report, err);
}

bool postgresql_cluster_plan(const EngineParams *params, json_t **report, Err *err)
{
    PostgresqlPlaces where;
    if (!refuse_parts(params, err) || !postgresql_places_of(params->request, &where, err))
        return false;
    *report = NULL;
    bool ok = plan_all(params, &where, report, err);
    if (!ok) {
        json_decref(*report);
        *report = NULL;
    }
    postgresql_places_free(&where);
    return ok;
}
