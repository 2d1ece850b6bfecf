/* SPDX-License-Identifier: Apache-2.0
 * What the keys of a host let it do: its own key set, no older generation, and nothing beyond. */
#include "common/codec/keyring.h"

#include "common/base/rand.h"
#include "common/codec/keyfile.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* One key set and one host of it. */
typedef struct Set {
    uint8_t root_seed[SEAL_SIGN_SEED], reader_secret[SEAL_SECRET], id_secret[SEAL_KEY];
    KeysRecord keys;
    ConfigRecord config;
} Set;

static char folder[] = "/tmp/hf-keyring.XXXXXX";
static Set set, other;

static void draw(Set *s)
{
    rand_bytes(s->root_seed, sizeof s->root_seed);
    rand_bytes(s->reader_secret, sizeof s->reader_secret);
    rand_bytes(s->id_secret, sizeof s->id_secret);
    s->keys = (KeysRecord){.set = "fleet", .set_id = rand_uuid(), .generation = 5};
    seal_sign_public_of(s->root_seed, s->keys.root);
    s->keys.reader_count = 1;
    seal_public_of(s->reader_secret, s->keys.readers[0]);
    seal_box(s->keys.readers[0], s->id_secret, s->keys.boxes[0]);
    s->config = (ConfigRecord){
        .repository = rand_uuid(), .set = "fleet", .set_id = s->keys.set_id, .generation = 5};
    memcpy(s->config.root, s->keys.root, sizeof s->config.root);
}

static void put_file(const char *name, const Buf *bytes)
{
    char path[80];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
    assert_true(fd >= 0 && write(fd, bytes->at, bytes->len) == (ssize_t)bytes->len);
    close(fd);
}

static void put_writer(const Set *s, const char *sources)
{
    scoped(buf_free) Buf bytes = {0};
    WriterFile file = {.keys = s->keys};
    CertRecord cert = {
        .set_id = s->keys.set_id, .generation = s->keys.generation, .host = "h", .role = "write"};
    snprintf(cert.sources, sizeof cert.sources, "%s", sources);
    memcpy(file.id_secret, s->id_secret, sizeof file.id_secret);
    rand_bytes(file.sign_seed, sizeof file.sign_seed);
    rand_bytes(file.box_secret, sizeof file.box_secret);
    seal_sign_public_of(file.sign_seed, cert.sign_public);
    seal_public_of(file.box_secret, cert.box_public);
    keyfile_cert_pack(&cert, s->root_seed, &file.certificate);
    keyfile_writer_pack(&file, &bytes);
    keyfile_writer_wipe(&file);
    put_file("fleet.writer", &bytes);
}

static void put_reader(const Set *s)
{
    scoped(buf_free) Buf bytes = {0};
    ReaderFile file = {.set = "fleet", .set_id = s->keys.set_id, .generation = 5};
    memcpy(file.root, s->keys.root, sizeof file.root);
    memcpy(file.secret, s->reader_secret, sizeof file.secret);
    keyfile_reader_pack(&file, &bytes);
    put_file("fleet.reader", &bytes);
}

