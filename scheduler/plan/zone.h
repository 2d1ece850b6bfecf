/* SPDX-License-Identifier: Apache-2.0
 * zone.h — IANA time zones, read from the system's TZif files (RFC 8536) with their POSIX rule for
 * the years after the last transition. Pure once loaded, and safe to share between threads, which
 * the C library's TZ variable is not. Files that count leap seconds ("right/…") are refused: their
 * instants are not those of any clock here. */
#ifndef SCHEDULER_PLAN_ZONE_H
#define SCHEDULER_PLAN_ZONE_H

#include "protocol/err.h"

typedef struct Zone Zone;

/* name: "Europe/Berlin", "UTC". ERR_INVALID zone.unknown. */
MUST_CHECK bool zone_open(Zone **out, Text name, Err *err);
void zone_free(Zone *zone); /* NULL is fine */

/* A stretch of time during which clocks do not change. */
typedef struct ZoneSpan {
    int64_t from, until; /* instants, until excluded; INT64_MIN and INT64_MAX: without an end */
    int64_t offset;      /* seconds east of UTC */
} ZoneSpan;

/* The stretch that holds this instant. Two neighbours may have the same offset. */
ZoneSpan zone_span(const Zone *zone, int64_t utc);

/* Seconds east of UTC that local clocks show at this instant. */
int64_t zone_offset(const Zone *zone, int64_t utc);

/* The instant at which local clocks show `wall` (seconds since 1970 as if it were UTC). A time that
 * clocks skip gives the first instant after the gap; one that they show twice gives the first.
 * Never decreases as wall grows. */
int64_t zone_instant(const Zone *zone, int64_t wall);

#endif
