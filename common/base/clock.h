/* SPDX-License-Identifier: Apache-2.0
 * clock.h — the three clocks of one host, in nanoseconds. Leases and job times come from
 * PostgreSQL's clock; these serve logs (wall), deadlines that must see a suspended host (boot) and
 * durations (mono). */
#ifndef COMMON_BASE_CLOCK_H
#define COMMON_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

enum { CLOCK_TEXT = 32 };

int64_t clock_wall_ns(void); /* since 1970 */
int64_t clock_boot_ns(void); /* CLOCK_BOOTTIME: goes on while the host sleeps */
int64_t clock_mono_ns(void);

/* "2026-11-21T02:14:30.123Z", in UTC. */
void clock_rfc3339(int64_t wall_ns, char out[CLOCK_TEXT]);

/* RFC 3339 and its beginnings: "2026-11-20", "2026-11-20T18:00", "…:30.5+01:00"; UTC where no zone
 * is said. Seconds since 1970, of the years 1970 to 2200; false when it is not an instant. */
bool clock_parse(const char *text, int64_t *wall_s);

#endif
