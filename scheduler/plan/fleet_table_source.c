/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/fleet_table.h"
#include "scheduler/plan/fleet_text.h"

static const YamlField hook_fields[] = {
    FLEET_ROW("run", NAME, .required = true, .doc = "a file of the worker's hooks, no shell line"),
    FLEET_ROW("timeout", DURATION, FLEET_SECOND, .fallback = "60s"),
    FLEET_ROW("on_error", ENUM, .choices = "abort|warn", .fallback = "abort"),
    FLEET_ROW("always", BOOL, .fallback = "false", .doc = "even when the run failed"),
};
static const YamlField validate_fields[] = {
    FLEET_ROW("run", NAME, .required = true, .doc = "a file of the worker's hooks, no shell line"),
    FLEET_ROW("timeout", DURATION, FLEET_SECOND, .fallback = "60s"),
};
static const YamlField stopped_fields[] = {
    FLEET_ROW("stop", NAME, .required = true, .doc = "a file of the worker's hooks"),
    FLEET_ROW("start", NAME, .required = true, .doc = "another one; harmless when it runs already"),
    FLEET_ROW("timeout", DURATION, FLEET_SECOND, .fallback = "60s", .doc = "of each of the two"),
};
static const YamlField stopped_of[] = {{FLEET_RECORD(stopped_fields)}};
static const YamlField hooks_fields[] = {
    FLEET_PART("before", hook_fields),
    FLEET_PART("after", hook_fields),
    FLEET_PART("validate", validate_fields,
               .doc = "when all is stored and before it counts: it must agree, or nothing is "
                      "committed"),
    FLEET_ROW("apps", LIST_OF, .most = 50, .fields = stopped_of,
              .doc = "stopped in this order before a restore in place, started again in the "
                     "reverse order whatever comes of it"),
};

static const YamlField run_on_fields[] = {
    FLEET_ROW("pool", NAME, .refers = "pool"),
    FLEET_ROW("host", TEXT, .least = 1, .most = 100),
};

static const YamlField app_fields[] = {
    FLEET_ROW("stop", NAME, .required = true),
    FLEET_ROW("start", NAME, .required = true),
    FLEET_ROW("health", TEXT, FLEET_WORDS, .check = fleet_text_url),
};

static const YamlField sentinel_of[] = {
    FLEET_ROW(NULL, TEXT, FLEET_WORDS, .check = fleet_text_server)};
static const YamlField sentinel_fields[] = {
    FLEET_ROW("master", NAME, .required = true),
    FLEET_ROW("hosts", LIST_OF, .required = true, .least = 1, .most = 20, .fields = sentinel_of),
};

static const YamlField path_of[] = {FLEET_ROW(NULL, TEXT, FLEET_WORDS, .check = fleet_text_path)};

/* Members that are nobody's but the scheduler's own stand before "method". */
static const YamlField source_fields[] = {
    FLEET_ROW("type", ENUM, .required = true, .choices = "files|postgresql|mysql|sqlite|redis",
              .later_choices = "mysql|sqlite|redis"),
    FLEET_ROW("policy", NAME, .required = true, .refers = "policy"),
    FLEET_SETTINGS,
    FLEET_ROW("owner", TEXT, FLEET_WORDS, .doc = "who answers for it"),
    FLEET_ROW("labels", MAP_OF, .fields = fleet_table_text,
              .doc = "free words for budgets and routes"),
    FLEET_PART("run_on", run_on_fields,
               .doc = "a pool or a host; the default pool where none is named"),
    FLEET_PART("hooks", hooks_fields),
    FLEET_PART("verify", fleet_table_verify),
    FLEET_ROW("method", ENUM, .only = "postgresql|mysql|redis", FLEET_METHODS),
    FLEET_ROW("paths", LIST_OF, .required = true, .only = "files", .least = 1, .most = 1000,
              .fields = path_of),
    FLEET_ROW("exclude", LIST_OF, .only = "files", .most = 1000, .fields = fleet_table_text),
    FLEET_ROW("exclude_caches", BOOL, .only = "files",
              .doc = "of a directory with a CACHEDIR.TAG only the directory and the tag"),
    FLEET_ROW("exclude_if_present", LIST_OF, .only = "files", .most = 100,
              .fields = fleet_table_text,
              .doc = "names of files: of a directory that holds one only it and that file"),
    FLEET_ROW("one_file_system", BOOL, .only = "files"),
    FLEET_ROW("specials", BOOL, .only = "files",
              .doc = "false: no fifos, sockets and devices; each that is left out is told"),
    FLEET_ROW("host", TEXT, FLEET_WORDS, .only = "postgresql|mysql"),
    FLEET_ROW("port", U64, .only = "postgresql|mysql", .least = 1, .most = 65535),
    FLEET_ROW("user", TEXT, FLEET_WORDS, .only = "postgresql|mysql|redis"),
    FLEET_ROW("password", SECRET, .only = "postgresql|mysql|redis"),
    FLEET_ROW("service", TEXT, FLEET_WORDS, .only = "postgresql"),
    FLEET_ROW("sslmode", TEXT, FLEET_WORDS, .only = "postgresql"),
    FLEET_ROW("databases", LIST_OF, .required = true, .only = "postgresql|mysql", .least = 1,
              .most = 1000, .fields = fleet_table_text, .doc = "names, or [all]"),
    FLEET_ROW("exclude_table_data", LIST_OF, .only = "postgresql", .most = 1000,
              .fields = fleet_table_text),
    FLEET_ROW("jobs", U64, .only = "postgresql|mysql", .least = 1, .most = 64,
              .doc = "connections that read at the same time"),
    FLEET_ROW("checkpoint", ENUM, .only = "postgresql", .choices = "fast|spread",
              .doc = "of a physical backup: ask for one at once, or wait for the server's next"),
    FLEET_ROW("data_directory", TEXT, FLEET_WORDS, .only = "postgresql",
              .doc = "of a physical source: where a restore in place goes, on the server's host"),
    FLEET_ROW("wal", ENUM, .only = "postgresql", .choices = "stream|archive_command|none",
              .doc = "its log too, for restores to any instant: asked for each minute, or pushed"),
    FLEET_ROW("wal_push", ENUM, .only = "postgresql", .choices = "stored|spooled",
              .doc = "when wal-push says done; spooled: a host that is lost loses what waits"),
    FLEET_ROW("defaults_file", TEXT, FLEET_WORDS, .only = "mysql", .check = fleet_text_path,
              .later = true),
    FLEET_PART("app", app_fields, .only = "mysql", .later = true,
               .doc = "how the application is stopped for a cold backup"),
    FLEET_ROW("path", TEXT, FLEET_WORDS, .required = true, .only = "sqlite",
              .check = fleet_text_path, .later = true),
    FLEET_ROW("url", TEXT, FLEET_WORDS, .required = true, .only = "redis", .check = fleet_text_url,
              .later = true),
    FLEET_PART("sentinel", sentinel_fields, .only = "redis", .later = true),
};
const YamlField fleet_table_source[1] = {{FLEET_RECORD(source_fields)}};

bool fleet_table_common(const char *key)
{
    for (size_t i = 0; strcmp(source_fields[i].name, "method") != 0; i++)
        if (strcmp(source_fields[i].name, key) == 0)
            return true;
    return false;
}
