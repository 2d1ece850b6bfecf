/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/keep.h"

#include "common/base/mem.h"
#include "scheduler/plan/civil.h"

#include <stdlib.h>

enum { HOUR_S = 3600, DAY_S = 86400 };

/* The backups from the newest to the oldest, each at its bounded instant. */
typedef struct Place {
    const KeepBackup *backup;
    KeepRuling *ruling;
    int64_t at_s;
} Place;

/* A source's clock may be wrong by more than any rule is long; the catalogue's is not. A day back,
 * because an engine may name a state that was there before the job began. */
static int64_t instant_of(const KeepBackup *backup)
{
    int64_t at = backup->at_s;
    if (at < backup->started_s - DAY_S)
        at = backup->started_s - DAY_S;
    return at > backup->committed_s ? backup->committed_s : at;
}

static int newest_first(const void *a, const void *b)
{
    const Place *one = a, *other = b;
    if (one->at_s != other->at_s)
        return one->at_s > other->at_s ? -1 : 1;
    uint64_t x = one->backup->sequence, y = other->backup->sequence;
    return x == y ? 0 : x > y ? -1 : 1;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* The number of the period that this instant lies in; later ones have no smaller numbers, unless
 * clocks went back. */
static int64_t period_of(KeepRule rule, const Zone *zone, int64_t at_s)
{
    int64_t offset = zone_offset(zone, at_s);
    int64_t days = floor_div(at_s + offset, DAY_S);
    Civil day;
    switch (rule) {
    case KEEP_HOURLY: /* elapsed ones, that begin where the zone's do */
        return floor_div(at_s + offset % HOUR_S, HOUR_S);
    case KEEP_DAILY:
        return days;
    case KEEP_WEEKLY: /* day 0 was a Thursday */
        return floor_div(days + 3, 7);
    case KEEP_MONTHLY:
        day = civil_of(days * DAY_S);
        return day.year * 12 + day.month;
    default:
        return civil_of(days * DAY_S).year;
    }
}

/* Which of the backups a set of rules is about. */
typedef struct View {
    const Place *places;
    size_t count;
    const Text *schedule; /* NULL: of all */
    bool doubtful;        /* the doubtful ones are looked at as if they were good */
} View;

static bool in_view(const View *view, const Place *place)
{
    const KeepBackup *backup = place->backup;
    return (backup->quality == KEEP_GOOD || (view->doubtful && backup->quality == KEEP_DOUBTFUL)) &&
           (view->schedule == NULL || text_equal(backup->schedule, *view->schedule));
}

/* A second look, at the doubtful too, rules on these alone. */
static void keep(const View *view, const Place *place, KeepRule rule, int64_t nth)
{
    if (view->doubtful && place->backup->quality == KEEP_GOOD)
        return;
    KeepHits *hits = view->schedule == NULL ? &place->ruling->copy : &place->ruling->own;
    hits->place[rule] = nth;
    place->ruling->why |= KEEP_BY_RULE;
}

static void apply_periods(const View *view, KeepRule rule, int64_t most, const Zone *zone)
{
    int64_t nth = 0, last = INT64_MAX;
    for (size_t i = 0; i < view->count && nth <= most; i++) {
        if (!in_view(view, &view->places[i]))
            continue;
        int64_t period = period_of(rule, zone, view->places[i].at_s);
        if (period >= last)
            continue;
        last = period;
        if (++nth <= most)
            keep(view, &view->places[i], rule, nth);
    }
}

static void apply_counts(const View *view, const KeepRules *rules, int64_t now_s)
{
    int64_t nth = 0, since = INT64_MIN;
    for (size_t i = 0; i < view->count; i++) {
        const Place *place = &view->places[i];
        if (!in_view(view, place))
            continue;
        if (++nth == 1) {
            int64_t newest = place->at_s > now_s ? now_s : place->at_s;
            since = newest - rules->most[KEEP_WITHIN];
        }
        if (nth <= rules->most[KEEP_LAST])
            keep(view, place, KEEP_LAST, nth);
        if (rules->most[KEEP_WITHIN] != 0 && place->at_s >= since)
            keep(view, place, KEEP_WITHIN, nth);
    }
}

static void apply(View view, const KeepRules *rules, const KeepFacts *facts)
{
    for (int again = 0; again < 2; again++, view.doubtful = true) {
        apply_counts(&view, rules, facts->now_s);
        for (KeepRule rule = KEEP_HOURLY; rule <= KEEP_YEARLY; rule++)
            if (rules->most[rule] != 0)
                apply_periods(&view, rule, rules->most[rule], facts->zone);
    }
}

static bool any_rule(const KeepRules *rules)
{
    for (KeepRule rule = 0; rule < KEEP_RULES; rule++)
        if (rules->most[rule] != 0)
            return true;
    return false;
}

static const KeepRules *own_rules(const KeepPolicy *policy, Text schedule)
{
    for (size_t i = 0; i < policy->schedule_count; i++)
        if (text_equal(policy->schedules[i].name, schedule))
            return &policy->schedules[i].rules;
    return NULL;
}

/* What stays whatever was asked for. */
static void apply_floors(const KeepPolicy *policy, const Place *places, size_t count)
{
    int64_t good = 0, least = policy->min_good < 1 ? 1 : policy->min_good;
    bool proved = false;
    const Place *newest = NULL;
    for (size_t i = 0; i < count; i++) {
        const KeepBackup *backup = places[i].backup;
        KeepRuling *ruling = places[i].ruling;
        if (newest == NULL || backup->sequence > newest->backup->sequence)
            newest = &places[i];
        if (backup->quality != KEEP_GOOD) {
            if (good == 0)
                ruling->why |= KEEP_BY_NO_BETTER;
            continue;
        }
        if (++good <= least)
            ruling->why |= KEEP_BY_MIN_GOOD;
        if (backup->proved && !proved)
            ruling->why |= KEEP_BY_PROOF;
        proved = proved || backup->proved;
    }
    if (newest != NULL)
        newest->ruling->why |= KEEP_BY_NEWEST;
}

/* What somebody or something else wants. */
static void apply_claims(const KeepPolicy *policy, const KeepFacts *facts, const Place *place)
{
    const KeepBackup *backup = place->backup;
    KeepRuling *ruling = place->ruling;
    int64_t lock = policy->lock_s == 0 ? 0 : backup->committed_s + policy->lock_s;
    ruling->locked_until_s = lock > backup->locked_until_s ? lock : backup->locked_until_s;
    if (backup->held_until_s > facts->now_s)
        ruling->why |= KEEP_BY_HOLD;
    if (ruling->locked_until_s > facts->now_s)
        ruling->why |= KEEP_BY_LOCK;
    if (backup->in_use)
        ruling->why |= KEEP_BY_USE;
    if (!any_rule(&policy->copy) && own_rules(policy, backup->schedule) == NULL)
        ruling->why |= KEEP_BY_NO_RULE;
}

const char *keep_frozen(const KeepFacts *facts, char words[80])
{
    if (facts->frozen != NULL)
        return facts->frozen;
    if (facts->suspicious != NULL)
        return facts->suspicious;
    if (facts->failures < KEEP_FAILURES)
        return NULL;
    snprintf(words, 80, "its source failed %llu times in a row",
             (unsigned long long)facts->failures);
    return words;
}

void keep_decide(const KeepPolicy *policy, const KeepFacts *facts, const KeepBackup *backups,
                 size_t count, KeepRuling *rulings)
{
    char words[80];
    bool frozen = keep_frozen(facts, words) != NULL;
    Place *places = mem_array(Place, count);
    View all = {.places = places, .count = count};
    for (size_t i = 0; i < count; i++) {
        rulings[i] = (KeepRuling){0};
        places[i] = (Place){&backups[i], &rulings[i], instant_of(&backups[i])};
    }
    if (count != 0)
        qsort(places, count, sizeof *places, newest_first);
    apply(all, &policy->copy, facts);
    for (size_t i = 0; i < policy->schedule_count; i++) {
        View own = all;
        own.schedule = &policy->schedules[i].name;
        apply(own, &policy->schedules[i].rules, facts);
    }
    apply_floors(policy, places, count);
    for (size_t i = 0; i < count; i++) {
        apply_claims(policy, facts, &places[i]);
        if (places[i].ruling->why == 0 && frozen)
            places[i].ruling->why = KEEP_BY_FREEZE;
    }
    mem_free(places);
}
