/* SPDX-License-Identifier: Apache-2.0
 * rebuild_packs.c — index objects and packs: what they hold, and whether they are there. */
#include "common/base/mem.h"
#include "worker/job/rebuild_internal.h"

/* --- index objects -------------------------------------------------------------------------- */

typedef struct Batch {
    Rebuild *rebuild;
    const Uuid *ids;
    size_t count;
    bool flags[REBUILD_BATCH];
} Batch;

static bool call_seen(Catalog *catalog, void *ctx, Err *err)
{
    Batch *batch = ctx;
    return catalog_rebuild_indexes(catalog, &batch->rebuild->who, batch->ids, batch->count,
                                   batch->flags, err);
}

typedef struct Give {
    const Rebuild *rebuild;
    RebuildIndex index;
    const PackRow *packs;
    size_t count;
    uint64_t new_packs, new_chunks;
} Give;

static bool call_give(Catalog *catalog, void *ctx, Err *err)
{
    Give *give = ctx;
    return catalog_rebuild_packs(catalog, &give->rebuild->who, &give->index, give->packs,
                                 give->count, &give->new_packs, &give->new_chunks, err);
}

static bool give(Rebuild *rebuild, Give *what, Err *err)
{
    Err why = {0};
    char id[UUID_TEXT];
    bool stray = what->index.signer.len == 0;
    if (!patient_call(rebuild->params->catalog, call_give, what, &why)) {
        if (!rebuild_refused(&why)) {
            *err = why;
            return false;
        }
        uuid_text(stray ? &what->packs[0].object : &what->index.object, id);
        rebuild->counts.bad_strays += stray;
        rebuild->counts.bad_indexes += !stray;
        rebuild_find(
            rebuild, stray ? "pack" : "index",
            "%s/%s says what the catalogue does not take; %s: %s", stray ? "packs" : "index", id,
            stray ? "a restore finds nothing of it" : "its packs are asked themselves", why.text);
        return true;
    }
    rebuild->counts.strays += stray;
    rebuild->counts.indexes += !stray;
    rebuild->counts.packs += what->new_packs;
    rebuild->counts.chunks += what->new_chunks;
    return true;
}

/* A damaged index hides nothing for good: its packs say themselves what they hold. */
static bool import_index(Rebuild *rebuild, const Uuid *object, Err *err)
{
    SurveyIndex index;
    SurveyFinding finding;
    Err why = {0};
    bool fine = survey_index(rebuild->params->repo, object, &index, &finding, &why, err);
    if (fine && finding == SURVEY_BAD) {
        rebuild->counts.bad_indexes++;
        rebuild_find(rebuild, "index", "%s", why.text);
    } else if (fine && finding == SURVEY_WHOLE) {
        Give what = {
            .rebuild = rebuild,
            .index = {.object = index.object,
                      .backup = index.backup,
                      .sha256 = index.sha256,
                      .signer = {index.signer.sign_public, sizeof index.signer.sign_public}},
            .packs = index.packs,
            .count = index.pack_count};
        fine = give(rebuild, &what, err);
    }
    survey_index_free(&index);
    return fine;
}

static bool import_indexes(Rebuild *rebuild, Err *err)
{
    const RebuildParams *params = rebuild->params;
    Uuid *ids = NULL;
    size_t count = 0;
    bool fine = survey_names(params->repo, "index/", &ids, &count, err);
    for (size_t at = 0; fine && at < count; at += REBUILD_BATCH) {
        Batch batch = {.rebuild = rebuild,
                       .ids = ids + at,
                       .count = count - at < REBUILD_BATCH ? count - at : REBUILD_BATCH};
        fine = params->go_on(params->ctx, "index", at, count, err) &&
               patient_call(params->catalog, call_seen, &batch, err);
        for (size_t i = 0; fine && i < batch.count; i++)
            if (!batch.flags[i])
                fine = import_index(rebuild, &ids[at + i], err);
    }
    mem_free(ids);
    return fine;
}

