/* SPDX-License-Identifier: Apache-2.0
 * Cuts depend on content and key alone. */
#include "common/repo/chunker.h"

#include "common/base/mem.h"
#include "protocol/entry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { SIZE = 48 * 1024 * 1024, CUTS_MAX = 4096 };

typedef struct Cuts {
    size_t at[CUTS_MAX]; /* where each chunk or run ends */
    bool zeros[CUTS_MAX];
    size_t count;
} Cuts;

static void fill(uint8_t *at, size_t len, uint64_t seed)
{
    for (size_t i = 0; i + 8 <= len; i += 8) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        memcpy(at + i, &seed, 8);
    }
}

static void note(Cuts *cuts, size_t end, bool zeros)
{
    /* Runs that only the end of a buffer parted are one. */
    if (zeros && cuts->count > 0 && cuts->zeros[cuts->count - 1])
        cuts->count--;
    assert_true(cuts->count < CUTS_MAX);
    cuts->at[cuts->count] = end;
    cuts->zeros[cuts->count++] = zeros;
}

/* As the writer does it, with windows of a given size. */
static Cuts *cut(const Chunker *chunker, EntryCut shape, const uint8_t *bytes, size_t len,
                 size_t window)
{
    Cuts *cuts = mem_new(Cuts);
    ChunkerState state = {.cut = (uint8_t)shape};
    size_t from = 0, fill_to = 0;
    while (from < len) {
        if (fill_to < from + window)
            fill_to = from + window < len ? from + window : len;
        size_t taken;
        ChunkerStep step =
            chunker_step(chunker, &state, bytes + from, fill_to - from, fill_to == len, &taken);
        if (step == CHUNKER_MORE) {
            assert_true(fill_to - from < CHUNK_PLAIN_MAX);
            assert_true(fill_to < len);
            fill_to = fill_to + window / 2 < len ? fill_to + window / 2 : len;
            if (fill_to > from + CHUNK_PLAIN_MAX)
                fill_to = from + CHUNK_PLAIN_MAX;
            continue;
        }
        assert_true(taken > 0 && taken <= fill_to - from);
        from += taken;
        note(cuts, from, step == CHUNKER_ZEROS);
    }
    return cuts;
}

static bool same(const Cuts *a, const Cuts *b)
{
    return a->count == b->count && memcmp(a->at, b->at, a->count * sizeof a->at[0]) == 0 &&
           memcmp(a->zeros, b->zeros, a->count * sizeof a->zeros[0]) == 0;
}

static uint8_t *mixed(void)
{
    uint8_t *bytes = mem_resize(NULL, SIZE);
    fill(bytes, SIZE, 7);
    memset(bytes + 5 * 1024 * 1024 + 100, 0, 300 * 1024);
    memset(bytes + 9 * 1024 * 1024, 0, 64 * 1024);
    memset(bytes + 11 * 1024 * 1024, 0, 64 * 1024 - 1);
    memset(bytes + 20 * 1024 * 1024 + 4096, 0, 9 * 1024 * 1024 + 77);
    memset(bytes + SIZE - 5000, 0, 5000);
    return bytes;
}

static void cuts_do_not_depend_on_how_bytes_arrive(void **state)
{
    (void)state;
    static const size_t windows[] = {CHUNK_PLAIN_MAX, 65536, 100003, 1000000, 3 * 1024 * 1024 + 1};
    Chunker chunker;
    uint8_t key[32] = {1};
    chunker_init(&chunker, key);
    uint8_t *bytes = mixed();
    for (EntryCut shape = CUT_DUMP; shape <= CUT_LARGE; shape++) {
        Cuts *whole = cut(&chunker, shape, bytes, SIZE, windows[0]);
        for (size_t i = 1; i < sizeof windows / sizeof windows[0]; i++) {
            Cuts *parts = cut(&chunker, shape, bytes, SIZE, windows[i]);
            assert_true(same(whole, parts));
            mem_free(parts);
        }
        mem_free(whole);
    }
    mem_free(bytes);
}

static void averages_are_what_they_should_be(void **state)
{
    (void)state;
    Chunker chunker;
    uint8_t key[32] = {2};
    chunker_init(&chunker, key);
    uint8_t *bytes = mem_resize(NULL, SIZE);
    fill(bytes, SIZE, 11);
    Cuts *dump = cut(&chunker, CUT_DUMP, bytes, SIZE, CHUNK_PLAIN_MAX);
    Cuts *image = cut(&chunker, CUT_IMAGE, bytes, SIZE, CHUNK_PLAIN_MAX);
    Cuts *large = cut(&chunker, CUT_LARGE, bytes, SIZE, CHUNK_PLAIN_MAX);
    assert_in_range(SIZE / large->count, 85 * 1024, 110 * 1024);
    assert_in_range(SIZE / dump->count, 700 * 1024, 1400 * 1024);
    assert_in_range(SIZE / image->count, 80 * 1024, 125 * 1024);
    for (size_t i = 0; i + 1 < image->count; i++)
        assert_int_equal(image->at[i] % CHUNKER_PAGE, 0);
    mem_free(dump);
    mem_free(image);
    mem_free(large);
    mem_free(bytes);
}

