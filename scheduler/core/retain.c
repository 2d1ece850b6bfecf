/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/core/retain.h"

#include "common/base/crashpoint.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/mem.h"

#include <inttypes.h>

enum { BATCH = 50 }; /* jobs a pass: one takes some milliseconds, and slots wait meanwhile */

static const int64_t NS_A_S = 1000000000;

static KeepBackup fact_of(const RetentionBackup *row)
{
    return (KeepBackup){.at_s = row->at_ns / NS_A_S,
                        .started_s = row->started_ns / NS_A_S,
                        .committed_s = row->committed_ns / NS_A_S,
                        .sequence = row->sequence,
                        .schedule = text_of(row->schedule),
                        .quality = (KeepQuality)row->quality,
                        .proved = row->proved,
                        .in_use = row->in_use,
                        .held_until_s = row->held_until_ns / NS_A_S,
                        .locked_until_s = row->locked_until_ns / NS_A_S};
}

static void rule(const KeepFacts *facts, RetainPlan *plan)
{
    size_t count = plan->backups.count;
    char words[80];
    KeepBackup *backups = mem_array(KeepBackup, count);
    plan->rulings = mem_array(KeepRuling, count);
    plan->reasons = mem_array(char *, count);
    plan->frees = mem_array(uint64_t, count);
    for (size_t i = 0; i < count; i++)
        backups[i] = fact_of(&plan->backups.rows[i]);
    keep_decide(&plan->policy, facts, backups, count, plan->rulings);
    for (size_t i = 0; i < count; i++) {
        scoped(buf_free) Buf reason = {0};
        keep_words(&plan->policy, facts, &backups[i], &plan->rulings[i], &reason);
        plan->reasons[i] = mem_string(buf_cstr(&reason));
        plan->expires += plan->rulings[i].why == 0;
        if (plan->rulings[i].why == KEEP_BY_FREEZE)
            snprintf(plan->frozen, sizeof plan->frozen, "%s", keep_frozen(facts, words));
    }
    mem_free(backups);
}

static bool ask_frees(Catalog *catalog, uint32_t repository, RetainPlan *plan, Err *err)
{
    Uuid *ids = mem_array(Uuid, plan->expires);
    uint64_t *bytes = mem_array(uint64_t, plan->expires);
    size_t n = 0;
    for (size_t i = 0; i < plan->backups.count; i++)
        if (plan->rulings[i].why == 0)
            ids[n++] = plan->backups.rows[i].id;
    bool done = catalog_retention_frees(catalog, repository, ids, n, bytes, err);
    n = 0;
    for (size_t i = 0; done && i < plan->backups.count; i++)
        if (plan->rulings[i].why == 0)
            plan->frees[i] = bytes[n++];
    mem_free(ids);
    mem_free(bytes);
    return done;
}

static bool take_spec(Zones *zones, const RetentionSource *source, const json_t *spec,
                      const Zone **zone, RetainPlan *out, Err *err)
{
    *out = (RetainPlan){0};
    if (spec == NULL && !json_parse(text_of(source->spec), &out->spec, err))
        return false;
    if (spec != NULL)
        out->spec = json_incref((json_t *)(uintptr_t)spec);
    *zone = zones_get(zones, json_text_or(out->spec, "timezone", TEXT("UTC")), err);
    return *zone != NULL;
}

/* plain: of the copies in that store, which are no place of a repository; NULL: of the source's
 * repository. */
static void decide(const RetentionSource *source, const RetentionPlainStore *plain,
                   const Zone *zone, RetainPlan *out)
{
    KeepFacts facts = {.now_s = source->now_ns / NS_A_S,
                       .zone = zone,
                       .failures = source->failures,
                       .suspicious = source->suspicious,
                       .frozen = source->frozen};
    keep_read(out->spec, text_of(plain == NULL ? source->store : plain->name), plain != NULL,
              plain == NULL ? source->lock_s : plain->lock_s, &out->policy);
    rule(&facts, out);
}

bool retain_look(Catalog *catalog, Zones *zones, const RetentionSource *source, const json_t *spec,
                 bool frees, RetainPlan *out, Err *err)
{
    const Zone *zone;
    bool done =
        take_spec(zones, source, spec, &zone, out, err) &&
        catalog_retention_backups(catalog, source->source, source->repository, &out->backups, err);
    if (done) {
        decide(source, NULL, zone, out);
        done = !frees || ask_frees(catalog, source->repository, out, err);
    }
    if (!done)
        retain_free(out);
    return done;
}

static bool look_plain(Catalog *catalog, Zones *zones, const RetentionSource *source,
                       const RetentionPlainStore *store, RetainPlan *out, Err *err)
{
    const Zone *zone;
    if (take_spec(zones, source, NULL, &zone, out, err) &&
        catalog_retention_plain(catalog, source->source, text_of(store->name), &out->backups,
                                err)) {
        decide(source, store, zone, out);
        return true;
    }
    retain_free(out);
    return false;
}

/* The schedules of the compiled source that make backups. */
static size_t coming_of(const RetentionSource *source, const json_t *spec, KeepComing *out,
                        size_t room)
{
    size_t count = 0;
    const char *name;
    json_t *row;
    json_object_foreach(json_object_get(spec, "schedules"), name, row)
    {
        Err err = {0};
        bool backs_up = text_equal(json_text_or(row, "kind", TEXT("backup")), TEXT("backup"));
        out[count].name = text_of(name);
        if (backs_up && count + 1 < room &&
            cron_parse(json_text_or(row, "at", TEXT("")), text_of(source->name), &out[count].cron,
                       &err))
            count++;
    }
    return count;
}