/* --- packs: what is there, and what should be ------------------------------------------------ */

/* One folder of packs, both lists ascending. */
typedef struct Folder {
    Rebuild *rebuild;
    const Uuid *after, *until;
    PackRow *rows; /* the catalogue's */
    size_t count, room;
    SurveyPack *listed;
    size_t listed_count;
    uint64_t *gone;
    size_t gone_count;
    uint64_t marked;
} Folder;

static bool keep_row(void *ctx, const PackRow *row, Err *err)
{
    (void)err;
    Folder *folder = ctx;
    if (folder->count == folder->room) {
        folder->room = folder->room == 0 ? 256 : folder->room * 2;
        folder->rows = mem_resize(folder->rows, folder->room * sizeof folder->rows[0]);
    }
    folder->rows[folder->count++] = *row;
    return true;
}

static bool call_expected(Catalog *catalog, void *ctx, Err *err)
{
    Folder *folder = ctx;
    folder->count = 0;
    return catalog_rebuild_expected(catalog, &folder->rebuild->who, folder->after, folder->until,
                                    keep_row, folder, err);
}

static bool call_gone(Catalog *catalog, void *ctx, Err *err)
{
    Folder *folder = ctx;
    return catalog_rebuild_gone(
        catalog, &folder->rebuild->who, folder->gone, folder->gone_count,
        TEXT("it is not in the store, or not in its length, said a rebuild that asked for it"),
        &folder->marked, err);
}

/* In no index, and not in the catalogue: of an attempt that died, or its index is damaged. */
static bool import_stray(Rebuild *rebuild, const SurveyPack *pack, Err *err)
{
    PackRow row;
    ChunkRow *chunks = NULL;
    SurveyFinding finding;
    Err why = {0};
    static const uint8_t nobody[1] = {0};
    bool fine = survey_stray(rebuild->params->repo, pack, &row, &chunks, &finding, &why, err);
    if (fine && finding == SURVEY_BAD) {
        rebuild->counts.bad_strays++;
        rebuild_find(rebuild, "pack", "%s", why.text);
    } else if (fine) {
        Give what = {
            .rebuild = rebuild, .index = {.signer = {nobody, 0}}, .packs = &row, .count = 1};
        fine = give(rebuild, &what, err);
    }
    mem_free(chunks);
    return fine;
}

/* A row whose object was not listed in its length is asked for by name before it is believed gone:
 * a listing may be stale, or lack a page. */
static bool compare_row(Folder *folder, const PackRow *row, size_t *at, Err *err)
{
    bool there = false;
    while (*at < folder->listed_count &&
           uuid_compare(&folder->listed[*at].object, &row->object) < 0)
        if (!import_stray(folder->rebuild, &folder->listed[(*at)++], err))
            return false;
    if (*at < folder->listed_count && uuid_equal(&folder->listed[*at].object, &row->object))
        there = folder->listed[(*at)++].bytes == row->bytes;
    if (!there && row->bytes > 0 &&
        !survey_has_pack(folder->rebuild->params->repo, &row->object, row->bytes, &there, err))
        return false;
    if (!there && row->bytes > 0)
        folder->gone[folder->gone_count++] = row->pack_no;
    return true;
}

static bool compare_folder(Folder *folder, Err *err)
{
    size_t at = 0;
    folder->gone = mem_array(uint64_t, folder->count);
    for (size_t i = 0; i < folder->count; i++)
        if (!compare_row(folder, &folder->rows[i], &at, err))
            return false;
    while (at < folder->listed_count)
        if (!import_stray(folder->rebuild, &folder->listed[at++], err))
            return false;
    if (folder->gone_count == 0)
        return true;
    if (!patient_call(folder->rebuild->params->catalog, call_gone, folder, err))
        return false;
    folder->rebuild->counts.gone += folder->marked;
    return true;
}

