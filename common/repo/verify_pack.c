/* SPDX-License-Identifier: Apache-2.0
 * verify_pack.c — whole objects looked at: their bytes hashed, the chunks in them opened.
 * Each object is read once, from its first byte to its last: what is hashed is what is opened. */
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/repo/pack.h"
#include "common/repo/verify_internal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { READ_PART = 1024 * 1024 };

/* An object on its way past: the bytes from `from` on that were read and are still wanted. */
typedef struct Window {
    Store *store;
    const char *name;
    uint64_t size; /* of the object */
    HashSha256 *hash;
    uint64_t from;
    uint8_t *at;
    size_t len, room;
} Window;

static Window window_open(Store *store, const char *name, uint64_t size)
{
    return (Window){.store = store, .name = name, .size = size, .hash = hash_sha256_new()};
}

static void window_close(Window *window)
{
    hash_sha256_free(window->hash);
    mem_free(window->at);
}

/* Lets go of what lies before `keep`, which is not before from, and reads on to `to` at least. */
static bool window_move(Window *window, uint64_t keep, uint64_t to, Err *err)
{
    size_t past = keep - window->from < window->len ? (size_t)(keep - window->from) : window->len;
    if (past > 0 && to > window->from + window->len) {
        memmove(window->at, window->at + past, window->len - past);
        window->from += past;
        window->len -= past;
    }
    while (window->from + window->len < to) {
        uint64_t at = window->from + window->len;
        size_t part = window->size - at < READ_PART ? (size_t)(window->size - at) : READ_PART;
        if (window->room < window->len + part) {
            window->room = window->len + READ_PART;
            window->at = mem_resize(window->at, window->room);
        }
        if (!store_get_range(window->store, window->name, at, part, window->at + window->len, err))
            return false;
        hash_sha256_add(window->hash, (Slice){window->at + window->len, part});
        window->len += part;
        if (window->from + window->len <= keep) {
            window->from += window->len;
            window->len = 0;
        }
    }
    return true;
}

/* Reads what is left of it. */
static bool window_end(Window *window, Sha256 *out, Err *err)
{
    while (window->from + window->len < window->size) {
        uint64_t behind = window->from + window->len;
        uint64_t to = window->size - behind < READ_PART ? window->size : behind + READ_PART;
        if (!window_move(window, behind, to, err))
            return false;
    }
    hash_sha256_end(window->hash, out);
    return true;
}

bool verify_hash(Store *store, const char *name, uint64_t bytes, Sha256 *out, Err *err)
{
    Window window = window_open(store, name, bytes);
    bool good = window_end(&window, out, err);
    window_close(&window);
    return good;
}

bool verify_about_object(const Err *err)
{
    return err->code == ERR_CORRUPT || err->code == ERR_MISSING;
}

/* Is the object there, and as long as it should be? */
static bool look_up(Repo *repo, const PackRow *row, const char *name, bool *good, Err *why,
                    Err *err)
{
    bool found;
    uint64_t size;
    *good = false;
    memset(why, 0, sizeof *why);
    if (!store_head(repo_store(repo), name, &found, &size, err))
        return err_note(err, "looking at %s", name);
    if (!found)
        err_set(why, ERR_CORRUPT, "repo.pack_missing",
                "%s is not in the store any more: take another copy of the backup", name);
    else if (size != row->bytes)
        err_set(why, ERR_CORRUPT, "repo.pack_size",
                "%s has %llu bytes instead of %llu: take another copy of the backup", name,
                (unsigned long long)size, (unsigned long long)row->bytes);
    *good = found && size == row->bytes;
    return true;
}

static bool same_bytes(const PackRow *row, const char *name, const Sha256 *sha256, Err *why)
{
    return memcmp(sha256, &row->sha256, sizeof *sha256) == 0 ||
           err_set(why, ERR_CORRUPT, "repo.pack_hash",
                   "%s does not hold the bytes that were written: take another copy of the backup",
                   name);
}

