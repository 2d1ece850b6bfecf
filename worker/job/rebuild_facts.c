/* SPDX-License-Identifier: Apache-2.0
 * rebuild_facts.c — what a manifest says of its backup, in the words of the catalogue. Older
 * manifests say less: what only the catalogue knew is then absent, or the nearest there is. */
#include "common/base/json.h"
#include "worker/job/rebuild_internal.h"

static void set_text(json_t *facts, const char *key, Text text)
{
    if (text.len > 0)
        json_object_set_new(facts, key, json_bytes(slice_of_text(text)));
}

static void set_count(json_t *facts, const char *key, uint64_t value)
{
    json_object_set_new(facts, key, json_integer((json_int_t)value));
}

static void set_time(json_t *facts, const char *key, int64_t ns)
{
    if (ns != 0)
        json_object_set_new(facts, key, json_integer(ns / 1000)); /* microseconds */
}

/* A backup's id begins with the milliseconds of its drawing. */
static int64_t drawn_ns(const Uuid *id)
{
    uint64_t ms = 0;
    for (unsigned i = 0; i < 6; i++)
        ms = ms << 8 | id->bytes[i];
    return (int64_t)(ms * 1000000);
}

static void set_receipt(json_t *facts, Text details)
{
    json_t *receipt = NULL;
    Err ignored = {0};
    if (details.len > 0 && json_parse(details, &receipt, &ignored) && json_is_object(receipt))
        json_object_set(facts, "receipt", receipt);
    json_decref(receipt);
}

json_t *rebuild_facts(const SurveyBackup *backup, uint64_t missing)
{
    const Manifest *m = &backup->manifest;
    const ManifestOrigin *origin = &m->origin;
    json_t *facts = json_object();
    char parent[UUID_TEXT];
    set_text(facts, "source", m->source);
    set_text(facts, "type", origin->type);
    set_text(facts, "schedule", origin->schedule);
    set_text(facts, "policy", origin->policy);
    set_text(facts, "position", m->position);
    set_text(facts, "host", text_of(backup->signer.host));
    set_count(facts, "generation", backup->signer.generation);
    set_receipt(facts, m->details);
    uuid_text(&m->parent, parent);
    if (m->has_parent)
        json_object_set_new(facts, "parent", json_string(parent));
    set_count(facts, "sequence", m->sequence == 0 ? 1 : m->sequence);
    set_count(facts, "job", origin->job);
    set_count(facts, "attempt", origin->attempt);
    set_count(facts, "entries", m->entries);
    set_count(facts, "bytes", m->bytes);
    set_count(facts, "stored", m->stored_bytes);
    set_count(facts, "new", m->new_bytes);
    set_count(facts, "issue_count", m->issues);
    set_count(facts, "missing", missing);
    set_time(facts, "slot", origin->slot_ns);
    set_time(facts, "started", origin->started_ns);
    set_time(facts, "consistent", m->consistent_ns);
    if (m->consistent_ns == 0)
        set_time(facts, "consistent", drawn_ns(&m->backup));
    set_time(facts, "committed",
             origin->written_ns != 0 ? origin->written_ns : drawn_ns(&m->backup));
    json_object_set_new(facts, "marked", json_boolean(backup->marked));
    /* Where the manifest does not say which issues are notes, any issue counts. */
    bool old = origin->written_ns == 0;
    json_object_set_new(facts, "partial", json_boolean(old ? m->issues > 0 : origin->faults > 0));
    return facts;
}
