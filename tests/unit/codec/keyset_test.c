/* SPDX-License-Identifier: Apache-2.0
 * What the root decides: a new reader opens everything, an old one ends, a revoked host no longer
 * counts but for what was kept of it. */
#include "common/codec/keyset.h"

#include "common/base/hash.h"
#include "common/base/rand.h"
#include "common/codec/keyring.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/hf-keyset.XXXXXX";

/* A key set of one reader, as `key create` makes it. */
static void create(Kit *kit, KeysRecord *keys, uint8_t id_secret[SEAL_KEY])
{
    *kit = (Kit){.set = "fleet", .set_id = rand_uuid()};
    *keys = (KeysRecord){.set = "fleet", .set_id = kit->set_id, .generation = 1, .reader_count = 1};
    rand_bytes(kit->root_seed, sizeof kit->root_seed);
    rand_bytes(kit->reader_secret, sizeof kit->reader_secret);
    rand_bytes(id_secret, SEAL_KEY);
    seal_sign_public_of(kit->root_seed, keys->root);
    seal_public_of(kit->reader_secret, keys->readers[0]);
    seal_box(keys->readers[0], id_secret, keys->boxes[0]);
}

static void put_file(const char *name, const Buf *bytes)
{
    char path[80];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
    if (bytes == NULL)
        return;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
    assert_true(fd >= 0 && write(fd, bytes->at, bytes->len) == (ssize_t)bytes->len);
    close(fd);
}

static Keyring *opened(void)
{
    Keyring *keyring;
    Err err = {0};
    if (!keyring_open(&keyring, folder, "fleet", &err))
        fail_msg("%s: %s", err.cause, err.text);
    return keyring;
}

static Keyring *writer_of(const Kit *kit, const KeysRecord *keys, const char *host)
{
    scoped(buf_free) Buf bytes = {0};
    WriterFile file = {.keys = *keys};
    CertRecord cert = {.set_id = keys->set_id, .generation = keys->generation, .role = "write"};
    Err err = {0};
    snprintf(cert.host, sizeof cert.host, "%s", host);
    snprintf(cert.sources, sizeof cert.sources, "*");
    assert_true(keyset_id_secret(keys, kit, file.id_secret, &err));
    rand_bytes(file.sign_seed, sizeof file.sign_seed);
    rand_bytes(file.box_secret, sizeof file.box_secret);
    seal_sign_public_of(file.sign_seed, cert.sign_public);
    seal_public_of(file.box_secret, cert.box_public);
    keyfile_cert_pack(&cert, kit->root_seed, &file.certificate);
    keyfile_writer_pack(&file, &bytes);
    keyfile_writer_wipe(&file);
    put_file("fleet.reader", NULL);
    put_file("fleet.writer", &bytes);
    return opened();
}

static Keyring *reader_of(const Kit *kit, const KeysRecord *keys)
{
    scoped(buf_free) Buf bytes = {0};
    ReaderFile file = {.set = "fleet", .set_id = kit->set_id, .generation = keys->generation};
    memcpy(file.root, keys->root, sizeof file.root);
    memcpy(file.secret, kit->reader_secret, sizeof file.secret);
    keyfile_reader_pack(&file, &bytes);
    put_file("fleet.writer", NULL);
    put_file("fleet.reader", &bytes);
    return opened();
}

static const char *learns(Keyring *keyring, const KeysRecord *keys, const Kit *kit)
{
    static Err err;
    scoped(buf_free) Buf bytes = {0};
    err = (Err){0};
    keyfile_keys_pack(keys, kit->root_seed, &bytes);
    return keyring_learn_keys(keyring, buf_slice(&bytes), &err) ? "" : err.cause;
}

static bool opens(const Keyring *keyring, const Buf *slots, const uint8_t key[SEAL_KEY])
{
    Err err = {0};
    uint8_t back[SEAL_KEY];
    bool opened_it = keyring_unseal(keyring, buf_slice(slots), back, &err);
    if (opened_it)
        assert_memory_equal(back, key, SEAL_KEY);
    else
        assert_string_equal(err.cause, "repo.no_reader");
    return opened_it;
}

/* Three kits, one after another; each seals one key as a host of its time does. */
typedef struct Ages {
    Kit kit[3];
    KeysRecord keys[3];
    uint8_t id_secret[SEAL_KEY], key[SEAL_KEY];
    Buf slots[3];
} Ages;

static void ages_pass(Ages *ages)
{
    Err err = {0};
    memset(ages, 0, sizeof *ages);
    rand_bytes(ages->key, SEAL_KEY);
    create(&ages->kit[0], &ages->keys[0], ages->id_secret);
    for (unsigned i = 0; i < 3; i++) {
        if (i > 0) {
            ages->kit[i] = ages->kit[i - 1];
            ages->keys[i] = ages->keys[i - 1];
            if (!keyset_rotate(&ages->keys[i], &ages->kit[i], &err))
                fail_msg("%s: %s", err.cause, err.text);
        }
        assert_int_equal(ages->keys[i].generation, i + 1);
        Keyring *writer = writer_of(&ages->kit[i], &ages->keys[i], "db");
        keyring_seal(writer, ages->key, &ages->slots[i]);
        keyring_close(writer);
    }
}

