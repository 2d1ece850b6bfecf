/* SPDX-License-Identifier: Apache-2.0 */
#include "common/codec/keyfile.h"

#include "common/base/hash.h"
#include "common/base/rand.h"
#include "protocol/wire.h"

#include <inttypes.h>
#include <stdio.h>

static const WireLimits LIMITS = {256 << 10, 4, 1024};

/* --- writing: head, map, signature ----------------------------------------------------------- */

typedef struct Record {
    msgpack_sbuffer body;
    msgpack_packer to;
} Record;

static void record_begin(Record *record, size_t members)
{
    msgpack_sbuffer_init(&record->body);
    msgpack_packer_init(&record->to, &record->body, msgpack_sbuffer_write);
    msgpack_pack_map(&record->to, members);
}

static void add_key(Record *record, const char *key)
{
    msgpack_pack_str_with_body(&record->to, key, strlen(key));
}

static void add_text(Record *record, const char *key, const char *text)
{
    add_key(record, key);
    msgpack_pack_str_with_body(&record->to, text, strlen(text));
}

static void add_bytes(Record *record, const char *key, const void *at, size_t len)
{
    add_key(record, key);
    msgpack_pack_bin_with_body(&record->to, at, len);
}

static void add_number(Record *record, const char *key, uint64_t number)
{
    add_key(record, key);
    msgpack_pack_uint64(&record->to, number);
}

/* Adds head and body to out, and the root's signature where there is a seed. */
static void record_end(Record *record, DiskRecord kind, const char *label, const uint8_t *seed,
                       Buf *out)
{
    size_t start = out->len;
    buf_add(out, disk_magic(kind), DISK_MAGIC);
    buf_add_byte(out, disk_version(kind));
    buf_add_byte(out, DISK_PLAIN);
    buf_add_le32(out, (uint32_t)record->body.size);
    buf_add(out, record->body.data, record->body.size);
    if (seed != NULL) {
        uint8_t signature[SEAL_SIGNATURE];
        seal_sign(seed, label, (Slice){out->at + start, out->len - start}, signature);
        buf_add(out, signature, sizeof signature);
    }
    explicit_bzero(record->body.data, record->body.size);
    msgpack_sbuffer_destroy(&record->body);
}

/* --- reading ---------------------------------------------------------------------------------- */

typedef struct Reading {
    msgpack_unpacked unpacked;
    Slice signed_part;
    const uint8_t *signature; /* NULL: none */
    Err *err;
} Reading;

static bool damaged(Err *err, const char *what)
{
    return err_set(err, ERR_CORRUPT, "key.damaged", "a key record is damaged: %s", what);
}

static bool reading_as(Reading *reading, Slice bytes, DiskRecord kind, DiskAlgorithm expected,
                       bool has_signature, Err *err)
{
    uint8_t algorithm;
    uint32_t len = 0;
    *reading = (Reading){.err = err};
    msgpack_unpacked_init(&reading->unpacked);
    if (!disk_check(bytes, kind, &algorithm, err))
        return false;
    if (algorithm != expected)
        return damaged(err, "its algorithm is not known; a newer version wrote it");
    if (bytes.len < DISK_HEAD + 4)
        return damaged(err, "it is cut short");
    for (unsigned i = 0; i < 4; i++)
        len |= (uint32_t)bytes.at[DISK_HEAD + i] << (8 * i);
    size_t end = DISK_HEAD + 4 + (size_t)len;
    if (bytes.len != end + (has_signature ? SEAL_SIGNATURE : 0))
        return damaged(err, "its length is not the one it says");
    reading->signed_part = (Slice){bytes.at, end};
    reading->signature = has_signature ? bytes.at + end : NULL;
    return wire_unpack((Slice){bytes.at + DISK_HEAD + 4, len}, &LIMITS, &reading->unpacked, err) &&
           wire_take_map(&reading->unpacked.data, "a key record", err);
}

static bool reading_begin(Reading *reading, Slice bytes, DiskRecord kind, bool has_signature,
                          Err *err)
{
    return reading_as(reading, bytes, kind, DISK_PLAIN, has_signature, err);
}

