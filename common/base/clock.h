/* SPDX-License-Identifier: Apache-2.0
 * clock.h — the three clocks of one host, in nanoseconds. Leases and job times come from
 * PostgreSQL's clock; these serve logs (wall), deadlines that must see a suspended host (boot) and
 * durations (mono). */
#ifndef COMMON_BASE_CLOCK_H
#define COMMON_BASE_CLOCK_H

#include <stdint.h>

enum { CLOCK_TEXT = 32 };

int64_t clock_wall_ns(void); /* since 1970 */
int64_t clock_boot_ns(void); /* CLOCK_BOOTTIME: goes on while the host sleeps */
int64_t clock_mono_ns(void);

/* "2026-11-21T02:14:30.123Z", in UTC. */
void clock_rfc3339(int64_t wall_ns, char out[CLOCK_TEXT]);

#endif
