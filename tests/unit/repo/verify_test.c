/* SPDX-License-Identifier: Apache-2.0
 * Whole packs looked at: chunks shorter and longer than what is read at once, bytes that changed,
 * rows that say what is not so. */
#include "common/repo/verify.h"

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/repo/pack.h"
#include "tests/harness/repository.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const size_t LENGTHS[] = {10, 300 << 10, 1500 << 10, 700 << 10, 1, 3000 << 10, 100};
enum { CHUNKS = sizeof LENGTHS / sizeof LENGTHS[0], MOST = 16 << 20 };

typedef struct Made {
    Repository *r;
    PackRow row;
    ChunkRow chunks[CHUNKS];
    Buf bytes; /* of the object */
} Made;

static int set_up(void **state)
{
    Made *made = mem_new(Made);
    Err err = {0};
    Uuid object = rand_uuid(), pack = rand_uuid();
    PackWriter *writer;
    bool found;
    char name[PACK_NAME];
    made->r = repository_new(false);
    assert_true(
        pack_begin(&writer, made->r->keyring, made->r->store, PACK_DATA, &object, &pack, &err));
    for (size_t i = 0; i < CHUNKS; i++) {
        ChunkId id;
        uint8_t *plain = mem_resize(NULL, LENGTHS[i]);
        rand_bytes(plain, LENGTHS[i]);
        keyring_chunk_id(made->r->keyring, (Slice){plain, LENGTHS[i]}, &id);
        assert_true(
            pack_add(writer, &id, CODEC_NONE, (Slice){plain, LENGTHS[i]}, LENGTHS[i], &err));
        mem_free(plain);
    }
    assert_true(pack_finish(writer, &made->row, &err));
    memcpy(made->chunks, made->row.chunks, sizeof made->chunks);
    made->row.chunks = made->chunks;
    pack_free(writer);
    pack_name(&object, name);
    assert_true(store_get(made->r->store, name, MOST, &found, &made->bytes, &err));
    *state = made;
    return 0;
}

static int tear_down(void **state)
{
    Made *made = *state;
    repository_free(made->r);
    buf_free(&made->bytes);
    mem_free(made);
    return 0;
}

static bool is_whole(const Made *made)
{
    Err why, err = {0};
    bool good;
    assert_true(verify_whole(made->r->repo, &made->row, &good, &why, &err));
    return good;
}

/* The object once more under a name of its own, with what its bytes hash to. */
static void put_again(Made *made)
{
    Err err = {0};
    char name[PACK_NAME];
    made->row.object = rand_uuid();
    pack_name(&made->row.object, name);
    hash_sha256(buf_slice(&made->bytes), &made->row.sha256);
    assert_true(store_put(made->r->store, name, buf_slice(&made->bytes), &err));
}

static void a_pack_is_whole_as_it_was_written(void **state)
{
    Made *made = *state;
    assert_true(is_whole(made));
    made->row.chunk_count = 0;
    assert_true(is_whole(made));
}

static void a_changed_chunk_is_found_where_the_hash_agrees(void **state)
{
    Made *made = *state;
    for (size_t i = 0; i < CHUNKS; i++) {
        size_t at = made->chunks[i].offset + made->chunks[i].stored / 2;
        made->bytes.at[at] ^= 1;
        put_again(made);
        assert_false(is_whole(made));
        made->bytes.at[at] ^= 1;
    }
    put_again(made);
    assert_true(is_whole(made));
}

static void a_changed_byte_behind_the_last_chunk_is_found(void **state)
{
    Made *made = *state;
    Sha256 right = made->row.sha256;
    made->bytes.at[made->bytes.len - 20] ^= 1;
    put_again(made);
    made->row.sha256 = right;
    assert_false(is_whole(made));
}

static void rows_that_lie_are_found(void **state)
{
    Made *made = *state;
    for (size_t i = 0; i < CHUNKS; i++) {
        ChunkRow right = made->chunks[i];
        made->chunks[i].id.bytes[0] ^= 1;
        assert_false(is_whole(made));
        made->chunks[i] = right;
        made->chunks[i].offset = made->row.bytes - 1;
        assert_false(is_whole(made));
        made->chunks[i].offset = UINT64_MAX - 1;
        assert_false(is_whole(made));
        made->chunks[i].offset = 0;
        assert_false(is_whole(made));
        made->chunks[i] = right;
    }
    ChunkRow first = made->chunks[0];
    made->chunks[0] = made->chunks[1];
    made->chunks[1] = first;
    assert_false(is_whole(made));
}

static void an_object_that_is_cut_or_gone_is_found(void **state)
{
    Made *made = *state;
    made->row.bytes++;
    assert_false(is_whole(made));
    made->row.object = rand_uuid();
    assert_false(is_whole(made));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_pack_is_whole_as_it_was_written),
        TEST(a_changed_chunk_is_found_where_the_hash_agrees),
        TEST(a_changed_byte_behind_the_last_chunk_is_found),
        TEST(rows_that_lie_are_found),
        TEST(an_object_that_is_cut_or_gone_is_found),
    };
    return cmocka_run_group_tests_name("repo.verify", tests, NULL, NULL);
}
