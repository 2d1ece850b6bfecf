/* SPDX-License-Identifier: Apache-2.0
 * Objects and packs as an attacker would hand them over: every byte turned, cut short, of another
 * kind, under another name, without a signature. */
#include "common/repo/object.h"
#include "common/repo/pack.h"
#include "tests/harness/repository.h"

#include "common/base/mem.h"
#include "common/base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const Slice HEAD = {(const uint8_t *)"a clear head", 12};
static const Slice BODY = {(const uint8_t *)"a sealed body", 13};

static bool opens(const Keyring *keyring, DiskObject kind, const uint8_t *own, Slice stored,
                  Err *err)
{
    Slice head;
    scoped(buf_free) Buf body = {0};
    return object_unpack(keyring, kind, own, stored, &head, &body, NULL, err) &&
           slice_equal(head, HEAD) && slice_equal(buf_slice(&body), BODY);
}

static void an_object_opens_as_it_was_made_and_names_its_signer(void **state)
{
    Repository *r = repository_new(false);
    Err err = {0};
    Slice head;
    Signer signer;
    scoped(buf_free) Buf stored = {0};
    scoped(buf_free) Buf body = {0};
    (void)state;
    assert_true(object_pack(r->keyring, DISK_INDEX, NULL, HEAD, BODY, &stored, &err));
    assert_true(object_unpack(r->keyring, DISK_INDEX, NULL, buf_slice(&stored), &head, &body,
                              &signer, &err));
    assert_true(slice_equal(head, HEAD));
    assert_true(slice_equal(buf_slice(&body), BODY));
    assert_string_equal(signer.role, "write");
    repository_free(r);
}

static void an_object_with_any_byte_changed_does_not_open(void **state)
{
    Repository *r = repository_new(false);
    Err err = {0};
    scoped(buf_free) Buf stored = {0};
    (void)state;
    assert_true(object_pack(r->keyring, DISK_MARKER, NULL, HEAD, BODY, &stored, &err));
    for (size_t i = 0; i < stored.len; i++) {
        err = (Err){0};
        stored.at[i] ^= 0x40;
        assert_false(opens(r->keyring, DISK_MARKER, NULL, buf_slice(&stored), &err));
        stored.at[i] ^= 0x40;
    }
    for (size_t len = 0; len < stored.len; len++) {
        err = (Err){0};
        assert_false(opens(r->keyring, DISK_MARKER, NULL, (Slice){stored.at, len}, &err));
    }
    repository_free(r);
}

static void an_object_is_of_its_kind_and_key_set_only(void **state)
{
    Repository *r = repository_new(false);
    Repository *other = repository_new(false);
    Repository *plain = repository_new(true);
    Err err = {0};
    scoped(buf_free) Buf stored = {0};
    scoped(buf_free) Buf bare = {0};
    (void)state;
    assert_true(object_pack(r->keyring, DISK_INDEX, NULL, HEAD, BODY, &stored, &err));
    assert_false(opens(r->keyring, DISK_MANIFEST, NULL, buf_slice(&stored), &err));
    err = (Err){0};
    assert_false(opens(other->keyring, DISK_INDEX, NULL, buf_slice(&stored), &err));
    assert_string_equal(err.cause, "repo.key_mismatch");
    /* Sealing switched off by whoever owns the bucket. */
    assert_true(object_pack(plain->keyring, DISK_INDEX, NULL, HEAD, BODY, &bare, &err));
    err = (Err){0};
    assert_false(opens(r->keyring, DISK_INDEX, NULL, buf_slice(&bare), &err));
    assert_string_equal(err.cause, "repo.downgraded");
    repository_free(r);
    repository_free(other);
    repository_free(plain);
}

static void a_writer_cannot_read_what_it_wrote(void **state)
{
    Repository *r = repository_new(false);
    Err err = {0};
    scoped(buf_free) Buf stored = {0};
    Keyring *writer = repository_keyring(r, false);
    (void)state;
    assert_true(object_pack(writer, DISK_INDEX, NULL, HEAD, BODY, &stored, &err));
    assert_false(opens(writer, DISK_INDEX, NULL, buf_slice(&stored), &err));
    assert_string_equal(err.cause, "repo.no_reader");
    err = (Err){0};
    assert_true(opens(r->keyring, DISK_INDEX, NULL, buf_slice(&stored), &err));
    keyring_close(writer);
    repository_free(r);
}

static void an_object_under_a_derived_key_needs_that_key(void **state)
{
    Repository *r = repository_new(false);
    Err err = {0};
    uint8_t own[SEAL_KEY] = {1};
    scoped(buf_free) Buf stored = {0};
    (void)state;
    assert_true(object_pack(r->keyring, DISK_PARENTS, own, HEAD, BODY, &stored, &err));
    assert_true(opens(r->keyring, DISK_PARENTS, own, buf_slice(&stored), &err));
    own[0] ^= 1;
    assert_false(opens(r->keyring, DISK_PARENTS, own, buf_slice(&stored), &err));
    repository_free(r);
}

