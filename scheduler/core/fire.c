/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/core/fire.h"

#include "common/base/crashpoint.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/catalog/catalog_window.h"
#include "scheduler/plan/due_words.h"
#include "scheduler/plan/source_time.h"
#include "scheduler/plan/zones.h"

#include <inttypes.h>

/* Slots a statement: one round trip fires a minute of a large fleet, and a lock is short. */
enum { BATCH = 1000 };

/* Clocks that jump ahead must not fire tomorrow: PostgreSQL's clock is the one that counts, and it
 * is asked with the schedules. */
typedef struct FireRule {
    Cron cron;
    const Zone *zone;
    const Calendar *exclude;
    bool valid;
} FireRule;

struct FireCache {
    uint64_t policy_mark;
    FireRule *rules; /* one a row of the list, in its order */
    size_t count;
    Zones zones;
    SourceTime *times; /* of the sources with calendars */
    size_t time_count;
};

FireCache *fire_cache_new(void)
{
    return mem_new(FireCache);
}

static void forget(FireCache *cache)
{
    for (size_t i = 0; i < cache->time_count; i++)
        source_time_free(&cache->times[i]);
    mem_free(cache->times);
    mem_free(cache->rules);
    zones_free(&cache->zones);
    *cache = (FireCache){0};
}

void fire_cache_free(FireCache *cache)
{
    if (cache == NULL)
        return;
    forget(cache);
    mem_free(cache);
}

/* The excluded days of a source, which come in the order of its number, as schedules do. */
static bool exclude(FireCache *cache, const TimeList *list, size_t *at, uint32_t source,
                    FireRule *rule, Err *err)
{
    while (*at < list->count && list->rows[*at].source < source)
        ++*at;
    if (*at == list->count || list->rows[*at].source != source)
        return true;
    SourceTime *time = &cache->times[*at];
    if (time->calendars == NULL &&
        !source_time_read(time, TEXT("[]"), text_of(list->rows[*at].calendars), err))
        return false;
    rule->exclude = &time->exclude;
    return true;
}

/* A rule that stopped being valid (a zone left the system) is logged and its slots wait. */
static void learn_rules(FireCache *cache, const ScheduleList *list, const TimeList *times)
{
    size_t at = 0;
    for (size_t i = 0; i < list->count; i++) {
        const ScheduleRow *row = &list->rows[i];
        FireRule *rule = &cache->rules[i];
        Err err = {0};
        rule->zone = zones_get(&cache->zones, text_of(row->timezone), &err);
        rule->valid = rule->zone != NULL &&
                      cron_parse(text_of(row->at), text_of(row->source_name), &rule->cron, &err) &&
                      exclude(cache, times, &at, row->source, rule, &err);
        if (!rule->valid)
            log_err("schedule.invalid", &err);
    }
}

static bool learn(Catalog *catalog, FireCache *cache, const ScheduleList *list, Err *err)
{
    TimeList times = {0};
    if (cache->rules != NULL && cache->policy_mark == list->policy_mark &&
        cache->count == list->count)
        return true;
    forget(cache);
    if (!catalog_time_load(catalog, &times, err))
        return false;
    cache->policy_mark = list->policy_mark;
    cache->count = list->count;
    cache->rules = mem_array(FireRule, list->count);
    cache->times = mem_array(SourceTime, times.count);
    cache->time_count = times.count;
    learn_rules(cache, list, &times);
    catalog_time_free(&times);
    return true;
}

typedef struct Batch {
    SlotRow rows[BATCH];
    char words[BATCH][DUE_WORDS]; /* that the rows borrow */
    size_t count;
    uint64_t fired;
    Err first; /* failure of one schedule; the others went on */
} Batch;

