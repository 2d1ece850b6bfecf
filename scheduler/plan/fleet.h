/* SPDX-License-Identifier: Apache-2.0
 * fleet.h — a fleet file understood: every problem in one pass, each at its place, and the compiled
 * document that the catalogue keeps (catalog_policy.h draws it), in which every default is merged
 * into every source. What this version does not act on is checked and then refused by name, never
 * ignored. Pure: files and facts in, problems and a document out. */
#ifndef SCHEDULER_PLAN_FLEET_H
#define SCHEDULER_PLAN_FLEET_H

#include "common/base/yaml.h"

/* name: relative to the policy's directory; the first file is the one that the others are included
 * from, by its last part. */
typedef struct FleetFile {
    const char *name;
    Text text;
} FleetFile;

/* What the catalogue knows and a file cannot; all of it may be missing.
 * {"now_s":1790000000, "seconds":{"orders-pg":1260}, usual time of a run
 *  "stored":{"orders-pg":7340032},                     what a usual run adds to its store, in bytes
 *  "places":{"fra":{"workers":2},"host:web3":{"workers":0,"seen":"2026-11-14"}}} */
typedef struct FleetFacts {
    int64_t now_s; /* 0: no warnings that depend on it */
    const json_t *seconds;
    const json_t *stored;
    const json_t *places;
} FleetFacts;

/* How much there is; for the line after the problems. */
typedef struct FleetCount {
    size_t sources;
    size_t without_policy; /* they name none that is defined */
} FleetCount;

/* document: canonical JSON, when the answer is true (warnings do not matter). The problems are the
 * caller's to print and free either way. facts and counted may be NULL. */
MUST_CHECK bool fleet_compile_files(const FleetFile *files, size_t count, const FleetFacts *facts,
                                    Buf *document, FleetCount *counted, YamlProblems *problems);
/* The same of a single file; `file` is a name for problems. */
MUST_CHECK bool fleet_compile(const char *file, Text text, Buf *document, YamlProblems *problems);

/* "3 errors, 2 warnings in fleet.yaml (1 source left without a policy)", or "fleet.yaml is valid".
 */
void fleet_summary(const char *file, const FleetCount *counted, const YamlProblems *problems,
                   Buf *out);

/* The table of everything that may stand in the file, as JSON Schema. */
json_t *fleet_schema(void);

#endif
