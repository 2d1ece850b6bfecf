/* SPDX-License-Identifier: Apache-2.0
 * The index of a session that stores very much: objects of bounded size, one after another, and
 * each used pack in exactly one of them. */
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/repo/index.h"
#include "common/repo/repo_internal.h"
#include "tests/harness/repository.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { PACKS = 60, CHUNKS = 10000, UNUSED = 7 };

typedef struct Seen {
    Repository *r;
    unsigned packs[PACKS + 1], objects;
} Seen;

static bool see_pack(void *ctx, const PackRow *row, Err *err)
{
    (void)err;
    Seen *seen = ctx;
    uint64_t number;
    memcpy(&number, row->pack.bytes, sizeof number);
    assert_true(number > 0 && number <= PACKS);
    assert_int_equal(row->chunk_count, CHUNKS);
    assert_int_equal(row->chunks[CHUNKS - 1].offset, number * CHUNKS);
    seen->packs[number]++;
    return true;
}

static bool see_object(void *ctx, const char *name, uint64_t size, Err *err)
{
    Seen *seen = ctx;
    scoped(buf_free) Buf head = {0}, body = {0};
    bool found;
    Signer signer;
    assert_true(size < 10 * 1024 * 1024);
    seen->objects++;
    return repo_get(seen->r->repo, DISK_INDEX, name, NULL, &found, &head, &body, NULL, &signer,
                    err) &&
           index_read(buf_slice(&head), buf_slice(&body), see_pack, seen, err);
}

static bool count_object(void *ctx, const char *name, uint64_t size, Err *err)
{
    (void)name, (void)size, (void)err;
    ((Seen *)ctx)->objects++;
    return true;
}

static void what_is_full_is_put_and_forgotten(void **state)
{
    (void)state;
    Seen seen = {.r = repository_new(false)};
    PackSet used = {0};
    Uuid index = {0}, last = {0};
    Err err = {0};
    static const Uuid backup = {{7}};
    RepoLedger *ledger = ledger_new();
    IndexBuilder *builder = index_builder_new(seen.r->repo, ledger, &backup);
    ChunkRow *rows = mem_array(ChunkRow, CHUNKS);
    unsigned puts = 0;
    for (uint64_t number = 1; number <= PACKS; number++) {
        PackRow row = {.pack_no = number,
                       .object = rand_uuid(),
                       .kind = PACK_DATA,
                       .bytes = 1,
                       .chunks = rows,
                       .chunk_count = CHUNKS};
        memcpy(row.pack.bytes, &number, sizeof number);
        rows[CHUNKS - 1].offset = number * CHUNKS;
        index_builder_add(builder, &row);
        if (number != UNUSED)
            packset_add(&used, number);
        if (!index_builder_full(builder))
            continue;
        puts++;
        assert_true(index_builder_put(builder, &used, &index, &err));
        assert_false(uuid_is_nil(&index));
        assert_false(index_builder_full(builder));
    }
    assert_true(puts > 1);
    packset_add(&used, UNUSED); /* found to be needed at the very end */
    assert_true(index_builder_put(builder, &used, &last, &err));
    assert_true(index_builder_put(builder, &used, &index, &err));
    assert_true(uuid_is_nil(&index));
    assert_true(store_list(seen.r->store, "index/", see_object, &seen, &err));
    for (unsigned i = 1; i <= PACKS; i++)
        assert_int_equal(seen.packs[i], 1);
    assert_int_equal(seen.objects, puts + 1);
    assert_int_equal(ledger_indexes(ledger), seen.objects);
    ledger_fail_at(ledger, 1); /* what could not be announced is not written */
    index_builder_add(builder, &(PackRow){.pack_no = 1, .chunks = rows, .chunk_count = 1});
    assert_false(index_builder_put(builder, &used, &index, &err));
    assert_string_equal(err.cause, "catalogue.unreachable");
    assert_true(uuid_is_nil(&index));
    seen.objects = 0;
    err = (Err){0};
    assert_true(store_list(seen.r->store, "index/", count_object, &seen, &err));
    assert_int_equal(seen.objects, puts + 1);
    index_builder_free(builder);
    packset_free(&used);
    ledger_free(ledger);
    mem_free(rows);
    repository_free(seen.r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_full_is_put_and_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
