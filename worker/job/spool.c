/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/spool.h"

#include "common/base/json.h"
#include "common/base/mem.h"

static void put_bytes(json_t *tree, const char *key, const uint8_t *at, size_t len)
{
    char text[2 * sizeof(Sha256) + 1];
    ids_hex(at, len, text);
    json_object_set_new(tree, key, json_string(text));
}

static void put_text(json_t *tree, const char *key, Text text)
{
    json_object_set_new(tree, key, json_bytes(slice_of_text(text)));
}

static void put_u64(json_t *tree, const char *key, uint64_t value)
{
    json_object_set_new(tree, key, json_integer((json_int_t)value));
}

static void put_lists(json_t *tree, const BackupRow *row)
{
    json_t *packs = json_array();
    json_t *items = json_array();
    for (size_t i = 0; i < row->pack_count; i++)
        json_array_append_new(packs, json_integer((json_int_t)row->pack_nos[i]));
    for (size_t i = 0; i < row->item_count; i++) {
        const BackupItem *item = &row->items[i];
        json_t *one = json_object();
        put_text(one, "kind", item->kind);
        put_text(one, "name", item->name);
        put_u64(one, "entries", item->entries);
        put_u64(one, "rows", item->rows);
        put_u64(one, "bytes", item->bytes);
        json_array_append_new(items, one);
    }
    json_object_set_new(tree, "packs", packs);
    json_object_set_new(tree, "items", items);
}

/* To change this text: add members. A worker that knows them not commits without them; one that
 * misses a member it needs refuses the note, and the next attempt does the work. */
void spool_text(const char *worker, const Fence *fence, const BackupRow *row, Buf *out)
{
    scoped(json_release) json_t *tree = json_object();
    put_text(tree, "worker", text_of(worker));
    put_u64(tree, "job", fence->job);
    put_u64(tree, "attempt", fence->attempt);
    put_bytes(tree, "claim", fence->claim.bytes, sizeof fence->claim.bytes);
    put_bytes(tree, "backup", row->id.bytes, sizeof row->id.bytes);
    put_bytes(tree, "manifest_sha256", row->manifest_sha256.bytes, sizeof(Sha256));
    put_bytes(tree, "index", row->index_object.bytes, sizeof row->index_object.bytes);
    put_bytes(tree, "index_sha256", row->index_sha256.bytes, sizeof(Sha256));
    put_u64(tree, "sequence", row->sequence);
    json_object_set_new(tree, "consistent_ns", json_integer(row->consistent_ns));
    put_text(tree, "position", row->position);
    put_text(tree, "receipt", row->receipt);
    json_object_set_new(tree, "partial", json_boolean(row->partial));
    json_object_set_new(tree, "stored_verified", json_boolean(row->stored_verified));
    put_u64(tree, "entries", row->entries);
    put_u64(tree, "bytes", row->bytes);
    put_u64(tree, "stored_bytes", row->stored_bytes);
    put_u64(tree, "new_bytes", row->new_bytes);
    put_text(tree, "issues", row->issues);
    put_u64(tree, "issue_count", row->issue_count);
    put_lists(tree, row);
    json_canonical(tree, out);
}

static bool take_bytes(const json_t *tree, const char *key, uint8_t *at, size_t len, Err *err)
{
    return ids_unhex(json_text_or(tree, key, TEXT("")), at, len, err) ||
           err_note(err, "the note's %s", key);
}

static void take_lists(Spooled *spooled)
{
    const json_t *packs = json_object_get(spooled->tree, "packs");
    const json_t *items = json_object_get(spooled->tree, "items");
    size_t pack_count = json_array_size(packs), item_count = json_array_size(items);
    spooled->pack_nos = mem_array(uint64_t, pack_count);
    spooled->items = mem_array(BackupItem, item_count);
    for (size_t i = 0; i < pack_count; i++)
        spooled->pack_nos[i] = (uint64_t)json_integer_value(json_array_get(packs, i));
    for (size_t i = 0; i < item_count; i++) {
        const json_t *one = json_array_get(items, i);
        spooled->items[i] = (BackupItem){.kind = json_text_or(one, "kind", TEXT("")),
                                         .name = json_text_or(one, "name", TEXT("")),
                                         .entries = json_u64_or(one, "entries", 0),
                                         .rows = json_u64_or(one, "rows", 0),
                                         .bytes = json_u64_or(one, "bytes", 0)};
    }
}

static bool take_ids(Spooled *spooled, Err *err)
{
    const json_t *tree = spooled->tree;
    BackupRow *row = &spooled->row;
    Fence *fence = &spooled->fence;
    return json_take_u64(tree, "job", &fence->job, err) &&
           json_take_u64(tree, "attempt", &fence->attempt, err) &&
           take_bytes(tree, "claim", fence->claim.bytes, sizeof fence->claim.bytes, err) &&
           take_bytes(tree, "backup", row->id.bytes, sizeof row->id.bytes, err) &&
           take_bytes(tree, "manifest_sha256", row->manifest_sha256.bytes, sizeof(Sha256), err) &&
           take_bytes(tree, "index", row->index_object.bytes, sizeof row->index_object.bytes,
                      err) &&
           take_bytes(tree, "index_sha256", row->index_sha256.bytes, sizeof(Sha256), err) &&
           json_take_u64(tree, "sequence", &row->sequence, err);
}

bool spool_read(const char *worker, Text text, Spooled *out, bool *mine, Err *err)
{
    *out = (Spooled){0};
    *mine = false;
    if (!json_parse(text, &out->tree, err))
        return err_note(err, "reading the note of a commit");
    *mine = text_equal(json_text_or(out->tree, "worker", TEXT("")), text_of(worker));
    if (!*mine || !take_ids(out, err)) {
        bool fine = !*mine;
        spool_free(out);
        return fine;
    }
    const json_t *tree = out->tree;
    BackupRow *row = &out->row;
    take_lists(out);
    row->consistent_ns = json_integer_value(json_object_get(tree, "consistent_ns"));
    row->position = json_text_or(tree, "position", TEXT(""));
    row->receipt = json_text_or(tree, "receipt", TEXT("{}"));
    row->partial = json_bool_or(tree, "partial", true);
    row->stored_verified = json_bool_or(tree, "stored_verified", false);
    row->entries = json_u64_or(tree, "entries", 0);
    row->bytes = json_u64_or(tree, "bytes", 0);
    row->stored_bytes = json_u64_or(tree, "stored_bytes", 0);
    row->new_bytes = json_u64_or(tree, "new_bytes", 0);
    row->issues = json_text_or(tree, "issues", TEXT(""));
    row->issue_count = json_u64_or(tree, "issue_count", 0);
    row->pack_nos = out->pack_nos;
    row->pack_count = json_array_size(json_object_get(tree, "packs"));
    row->items = out->items;
    row->item_count = json_array_size(json_object_get(tree, "items"));
    return true;
}

void spool_free(Spooled *spooled)
{
    json_decref(spooled->tree);
    mem_free(spooled->pack_nos);
    mem_free(spooled->items);
    *spooled = (Spooled){0};
}