static bool fire_rows(Catalog *catalog, Batch *batch, const SlotRow *rows, size_t count, Err *err)
{
    SlotAnswer answers[BATCH];
    CRASHPOINT("scheduler.fire.before");
    if (!catalog_slots_fire(catalog, rows, count, answers, err))
        return false;
    CRASHPOINT("scheduler.fire.after");
    for (size_t i = 0; i < count; i++) {
        if (answers[i].job == 0)
            continue;
        batch->fired++;
        log_info("slot.fired", "job=%" PRIu64 " source=%u schedule=%.*s state=%s", answers[i].job,
                 rows[i].source, TEXT_ARG(rows[i].schedule), answers[i].state);
    }
    return true;
}

static bool same_schedule(const SlotRow *a, const SlotRow *b)
{
    return a->source == b->source && text_equal(a->schedule, b->schedule);
}

/* A statement is fired whole or not at all, so that one schedule the catalogue refuses would keep
 * the slots of all others: then each goes alone. */
static bool flush(Catalog *catalog, Batch *batch, Err *err)
{
    size_t count = batch->count;
    batch->count = 0;
    if (count == 0 || fire_rows(catalog, batch, batch->rows, count, err))
        return true;
    if (!catalog_ok(catalog))
        return false;
    for (size_t at = 0, next; at < count; at = next) {
        Err why = {0};
        for (next = at + 1; next < count && same_schedule(&batch->rows[at], &batch->rows[next]);)
            next++;
        if (fire_rows(catalog, batch, batch->rows + at, next - at, &why))
            continue;
        if (!catalog_ok(catalog)) {
            *err = why;
            return false;
        }
        err_note(&why, "source %u schedule %.*s", batch->rows[at].source,
                 TEXT_ARG(batch->rows[at].schedule));
        if (batch->first.code == ERR_NONE)
            batch->first = why;
    }
    *err = (Err){0};
    return true;
}

static bool fire_one(Catalog *catalog, Batch *batch, const ScheduleRow *row, const FireRule *rule,
                     int64_t now_ns, Err *err)
{
    DueList due;
    DueRule facts = {.cron = rule->cron,
                     .zone = rule->zone,
                     .exclude = rule->exclude,
                     .catch_up = row->catch_up,
                     .start_deadline_s = row->start_deadline_s};
    due_slots(&facts, row->last_slot_ns, now_ns, &due);
    if (batch->count + due.count > BATCH && !flush(catalog, batch, err))
        return false;
    if (due.dropped != 0)
        log_warn("slot.dropped", "source=%u schedule=%s slots=%" PRIu64, row->source, row->name,
                 due.dropped);
    if (due.ahead_s != 0)
        log_warn("slot.ahead", "source=%u schedule=%s seconds=%" PRId64, row->source, row->name,
                 due.ahead_s);
    for (size_t i = 0; i < due.count; i++) {
        char *words = batch->words[batch->count];
        const char *code = due_words(&due, i, &facts, row->timezone, words);
        batch->rows[batch->count++] = (SlotRow){.source = row->source,
                                                .schedule = text_of(row->name),
                                                .old_slot_ns = row->last_slot_ns,
                                                .slot_ns = due.slots[i].slot_ns,
                                                .start_by_ns = due.slots[i].start_by_ns,
                                                .missed = due.slots[i].missed,
                                                .code = text_of(code),
                                                .why = text_of(words)};
    }
    return true;
}

bool fire_due(Catalog *catalog, FireCache *cache, uint64_t *fired, Err *err)
{
    ScheduleList list = {0};
    *fired = 0;
    if (!catalog_schedule_load(catalog, &list, err))
        return false;
    bool done = learn(catalog, cache, &list, err);
    Batch *batch = mem_new(Batch);
    for (size_t i = 0; done && i < list.count; i++)
        if (cache->rules[i].valid)
            done = fire_one(catalog, batch, &list.rows[i], &cache->rules[i], list.now_ns, err);
    done = done && flush(catalog, batch, err);
    *fired = batch->fired;
    if (done && batch->first.code != ERR_NONE) {
        *err = batch->first;
        done = false;
    }
    mem_free(batch);
    catalog_schedule_free(&list);
    return done;
}