static const msgpack_object *member(const Reading *reading, const char *key)
{
    const msgpack_object_map *map = &reading->unpacked.data.via.map;
    for (uint32_t i = 0; i < map->size; i++)
        if (map->ptr[i].key.type == MSGPACK_OBJECT_STR &&
            text_equal((Text){map->ptr[i].key.via.str.ptr, map->ptr[i].key.via.str.size},
                       text_of(key)))
            return &map->ptr[i].val;
    return NULL;
}

static bool take_bytes(const Reading *reading, const char *key, void *out, size_t len)
{
    Slice bytes;
    const msgpack_object *value = member(reading, key);
    if (value == NULL || !wire_take_bytes(value, key, &bytes, reading->err) || bytes.len != len)
        return damaged(reading->err, key);
    memcpy(out, bytes.at, len);
    return true;
}

static bool take_text(const Reading *reading, const char *key, char *out, size_t room)
{
    Text text;
    const msgpack_object *value = member(reading, key);
    if (value == NULL || !wire_take_text(value, key, &text, reading->err) || text.len >= room ||
        memchr(text.at, 0, text.len) != NULL)
        return damaged(reading->err, key);
    memcpy(out, text.at, text.len);
    out[text.len] = 0;
    return true;
}

static bool take_number(const Reading *reading, const char *key, uint64_t *out)
{
    const msgpack_object *value = member(reading, key);
    return (value != NULL && wire_take_u64(value, key, out, reading->err)) ||
           damaged(reading->err, key);
}

/* count * size bytes in one string. */
static bool take_many(const Reading *reading, const char *key, void *out, size_t size,
                      unsigned *count)
{
    Slice bytes;
    const msgpack_object *value = member(reading, key);
    if (value == NULL || !wire_take_bytes(value, key, &bytes, reading->err) ||
        bytes.len % size != 0 || bytes.len / size > DISK_READERS_MOST || bytes.len == 0)
        return damaged(reading->err, key);
    memcpy(out, bytes.at, bytes.len);
    *count = (unsigned)(bytes.len / size);
    return true;
}

static bool root_signed(const Reading *reading, const char *label, const uint8_t *root)
{
    if (seal_signed(root, label, reading->signed_part, reading->signature))
        return true;
    return err_set(reading->err, ERR_CORRUPT, "repo.key_mismatch",
                   "a record does not carry the root's signature; is this another key set's "
                   "repository?");
}

/* --- keys, config, certificate ------------------------------------------------------------------
 */

static const char KEYS_LABEL[] = "holdfast keys 1";
static const char CONFIG_LABEL[] = "holdfast config 1";
static const char CERT_LABEL[] = "holdfast certificate 1";

static void add_set(Record *record, const char *set, const Uuid *id, uint64_t generation)
{
    add_text(record, "set", set);
    add_bytes(record, "set_id", id->bytes, sizeof id->bytes);
    add_number(record, "generation", generation);
}

static bool take_set(const Reading *reading, char *set, Uuid *id, uint64_t *generation)
{
    return take_text(reading, "set", set, KEYFILE_NAME_MOST + 1) &&
           take_bytes(reading, "set_id", id->bytes, sizeof id->bytes) &&
           take_number(reading, "generation", generation);
}

/* host, filled up with zeros 128 | generation u64 | sha256 of the list 32 */
enum { REVOKED_ROW = 128 + 8 + 32 };
_Static_assert(sizeof(OlderReader) == 16 + 16 + SEAL_BOX, "rows lie as they are stored");

static void add_revoked(Record *record, const KeysRecord *keys)
{
    scoped(buf_free) Buf rows = {0};
    for (unsigned i = 0; i < keys->revoked_count; i++) {
        const RevokedHost *one = &keys->revoked[i];
        uint8_t *at = buf_extend(&rows, REVOKED_ROW);
        memset(at, 0, REVOKED_ROW);
        memcpy(at, one->host, strlen(one->host));
        for (unsigned b = 0; b < 8; b++)
            at[128 + b] = (uint8_t)(one->before >> (8 * b));
        memcpy(at + 136, one->kept.bytes, sizeof one->kept.bytes);
    }
    add_bytes(record, "revoked", rows.at, rows.len);
}

