/* SPDX-License-Identifier: Apache-2.0
 * fleet_tree.h — a fleet file and what it includes, as one tree in which every value knows its
 * file. Sections are joined by name; a name twice, a circle, a file included twice and a path that
 * names nothing are problems. */
#ifndef SCHEDULER_PLAN_FLEET_TREE_H
#define SCHEDULER_PLAN_FLEET_TREE_H

#include "scheduler/plan/fleet.h"

typedef struct FleetTree {
    YamlDoc **docs; /* one a file, NULL for files that nobody includes */
    size_t count;
    const YamlNode *root;
} FleetTree;

/* False: not one tree could be made of it; problems say why. Free it either way. */
bool fleet_tree_read(const FleetFile *files, size_t count, FleetTree *out, YamlProblems *problems);
void fleet_tree_free(FleetTree *tree);

/* The member of a section, and members below: fleet_tree_at(root, "policies", name, NULL). */
const YamlNode *fleet_tree_at(const YamlNode *node, ...) __attribute__((sentinel));

#endif
