/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/fleet_table.h"

const char FLEET_LATER[] = "later";

#define COUNT(array)  (sizeof(array) / sizeof *(array))
#define RECORD(array) .type = YAML_RECORD, .fields = (array), .field_count = COUNT(array)
#define LATER(key)                                                                                 \
    {                                                                                              \
        .name = (key), .type = YAML_ANY, .doc = FLEET_LATER                                        \
    }
#define TEXT_FIELD(key)                                                                            \
    {                                                                                              \
        .name = (key), .type = YAML_TEXT, .least = 1, .most = 4096                                 \
    }
#define FLAG(key)                                                                                  \
    {                                                                                              \
        .name = (key), .type = YAML_BOOL                                                           \
    }
#define DURATION(key)                                                                              \
    {                                                                                              \
        .name = (key), .type = YAML_DURATION, .least = 1000                                        \
    }

static const YamlField any_text[] = {{.type = YAML_TEXT, .least = 1, .most = 4096}};

static const YamlField retry_fields[] = {
    {.name = "attempts", .type = YAML_U64, .least = 1, .most = 100},
    DURATION("backoff"),
    DURATION("max_backoff"),
    {.name = "jitter", .type = YAML_ENUM, .choices = "equal|none"},
};

static const YamlField compression_fields[] = {
    {.name = "codec", .type = YAML_ENUM, .choices = "zstd|zlib|none"},
    {.name = "level", .type = YAML_U64, .least = 1, .most = 19},
};

static const YamlField partial_fields[] = {
    {.name = "items", .type = YAML_U64, .most = 1000000000},
    {.name = "share", .type = YAML_SHARE},
};

/* Settings that stand in defaults, in a policy, or in a source; the nearest wins. */
#define SETTINGS                                                                                   \
    {.name = "timezone", .type = YAML_TEXT, .least = 1, .most = 63},                               \
        {.name = "overlap", .type = YAML_ENUM, .choices = "skip|queue"},                           \
        {.name = "catch_up", .type = YAML_ENUM, .choices = "latest|none"},                         \
        DURATION("start_deadline"), FLAG("initial"), DURATION("timeout"),                          \
        DURATION("stall_timeout"), {.name = "retry", RECORD(retry_fields)},                        \
        {.name = "compression", RECORD(compression_fields)},                                       \
        {.name = "encryption", .type = YAML_NAME},                                                 \
        {.name = "dedup", .type = YAML_ENUM, .choices = "source|repository"},                      \
    {                                                                                              \
        .name = "allow_partial", RECORD(partial_fields)                                            \
    }

static const YamlField defaults_fields[] = {SETTINGS};

static const YamlField key_fields[] = {
    {.name = "writer", .type = YAML_SECRET},
    {.name = "reader", .type = YAML_SECRET},
    {.name = "recovery_kit", .type = YAML_ENUM, .choices = "required|optional"},
};
static const YamlField key_of[] = {{RECORD(key_fields)}};

static const YamlField store_fields[] = {
    {.name = "type", .type = YAML_ENUM, .required = true, .choices = "local|s3"},
    TEXT_FIELD("path"),
    LATER("min_free"),
    LATER("max_uploads"),
    LATER("endpoint"),
    LATER("region"),
    LATER("bucket"),
    LATER("prefix"),
    LATER("storage_class"),
    LATER("access_key"),
    LATER("secret_key"),
    LATER("prune_access_key"),
    LATER("prune_secret_key"),
    LATER("lock"),
    LATER("max_rate"),
};
static const YamlField store_of[] = {{RECORD(store_fields)}};

static const YamlField pool_fields[] = {
    LATER("tags"),
    {.name = "max_jobs", .type = YAML_U64, .least = 1, .most = 100000},
};
static const YamlField pool_of[] = {{RECORD(pool_fields)}};

static const YamlField schedule_fields[] = {
    {.name = "at", .type = YAML_TEXT, .required = true, .least = 1, .most = 95},
    {.name = "method", .type = YAML_NAME},
    LATER("run"),
    LATER("keep_within"),
};
static const YamlField schedule_of[] = {{RECORD(schedule_fields)}};

static const YamlField limits_fields[] = {
    {.name = "rate", .type = YAML_RATE, .least = 1024},
    {.name = "connections", .type = YAML_U64, .least = 1, .most = 256},
    LATER("per_host"),
    {.name = "concurrent", .type = YAML_U64, .least = 1, .most = 10000},
    LATER("pause_if"),
};

static const YamlField copy_fields[] = {
    {.name = "store", .type = YAML_NAME, .required = true},
    LATER("keep_last"),
    LATER("keep_daily"),
    LATER("keep_weekly"),
    LATER("keep_monthly"),
    LATER("keep_yearly"),
    LATER("keep_within"),
    LATER("layout"),
    LATER("name"),
    LATER("meta"),
};
static const YamlField copy_of[] = {{RECORD(copy_fields)}};

static const YamlField objectives_fields[] = {DURATION("rpo"), DURATION("rto")};