/* In a key of its own: records of before have none, and readers of before skip it. */
static void add_revoked_at(Record *record, const KeysRecord *keys)
{
    uint8_t times[DISK_REVOKED_MOST * 8];
    for (unsigned i = 0; i < keys->revoked_count; i++)
        for (unsigned b = 0; b < 8; b++)
            times[8 * i + b] = (uint8_t)(keys->revoked[i].at_s >> (8 * b));
    add_bytes(record, "revoked_at", times, 8 * (size_t)keys->revoked_count);
}

/* Rows that a record of a first generation lacks. */
static bool take_rows(const Reading *reading, const char *key, size_t size, unsigned most,
                      Slice *rows)
{
    const msgpack_object *value = member(reading, key);
    *rows = (Slice){0};
    if (value == NULL)
        return true;
    return (wire_take_bytes(value, key, rows, reading->err) && rows->len % size == 0 &&
            rows->len / size <= most) ||
           damaged(reading->err, key);
}

static bool take_older(const Reading *reading, KeysRecord *keys)
{
    Slice rows;
    if (!take_rows(reading, "older", sizeof keys->older[0], DISK_OLDER_MOST, &rows))
        return false;
    keys->older_count = (unsigned)(rows.len / sizeof keys->older[0]);
    if (rows.len > 0)
        memcpy(keys->older, rows.at, rows.len);
    return true;
}

static bool take_revoked(const Reading *reading, KeysRecord *keys)
{
    Slice rows;
    if (!take_rows(reading, "revoked", REVOKED_ROW, DISK_REVOKED_MOST, &rows))
        return false;
    for (size_t at = 0; at < rows.len; at += REVOKED_ROW) {
        RevokedHost *one = &keys->revoked[keys->revoked_count++];
        if (rows.at[at + 127] != 0)
            return damaged(reading->err, "revoked");
        memcpy(one->host, rows.at + at, sizeof one->host);
        for (unsigned b = 0; b < 8; b++)
            one->before |= (uint64_t)rows.at[at + 128 + b] << (8 * b);
        memcpy(one->kept.bytes, rows.at + at + 136, sizeof one->kept.bytes);
    }
    return true;
}

/* As many as there are rows, or none. */
static bool take_revoked_at(const Reading *reading, KeysRecord *keys)
{
    Slice times;
    if (!take_rows(reading, "revoked_at", 8, DISK_REVOKED_MOST, &times))
        return false;
    if (times.len != 0 && times.len != 8 * (size_t)keys->revoked_count)
        return damaged(reading->err, "revoked_at");
    for (size_t at = 0; at < times.len; at++)
        keys->revoked[at / 8].at_s |= (uint64_t)times.at[at] << (8 * (at % 8));
    return true;
}

static bool take_least(const Reading *reading, uint64_t *out)
{
    return member(reading, "least_writer") == NULL || take_number(reading, "least_writer", out);
}

void keyfile_keys_name(const char *set, uint64_t generation, char out[KEYFILE_OBJECT_NAME])
{
    if (generation <= 1)
        snprintf(out, KEYFILE_OBJECT_NAME, "keys/%s", set);
    else
        snprintf(out, KEYFILE_OBJECT_NAME, "keys/%s.%" PRIu64, set, generation);
}

void keyfile_kept_name(const char *set, uint64_t generation, char out[KEYFILE_OBJECT_NAME])
{
    snprintf(out, KEYFILE_OBJECT_NAME, "keys/%s.kept.%" PRIu64, set, generation);
}

void keyfile_keys_pack(const KeysRecord *keys, const uint8_t root_seed[SEAL_SIGN_SEED], Buf *out)
{
    Record record;
    record_begin(&record, 6u + (keys->older_count > 0) + 2u * (keys->revoked_count > 0) +
                              (keys->least_writer > 0));
    add_set(&record, keys->set, &keys->set_id, keys->generation);
    add_bytes(&record, "root", keys->root, sizeof keys->root);
    add_bytes(&record, "readers", keys->readers, (size_t)keys->reader_count * SEAL_PUBLIC);
    add_bytes(&record, "boxes", keys->boxes, (size_t)keys->reader_count * SEAL_BOX);
    if (keys->older_count > 0)
        add_bytes(&record, "older", keys->older, keys->older_count * sizeof keys->older[0]);
    if (keys->revoked_count > 0) {
        add_revoked(&record, keys);
        add_revoked_at(&record, keys);
    }
    if (keys->least_writer > 0)
        add_number(&record, "least_writer", keys->least_writer);
    record_end(&record, DISK_KEYS, KEYS_LABEL, root_seed, out);
}

