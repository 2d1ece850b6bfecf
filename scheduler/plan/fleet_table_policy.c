/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/fleet_table.h"
#include "scheduler/plan/fleet_text.h"

/* How long backups stay (keep.h): of a copy, and of the backups that one schedule makes. */
#define KEEP(key, what) FLEET_ROW(key, U64, .least = 1, .most = 100000, .doc = what)
#define KEEPS                                                                                      \
    KEEP("keep_last", "the newest good backups"),                                                  \
        KEEP("keep_hourly", "the newest of so many hours that have one"),                          \
        KEEP("keep_daily", "of so many days"), KEEP("keep_weekly", "of so many ISO weeks"),        \
        KEEP("keep_monthly", "of so many months"), KEEP("keep_yearly", "of so many years"),        \
        FLEET_ROW("keep_within", DURATION, FLEET_SECOND,                                           \
                  .doc = "all of this time before the newest good one")

const YamlField fleet_table_retry[4] = {
    FLEET_ROW("attempts", U64, .least = 1, .most = 100, .doc = "in all"),
    FLEET_ROW("backoff", DURATION, FLEET_SECOND, .doc = "before the second; doubles"),
    FLEET_ROW("max_backoff", DURATION, FLEET_SECOND),
    FLEET_ROW("jitter", ENUM, .choices = "equal|none"),
};

const YamlField fleet_table_compression[2] = {
    FLEET_ROW("codec", ENUM, .choices = "zstd|zlib|none"),
    FLEET_ROW("level", U64, .least = 1, .most = 19),
};

const YamlField fleet_table_partial[2] = {
    FLEET_ROW("items", U64, .most = 1000000000),
    FLEET_ROW("share", SHARE),
};

const YamlField fleet_table_defaults[12] = {FLEET_SETTINGS};

static const YamlField method_of[] = {FLEET_ROW(NULL, ENUM, FLEET_METHODS)};

static const YamlField schedule_fields[] = {
    FLEET_ROW("at", TEXT, .required = true, .least = 1, .most = 95, .check = fleet_text_rule,
              .doc = "minute hour day month weekday, with H; @daily; every 6h"),
    FLEET_ROW("method", ENUM, FLEET_METHODS),
    FLEET_ROW("enabled", BOOL, .doc = "false: it stays in the file and is never due"),
    FLEET_ROW("run", ENUM, .choices = "backup|retention",
              .doc = "retention: let go what no keep rule keeps; without one, once a day"),
    KEEPS,
};
static const YamlField schedule_of[] = {{FLEET_RECORD(schedule_fields)}};

static const YamlField objectives_fields[] = {
    FLEET_ROW("rpo", DURATION, FLEET_SECOND, .doc = "how old the newest good backup may become"),
    FLEET_ROW("rto", DURATION, FLEET_SECOND, .doc = "how long a restore may take"),
};

static const YamlField day_of[] = {FLEET_ROW(NULL, ENUM, .choices = "mon|tue|wed|thu|fri|sat|sun")};
static const YamlField window_fields[] = {
    FLEET_ROW("hours", TEXT, .required = true, .least = 1, .most = 32, .check = fleet_text_hours,
              .doc = "as 22:00-06:00"),
    FLEET_ROW("days", LIST_OF, .least = 1, .most = 7, .fields = day_of,
              .doc = "on which it opens; all, where none is named"),
    FLEET_ROW("on_close", ENUM, .choices = "finish|throttle|cancel", .later_choices = "throttle",
              .doc = "what becomes of a run that is not through by then"),
    FLEET_ROW("methods", LIST_OF, .least = 1, .most = 7, .fields = method_of,
              .doc = "which methods may run in it; all, where none is named"),
};
static const YamlField window_of[] = {{FLEET_RECORD(window_fields)}};

static const YamlField start_fields[] = {
    FLEET_ROW("connections", TEXT, FLEET_WORDS, .check = fleet_text_part),
    FLEET_ROW("free_disk", TEXT, FLEET_WORDS, .check = fleet_text_size),
    FLEET_ROW("cache_hit", TEXT, FLEET_WORDS, .check = fleet_text_part),
};

static const YamlField pause_fields[] = {
    FLEET_ROW("replica_lag", DURATION, FLEET_SECOND),
    FLEET_ROW("load_per_cpu", REAL),
};
static const YamlField limits_fields[] = {
    FLEET_ROW("rate", RATE, .least = 1024, .doc = "of one run"),
    FLEET_ROW("connections", U64, .least = 1, .most = 256, .doc = "of one run to its server"),
    FLEET_ROW("per_host", U64, .least = 1, .most = 10000,
              .doc = "runs that read one host at the same time, of whatever policy"),
    FLEET_ROW("concurrent", U64, .least = 1, .most = 10000,
              .doc = "runs of this policy at the same time"),
    FLEET_PART("pause_if", pause_fields, .later = true),
};

