/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/fleet_table.h"

#include "scheduler/plan/fleet_text.h"

const YamlField fleet_table_text[1] = {FLEET_ROW(NULL, TEXT, FLEET_WORDS)};
static const YamlField label_of[] = {FLEET_ROW(NULL, TEXT, .most = 200)};

static const YamlField include_of[] = {
    FLEET_ROW(NULL, TEXT, FLEET_WORDS, .check = fleet_text_include)};

static const YamlField key_fields[] = {
    FLEET_ROW("writer", SECRET, .doc = "on every worker that backs up: can write, cannot read"),
    FLEET_ROW("reader", SECRET, .doc = "only on workers that restore and verify"),
    FLEET_ROW("recovery_kit", ENUM, .choices = "required|optional"),
};
static const YamlField key_of[] = {{FLEET_RECORD(key_fields)}};

static const YamlField lock_fields[] = {
    FLEET_ROW("mode", ENUM, .required = true, .choices = "compliance|governance"),
    FLEET_ROW("for", DURATION, .required = true, .least = 86400000,
              .doc = "retention never cuts below it"),
};

static const YamlField store_fields[] = {
    FLEET_ROW("type", ENUM, .required = true, .choices = "local|s3"),
    FLEET_ROW("path", TEXT, FLEET_WORDS, .required = true, .only = "local",
              .check = fleet_text_path),
    FLEET_ROW("min_free", TEXT, FLEET_WORDS, .only = "local", .check = fleet_text_room,
              .later = true, .doc = "less than this free: no new backup, as 15% or 50GiB"),
    FLEET_ROW("max_uploads", U64, .least = 1, .most = 256,
              .doc = "backups that may write to it at the same time"),
    FLEET_ROW("endpoint", TEXT, FLEET_WORDS, .only = "s3", .check = fleet_text_url,
              .doc = "https://host[:port]; without it Amazon's of the region"),
    FLEET_ROW("region", NAME, .only = "s3", .doc = "without it us-east-1"),
    FLEET_ROW("bucket", NAME, .required = true, .only = "s3"),
    FLEET_ROW("prefix", TEXT, .most = 400, .only = "s3", .doc = "folder in the bucket, as prod/"),
    FLEET_ROW("style", ENUM, .only = "s3", .choices = "path|host",
              .doc = "where the bucket's name stands; without it what the endpoint is known for"),
    FLEET_ROW("ca_file", TEXT, FLEET_WORDS, .only = "s3", .check = fleet_text_path,
              .doc = "PEM file on the workers that vouches for the server"),
    FLEET_ROW("storage_class", NAME, .only = "s3"),
    FLEET_ROW("sse", ENUM, .only = "s3", .choices = "s3|kms",
              .doc = "server-side encryption; without it what the bucket says"),
    FLEET_ROW("kms_key", TEXT, FLEET_WORDS, .only = "s3", .doc = "for sse: kms"),
    FLEET_ROW("access_key", SECRET, .only = "s3",
              .doc = "may put, get and list; without both keys AWS's own conventions count"),
    FLEET_ROW("secret_key", SECRET, .only = "s3"),
    FLEET_ROW("prune_access_key", SECRET, .only = "s3",
              .doc = "the only credential that may delete; needed by workers with the prune role"),
    FLEET_ROW("prune_secret_key", SECRET, .only = "s3"),
    FLEET_ROW("stale_uploads", DURATION, .least = 3600000,
              .doc = "a prune job aborts uploads that nobody completed for so long; without it 1d"),
    FLEET_PART("lock", lock_fields, .only = "s3",
               .doc = "object lock of what is put; the bucket must have it enabled"),
    FLEET_ROW("max_rate", RATE, .least = 1024,
              .doc = "of all of them together; each gets an equal share of it"),
};
static const YamlField store_of[] = {{FLEET_RECORD(store_fields)}};

static const YamlField pool_fields[] = {
    FLEET_ROW("tags", MAP_OF, .fields = label_of, .later = true,
              .doc = "which enrolled workers serve it"),
    FLEET_ROW("max_jobs", U64, .least = 1, .most = 100000,
              .doc = "at most so many run at once on all its workers"),
};
static const YamlField pool_of[] = {{FLEET_RECORD(pool_fields)}};

static const YamlField match_fields[] = {
    FLEET_ROW("labels", MAP_OF, .required = true, .fields = label_of)};
static const YamlField budget_fields[] = {
    FLEET_PART("match", match_fields, .required = true, .doc = "the sources that share it"),
    FLEET_ROW("rate", RATE, .least = 1024,
              .doc = "of all their backups together; each gets an equal share of it"),
    FLEET_ROW("concurrent", U64, .least = 1, .most = 10000,
              .doc = "at the same time; where there is only a rate, 8"),
};
static const YamlField budget_of[] = {{FLEET_RECORD(budget_fields)}};