bool keyfile_keys_unpack(Slice bytes, KeysRecord *keys, Err *err)
{
    Reading reading;
    unsigned boxes = 0;
    *keys = (KeysRecord){0};
    bool done = reading_begin(&reading, bytes, DISK_KEYS, true, err) &&
                take_set(&reading, keys->set, &keys->set_id, &keys->generation) &&
                take_bytes(&reading, "root", keys->root, sizeof keys->root) &&
                take_many(&reading, "readers", keys->readers, SEAL_PUBLIC, &keys->reader_count) &&
                take_many(&reading, "boxes", keys->boxes, SEAL_BOX, &boxes) &&
                (boxes == keys->reader_count || damaged(err, "boxes")) &&
                take_older(&reading, keys) && take_revoked(&reading, keys) &&
                take_revoked_at(&reading, keys) && take_least(&reading, &keys->least_writer) &&
                root_signed(&reading, KEYS_LABEL, keys->root);
    msgpack_unpacked_destroy(&reading.unpacked);
    return done;
}

void keyfile_config_pack(const ConfigRecord *config, const uint8_t *root_seed, Buf *out)
{
    Record record;
    record_begin(&record, 6);
    add_set(&record, config->set, &config->set_id, config->generation);
    add_bytes(&record, "root", config->root, sizeof config->root);
    add_bytes(&record, "repository", config->repository.bytes, sizeof config->repository.bytes);
    add_number(&record, "plain", config->plain);
    record_end(&record, DISK_CONFIG, CONFIG_LABEL, config->plain ? NULL : root_seed, out);
}

bool keyfile_config_unpack(Slice bytes, ConfigRecord *config, Err *err)
{
    Reading reading;
    uint64_t plain = 0;
    uint32_t len = 0;
    *config = (ConfigRecord){0};
    for (unsigned i = 0; bytes.len >= DISK_HEAD + 4 && i < 4; i++)
        len |= (uint32_t)bytes.at[DISK_HEAD + i] << (8 * i);
    bool has_signature = bytes.len != DISK_HEAD + 4 + (size_t)len;
    bool done = reading_begin(&reading, bytes, DISK_CONFIG, has_signature, err) &&
                take_set(&reading, config->set, &config->set_id, &config->generation) &&
                take_bytes(&reading, "root", config->root, sizeof config->root) &&
                take_bytes(&reading, "repository", config->repository.bytes,
                           sizeof config->repository.bytes) &&
                take_number(&reading, "plain", &plain) &&
                ((plain == 1) == !has_signature || damaged(err, "its signature")) &&
                (!has_signature || root_signed(&reading, CONFIG_LABEL, config->root));
    config->plain = plain == 1;
    msgpack_unpacked_destroy(&reading.unpacked);
    return done;
}

void keyfile_cert_pack(const CertRecord *cert, const uint8_t root_seed[SEAL_SIGN_SEED], Buf *out)
{
    Record record;
    record_begin(&record, 7);
    add_bytes(&record, "set_id", cert->set_id.bytes, sizeof cert->set_id.bytes);
    add_number(&record, "generation", cert->generation);
    add_text(&record, "host", cert->host);
    add_text(&record, "role", cert->role);
    add_text(&record, "sources", cert->sources);
    add_bytes(&record, "sign", cert->sign_public, sizeof cert->sign_public);
    add_bytes(&record, "box", cert->box_public, sizeof cert->box_public);
    record_end(&record, DISK_CERT, CERT_LABEL, root_seed, out);
}

bool keyfile_cert_unpack(Slice bytes, const uint8_t root[SEAL_SIGN_PUBLIC], CertRecord *cert,
                         Err *err)
{
    Reading reading;
    *cert = (CertRecord){0};
    bool done = reading_begin(&reading, bytes, DISK_CERT, true, err) &&
                take_bytes(&reading, "set_id", cert->set_id.bytes, sizeof cert->set_id.bytes) &&
                take_number(&reading, "generation", &cert->generation) &&
                take_text(&reading, "host", cert->host, sizeof cert->host) &&
                take_text(&reading, "role", cert->role, sizeof cert->role) &&
                take_text(&reading, "sources", cert->sources, sizeof cert->sources) &&
                take_bytes(&reading, "sign", cert->sign_public, sizeof cert->sign_public) &&
                take_bytes(&reading, "box", cert->box_public, sizeof cert->box_public) &&
                root_signed(&reading, CERT_LABEL, root);
    msgpack_unpacked_destroy(&reading.unpacked);
    return done;
}

