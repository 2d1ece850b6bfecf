/* SPDX-License-Identifier: Apache-2.0 */
#include "common/codec/grant.h"

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/rand.h"

#include <stdlib.h>
#include <sys/mman.h>

/* magic 4 | version | algorithm 1 | id 16 | key set id 16 | backup 16 | until u64 | rows u32 | box
 * 80 | gcm(key in the box, everything before | host, rows). Row: pack id 16 | ordinal u32 | key 32,
 * ascending; an object's is the first 16 bytes of sha256(slots) | 0xffffffff | key. */
enum {
    AT_ID = DISK_HEAD,
    AT_SET = AT_ID + 16,
    AT_BACKUP = AT_SET + 16,
    AT_UNTIL = AT_BACKUP + 16,
    AT_ROWS = AT_UNTIL + 8,
    AT_BOX = AT_ROWS + 4,
    HEAD = AT_BOX + SEAL_BOX,
    NAME = 16 + 4,
};
#define OF_OBJECT UINT32_MAX

struct GrantWriter {
    Buf rows;
};

struct Grant {
    uint8_t *rows;
    size_t count, bytes;
};

GrantWriter *grant_writer_new(void)
{
    return mem_new(GrantWriter);
}

/* Names sort as bytes: the ordinal's greatest byte first. */
static void name_of(const uint8_t id[16], uint32_t ordinal, uint8_t out[NAME])
{
    memcpy(out, id, 16);
    for (unsigned i = 0; i < 4; i++)
        out[16 + i] = (uint8_t)(ordinal >> (24 - 8 * i));
}

static void object_name(Slice slots, uint8_t out[NAME])
{
    Sha256 hash;
    hash_sha256(slots, &hash);
    name_of(hash.bytes, OF_OBJECT, out);
}

/* Never through realloc: a copy of keys would stay behind. */
static void add_row(GrantWriter *writer, const uint8_t name[NAME], const uint8_t key[SEAL_KEY])
{
    Buf *rows = &writer->rows;
    if (rows->room - rows->len < GRANT_ROW) {
        Buf wider = {0};
        buf_reserve(&wider, rows->len * 2 + 1024 * (size_t)GRANT_ROW);
        buf_add(&wider, rows->at, rows->len);
        if (rows->len > 0)
            explicit_bzero(rows->at, rows->len);
        buf_free(rows);
        *rows = wider;
    }
    buf_add(rows, name, NAME);
    buf_add(rows, key, SEAL_KEY);
}

void grant_add_chunk(GrantWriter *writer, const Uuid *pack, uint32_t ordinal,
                     const uint8_t key[SEAL_KEY])
{
    uint8_t name[NAME];
    name_of(pack->bytes, ordinal, name);
    add_row(writer, name, key);
}

void grant_add_object(GrantWriter *writer, Slice slots, const uint8_t key[SEAL_KEY])
{
    uint8_t name[NAME];
    object_name(slots, name);
    add_row(writer, name, key);
}

size_t grant_count(const GrantWriter *writer)
{
    return writer->rows.len / GRANT_ROW;
}

static int compare_rows(const void *a, const void *b)
{
    return memcmp(a, b, NAME);
}

static void add_le(Buf *out, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        buf_add_byte(out, (uint8_t)(value >> (8 * i)));
}

