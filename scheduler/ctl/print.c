/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/print.h"

#include "common/base/clock.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

enum { COLUMNS_MOST = 16, WIDEST = 60 };

const json_t *print_at(const json_t *item, const char *path)
{
    const char *dot;
    char part[64];
    while (item != NULL && (dot = strchr(path, '.')) != NULL) {
        snprintf(part, sizeof part, "%.*s", (int)(dot - path), path);
        item = json_object_get(item, part);
        path = dot + 1;
    }
    item = item == NULL ? NULL : json_object_get(item, path);
    return json_is_null(item) ? NULL : item;
}

const char *print_text_at(const json_t *item, const char *path)
{
    const char *text = json_string_value(print_at(item, path));
    return text == NULL ? "" : text;
}

int64_t print_number_at(const json_t *item, const char *path)
{
    return (int64_t)json_number_value(print_at(item, path));
}

void print_bytes(Buf *out, int64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1024;
        unit++;
    }
    buf_printf(out, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

void print_span(Buf *out, int64_t seconds)
{
    if (seconds < 0)
        seconds = 0;
    if (seconds >= 86400)
        buf_printf(out, "%" PRId64 "d %" PRId64 "h", seconds / 86400, seconds % 86400 / 3600);
    else if (seconds >= 3600)
        buf_printf(out, "%" PRId64 "h %" PRId64 "m", seconds / 3600, seconds % 3600 / 60);
    else if (seconds >= 60)
        buf_printf(out, "%" PRId64 "m %" PRId64 "s", seconds / 60, seconds % 60);
    else
        buf_printf(out, "%" PRId64 "s", seconds);
}

/* Seconds of an RFC 3339 instant in UTC; false when it is not one. */
static bool instant_of(const char *text, time_t *out)
{
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (rest == NULL)
        return false;
    *out = timegm(&tm);
    if (*rest == '.')
        strtol(rest + 1, (char **)(uintptr_t)&rest, 10);
    if (*rest == '+' || *rest == '-') {
        int hours = atoi(rest + 1);
        const char *colon = strchr(rest, ':');
        int minutes = colon == NULL ? 0 : atoi(colon + 1);
        *out -= (*rest == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
    }
    return true;
}

static void add_when(Buf *out, const char *text, bool utc)
{
    time_t at;
    struct tm tm;
    char line[64];
    if (!instant_of(text, &at)) {
        buf_printf(out, "%s", text);
        return;
    }
    if (utc)
        gmtime_r(&at, &tm);
    else
        localtime_r(&at, &tm);
    strftime(line, sizeof line, "%a %d %b %H:%M:%S %Z", &tm);
    buf_printf(out, "%s", line);
}

static void add_ago(Buf *out, const char *text)
{
    time_t at;
    if (!instant_of(text, &at))
        return;
    print_span(out, clock_wall_ns() / 1000000000 - (int64_t)at);
    buf_printf(out, " ago");
}

/* Control characters are shown, never sent to the terminal. */
static void add_safe(Buf *out, const char *text)
{
    for (; *text != 0; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte < 0x20 || byte == 0x7f)
            buf_printf(out, "\\x%02x", byte);
        else
            buf_add_byte(out, byte);
    }
}

void print_safe(FILE *out, const char *text)
{
    scoped(buf_free) Buf safe = {0};
    add_safe(&safe, text);
    fwrite(safe.at, 1, safe.len, out);
}

static void add_value(Buf *out, const json_t *value, PrintAs as, bool utc)
{
    if (value == NULL)
        buf_printf(out, "-");
    else if (as == AS_BYTES)
        print_bytes(out, (int64_t)json_number_value(value));
    else if (as == AS_RATE) {
        print_bytes(out, (int64_t)json_number_value(value));
        buf_printf(out, "/s");
    } else if (as == AS_SECONDS)
        print_span(out, (int64_t)json_number_value(value));
    else if (as == AS_WHEN && json_is_string(value))
        add_when(out, json_string_value(value), utc);
    else if (as == AS_AGO && json_is_string(value))
        add_ago(out, json_string_value(value));
    else if (json_is_string(value))
        add_safe(out, json_string_value(value));
    else {
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
        buf_printf(out, "%s", text);
        free(text);
    }
}

void print_table(FILE *out, const json_t *items, const PrintColumn *columns, size_t count, bool utc)
{
    size_t width[COLUMNS_MOST];
    size_t i;
    json_t *item;
    scoped(buf_free) Buf cell = {0};
    for (size_t c = 0; c < count; c++) {
        width[c] = strlen(columns[c].title);
        json_array_foreach(items, i, item)
        {
            buf_clear(&cell);
            add_value(&cell, print_at(item, columns[c].path), columns[c].as, utc);
            if (cell.len > width[c])
                width[c] = cell.len > WIDEST ? WIDEST : cell.len;
        }
    }
    for (size_t c = 0; c < count; c++)
        fprintf(out, "%-*s%s", (int)(c + 1 == count ? 0 : width[c]), columns[c].title,
                c + 1 == count ? "\n" : "  ");
    json_array_foreach(items, i, item)
    {
        for (size_t c = 0; c < count; c++) {
            buf_clear(&cell);
            add_value(&cell, print_at(item, columns[c].path), columns[c].as, utc);
            fprintf(out, "%-*s%s", (int)(c + 1 == count ? 0 : width[c]), buf_cstr(&cell),
                    c + 1 == count ? "\n" : "  ");
        }
    }
}

void print_card(FILE *out, const json_t *item, const PrintColumn *columns, size_t count, bool utc)
{
    scoped(buf_free) Buf cell = {0};
    for (size_t c = 0; c < count; c++) {
        const json_t *value = print_at(item, columns[c].path);
        if (value == NULL)
            continue;
        buf_clear(&cell);
        add_value(&cell, value, columns[c].as, utc);
        fprintf(out, "%-14s %s\n", columns[c].title, buf_cstr(&cell));
    }
}

void print_json(FILE *out, const json_t *value)
{
    json_dumpf(value, out, JSON_INDENT(2) | JSON_ENCODE_ANY);
    fputc('\n', out);
}
