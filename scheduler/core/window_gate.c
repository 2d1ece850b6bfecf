/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/core/window_gate.h"

#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/catalog/catalog_window.h"
#include "scheduler/plan/civil.h"
#include "scheduler/plan/source_time.h"
#include "scheduler/plan/zones.h"

#include <inttypes.h>
#include <stdio.h>

enum { WORDS = 240, METHOD = 16 };

/* What never changes is told for a day. */
static const int64_t HORIZON_S = 86400;

/* One method of one source, and what was told of it: true from one instant until another. */
typedef struct Gate {
    uint32_t source;
    char method[METHOD];
    char zone_name[64];
    const Zone *zone;
    WindowWeek week;
    int64_t from_s, until_s;
    bool open, cancels;
    char words[WORDS];
} Gate;

struct WindowGate {
    uint64_t policy_mark; /* of the gates; 0: nothing is known */
    Zones zones;
    Gate *gates;
    size_t count, room;
};

WindowGate *window_gate_new(void)
{
    return mem_new(WindowGate);
}

void window_gate_forget(WindowGate *gate)
{
    mem_free(gate->gates);
    zones_free(&gate->zones);
    *gate = (WindowGate){0};
}

void window_gate_free(WindowGate *gate)
{
    if (gate == NULL)
        return;
    window_gate_forget(gate);
    mem_free(gate);
}

/* --- what the policy says --------------------------------------------------------------------- */

static Gate *add_gate(WindowGate *gate, const TimeRow *row, Text method)
{
    if (gate->count == gate->room) {
        gate->room = gate->room == 0 ? 64 : 2 * gate->room;
        gate->gates = mem_resize(gate->gates, gate->room * sizeof *gate->gates);
    }
    Gate *one = &gate->gates[gate->count++];
    *one = (Gate){.source = row->source};
    snprintf(one->method, sizeof one->method, "%.*s", TEXT_ARG(method));
    snprintf(one->zone_name, sizeof one->zone_name, "%s", row->timezone);
    return one;
}

/* Nothing of it starts before somebody mends it: what the policy forbids is not known. */
static void break_gate(Gate *gate, const Err *why)
{
    gate->zone = NULL;
    snprintf(gate->words, sizeof gate->words, "its windows cannot be read: %.180s", why->text);
    log_err("window.invalid", why);
}

/* A zone that left the system is the usual reason for a failure. */
static bool add_source(WindowGate *gate, const TimeRow *row, Err *err)
{
    scoped(json_release) json_t *methods = NULL;
    SourceTime time = {0};
    const json_t *method;
    size_t i;
    Err why = {0};
    if (!json_parse(text_of(row->methods), &methods, err))
        return false;
    const Zone *zone = zones_get(&gate->zones, text_of(row->timezone), &why);
    bool read = source_time_read(&time, text_of(row->windows), text_of(row->calendars), &why);
    bool limited = !read || json_array_size(time.windows) != 0; /* else it has calendars only */
    json_array_foreach(methods, i, method)
    {
        if (!limited)
            break;
        Gate *one = add_gate(gate, row, text_of(json_string_value(method)));
        one->zone = zone;
        if (zone == NULL || !read ||
            !source_time_week(&time, text_of(one->method), &one->week, &why))
            break_gate(one, &why);
    }
    source_time_free(&time);
    return true;
}

static bool learn(Catalog *catalog, WindowGate *gate, uint64_t version, Err *err)
{
    TimeList list = {0};
    window_gate_forget(gate);
    bool done = catalog_time_load(catalog, &list, err);
    for (size_t i = 0; done && i < list.count; i++)
        done = add_source(gate, &list.rows[i], err);
    gate->policy_mark = version;
    catalog_time_free(&list);
    return done;
}

/* --- what is true now --------------------------------------------------------------------------
 */

static void add_time(char *out, size_t room, const Gate *gate, int64_t at)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    Civil local = civil_of(at + zone_offset(gate->zone, at));
    snprintf(out, room, "%s %04" PRId64 "-%02d-%02d %02d:%02d", days[local.weekday], local.year,
             local.month, local.day, local.hour, local.minute);
}

