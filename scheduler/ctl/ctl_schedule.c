/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/ctl.h"

#include <inttypes.h>

static const PrintColumn room_columns[] = {
    {"ROOM", "name", AS_TEXT},
    {"PLACES", "places", AS_COUNT},
    {"MOST", "most", AS_COUNT},
    {"WHEN", "most_at", AS_WHEN},
    {"BUSY %", "busy", AS_COUNT},
    {"WAITED", "waited", AS_COUNT},
    {"LONGEST", "longest_wait_seconds", AS_SECONDS},
    {"OF", "longest_wait", AS_TEXT},
};

static const PrintColumn collision_columns[] = {
    {"ROOM", "room", AS_TEXT},
    {"FROM", "from", AS_WHEN},
    {"UNTIL", "until", AS_WHEN},
    {"WAITING", "most_waiting", AS_COUNT},
};

static const PrintColumn slot_columns[] = {
    {"AT", "at", AS_WHEN},
    {"SOURCE", "source", AS_TEXT},
    {"SCHEDULE", "schedule", AS_TEXT},
    {"FATE", "fate", AS_TEXT},
    {"STARTS", "start_at", AS_WHEN},
    {"WINDOW", "window_wait_seconds", AS_SECONDS},
    {"PLACE", "room_wait_seconds", AS_SECONDS},
    {"CUT", "cut", AS_TEXT},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

enum { SHOWN = 20 };

static void print_summary(const Ctl *ctl, const json_t *answer)
{
    static const struct {
        const char *key, *words;
    } parts[] = {
        {"waited", "wait first"},
        {"cut", "are not through when their window closes"},
        {"excluded", "are excluded by a calendar"},
        {"skipped", "are skipped: an earlier one still waits or runs"},
        {"coalesced", "are stood for by one that waits"},
        {"missed", "are missed: their start deadline passes"},
        {"shut", "never run: no window lets them in"},
    };
    const json_t *slots = json_object_get(answer, "slots");
    scoped(buf_free) Buf from = {0};
    scoped(buf_free) Buf until = {0};
    print_when(&from, print_text_at(answer, "from"), ctl->args->utc);
    print_when(&until, print_text_at(answer, "until"), ctl->args->utc);
    printf("%s to %s: %" PRId64 " slots, %" PRId64 " run\n", buf_cstr(&from), buf_cstr(&until),
           print_number_at(slots, "due"), print_number_at(slots, "runs"));
    for (size_t i = 0; i < COUNT(parts); i++)
        if (print_number_at(slots, parts[i].key) != 0)
            printf("  %" PRId64 " %s\n", print_number_at(slots, parts[i].key), parts[i].words);
}

/* What the times of the runs are taken from; a guess is called one. */
static void print_durations(const json_t *answer)
{
    const json_t *one;
    size_t i;
    size_t measured = 0;
    size_t type = 0;
    size_t assumed = 0;
    json_array_foreach(json_object_get(answer, "durations"), i, one)
    {
        const char *basis = print_text_at(one, "basis");
        measured += strcmp(basis, "measured") == 0;
        type += strcmp(basis, "type") == 0;
        assumed += strcmp(basis, "assumed") == 0;
    }
    printf("Runs are taken to last as long as before: measured for %zu sources", measured);
    if (type != 0)
        printf(", like others of their type for %zu", type);
    if (assumed != 0)
        printf(", ASSUMED 10 minutes for %zu that nobody has measured", assumed);
    printf(".\n");
    if (json_array_size(json_object_get(answer, "paused")) != 0)
        printf("%zu paused sources are left out.\n",
               json_array_size(json_object_get(answer, "paused")));
}

static void print_first(const Ctl *ctl, const char *title, const json_t *items,
                        const PrintColumn *columns, size_t count)
{
    json_t *first = json_array();
    const json_t *one;
    size_t i;
    if (json_array_size(items) == 0)
        return;
    json_array_foreach(items, i, one)
    {
        if (i < SHOWN)
            json_array_append(first, (json_t *)(uintptr_t)one);
    }
    printf("\n%s", title);
    if (json_array_size(items) > SHOWN)
        printf(" (the first %d; all with --json)", SHOWN);
    printf("\n");
    print_table(stdout, first, columns, count, ctl->args->utc);
    json_decref(first);
}

static void add_percent(const json_t *rooms)
{
    json_t *room;
    size_t i;
    json_array_foreach(rooms, i, room)
    {
        const json_t *share = json_object_get(room, "busy_share");
        if (json_is_number(share))
            json_object_set_new(room, "busy",
                                json_integer((json_int_t)(json_number_value(share) * 100 + 0.5)));
    }
}

bool ctl_schedule_forecast(Ctl *ctl, Err *err)
{
    scoped(buf_free) Buf path = {0};
    json_t *answer = NULL;
    buf_printf(&path, "/schedule/forecast");
    ctl_query(&path, "days", ctl->args->days);
    ctl_query(&path, "source", ctl->args->source);
    if (!client_get(ctl->client, buf_cstr(&path), &answer, err))
        return false;
    if (ctl_wants_json(ctl)) {
        print_json(stdout, answer);
    } else {
        const json_t *rooms = json_object_get(answer, "rooms");
        add_percent(rooms);
        print_summary(ctl, answer);
        print_durations(answer);
        print_first(ctl, "PLACES", rooms, room_columns, COUNT(room_columns));
        print_first(ctl, "COLLISIONS", json_object_get(answer, "collisions"), collision_columns,
                    COUNT(collision_columns));
        print_first(ctl, "NOT WHEN DUE", json_object_get(answer, "slots_to_note"), slot_columns,
                    COUNT(slot_columns));
    }
    json_decref(answer);
    return true;
}