/* --- a host's own files -------------------------------------------------------------------------
 */

void keyfile_writer_pack(const WriterFile *file, Buf *out)
{
    Record record;
    record_begin(&record, 9);
    add_set(&record, file->keys.set, &file->keys.set_id, file->keys.generation);
    add_bytes(&record, "root", file->keys.root, sizeof file->keys.root);
    add_bytes(&record, "readers", file->keys.readers,
              (size_t)file->keys.reader_count * SEAL_PUBLIC);
    add_bytes(&record, "id_secret", file->id_secret, sizeof file->id_secret);
    add_bytes(&record, "sign_seed", file->sign_seed, sizeof file->sign_seed);
    add_bytes(&record, "box_secret", file->box_secret, sizeof file->box_secret);
    add_bytes(&record, "certificate", file->certificate.at, file->certificate.len);
    record_end(&record, DISK_WRITER, "", NULL, out);
}

bool keyfile_writer_unpack(Slice bytes, WriterFile *file, Err *err)
{
    Reading reading;
    Slice certificate = {0};
    *file = (WriterFile){0};
    bool done =
        reading_begin(&reading, bytes, DISK_WRITER, false, err) &&
        take_set(&reading, file->keys.set, &file->keys.set_id, &file->keys.generation) &&
        take_bytes(&reading, "root", file->keys.root, sizeof file->keys.root) &&
        take_many(&reading, "readers", file->keys.readers, SEAL_PUBLIC, &file->keys.reader_count) &&
        take_bytes(&reading, "id_secret", file->id_secret, sizeof file->id_secret) &&
        take_bytes(&reading, "sign_seed", file->sign_seed, sizeof file->sign_seed) &&
        take_bytes(&reading, "box_secret", file->box_secret, sizeof file->box_secret);
    const msgpack_object *value = done ? member(&reading, "certificate") : NULL;
    done = done && value != NULL && wire_take_bytes(value, "certificate", &certificate, err);
    if (done)
        buf_add_slice(&file->certificate, certificate);
    else if (err->code == ERR_NONE)
        damaged(err, "certificate");
    msgpack_unpacked_destroy(&reading.unpacked);
    return done;
}

void keyfile_writer_wipe(WriterFile *file)
{
    buf_free(&file->certificate);
    explicit_bzero(file, sizeof *file);
}

void keyfile_reader_pack(const ReaderFile *file, Buf *out)
{
    Record record;
    record_begin(&record, 5);
    add_set(&record, file->set, &file->set_id, file->generation);
    add_bytes(&record, "root", file->root, sizeof file->root);
    add_bytes(&record, "secret", file->secret, sizeof file->secret);
    record_end(&record, DISK_READER, "", NULL, out);
}

bool keyfile_reader_unpack(Slice bytes, ReaderFile *file, Err *err)
{
    Reading reading;
    *file = (ReaderFile){0};
    if (keyfile_reader_is_locked(bytes))
        return err_set(err, ERR_DENIED, "key.passphrase_missing",
                       "the reader file is under a passphrase: name it with key_passphrase in "
                       "worker.yaml, or --passphrase-file");
    bool done = reading_begin(&reading, bytes, DISK_READER, false, err) &&
                take_set(&reading, file->set, &file->set_id, &file->generation) &&
                take_bytes(&reading, "root", file->root, sizeof file->root) &&
                take_bytes(&reading, "secret", file->secret, sizeof file->secret);
    msgpack_unpacked_destroy(&reading.unpacked);
    return done;
}

/* --- a reader file under a passphrase ----------------------------------------------------------
 */

enum { PASSES = 4, MEMORY = 64 << 20, SALT = 16 };

/* What is sealed with the secret: whoever changes it makes the passphrase a wrong one. */
static void locked_context(const ReaderFile *file, Buf *out)
{
    buf_add(out, file->set, strlen(file->set) + 1);
    buf_add(out, file->set_id.bytes, sizeof file->set_id.bytes);
    buf_add_le64(out, file->generation);
    buf_add(out, file->root, sizeof file->root);
}