static uint64_t le_at(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static void context_of(Slice head, const char *host, Buf *out)
{
    buf_add_slice(out, head);
    buf_add(out, host, strlen(host));
}

bool grant_seal(GrantWriter *writer, const GrantFacts *facts, const uint8_t to[SEAL_PUBLIC],
                Buf *out, Err *err)
{
    uint8_t key[SEAL_KEY], box[SEAL_BOX];
    scoped(buf_free) Buf context = {0};
    size_t start = out->len, len = writer->rows.len;
    if (HEAD + len + SEAL_TAG > GRANT_MOST)
        return err_set(err, ERR_FULL, "grant.large",
                       "the backup has %zu chunks, more than one grant holds: restore it on a host "
                       "with a reader key",
                       len / GRANT_ROW);
    if (len > 0)
        qsort(writer->rows.at, len / GRANT_ROW, GRANT_ROW, compare_rows);
    rand_bytes(key, sizeof key);
    seal_box(to, key, box);
    buf_add(out, disk_magic(DISK_GRANT), DISK_MAGIC);
    buf_add_byte(out, disk_version(DISK_GRANT));
    buf_add_byte(out, DISK_SEALED);
    buf_add(out, facts->id.bytes, 16);
    buf_add(out, facts->set_id.bytes, 16);
    buf_add(out, facts->backup.bytes, 16);
    add_le(out, (uint64_t)facts->until_s, 8);
    add_le(out, len / GRANT_ROW, 4);
    buf_add(out, box, sizeof box);
    context_of((Slice){out->at + start, HEAD}, facts->host, &context);
    uint8_t *at = buf_extend(out, len + SEAL_TAG);
    seal_encrypt(key, buf_slice(&context), buf_slice(&writer->rows), at);
    explicit_bzero(key, sizeof key);
    return true;
}

void grant_writer_free(GrantWriter *writer)
{
    if (writer == NULL)
        return;
    if (writer->rows.len > 0)
        explicit_bzero(writer->rows.at, writer->rows.len);
    buf_free(&writer->rows);
    mem_free(writer);
}

/* --- opening ------------------------------------------------------------------------------------
 */

static bool check_face(Slice sealed, const GrantFacts *expected, int64_t now_s, Err *err)
{
    uint8_t algorithm;
    if (!disk_check(sealed, DISK_GRANT, &algorithm, err))
        return false;
    if (algorithm != DISK_SEALED || sealed.len < HEAD + SEAL_TAG || sealed.len > GRANT_MOST ||
        sealed.len != HEAD + le_at(sealed.at + AT_ROWS, 4) * GRANT_ROW + SEAL_TAG)
        return err_set(err, ERR_CORRUPT, "grant.damaged", "a grant is damaged: ask for a new one");
    if (memcmp(sealed.at + AT_ID, expected->id.bytes, 16) != 0 ||
        memcmp(sealed.at + AT_SET, expected->set_id.bytes, 16) != 0 ||
        memcmp(sealed.at + AT_BACKUP, expected->backup.bytes, 16) != 0)
        return err_set(err, ERR_DENIED, "grant.other",
                       "the grant is of another backup or key set, or not the one that was named");
    return now_s < (int64_t)le_at(sealed.at + AT_UNTIL, 8) ||
           err_set(err, ERR_DENIED, "grant.expired", "the grant is over: ask for a new one");
}

bool grant_open(Grant **out, Slice sealed, const GrantFacts *expected, int64_t now_s,
                const uint8_t secret[SEAL_SECRET], Err *err)
{
    uint8_t key[SEAL_KEY];
    scoped(buf_free) Buf context = {0};
    Err why = {0};
    *out = NULL;
    if (!check_face(sealed, expected, now_s, err))
        return false;
    Grant *grant = mem_new(Grant);
    grant->count = (size_t)le_at(sealed.at + AT_ROWS, 4);
    grant->bytes = grant->count * GRANT_ROW;
    grant->rows = mem_resize(NULL, grant->bytes + 1);
    madvise(grant->rows, grant->bytes, MADV_DONTDUMP);
    context_of((Slice){sealed.at, HEAD}, expected->host, &context);
    bool done = seal_unbox(secret, sealed.at + AT_BOX, key, &why) &&
                seal_decrypt(key, buf_slice(&context), (Slice){sealed.at + HEAD, sealed.len - HEAD},
                             grant->rows, &why);
    explicit_bzero(key, sizeof key);
    if (done) {
        *out = grant;
        return true;
    }
    grant_free(grant);
    return err_set(err, ERR_DENIED, "grant.not_yours",
                   "the grant does not open with this host's key: it is for another host, or for "
                   "this one before it was enrolled again");
}

static bool find(const Grant *grant, const uint8_t name[NAME], uint8_t key[SEAL_KEY])
{
    const uint8_t *row = grant->count == 0
                             ? NULL
                             : bsearch(name, grant->rows, grant->count, GRANT_ROW, compare_rows);
    if (row != NULL)
        memcpy(key, row + NAME, SEAL_KEY);
    return row != NULL;
}

bool grant_chunk_key(const Grant *grant, const Uuid *pack, uint32_t ordinal, uint8_t key[SEAL_KEY])
{
    uint8_t name[NAME];
    name_of(pack->bytes, ordinal, name);
    return ordinal != OF_OBJECT && find(grant, name, key);
}

bool grant_object_key(const Grant *grant, Slice slots, uint8_t key[SEAL_KEY])
{
    uint8_t name[NAME];
    object_name(slots, name);
    return find(grant, name, key);
}

void grant_free(Grant *grant)
{
    if (grant == NULL)
        return;
    if (grant->rows != NULL)
        explicit_bzero(grant->rows, grant->bytes);
    mem_free(grant->rows);
    mem_free(grant);
}
