/* SPDX-License-Identifier: Apache-2.0
 * What is promised of a chunk's bytes, with every codec: compressed, sealed, and back. */
#include "common/codec/codec.h"
#include "common/codec/seal.h"

#include "common/base/mem.h"
#include "common/base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

enum { PLAIN_MOST = 4 * 1024 * 1024, GUARD = 4096, BOMB = 256 * 1024 * 1024 };

static uint8_t codec; /* of the group that runs */
static CodecWork *work;
static uint8_t key[SEAL_KEY];

typedef enum Shape { ZEROS, TEXTS, NOISE, HALF, SHAPES } Shape;

static void fill(Buf *buf, size_t len, Shape shape)
{
    buf_clear(buf);
    uint8_t *at = buf_extend(buf, len + 1);
    buf->len = len;
    memset(at, 0, len);
    if (shape == TEXTS)
        for (size_t i = 0; i < len; i++)
            at[i] = (uint8_t) "INSERT INTO t VALUES (1);"[(i * 7 + i / 300) % 25];
    if (shape == NOISE)
        rand_bytes(at, len);
    if (shape == HALF)
        rand_bytes(at, len / 2);
}

/* As a pack does it: coded, then sealed in its place. */
static void seal_chunk(const Buf *plain, Slice place, Buf *sealed, uint8_t *used)
{
    Err err = {0};
    size_t len;
    scoped(buf_free) Buf coded = {0};
    buf_extend(&coded, codec_bound(plain->len));
    assert_true(codec_encode(work, codec, 3, buf_slice(plain), coded.at, &len, used, &err));
    assert_true(len <= codec_bound(plain->len));
    assert_true(*used == codec || (*used == CODEC_NONE && len == plain->len));
    buf_clear(sealed);
    seal_encrypt(key, place, (Slice){coded.at, len}, buf_extend(sealed, len + SEAL_TAG));
}

/* Into room for plain_len bytes between two guards, which nothing may touch. */
static bool open_chunk(const uint8_t with[SEAL_KEY], Slice sealed, Slice place, uint8_t used,
                       size_t plain_len, Buf *plain, Err *err)
{
    scoped(buf_free) Buf coded = {0};
    if (sealed.len < SEAL_TAG)
        return err_set(err, ERR_CORRUPT, "test.short", "no room for a tag");
    buf_clear(plain);
    memset(buf_extend(plain, plain_len + 2 * GUARD), 0x5a, plain_len + 2 * GUARD);
    buf_extend(&coded, sealed.len);
    bool good = seal_decrypt(with, place, sealed, coded.at, err) &&
                codec_decode(work, used, (Slice){coded.at, sealed.len - SEAL_TAG},
                             plain->at + GUARD, plain_len, err);
    for (size_t i = 0; i < GUARD; i++)
        assert_true(plain->at[i] == 0x5a && plain->at[GUARD + plain_len + i] == 0x5a);
    return good;
}

static void every_size_and_shape_comes_back(void **state)
{
    (void)state;
    static const size_t sizes[] = {
        1,         2,     15,     16,     17,     255,    256,     4095,    4096,    4097,
        65535,     65536, 131071, 131072, 131073, 524288, 1048575, 1048576, 2097153, PLAIN_MOST - 1,
        PLAIN_MOST};
    scoped(buf_free) Buf plain = {0};
    scoped(buf_free) Buf sealed = {0};
    scoped(buf_free) Buf back = {0};
    Slice place = slice_of_text(TEXT("pack 1, chunk 7"));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (Shape shape = ZEROS; shape < SHAPES; shape++) {
            Err err = {0};
            uint8_t used = 0;
            fill(&plain, sizes[i], shape);
            seal_chunk(&plain, place, &sealed, &used);
            if (!open_chunk(key, buf_slice(&sealed), place, used, plain.len, &back, &err))
                fail_msg("%zu bytes: %s", sizes[i], err.text);
            assert_memory_equal(back.at + GUARD, plain.at, plain.len);
        }
}

/* `what` was done to a sealed chunk: it must not open. */
static void must_not_open(const uint8_t with[SEAL_KEY], Slice sealed, Slice place, uint8_t used,
                          size_t plain_len, const char *what, size_t number)
{
    Err err = {0};
    scoped(buf_free) Buf back = {0};
    if (open_chunk(with, sealed, place, used, plain_len, &back, &err))
        fail_msg("it opened: %s %zu", what, number);
    assert_int_equal(err.code, ERR_CORRUPT);
}

