/* SPDX-License-Identifier: Apache-2.0
 * fleet_table.h — what may stand in a fleet file, as one table: the walker, the JSON Schema, the
 * exported file and the checks read it. A row that is `later` is checked like any other and then
 * refused by name. fleet_table.c holds the frame, fleet_table_policy.c policies and what sources
 * share with them, fleet_table_source.c sources, fleet_table_notify.c messages. */
#ifndef SCHEDULER_PLAN_FLEET_TABLE_H
#define SCHEDULER_PLAN_FLEET_TABLE_H

#include "common/base/yaml.h"

/* The whole file. */
extern const YamlField fleet_table;

/* Parts of it. */
extern const YamlField fleet_table_defaults[12]; /* members */
extern const YamlField fleet_table_policy[1];
extern const YamlField fleet_table_source[1];
extern const YamlField fleet_table_notify[2]; /* members */
extern const YamlField fleet_table_retry[4];  /* members */
extern const YamlField fleet_table_compression[2];
extern const YamlField fleet_table_partial[2];
extern const YamlField fleet_table_verify[4];
extern const YamlField fleet_table_text[1]; /* any words */

/* Members of a source that are not its engine's own configuration. */
bool fleet_table_common(const char *key);

/* --- how rows are written (fleet_table*.c) ------------------------------------------------------
 */

#define FLEET_COUNT(array) (sizeof(array) / sizeof *(array))
#define FLEET_RECORD(array)                                                                        \
    .type = YAML_RECORD, .fields = (array), .field_count = FLEET_COUNT(array)
/* (key, kind, more…) and (key, array, more…); the comma at the end lets there be no more. */
#define FLEET_ROW(...) FLEET_ROW_OF(__VA_ARGS__, )
#define FLEET_ROW_OF(key, kind, ...)                                                               \
    {                                                                                              \
        .name = (key), .type = YAML_##kind, __VA_ARGS__                                            \
    }
#define FLEET_PART(...) FLEET_PART_OF(__VA_ARGS__, )
#define FLEET_PART_OF(key, array, ...)                                                             \
    {                                                                                              \
        .name = (key), FLEET_RECORD(array), __VA_ARGS__                                            \
    }
#define FLEET_WORDS  .least = 1, .most = 4096 /* of texts: long enough for a URL or a path */
#define FLEET_SECOND .least = 1000            /* of durations: whole machines do not act faster */

/* Every engine's; which belong to whom: fleet_check_source.c. */
#define FLEET_METHODS                                                                              \
    .choices = "logical|physical|hot|standard|cold|replication|bgsave",                            \
    .later_choices = "hot|standard|cold|replication|bgsave"

/* Settings that stand in defaults, in a policy or in a source; the nearest wins. */
#define FLEET_SETTINGS                                                                             \
    FLEET_ROW("timezone", TEXT, .least = 1, .most = 63, .check = fleet_text_zone,                  \
              .doc = "IANA name, as Europe/Berlin"),                                               \
        FLEET_ROW("overlap", ENUM, .choices = "skip|queue",                                        \
                  .doc = "what a slot does while the one before still runs"),                      \
        FLEET_ROW("catch_up", ENUM, .choices = "latest|none",                                      \
                  .doc = "which slot runs after a time without a scheduler"),                      \
        FLEET_ROW("start_deadline", DURATION, FLEET_SECOND,                                        \
                  .doc = "later than this after its slot, a job is missed"),                       \
        FLEET_ROW("initial", BOOL, .doc = "one backup as soon as a source is first applied"),      \
        FLEET_ROW("timeout", DURATION, FLEET_SECOND, .doc = "the longest a run may take"),         \
        FLEET_ROW("stall_timeout", DURATION, FLEET_SECOND,                                         \
                  .doc = "the longest a run may move no byte"),                                    \
        FLEET_PART("retry", fleet_table_retry, .doc = "what happens after a failure"),             \
        FLEET_PART("compression", fleet_table_compression, .doc = "of what is stored"),            \
        FLEET_ROW("encryption", NAME, .refers = "key set", .doc = "one of keys, or none"),         \
        FLEET_ROW("dedup", ENUM, .choices = "source|repository",                                   \
                  .doc = "who may share chunks before a reader has verified them"),                \
        FLEET_PART("allow_partial", fleet_table_partial,                                           \
                   .doc = "how much may be missing from a backup that counts")

#endif
