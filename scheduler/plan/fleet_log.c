/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/fleet_log.h"

#include "common/base/hash.h"
#include "common/base/json.h"
#include "scheduler/plan/fleet_table.h"
#include "scheduler/plan/fleet_tree.h"

#include <stdio.h>
#include <string.h>

enum {
    RPO_S = 900,    /* a log that stands still so long is told */
    KEEP_LAST = 60, /* batches that no base backup needs */
    NAME_MOST = 63, /* of a slot */
    OWN_DIGITS = 12,
};

static const char every[] = "every 1m";

static bool is_pushed(const json_t *config)
{
    return text_equal(json_text_or(config, "wal", TEXT("none")), TEXT("archive_command"));
}

static bool is_kept(Text wal)
{
    return text_equal(wal, TEXT("stream")) || text_equal(wal, TEXT("archive_command"));
}

/* A server takes small letters, digits and underscores. A name that has others, or is too long,
 * ends in digits of its own sha256: "Shop" and "shop", or "a-b" and "a_b", never share a slot. */
static void slot_of(const char *name, char slot[NAME_MOST + 1])
{
    char own[2 * sizeof(Sha256) + 1];
    Sha256 sha256;
    size_t at = (size_t)snprintf(slot, NAME_MOST + 1, "holdfast_");
    bool same = at + strlen(name) <= NAME_MOST;
    for (const char *from = name; *from != 0 && at < NAME_MOST; from++) {
        bool upper = *from >= 'A' && *from <= 'Z';
        bool fits =
            (*from >= 'a' && *from <= 'z') || (*from >= '0' && *from <= '9') || *from == '_';
        slot[at++] = upper ? (char)(*from - 'A' + 'a') : fits ? *from : '_';
        same = same && fits;
    }
    slot[at] = 0;
    if (same)
        return;
    hash_sha256(slice_of_text(text_of(name)), &sha256);
    ids_hex(sha256.bytes, sizeof sha256.bytes, own);
    at = at < NAME_MOST - 1 - OWN_DIGITS ? at : NAME_MOST - 1 - OWN_DIGITS;
    snprintf(slot + at, OWN_DIGITS + 2, "_%.*s", OWN_DIGITS, own);
}

/* What leads to the server, and nothing that says what of it is read. */
static json_t *config_of(const char *name, const json_t *base)
{
    static const char *const keys[] = {"host",    "port",    "user",       "password",
                                       "service", "sslmode", "sslrootcert"};
    char slot[NAME_MOST + 1];
    json_t *config = json_pack("{s:s}", "method", "wal");
    for (size_t i = 0; i < FLEET_COUNT(keys); i++)
        if (json_object_get(base, keys[i]) != NULL)
            json_object_set(config, keys[i], json_object_get(base, keys[i]));
    if (is_pushed(base)) {
        Text returns = json_text_or(base, "wal_push", TEXT("stored"));
        json_object_set_new(config, "from", json_string("spool"));
        json_object_set_new(config, "returns", json_stringn(returns.at, returns.len));
        return config;
    }
    slot_of(name, slot);
    json_object_set_new(config, "slot", json_string(slot));
    return config;
}

/* Where the backups go the log goes; plain copies are of backups that stand alone. */
static json_t *copies_of(const json_t *copies, bool *keeps)
{
    json_t *out = json_array();
    const json_t *copy;
    size_t i;
    json_array_foreach(copies, i, copy)
    {
        if (text_equal(json_text_or(copy, "layout", TEXT("")), TEXT("plain")))
            continue;
        json_t *own = json_deep_copy(copy);
        if (json_object_get(own, "keep") != NULL) {
            json_object_set_new(own, "keep", json_pack("{s:i}", "last", KEEP_LAST));
            *keeps = true;
        }
        json_array_append_new(out, own);
    }
    return out;
}

void fleet_log_add(const char *name, const json_t *compiled, json_t *sources)
{
    static const char *const not_its_own[] = {
        "windows",  "calendars", "hooks",  "verify",        "concurrent",
        "per_host", "reads",     "keep",   "objectives",    "labels",
        "min_good", "schedules", "policy", "allow_partial", "start_deadline_s"};
    const json_t *config = json_object_get(compiled, "config");
    bool keeps = false;
    const char *key;
    json_t *row;
    if (!is_kept(json_text_or(config, "wal", TEXT("none"))))
        return;
    json_t *log = json_deep_copy(compiled);
    for (size_t i = 0; i < FLEET_COUNT(not_its_own); i++)
        json_object_del(log, not_its_own[i]);
    json_object_set_new(log, "log_of", json_string(name));
    json_object_set_new(log, "method", json_string("wal"));
    json_object_set_new(log, "config", config_of(name, config));
    json_object_set_new(log, "copies", copies_of(json_object_get(compiled, "copies"), &keeps));
    json_object_set_new(log, "initial", json_false());
    json_object_set_new(log, "rate", json_integer(0));
    json_object_set_new(log, "objectives", json_pack("{s:i, s:i}", "rpo_s", RPO_S, "rto_s", 0));
    json_t *schedules = json_pack("{s:{s:s, s:s}}", "log", "at", every, "kind", "backup");
    json_object_foreach(json_object_get(compiled, "schedules"), key, row)
    {
        if (keeps && text_equal(json_text_or(row, "kind", TEXT("")), TEXT("retention")))
            json_object_set(schedules, key, row);
    }
    json_object_set_new(log, "schedules", schedules);
    scoped(buf_free) Buf own = {0};
    buf_printf(&own, "%s-wal", name);
    json_object_set_new(sources, buf_cstr(&own), log);
}

void fleet_log_check(FleetCheck *check, const YamlPair *source)
{
    const YamlNode *wal = yaml_get(source->value, "wal");
    scoped(buf_free) Buf own = {0};
    if (wal == NULL || wal->kind != YAML_SCALAR || !is_kept(wal->text))
        return;
    buf_printf(&own, "%.*s-wal", TEXT_ARG(source->key->text));
    const YamlNode *other = fleet_tree_at(check->root, "sources", buf_cstr(&own), NULL);
    if (other != NULL)
        FLEET_PROBLEM(check, other, "name-taken", "call one of the two otherwise",
                      "sources.%s has the name of the log of sources.%.*s", buf_cstr(&own),
                      TEXT_ARG(source->key->text));
}
