/* SPDX-License-Identifier: Apache-2.0 */
#include "common/repo/survey.h"

#include "common/base/mem.h"
#include "common/repo/index.h"
#include "common/repo/pack.h"
#include "common/repo/repo_collect.h"
#include "common/repo/repo_internal.h"

#include <stdio.h>
#include <stdlib.h>

/* --- names ---------------------------------------------------------------------------------- */

typedef struct Listing {
    SurveyPack *rows;
    size_t count, room;
} Listing;

static bool note_row(void *ctx, const char *name, uint64_t size, Err *err)
{
    Listing *listing = ctx;
    const char *slash = strrchr(name, '/');
    Uuid id;
    if (slash == NULL || !uuid_parse(text_of(slash + 1), &id, err)) {
        *err = (Err){0};
        return true; /* what is not named like ours is not ours */
    }
    if (listing->count == listing->room) {
        listing->room = listing->room == 0 ? 64 : listing->room * 2;
        listing->rows = mem_resize(listing->rows, listing->room * sizeof listing->rows[0]);
    }
    listing->rows[listing->count++] = (SurveyPack){id, size};
    return true;
}

static int compare_rows(const void *a, const void *b)
{
    const SurveyPack *left = a, *right = b;
    return uuid_compare(&left->object, &right->object);
}

static void sort_once(Listing *listing)
{
    size_t kept = 0;
    if (listing->count > 0)
        qsort(listing->rows, listing->count, sizeof listing->rows[0], compare_rows);
    for (size_t i = 0; i < listing->count; i++)
        if (kept == 0 || !uuid_equal(&listing->rows[i].object, &listing->rows[kept - 1].object))
            listing->rows[kept++] = listing->rows[i];
    listing->count = kept;
}

bool survey_names(Repo *repo, const char *folder, Uuid **ids, size_t *count, Err *err)
{
    Listing listing = {0};
    bool good = store_list_names(repo_store(repo), folder, NULL, note_row, &listing, err);
    sort_once(&listing);
    *count = good ? listing.count : 0;
    *ids = mem_array(Uuid, *count);
    for (size_t i = 0; i < *count; i++)
        (*ids)[i] = listing.rows[i].object;
    mem_free(listing.rows);
    return good || err_note(err, "listing %s", folder);
}

/* --- findings ------------------------------------------------------------------------------- */

/* Is this one object the trouble, or the way to all of them? */
static bool only_this(Repo *repo, const Err *err)
{
    return err->code == ERR_CORRUPT || err->code == ERR_INVALID ||
           strcmp(err->cause, "repo.no_manifest") == 0 || strcmp(err->cause, "store.large") == 0 ||
           (strcmp(err->cause, "repo.no_reader") == 0 && keyring_can_read(repo_keyring(repo)));
}

/* good: what the reading returned. Turns a failure that is about the object into a finding. */
static bool judge(Repo *repo, bool good, bool found, SurveyFinding *finding, Err *why, Err *err)
{
    *finding = !good ? SURVEY_BAD : found ? SURVEY_WHOLE : SURVEY_ABSENT;
    if (good)
        return true;
    if (!only_this(repo, err))
        return false;
    *why = *err;
    *err = (Err){0};
    return true;
}

/* --- index ---------------------------------------------------------------------------------- */

typedef struct Keeping {
    SurveyIndex *index;
    size_t pack_room, chunk_room;
} Keeping;

static bool keep_pack(void *ctx, const PackRow *row, Err *err)
{
    (void)err;
    Keeping *keeping = ctx;
    SurveyIndex *index = keeping->index;
    if (index->pack_count == keeping->pack_room) {
        keeping->pack_room = keeping->pack_room == 0 ? 16 : keeping->pack_room * 2;
        index->packs = mem_resize(index->packs, keeping->pack_room * sizeof index->packs[0]);
    }
    if (index->chunk_count + row->chunk_count > keeping->chunk_room) {
        keeping->chunk_room = (index->chunk_count + row->chunk_count) * 2;
        index->chunks = mem_resize(index->chunks, keeping->chunk_room * sizeof index->chunks[0]);
    }
    index->packs[index->pack_count++] = *row;
    for (size_t i = 0; i < row->chunk_count; i++)
        index->chunks[index->chunk_count++] = row->chunks[i];
    return true;
}

bool survey_index(Repo *repo, const Uuid *object, SurveyIndex *out, SurveyFinding *finding,
                  Err *why, Err *err)
{
    scoped(buf_free) Buf head = {0}, body = {0};
    char name[REPO_NAME];
    bool found = false;
    *out = (SurveyIndex){.object = *object};
    Keeping keeping = {.index = out};
    repo_name("index", object, name);
    bool good =
        repo_get(repo, DISK_INDEX, name, NULL, &found, &head, &body, &out->sha256, &out->signer,
                 err) &&
        (!found || index_read(buf_slice(&head), buf_slice(&body), keep_pack, &keeping, err));
    if (good)
        out->backup = index_backup(buf_slice(&head));
    size_t at = 0;
    for (size_t i = 0; i < out->pack_count; i++) {
        out->packs[i].chunks = out->chunks + at;
        at += out->packs[i].chunk_count;
    }
    return judge(repo, good, found, finding, why, err) || err_note(err, "reading %s", name);
}

