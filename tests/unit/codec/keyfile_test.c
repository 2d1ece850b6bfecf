/* SPDX-License-Identifier: Apache-2.0
 * Key records and the recovery kit: what was written is read, what was touched is refused. */
#include "common/codec/keyfile.h"

#include "common/base/rand.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static uint8_t root_seed[SEAL_SIGN_SEED], other_seed[SEAL_SIGN_SEED];
static KeysRecord keys;
static ConfigRecord config;
static CertRecord cert;
static WriterFile writer;
static ReaderFile reader;
static Kit kit;

static int setup(void **state)
{
    (void)state;
    rand_bytes(root_seed, sizeof root_seed);
    rand_bytes(other_seed, sizeof other_seed);
    keys = (KeysRecord){.set = "fleet-2026", .set_id = rand_uuid(), .generation = 7};
    seal_sign_public_of(root_seed, keys.root);
    keys.reader_count = DISK_READERS_MOST;
    rand_bytes((uint8_t *)keys.readers, sizeof keys.readers);
    rand_bytes((uint8_t *)keys.boxes, sizeof keys.boxes);
    config = (ConfigRecord){.repository = rand_uuid(), .set_id = keys.set_id, .generation = 7};
    memcpy(config.set, keys.set, sizeof config.set);
    memcpy(config.root, keys.root, sizeof config.root);
    cert = (CertRecord){.set_id = keys.set_id,
                        .generation = 7,
                        .host = "db-3",
                        .role = "write",
                        .sources = "orders mail"};
    writer.keys = keys;
    rand_bytes(writer.id_secret, sizeof writer.id_secret);
    rand_bytes(writer.sign_seed, sizeof writer.sign_seed);
    rand_bytes(writer.box_secret, sizeof writer.box_secret);
    seal_sign_public_of(writer.sign_seed, cert.sign_public);
    seal_public_of(writer.box_secret, cert.box_public);
    keyfile_cert_pack(&cert, root_seed, &writer.certificate);
    reader = (ReaderFile){.set = "fleet-2026", .set_id = keys.set_id, .generation = 7};
    memcpy(reader.root, keys.root, sizeof reader.root);
    rand_bytes(reader.secret, sizeof reader.secret);
    kit = (Kit){.set = "fleet-2026", .set_id = keys.set_id};
    memcpy(kit.root_seed, root_seed, sizeof kit.root_seed);
    rand_bytes(kit.reader_secret, sizeof kit.reader_secret);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    keyfile_writer_wipe(&writer);
    return 0;
}

/* Each kind of record: how it is packed here, and whether bytes are read as the same record. */
typedef struct Kind {
    const char *name;
    void (*pack)(Buf *out);
    bool (*same)(Slice bytes, Err *err);
    bool is_signed;
} Kind;

static void pack_keys(Buf *out)
{
    keyfile_keys_pack(&keys, root_seed, out);
}

static bool same_keys(Slice bytes, Err *err)
{
    KeysRecord back;
    return keyfile_keys_unpack(bytes, &back, err) && strcmp(back.set, keys.set) == 0 &&
           uuid_equal(&back.set_id, &keys.set_id) && back.generation == 7 &&
           back.reader_count == keys.reader_count &&
           memcmp(back.root, keys.root, sizeof keys.root) == 0 &&
           memcmp(back.readers, keys.readers, sizeof keys.readers) == 0 &&
           memcmp(back.boxes, keys.boxes, sizeof keys.boxes) == 0;
}

static void pack_config(Buf *out)
{
    keyfile_config_pack(&config, root_seed, out);
}

static bool same_config(Slice bytes, Err *err)
{
    ConfigRecord back;
    return keyfile_config_unpack(bytes, &back, err) && strcmp(back.set, config.set) == 0 &&
           uuid_equal(&back.set_id, &config.set_id) && back.generation == 7 && !back.plain &&
           uuid_equal(&back.repository, &config.repository) &&
           memcmp(back.root, config.root, sizeof config.root) == 0;
}

static void pack_cert(Buf *out)
{
    keyfile_cert_pack(&cert, root_seed, out);
}

static bool same_cert(Slice bytes, Err *err)
{
    CertRecord back;
    return keyfile_cert_unpack(bytes, keys.root, &back, err) &&
           memcmp(&back, &cert, sizeof cert) == 0;
}

