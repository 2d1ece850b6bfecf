/* SPDX-License-Identifier: Apache-2.0
 * writer_known.c — what this session may take from earlier ones: yesterday's list, packs taken over
 * from a dead attempt, and the ledger's places. Nothing of it is believed: every id is looked up
 * in this session, and packs taken over are sampled by reading them back. */
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/repo/pack.h"
#include "common/repo/repo_internal.h"
#include "common/repo/writer_internal.h"

#include <stdlib.h>

enum {
    LOOKUP_BLOCK = 4096, /* ids of yesterday that are looked up at a time */
    ID_UNKNOWN = 0,
    ID_HERE = 1,
    ID_GONE = 2,
};

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(ChunkId));
}

static bool usable(const RepoWriter *w, const ChunkPlace *place)
{
    return place->found && !packset_has(&w->distrusted, place->pack_no);
}

/* ids ascend; places that must not be used are turned into places not found. */
bool writer_known_lookup(RepoWriter *w, const ChunkId *ids, size_t count, ChunkPlace *places,
                         Err *err)
{
    if (count == 0)
        return true;
    RepoLedger *ledger = w->params.ledger;
    if (!ledger->ops->lookup(ledger, ids, count, places, err))
        return err_note(err, "looking up chunks");
    for (size_t i = 0; i < count; i++)
        places[i].found = usable(w, &places[i]);
    return true;
}

/* Looks up the block of yesterday's ids that `index` is in. Caller holds known_lock. */
static bool look_up_block(RepoWriter *w, uint32_t index, Err *err)
{
    Yesterday *y = &w->yesterday;
    const IdMap *ids = parents_ids(y->parents);
    uint32_t from = index - index % LOOKUP_BLOCK;
    uint32_t count = ids->count - from < LOOKUP_BLOCK ? ids->count - from : LOOKUP_BLOCK;
    ChunkId *sorted = mem_array(ChunkId, count);
    ChunkPlace *places = mem_array(ChunkPlace, count);
    memcpy(sorted, ids->ids + from, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_ids);
    bool good = writer_known_lookup(w, sorted, count, places, err);
    for (uint32_t i = 0; good && i < count; i++) {
        uint32_t at = idmap_find(ids, &sorted[i]);
        y->state[at] = places[i].found ? ID_HERE : ID_GONE;
        y->pack_nos[at] = places[i].pack_no;
    }
    mem_free(sorted);
    mem_free(places);
    return good;
}

static bool known_here(RepoWriter *w, uint32_t index, bool *here, Err *err)
{
    Yesterday *y = &w->yesterday;
    if (y->state[index] == ID_UNKNOWN && !look_up_block(w, index, err))
        return false;
    *here = y->state[index] == ID_HERE;
    return true;
}

bool writer_known_id(RepoWriter *w, const ChunkId *id, bool *here, Err *err)
{
    *here = false;
    if (w->yesterday.parents == NULL)
        return true;
    uint32_t index = idmap_find(parents_ids(w->yesterday.parents), id);
    if (index == IDMAP_NONE)
        return true;
    if (!known_here(w, index, here, err))
        return false;
    if (*here)
        writer_known_use(w, index);
    return true;
}

void writer_known_use(RepoWriter *w, uint32_t index)
{
    packset_add(&w->used, w->yesterday.pack_nos[index]);
}

static bool row_here(RepoWriter *w, ParentsRow row, uint64_t size, bool *known, Err *err)
{
    Extent extent;
    uint32_t index;
    uint64_t sum = 0;
    bool here = true;
    while (here && parents_next(w->yesterday.parents, &row, &extent, &index)) {
        sum += extent.length;
        if (index != IDMAP_NONE && !known_here(w, index, &here, err))
            return false;
    }
    *known = here && row.left == 0 && sum == size;
    return true;
}

bool writer_known_row(RepoWriter *w, const Entry *entry, const ParentsKey *key, ParentsRow *row,
                      bool *known, Err *err)
{
    *known = false;
    *row = (ParentsRow){0};
    if (w->yesterday.parents == NULL || !parents_find(w->yesterday.parents, key, row))
        return true;
    pthread_mutex_lock(&w->known_lock);
    bool good = row_here(w, *row, entry->size, known, err);
    pthread_mutex_unlock(&w->known_lock);
    return good;
}