bool keyfile_reader_is_locked(Slice bytes)
{
    uint8_t algorithm;
    Err ignored = {0};
    return disk_check(bytes, DISK_READER, &algorithm, &ignored) && algorithm == DISK_LOCKED;
}

bool keyfile_reader_lock(const ReaderFile *file, Slice passphrase, Buf *out, Err *err)
{
    Record record;
    scoped(buf_free) Buf context = {0};
    uint8_t salt[SALT], key[SEAL_KEY], sealed[SEAL_SECRET + SEAL_TAG];
    if (passphrase.len < KEYFILE_PASSPHRASE_LEAST)
        return err_set(err, ERR_USAGE, "key.passphrase_short",
                       "a passphrase has %d bytes at least; take more, of words that nobody "
                       "guesses",
                       KEYFILE_PASSPHRASE_LEAST);
    rand_bytes(salt, sizeof salt);
    if (!seal_stretch(passphrase, salt, PASSES, MEMORY, key, err))
        return false;
    locked_context(file, &context);
    seal_encrypt(key, buf_slice(&context), (Slice){file->secret, SEAL_SECRET}, sealed);
    explicit_bzero(key, sizeof key);
    record_begin(&record, 8);
    add_set(&record, file->set, &file->set_id, file->generation);
    add_bytes(&record, "root", file->root, sizeof file->root);
    add_bytes(&record, "salt", salt, sizeof salt);
    add_number(&record, "passes", PASSES);
    add_number(&record, "memory", MEMORY);
    add_bytes(&record, "sealed", sealed, sizeof sealed);
    size_t start = out->len;
    record_end(&record, DISK_READER, "", NULL, out);
    out->at[start + DISK_MAGIC + 1] = DISK_LOCKED;
    return true;
}

static bool take_reader_face(const Reading *reading, ReaderFile *file)
{
    return take_set(reading, file->set, &file->set_id, &file->generation) &&
           take_bytes(reading, "root", file->root, sizeof file->root);
}

bool keyfile_reader_look(Slice bytes, ReaderFile *file, Err *err)
{
    Reading reading;
    *file = (ReaderFile){0};
    DiskAlgorithm algorithm = keyfile_reader_is_locked(bytes) ? DISK_LOCKED : DISK_PLAIN;
    bool done = reading_as(&reading, bytes, DISK_READER, algorithm, false, err) &&
                take_reader_face(&reading, file);
    msgpack_unpacked_destroy(&reading.unpacked);
    return done;
}

bool keyfile_reader_unlock(Slice bytes, Slice passphrase, ReaderFile *file, Err *err)
{
    Reading reading;
    uint64_t passes = 0, memory = 0;
    uint8_t salt[SALT], key[SEAL_KEY], sealed[SEAL_SECRET + SEAL_TAG];
    scoped(buf_free) Buf context = {0};
    *file = (ReaderFile){0};
    bool done =
        reading_as(&reading, bytes, DISK_READER, DISK_LOCKED, false, err) &&
        take_reader_face(&reading, file) && take_bytes(&reading, "salt", salt, sizeof salt) &&
        take_number(&reading, "passes", &passes) && take_number(&reading, "memory", &memory) &&
        take_bytes(&reading, "sealed", sealed, sizeof sealed) &&
        seal_stretch(passphrase, salt, passes, memory, key, err);
    msgpack_unpacked_destroy(&reading.unpacked);
    if (!done)
        return false;
    locked_context(file, &context);
    done =
        seal_decrypt(key, buf_slice(&context), (Slice){sealed, sizeof sealed}, file->secret, err);
    explicit_bzero(key, sizeof key);
    if (done)
        return true;
    explicit_bzero(file, sizeof *file);
    *err = (Err){0};
    return err_set(err, ERR_DENIED, "key.passphrase",
                   "the passphrase does not open the reader file: it is another one, or the file "
                   "was changed");
}

void keyfile_reader_id(const uint8_t reader[SEAL_PUBLIC], uint8_t out[16])
{
    Sha256 hash;
    hash_sha256((Slice){reader, SEAL_PUBLIC}, &hash);
    memcpy(out, hash.bytes, 16);
}
