/* SPDX-License-Identifier: Apache-2.0 */
#include "common/repo/pack.h"

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/rand.h"

#include <stdio.h>

/* Byte offsets of the header's fixed part; protocol/README.md draws the whole. */
enum {
    AT_KIND = DISK_HEAD,
    AT_SLOTS = AT_KIND + 1,
    AT_SET = AT_SLOTS + 1,
    AT_PACK = AT_SET + 16,
    FIXED = AT_PACK + 16,
    COMMITMENT = 32,
    HEADER_MOST = FIXED + DISK_READERS_MOST * DISK_SLOT + COMMITMENT,
    ROW = 32 + 1 + 8 + 4 + 4, /* of the table: id, codec, offset, stored, plain */
    END = DISK_MAGIC + 4 + 4, /* magic, rows, bytes of the sealed table */
    CHUNKS_MOST = 1 << 20,
};

struct PackWriter {
    const Keyring *keyring;
    StorePut *put;
    PackKind kind;
    Uuid object;
    Uuid pack;
    uint8_t key[SEAL_KEY];
    HashSha256 *hash;
    uint64_t bytes;
    ChunkRow *rows;
    size_t count;
    size_t room;
    Buf sealed; /* of the chunk being written */
};

struct PackReader {
    const Keyring *keyring;
    Store *store;
    PackKind kind;
    Uuid object;
    Uuid pack;
    uint8_t key[SEAL_KEY];
    bool plain;
    bool granted; /* key is not known: a grant has those of chunks */
    char name[PACK_NAME];
};

void pack_name(const Uuid *object, char out[PACK_NAME])
{
    char text[UUID_TEXT];
    uuid_text(object, text);
    snprintf(out, PACK_NAME, "packs/%.2s/%s", text, text);
}