/* A list that is missing or does not open costs reading, nothing else. */
void writer_known_load(RepoWriter *w)
{
    if (!w->params.has_parent)
        return;
    scoped(buf_free) Buf body = {0};
    Err ignored = {0};
    char name[REPO_NAME];
    bool found = false;
    Signer signer;
    repo_name("parents", &w->params.parent, name);
    if (!repo_get(w->params.repo, DISK_PARENTS, name, w->parents_key, &found, NULL, &body, NULL,
                  &signer, &ignored) ||
        !found || !parents_read(&w->yesterday.parents, buf_slice(&body), &ignored))
        return;
    uint32_t count = parents_ids(w->yesterday.parents)->count;
    w->yesterday.state = mem_array(uint8_t, count);
    w->yesterday.pack_nos = mem_array(uint64_t, count);
}

typedef struct Adoption {
    RepoWriter *w;
    uint64_t count;
    bool suspicious; /* one was damaged: look at every other */
} Adoption;

/* GET and sha256: what a HEAD or the dead attempt says about an object proves nothing. */
static bool object_intact(RepoWriter *w, const PackRow *row, bool *intact, Err *err)
{
    scoped(buf_free) Buf bytes = {0};
    char name[PACK_NAME];
    bool found;
    pack_name(&row->object, name);
    *intact = false;
    if (!store_get(repo_store(w->params.repo), name, row->bytes, &found, &bytes, err)) {
        /* An object longer than its row is damage, not a reason to give up. */
        return err->code == ERR_CORRUPT || err->code == ERR_INVALID;
    }
    Sha256 sha256;
    hash_sha256(buf_slice(&bytes), &sha256);
    *intact = found && memcmp(&sha256, &row->sha256, sizeof sha256) == 0;
    return true;
}

/* The newest and the oldest packs are the likeliest to be torn: the first four, then one in
 * eight; all from the first damage on. */
static bool adopt_pack(void *ctx, const PackRow *row, Err *err)
{
    Adoption *adoption = ctx;
    RepoWriter *w = adoption->w;
    uint64_t number = adoption->count++;
    bool intact = true;
    if ((adoption->suspicious || number < 4 || number % 8 == 0) &&
        !object_intact(w, row, &intact, err))
        return err_note(err, "reading back a pack of an earlier attempt");
    if (!intact) {
        adoption->suspicious = true;
        packset_add(&w->distrusted, row->pack_no);
        return true;
    }
    atomic_fetch_add(&w->adopted, 1);
    writer_pack_adopted(w, row);
    return true;
}

/* One was damaged: those that were passed over by the sample are looked at too. */
static bool doubt_pack(void *ctx, const PackRow *row, Err *err)
{
    Adoption *adoption = ctx;
    RepoWriter *w = adoption->w;
    bool intact;
    if (packset_has(&w->distrusted, row->pack_no))
        return true;
    if (!object_intact(w, row, &intact, err))
        return err_note(err, "reading back a pack of an earlier attempt");
    if (!intact) {
        packset_add(&w->distrusted, row->pack_no);
        atomic_fetch_sub(&w->adopted, 1);
    }
    return true;
}

bool writer_known_adopt(RepoWriter *w, Err *err)
{
    Adoption adoption = {.w = w};
    RepoLedger *ledger = w->params.ledger;
    if (!ledger->ops->adopted(ledger, adopt_pack, &adoption, err) ||
        (adoption.suspicious && !ledger->ops->adopted(ledger, doubt_pack, &adoption, err)))
        return err_note(err, "taking over what an earlier attempt staged");
    return true;
}

void writer_known_free(RepoWriter *w)
{
    parents_free(w->yesterday.parents);
    mem_free(w->yesterday.state);
    mem_free(w->yesterday.pack_nos);
    idmap_free(&w->seen);
    packset_free(&w->used);
    packset_free(&w->distrusted);
}
