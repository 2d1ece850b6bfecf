/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/hash.h"

#include "common/base/rand.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void is_hex(const Sha256 *hash, const char *wanted)
{
    char text[SHA256_TEXT];
    ids_hex(hash->bytes, sizeof hash->bytes, text);
    assert_string_equal(text, wanted);
}

/* FIPS 180-4's example and the empty text. */
static void sha256_is_that_of_the_standard(void **state)
{
    (void)state;
    Sha256 hash;
    hash_sha256(slice_of_text(TEXT("abc")), &hash);
    is_hex(&hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    hash_sha256((Slice){0}, &hash);
    is_hex(&hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void pieces_give_the_hash_of_the_whole_and_the_hash_starts_anew(void **state)
{
    (void)state;
    Sha256 hash;
    HashSha256 *stream = hash_sha256_new();
    for (int round = 0; round < 2; round++) {
        hash_sha256_add(stream, slice_of_text(TEXT("a")));
        hash_sha256_add(stream, slice_of_text(TEXT("bc")));
        hash_sha256_end(stream, &hash);
        is_hex(&hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
    hash_sha256_free(stream);
    hash_sha256_free(NULL);
}

/* RFC 4231, test case 2. */
static void hmac_is_that_of_the_standard(void **state)
{
    (void)state;
    Sha256 hash;
    hash_hmac_sha256(slice_of_text(TEXT("Jefe")),
                     slice_of_text(TEXT("what do ya want for nothing?")), &hash);
    is_hex(&hash, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    hash_hmac_sha256((Slice){0}, (Slice){0}, &hash);
    is_hex(&hash, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void equality_sees_every_byte(void **state)
{
    (void)state;
    assert_true(hash_equal("abc", "abc", 3));
    assert_false(hash_equal("abc", "abd", 3));
    assert_false(hash_equal("xbc", "abc", 3));
}

static void random_ids_differ_and_are_well_formed(void **state)
{
    (void)state;
    Uuid one = rand_uuid();
    Uuid two = rand_uuid();
    assert_false(uuid_equal(&one, &two));
    assert_int_equal(one.bytes[6] >> 4, 4);
    assert_int_equal(one.bytes[8] >> 6, 2);
    Uuid old = rand_backup_id();
    assert_false(uuid_is_nil(&old));
    for (int i = 0; i < 100; i++)
        assert_true(rand_unit() >= 0 && rand_unit() < 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_is_that_of_the_standard),
        cmocka_unit_test(pieces_give_the_hash_of_the_whole_and_the_hash_starts_anew),
        cmocka_unit_test(hmac_is_that_of_the_standard),
        cmocka_unit_test(equality_sees_every_byte),
        cmocka_unit_test(random_ids_differ_and_are_well_formed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
