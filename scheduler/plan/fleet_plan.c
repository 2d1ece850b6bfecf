/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/fleet_plan.h"

#include "common/base/clock.h"
#include "common/base/json.h"
#include "scheduler/plan/cron.h"
#include "scheduler/plan/fleet_diff.h"
#include "scheduler/plan/source_time.h"

#include <string.h>

/* Slots that are looked at for one that is not excluded: the answer of `source show` too. */
enum { TRIES_MOST = 1000 };

typedef struct Plan {
    const FleetPlanFacts *facts;
    json_t *schedules, *starts, *cancels, *keeps;
} Plan;

/* The excluded days of a source; one without any leaves the calendar empty. */
static void read_days(const json_t *spec, SourceTime *out)
{
    Err ignored = {0}; /* the policy was checked */
    scoped(buf_free) Buf text = {0};
    const json_t *calendars = json_object_get(spec, "calendars");
    *out = (SourceTime){0};
    if (calendars == NULL)
        return;
    json_canonical(calendars, &text);
    if (!source_time_read(out, TEXT("[]"), buf_text(&text), &ignored))
        source_time_free(out);
}

/* The next slot that no calendar excludes. */
static bool next_free(const Cron *cron, const Zone *zone, const Calendar *exclude, int64_t now_s,
                      int64_t *next)
{
    int64_t at = now_s;
    for (int tries = 0; tries < TRIES_MOST; tries++) {
        if (!cron_next(cron, zone, at, next))
            return false;
        if (!calendar_excludes(exclude, zone, *next))
            return true;
        at = *next;
    }
    return false;
}

/* When a schedule of a source is due next; false: never, or there is none of that name. */
static bool next_of(const Plan *plan, const char *source, const json_t *spec, const char *schedule,
                    int64_t *next)
{
    Cron cron;
    Zone *zone = NULL;
    Err err = {0};
    SourceTime time;
    const json_t *row = json_object_get(json_object_get(spec, "schedules"), schedule);
    read_days(spec, &time);
    bool found = row != NULL &&
                 cron_parse(json_text_or(row, "at", TEXT("")), text_of(source), &cron, &err) &&
                 zone_open(&zone, json_text_or(spec, "timezone", TEXT("UTC")), &err) &&
                 next_free(&cron, zone, &time.exclude, plan->facts->now_s, next);
    zone_free(zone);
    source_time_free(&time);
    return found;
}

static json_t *instant(bool known, int64_t at_s)
{
    char text[CLOCK_TEXT];
    if (!known)
        return json_null();
    clock_rfc3339(at_s * 1000000000, text);
    return json_string(text);
}

static void compare_schedule(Plan *plan, const char *source, const json_t *was, const json_t *is,
                             const char *name)
{
    int64_t before = 0;
    int64_t after = 0;
    const json_t *old = json_object_get(json_object_get(was, "schedules"), name);
    const json_t *new = json_object_get(json_object_get(is, "schedules"), name);
    bool had = next_of(plan, source, was, name, &before);
    bool has = next_of(plan, source, is, name, &after);
    if (old != NULL && new != NULL && had == has &&before == after)
        return;
    json_t *row = json_pack("{s:s, s:s, s:s}", "source", source, "schedule", name, "change",
                            old == NULL   ? "added"
                            : new == NULL ? "removed"
                                          : "moved");
    json_object_set(row, "rule", json_object_get(new == NULL ? old : new, "at"));
    json_object_set(row, "timezone", json_object_get(new == NULL ? was : is, "timezone"));
    json_object_set_new(row, "before", instant(had, before));
    json_object_set_new(row, "after", instant(has, after));
    json_array_append_new(plan->schedules, row);
}

static void compare_schedules(Plan *plan, const char *source, const json_t *was, const json_t *is)
{
    const json_t *old = json_object_get(was, "schedules");
    const json_t *new = json_object_get(is, "schedules");
    const char *name;
    json_t *row;
    json_object_foreach((json_t *)(uintptr_t) new, name, row)
    {
        compare_schedule(plan, source, was, is, name);
    }
    json_object_foreach((json_t *)(uintptr_t)old, name, row)
    {
        if (json_object_get(new, name) == NULL)
            compare_schedule(plan, source, was, is, name);
    }
}

/* As policy_apply has it: the first backup of a source that the catalogue has never seen. */
static void note_added(Plan *plan, const char *source, const json_t *spec)
{
    bool known = json_object_get(plan->facts->sources, source) != NULL;
    if (!known && json_is_true(json_object_get(spec, "initial")))
        json_array_append_new(plan->starts, json_string(source));
}

static void note_retired(Plan *plan, const char *source)
{
    const json_t *fact = json_object_get(plan->facts->sources, source);
    json_int_t waiting = json_integer_value(json_object_get(fact, "waiting"));
    json_int_t backups = json_integer_value(json_object_get(fact, "backups"));
    if (waiting != 0)
        json_array_append_new(plan->cancels,
                              json_pack("{s:s, s:I}", "source", source, "jobs", waiting));
    if (backups != 0)
        json_array_append_new(plan->keeps,
                              json_pack("{s:s, s:I}", "source", source, "backups", backups));
}

json_t *fleet_plan(const json_t *from, const json_t *to, const FleetPlanFacts *facts)
{
    json_t *out = fleet_diff(from, to);
    const json_t *old = json_object_get(from, "sources");
    const json_t *new = json_object_get(to, "sources");
    Plan plan = {facts, json_array(), json_array(), json_array(), json_array()};
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(out, "added"), i, row)
    {
        const char *name = json_string_value(row);
        compare_schedules(&plan, name, NULL, json_object_get(new, name));
        note_added(&plan, name, json_object_get(new, name));
    }
    json_array_foreach(json_object_get(out, "changed"), i, row)
    {
        const char *name = json_string_value(json_object_get(row, "name"));
        compare_schedules(&plan, name, json_object_get(old, name), json_object_get(new, name));
    }
    json_array_foreach(json_object_get(out, "retired"), i, row)
    {
        const char *name = json_string_value(row);
        compare_schedules(&plan, name, json_object_get(old, name), NULL);
        note_retired(&plan, name);
    }
    json_object_set_new(out, "schedules", plan.schedules);
    json_object_set_new(out, "starts", plan.starts);
    json_object_set_new(out, "cancels", plan.cancels);
    json_object_set_new(out, "keeps", plan.keeps);
    return out;
}
