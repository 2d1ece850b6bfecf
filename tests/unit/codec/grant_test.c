/* SPDX-License-Identifier: Apache-2.0
 * Restore grants: they open what they name, for whom they name, until then; and nothing else. */
#include "common/codec/grant.h"

#include "common/base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { PACKS = 40, CHUNKS = 50, NOW = 1000, UNTIL = 2000 };

static uint8_t secret[SEAL_SECRET], other_secret[SEAL_SECRET], to[SEAL_PUBLIC];
static Uuid packs[PACKS];
static const Slice slots = {(const uint8_t *)"slots of a manifest", 19};

static int setup(void **state)
{
    (void)state;
    rand_bytes(secret, sizeof secret);
    rand_bytes(other_secret, sizeof other_secret);
    seal_public_of(secret, to);
    for (unsigned i = 0; i < PACKS; i++)
        packs[i] = rand_uuid();
    return 0;
}

static void key_of(unsigned pack, uint32_t ordinal, uint8_t key[SEAL_KEY])
{
    memset(key, 0, SEAL_KEY);
    key[0] = (uint8_t)pack;
    key[1] = (uint8_t)ordinal;
    key[2] = 7;
}

static GrantFacts facts_of(void)
{
    GrantFacts facts = {
        .id = rand_uuid(), .set_id = rand_uuid(), .backup = rand_uuid(), .until_s = UNTIL};
    snprintf(facts.host, sizeof facts.host, "web-2");
    return facts;
}

static void make(const GrantFacts *facts, Buf *out)
{
    Err err = {0};
    uint8_t key[SEAL_KEY];
    GrantWriter *writer = grant_writer_new();
    for (unsigned i = 0; i < PACKS; i++)
        for (uint32_t ordinal = CHUNKS; ordinal-- > 0;) {
            key_of(i, ordinal * 3, key);
            grant_add_chunk(writer, &packs[i], ordinal * 3, key);
        }
    key_of(255, 255, key);
    grant_add_object(writer, slots, key);
    assert_int_equal(grant_count(writer), PACKS * CHUNKS + 1);
    if (!grant_seal(writer, facts, to, out, &err))
        fail_msg("%s: %s", err.cause, err.text);
    grant_writer_free(writer);
}

static void a_grant_opens_the_chunks_that_it_names_and_no_others(void **state)
{
    (void)state;
    Err err = {0};
    Grant *grant = NULL;
    uint8_t key[SEAL_KEY], expected[SEAL_KEY];
    scoped(buf_free) Buf sealed = {0};
    GrantFacts facts = facts_of();
    Uuid stranger = rand_uuid();
    make(&facts, &sealed);
    key_of(3, 6, expected);
    assert_null(memmem(sealed.at, sealed.len, expected, sizeof expected));
    assert_true(grant_open(&grant, buf_slice(&sealed), &facts, NOW, secret, &err));
    for (unsigned i = 0; i < PACKS; i++)
        for (uint32_t ordinal = 0; ordinal < CHUNKS * 3; ordinal++) {
            bool named = ordinal % 3 == 0;
            assert_int_equal(grant_chunk_key(grant, &packs[i], ordinal, key), named);
            key_of(i, ordinal, expected);
            if (named)
                assert_memory_equal(key, expected, sizeof key);
        }
    assert_false(grant_chunk_key(grant, &stranger, 0, key));
    assert_true(grant_object_key(grant, slots, key));
    assert_false(grant_object_key(grant, (Slice){slots.at, 5}, key));
    grant_free(grant);
}

static void refused(Slice sealed, const GrantFacts *facts, int64_t now, const uint8_t *by,
                    const char *cause)
{
    Err err = {0};
    Grant *grant = NULL;
    assert_false(grant_open(&grant, sealed, facts, now, by, &err));
    assert_null(grant);
    assert_string_equal(err.cause, cause);
}

static void a_grant_is_for_one_host_one_backup_and_some_time(void **state)
{
    (void)state;
    scoped(buf_free) Buf sealed = {0};
    GrantFacts facts = facts_of(), other;
    make(&facts, &sealed);
    Slice bytes = buf_slice(&sealed);
    refused(bytes, &facts, NOW, other_secret, "grant.not_yours");
    refused(bytes, &facts, UNTIL, secret, "grant.expired");
    other = facts;
    other.backup = rand_uuid();
    refused(bytes, &other, NOW, secret, "grant.other");
    other = facts;
    other.set_id = rand_uuid();
    refused(bytes, &other, NOW, secret, "grant.other");
    other = facts;
    other.id = rand_uuid();
    refused(bytes, &other, NOW, secret, "grant.other");
    other = facts;
    snprintf(other.host, sizeof other.host, "web-3");
    refused(bytes, &other, NOW, secret, "grant.not_yours");
}

/* Whoever carries it can neither lengthen it nor give it to another restore. */
static void a_grant_that_was_touched_does_not_open(void **state)
{
    (void)state;
    scoped(buf_free) Buf sealed = {0};
    GrantFacts facts = facts_of(), other = facts;
    make(&facts, &sealed);
    enum { AT_ID = 6, AT_BACKUP = 38, AT_UNTIL = 54 };
    sealed.at[AT_UNTIL + 1] ^= 0x80;
    refused(buf_slice(&sealed), &facts, NOW, secret, "grant.not_yours");
    sealed.at[AT_UNTIL + 1] ^= 0x80;
    sealed.at[AT_BACKUP] ^= 1;
    other = facts;
    other.backup.bytes[0] ^= 1;
    refused(buf_slice(&sealed), &other, NOW, secret, "grant.not_yours");
    sealed.at[AT_BACKUP] ^= 1;
    sealed.at[AT_ID] ^= 1;
    other = facts;
    other.id.bytes[0] ^= 1;
    refused(buf_slice(&sealed), &other, NOW, secret, "grant.not_yours");
    sealed.at[AT_ID] ^= 1;
    refused((Slice){sealed.at, sealed.len - 1}, &facts, NOW, secret, "grant.damaged");
    sealed.at[sealed.len - 1] ^= 1;
    refused(buf_slice(&sealed), &facts, NOW, secret, "grant.not_yours");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_grant_opens_the_chunks_that_it_names_and_no_others),
        cmocka_unit_test(a_grant_is_for_one_host_one_backup_and_some_time),
        cmocka_unit_test(a_grant_that_was_touched_does_not_open),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