static void pack_writer(Buf *out)
{
    keyfile_writer_pack(&writer, out);
}

static bool same_writer(Slice bytes, Err *err)
{
    WriterFile back;
    bool same = keyfile_writer_unpack(bytes, &back, err) && strcmp(back.keys.set, keys.set) == 0 &&
                back.keys.generation == 7 && uuid_equal(&back.keys.set_id, &keys.set_id) &&
                memcmp(back.keys.root, keys.root, sizeof keys.root) == 0 &&
                back.keys.reader_count == keys.reader_count &&
                memcmp(back.keys.readers, keys.readers, sizeof keys.readers) == 0 &&
                memcmp(back.id_secret, writer.id_secret, SEAL_KEY) == 0 &&
                memcmp(back.sign_seed, writer.sign_seed, SEAL_SIGN_SEED) == 0 &&
                memcmp(back.box_secret, writer.box_secret, SEAL_SECRET) == 0 &&
                slice_equal(buf_slice(&back.certificate), buf_slice(&writer.certificate));
    keyfile_writer_wipe(&back);
    return same;
}

static void pack_reader(Buf *out)
{
    keyfile_reader_pack(&reader, out);
}

static bool same_reader(Slice bytes, Err *err)
{
    ReaderFile back;
    return keyfile_reader_unpack(bytes, &back, err) && memcmp(&back, &reader, sizeof reader) == 0;
}

static const Kind KINDS[] = {
    {"keys", pack_keys, same_keys, true},        {"config", pack_config, same_config, true},
    {"cert", pack_cert, same_cert, true},        {"writer", pack_writer, same_writer, false},
    {"reader", pack_reader, same_reader, false},
};
enum { KINDS_COUNT = sizeof KINDS / sizeof *KINDS };

static void every_record_is_read_as_it_was_written_and_as_no_other(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS_COUNT; i++) {
        scoped(buf_free) Buf bytes = {0};
        KINDS[i].pack(&bytes);
        for (size_t k = 0; k < KINDS_COUNT; k++) {
            Err err = {0};
            bool same = KINDS[k].same(buf_slice(&bytes), &err);
            if (same != (i == k))
                fail_msg("%s as %s: %s", KINDS[i].name, KINDS[k].name, err.text);
        }
    }
}

static void no_record_is_read_when_a_bit_is_turned_or_an_end_cut_off(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS_COUNT; i++) {
        scoped(buf_free) Buf bytes = {0};
        KINDS[i].pack(&bytes);
        for (size_t bit = 0; bit < bytes.len * 8; bit++) {
            Err err = {0};
            bytes.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
            bool same = KINDS[i].same(buf_slice(&bytes), &err);
            bytes.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
            if (same)
                fail_msg("%s with bit %zu turned", KINDS[i].name, bit);
            /* An unsigned file may be read as another, never as this one; a signed one not at all.
             */
            if (KINDS[i].is_signed)
                assert_int_not_equal(err.code, ERR_NONE);
        }
        for (size_t len = 0; len < bytes.len; len++) {
            Err err = {0};
            assert_false(KINDS[i].same((Slice){bytes.at, len}, &err));
            assert_int_not_equal(err.code, ERR_NONE);
        }
        buf_add_byte(&bytes, 0);
        Err err = {0};
        assert_false(KINDS[i].same(buf_slice(&bytes), &err));
    }
}

static void what_another_root_signed_is_another_key_sets(void **state)
{
    (void)state;
    Err err = {0};
    KeysRecord back;
    CertRecord back_cert;
    ConfigRecord back_config;
    scoped(buf_free) Buf bytes = {0};
    keyfile_keys_pack(&keys, other_seed, &bytes);
    assert_false(keyfile_keys_unpack(buf_slice(&bytes), &back, &err));
    assert_string_equal(err.cause, "repo.key_mismatch");
    buf_clear(&bytes);
    keyfile_cert_pack(&cert, other_seed, &bytes);
    assert_false(keyfile_cert_unpack(buf_slice(&bytes), keys.root, &back_cert, &err));
    assert_string_equal(err.cause, "repo.key_mismatch");
    buf_clear(&bytes);
    keyfile_config_pack(&config, other_seed, &bytes);
    assert_false(keyfile_config_unpack(buf_slice(&bytes), &back_config, &err));
    assert_string_equal(err.cause, "repo.key_mismatch");
}