void survey_index_free(SurveyIndex *index)
{
    mem_free(index->packs);
    mem_free(index->chunks);
    *index = (SurveyIndex){0};
}

/* --- backups -------------------------------------------------------------------------------- */

/* A marker counts when a host of this key set signed it: whoever finds one owed may write it. */
static bool read_marker(Repo *repo, const Uuid *id, SurveyBackup *out, Err *why, Err *err)
{
    char name[REPO_NAME];
    Signer signer;
    Sha256 named = {0};
    bool found = false;
    repo_name("commits", id, name);
    bool good = repo_get(repo, DISK_MARKER, name, NULL, &found, NULL, NULL, NULL, &signer, err) &&
                (!found || repo_marker_get(repo, id, &found, &named, err));
    SurveyFinding finding;
    if (!judge(repo, good, found, &finding, why, err))
        return err_note(err, "reading %s", name);
    out->marked = finding == SURVEY_WHOLE && memcmp(&named, &out->sha256, sizeof named) == 0;
    if (finding == SURVEY_WHOLE && !out->marked)
        err_set(why, ERR_CORRUPT, "repo.bad_marker",
                "%s names another manifest than the one that is there", name);
    return true;
}

bool survey_backup(Repo *repo, const Uuid *id, SurveyBackup *out, SurveyFinding *finding, Err *why,
                   Err *err)
{
    bool found = true;
    *out = (SurveyBackup){0};
    bool good = repo_get_manifest_signer(repo, id, &out->body, &out->manifest, &out->sha256,
                                         &out->signer, err);
    if (!good && strcmp(err->cause, "repo.no_manifest") == 0) {
        *err = (Err){0};
        good = true;
        found = false;
    }
    if (!judge(repo, good, found, finding, why, err))
        return false;
    return *finding != SURVEY_WHOLE || read_marker(repo, id, out, why, err);
}

void survey_backup_free(SurveyBackup *backup)
{
    buf_free(&backup->body);
    *backup = (SurveyBackup){0};
}

bool survey_forgotten(Repo *repo, const Uuid *id, SurveyFinding *finding, Err *why, Err *err)
{
    bool found = false;
    bool good = repo_forgotten(repo, id, &found, err);
    return judge(repo, good, found, finding, why, err);
}

bool survey_hold(Repo *repo, const Uuid *id, RepoHold *hold, SurveyFinding *finding, Err *why,
                 Err *err)
{
    bool found = false;
    bool good = repo_hold_get(repo, id, hold, &found, err);
    return judge(repo, good, found, finding, why, err);
}

bool survey_audit(Repo *repo, const Uuid *id, RepoAudit *audit, SurveyFinding *finding, Err *why,
                  Err *err)
{
    bool found = false;
    bool good = repo_audit_get(repo, id, audit, &found, err);
    return judge(repo, good, found, finding, why, err);
}

/* --- packs ---------------------------------------------------------------------------------- */

bool survey_packs(Repo *repo, uint8_t first, SurveyPack **packs, size_t *count, Err *err)
{
    Listing listing = {0};
    char prefix[16];
    snprintf(prefix, sizeof prefix, "packs/%02x/", first);
    bool good = store_list(repo_store(repo), prefix, note_row, &listing, err);
    sort_once(&listing);
    *packs = listing.rows;
    *count = listing.count;
    if (good)
        return true;
    mem_free(listing.rows);
    *packs = NULL;
    *count = 0;
    return err_note(err, "listing %s", prefix);
}

bool survey_has_pack(Repo *repo, const Uuid *object, uint64_t bytes, bool *there, Err *err)
{
    char name[PACK_NAME];
    uint64_t size = 0;
    pack_name(object, name);
    if (!store_head(repo_store(repo), name, there, &size, err))
        return err_note(err, "looking at %s", name);
    *there = *there && size == bytes;
    return true;
}

bool survey_stray(Repo *repo, const SurveyPack *pack, PackRow *row, ChunkRow **chunks,
                  SurveyFinding *finding, Err *why, Err *err)
{
    PackReader *reader = NULL;
    char name[PACK_NAME];
    size_t count = 0;
    *chunks = NULL;
    *row = (PackRow){.object = pack->object, .bytes = pack->bytes};
    pack_name(&pack->object, name);
    bool good =
        pack_open(&reader, repo_keyring(repo), repo_store(repo), &pack->object, NULL, err) &&
        pack_table(reader, chunks, &count, err) &&
        verify_hash(repo_store(repo), name, pack->bytes, &row->sha256, err);
    if (good) {
        row->pack = pack_id(reader);
        row->kind = pack_kind(reader);
        row->chunks = *chunks;
        row->chunk_count = count;
    }
    pack_close(reader);
    return judge(repo, good, true, finding, why, err) || err_note(err, "reading %s", name);
}
