/* SPDX-License-Identifier: Apache-2.0
 * fire.h — slots that have come become jobs. */
#ifndef SCHEDULER_CORE_FIRE_H
#define SCHEDULER_CORE_FIRE_H

#include "common/catalog/catalog_plan.h"

/* Zones and rules, parsed once a policy version. */
typedef struct FireCache FireCache;
FireCache *fire_cache_new(void);
void fire_cache_free(FireCache *cache);

/* Looks at every schedule and fires what is due; *fired counts new jobs. A schedule that fails
 * keeps no other from firing; the first failure is the answer. */
MUST_CHECK bool fire_due(Catalog *catalog, FireCache *cache, uint64_t *fired, Err *err);

#endif
