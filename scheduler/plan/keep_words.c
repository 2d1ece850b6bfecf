/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "scheduler/plan/keep.h"

static const char *const names[KEEP_RULES] = {"last",    "hourly", "daily", "weekly",
                                              "monthly", "yearly", "within"};

const char *keep_rule_name(KeepRule rule)
{
    return names[rule];
}

static void add(Buf *out, size_t from, const char *text)
{
    buf_printf(out, "%s%s", out->len == from ? "" : ", ", text);
}

static void add_span(Buf *out, int64_t seconds)
{
    if (seconds % 86400 == 0)
        buf_printf(out, "%lldd", (long long)seconds / 86400);
    else if (seconds % 3600 == 0)
        buf_printf(out, "%lldh", (long long)seconds / 3600);
    else
        buf_printf(out, "%llds", (long long)seconds);
}

static void add_hits(Buf *out, size_t from, Text whose, const KeepHits *hits,
                     const KeepRules *rules)
{
    for (KeepRule rule = 0; rule < KEEP_RULES; rule++) {
        if (hits->place[rule] == 0)
            continue;
        add(out, from, "");
        if (whose.len != 0)
            buf_printf(out, "%.*s: ", TEXT_ARG(whose));
        buf_printf(out, "%s ", names[rule]);
        if (rule == KEEP_WITHIN)
            add_span(out, rules->most[rule]);
        else
            buf_printf(out, "%lld of %lld", (long long)hits->place[rule],
                       (long long)rules->most[rule]);
    }
}

static void add_until(Buf *out, size_t from, const char *what, int64_t until_s)
{
    char text[CLOCK_TEXT];
    add(out, from, what);
    if (until_s >= KEEP_FOR_EVER_S)
        return;
    clock_rfc3339(until_s * 1000000000, text);
    buf_printf(out, " until %.19sZ", text); /* whole seconds */
}

static void add_floors(const KeepPolicy *policy, const KeepBackup *backup, const KeepRuling *ruling,
                       size_t from, Buf *out)
{
    if (ruling->why & KEEP_BY_MIN_GOOD) {
        if (policy->min_good > 1) {
            add(out, from, "");
            buf_printf(out, "one of the newest %lld good ones", (long long)policy->min_good);
        } else
            add(out, from, "the newest good one");
    }
    if (ruling->why & KEEP_BY_PROOF)
        add(out, from, "the newest whose content was checked");
    if (ruling->why & KEEP_BY_NEWEST)
        add(out, from, "the next one builds on it");
    if (ruling->why & KEEP_BY_HOLD)
        add_until(out, from, "held", backup->held_until_s);
    if (ruling->why & KEEP_BY_LOCK)
        add_until(out, from, "locked", ruling->locked_until_s);
    if (ruling->why & KEEP_BY_USE)
        add(out, from, "in use");
    if (ruling->why & KEEP_BY_NO_RULE)
        add(out, from, "no keep rule");
    if (ruling->why & KEEP_BY_NO_BETTER)
        add(out, from, "no newer good one");
}

void keep_words(const KeepPolicy *policy, const KeepFacts *facts, const KeepBackup *backup,
                const KeepRuling *ruling, Buf *out)
{
    char words[80];
    size_t from = out->len;
    static const KeepRules none = {{0}};
    const KeepRules *own = &none;
    for (size_t i = 0; i < policy->schedule_count; i++)
        if (text_equal(policy->schedules[i].name, backup->schedule))
            own = &policy->schedules[i].rules;
    add_hits(out, from, (Text){0}, &ruling->copy, &policy->copy);
    add_hits(out, from, backup->schedule, &ruling->own, own);
    add_floors(policy, backup, ruling, from, out);
    if (ruling->why & KEEP_BY_FREEZE) {
        add(out, from, "frozen: ");
        buf_printf(out, "%s", keep_frozen(facts, words));
    }
    if (ruling->why == 0)
        add(out, from, "no rule keeps it");
    if (backup->quality == KEEP_PARTIAL)
        buf_printf(out, " (partial)");
    if (backup->quality == KEEP_DOUBTFUL)
        buf_printf(out, " (not proved good: it counts for nothing)");
}

/* --- from the policy ------------------------------------------------------------------------ */

static bool read_rules(const json_t *record, KeepRules *out)
{
    bool any = false;
    *out = (KeepRules){{0}};
    for (KeepRule rule = 0; rule < KEEP_RULES; rule++) {
        char key[16];
        snprintf(key, sizeof key, rule == KEEP_WITHIN ? "%s_s" : "%s", names[rule]);
        const json_t *value = json_object_get(json_object_get(record, "keep"), key);
        if (!json_is_integer(value) || json_integer_value(value) <= 0)
            continue;
        out->most[rule] = json_integer_value(value);
        any = true;
    }
    return any;
}

void keep_read(const json_t *spec, Text store, bool plain, int64_t lock_s, KeepPolicy *out)
{
    const json_t *own = json_object_get(spec, "keep");
    const json_t *min_good = json_object_get(spec, "min_good");
    const json_t *copy;
    const char *name;
    json_t *row;
    size_t i;
    *out = (KeepPolicy){.min_good = 1, .lock_s = lock_s};
    if (json_is_integer(min_good) && json_integer_value(min_good) > 1)
        out->min_good = json_integer_value(min_good);
    bool mine = false;
    json_array_foreach(json_object_get(spec, "copies"), i, copy)
    {
        const char *of = json_string_value(json_object_get(copy, "store"));
        const char *layout = json_string_value(json_object_get(copy, "layout"));
        bool is_plain = layout != NULL && strcmp(layout, "plain") == 0;
        if (of == NULL || !text_equal(text_of(of), store) || is_plain != plain)
            continue;
        mine = true;
        (void)read_rules(copy, &out->copy);
    }
    if (!mine)
        return;
    out->schedules = mem_array(KeepSchedule, json_object_size(own));
    json_object_foreach((json_t *)(uintptr_t)own, name, row)
    {
        KeepSchedule *schedule = &out->schedules[out->schedule_count];
        schedule->name = text_of(name);
        if (read_rules(row, &schedule->rules))
            out->schedule_count++;
    }
}

void keep_free(KeepPolicy *policy)
{
    mem_free(policy->schedules);
    *policy = (KeepPolicy){0};
}