static void no_turned_bit_no_cut_no_other_key_and_no_other_place_opens(void **state)
{
    (void)state;
    scoped(buf_free) Buf plain = {0};
    scoped(buf_free) Buf sealed = {0};
    Slice place = slice_of_text(TEXT("pack 1, chunk 7"));
    uint8_t used, other[SEAL_KEY];
    fill(&plain, 700, HALF);
    seal_chunk(&plain, place, &sealed, &used);
    for (size_t bit = 0; bit < sealed.len * 8; bit++) {
        sealed.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
        must_not_open(key, buf_slice(&sealed), place, used, 700, "bit", bit);
        sealed.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t len = 0; len < sealed.len; len++)
        must_not_open(key, (Slice){sealed.at, len}, place, used, 700, "cut to", len);
    buf_add_byte(&sealed, 0);
    must_not_open(key, buf_slice(&sealed), place, used, 700, "one byte more", 0);
    sealed.len--;
    for (size_t bit = 0; bit < SEAL_KEY * 8; bit++) {
        memcpy(other, key, sizeof other);
        other[bit / 8] ^= (uint8_t)(1u << bit % 8);
        must_not_open(other, buf_slice(&sealed), place, used, 700, "key bit", bit);
    }
    static const char *const places[] = {"pack 1, chunk 8", "pack 2, chunk 7", "pack 1, chunk 77",
                                         "pack 1, chunk ", ""};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        must_not_open(key, buf_slice(&sealed), slice_of_text(text_of(places[i])), used, 700,
                      "place", i);
}

static uint64_t peak_kib(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (uint64_t)use.ru_maxrss;
}

/* A frame that says it is short and is not; made by the libraries themselves. */
static size_t make_bomb(Buf *out)
{
    uint8_t *zeros = mem_zeroed(1, BOMB);
    size_t len;
    buf_extend(out, 8 * 1024 * 1024);
    if (codec == CODEC_ZLIB) {
        uLongf written = out->len;
        assert_int_equal(compress2(out->at, &written, zeros, BOMB, 9), Z_OK);
        len = written;
    } else {
        len = ZSTD_compress(out->at, out->len, zeros, BOMB, 3);
        assert_false(ZSTD_isError(len));
    }
    mem_free(zeros);
    return len;
}

static void a_bomb_fills_no_more_than_the_recorded_length(void **state)
{
    (void)state;
    scoped(buf_free) Buf bomb = {0};
    scoped(buf_free) Buf sealed = {0};
    Slice place = slice_of_text(TEXT("p"));
    static const size_t recorded[] = {0, 1, 4096, PLAIN_MOST};
    size_t len = make_bomb(&bomb);
    seal_encrypt(key, place, (Slice){bomb.at, len}, buf_extend(&sealed, len + SEAL_TAG));
    uint64_t before = peak_kib();
    for (size_t i = 0; i < sizeof recorded / sizeof *recorded; i++)
        must_not_open(key, buf_slice(&sealed), place, codec, recorded[i], "bomb", recorded[i]);
    assert_true(peak_kib() - before < 32 * 1024);
}

static void a_length_that_is_not_the_recorded_one_is_refused(void **state)
{
    (void)state;
    scoped(buf_free) Buf plain = {0};
    scoped(buf_free) Buf sealed = {0};
    Slice place = slice_of_text(TEXT("p"));
    uint8_t used;
    fill(&plain, 50000, TEXTS);
    seal_chunk(&plain, place, &sealed, &used);
    static const size_t wrong[] = {0, 1, 49999, 50001, 100000, PLAIN_MOST};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        must_not_open(key, buf_slice(&sealed), place, used, wrong[i], "length", wrong[i]);
    /* Of another codec than the row says, or one of tomorrow. */
    for (unsigned other = 0; other < 256; other++)
        if (other != used && other != CODEC_NONE)
            must_not_open(key, buf_slice(&sealed), place, (uint8_t)other, 50000, "codec", other);
}

static int setup(void **state)
{
    (void)state;
    work = codec_work_new();
    rand_bytes(key, sizeof key);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    codec_work_free(work);
    return 0;
}

int main(void)
{
    static const uint8_t codecs[] = {CODEC_NONE, CODEC_ZSTD, CODEC_ZLIB};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_and_shape_comes_back),
        cmocka_unit_test(no_turned_bit_no_cut_no_other_key_and_no_other_place_opens),
        cmocka_unit_test(a_bomb_fills_no_more_than_the_recorded_length),
        cmocka_unit_test(a_length_that_is_not_the_recorded_one_is_refused),
    };
    int failed = 0;
    for (size_t i = 0; i < sizeof codecs; i++) {
        codec = codecs[i];
        failed += cmocka_run_group_tests_name(codec_name(codec), tests, setup, teardown);
    }
    return failed;
}
