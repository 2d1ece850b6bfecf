/* SPDX-License-Identifier: Apache-2.0
 * virtual_clock.h — a catalogue whose clock stands where the test puts it, and whose chance is
 * always one half. The functions under test are the migrated ones, byte for byte: only the path on
 * which they find clock_timestamp(), random() and pg_postmaster_start_time() begins elsewhere. */
#ifndef TESTS_HARNESS_VIRTUAL_CLOCK_H
#define TESTS_HARNESS_VIRTUAL_CLOCK_H

#include "tests/harness/fleet.h"

/* Before any other connection of the roles named in `roles` (comma-separated) is made. */
void virtual_clock_begin(const Fleet *fleet, const char *roles);

/* Milliseconds since 1970. */
void virtual_clock_set(Catalog *scheduler, int64_t now_ms);

#endif