static void a_signature_cannot_be_left_away_by_calling_it_plain(void **state)
{
    (void)state;
    Err err = {0};
    ConfigRecord back, plain = config;
    scoped(buf_free) Buf bytes = {0};
    keyfile_config_pack(&config, root_seed, &bytes);
    assert_false(keyfile_config_unpack((Slice){bytes.at, bytes.len - SEAL_SIGNATURE}, &back, &err));
    buf_clear(&bytes);
    plain.plain = true;
    keyfile_config_pack(&plain, NULL, &bytes);
    assert_true(keyfile_config_unpack(buf_slice(&bytes), &back, &err));
    assert_true(back.plain); /* and whoever holds keys refuses it: keyring_test */
    buf_extend(&bytes, SEAL_SIGNATURE);
    assert_false(keyfile_config_unpack(buf_slice(&bytes), &back, &err));
}

static bool same_kit(const Buf *text, Err *err)
{
    Kit back;
    return keyfile_kit_parse(buf_text(text), &back, err) && memcmp(&back, &kit, sizeof kit) == 0;
}

static void a_kit_is_read_however_it_is_typed(void **state)
{
    (void)state;
    Err err = {0};
    scoped(buf_free) Buf page = {0};
    scoped(buf_free) Buf typed = {0};
    keyfile_kit_print(&kit, &page);
    assert_true(same_kit(&page, &err));
    /* Lower case, o and l for 0 and 1, no dashes in the secrets, a carriage return a line. */
    bool secret = false;
    for (size_t i = 0; i < page.len; i++) {
        const char *line = (const char *)page.at + i;
        if (i == 0 || page.at[i - 1] == '\n')
            secret = strncmp(line, "root ", 5) == 0 || strncmp(line, "reader ", 7) == 0;
        char c = (char)page.at[i];
        if (secret && c == '-')
            continue;
        if (secret)
            c = c == '0' ? 'o' : c == '1' ? 'l' : (char)tolower(c);
        if (c == '\n')
            buf_add_byte(&typed, '\r');
        buf_add_byte(&typed, (uint8_t)c);
    }
    assert_true(same_kit(&typed, &err));
}

/* Two characters swapped, one mistyped, one left out, one too many, a line missing. */
static void a_kit_with_a_slip_is_refused(void **state)
{
    (void)state;
    scoped(buf_free) Buf page = {0};
    Err err = {0};
    keyfile_kit_print(&kit, &page);
    buf_add_byte(&page, 0);
    page.len--;
    const char *at = strstr((const char *)page.at, "\nroot ");
    assert_non_null(at);
    for (size_t i = (size_t)(at - (const char *)page.at) + 10; i < page.len; i++) {
        scoped(buf_free) Buf slip = {0};
        uint8_t c = page.at[i];
        if (!isalnum(c) || strncmp((const char *)page.at + i - 1, "\nreader", 7) == 0 ||
            !(isdigit(c) || isupper(c)))
            continue;
        buf_add_slice(&slip, buf_slice(&page));
        slip.at[i] = c == '7' ? '8' : '7';
        if (same_kit(&slip, &err))
            fail_msg("a slip at %zu was not noticed", i);
        memmove(slip.at + i, slip.at + i + 1, slip.len - i - 1);
        slip.len--;
        if (same_kit(&slip, &err))
            fail_msg("a character left out at %zu was not noticed", i);
    }
    static const char *const lines[] = {"key set ", "set id ", "root ", "reader ", "check "};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        scoped(buf_free) Buf less = {0};
        buf_add_slice(&less, buf_slice(&page));
        char *line = strstr((char *)less.at, lines[i]);
        while (line != NULL && line > (char *)less.at && line[-1] != '\n')
            line = strstr(line + 1, lines[i]);
        assert_non_null(line);
        line[0] = '#';
        err = (Err){0};
        assert_false(same_kit(&less, &err));
        assert_string_equal(err.cause, "key.kit");
    }
}

