/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/zone.h"

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "scheduler/plan/zone_rule.h"

#include <limits.h>
#include <stdio.h>

enum { FILE_MOST = 1 << 20, EAST_MOST = 26 * 3600, WEST_MOST = 25 * 3600 };

struct Zone {
    int64_t *when;   /* transitions, ascending */
    int32_t *offset; /* in force from when[i] on */
    size_t count;
    int32_t first; /* before the first transition */
    ZoneRule rule; /* after the last */
};

static int64_t be(const uint8_t *at, unsigned bytes)
{
    uint64_t value = (at[0] & 0x80) != 0 ? UINT64_MAX : 0;
    for (unsigned i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return (int64_t)value;
}

/* The six counts of a header, in the order of RFC 8536 §3.1. */
typedef struct Counts {
    size_t isut, isstd, leap, time, type, chars;
} Counts;

static bool read_counts(Slice file, size_t at, Counts *counts)
{
    if (file.len < 44 || at > file.len - 44 || memcmp(file.at + at, "TZif", 4) != 0)
        return false;
    size_t *const fields[] = {&counts->isut, &counts->isstd, &counts->leap,
                              &counts->time, &counts->type,  &counts->chars};
    for (size_t i = 0; i < 6; i++) {
        *fields[i] = (size_t)be(file.at + at + 20 + 4 * i, 4);
        if (*fields[i] > FILE_MOST)
            return false;
    }
    return counts->type != 0 && counts->type <= 256;
}

static size_t body_size(const Counts *counts, size_t time_bytes)
{
    return counts->time * (time_bytes + 1) + counts->type * 6 + counts->chars +
           counts->leap * (time_bytes + 4) + counts->isstd + counts->isut;
}

/* The bounds of RFC 8536 §3.2. */
static bool offset_is_sane(int64_t offset)
{
    return offset > -WEST_MOST && offset < EAST_MOST;
}

/* The second block, with 64-bit times; the rule between newlines follows it. */
static bool read_block(Zone *zone, Slice file)
{
    Counts counts;
    Err ignored = {0};
    if (!read_counts(file, 0, &counts) || file.at[4] < '2')
        return false;
    size_t at = 44 + body_size(&counts, 4);
    if (!read_counts(file, at, &counts))
        return false;
    at += 44;
    if (at + body_size(&counts, 8) + 2 > file.len || counts.leap != 0)
        return false;
    const uint8_t *times = file.at + at;
    const uint8_t *kinds = times + counts.time * 8;
    const uint8_t *types = kinds + counts.time;
    zone->count = counts.time;
    zone->when = mem_array(int64_t, counts.time);
    zone->offset = mem_array(int32_t, counts.time);
    zone->first = (int32_t)be(types, 4);
    if (!offset_is_sane(zone->first))
        return false;
    for (size_t i = 0; i < counts.time; i++) {
        if (kinds[i] >= counts.type)
            return false;
        zone->when[i] = be(times + 8 * i, 8);
        zone->offset[i] = (int32_t)be(types + 6 * (size_t)kinds[i], 4);
        if ((i != 0 && zone->when[i] <= zone->when[i - 1]) || !offset_is_sane(zone->offset[i]))
            return false;
    }
    Text rest = {(const char *)file.at + at + body_size(&counts, 8) + 1, 0};
    const char *end = memchr(rest.at, '\n', (size_t)((const char *)file.at + file.len - rest.at));
    if (end == NULL)
        return false;
    rest.len = (size_t)(end - rest.at);
    if (rest.len == 0) {
        int32_t last = zone->count == 0 ? zone->first : zone->offset[zone->count - 1];
        zone->rule = (ZoneRule){.standard = last};
        return true;
    }
    return zone_rule_parse(rest, &zone->rule, &ignored) && offset_is_sane(zone->rule.standard) &&
           offset_is_sane(zone->rule.daylight);
}

static bool proper_name(Text name)
{
    bool part_start = true;
    if (name.len == 0 || name.len > 64)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.at[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool other = (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '+';
        if (!letter && !other && (c != '/' || part_start))
            return false;
        if (part_start && !letter)
            return false;
        part_start = c == '/';
    }
    return !part_start;
}

static bool read_file(Text name, Buf *out)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "/usr/share/zoneinfo/%.*s", TEXT_ARG(name));
    FILE *file = fopen(path, "rbe");
    if (file == NULL)
        return false;
    size_t got = fread(buf_extend(out, FILE_MOST), 1, FILE_MOST, file);
    out->len = got;
    bool whole = ferror(file) == 0 && got < FILE_MOST;
    fclose(file);
    return whole;
}

bool zone_open(Zone **out, Text name, Err *err)
{
    scoped(buf_free) Buf file = {0};
    Zone *zone = mem_new(Zone);
    bool done = text_equal(name, TEXT("UTC")) ||
                (proper_name(name) && read_file(name, &file) && read_block(zone, buf_slice(&file)));
    if (!done) {
        zone_free(zone);
        zone = NULL;
        err_set(err, ERR_INVALID, "zone.unknown",
                "'%.*s' is not a time zone of this system; write one like Europe/Berlin",
                TEXT_ARG(name));
    }
    *out = zone;
    return done;
}

void zone_free(Zone *zone)
{
    if (zone == NULL)
        return;
    mem_free(zone->when);
    mem_free(zone->offset);
    mem_free(zone);
}

ZoneSpan zone_span(const Zone *zone, int64_t utc)
{
    size_t low = 0;
    size_t high = zone->count;
    if (zone->count == 0 || utc >= zone->when[zone->count - 1]) {
        ZoneSpan span;
        zone_rule_span(&zone->rule, utc, &span.from, &span.until, &span.offset);
        if (zone->count != 0 && span.from < zone->when[zone->count - 1])
            span.from = zone->when[zone->count - 1];
        return span;
    }
    while (low < high) { /* the first transition after utc */
        size_t middle = low + (high - low) / 2;
        if (zone->when[middle] <= utc)
            low = middle + 1;
        else
            high = middle;
    }
    return (ZoneSpan){.from = low == 0 ? INT64_MIN : zone->when[low - 1],
                      .until = zone->when[low],
                      .offset = low == 0 ? zone->first : zone->offset[low - 1]};
}

int64_t zone_offset(const Zone *zone, int64_t utc)
{
    return zone_span(zone, utc).offset;
}

int64_t zone_instant(const Zone *zone, int64_t wall)
{
    /* No offset is larger, so that nothing before this instant shows `wall` or a later time. */
    ZoneSpan span = zone_span(zone, wall - EAST_MOST);
    while (wall - span.offset >= span.until)
        span = zone_span(zone, span.until);
    /* Earlier than the stretch that could show it: clocks skipped it. */
    int64_t at = wall - span.offset;
    return at < span.from ? span.from : at;
}
