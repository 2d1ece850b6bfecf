/* SPDX-License-Identifier: Apache-2.0 */
#include "common/repo/repack.h"

#include "common/base/crashpoint.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/codec/codec.h"
#include "common/repo/index.h"
#include "common/repo/pack.h"
#include "common/repo/repo_internal.h"
#include "common/repo/verify.h"

#include <string.h>

enum { PACK_BYTES = 16 * 1024 * 1024 };

struct Repack {
    Repo *repo;
    RepoLedger *ledger;
    size_t pack_bytes;
    IndexBuilder *index;
    PackSet made;
    uint64_t *nos;
    size_t count;
    uint64_t bytes;
    PackWriter *open; /* NULL: none */
    PackKind kind;
    uint64_t open_no;
    CodecWork *work;
    Buf scratch;
    uint8_t *plain, *coded;
};

bool repack_open(Repack **out, Repo *repo, RepoLedger *ledger, size_t pack_bytes, Err *err)
{
    static const Uuid nobody;
    if (!keyring_can_read(repo_keyring(repo)) || !keyring_can_write(repo_keyring(repo)))
        return err_set(err, ERR_DENIED, "no-reader",
                       "packs are opened and sealed anew with a reader and a writer file of the "
                       "key set %s: this worker has not both",
                       keyring_set(repo_keyring(repo)));
    Repack *repack = mem_new(Repack);
    repack->repo = repo;
    repack->ledger = ledger;
    repack->pack_bytes = pack_bytes == 0 ? PACK_BYTES : pack_bytes;
    repack->index = index_builder_new(repo, ledger, &nobody);
    repack->work = codec_work_new();
    repack->plain = mem_resize(NULL, DISK_CHUNK_MOST);
    repack->coded = mem_resize(NULL, codec_bound(DISK_CHUNK_MOST));
    *out = repack;
    return true;
}

static bool begin(Repack *repack, PackKind kind, Err *err)
{
    Uuid object = rand_uuid(), pack = rand_uuid();
    if (!repack->ledger->ops->pack_begin(repack->ledger, &object, &pack, kind, &repack->open_no,
                                         err))
        return err_note(err, "announcing a pack");
    CRASHPOINT("repack.begun");
    repack->kind = kind;
    return pack_begin(&repack->open, repo_keyring(repack->repo), repo_store(repack->repo), kind,
                      &object, &pack, err) ||
           err_note(err, "starting a pack");
}

/* As a reader of another day will meet it: a pack that cannot be read back is none. */
static bool read_back(Repack *repack, const PackRow *row, Err *err)
{
    bool good;
    Err why = {0};
    if (!verify_whole(repack->repo, row, &good, &why, err))
        return false;
    if (good)
        return true;
    return err_set(err, ERR_IO, "store.lost_write",
                   "a pack does not hold a moment after it was written what was written (%.200s): "
                   "check the store's disk",
                   why.text);
}

bool repack_cut(Repack *repack, Err *err)
{
    PackRow row;
    if (repack->open == NULL)
        return true;
    if (!pack_finish(repack->open, &row, err))
        return err_note(err, "storing a pack");
    CRASHPOINT("repack.durable");
    row.pack_no = repack->open_no;
    if (!read_back(repack, &row, err) ||
        !repack->ledger->ops->pack_stage(repack->ledger, &row, err))
        return err_note(err, "staging a pack");
    CRASHPOINT("repack.staged");
    index_builder_add(repack->index, &row);
    packset_add(&repack->made, row.pack_no);
    repack->nos = mem_resize(repack->nos, (repack->count + 1) * sizeof repack->nos[0]);
    repack->nos[repack->count++] = row.pack_no;
    repack->bytes += row.bytes;
    pack_free(repack->open);
    repack->open = NULL;
    return true;
}

static bool add(Repack *repack, const ChunkRow *chunk, uint64_t *into, Err *err)
{
    size_t coded;
    uint8_t used;
    Slice plain = {repack->plain, chunk->plain};
    if (!codec_encode(repack->work, chunk->codec, 0, plain, repack->coded, &coded, &used, err))
        return false;
    Slice kept = used == CODEC_NONE ? plain : (Slice){repack->coded, coded};
    if (!pack_add(repack->open, &chunk->id, used, kept, chunk->plain, err))
        return err_note(err, "writing a pack");
    *into = repack->open_no;
    return pack_bytes(repack->open) < repack->pack_bytes || repack_cut(repack, err);
}

static bool about_object(const Err *err)
{
    return err->code == ERR_CORRUPT || err->code == ERR_MISSING;
}

/* ERR_CORRUPT of the old pack is an answer, a failure of what is written is one of the run. */
static bool move(Repack *repack, const PackReader *old, const PackRow *from, uint64_t *into,
                 bool *good, Err *why, Err *err)
{
    for (size_t i = 0; *good && i < from->chunk_count; i++) {
        const ChunkRow *chunk = &from->chunks[i];
        *good = chunk->plain > DISK_CHUNK_MOST
                    ? err_set(why, ERR_CORRUPT, "repo.damaged", "a chunk says it is too long")
                    : pack_chunk(old, repack->work, &repack->scratch, chunk, repack->plain, why);
        if (*good && repack->open == NULL && !begin(repack, from->kind, err))
            return false;
        if (*good && !add(repack, chunk, &into[i], err))
            return false;
    }
    return true;
}

bool repack_move(Repack *repack, const PackRow *from, uint64_t *into, bool *good, Err *why,
                 Err *err)
{
    PackReader *old = NULL;
    memset(why, 0, sizeof *why);
    if (repack->open != NULL && repack->kind != from->kind && !repack_cut(repack, err))
        return false;
    *good = pack_open(&old, repo_keyring(repack->repo), repo_store(repack->repo), &from->object,
                      &from->pack, why);
    bool fine = !*good || move(repack, old, from, into, good, why, err);
    pack_close(old);
    if (fine && !*good && !about_object(why)) {
        *err = *why;
        return err_note(err, "opening a pack");
    }
    return fine;
}

bool repack_finish(Repack *repack, Uuid *index, const uint64_t **packs, size_t *count, Err *err)
{
    if (!repack_cut(repack, err) || !index_builder_put(repack->index, &repack->made, index, err))
        return false;
    CRASHPOINT("repack.indexed");
    *packs = repack->nos;
    *count = repack->count;
    return true;
}

uint64_t repack_bytes(const Repack *repack)
{
    return repack->bytes;
}

void repack_close(Repack *repack)
{
    if (repack == NULL)
        return;
    pack_free(repack->open);
    index_builder_free(repack->index);
    packset_free(&repack->made);
    codec_work_free(repack->work);
    buf_free(&repack->scratch);
    mem_free(repack->nos);
    mem_free(repack->plain);
    mem_free(repack->coded);
    mem_free(repack);
}