static const YamlField copy_fields[] = {
    FLEET_ROW("store", NAME, .required = true, .refers = "store"),
    KEEPS,
    FLEET_ROW("layout", ENUM, .choices = "repository|plain",
              .doc = "plain: a file that gunzip, tar and psql read, beside the repositories"),
    FLEET_ROW("name", TEXT, .least = 1, .most = 160, .check = fleet_text_plain,
              .doc = "of plain copies, as {source}_{time:%Y%m%d_%H%M%S}"),
    FLEET_ROW("latest", TEXT, .least = 1, .most = 160, .check = fleet_text_plain,
              .doc = "what names the newest; without it the name with latest for its time"),
    FLEET_ROW("holds", TEXT, .least = 1, .most = 160, .check = fleet_text_plain,
              .doc = "of a plain copy of a database: a .tar.gz that holds the SQL under this name"),
    FLEET_ROW("meta", BOOL, .doc = "a .meta beside each plain copy; true where it says nothing"),
};
static const YamlField copy_of[] = {{FLEET_RECORD(copy_fields)}};

static const YamlField verified_store_of[] = {FLEET_ROW(NULL, NAME, .refers = "store")};
static const YamlField round_fields[] = {
    FLEET_ROW("schedule", TEXT, .required = true, .least = 1, .most = 95, .check = fleet_text_rule),
    FLEET_ROW("within", DURATION, .least = 60000,
              .doc = "each pack is looked at within this time, the longest unseen first; without "
                     "it all are, each time"),
    FLEET_ROW("stores", LIST_OF, .least = 1, .most = 16, .fields = verified_store_of,
              .doc = "in these alone; in every copy that is a repository, where none is named"),
    FLEET_ROW("rate", RATE, .least = 1024, .doc = "read no faster than this"),
    FLEET_ROW("pool", NAME, .refers = "pool",
              .doc = "whose workers do it; any that is fit, where none is named"),
};
static const YamlField stored_round = {FLEET_RECORD(round_fields)};
static const YamlField restore_fields[] = {
    FLEET_ROW("schedule", TEXT, .required = true, .least = 1, .most = 95, .check = fleet_text_rule,
              .doc = "the newest good backup is restored then, into a worker's allow.sandbox"),
    FLEET_ROW("stores", LIST_OF, .least = 1, .most = 16, .fields = verified_store_of,
              .doc = "from the first of these that has it; from where it was made, where none is "
                     "named"),
    FLEET_ROW("pool", NAME, .refers = "pool",
              .doc = "whose workers do it; any that is fit, where none is named"),
    FLEET_ROW("into", NAME, .refers = "sandbox", .later = true),
};
static const YamlField query_fields[] = {
    FLEET_ROW("sql", TEXT, FLEET_WORDS, .required = true, .doc = "one statement that only reads"),
    FLEET_ROW("expect", TEXT, FLEET_WORDS, .required = true, .check = fleet_text_expect,
              .doc = "what its first value is: a comparison as >= 100000, or the very text"),
    FLEET_ROW("database", TEXT, .least = 1, .most = 63,
              .doc = "which is asked; the backup's first, where none is named"),
};
static const YamlField query_of[] = {{FLEET_RECORD(query_fields)}};
const YamlField fleet_table_verify[4] = {
    FLEET_ROW("stored", ENUM, .choices = "always", .other = &stored_round,
              .doc = "every stored object is read back by the backup; and again by a schedule"),
    FLEET_PART("content", round_fields, .doc = "every chunk is opened, by a worker that may read"),
    FLEET_PART("restore", restore_fields,
               .doc = "proved by restoring it into a sandbox and comparing"),
    FLEET_ROW("query", LIST_OF, .least = 1, .most = 100, .fields = query_of,
              .doc = "what a restored database is asked, where restore is scheduled or asked for"),
};

static const YamlField route_of[] = {FLEET_ROW(NULL, NAME, .refers = "route")};
static const YamlField calendar_of[] = {FLEET_ROW(NULL, NAME, .refers = "calendar")};

static const YamlField policy_fields[] = {
    FLEET_SETTINGS,
    FLEET_ROW("schedule", TEXT, .least = 1, .most = 95, .check = fleet_text_rule,
              .doc = "minute hour day month weekday, with H; @daily; every 6h"),
    FLEET_ROW("schedules", MAP_OF, .most = 47, .fields = schedule_of,
              .doc = "several, each with a name; instead of schedule"),
    FLEET_PART("objectives", objectives_fields),
    FLEET_ROW("windows", LIST_OF, .least = 1, .most = 100, .fields = window_of,
              .doc = "runs start inside of them only"),
    FLEET_ROW("calendars", LIST_OF, .least = 1, .most = 20, .fields = calendar_of,
              .doc = "days on which nothing is due"),
    FLEET_PART("start_if", start_fields, .later = true,
               .doc = "what the server must have to spare"),
    FLEET_PART("limits", limits_fields),
    FLEET_ROW("copies", LIST_OF, .required = true, .least = 1, .most = 16, .fields = copy_of,
              .doc = "the first is where the backup is written, jobs copy it to the others"),
    FLEET_ROW("min_good", U64, .least = 1, .most = 1000,
              .doc = "never fewer good backups than this in a copy; 1 where it says nothing"),
    FLEET_PART("verify", fleet_table_verify),
    FLEET_ROW("notify", LIST_OF, .most = 100, .fields = route_of, .later = true),
};
const YamlField fleet_table_policy[1] = {{FLEET_RECORD(policy_fields)}};