/* The rows are asked for after the listing: a pack that comes meanwhile is in neither or in both.
 */
static bool check_folder(Rebuild *rebuild, unsigned first, Err *err)
{
    Uuid after = {0}, until;
    memset(&until, 0xff, sizeof until);
    until.bytes[0] = (uint8_t)first;
    if (first > 0) {
        memset(&after, 0xff, sizeof after);
        after.bytes[0] = (uint8_t)(first - 1);
    }
    Folder folder = {.rebuild = rebuild, .after = &after, .until = &until};
    bool fine = survey_packs(rebuild->params->repo, (uint8_t)first, &folder.listed,
                             &folder.listed_count, err) &&
                patient_call(rebuild->params->catalog, call_expected, &folder, err) &&
                compare_folder(&folder, err);
    mem_free(folder.rows);
    mem_free(folder.listed);
    mem_free(folder.gone);
    return fine;
}

bool rebuild_packs(Rebuild *rebuild, Err *err)
{
    const RebuildParams *params = rebuild->params;
    if (!import_indexes(rebuild, err))
        return false;
    for (unsigned first = 0; first < 256; first++)
        if (!params->go_on(params->ctx, "packs", first, 256, err) ||
            !check_folder(rebuild, first, err))
            return false;
    return true;
}

typedef struct Dead {
    const Rebuild *rebuild;
    uint64_t count;
} Dead;

static bool call_dead(Catalog *catalog, void *ctx, Err *err)
{
    Dead *dead = ctx;
    return catalog_rebuild_dead(catalog, &dead->rebuild->who, &dead->count, err);
}

/* A backup that did not come back may need any of them. */
bool rebuild_missed(Rebuild *rebuild, Err *err)
{
    RebuildCounts *counts = &rebuild->counts;
    Dead dead = {.rebuild = rebuild};
    if (counts->bad + counts->lost == 0 &&
        !patient_call(rebuild->params->catalog, call_dead, &dead, err))
        return false;
    counts->dead = dead.count;
    counts->gone -= dead.count < counts->gone ? dead.count : counts->gone;
    if (counts->gone > 0)
        rebuild_find(rebuild, "gone", "%llu packs that should be there are not",
                     (unsigned long long)counts->gone);
    return true;
}

/* --- the locator ---------------------------------------------------------------------------- */

typedef struct RebuildLocator {
    RepoLocator base;
    Rebuild *rebuild;
} RebuildLocator;

typedef struct Find {
    const Rebuild *rebuild;
    const ChunkId *ids;
    size_t count;
    const Uuid *without;
    ChunkPlace *places;
} Find;

static bool call_find(Catalog *catalog, void *ctx, Err *err)
{
    Find *find = ctx;
    return catalog_rebuild_find(catalog, &find->rebuild->who, find->ids, find->count, find->without,
                                find->places, err);
}

static bool find_chunks(RepoLocator *l, const ChunkId *ids, size_t count, ChunkPlace *places,
                        Err *err)
{
    Rebuild *rebuild = ((RebuildLocator *)l)->rebuild;
    Find find = {rebuild, ids, count, NULL, places};
    return patient_call(rebuild->params->catalog, call_find, &find, err);
}

static bool find_again(RepoLocator *l, const Uuid *object, const ChunkId *id, ChunkPlace *place,
                       Err *err)
{
    Rebuild *rebuild = ((RebuildLocator *)l)->rebuild;
    Find find = {rebuild, id, 1, object, place};
    return patient_call(rebuild->params->catalog, call_find, &find, err);
}

static void close_locator(RepoLocator *l)
{
    mem_free(l);
}

RepoLocator *rebuild_locator(Rebuild *rebuild)
{
    static const RepoLocatorOps ops = {find_chunks, find_again, close_locator};
    RebuildLocator *locator = mem_new(RebuildLocator);
    *locator = (RebuildLocator){.base = {&ops}, .rebuild = rebuild};
    return &locator->base;
}
