/* SPDX-License-Identifier: Apache-2.0
 * fleet_check.h — what the table's walk cannot see: names that must be defined elsewhere, settings
 * that exclude each other, parts of the form that this version does not act on. Everything is
 * looked at in one pass, whatever is wrong elsewhere. */
#ifndef SCHEDULER_PLAN_FLEET_CHECK_H
#define SCHEDULER_PLAN_FLEET_CHECK_H

#include "scheduler/plan/fleet.h"

typedef struct FleetCheck {
    const YamlNode *root;
    const json_t *walked; /* what the table made of it: durations in milliseconds; may lack parts */
    const FleetFacts *facts; /* may be NULL */
    YamlProblems *problems;
    FleetCount counted;
} FleetCheck;

/* References, and rows that are `later`. */
void fleet_check_table(FleetCheck *check);
void fleet_check_frame(FleetCheck *check);    /* budgets, routes */
void fleet_check_policies(FleetCheck *check); /* schedules, windows, copies, retries */
void fleet_check_sources(FleetCheck *check);  /* methods, places, keys */
void fleet_check_plain(FleetCheck *check);    /* names of plain copies that meet */
void fleet_check_physics(FleetCheck *check);  /* can the objectives be met at all? warnings */

#define FLEET_PROBLEM(check, node, code, hint, ...)                                                \
    yaml_problem((check)->problems, NULL, (node), false, (code), (hint), __VA_ARGS__)
#define FLEET_WARNING(check, node, code, hint, ...)                                                \
    yaml_problem((check)->problems, NULL, (node), true, (code), (hint), __VA_ARGS__)

/* What an engine does unless it is told; "" of one without methods, and of none that is known. */
Text fleet_check_method(const char *type);

/* The key of a value in its map; the value itself when it stands in none. */
const YamlNode *fleet_check_key(const YamlNode *map, const char *name);

#endif
