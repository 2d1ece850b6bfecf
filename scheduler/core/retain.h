/* SPDX-License-Identifier: Apache-2.0
 * retain.h — asks the catalogue what a source has in a repository and rules on it (keep.h): for the
 * jobs that wait for a plan, and for whoever wants to see one. Looking changes nothing. */
#ifndef SCHEDULER_CORE_RETAIN_H
#define SCHEDULER_CORE_RETAIN_H

#include "common/catalog/catalog_retention.h"
#include "scheduler/plan/keep_future.h"
#include "scheduler/plan/zones.h"

typedef struct RetainPlan {
    RetentionBackups backups; /* oldest first */
    KeepPolicy policy;
    KeepRuling *rulings; /* one a backup */
    char **reasons;      /* the same, in words */
    uint64_t *frees;     /* bytes; 0 for what stays */
    size_t expires;
    char frozen[400]; /* why nothing expires that would; "": it may */
    json_t *spec;
} RetainPlan; /* {0} is empty */

/* spec: the rules of another policy; NULL: those in force. frees: also ask what would be freed. */
MUST_CHECK bool retain_look(Catalog *catalog, Zones *zones, const RetentionSource *source,
                            const json_t *spec, bool frees, RetainPlan *out, Err *err);
/* When backup `index` of the plan will go under its source's schedules (keep_future.h), as a time
 * of the catalogue; 0: not that one could tell. */
MUST_CHECK bool retain_goes(Zones *zones, const RetentionSource *source, const RetainPlan *plan,
                            size_t index, int64_t *at_s, Err *err);
void retain_free(RetainPlan *plan); /* leaves an empty one */

/* One pass over the jobs that wait for a plan; those whose facts changed meanwhile go on waiting.
 * One that fails does not keep the others. */
MUST_CHECK bool retain_due(Catalog *catalog, Err *err);

#endif