static void a_name_with_a_nul_or_without_end_is_refused(void **state)
{
    (void)state;
    Err err = {0};
    ReaderFile back;
    scoped(buf_free) Buf bytes = {0};
    keyfile_reader_pack(&reader, &bytes);
    uint8_t *name = memmem(bytes.at, bytes.len, "fleet-2026", 10);
    assert_non_null(name);
    name[5] = 0;
    assert_false(keyfile_reader_unpack(buf_slice(&bytes), &back, &err));
    assert_string_equal(err.cause, "key.damaged");
}

static const Slice words = {(const uint8_t *)"seven quiet herons", 18};

static void a_reader_file_under_a_passphrase_opens_with_it_and_with_no_other(void **state)
{
    (void)state;
    Err err = {0};
    ReaderFile back;
    scoped(buf_free) Buf plain = {0}, locked = {0}, again = {0};
    keyfile_reader_pack(&reader, &plain);
    assert_true(keyfile_reader_lock(&reader, words, &locked, &err));
    assert_true(keyfile_reader_lock(&reader, words, &again, &err));
    assert_true(keyfile_reader_is_locked(buf_slice(&locked)));
    assert_false(keyfile_reader_is_locked(buf_slice(&plain)));
    assert_null(memmem(locked.at, locked.len, reader.secret, sizeof reader.secret));
    assert_false(slice_equal(buf_slice(&locked), buf_slice(&again))); /* a salt of its own */

    assert_true(keyfile_reader_unlock(buf_slice(&locked), words, &back, &err));
    assert_memory_equal(&back, &reader, sizeof reader);
    assert_true(keyfile_reader_look(buf_slice(&locked), &back, &err));
    assert_string_equal(back.set, "fleet-2026");

    assert_false(
        keyfile_reader_unlock(buf_slice(&locked), (Slice){words.at, words.len - 1}, &back, &err));
    assert_string_equal(err.cause, "key.passphrase");
    err = (Err){0};
    assert_false(keyfile_reader_unpack(buf_slice(&locked), &back, &err));
    assert_string_equal(err.cause, "key.passphrase_missing");
    err = (Err){0};
    assert_false(keyfile_reader_lock(&reader, (Slice){words.at, 7}, &again, &err));
    assert_string_equal(err.cause, "key.passphrase_short");
}

/* The key of another set must not be taken for this one's, nor a file ask for all memory. */
static void a_locked_reader_file_that_was_changed_does_not_open(void **state)
{
    (void)state;
    Err err = {0};
    ReaderFile back;
    scoped(buf_free) Buf locked = {0};
    assert_true(keyfile_reader_lock(&reader, words, &locked, &err));
    static const char *const parts[] = {"fleet-2026", "root", "salt", "sealed"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        scoped(buf_free) Buf touched = {0};
        buf_add_slice(&touched, buf_slice(&locked));
        uint8_t *at = memmem(touched.at, touched.len, parts[i], strlen(parts[i]));
        assert_non_null(at);
        at[i == 0 ? 3 : strlen(parts[i]) + 4] ^= 1;
        err = (Err){0};
        assert_false(keyfile_reader_unlock(buf_slice(&touched), words, &back, &err));
        assert_string_equal(err.cause, "key.passphrase");
    }
    uint8_t *memory = memmem(locked.at, locked.len, "memory", 6);
    assert_non_null(memory);
    memory[6 + 1] = 0xff; /* 0xce u32: 4 GiB */
    err = (Err){0};
    assert_false(keyfile_reader_unlock(buf_slice(&locked), words, &back, &err));
    assert_string_equal(err.cause, "key.limits");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_record_is_read_as_it_was_written_and_as_no_other),
        cmocka_unit_test(no_record_is_read_when_a_bit_is_turned_or_an_end_cut_off),
        cmocka_unit_test(what_another_root_signed_is_another_key_sets),
        cmocka_unit_test(a_signature_cannot_be_left_away_by_calling_it_plain),
        cmocka_unit_test(a_kit_is_read_however_it_is_typed),
        cmocka_unit_test(a_kit_with_a_slip_is_refused),
        cmocka_unit_test(a_name_with_a_nul_or_without_end_is_refused),
        cmocka_unit_test(a_reader_file_under_a_passphrase_opens_with_it_and_with_no_other),
        cmocka_unit_test(a_locked_reader_file_that_was_changed_does_not_open),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
