/* SPDX-License-Identifier: Apache-2.0 */
#include "common/codec/keyring.h"

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/codec/keyfile.h"

#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

/* A reader key that this host opens with. */
typedef struct HeldReader {
    uint8_t id[16];
    uint8_t secret[SEAL_SECRET];
} HeldReader;

struct Keyring {
    char set[KEYFILE_NAME_MOST + 1];
    bool plain;
    bool can_write;
    bool can_read;
    bool can_prune;
    bool knows_ids;  /* id_secret is there */
    KeysRecord keys; /* of the writer file; of keys/ once learned */
    uint8_t id_secret[SEAL_KEY];
    uint8_t chunk_key[SEAL_KEY];
    uint8_t sign_seed[SEAL_SIGN_SEED];
    uint8_t box_secret[SEAL_SECRET]; /* of the writer file: opens grants */
    Grant *grant;
    HeldReader readers[1 + DISK_OLDER_MOST]; /* the file's own first, then those of before */
    unsigned reader_count;
    Buf certificate;
    char host[128]; /* of the certificate */
    uint64_t certified;
    uint64_t repository_generation; /* of the config last checked */
    uint64_t least_writer;
    bool outdated;
    RevokedHost revoked[DISK_REVOKED_MOST];
    Buf kept[DISK_REVOKED_MOST];
    unsigned revoked_count;
};

static void derive_chunk_key(Keyring *keyring)
{
    keyring->knows_ids = true;
    keyring_derive(keyring, "chunk ids", (Slice){0}, keyring->chunk_key);
}

static bool take_writer(Keyring *keyring, const KeyringPlace *place, Slice bytes, Err *err)
{
    (void)place;
    WriterFile file;
    CertRecord cert;
    bool done = keyfile_writer_unpack(bytes, &file, err) &&
                keyfile_cert_unpack(buf_slice(&file.certificate), file.keys.root, &cert, err);
    if (done) {
        keyring->keys = file.keys;
        memcpy(keyring->id_secret, file.id_secret, SEAL_KEY);
        memcpy(keyring->sign_seed, file.sign_seed, SEAL_SIGN_SEED);
        memcpy(keyring->box_secret, file.box_secret, SEAL_SECRET);
        buf_add_slice(&keyring->certificate, buf_slice(&file.certificate));
        memcpy(keyring->host, cert.host, sizeof keyring->host);
        keyring->certified = cert.generation;
        keyring->can_write = strcmp(cert.role, "write") == 0;
        keyring->can_prune = strcmp(cert.role, "prune") == 0;
        if (keyring->can_write)
            derive_chunk_key(keyring);
    }
    keyfile_writer_wipe(&file);
    return done;
}

/* A file of another role that was given this name would sign what readers refuse. */
static bool has_role(const Keyring *keyring, bool has, const char *suffix, Err *err)
{
    return has || keyring->certificate.len == 0 ||
           err_set(err, ERR_INVALID, "key.role",
                   "%s.%s carries a certificate of another role: make it with  holdfast-worker key "
                   "enroll --role",
                   keyring->set, suffix);
}

static bool open_reader(const KeyringPlace *place, Slice bytes, ReaderFile *file, Err *err)
{
    Secret *passphrase = NULL;
    if (!keyfile_reader_is_locked(bytes) || place->passphrase == NULL)
        return keyfile_reader_unpack(bytes, file, err);
    bool done = place->passphrase(place->ctx, &passphrase, err) &&
                keyfile_reader_unlock(bytes, secret_slice(passphrase), file, err);
    secret_free(passphrase);
    return done;
}

static bool take_reader(Keyring *keyring, const KeyringPlace *place, Slice bytes, Err *err)
{
    ReaderFile file;
    uint8_t reader_public[SEAL_PUBLIC];
    if (!open_reader(place, bytes, &file, err))
        return false;
    bool signs = keyring->can_write || keyring->can_prune;
    if (signs && (!uuid_equal(&file.set_id, &keyring->keys.set_id) ||
                  memcmp(file.root, keyring->keys.root, sizeof file.root) != 0))
        return err_set(err, ERR_INVALID, "repo.key_mismatch",
                       "the writer file and the reader file of %s are of different key sets",
                       keyring->set);
    if (!signs) {
        keyring->keys.set_id = file.set_id;
        keyring->keys.generation = file.generation;
        memcpy(keyring->keys.root, file.root, sizeof file.root);
        memcpy(keyring->keys.set, file.set, sizeof file.set);
    }
    memcpy(keyring->readers[0].secret, file.secret, SEAL_SECRET);
    seal_public_of(file.secret, reader_public);
    keyfile_reader_id(reader_public, keyring->readers[0].id);
    keyring->reader_count = 1;
    keyring->can_read = true;
    explicit_bzero(&file, sizeof file);
    return true;
}