static void say_shut(Gate *gate, bool opens)
{
    char next[40];
    const char *method = gate->method[0] == 0 ? "" : " for the method ";
    add_time(next, sizeof next, gate, gate->until_s);
    if (opens)
        snprintf(gate->words, sizeof gate->words, "no window is open%s%s; the next opens %s (%s)",
                 method, gate->method, next, gate->zone_name);
    else
        snprintf(gate->words, sizeof gate->words, "no window ever opens%s%s (%s)", method,
                 gate->method, gate->zone_name);
}

static void work_out(Gate *gate, int64_t now_s)
{
    WindowClose on_close = WINDOW_FINISH;
    bool ends;
    gate->from_s = now_s;
    gate->until_s = now_s + HORIZON_S;
    if (gate->zone == NULL)
        return; /* broken, and never open */
    gate->open = window_open_at(&gate->week, gate->zone, now_s);
    if (gate->open)
        ends = window_closes_at(&gate->week, gate->zone, now_s, &gate->until_s, &on_close);
    else {
        ends = window_next_open(&gate->week, gate->zone, now_s, &gate->until_s);
        on_close = window_closed_as(&gate->week, gate->zone, now_s);
    }
    if (!ends)
        gate->until_s = now_s + HORIZON_S;
    gate->cancels = !gate->open && on_close == WINDOW_CANCEL;
    if (gate->open)
        snprintf(gate->words, sizeof gate->words, "its window is closing");
    else
        say_shut(gate, ends);
}

static bool tell(Catalog *catalog, WindowGate *gate, int64_t now_s, bool all, bool *taken, Err *err)
{
    size_t count = 0;
    WindowRow *rows = mem_array(WindowRow, gate->count);
    for (size_t i = 0; i < gate->count; i++) {
        Gate *one = &gate->gates[i];
        if (!all && now_s >= one->from_s && now_s < one->until_s)
            continue;
        work_out(one, now_s);
        log_info("window.state", "source=%u method=%s open=%s", one->source, one->method,
                 one->open ? "true" : "false");
        rows[count++] = (WindowRow){.source = one->source,
                                    .method = text_of(one->method),
                                    .open = one->open,
                                    .since_ns = one->from_s * 1000000000,
                                    .until_ns = one->until_s * 1000000000,
                                    .cancels = one->cancels,
                                    .words = text_of(one->words)};
    }
    bool done = catalog_windows_keep(catalog, gate->policy_mark, rows, count, all, taken, err);
    mem_free(rows);
    return done;
}

/* Is anything that was told no longer so? A clock that was set back is one reason. */
static bool outdated(const WindowGate *gate, int64_t now_s)
{
    for (size_t i = 0; i < gate->count; i++)
        if (now_s < gate->gates[i].from_s || now_s >= gate->gates[i].until_s)
            return true;
    return false;
}

static void report(const WindowsActed *acted)
{
    if (acted->put_off != 0 || acted->stopped != 0)
        log_info("window.acted", "put_off=%u stopped=%u", acted->put_off, acted->stopped);
}

bool window_gate_look(Catalog *catalog, WindowGate *gate, Err *err)
{
    WindowsActed acted;
    if (!catalog_windows_act(catalog, &acted, err))
        return false;
    report(&acted);
    int64_t now_s = acted.now_ns / 1000000000;
    bool all = acted.policy_mark != gate->policy_mark;
    if (!all && !outdated(gate, now_s))
        return true;
    bool taken = false;
    bool done = (!all || learn(catalog, gate, acted.policy_mark, err)) &&
                tell(catalog, gate, now_s, all, &taken, err);
    if (!taken)
        window_gate_forget(gate); /* told or not is not known; or there is another policy by now */
    if (!done || !taken)
        return done;
    if (!catalog_windows_act(catalog, &acted, err))
        return false;
    report(&acted);
    return true;
}