static void ages_end(Ages *ages)
{
    for (unsigned i = 0; i < 3; i++)
        buf_free(&ages->slots[i]);
}

static void the_new_kit_opens_what_every_older_one_opened(void **state)
{
    (void)state;
    Ages ages;
    ages_pass(&ages);
    for (unsigned i = 0; i < 3; i++) {
        Keyring *reader = reader_of(&ages.kit[i], &ages.keys[i]);
        assert_string_equal(learns(reader, &ages.keys[2], &ages.kit[2]), "");
        /* An old reader opens what is new until it is retired. */
        for (unsigned age = 0; age < 3; age++)
            assert_true(opens(reader, &ages.slots[age], ages.key));
        ChunkId id, expected;
        keyring_chunk_id(reader, slice_of_text(TEXT("content")), &id);
        keyring_close(reader);
        Keyring *writer = writer_of(&ages.kit[0], &ages.keys[0], "db");
        keyring_chunk_id(writer, slice_of_text(TEXT("content")), &expected);
        assert_memory_equal(&id, &expected, sizeof id);
        keyring_close(writer);
    }
    /* Without the record a file opens what was sealed to it alone. */
    Keyring *alone = reader_of(&ages.kit[2], &ages.keys[2]);
    assert_false(opens(alone, &ages.slots[0], ages.key));
    keyring_close(alone);
    ages_end(&ages);
}

static void who_is_retired_reads_nothing_new(void **state)
{
    (void)state;
    Ages ages;
    Err err = {0};
    ages_pass(&ages);
    KeysRecord keys = ages.keys[2];
    /* Not with a kit of before: what is sealed to the newest would be lost. */
    assert_false(keyset_retire(&keys, &ages.kit[1], &err));
    assert_string_equal(err.cause, "key.kit");
    err = (Err){0};
    assert_true(keyset_retire(&keys, &ages.kit[2], &err));
    assert_int_equal(keys.reader_count, 1);
    assert_int_equal(keys.generation, 4);
    for (unsigned i = 0; i < 2; i++) {
        Keyring *old = reader_of(&ages.kit[i], &ages.keys[i]);
        assert_string_equal(learns(old, &keys, &ages.kit[2]), "repo.no_reader");
        keyring_close(old);
        Keyring *writer = writer_of(&ages.kit[i], &ages.keys[i], "db");
        assert_string_equal(learns(writer, &keys, &ages.kit[2]), "");
        assert_true(keyring_outdated(writer));
        assert_false(keyring_may_seal(writer, &err));
        assert_string_equal(err.cause, "key.retired");
        err = (Err){0};
        keyring_close(writer);
    }
    Keyring *reader = reader_of(&ages.kit[2], &ages.keys[2]);
    assert_string_equal(learns(reader, &keys, &ages.kit[2]), "");
    for (unsigned age = 0; age < 3; age++)
        assert_true(opens(reader, &ages.slots[age], ages.key));
    keyring_close(reader);
    Buf slots = {0};
    Keyring *writer = writer_of(&ages.kit[2], &keys, "db");
    assert_string_equal(learns(writer, &keys, &ages.kit[2]), "");
    assert_false(keyring_outdated(writer));
    assert_true(keyring_may_seal(writer, &err));
    keyring_seal(writer, ages.key, &slots);
    assert_int_equal(slots.len, DISK_SLOT);
    keyring_close(writer);
    buf_free(&slots);
    assert_false(keyset_retire(&keys, &ages.kit[2], &err));
    assert_string_equal(err.cause, "key.nothing");
    err = (Err){0};
    assert_false(keyset_rotate(&keys, &ages.kit[0], &err));
    assert_string_equal(err.cause, "key.retired");
    ages_end(&ages);
}

static void rotations_are_bounded(void **state)
{
    (void)state;
    Kit kit;
    KeysRecord keys;
    uint8_t id_secret[SEAL_KEY];
    Err err = {0};
    create(&kit, &keys, id_secret);
    unsigned turns = 0;
    while (keyset_rotate(&keys, &kit, &err) && turns < 100)
        turns++;
    assert_string_equal(err.cause, "key.readers");
    assert_true(turns >= 5 && keys.older_count <= DISK_OLDER_MOST);
    err = (Err){0};
    assert_true(keyset_retire(&keys, &kit, &err)); /* makes room */
    assert_true(keyset_rotate(&keys, &kit, &err));
    Keyring *reader = reader_of(&kit, &keys);
    assert_string_equal(learns(reader, &keys, &kit), "");
    keyring_close(reader);
}

