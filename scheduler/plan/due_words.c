/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/due_words.h"

#include "scheduler/plan/civil.h"

#include <inttypes.h>
#include <stdio.h>

/* "2026-02-03 05:00 Europe/Berlin" */
static void local_time(int64_t ns, const DueRule *rule, const char *zone_name, char out[100])
{
    int64_t at = ns / 1000000000;
    Civil local = civil_of(at + zone_offset(rule->zone, at));
    snprintf(out, 100, "%04" PRId64 "-%02d-%02d %02d:%02d %.64s", local.year, local.month,
             local.day, local.hour, local.minute, zone_name);
}

static const char *const day_names[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

/* "Fri 2026-12-25 in Europe/Berlin is in the calendar 'holidays'" */
static void excluded_day(int64_t ns, const DueRule *rule, const char *zone_name,
                         char text[DUE_WORDS])
{
    int64_t at = ns / 1000000000;
    Civil local = civil_of(at + zone_offset(rule->zone, at));
    const CalendarSpan *span =
        calendar_find(rule->exclude, civil_days(local.year, local.month, local.day));
    if (span == NULL || span->name == NULL)
        snprintf(text, DUE_WORDS, "its day is excluded by a calendar");
    else
        snprintf(text, DUE_WORDS,
                 "%s %04" PRId64 "-%02d-%02d in %.64s is excluded by the calendar '%.64s'",
                 day_names[local.weekday], local.year, local.month, local.day, zone_name,
                 span->name);
}

/* The slot of the list that runs; one does, where one was coalesced. */
static const DueSlot *running(const DueList *list)
{
    size_t i = list->count - 1;
    while (i > 0 && list->slots[i].why != DUE_RUNS)
        i--;
    return &list->slots[i];
}

const char *due_words(const DueList *list, size_t index, const DueRule *rule, const char *zone_name,
                      char text[DUE_WORDS])
{
    char when[100];
    const DueSlot *slot = &list->slots[index];
    text[0] = 0;
    switch (slot->why) {
    case DUE_RUNS:
        if (slot->stands_for <= 1)
            return "";
        local_time(slot->first_ns, rule, zone_name, when);
        snprintf(text, DUE_WORDS, "stands for %" PRIu64 " slots%s since %s: no scheduler was there",
                 slot->stands_for, list->uncounted ? " and more" : "", when);
        return "slot.coalesced";
    case DUE_COALESCED:
        local_time(running(list)->slot_ns, rule, zone_name, when);
        snprintf(text, DUE_WORDS, "no scheduler was there in time; the slot of %s runs instead",
                 when);
        return "slot.coalesced";
    case DUE_LATE:
        snprintf(text, DUE_WORDS,
                 "no scheduler was there before its start deadline of %" PRId64 " s passed",
                 rule->start_deadline_s);
        return "slot.late";
    case DUE_NO_CATCH_UP:
        snprintf(text, DUE_WORDS, "no scheduler was there in time, and catch_up is none");
        return "slot.no_catch_up";
    case DUE_EXCLUDED:
        excluded_day(slot->slot_ns, rule, zone_name, text);
        return "slot.excluded";
    case DUE_SET_BACK:
        snprintf(text, DUE_WORDS,
                 "the clock was %" PRId64 " days ahead and was set back; it goes on from here",
                 list->ahead_s / 86400);
        return "slot.set_back";
    }
    return "";
}
