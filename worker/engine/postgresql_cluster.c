/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_cluster.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/engine/files_beneath.h"
#include "worker/engine/files_target.h"
#include "worker/engine/postgresql_places.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
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

/* A server that runs on what is there would be destroyed by it, and destroy it. */
static bool nobody_runs(Text path, Err *err)
{
    char text[64] = "";
    int directory = files_beneath_open_absolute(path, O_PATH | O_DIRECTORY);
    int fd = directory < 0 ? -1 : openat(directory, "postmaster.pid", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (directory >= 0)
        close(directory);
    long pid = got > 0 ? strtol(text, NULL, 10) : 0;
    if (pid <= 1 || (kill((pid_t)pid, 0) != 0 && errno == ESRCH))
        return true;
    return err_set(err, ERR_CONFLICT, "target.running",
                   "a PostgreSQL server (process %ld) runs on %.*s: stop it, or restore elsewhere",
                   pid, TEXT_ARG(path));
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

static bool target_phase(Target *target, uint8_t phase, Err *err)
{
    PostgresqlCluster *t = self(target);
    if (phase == PHASE_CONTROL && !is_whole(t, err))
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

static json_t *report_of(const PostgresqlCluster *t, json_t *files, json_t *bytes)
{
    json_t *spaces = json_array();
    for (size_t i = 1; i < t->where.count; i++)
        json_array_append_new(spaces, json_pack("{s:I, s:o}", "oid", t->places[i].of->oid, "path",
                                                json_bytes(slice_of_text(t->places[i].of->path))));
    json_t *report = json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "engine", "postgresql", "method",
                               "physical", "path", json_bytes(slice_of_text(t->places[0].of->path)),
                               "tablespaces", spaces, "files", files, "bytes", bytes);
    static const char *const told[] = {"server_version", "timeline", "start", "stop"};
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        if (json_object_get(t->details, told[i]) != NULL)
            json_object_set(report, told[i], json_object_get(t->details, told[i]));
    return report;
}

static bool target_finish(Target *target, json_t **report, Err *err)
{
    PostgresqlCluster *t = self(target);
    json_int_t files = 0, bytes = 0;
    if (!is_whole(t, err))
        return false;
    if (!t->owner_known)
        return err_set(err, ERR_CORRUPT, "target.incomplete",
                       "the backup has no PG_VERSION, so it is no cluster; take another one");
    for (size_t i = t->where.count; i-- > 0;) {
        json_t *part = NULL;
        Target *one = t->places[i].target;
        if (!one->ops->finish(one, &part, err) || !is_whole(t, err) ||
            !hand_over(t, &t->places[i], err)) {
            json_decref(part);
            return false;
        }
        files += json_integer_value(json_object_get(part, "files"));
        bytes += json_integer_value(json_object_get(part, "bytes"));
        json_decref(part);
    }
    *report = report_of(t, json_integer(files), json_integer(bytes));
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

/* Says of which of them an error speaks. */
static bool whose(const PostgresqlPlace *place, Err *err)
{
    if (place->oid == 0)
        return err_note(err, "the data directory");
    return err_note(err, "tablespace %lld (--tablespace OLD=NEW says where to)",
                    (long long)place->oid);
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
    bool ok = true;
    for (size_t i = 0; i < where.count && ok; i++) {
        t->places[i].of = &t->where.at[i];
        ok = nobody_runs(where.at[i].path, err) && open_place(t, params, &t->places[i], err);
    }
    if (!ok) {
        target_close(&t->target);
        return false;
    }
    *out = &t->target;
    return true;
}

/* --- the plan ------------------------------------------------------------------------------- */

static bool plan_space(const PostgresqlPlace *place, json_t *report, Err *err)
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
    if (json_is_false(json_object_get(plan, "empty")))
        json_object_set_new(report, "warning",
                            json_string("the directory of a tablespace is not empty"));
    return true;
}

bool postgresql_cluster_plan(const EngineParams *params, json_t **report, Err *err)
{
    PostgresqlPlaces where;
    if (!refuse_parts(params, err) || !postgresql_places_of(params->request, &where, err))
        return false;
    bool ok = nobody_runs(where.at[0].path, err) && files_target_plan(params, report, err);
    if (ok) {
        json_object_set_new(*report, "tablespaces", json_array());
        json_object_set_new(*report, "method", json_string("physical"));
        if (json_is_false(json_object_get(*report, "empty")))
            json_object_set_new(*report, "warning",
                                json_string("the directory is not empty: choose another"));
    }
    for (size_t i = 1; ok && i < where.count; i++)
        ok = plan_space(&where.at[i], *report, err);
    postgresql_places_free(&where);
    return ok;
}