static const YamlField verify_fields[] = {
    {.name = "stored", .type = YAML_ENUM, .choices = "always"},
    LATER("content"),
    LATER("restore"),
    LATER("query"),
};

static const YamlField hook_fields[] = {
    {.name = "run", .type = YAML_NAME, .required = true},
    {.name = "timeout", .type = YAML_DURATION, .least = 1000, .fallback = "60s"},
    {.name = "on_error", .type = YAML_ENUM, .choices = "abort|warn", .fallback = "abort"},
    {.name = "always", .type = YAML_BOOL, .fallback = "false"},
};
static const YamlField hooks_fields[] = {
    {.name = "before", RECORD(hook_fields)},
    {.name = "after", RECORD(hook_fields)},
    LATER("validate"),
};

static const YamlField policy_fields[] = {
    SETTINGS,
    {.name = "schedule", .type = YAML_TEXT, .least = 1, .most = 95},
    {.name = "schedules", .type = YAML_MAP_OF, .fields = schedule_of},
    {.name = "objectives", RECORD(objectives_fields)},
    {.name = "limits", RECORD(limits_fields)},
    {.name = "copies",
     .type = YAML_LIST_OF,
     .required = true,
     .least = 1,
     .most = 1,
     .fields = copy_of},
    {.name = "verify", RECORD(verify_fields)},
    LATER("windows"),
    LATER("start_if"),
    LATER("min_good"),
    LATER("notify"),
};
static const YamlField policy_of[] = {{RECORD(policy_fields)}};

static const YamlField run_on_fields[] = {
    {.name = "pool", .type = YAML_NAME},
    {.name = "host", .type = YAML_TEXT, .least = 1, .most = 100},
};
static const YamlField label_of[] = {{.type = YAML_TEXT, .most = 200}};

static const YamlField source_fields[] = {
    {.name = "type",
     .type = YAML_ENUM,
     .required = true,
     .choices = "files|postgresql|mysql|sqlite|redis"},
    {.name = "policy", .type = YAML_NAME, .required = true},
    SETTINGS,
    TEXT_FIELD("owner"),
    {.name = "labels", .type = YAML_MAP_OF, .fields = label_of},
    {.name = "run_on", RECORD(run_on_fields)},
    {.name = "hooks", RECORD(hooks_fields)},
    {.name = "method", .type = YAML_NAME},
    {.name = "verify", RECORD(verify_fields)},
    /* files */
    {.name = "paths", .type = YAML_LIST_OF, .least = 1, .most = 1000, .fields = any_text},
    {.name = "exclude", .type = YAML_LIST_OF, .most = 1000, .fields = any_text},
    FLAG("one_file_system"),
    /* postgresql */
    TEXT_FIELD("host"),
    {.name = "port", .type = YAML_U64, .least = 1, .most = 65535},
    TEXT_FIELD("user"),
    {.name = "password", .type = YAML_SECRET},
    TEXT_FIELD("service"),
    TEXT_FIELD("sslmode"),
    {.name = "databases", .type = YAML_LIST_OF, .least = 1, .most = 1000, .fields = any_text},
    {.name = "exclude_table_data", .type = YAML_LIST_OF, .most = 1000, .fields = any_text},
    {.name = "jobs", .type = YAML_U64, .least = 1, .most = 64},
    LATER("defaults_file"),
    LATER("app"),
    LATER("path"),
    LATER("url"),
    LATER("sentinel"),
    LATER("wal"),
};
static const YamlField source_of[] = {{RECORD(source_fields)}};

static const YamlField root_fields[] = {
    {.name = "version", .type = YAML_U64, .required = true, .least = 1, .most = 1},
    {.name = "fleet", .type = YAML_NAME, .required = true},
    {.name = "defaults", RECORD(defaults_fields)},
    {.name = "keys", .type = YAML_MAP_OF, .fields = key_of},
    {.name = "stores", .type = YAML_MAP_OF, .required = true, .fields = store_of},
    {.name = "pools", .type = YAML_MAP_OF, .fields = pool_of},
    {.name = "policies", .type = YAML_MAP_OF, .required = true, .fields = policy_of},
    {.name = "sources", .type = YAML_MAP_OF, .required = true, .fields = source_of},
    LATER("include"),
    LATER("budgets"),
    LATER("sandboxes"),
    LATER("groups"),
    LATER("ignore"),
    LATER("notify"),
};

const YamlField fleet_table = {RECORD(root_fields)};

bool fleet_table_common(const char *key)
{
    static const YamlField settings[] = {SETTINGS};
    static const char *const common[] = {"type",   "policy", "owner", "labels",
                                         "run_on", "hooks",  "verify"};
    for (size_t i = 0; i < COUNT(settings); i++)
        if (strcmp(settings[i].name, key) == 0)
            return true;
    for (size_t i = 0; i < COUNT(common); i++)
        if (strcmp(common[i], key) == 0)
            return true;
    return false;
}
