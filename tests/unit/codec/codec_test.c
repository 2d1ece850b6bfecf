/* SPDX-License-Identifier: Apache-2.0 */
#include "common/codec/codec.h"

#include "common/base/buf.h"
#include "common/base/rand.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static CodecWork *work;

static void fill(Buf *buf, size_t len, bool random)
{
    buf_clear(buf);
    uint8_t *at = buf_extend(buf, len);
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)(i / 100);
    if (random)
        rand_bytes(at, len);
}

/* Encodes and decodes; gives what was used and how long it was. */
static uint8_t there_and_back_at(int level, uint8_t codec, const Buf *plain, size_t *len)
{
    Err err = {0};
    scoped(buf_free) Buf coded = {0};
    scoped(buf_free) Buf back = {0};
    uint8_t used = 0;
    buf_extend(&coded, codec_bound(plain->len));
    buf_extend(&back, plain->len + 1);
    assert_true(codec_encode(work, codec, level, buf_slice(plain), coded.at, len, &used, &err));
    assert_true(codec_decode(work, used, (Slice){coded.at, *len}, back.at, plain->len, &err));
    assert_memory_equal(back.at, plain->at, plain->len);
    return used;
}

static uint8_t there_and_back(uint8_t codec, const Buf *plain, size_t *len)
{
    return there_and_back_at(3, codec, plain, len);
}

static void what_is_encoded_decodes_to_the_same(void **state)
{
    (void)state;
    static const uint8_t codecs[] = {CODEC_NONE, CODEC_ZSTD, CODEC_ZLIB};
    scoped(buf_free) Buf plain = {0};
    for (size_t i = 0; i < 3; i++)
        for (size_t len = 1; len < 300000; len = len * 7 + 3) {
            size_t coded = 0;
            fill(&plain, len, false);
            uint8_t used = there_and_back(codecs[i], &plain, &coded);
            if (len > 1000)
                assert_int_equal(used, codecs[i]);
            if (len > 1000 && codecs[i] != CODEC_NONE)
                assert_true(coded < len / 4);
        }
}

static void what_does_not_shrink_is_kept_as_it_is(void **state)
{
    (void)state;
    scoped(buf_free) Buf plain = {0};
    size_t coded = 0;
    fill(&plain, 100000, true);
    assert_int_equal(there_and_back(CODEC_ZSTD, &plain, &coded), CODEC_NONE);
    assert_int_equal(coded, plain.len);
    assert_int_equal(there_and_back(CODEC_ZLIB, &plain, &coded), CODEC_NONE);
}

/* Records that no other resembles, then all of them again in another order: the table must remember
 * the whole chunk. */
static void the_search_for_chunks_finds_what_lies_far_back(void **state)
{
    (void)state;
    enum { RECORDS = 8000, RECORD = 40, STRIDE = 2999 };
    scoped(buf_free) Buf plain = {0};
    size_t coded = 0, fast = 0, best = 0;
    uint8_t *at = buf_extend(&plain, 2 * RECORDS * RECORD);
    for (size_t i = 0; i < RECORDS; i++) {
        memset(at + i * RECORD, 'r', RECORD);
        rand_bytes(at + i * RECORD, RECORD - 8);
    }
    for (size_t i = 0; i < RECORDS; i++)
        memcpy(at + (RECORDS + i) * RECORD, at + i * STRIDE % RECORDS * RECORD, RECORD);
    assert_int_equal(there_and_back_at(0, CODEC_ZSTD, &plain, &coded), CODEC_ZSTD);
    there_and_back_at(1, CODEC_ZSTD, &plain, &fast);
    there_and_back_at(3, CODEC_ZSTD, &plain, &best);
    assert_true(coded < fast / 3 * 2);
    assert_true(coded < best + best / 10);
    /* One search after the other from the same workplace. */
    size_t again = 0;
    there_and_back_at(0, CODEC_ZSTD, &plain, &again);
    assert_int_equal(again, coded);
    assert_int_equal(there_and_back_at(0, CODEC_ZLIB, &plain, &coded), CODEC_ZLIB);
}

static void a_frame_that_lies_about_its_length_is_refused(void **state)
{
    (void)state;
    static const uint8_t codecs[] = {CODEC_NONE, CODEC_ZSTD, CODEC_ZLIB};
    scoped(buf_free) Buf plain = {0};
    scoped(buf_free) Buf coded = {0};
    scoped(buf_free) Buf back = {0};
    fill(&plain, 5000, false);
    buf_extend(&back, 10000);
    for (size_t i = 0; i < 3; i++) {
        Err err = {0};
        size_t len = 0;
        uint8_t used = 0;
        buf_clear(&coded);
        buf_extend(&coded, codec_bound(plain.len));
        assert_true(
            codec_encode(work, codecs[i], 3, buf_slice(&plain), coded.at, &len, &used, &err));
        Slice whole = {coded.at, len};
        assert_false(codec_decode(work, used, whole, back.at, 4999, &err));
        assert_string_equal(err.cause, "codec.damaged");
        assert_false(codec_decode(work, used, whole, back.at, 5001, &err));
        assert_false(codec_decode(work, used, (Slice){coded.at, len - 1}, back.at, 5000, &err));
        assert_false(codec_decode(work, used, (Slice){0}, back.at, 5000, &err));
    }
    Err err = {0};
    assert_false(codec_decode(work, 99, buf_slice(&plain), back.at, 5000, &err));
}

static void codecs_are_found_by_name(void **state)
{
    (void)state;
    Err err = {0};
    uint8_t codec = 0;
    assert_true(codec_find(TEXT("zstd"), &codec, &err) && codec == CODEC_ZSTD);
    assert_string_equal(codec_name(CODEC_ZLIB), "zlib");
    assert_null(codec_name(0));
    assert_false(codec_find(TEXT("lzma"), &codec, &err));
}

static int setup(void **state)
{
    (void)state;
    work = codec_work_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    codec_work_free(work);
    codec_work_free(NULL);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_encoded_decodes_to_the_same),
        cmocka_unit_test(what_does_not_shrink_is_kept_as_it_is),
        cmocka_unit_test(the_search_for_chunks_finds_what_lies_far_back),
        cmocka_unit_test(a_frame_that_lies_about_its_length_is_refused),
        cmocka_unit_test(codecs_are_found_by_name),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