/* Ends, counted from the back: what an insertion in front must leave alone. */
static size_t shared_from_the_end(const Cuts *a, size_t a_len, const Cuts *b, size_t b_len)
{
    size_t shared = 0;
    while (shared < a->count && shared < b->count &&
           a_len - a->at[a->count - 1 - shared] == b_len - b->at[b->count - 1 - shared])
        shared++;
    return shared;
}

static void an_insertion_moves_cuts_nearby_only(void **state)
{
    (void)state;
    Chunker chunker;
    uint8_t key[32] = {3};
    chunker_init(&chunker, key);
    uint8_t *bytes = mem_resize(NULL, SIZE);
    fill(bytes, SIZE, 13);
    for (EntryCut shape = CUT_DUMP; shape <= CUT_LARGE; shape++) {
        /* An image's content moves by whole pages. */
        size_t shift = shape == CUT_IMAGE ? CHUNKER_PAGE : 1;
        Cuts *before = cut(&chunker, shape, bytes + shift, SIZE - shift, CHUNK_PLAIN_MAX);
        Cuts *after = cut(&chunker, shape, bytes, SIZE, CHUNK_PLAIN_MAX);
        size_t shared = shared_from_the_end(before, SIZE - shift, after, SIZE);
        assert_true(shared + 12 >= before->count);
        mem_free(before);
        mem_free(after);
    }
    mem_free(bytes);
}

static void another_key_cuts_elsewhere(void **state)
{
    (void)state;
    Chunker one, other;
    uint8_t key[32] = {4};
    chunker_init(&one, key);
    key[31] = 1;
    chunker_init(&other, key);
    uint8_t *bytes = mem_resize(NULL, SIZE);
    fill(bytes, SIZE, 17);
    Cuts *a = cut(&one, CUT_DUMP, bytes, SIZE, CHUNK_PLAIN_MAX);
    Cuts *b = cut(&other, CUT_DUMP, bytes, SIZE, CHUNK_PLAIN_MAX);
    assert_false(same(a, b));
    mem_free(a);
    mem_free(b);
    mem_free(bytes);
}

static void runs_of_zeros_are_no_chunks(void **state)
{
    (void)state;
    Chunker chunker;
    uint8_t key[32] = {5};
    chunker_init(&chunker, key);
    uint8_t *bytes = mixed();
    for (EntryCut shape = CUT_DUMP; shape <= CUT_LARGE; shape++) {
        Cuts *cuts = cut(&chunker, shape, bytes, SIZE, CHUNK_PLAIN_MAX);
        size_t zeros = 0, from = 0;
        for (size_t i = 0; i < cuts->count; from = cuts->at[i++])
            zeros += cuts->zeros[i] ? cuts->at[i] - from : 0;
        /* A dump's run begins behind the chunk that reaches into it. */
        assert_in_range(zeros, 5 * 1024 * 1024, 10 * 1024 * 1024);
        if (shape == CUT_IMAGE)
            assert_true(zeros > 9 * 1024 * 1024 + 300 * 1024);
        mem_free(cuts);
    }
    mem_free(bytes);
}

static void bundles_and_pages_end_by_chance_of_names(void **state)
{
    (void)state;
    Chunker chunker;
    uint8_t key[32] = {6};
    unsigned bundles = 0, pages = 0, branches = 0;
    chunker_init(&chunker, key);
    for (unsigned i = 0; i < 48000; i++) {
        char path[64], moved[64];
        snprintf(path, sizeof path, "here/%u/name-%u", i % 100, i);
        snprintf(moved, sizeof moved, "there/name-%u", i);
        bool ends = chunker_bundle_ends(&chunker, text_of(path));
        assert_int_equal(ends, chunker_bundle_ends(&chunker, text_of(moved)));
        bundles += ends;
        pages += chunker_page_ends(&chunker, text_of(path)) >= 1;
        branches += chunker_page_ends(&chunker, text_of(path)) >= 2;
    }
    assert_in_range(bundles, 850, 1150);
    assert_in_range(pages, 310, 440);
    assert_in_range(branches, 1, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_do_not_depend_on_how_bytes_arrive),
        cmocka_unit_test(averages_are_what_they_should_be),
        cmocka_unit_test(an_insertion_moves_cuts_nearby_only),
        cmocka_unit_test(another_key_cuts_elsewhere),
        cmocka_unit_test(runs_of_zeros_are_no_chunks),
        cmocka_unit_test(bundles_and_pages_end_by_chance_of_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
