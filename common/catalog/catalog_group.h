/* SPDX-License-Identifier: Apache-2.0
 * catalog_group.h — the barrier of a group, as one member's attempt sees it.
 * Members agree by rows alone: whoever dies, the others read the same of it. Every step is fenced
 * by the member's own job, may be repeated, and changes nothing when it does not fit the state. */
#ifndef COMMON_CATALOG_CATALOG_GROUP_H
#define COMMON_CATALOG_CATALOG_GROUP_H

#include "common/catalog/catalog.h"

typedef enum GroupState {
    GROUP_GATHERING = 1, /* not all are there */
    GROUP_HOLDING,       /* all are; the application is being held */
    GROUP_HELD,          /* it is: now every member fixes its instant */
    GROUP_PASSED,        /* every member had its instant while it was */
    GROUP_BROKEN,        /* these backups have no common instant, and never will */
} GroupState;

typedef struct GroupNow {
    GroupState state;
    bool ready;       /* gathering: all are there; held: all have passed */
    char why[416];    /* broken: why; else who is missing */
    char held_at[40]; /* RFC 3339; "": not yet */
} GroupNow;

/* step: "arrive", "pass", "look", "break"; of the lead also "hold", "held", "settle", "released".
 * text: of break, why. */
MUST_CHECK bool catalog_group_step(Catalog *c, const Fence *fence, const char *step,
                                   const char *text, GroupNow *out, Err *err);

/* Of a lead that died on this worker's host: its release failed. An alert, once an attempt. */
MUST_CHECK bool catalog_group_unreleased(Catalog *c, uint64_t job, uint64_t attempt,
                                         const char *text, Err *err);

#endif