enum { CHUNKS = 3 };

/* A small pack in the store; its bytes, rows and names. */
static void make_pack(Repository *r, Uuid *object, Uuid *pack, ChunkRow rows[CHUNKS], Buf *stored)
{
    Err err = {0};
    PackWriter *writer;
    PackRow row;
    bool found;
    char name[PACK_NAME];
    *object = rand_uuid();
    *pack = rand_uuid();
    assert_true(pack_begin(&writer, r->keyring, r->store, PACK_DATA, object, pack, &err));
    for (unsigned i = 0; i < CHUNKS; i++) {
        ChunkId id;
        Slice plain = {(const uint8_t *)"one two three four" + i, 10};
        keyring_chunk_id(r->keyring, plain, &id);
        assert_true(pack_add(writer, &id, CODEC_NONE, plain, plain.len, &err));
    }
    assert_true(pack_finish(writer, &row, &err));
    memcpy(rows, row.chunks, CHUNKS * sizeof *rows);
    pack_free(writer);
    pack_name(object, name);
    assert_true(store_get(r->store, name, 1 << 20, &found, stored, &err));
    assert_int_equal(stored->len, row.bytes);
}

/* Every chunk and the table of a pack made of these bytes. */
static bool pack_reads(Repository *r, Slice bytes, const Uuid *pack, const ChunkRow rows[CHUNKS])
{
    Err err = {0};
    Uuid object = rand_uuid();
    char name[PACK_NAME];
    PackReader *reader;
    size_t count = 0;
    ChunkRow *table = NULL;
    uint8_t plain[16];
    scoped(buf_free) Buf scratch = {0};
    CodecWork *work = codec_work_new();
    pack_name(&object, name);
    assert_true(store_put(r->store, name, bytes, &err));
    bool good = pack_open(&reader, r->keyring, r->store, &object, pack, &err);
    for (unsigned i = 0; good && i < CHUNKS; i++)
        good = pack_chunk(reader, work, &scratch, &rows[i], plain, &err);
    good = good && pack_table(reader, &table, &count, &err) && count == CHUNKS;
    for (unsigned i = 0; good && i < CHUNKS; i++)
        good = memcmp(table[i].id.bytes, rows[i].id.bytes, sizeof rows[i].id.bytes) == 0 &&
               table[i].offset == rows[i].offset && table[i].plain == rows[i].plain;
    pack_close(reader);
    codec_work_free(work);
    mem_free(table);
    assert_true(store_remove(r->store, name, &err));
    return good;
}

static void a_pack_with_any_byte_changed_is_noticed(void **state)
{
    Repository *r = repository_new(false);
    Uuid object;
    Uuid pack;
    ChunkRow rows[CHUNKS];
    scoped(buf_free) Buf stored = {0};
    (void)state;
    make_pack(r, &object, &pack, rows, &stored);
    assert_true(pack_reads(r, buf_slice(&stored), &pack, rows));
    for (size_t i = 0; i < stored.len; i++) {
        stored.at[i] ^= 0x01;
        assert_false(pack_reads(r, buf_slice(&stored), &pack, rows));
        stored.at[i] ^= 0x01;
    }
    repository_free(r);
}

static void a_pack_is_not_taken_for_another(void **state)
{
    Repository *r = repository_new(false);
    Uuid object;
    Uuid pack;
    Uuid other = rand_uuid();
    ChunkRow rows[CHUNKS];
    scoped(buf_free) Buf stored = {0};
    (void)state;
    make_pack(r, &object, &pack, rows, &stored);
    assert_false(pack_reads(r, buf_slice(&stored), &other, rows));
    ChunkRow swapped[CHUNKS] = {rows[1], rows[0], rows[2]};
    swapped[0].id = rows[0].id;
    assert_false(pack_reads(r, buf_slice(&stored), &pack, swapped));
    swapped[0] = rows[0];
    swapped[1] = rows[1];
    swapped[2].plain = DISK_CHUNK_MOST + 1;
    assert_false(pack_reads(r, buf_slice(&stored), &pack, swapped));
    repository_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_object_opens_as_it_was_made_and_names_its_signer),
        cmocka_unit_test(an_object_with_any_byte_changed_does_not_open),
        cmocka_unit_test(an_object_is_of_its_kind_and_key_set_only),
        cmocka_unit_test(a_writer_cannot_read_what_it_wrote),
        cmocka_unit_test(an_object_under_a_derived_key_needs_that_key),
        cmocka_unit_test(a_pack_with_any_byte_changed_is_noticed),
        cmocka_unit_test(a_pack_is_not_taken_for_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
