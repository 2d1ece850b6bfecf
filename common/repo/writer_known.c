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
    LOOKUP_BLOCK = 4096,          /* ids of yesterday that are looked up at a time */
    LOST_MOST = 2 * LOOKUP_BLOCK, /* of them gone: what lay in a few damaged packs */
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
static bool look_up_block(RepoWriter *w, YesterdayPart *part, uint32_t index, Err *err)
{
    const IdMap *ids = parents_ids(part->parents);
    uint32_t from = index - index % LOOKUP_BLOCK;
    uint32_t count = ids->count - from < LOOKUP_BLOCK ? ids->count - from : LOOKUP_BLOCK;
    ChunkId *sorted = mem_array(ChunkId, count);
    ChunkPlace *places = mem_array(ChunkPlace, count);
    memcpy(sorted, ids->ids + from, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_ids);
    bool good = writer_known_lookup(w, sorted, count, places, err);
    for (uint32_t i = 0; good && i < count; i++) {
        uint32_t at = idmap_find(ids, &sorted[i]);
        part->state[at] = places[i].found ? ID_HERE : ID_GONE;
        part->pack_nos[at] = places[i].pack_no;
        w->ids_here += places[i].found;
        w->ids_gone += !places[i].found;
    }
    mem_free(sorted);
    mem_free(places);
    return good;
}

static bool known_here(RepoWriter *w, YesterdayPart *part, uint32_t index, bool *here, Err *err)
{
    if (part->state[index] == ID_UNKNOWN && !look_up_block(w, part, index, err))
        return false;
    *here = part->state[index] == ID_HERE;
    return true;
}

bool writer_known_id(RepoWriter *w, const ChunkId *id, bool *here, Err *err)
{
    *here = false;
    uint32_t index;
    YesterdayPart *part = w->yesterday == NULL ? NULL : yesterday_id(w->yesterday, id, &index);
    if (part == NULL)
        return true;
    if (!known_here(w, part, index, here, err))
        return false;
    if (*here)
        packset_add(&w->used, part->pack_nos[index]);
    return true;
}

void writer_known_use(RepoWriter *w, const YesterdayPart *part, uint32_t index)
{
    pthread_mutex_lock(&w->known_lock);
    packset_add(&w->used, part->pack_nos[index]);
    pthread_mutex_unlock(&w->known_lock);
}

/* The extents of a row, looked up one by one up to the first that is gone. */
typedef struct RowLook {
    ParentsRow row; /* what was not looked at */
    Extent last;
    uint64_t sum;
    bool gone;
} RowLook;

static bool look_at_row(RepoWriter *w, YesterdayPart *part, RowLook *look, Err *err)
{
    uint32_t index;
    bool here = true;
    while (here && parents_next(part->parents, &look->row, &look->last, &index)) {
        look->sum += look->last.length;
        if (index != IDMAP_NONE && !known_here(w, part, index, &here, err))
            return false;
    }
    look->gone = !here;
    return true;
}

static bool row_whole(const RowLook *look, uint64_t size)
{
    return !look->gone && look->row.left == 0 && look->sum == size;
}

/* A small file's content is one piece of one chunk. Where much is gone, and more than is here (the
 * store was set back, it is another domain), nothing is made again as it was: what changed file by
 * file over the years would stay in as many pieces. */
static void note_lost(const RepoWriter *w, const RowLook *look, uint64_t size, Pending *pending)
{
    const Extent *extent = &look->last;
    pending->heals = !extent->zeros && look->row.left == 0 && extent->length == size &&
                     size < SMALL_FILE && (w->ids_here >= w->ids_gone || w->ids_gone <= LOST_MOST);
    pending->lost = extent->id;
}

bool writer_known_row(RepoWriter *w, const Entry *entry, Pending *pending, Err *err)
{
    bool good = true;
    if (w->yesterday == NULL)
        return true;
    pthread_mutex_lock(&w->known_lock);
    YesterdayPart *part = yesterday_row(w->yesterday, &pending->key, &pending->known_row);
    RowLook look = {.row = pending->known_row};
    if (part != NULL)
        good = look_at_row(w, part, &look, err);
    pending->known = good && part != NULL && row_whole(&look, entry->size);
    if (look.gone && look.sum == look.last.length)
        note_lost(w, &look, entry->size, pending);
    if (pending->known)
        pending->known_part = part;
    else
        yesterday_release(part);
    pthread_mutex_unlock(&w->known_lock);
    if (pending->known)
        pending->facts = pending->known_row.facts;
    return good;
}

bool writer_known_again(RepoWriter *w, uint64_t size, Pending *pending, Err *err)
{
    bool good = true;
    if (w->yesterday == NULL)
        return true;
    pthread_mutex_lock(&w->known_lock);
    YesterdayPart *part =
        yesterday_marked(w->yesterday, &pending->key, pending->facts.mark, &pending->known_row);
    RowLook look = {.row = pending->known_row};
    if (part != NULL)
        good = look_at_row(w, part, &look, err);
    if (good && part != NULL && row_whole(&look, size))
        pending->known_part = part;
    else
        yesterday_release(part);
    pthread_mutex_unlock(&w->known_lock);
    return good;
}

void writer_known_drop(RepoWriter *w, Pending *pending)
{
    pthread_mutex_lock(&w->known_lock);
    yesterday_release(pending->known_part);
    pthread_mutex_unlock(&w->known_lock);
}

/* Only a host that may write this source may say what is known of it. */
static bool load_part(void *ctx, uint64_t part, Buf *body)
{
    RepoWriter *w = ctx;
    Err ignored = {0};
    char name[REPO_PARENTS_NAME];
    bool found = false;
    Signer signer;
    repo_parents_name(&w->params.parent, part, name);
    return repo_get(w->params.repo, DISK_PARENTS, name, w->parents_key, &found, NULL, body, NULL,
                    &signer, &ignored) &&
           found && signer.revoked == 0 &&
           (keyring_plain(repo_keyring(w->params.repo)) ||
            keyring_may_write(&signer, w->params.source));
}

/* A list that is missing or does not open costs reading, nothing else. */
void writer_known_load(RepoWriter *w)
{
    if (w->params.has_parent)
        w->yesterday = yesterday_open(load_part, w, w->params.ordered);
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
    yesterday_free(w->yesterday);
    idmap_free(&w->seen);
    packset_free(&w->used);
    packset_free(&w->distrusted);
}