bool verify_stored(Repo *repo, const PackRow *row, bool *good, Err *why, Err *err)
{
    char name[PACK_NAME];
    Sha256 sha256;
    pack_name(&row->object, name);
    if (!look_up(repo, row, name, good, why, err) || !*good)
        return err->code == ERR_NONE;
    *good = verify_hash(repo_store(repo), name, row->bytes, &sha256, why);
    if (!*good && !verify_about_object(why)) {
        *err = *why;
        return err_note(err, "reading %s", name);
    }
    *good = *good && same_bytes(row, name, &sha256, why);
    return true;
}

/* Every chunk of it as it passes by. Rows lie as they were written, one behind the other. */
static bool open_passing(const PackReader *reader, const PackRow *row, Window *window, Err *why)
{
    scoped(buf_free) Buf scratch = {0};
    CodecWork *work = codec_work_new();
    uint8_t *plain = mem_resize(NULL, DISK_CHUNK_MOST);
    uint64_t behind = 0;
    bool good = true;
    for (size_t i = 0; good && i < row->chunk_count; i++) {
        const ChunkRow *chunk = &row->chunks[i];
        good = (chunk->offset >= behind && chunk->offset <= row->bytes &&
                chunk->stored <= row->bytes - chunk->offset) ||
               err_set(why, ERR_CORRUPT, "repo.damaged", "chunk %u does not lie in it where it may",
                       chunk->ordinal);
        if (!good)
            break;
        behind = chunk->offset + chunk->stored;
        good = window_move(window, chunk->offset, behind, why) &&
               pack_chunk_read(reader, work, &scratch, chunk,
                               window->at + (chunk->offset - window->from), plain, why);
    }
    mem_free(plain);
    codec_work_free(work);
    return good;
}

static bool open_whole(Repo *repo, const PackRow *row, const char *name, Err *why)
{
    Sha256 sha256;
    PackReader *reader = NULL;
    if (!pack_open(&reader, repo_keyring(repo), repo_store(repo), &row->object, &row->pack, why))
        return false;
    Window window = window_open(repo_store(repo), name, row->bytes);
    bool good = open_passing(reader, row, &window, why) && window_end(&window, &sha256, why) &&
                same_bytes(row, name, &sha256, why);
    window_close(&window);
    pack_close(reader);
    return good;
}

bool verify_whole(Repo *repo, const PackRow *row, bool *good, Err *why, Err *err)
{
    char name[PACK_NAME];
    pack_name(&row->object, name);
    if (!look_up(repo, row, name, good, why, err) || !*good)
        return err->code == ERR_NONE;
    *good = open_whole(repo, row, name, why);
    if (*good || verify_about_object(why)) {
        if (!*good)
            err_note(why, "%s", name);
        return true;
    }
    *err = *why;
    return err_note(err, "opening %s", name);
}

unsigned verify_processors(void)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online < 1 ? 1 : online > VERIFY_THREADS ? VERIFY_THREADS : (unsigned)online;
}

void verify_together(unsigned threads, void *(*run)(void *), void *ctx)
{
    pthread_t others[VERIFY_THREADS];
    unsigned started = 0;
    while (started + 1 < threads && pthread_create(&others[started], NULL, run, ctx) == 0)
        started++;
    run(ctx);
    while (started > 0)
        pthread_join(others[--started], NULL);
}

typedef struct Looks {
    Repo *repo;
    VerifyLook *looks;
    size_t count;
    atomic_size_t next;
    atomic_bool failed;
    Err failure; /* of the one that set `failed` */
} Looks;

static void *look(void *ctx)
{
    Looks *all = ctx;
    size_t at;
    while (!all->failed && (at = all->next++) < all->count) {
        Err err = {0};
        VerifyLook *one = &all->looks[at];
        if (one->whole ? verify_whole(all->repo, &one->row, &one->good, &one->why, &err)
                       : verify_stored(all->repo, &one->row, &one->good, &one->why, &err))
            continue;
        if (!atomic_exchange(&all->failed, true))
            all->failure = err;
    }
    return NULL;
}

bool verify_packs(Repo *repo, VerifyLook *looks, size_t count, Err *err)
{
    Looks all = {.repo = repo, .looks = looks, .count = count};
    unsigned threads = verify_processors();
    verify_together(count < threads ? (unsigned)count : threads, look, &all);
    if (all.failed)
        *err = all.failure;
    return !all.failed;
}
