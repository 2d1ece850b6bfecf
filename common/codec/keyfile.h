/* SPDX-License-Identifier: Apache-2.0
 * keyfile.h — how keys lie in files, and how the root makes them.
 * All of these records are: magic, version, algorithm 0, a msgpack map with text keys, and where
 * the root signs, 64 bytes of signature over everything before them. Reading is strict about types
 * and lengths and skips keys it does not know. */
#ifndef COMMON_CODEC_KEYFILE_H
#define COMMON_CODEC_KEYFILE_H

#include "common/codec/seal.h"
#include "protocol/disk.h"

enum { KEYFILE_NAME_MOST = 63, KEYFILE_SOURCES_MOST = 1023 };

/* The recovery kit: everything else follows from it and from the store. */
typedef struct Kit {
    char set[KEYFILE_NAME_MOST + 1];
    Uuid set_id;
    uint8_t root_seed[SEAL_SIGN_SEED];
    uint8_t reader_secret[SEAL_SECRET];
} Kit;

void keyfile_kit_print(const Kit *kit, Buf *out); /* for people: grouped base32 with a checksum */
MUST_CHECK bool keyfile_kit_parse(Text text, Kit *kit, Err *err);

/* The secret of a reader of before, for one who reads now. */
typedef struct OlderReader {
    uint8_t id[16]; /* keyfile_reader_id of its public half */
    uint8_t to[16]; /* of the reader whose secret opens the box */
    uint8_t box[SEAL_BOX];
} OlderReader;

/* Certificates of this host below this generation no longer count, but for the manifests in a list:
 * their sha256s, ascending, one behind the other, as the object keyfile_kept_name. */
typedef struct RevokedHost {
    char host[128];
    uint64_t before;
    Sha256 kept;   /* of the list; of no bytes where nothing was kept, then there is no object */
    uint64_t at_s; /* when, seconds since 1970 by the clock of whoever revoked; 0: not known */
} RevokedHost;

/* keys/<set>, from the second generation on keys/<set>.<generation>: what a repository says of its
 * key set. */
typedef struct KeysRecord {
    char set[KEYFILE_NAME_MOST + 1];
    Uuid set_id;
    uint64_t generation;
    uint8_t root[SEAL_SIGN_PUBLIC];
    uint8_t readers[DISK_READERS_MOST][SEAL_PUBLIC];
    unsigned reader_count;
    uint8_t boxes[DISK_READERS_MOST][SEAL_BOX]; /* the id secret, to each reader */
    OlderReader older[DISK_OLDER_MOST];
    unsigned older_count;
    RevokedHost revoked[DISK_REVOKED_MOST];
    unsigned revoked_count;
    uint64_t least_writer; /* a writer file of an older generation may seal nothing more */
} KeysRecord;
void keyfile_keys_pack(const KeysRecord *keys, const uint8_t root_seed[SEAL_SIGN_SEED], Buf *out);
MUST_CHECK bool keyfile_keys_unpack(Slice bytes, KeysRecord *keys, Err *err);
enum { KEYFILE_OBJECT_NAME = KEYFILE_NAME_MOST + 40 };
void keyfile_keys_name(const char *set, uint64_t generation, char out[KEYFILE_OBJECT_NAME]);
void keyfile_kept_name(const char *set, uint64_t generation, char out[KEYFILE_OBJECT_NAME]);

/* config: what a repository is. A plain one has no root and a nil set_id. */
typedef struct ConfigRecord {
    Uuid repository;
    char set[KEYFILE_NAME_MOST + 1];
    Uuid set_id;
    uint64_t generation;
    uint8_t root[SEAL_SIGN_PUBLIC];
    bool plain;
} ConfigRecord;
void keyfile_config_pack(const ConfigRecord *config, const uint8_t *root_seed, Buf *out);
MUST_CHECK bool keyfile_config_unpack(Slice bytes, ConfigRecord *config, Err *err);

/* A certificate: the root says who may sign what. */
typedef struct CertRecord {
    Uuid set_id;
    uint64_t generation;
    char host[128];
    char role[16];
    char sources[KEYFILE_SOURCES_MOST + 1];
    uint8_t sign_public[SEAL_SIGN_PUBLIC];
    uint8_t box_public[SEAL_PUBLIC];
} CertRecord;
void keyfile_cert_pack(const CertRecord *cert, const uint8_t root_seed[SEAL_SIGN_SEED], Buf *out);
/* Checks the signature against root. */
MUST_CHECK bool keyfile_cert_unpack(Slice bytes, const uint8_t root[SEAL_SIGN_PUBLIC],
                                    CertRecord *cert, Err *err);

typedef struct WriterFile {
    KeysRecord keys; /* boxes unused */
    uint8_t id_secret[SEAL_KEY];
    uint8_t sign_seed[SEAL_SIGN_SEED];
    uint8_t box_secret[SEAL_SECRET];
    Buf certificate; /* owned */
} WriterFile;
void keyfile_writer_pack(const WriterFile *file, Buf *out);
MUST_CHECK bool keyfile_writer_unpack(Slice bytes, WriterFile *file, Err *err);
void keyfile_writer_wipe(WriterFile *file);

typedef struct ReaderFile {
    char set[KEYFILE_NAME_MOST + 1];
    Uuid set_id;
    uint64_t generation;
    uint8_t root[SEAL_SIGN_PUBLIC];
    uint8_t secret[SEAL_SECRET];
} ReaderFile;
void keyfile_reader_pack(const ReaderFile *file, Buf *out);
/* key.passphrase_missing for one that is under a passphrase. */
MUST_CHECK bool keyfile_reader_unpack(Slice bytes, ReaderFile *file, Err *err);

/* The same file under a passphrase: what it says of itself stays readable, the secret is sealed
 * under a key that Argon2id makes of the passphrase and a fresh salt. */
enum { KEYFILE_PASSPHRASE_LEAST = 8 };
bool keyfile_reader_is_locked(Slice bytes);
MUST_CHECK bool keyfile_reader_lock(const ReaderFile *file, Slice passphrase, Buf *out, Err *err);
/* key.passphrase when it is another one, or the file was changed. */
MUST_CHECK bool keyfile_reader_unlock(Slice bytes, Slice passphrase, ReaderFile *file, Err *err);
/* All but the secret, of a locked file or an open one; nothing of it was checked. */
MUST_CHECK bool keyfile_reader_look(Slice bytes, ReaderFile *file, Err *err);

/* The first 16 bytes of sha256(public half): names a reader key in a slot. */
void keyfile_reader_id(const uint8_t reader[SEAL_PUBLIC], uint8_t out[16]);

#endif