bool retain_goes(Zones *zones, const RetentionSource *source, const RetainPlan *plan, size_t index,
                 int64_t *at_s, Err *err)
{
    enum { COMING_MOST = 64 };
    size_t count = plan->backups.count;
    const Zone *zone = zones_get(zones, json_text_or(plan->spec, "timezone", TEXT("UTC")), err);
    if (zone == NULL)
        return false;
    KeepFacts facts = {.now_s = source->now_ns / NS_A_S, .zone = zone};
    KeepComing *coming = mem_array(KeepComing, COMING_MOST);
    KeepBackup *backups = mem_array(KeepBackup, count);
    for (size_t i = 0; i < count; i++)
        backups[i] = fact_of(&plan->backups.rows[i]);
    size_t schedules = coming_of(source, plan->spec, coming, COMING_MOST);
    if (!keep_goes(&plan->policy, &facts, backups, count, index, coming, schedules, at_s))
        *at_s = 0;
    mem_free(backups);
    mem_free(coming);
    return true;
}

void retain_free(RetainPlan *plan)
{
    for (size_t i = 0; plan->reasons != NULL && i < plan->backups.count; i++)
        mem_free(plan->reasons[i]);
    mem_free(plan->reasons);
    mem_free(plan->rulings);
    mem_free(plan->frees);
    keep_free(&plan->policy);
    catalog_retention_backups_free(&plan->backups);
    json_decref(plan->spec);
    *plan = (RetainPlan){0};
}

static RetentionRuling *rulings_of(const RetainPlan *plan)
{
    RetentionRuling *rulings = mem_array(RetentionRuling, plan->backups.count);
    for (size_t i = 0; i < plan->backups.count; i++)
        rulings[i] = (RetentionRuling){.backup = plan->backups.rows[i].id,
                                       .expires = plan->rulings[i].why == 0,
                                       .reason = text_of(plan->reasons[i])};
    return rulings;
}

static bool tell_plain(Catalog *catalog, const RetentionSource *source, Text store,
                       const RetainPlan *plan, Err *err)
{
    bool taken = false;
    size_t count = plan->backups.count;
    RetentionRuling *rulings = rulings_of(plan);
    bool done = catalog_retention_plain_plan(catalog, source->source, store, source->policy,
                                             rulings, count, &taken, err);
    if (done && taken)
        log_info("retention.planned", "source=%s plain=%.*s kept=%zu expires=%zu%s", source->name,
                 TEXT_ARG(store), count - plan->expires, plan->expires,
                 plan->frozen[0] == 0 ? "" : " frozen=true");
    mem_free(rulings);
    return done;
}

/* The source's plain copies are ruled on with its backups. */
static bool plan_plain(Catalog *catalog, Zones *zones, const RetentionSource *source, Err *err)
{
    RetentionPlainStore *stores = NULL;
    size_t count = 0;
    bool done = catalog_retention_plain_stores(catalog, source->source, &stores, &count, err);
    for (size_t i = 0; done && i < count; i++) {
        RetainPlan plan;
        done = look_plain(catalog, zones, source, &stores[i], &plan, err) &&
               tell_plain(catalog, source, text_of(stores[i].name), &plan, err);
        retain_free(&plan);
    }
    mem_free(stores);
    return done;
}

static bool tell(Catalog *catalog, const RetentionJob *job, const RetentionSource *source,
                 const RetainPlan *plan, Err *err)
{
    bool taken = false;
    size_t count = plan->backups.count;
    RetentionRuling *rulings = rulings_of(plan);
    CRASHPOINT("retain.before");
    bool done = catalog_retention_plan(catalog, job->job, source->policy,
                                       plan->frozen[0] == 0 ? NULL : plan->frozen, rulings, count,
                                       &taken, err);
    CRASHPOINT("retain.after");
    if (done && taken)
        log_info("retention.planned", "job=%" PRIu64 " source=%s store=%s kept=%zu expires=%zu%s",
                 job->job, source->name, source->store, count - plan->expires, plan->expires,
                 plan->frozen[0] == 0 ? "" : " frozen=true");
    mem_free(rulings);
    return done;
}

static bool plan_one(Catalog *catalog, Zones *zones, const RetentionJob *job, Err *err)
{
    RetentionSources sources = {0};
    RetainPlan plan = {0};
    bool done = catalog_retention_source(catalog, job->source, job->repository, &sources, err);
    if (done && sources.count == 1)
        done = retain_look(catalog, zones, &sources.rows[0], NULL, false, &plan, err) &&
               tell(catalog, job, &sources.rows[0], &plan, err) &&
               plan_plain(catalog, zones, &sources.rows[0], err);
    retain_free(&plan);
    catalog_retention_sources_free(&sources);
    return done;
}

bool retain_due(Catalog *catalog, Err *err)
{
    scoped(zones_free) Zones zones = {0};
    RetentionJob jobs[BATCH];
    size_t count = BATCH;
    Err first = {0};
    if (!catalog_retention_due(catalog, jobs, &count, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        Err why = {0};
        if (plan_one(catalog, &zones, &jobs[i], &why))
            continue;
        if (!catalog_ok(catalog)) {
            *err = why;
            return false;
        }
        err_note(&why, "planning retention job %" PRIu64, jobs[i].job);
        if (first.code == ERR_NONE)
            first = why;
    }
    if (first.code != ERR_NONE)
        *err = first;
    return first.code == ERR_NONE;
}
