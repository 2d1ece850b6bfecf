/* SPDX-License-Identifier: Apache-2.0
 * fleet_table.h — what may stand in fleet.yaml, as one table for the walker. Keys with a mark of
 * "later" parse, so that their place can be named, and are then refused. */
#ifndef SCHEDULER_PLAN_FLEET_TABLE_H
#define SCHEDULER_PLAN_FLEET_TABLE_H

#include "common/base/yaml.h"

extern const YamlField fleet_table;

/* The doc of a field that this version does not act on. */
extern const char FLEET_LATER[];

/* Members of a source that are not its engine's own configuration. */
bool fleet_table_common(const char *key);

#endif