static void add_le32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t le32_at(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t le64_at(const uint8_t *at)
{
    return (uint64_t)le32_at(at) | (uint64_t)le32_at(at + 4) << 32;
}

/* HKDF info "chunk" | ordinal | id | codec. */
static void chunk_key(const uint8_t pack_key[SEAL_KEY], const ChunkRow *row, uint8_t out[SEAL_KEY])
{
    uint8_t info[5 + 4 + 32 + 1] = "chunk";
    add_le32(info + 5, row->ordinal);
    memcpy(info + 9, row->id.bytes, 32);
    info[41] = row->codec;
    seal_derive(pack_key, (Slice){info, sizeof info}, out);
}

enum { CHUNK_AD = 16 + 16 + 4 + 1 + 1 + 4 + 32 };
/* key set | pack | ordinal | kind | codec | plain length | id: a chunk opens in its place only. */
static void chunk_ad(const Keyring *keyring, const Uuid *pack, PackKind kind, const ChunkRow *row,
                     uint8_t out[CHUNK_AD])
{
    Uuid set = keyring_set_id(keyring);
    memcpy(out, set.bytes, 16);
    memcpy(out + 16, pack->bytes, 16);
    add_le32(out + 32, row->ordinal);
    out[36] = (uint8_t)kind;
    out[37] = row->codec;
    add_le32(out + 38, row->plain);
    memcpy(out + 42, row->id.bytes, 32);
}

static void table_key(const uint8_t pack_key[SEAL_KEY], uint8_t out[SEAL_KEY])
{
    seal_derive(pack_key, (Slice){(const uint8_t *)"table", 5}, out);
}

enum { TABLE_AD = 16 + 16 + 1 + 4 };
static void table_ad(const Keyring *keyring, const Uuid *pack, PackKind kind, size_t count,
                     uint8_t out[TABLE_AD])
{
    Uuid set = keyring_set_id(keyring);
    memcpy(out, set.bytes, 16);
    memcpy(out + 16, pack->bytes, 16);
    out[32] = (uint8_t)kind;
    add_le32(out + 33, (uint32_t)count);
}

/* --- writing ------------------------------------------------------------------------------------
 */

static bool emit(PackWriter *writer, Slice bytes, Err *err)
{
    hash_sha256_add(writer->hash, bytes);
    writer->bytes += bytes.len;
    return store_put_write(writer->put, bytes, err);
}

static bool write_header(PackWriter *writer, Err *err)
{
    scoped(buf_free) Buf header = {0};
    Sha256 commitment;
    bool plain = keyring_plain(writer->keyring);
    Uuid set = keyring_set_id(writer->keyring);
    buf_add(&header, disk_magic(DISK_PACK), DISK_MAGIC);
    buf_add_byte(&header, disk_version(DISK_PACK));
    buf_add_byte(&header, plain ? DISK_PLAIN : DISK_SEALED);
    buf_add_byte(&header, (uint8_t)writer->kind);
    buf_add_byte(&header, (uint8_t)keyring_slots(writer->keyring));
    buf_add(&header, set.bytes, sizeof set.bytes);
    buf_add(&header, writer->pack.bytes, sizeof writer->pack.bytes);
    keyring_seal(writer->keyring, writer->key, &header);
    hash_hmac_sha256((Slice){writer->key, SEAL_KEY}, buf_slice(&header), &commitment);
    buf_add(&header, commitment.bytes, COMMITMENT);
    return emit(writer, buf_slice(&header), err);
}

bool pack_begin(PackWriter **out, const Keyring *keyring, Store *store, PackKind kind,
                const Uuid *object, const Uuid *pack, Err *err)
{
    char name[PACK_NAME];
    *out = NULL;
    if (!keyring_can_write(keyring))
        return err_set(err, ERR_DENIED, "repo.no_writer", "this host has no writer key of %s",
                       keyring_set(keyring));
    if (!keyring_may_seal(keyring, err))
        return false;
    PackWriter *writer = mem_new(PackWriter);
    *writer = (PackWriter){.keyring = keyring, .kind = kind, .object = *object, .pack = *pack};
    writer->hash = hash_sha256_new();
    if (!keyring_plain(keyring))
        rand_bytes(writer->key, SEAL_KEY); /* a plain pack's key is zeros: its checks find damage */
    pack_name(object, name);
    if (!store_put_begin(store, name, &writer->put, err) || !write_header(writer, err)) {
        pack_free(writer);
        return false;
    }
    *out = writer;
    return true;
}

bool pack_add(PackWriter *writer, const ChunkId *id, uint8_t codec, Slice coded, size_t plain_len,
              Err *err)
{
    uint8_t key[SEAL_KEY];
    uint8_t ad[CHUNK_AD];
    if (plain_len > DISK_CHUNK_MOST || writer->count == CHUNKS_MOST)
        return err_set(err, ERR_BUG, "pack.chunk", "a chunk of %zu bytes as number %zu", plain_len,
                       writer->count);
    if (writer->count == writer->room) {
        writer->room = writer->room == 0 ? 64 : writer->room * 2;
        writer->rows = mem_resize(writer->rows, writer->room * sizeof *writer->rows);
    }
    ChunkRow *row = &writer->rows[writer->count];
    *row = (ChunkRow){.id = *id,
                      .ordinal = (uint32_t)writer->count,
                      .codec = codec,
                      .offset = writer->bytes,
                      .stored = (uint32_t)(coded.len + SEAL_TAG),
                      .plain = (uint32_t)plain_len};
    if (keyring_plain(writer->keyring))
        row->stored = (uint32_t)coded.len;
    else {
        buf_clear(&writer->sealed);
        uint8_t *at = buf_extend(&writer->sealed, row->stored);
        chunk_key(writer->key, row, key);
        chunk_ad(writer->keyring, &writer->pack, writer->kind, row, ad);
        seal_encrypt(key, (Slice){ad, sizeof ad}, coded, at);
        coded = buf_slice(&writer->sealed);
        explicit_bzero(key, sizeof key);
    }
    writer->count++;
    return emit(writer, coded, err);
}

uint64_t pack_bytes(const PackWriter *writer)
{
    return writer->bytes;
}

size_t pack_chunks(const PackWriter *writer)
{
    return writer->count;
}

static bool write_table(PackWriter *writer, Err *err)
{
    scoped(buf_free) Buf table = {0};
    scoped(buf_free) Buf sealed = {0};
    uint8_t key[SEAL_KEY];
    uint8_t ad[TABLE_AD];
    for (size_t i = 0; i < writer->count; i++) {
        const ChunkRow *row = &writer->rows[i];
        buf_add(&table, row->id.bytes, sizeof row->id.bytes);
        buf_add_byte(&table, row->codec);
        buf_add_le64(&table, row->offset);
        buf_add_le32(&table, row->stored);
        buf_add_le32(&table, row->plain);
    }
    if (keyring_plain(writer->keyring))
        buf_add_slice(&sealed, buf_slice(&table));
    else {
        table_key(writer->key, key);
        table_ad(writer->keyring, &writer->pack, writer->kind, writer->count, ad);
        seal_encrypt(key, (Slice){ad, sizeof ad}, buf_slice(&table),
                     buf_extend(&sealed, table.len + SEAL_TAG));
    }
    size_t sealed_len = sealed.len;
    buf_add_le32(&sealed, (uint32_t)writer->count);
    buf_add_le32(&sealed, (uint32_t)sealed_len);
    buf_add(&sealed, disk_magic(DISK_PACK_END), DISK_MAGIC);
    return emit(writer, buf_slice(&sealed), err);
}

bool pack_finish(PackWriter *writer, PackRow *row, Err *err)
{
    if (!write_table(writer, err))
        return false;
    StorePut *put = writer->put;
    writer->put = NULL; /* finish frees it, whatever comes of it */
    if (!store_put_finish(put, err))
        return false;
    *row = (PackRow){.object = writer->object,
                     .pack = writer->pack,
                     .kind = writer->kind,
                     .bytes = writer->bytes,
                     .chunks = writer->rows,
                     .chunk_count = writer->count};
    hash_sha256_end(writer->hash, &row->sha256);
    return true;
}

void pack_free(PackWriter *writer)
{
    if (writer == NULL)
        return;
    store_put_abort(writer->put);
    hash_sha256_free(writer->hash);
    buf_free(&writer->sealed);
    mem_free(writer->rows);
    explicit_bzero(writer, sizeof *writer);
    mem_free(writer);
}

/* --- reading ------------------------------------------------------------------------------------
 */

static bool damaged(const PackReader *reader, Err *err, const char *what)
{
    return err_set(err, ERR_CORRUPT, "repo.damaged", "%s is damaged: %s", reader->name, what);
}

/* Slots, commitment, key: nothing of a pack is opened before its key is known to be its own. */
static bool open_key(PackReader *reader, Slice header, Err *err)
{
    Sha256 commitment;
    size_t slots = (size_t)header.at[AT_SLOTS] * DISK_SLOT;
    reader->granted = !reader->plain && keyring_granted(reader->keyring);
    if (reader->granted) /* each chunk's key binds its pack; its content is named again */
        return true;
    if (!reader->plain &&
        !keyring_unseal(reader->keyring, (Slice){header.at + FIXED, slots}, reader->key, err))
        return err_note(err, "%s", reader->name);
    hash_hmac_sha256((Slice){reader->key, SEAL_KEY}, (Slice){header.at, FIXED + slots},
                     &commitment);
    return hash_equal(commitment.bytes, header.at + FIXED + slots, COMMITMENT) ||
           damaged(reader, err, "its key is not the one it commits to");
}

static bool check_header(PackReader *reader, Slice header, const Uuid *expected, Err *err)
{
    uint8_t algorithm;
    Uuid set = keyring_set_id(reader->keyring);
    if (!disk_check(header, DISK_PACK, &algorithm, err))
        return err_note(err, "%s", reader->name);
    reader->plain = algorithm == DISK_PLAIN;
    if (reader->plain != keyring_plain(reader->keyring))
        return err_set(err, ERR_CORRUPT, "repo.downgraded",
                       "%s is %ssealed, which this key set does not allow", reader->name,
                       reader->plain ? "not " : "");
    if (algorithm > DISK_SEALED)
        return damaged(reader, err, "its algorithm is not known");
    if (memcmp(header.at + AT_SET, set.bytes, sizeof set.bytes) != 0)
        return err_set(err, ERR_CORRUPT, "repo.key_mismatch", "%s belongs to another key set",
                       reader->name);
    reader->kind = (PackKind)header.at[AT_KIND];
    memcpy(reader->pack.bytes, header.at + AT_PACK, sizeof reader->pack.bytes);
    if (reader->kind != PACK_DATA && reader->kind != PACK_META)
        return damaged(reader, err, "its kind is not known");
    if (expected != NULL && !uuid_equal(expected, &reader->pack))
        return damaged(reader, err, "it is another pack than the catalogue says");
    return true;
}

bool pack_open(PackReader **out, const Keyring *keyring, Store *store, const Uuid *object,
               const Uuid *expected, Err *err)
{
    uint8_t header[HEADER_MOST];
    PackReader *reader = mem_new(PackReader);
    *reader = (PackReader){.keyring = keyring, .store = store, .object = *object};
    pack_name(object, reader->name);
    bool done = store_get_range(store, reader->name, 0, FIXED, header, err);
    if (done && header[AT_SLOTS] > DISK_READERS_MOST)
        done = damaged(reader, err, "its header");
    size_t rest = done ? (size_t)header[AT_SLOTS] * DISK_SLOT + COMMITMENT : 0;
    done = done && store_get_range(store, reader->name, FIXED, rest, header + FIXED, err) &&
           check_header(reader, (Slice){header, FIXED + rest}, expected, err) &&
           open_key(reader, (Slice){header, FIXED + rest}, err);
    if (!done) {
        pack_close(reader);
        reader = NULL;
    }
    *out = reader;
    return done;
}

static bool check_id(const PackReader *reader, const ChunkRow *row, const uint8_t *plain, Err *err)
{
    ChunkId id;
    keyring_chunk_id(reader->keyring, (Slice){plain, row->plain}, &id);
    return memcmp(id.bytes, row->id.bytes, sizeof id.bytes) == 0 ||
           damaged(reader, err, "a chunk's content is not what its name says");
}

static bool check_lengths(const PackReader *reader, const ChunkRow *row, Err *err)
{
    size_t tag = reader->plain ? 0 : SEAL_TAG;
    return (row->plain <= DISK_CHUNK_MOST && row->stored >= tag &&
            row->stored <= codec_bound(DISK_CHUNK_MOST) + tag) ||
           damaged(reader, err, "a chunk's length");
}

/* coded: room for what the seal holds. */
static bool open_stored(const PackReader *reader, CodecWork *work, const ChunkRow *row,
                        const uint8_t *stored, uint8_t *coded, uint8_t *plain, Err *err)
{
    uint8_t key[SEAL_KEY];
    uint8_t ad[CHUNK_AD];
    Slice open = {stored, row->stored};
    if (!reader->plain) {
        if (!reader->granted)
            chunk_key(reader->key, row, key);
        else if (!keyring_chunk_key(reader->keyring, &reader->pack, row->ordinal, key, err))
            return err_note(err, "%s", reader->name);
        chunk_ad(reader->keyring, &reader->pack, reader->kind, row, ad);
        if (!seal_decrypt(key, (Slice){ad, sizeof ad}, open, coded, err))
            return err_note(err, "%s, chunk %u", reader->name, row->ordinal);
        open = (Slice){coded, row->stored - SEAL_TAG};
    }
    if (!codec_decode(work, row->codec, open, plain, row->plain, err))
        return err_note(err, "%s, chunk %u", reader->name, row->ordinal);
    return check_id(reader, row, plain, err);
}

bool pack_chunk(const PackReader *reader, CodecWork *work, Buf *scratch, const ChunkRow *row,
                uint8_t *plain, Err *err)
{
    if (!check_lengths(reader, row, err))
        return false;
    buf_clear(scratch);
    uint8_t *stored = buf_extend(scratch, (size_t)row->stored * 2);
    return store_get_range(reader->store, reader->name, row->offset, row->stored, stored, err) &&
           open_stored(reader, work, row, stored, stored + row->stored, plain, err);
}

bool pack_chunk_read(const PackReader *reader, CodecWork *work, Buf *scratch, const ChunkRow *row,
                     const uint8_t *stored, uint8_t *plain, Err *err)
{
    if (!check_lengths(reader, row, err))
        return false;
    buf_clear(scratch);
    return open_stored(reader, work, row, stored, buf_extend(scratch, row->stored), plain, err);
}

void pack_chunk_key(const PackReader *reader, const ChunkRow *row, uint8_t out[SEAL_KEY])
{
    chunk_key(reader->key, row, out);
}

/* The sealed table's place, from the twelve bytes at the end. */
static bool find_table(const PackReader *reader, uint64_t *at, size_t *len, size_t *count, Err *err)
{
    bool found;
    uint64_t size;
    uint8_t end[END];
    size_t tag = reader->plain ? 0 : SEAL_TAG;
    if (!store_head(reader->store, reader->name, &found, &size, err))
        return false;
    if (!found || size < FIXED + COMMITMENT + END)
        return damaged(reader, err, "it is missing or cut short");
    if (!store_get_range(reader->store, reader->name, size - END, END, end, err))
        return false;
    *count = le32_at(end);
    *len = le32_at(end + 4);
    if (memcmp(end + 8, disk_magic(DISK_PACK_END), DISK_MAGIC) != 0 || *count > CHUNKS_MOST ||
        *len != *count * ROW + tag || *len > size - END)
        return damaged(reader, err, "its end");
    *at = size - END - *len;
    return true;
}

static bool open_table(const PackReader *reader, Slice sealed, size_t count, uint8_t *table,
                       Err *err)
{
    uint8_t key[SEAL_KEY];
    uint8_t ad[TABLE_AD];
    if (reader->plain) {
        memcpy(table, sealed.at, sealed.len);
        return true;
    }
    table_key(reader->key, key);
    table_ad(reader->keyring, &reader->pack, reader->kind, count, ad);
    return seal_decrypt(key, (Slice){ad, sizeof ad}, sealed, table, err) ||
           err_note(err, "the table of %s", reader->name);
}

bool pack_table(const PackReader *reader, ChunkRow **rows, size_t *count, Err *err)
{
    uint64_t at = 0;
    size_t len = 0;
    scoped(buf_free) Buf sealed = {0};
    scoped(buf_free) Buf table = {0};
    *rows = NULL;
    if (reader->granted)
        return err_set(err, ERR_DENIED, "repo.no_reader",
                       "a grant opens chunks, not the table of %s", reader->name);
    if (!find_table(reader, &at, &len, count, err))
        return false;
    buf_extend(&sealed, len);
    buf_extend(&table, *count * ROW + 1);
    if (!store_get_range(reader->store, reader->name, at, len, sealed.at, err) ||
        !open_table(reader, buf_slice(&sealed), *count, table.at, err))
        return false;
    *rows = mem_array(ChunkRow, *count);
    for (size_t i = 0; i < *count; i++) {
        const uint8_t *from = table.at + i * ROW;
        ChunkRow *row = &(*rows)[i];
        memcpy(row->id.bytes, from, 32);
        row->ordinal = (uint32_t)i;
        row->codec = from[32];
        row->offset = le64_at(from + 33);
        row->stored = le32_at(from + 41);
        row->plain = le32_at(from + 45);
    }
    return true;
}

PackKind pack_kind(const PackReader *reader)
{
    return reader->kind;
}

Uuid pack_id(const PackReader *reader)
{
    return reader->pack;
}

void pack_close(PackReader *reader)
{
    if (reader == NULL)
        return;
    explicit_bzero(reader, sizeof *reader);
    mem_free(reader);
}