static const YamlField sandbox_fields[] = {
    FLEET_ROW("pool", NAME, .required = true, .refers = "pool"),
    FLEET_ROW("scratch", TEXT, FLEET_WORDS, .required = true, .check = fleet_text_path),
    FLEET_ROW("min_free", SIZE),
    FLEET_ROW("memory", SIZE, .least = 1 << 20),
};
static const YamlField sandbox_of[] = {{FLEET_RECORD(sandbox_fields)}};

static const YamlField date_of[] = {FLEET_ROW(NULL, TEXT, FLEET_WORDS, .check = fleet_text_dates)};
static const YamlField calendar_of[] = {
    FLEET_ROW(NULL, LIST_OF, .least = 1, .most = 1000, .fields = date_of)};

static const YamlField member_of[] = {FLEET_ROW(NULL, NAME, .refers = "source")};
static const YamlField barrier_fields[] = {
    FLEET_ROW("hold", NAME, .required = true,
              .doc = "a hook of the first member's worker: from its end on nothing changes"),
    FLEET_ROW("release", NAME, .required = true,
              .doc = "another one, always run after it; harmless when nothing is held"),
    FLEET_ROW("timeout", DURATION, FLEET_SECOND, .fallback = "60s",
              .doc = "of each of the two, and the longest that the application is held"),
    FLEET_ROW("gather", DURATION, FLEET_SECOND, .fallback = "10m",
              .doc = "how long the first of the members waits for the last"),
};
static const YamlField group_fields[] = {
    FLEET_ROW("members", LIST_OF, .required = true, .least = 2, .most = 100, .fields = member_of,
              .doc = "the first leads: its worker runs the hooks, its backup's retention counts"),
    FLEET_ROW("policy", NAME, .required = true, .refers = "policy",
              .doc = "when; everything else of a member is its own"),
    FLEET_PART("barrier", barrier_fields),
};
static const YamlField group_of[] = {{FLEET_RECORD(group_fields)}};

static const YamlField ignored_fields[] = {
    FLEET_ROW("host", TEXT, FLEET_WORDS),
    FLEET_ROW("name", TEXT, FLEET_WORDS),
    FLEET_ROW("type", TEXT, FLEET_WORDS),
};
static const YamlField ignore_fields[] = {
    FLEET_PART("match", ignored_fields, .required = true),
    FLEET_ROW("reason", TEXT, FLEET_WORDS, .required = true),
    FLEET_ROW("until", TEXT, .least = 1, .most = 32, .check = fleet_text_date),
    FLEET_ROW("approved_by", TEXT, FLEET_WORDS),
};
static const YamlField ignore_of[] = {{FLEET_RECORD(ignore_fields)}};

static const YamlField root_fields[] = {
    FLEET_ROW("version", U64, .required = true, .least = 1, .most = 1, .doc = "of this form"),
    FLEET_ROW("fleet", NAME, .required = true, .doc = "what the fleet is called"),
    FLEET_ROW("include", LIST_OF, .most = 100, .fields = include_of,
              .doc = "more files, relative to this one; merged by name, a name twice is an error"),
    FLEET_PART("defaults", fleet_table_defaults,
               .doc = "settings of every source that says nothing else"),
    FLEET_ROW("keys", MAP_OF, .fields = key_of, .doc = "key domains"),
    FLEET_ROW("stores", MAP_OF, .required = true, .fields = store_of,
              .doc = "where backups are kept"),
    FLEET_ROW("pools", MAP_OF, .fields = pool_of, .most = 48, .check = fleet_text_pool,
              .doc = "queues and their workers"),
    FLEET_ROW("budgets", MAP_OF, .fields = budget_of,
              .doc = "what runs at once in the whole fleet never exceeds these"),
    FLEET_ROW("calendars", MAP_OF, .fields = calendar_of,
              .doc = "days on which a policy does not run"),
    FLEET_ROW("sandboxes", MAP_OF, .fields = sandbox_of, .later = true,
              .doc = "where restores are tried"),
    FLEET_ROW("policies", MAP_OF, .required = true, .fields = fleet_table_policy,
              .doc = "when, where, how long, under which conditions"),
    FLEET_ROW("sources", MAP_OF, .required = true, .fields = fleet_table_source,
              .doc = "what is backed up"),
    FLEET_ROW("groups", MAP_OF, .fields = group_of,
              .doc = "several sources at one barrier, restored together to it"),
    FLEET_ROW("ignore", LIST_OF, .most = 10000, .fields = ignore_of, .later = true,
              .doc = "known and not backed up, on purpose"),
    FLEET_PART("notify", fleet_table_notify, .later = true, .doc = "who is told what"),
};

const YamlField fleet_table = {FLEET_RECORD(root_fields)};