static void remove_files(void)
{
    char path[80];
    snprintf(path, sizeof path, "%s/fleet.writer", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/fleet.reader", folder);
    unlink(path);
}

static Keyring *keyring_of(bool writes, bool reads)
{
    Keyring *keyring;
    Err err = {0};
    remove_files();
    if (writes)
        put_writer(&set, "orders mail");
    if (reads)
        put_reader(&set);
    if (!keyring_open(&keyring, folder, "fleet", &err))
        fail_msg("%s: %s", err.cause, err.text);
    return keyring;
}

static bool takes_config(Keyring *keyring, const ConfigRecord *config, const uint8_t *seed)
{
    Err err = {0};
    Uuid repository;
    scoped(buf_free) Buf bytes = {0};
    keyfile_config_pack(config, seed, &bytes);
    bool good = keyring_check_config(keyring, buf_slice(&bytes), &repository, &err);
    if (good)
        assert_true(uuid_equal(&repository, &config->repository));
    else
        assert_string_equal(err.cause, "repo.key_mismatch");
    return good;
}

static bool learns(Keyring *keyring, const KeysRecord *keys, const uint8_t *seed)
{
    Err err = {0};
    scoped(buf_free) Buf bytes = {0};
    keyfile_keys_pack(keys, seed, &bytes);
    bool good = keyring_learn_keys(keyring, buf_slice(&bytes), &err);
    if (!good)
        assert_string_equal(err.cause, "repo.key_mismatch");
    return good;
}

static void files_decide_what_a_host_can_do(void **state)
{
    (void)state;
    Err err = {0};
    Keyring *keyring;
    for (unsigned mask = 1; mask < 4; mask++) {
        keyring = keyring_of(mask & 1, mask & 2);
        assert_int_equal(keyring_can_write(keyring), mask & 1);
        assert_int_equal(keyring_can_read(keyring), (mask & 2) != 0);
        assert_false(keyring_plain(keyring));
        keyring_close(keyring);
    }
    remove_files();
    assert_false(keyring_open(&keyring, folder, "fleet", &err));
    assert_string_equal(err.cause, "key.missing");
    static const char *const names[] = {"", ".", "../fleet", "a/b", ".hidden", "a b"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        err = (Err){0};
        assert_false(keyring_open(&keyring, folder, names[i], &err));
        assert_string_equal(err.cause, "key.name");
    }
}

typedef struct Asked {
    const char *answer; /* NULL: this host has none */
    unsigned times;
} Asked;

static bool answer(void *ctx, Secret **out, Err *err)
{
    Asked *asked = ctx;
    asked->times++;
    if (asked->answer == NULL)
        return err_set(err, ERR_MISSING, "no-credential", "there is none");
    *out = secret_new((Slice){(const uint8_t *)asked->answer, strlen(asked->answer)});
    return true;
}

static bool opens(Asked *asked, bool *reads, Err *err)
{
    Keyring *keyring = NULL;
    KeyringPlace place = {folder, answer, asked};
    *err = (Err){0};
    bool done = keyring_open_at(&keyring, &place, "fleet", false, err);
    *reads = done && keyring_can_read(keyring);
    keyring_close(keyring);
    return done;
}

static void a_passphrase_is_asked_for_when_it_is_needed_and_never_else(void **state)
{
    (void)state;
    static const char words[] = "seven quiet herons";
    Err err = {0};
    bool reads;
    Asked asked = {.answer = words};
    Keyring *keyring;
    scoped(buf_free) Buf bytes = {0};
    remove_files();
    put_reader(&set);
    assert_true(opens(&asked, &reads, &err) && reads);
    assert_int_equal(asked.times, 0);

    ReaderFile file = {.set = "fleet", .set_id = set.keys.set_id, .generation = 5};
    memcpy(file.root, set.keys.root, sizeof file.root);
    memcpy(file.secret, set.reader_secret, sizeof file.secret);
    assert_true(
        keyfile_reader_lock(&file, (Slice){(const uint8_t *)words, strlen(words)}, &bytes, &err));
    put_file("fleet.reader", &bytes);
    assert_true(opens(&asked, &reads, &err) && reads);
    assert_int_equal(asked.times, 1);
    asked.answer = "seven loud herons";
    assert_false(opens(&asked, &reads, &err));
    assert_string_equal(err.cause, "key.passphrase");
    asked.answer = NULL;
    assert_false(opens(&asked, &reads, &err));
    assert_string_equal(err.cause, "no-credential");
    err = (Err){0};
    assert_false(keyring_open(&keyring, folder, "fleet", &err));
    assert_string_equal(err.cause, "key.passphrase_missing");
}

static void files_of_two_key_sets_are_not_mixed(void **state)
{
    (void)state;
    Err err = {0};
    Keyring *keyring;
    remove_files();
    put_writer(&set, "*");
    put_reader(&other);
    assert_false(keyring_open(&keyring, folder, "fleet", &err));
    assert_string_equal(err.cause, "repo.key_mismatch");
}

static void a_repository_of_another_root_set_or_older_generation_is_refused(void **state)
{
    (void)state;
    for (unsigned mask = 1; mask < 4; mask++) {
        Keyring *keyring = keyring_of(mask & 1, mask & 2);
        ConfigRecord config = set.config;
        assert_true(takes_config(keyring, &config, set.root_seed));
        assert_false(takes_config(keyring, &other.config, other.root_seed));
        config.generation = 4;
        assert_false(takes_config(keyring, &config, set.root_seed));
        config.generation = 6;
        assert_true(takes_config(keyring, &config, set.root_seed));
        config.set_id = other.keys.set_id;
        assert_false(takes_config(keyring, &config, set.root_seed));
        config = set.config;
        config.plain = true; /* sealing switched off by the store's owner */
        assert_false(takes_config(keyring, &config, NULL));

        KeysRecord keys = set.keys;
        assert_false(learns(keyring, &keys, set.root_seed)); /* older than the config of 6 */
        assert_true(takes_config(keyring, &set.config, set.root_seed));
        assert_true(learns(keyring, &keys, set.root_seed));
        assert_false(learns(keyring, &other.keys, other.root_seed));
        keys.generation = 4;
        assert_false(learns(keyring, &keys, set.root_seed));
        keyring_close(keyring);
    }
}

/* The bucket's owner would like to read what comes: he puts his own reader key into keys/. */
static void a_writer_seals_to_the_readers_of_its_own_file_alone(void **state)
{
    (void)state;
    Err err = {0};
    Keyring *writer = keyring_of(true, false);
    KeysRecord keys = set.keys;
    keys.reader_count = 2;
    memcpy(keys.readers[1], other.keys.readers[0], SEAL_PUBLIC);
    seal_box(keys.readers[1], set.id_secret, keys.boxes[1]);
    assert_false(learns(writer, &keys, other.root_seed));
    assert_true(learns(writer, &keys, set.root_seed)); /* even where the root itself said so */
    assert_int_equal(keyring_slots(writer), 1);
    scoped(buf_free) Buf slots = {0};
    uint8_t key[SEAL_KEY], back[SEAL_KEY], id[16];
    rand_bytes(key, sizeof key);
    keyring_seal(writer, key, &slots);
    assert_int_equal(slots.len, DISK_SLOT);
    keyfile_reader_id(set.keys.readers[0], id);
    assert_memory_equal(slots.at, id, sizeof id);
    assert_false(keyring_unseal(writer, buf_slice(&slots), back, &err));
    assert_string_equal(err.cause, "repo.no_reader");
    keyring_close(writer);

    Keyring *reader = keyring_of(false, true);
    assert_true(keyring_unseal(reader, buf_slice(&slots), back, &err));
    assert_memory_equal(key, back, sizeof key);
    for (size_t bit = 0; bit < slots.len * 8; bit++) {
        err = (Err){0};
        slots.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(keyring_unseal(reader, buf_slice(&slots), back, &err));
        slots.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_false(keyring_unseal(reader, (Slice){slots.at, slots.len - 1}, back, &err));
    keyring_close(reader);
}

/* The same content has the same name for writer and reader of a set, and for nobody else. */
static void names_of_content_come_from_the_id_secret(void **state)
{
    (void)state;
    ChunkId by_writer, by_reader, by_other;
    Slice content = slice_of_text(TEXT("content"));
    Keyring *writer = keyring_of(true, false);
    keyring_chunk_id(writer, content, &by_writer);
    Keyring *reader = keyring_of(false, true);
    assert_true(learns(reader, &set.keys, set.root_seed));
    keyring_chunk_id(reader, content, &by_reader);
    assert_memory_equal(&by_writer, &by_reader, sizeof by_writer);
    uint8_t gear[SEAL_KEY], parents[SEAL_KEY], mine[SEAL_KEY];
    keyring_derive(writer, "gear", (Slice){0}, gear);
    keyring_derive(writer, "parents", slice_of_text(TEXT("mail")), parents);
    keyring_derive(writer, "parents", slice_of_text(TEXT("orders")), mine);
    assert_memory_not_equal(gear, parents, SEAL_KEY);
    assert_memory_not_equal(mine, parents, SEAL_KEY);
    keyring_derive(reader, "parents", slice_of_text(TEXT("orders")), parents);
    assert_memory_equal(mine, parents, SEAL_KEY);
    keyring_close(writer);
    keyring_close(reader);

    Err err = {0};
    assert_true(keyring_open(&writer, folder, "plain", &err));
    keyring_chunk_id(writer, content, &by_other);
    assert_memory_not_equal(&by_writer, &by_other, sizeof by_writer);
    keyring_close(writer);
}

static void a_signer_is_who_the_root_says_and_may_write_what_it_says(void **state)
{
    (void)state;
    Err err = {0};
    Signer signer;
    uint8_t signature[SEAL_SIGNATURE];
    Slice bytes = slice_of_text(TEXT("a record"));
    Keyring *keyring = keyring_of(true, true);
    Slice cert = keyring_certificate(keyring);
    keyring_sign(keyring, "label", bytes, signature);
    assert_true(keyring_check(keyring, cert, "label", bytes, signature, &signer, &err));
    assert_string_equal(signer.host, "h");
    assert_true(keyring_may_write(&signer, TEXT("orders")));
    assert_true(keyring_may_write(&signer, TEXT("mail")));
    static const char *const not [] = {"", "order", "orders mail", "mai", "mails", "*", " "};
    for (size_t i = 0; i < sizeof not / sizeof *not ; i++)
        assert_false(keyring_may_write(&signer, text_of(not [i])));
    snprintf(signer.role, sizeof signer.role, "prune");
    assert_false(keyring_may_write(&signer, TEXT("orders")));

    assert_false(keyring_check(keyring, cert, "other", bytes, signature, &signer, &err));
    assert_string_equal(err.cause, "repo.signature");
    signature[5] ^= 1;
    assert_false(keyring_check(keyring, cert, "label", bytes, signature, &signer, &err));
    signature[5] ^= 1;
    /* Signed by a host that another root enrolled. */
    scoped(buf_free) Buf foreign = {0};
    CertRecord record = {.set_id = set.keys.set_id, .host = "x", .role = "write", .sources = "*"};
    memcpy(record.sign_public, signer.sign_public, sizeof record.sign_public);
    keyfile_cert_pack(&record, other.root_seed, &foreign);
    err = (Err){0};
    assert_false(
        keyring_check(keyring, buf_slice(&foreign), "label", bytes, signature, &signer, &err));
    assert_string_equal(err.cause, "repo.key_mismatch");
    keyring_close(keyring);
}

static int setup(void **state)
{
    (void)state;
    draw(&set);
    draw(&other);
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    remove_files();
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_decide_what_a_host_can_do),
        cmocka_unit_test(a_passphrase_is_asked_for_when_it_is_needed_and_never_else),
        cmocka_unit_test(files_of_two_key_sets_are_not_mixed),
        cmocka_unit_test(a_repository_of_another_root_set_or_older_generation_is_refused),
        cmocka_unit_test(a_writer_seals_to_the_readers_of_its_own_file_alone),
        cmocka_unit_test(names_of_content_come_from_the_id_secret),
        cmocka_unit_test(a_signer_is_who_the_root_says_and_may_write_what_it_says),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
