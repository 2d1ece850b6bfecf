/* SPDX-License-Identifier: Apache-2.0
 * zone.h — IANA time zones, read from the system's TZif files (RFC 8536) with their POSIX rule for
 * the years after the last transition. Pure once loaded, and safe to share between threads, which
 * the C library's TZ variable is not. */
#ifndef SCHEDULER_PLAN_ZONE_H
#define SCHEDULER_PLAN_ZONE_H

#include "protocol/err.h"

typedef struct Zone Zone;

/* name: "Europe/Berlin", "UTC". ERR_INVALID zone.unknown. */
MUST_CHECK bool zone_open(Zone **out, Text name, Err *err);
void zone_free(Zone *zone); /* NULL is fine */

/* Seconds east of UTC that local clocks show at this instant. */
int64_t zone_offset(const Zone *zone, int64_t utc);

/* The instant at which local clocks show `wall` (seconds since 1970 as if it were UTC). A time that
 * clocks skip gives the first instant after the gap; one that they show twice gives the first. */
int64_t zone_instant(const Zone *zone, int64_t wall);

#endif