static const char *signs(const Keyring *writer, const Keyring *reader, Signer *signer)
{
    static Err err;
    uint8_t signature[SEAL_SIGNATURE];
    Slice text = slice_of_text(TEXT("a manifest"));
    err = (Err){0};
    keyring_sign(writer, "label", text, signature);
    return keyring_check(reader, keyring_certificate(writer), "label", text, signature, signer,
                         &err)
               ? ""
               : err.cause;
}

static void of_a_revoked_host_only_what_was_kept_counts(void **state)
{
    (void)state;
    Kit kit;
    KeysRecord keys;
    uint8_t id_secret[SEAL_KEY];
    Sha256 sums[3], list_sum, other;
    Signer signer;
    Err err = {0};
    create(&kit, &keys, id_secret);
    Keyring *stolen = writer_of(&kit, &keys, "db-1"), *honest = writer_of(&kit, &keys, "db-10");
    memset(sums, 0, sizeof sums);
    for (unsigned i = 0; i < 3; i++)
        sums[i].bytes[0] = (uint8_t)(i * 7 + 1);
    hash_sha256(slice_of_text(TEXT("forged")), &other);
    Slice list = {sums[0].bytes, sizeof sums};
    hash_sha256(list, &list_sum);
    assert_true(keyset_revoke(&keys, "db-1", &list_sum, 1785000000, &err));
    Keyring *reader = reader_of(&kit, &keys);
    assert_string_equal(learns(reader, &keys, &kit), "");
    assert_string_equal(signs(stolen, reader, &signer), "");
    assert_int_equal(signer.revoked, 1);
    assert_int_equal(keyring_revoked_host(reader, 0).at_s, 1785000000);
    assert_false(keyring_keeps(reader, &signer, &sums[0])); /* no list, nothing kept */
    assert_false(keyring_learn_kept(reader, 0, (Slice){sums[1].bytes, 64}));
    assert_false(keyring_keeps(reader, &signer, &sums[1]));
    assert_true(keyring_learn_kept(reader, 0, list));
    for (unsigned i = 0; i < 3; i++)
        assert_true(keyring_keeps(reader, &signer, &sums[i]));
    assert_false(keyring_keeps(reader, &signer, &other));
    assert_string_equal(signs(honest, reader, &signer), "");
    assert_true(signer.revoked == 0 && keyring_keeps(reader, &signer, &other));
    /* The host itself is told, and enrolled again it is as good as any other. */
    assert_string_equal(learns(stolen, &keys, &kit), "");
    assert_false(keyring_may_seal(stolen, &err));
    assert_string_equal(err.cause, "key.revoked");
    err = (Err){0};
    Keyring *again = writer_of(&kit, &keys, "db-1");
    assert_string_equal(learns(again, &keys, &kit), "");
    assert_true(keyring_may_seal(again, &err));
    assert_string_equal(signs(again, reader, &signer), "");
    assert_int_equal(signer.revoked, 0);
    keyring_close(again);
    keyring_close(reader);
    keyring_close(honest);
    keyring_close(stolen);
}

/* The store's owner puts older keys beside a newer config: the revocation would be undone. */
static void keys_older_than_the_config_are_refused(void **state)
{
    (void)state;
    Ages ages;
    Err err = {0};
    Uuid repository;
    scoped(buf_free) Buf bytes = {0};
    ages_pass(&ages);
    char name[KEYRING_NAME];
    ConfigRecord config = {
        .repository = rand_uuid(), .set = "fleet", .set_id = ages.kit[0].set_id, .generation = 3};
    memcpy(config.root, ages.keys[0].root, sizeof config.root);
    keyfile_config_pack(&config, ages.kit[0].root_seed, &bytes);
    Keyring *reader = reader_of(&ages.kit[0], &ages.keys[0]);
    assert_true(keyring_check_config(reader, buf_slice(&bytes), &repository, &err));
    keyring_keys_name(reader, name);
    assert_string_equal(name, "keys/fleet.3");
    assert_string_equal(learns(reader, &ages.keys[1], &ages.kit[1]), "repo.key_mismatch");
    assert_string_equal(learns(reader, &ages.keys[2], &ages.kit[2]), "");
    keyring_close(reader);
    ages_end(&ages);
}

static int setup(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL;
}

static int teardown(void **state)
{
    (void)state;
    put_file("fleet.writer", NULL);
    put_file("fleet.reader", NULL);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_new_kit_opens_what_every_older_one_opened),
        cmocka_unit_test(who_is_retired_reads_nothing_new),
        cmocka_unit_test(rotations_are_bounded),
        cmocka_unit_test(of_a_revoked_host_only_what_was_kept_counts),
        cmocka_unit_test(keys_older_than_the_config_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