typedef bool Taker(Keyring *keyring, const KeyringPlace *place, Slice bytes, Err *err);

static bool load(Keyring *keyring, const KeyringPlace *place, const char *suffix, Taker *take,
                 Err *err)
{
    char path[PATH_MAX];
    Secret *secret = NULL;
    snprintf(path, sizeof path, "%s/%s.%s", place->directory, keyring->set, suffix);
    if (access(path, F_OK) != 0)
        return true;
    bool done = secret_read_bytes(path, &secret, err) &&
                (take(keyring, place, secret_slice(secret), err) || err_note(err, "%s", path));
    secret_free(secret);
    return done;
}

static bool proper_set(const char *set)
{
    size_t len = strlen(set);
    return len != 0 && len <= KEYFILE_NAME_MOST && set[0] != '.' &&
           strspn(set, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == len;
}

bool keyring_open_at(Keyring **out, const KeyringPlace *place, const char *set, bool prune,
                     Err *err)
{
    const char *suffix = prune ? "prune" : "writer";
    *out = NULL;
    if (!proper_set(set))
        return err_set(err, ERR_INVALID, "key.name", "'%s' is not the name of a key set", set);
    Keyring *keyring = mem_new(Keyring);
    snprintf(keyring->set, sizeof keyring->set, "%s", set);
    keyring->plain = strcmp(set, "plain") == 0;
    madvise(keyring, sizeof *keyring, MADV_DONTDUMP);
    *out = keyring;
    if (keyring->plain) {
        keyring->can_write = keyring->can_read = keyring->can_prune = true;
        snprintf(keyring->keys.set, sizeof keyring->keys.set, "plain");
        derive_chunk_key(keyring); /* of a secret of zeros: plain names are no secret */
        return true;
    }
    bool done = load(keyring, place, suffix, take_writer, err) &&
                has_role(keyring, prune ? keyring->can_prune : keyring->can_write, suffix, err) &&
                load(keyring, place, "reader", take_reader, err);
    if (done && prune && !keyring->can_prune)
        done = err_set(err, ERR_MISSING, "key.missing",
                       "this host has no %s.prune in %s; make one with:  holdfast-worker key "
                       "enroll --role prune",
                       set, place->directory);
    if (done && !keyring->can_write && !keyring->can_prune && !keyring->can_read)
        done = err_set(err, ERR_MISSING, "key.missing",
                       "this host has neither %s.writer nor %s.reader in %s; make one with:  "
                       "holdfast-worker key enroll",
                       set, set, place->directory);
    if (!done) {
        keyring_close(keyring);
        *out = NULL;
    }
    return done;
}

bool keyring_open(Keyring **out, const char *directory, const char *set, Err *err)
{
    return keyring_open_at(out, &(KeyringPlace){.directory = directory}, set, false, err);
}

void keyring_close(Keyring *keyring)
{
    if (keyring == NULL)
        return;
    buf_free(&keyring->certificate);
    grant_free(keyring->grant);
    for (unsigned i = 0; i < keyring->revoked_count; i++)
        buf_free(&keyring->kept[i]);
    explicit_bzero(keyring, sizeof *keyring);
    mem_free(keyring);
}

const char *keyring_set(const Keyring *keyring)
{
    return keyring->set;
}

bool keyring_plain(const Keyring *keyring)
{
    return keyring->plain;
}

bool keyring_can_write(const Keyring *keyring)
{
    return keyring->can_write;
}

bool keyring_can_read(const Keyring *keyring)
{
    return keyring->can_read || keyring->grant != NULL;
}

bool keyring_can_prune(const Keyring *keyring)
{
    return keyring->can_prune;
}

Uuid keyring_set_id(const Keyring *keyring)
{
    return keyring->keys.set_id;
}

uint64_t keyring_generation(const Keyring *keyring)
{
    return keyring->keys.generation;
}

Slice keyring_root(const Keyring *keyring)
{
    return (Slice){keyring->keys.root, keyring->plain ? 0 : sizeof keyring->keys.root};
}

static bool mismatch(const Keyring *keyring, Err *err)
{
    return err_set(
        err, ERR_CORRUPT, "repo.key_mismatch",
        "the repository's root, key set or generation is not that of %s on this host; if "
        "its keys were rotated, enroll this host again",
        keyring->set);
}

bool keyring_check_config(Keyring *keyring, Slice config, Uuid *repository, Err *err)
{
    ConfigRecord record;
    if (!keyfile_config_unpack(config, &record, err))
        return false;
    if (record.plain != keyring->plain)
        return mismatch(keyring, err);
    if (!keyring->plain && (!uuid_equal(&record.set_id, &keyring->keys.set_id) ||
                            memcmp(record.root, keyring->keys.root, sizeof record.root) != 0 ||
                            record.generation < keyring->keys.generation))
        return mismatch(keyring, err);
    *repository = record.repository;
    keyring->repository_generation = record.generation;
    return true;
}

void keyring_keys_name(const Keyring *keyring, char out[KEYRING_NAME])
{
    _Static_assert((int)KEYRING_NAME >= (int)KEYFILE_OBJECT_NAME, "the longest name");
    keyfile_keys_name(keyring->set, keyring->repository_generation, out);
}

uint64_t keyring_repository_generation(const Keyring *keyring)
{
    return keyring->repository_generation;
}

bool keyring_outdated(const Keyring *keyring)
{
    return keyring->outdated;
}

/* The id secret, for the first of this host's readers that it is sealed to. */
static bool learn_ids(Keyring *keyring, const KeysRecord *record, Err *err)
{
    for (unsigned i = 0; !keyring->knows_ids && i < record->reader_count; i++) {
        uint8_t id[16];
        keyfile_reader_id(record->readers[i], id);
        if (memcmp(id, keyring->readers[0].id, sizeof id) != 0)
            continue;
        if (!seal_unbox(keyring->readers[0].secret, record->boxes[i], keyring->id_secret, err))
            return err_note(err, "the id secret of %s", keyring->set);
        derive_chunk_key(keyring);
    }
    if (!keyring->knows_ids && (keyring->can_read || !keyring->can_prune))
        return err_set(err, ERR_DENIED, "repo.no_reader",
                       "the repository is not sealed to the reader key of this host: it was "
                       "retired, or is another's; take the newest %s.reader",
                       keyring->set);
    return true;
}

/* What the readers of before could open, this one can. */
static bool learn_older(Keyring *keyring, const KeysRecord *record, Err *err)
{
    keyring->reader_count = keyring->can_read ? 1 : 0;
    for (unsigned i = 0; keyring->can_read && i < record->older_count; i++) {
        const OlderReader *one = &record->older[i];
        if (memcmp(one->to, keyring->readers[0].id, sizeof one->to) != 0)
            continue;
        HeldReader *held = &keyring->readers[keyring->reader_count++];
        if (!seal_unbox(keyring->readers[0].secret, one->box, held->secret, err))
            return err_note(err, "a reader's secret of before, of %s", keyring->set);
        memcpy(held->id, one->id, sizeof held->id);
    }
    return true;
}

static void learn_revoked(Keyring *keyring, const KeysRecord *record)
{
    for (unsigned i = 0; i < keyring->revoked_count; i++)
        buf_free(&keyring->kept[i]);
    keyring->revoked_count = record->revoked_count;
    memcpy(keyring->revoked, record->revoked, sizeof keyring->revoked);
    keyring->least_writer = record->least_writer;
}

unsigned keyring_revoked_hosts(const Keyring *keyring)
{
    return keyring->revoked_count;
}

KeyringRevoked keyring_revoked_host(const Keyring *keyring, unsigned index)
{
    const RevokedHost *one = &keyring->revoked[index];
    return (KeyringRevoked){.host = one->host, .before = one->before, .at_s = one->at_s};
}

/* Which row takes this certificate back, counted from 1; 0: none. */
static unsigned revoked_by(const Keyring *keyring, const char *host, uint64_t generation)
{
    for (unsigned i = 0; i < keyring->revoked_count; i++)
        if (generation < keyring->revoked[i].before && strcmp(keyring->revoked[i].host, host) == 0)
            return i + 1;
    return 0;
}

bool keyring_may_seal(const Keyring *keyring, Err *err)
{
    if (!keyring->can_write && !keyring->can_prune)
        return err_set(err, ERR_DENIED, "repo.no_writer",
                       "this host has no writer key of %s, so it can seal and sign nothing",
                       keyring->set);
    if (revoked_by(keyring, keyring->host, keyring->certified) != 0)
        return err_set(err, ERR_DENIED, "key.revoked",
                       "the certificate of %s was revoked: readers refuse what it signs; enroll "
                       "this host again",
                       keyring->host);
    return keyring->keys.generation >= keyring->least_writer ||
           err_set(err, ERR_DENIED, "key.retired",
                   "the writer file of %s on this host seals to a reader key that was retired: "
                   "enroll this host again with the newest %s.keys",
                   keyring->set, keyring->set);
}

unsigned keyring_kept_lists(const Keyring *keyring)
{
    return keyring->revoked_count;
}

bool keyring_kept_name(const Keyring *keyring, unsigned list, char out[KEYRING_NAME])
{
    Sha256 none;
    hash_sha256((Slice){0}, &none);
    keyfile_kept_name(keyring->set, keyring->revoked[list].before, out);
    return memcmp(&none, &keyring->revoked[list].kept, sizeof none) != 0;
}

bool keyring_learn_kept(Keyring *keyring, unsigned list, Slice bytes)
{
    Sha256 hash;
    hash_sha256(bytes, &hash);
    if (memcmp(&hash, &keyring->revoked[list].kept, sizeof hash) != 0)
        return false;
    buf_clear(&keyring->kept[list]);
    buf_add_slice(&keyring->kept[list], bytes);
    return true;
}

bool keyring_learn_keys(Keyring *keyring, Slice keys, Err *err)
{
    KeysRecord record;
    if (keyring->plain)
        return true;
    if (!keyfile_keys_unpack(keys, &record, err))
        return false;
    if (!uuid_equal(&record.set_id, &keyring->keys.set_id) ||
        memcmp(record.root, keyring->keys.root, sizeof record.root) != 0 ||
        record.generation < keyring->keys.generation ||
        record.generation < keyring->repository_generation)
        return mismatch(keyring, err);
    if (!learn_ids(keyring, &record, err) || !learn_older(keyring, &record, err))
        return false;
    learn_revoked(keyring, &record);
    keyring->outdated =
        (keyring->can_write || keyring->can_prune) &&
        (keyring->keys.reader_count != record.reader_count ||
         memcmp(keyring->keys.readers, record.readers, record.reader_count * SEAL_PUBLIC) != 0);
    return true;
}

void keyring_chunk_id(const Keyring *keyring, Slice plain, ChunkId *out)
{
    Sha256 name;
    hash_hmac_sha256((Slice){keyring->chunk_key, SEAL_KEY}, plain, &name);
    memcpy(out->bytes, name.bytes, sizeof out->bytes);
}

void keyring_derive(const Keyring *keyring, const char *label, Slice context, uint8_t out[SEAL_KEY])
{
    Sha256 hash;
    scoped(buf_free) Buf info = {0};
    buf_printf(&info, "holdfast %s", label);
    buf_add_byte(&info, 0);
    if (context.len != 0) { /* hashed: a source's name may be long */
        hash_sha256(context, &hash);
        buf_add(&info, hash.bytes, sizeof hash.bytes);
    }
    seal_derive(keyring->id_secret, buf_slice(&info), out);
}

unsigned keyring_slots(const Keyring *keyring)
{
    return keyring->plain ? 0 : keyring->keys.reader_count;
}

void keyring_reader_ids(const Keyring *keyring, uint8_t out[DISK_READERS_MOST][16])
{
    for (unsigned i = 0; i < keyring_slots(keyring); i++)
        keyfile_reader_id(keyring->keys.readers[i], out[i]);
}

void keyring_seal(const Keyring *keyring, const uint8_t key[SEAL_KEY], Buf *out)
{
    for (unsigned i = 0; i < keyring_slots(keyring); i++) {
        uint8_t *slot = buf_extend(out, DISK_SLOT);
        keyfile_reader_id(keyring->keys.readers[i], slot);
        seal_box(keyring->keys.readers[i], key, slot + 16);
    }
}

bool keyring_unseal(const Keyring *keyring, Slice slots, uint8_t key[SEAL_KEY], Err *err)
{
    if (!keyring->can_read && keyring->grant != NULL &&
        grant_object_key(keyring->grant, slots, key))
        return true;
    if (!keyring->can_read)
        return err_set(err, ERR_DENIED, "repo.no_reader",
                       "this host has no reader key of %s; restore and verify on one that has it",
                       keyring->set);
    for (size_t at = 0; at + DISK_SLOT <= slots.len; at += DISK_SLOT)
        for (unsigned i = 0; i < keyring->reader_count; i++)
            if (memcmp(slots.at + at, keyring->readers[i].id, 16) == 0)
                return seal_unbox(keyring->readers[i].secret, slots.at + at + 16, key, err);
    return err_set(err, ERR_DENIED, "repo.no_reader",
                   "this record is not sealed to the reader key of this host");
}

bool keyring_take_grant(Keyring *keyring, Slice sealed, const Uuid *grant, const Uuid *backup,
                        int64_t now_s, Err *err)
{
    GrantFacts expected = {.id = *grant, .set_id = keyring->keys.set_id, .backup = *backup};
    if (!keyring->can_write)
        return err_set(err, ERR_DENIED, "repo.no_writer",
                       "this host has no writer file of %s: a grant is sealed to its box key",
                       keyring->set);
    memcpy(expected.host, keyring->host, sizeof expected.host);
    grant_free(keyring->grant);
    keyring->grant = NULL;
    return grant_open(&keyring->grant, sealed, &expected, now_s, keyring->box_secret, err);
}

bool keyring_granted(const Keyring *keyring)
{
    return keyring->grant != NULL && !keyring->can_read;
}

bool keyring_chunk_key(const Keyring *keyring, const Uuid *pack, uint32_t ordinal,
                       uint8_t key[SEAL_KEY], Err *err)
{
    return grant_chunk_key(keyring->grant, pack, ordinal, key) ||
           err_set(err, ERR_CORRUPT, "grant.no_key",
                   "the grant does not open this chunk where it lies: packs may have been packed "
                   "anew since it was made, ask for another");
}

Slice keyring_certificate(const Keyring *keyring)
{
    return buf_slice(&keyring->certificate);
}

void keyring_sign(const Keyring *keyring, const char *label, Slice bytes,
                  uint8_t out[SEAL_SIGNATURE])
{
    if (keyring->plain || keyring->certificate.len == 0)
        memset(out, 0, SEAL_SIGNATURE);
    else
        seal_sign(keyring->sign_seed, label, bytes, out);
}

bool keyring_check_certificate(const Keyring *keyring, Slice certificate, Signer *signer, Err *err)
{
    CertRecord cert;
    if (!keyfile_cert_unpack(certificate, keyring->keys.root, &cert, err))
        return false;
    if (!uuid_equal(&cert.set_id, &keyring->keys.set_id))
        return err_set(err, ERR_CORRUPT, "repo.signature",
                       "the certificate of %s is of another key set", cert.host);
    *signer = (Signer){.generation = cert.generation,
                       .revoked = revoked_by(keyring, cert.host, cert.generation)};
    memcpy(signer->host, cert.host, sizeof signer->host);
    memcpy(signer->role, cert.role, sizeof signer->role);
    memcpy(signer->sources, cert.sources, sizeof signer->sources);
    memcpy(signer->sign_public, cert.sign_public, sizeof signer->sign_public);
    memcpy(signer->box_public, cert.box_public, sizeof signer->box_public);
    return true;
}

bool keyring_check(const Keyring *keyring, Slice certificate, const char *label, Slice bytes,
                   const uint8_t signature[SEAL_SIGNATURE], Signer *signer, Err *err)
{
    if (keyring->plain) {
        *signer = (Signer){.role = "write", .sources = "*"};
        return true;
    }
    if (!keyring_check_certificate(keyring, certificate, signer, err))
        return false;
    return seal_signed(signer->sign_public, label, bytes, signature) ||
           err_set(err, ERR_CORRUPT, "repo.signature", "a record is not signed by %s as it says",
                   signer->host);
}

bool keyring_may_write(const Signer *signer, Text source)
{
    if (strcmp(signer->role, "write") != 0)
        return false;
    for (const char *at = signer->sources; *at != 0;) {
        size_t len = strcspn(at, " ");
        Text name = {at, len};
        if (text_equal(name, source) || text_equal(name, TEXT("*")))
            return true;
        at += len;
        at += strspn(at, " ");
    }
    return false;
}

bool keyring_keeps(const Keyring *keyring, const Signer *signer, const Sha256 *manifest)
{
    if (signer->revoked == 0)
        return true;
    const Buf *kept = &keyring->kept[signer->revoked - 1];
    size_t low = 0, high = kept->len / sizeof manifest->bytes;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = memcmp(kept->at + middle * sizeof manifest->bytes, manifest->bytes,
                           sizeof manifest->bytes);
        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}
