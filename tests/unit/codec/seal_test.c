/* SPDX-License-Identifier: Apache-2.0 */
#include "common/codec/seal.h"

#include "common/base/rand.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void hex(const uint8_t *at, size_t len, char *out)
{
    ids_hex(at, len, out);
}

/* GCM specification, test case 14: a zero key, nonce and block. */
static void sealing_is_that_of_the_standard(void **state)
{
    (void)state;
    static const uint8_t zeros[32];
    uint8_t out[16 + SEAL_TAG];
    char text[65];
    seal_encrypt(zeros, (Slice){0}, (Slice){zeros, 16}, out);
    hex(out, sizeof out, text);
    assert_string_equal(text, "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
}

static void what_was_sealed_opens_and_no_changed_bit_of_it_does(void **state)
{
    (void)state;
    Err err = {0};
    uint8_t key[SEAL_KEY];
    uint8_t sealed[5 + SEAL_TAG];
    uint8_t plain[5];
    Slice ad = slice_of_text(TEXT("place"));
    rand_bytes(key, sizeof key);
    seal_encrypt(key, ad, slice_of_text(TEXT("hello")), sealed);
    assert_true(seal_decrypt(key, ad, (Slice){sealed, sizeof sealed}, plain, &err));
    assert_memory_equal(plain, "hello", 5);
    for (size_t bit = 0; bit < sizeof sealed * 8; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(seal_decrypt(key, ad, (Slice){sealed, sizeof sealed}, plain, &err));
        assert_string_equal(err.cause, "seal.damaged");
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_false(seal_decrypt(key, slice_of_text(TEXT("other")), (Slice){sealed, sizeof sealed},
                              plain, &err));
    key[31] ^= 1;
    assert_false(seal_decrypt(key, ad, (Slice){sealed, sizeof sealed}, plain, &err));
    assert_false(seal_decrypt(key, ad, (Slice){sealed, SEAL_TAG - 1}, plain, &err));
}

/* The two algorithms that a mark is made of, put together by hand. */
static void a_mark_is_a_short_name_of_gmac_and_length(void **state)
{
    (void)state;
    static const uint8_t key[SEAL_KEY] = {1}, outer[SEAL_SHORT_KEY] = {2};
    static const size_t lengths[] = {0, 1, 15, 16, 17, 4096, 100001};
    uint8_t content[100001], mark[SEAL_MARK], expected[SEAL_MARK], before[SEAL_MARK] = {0};
    rand_bytes(content, sizeof content);
    SealMarker *marker = seal_marker_new(key, outer);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        uint8_t inner[SEAL_TAG + 8] = {0};
        Slice part = {content, lengths[i]};
        seal_encrypt(key, part, (Slice){0}, inner);
        for (unsigned b = 0; b < 8; b++)
            inner[SEAL_TAG + b] = (uint8_t)((uint64_t)part.len >> 8 * b);
        seal_short(outer, (Slice){inner, sizeof inner}, expected);
        seal_mark(marker, part, mark);
        assert_memory_equal(mark, expected, sizeof mark);
        assert_memory_not_equal(mark, before, sizeof mark);
        memcpy(before, mark, sizeof before);
    }
    content[100000] ^= 0x80;
    seal_mark(marker, (Slice){content, sizeof content}, mark);
    assert_memory_not_equal(mark, before, sizeof mark);
    seal_marker_free(marker);
}

static void derived_keys_differ_by_what_they_are_for(void **state)
{
    (void)state;
    uint8_t key[SEAL_KEY] = {7};
    uint8_t a[SEAL_KEY];
    uint8_t b[SEAL_KEY];
    uint8_t again[SEAL_KEY];
    seal_derive(key, slice_of_text(TEXT("a")), a);
    seal_derive(key, slice_of_text(TEXT("b")), b);
    seal_derive(key, slice_of_text(TEXT("a")), again);
    assert_memory_equal(a, again, sizeof a);
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a, key, sizeof a);
}

static void a_box_opens_for_its_holder_alone(void **state)
{
    (void)state;
    Err err = {0};
    uint8_t secret[SEAL_SECRET];
    uint8_t other[SEAL_SECRET];
    uint8_t public_half[SEAL_PUBLIC];
    uint8_t key[SEAL_KEY];
    uint8_t out[SEAL_KEY];
    uint8_t box[SEAL_BOX];
    rand_bytes(secret, sizeof secret);
    rand_bytes(other, sizeof other);
    rand_bytes(key, sizeof key);
    seal_public_of(secret, public_half);
    seal_box(public_half, key, box);
    assert_true(seal_unbox(secret, box, out, &err));
    assert_memory_equal(out, key, sizeof key);
    assert_false(seal_unbox(other, box, out, &err));
    box[40] ^= 1;
    assert_false(seal_unbox(secret, box, out, &err));
}

static void a_signature_holds_for_its_signer_its_label_and_its_bytes(void **state)
{
    (void)state;
    uint8_t seed[SEAL_SIGN_SEED] = {1};
    uint8_t by[SEAL_SIGN_PUBLIC];
    uint8_t signature[SEAL_SIGNATURE];
    Slice bytes = slice_of_text(TEXT("record"));
    seal_sign_public_of(seed, by);
    seal_sign(seed, "manifest", bytes, signature);
    assert_true(seal_signed(by, "manifest", bytes, signature));
    assert_false(seal_signed(by, "index", bytes, signature));
    assert_false(seal_signed(by, "manifest", slice_of_text(TEXT("recorD")), signature));
    signature[0] ^= 1;
    assert_false(seal_signed(by, "manifest", bytes, signature));
    signature[0] ^= 1;
    by[0] ^= 1;
    assert_false(seal_signed(by, "manifest", bytes, signature));
}

static void stretching_refuses_costs_that_would_stop_the_machine(void **state)
{
    (void)state;
    Err err = {0};
    uint8_t salt[16] = {3};
    uint8_t a[SEAL_KEY];
    uint8_t b[SEAL_KEY];
    Slice words = slice_of_text(TEXT("correct horse"));
    assert_true(seal_stretch(words, salt, 1, 8 << 20, a, &err));
    assert_true(seal_stretch(words, salt, 1, 8 << 20, b, &err));
    assert_memory_equal(a, b, sizeof a);
    assert_false(seal_stretch(words, salt, 11, 8 << 20, a, &err));
    assert_false(seal_stretch(words, salt, 1, (1ull << 30) + 1, a, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sealing_is_that_of_the_standard),
        cmocka_unit_test(what_was_sealed_opens_and_no_changed_bit_of_it_does),
        cmocka_unit_test(a_mark_is_a_short_name_of_gmac_and_length),
        cmocka_unit_test(derived_keys_differ_by_what_they_are_for),
        cmocka_unit_test(a_box_opens_for_its_holder_alone),
        cmocka_unit_test(a_signature_holds_for_its_signer_its_label_and_its_bytes),
        cmocka_unit_test(stretching_refuses_costs_that_would_stop_the_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
