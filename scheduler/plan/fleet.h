/* SPDX-License-Identifier: Apache-2.0
 * fleet.h — fleet.yaml understood: every problem in one pass, each at its place, and the compiled
 * document that the catalogue keeps (catalog_policy.h draws it), in which every default is merged
 * into every source. A key that this version does not act on is refused by name, never ignored. */
#ifndef SCHEDULER_PLAN_FLEET_H
#define SCHEDULER_PLAN_FLEET_H

#include "common/base/yaml.h"

/* file: a name for problems. document: canonical JSON, when the answer is true. The problems are
 * the caller's to print and free either way. */
MUST_CHECK bool fleet_compile(const char *file, Text text, Buf *document, YamlProblems *problems);

#endif
