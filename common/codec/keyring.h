/* SPDX-License-Identifier: Apache-2.0
 * keyring.h — the keys of one key set that this process holds, and what they let it do.
 * A writer file lets a worker seal, sign and name chunks, never open; a reader file lets it open.
 * The root never comes here: it lives in the recovery kit (keyfile.h). A keyring of the set "plain"
 * has no keys: nothing is sealed, nothing is signed, and the worker's own file must have allowed
 * it. */
#ifndef COMMON_CODEC_KEYRING_H
#define COMMON_CODEC_KEYRING_H

#include "common/base/secret.h"
#include "common/codec/grant.h"
#include "protocol/disk.h"

typedef struct Keyring Keyring;

/* Loads <directory>/<set>.writer and <directory>/<set>.reader, whichever are there (key.missing
 * when neither is). set "plain": directory is not looked at. */
MUST_CHECK bool keyring_open(Keyring **out, const char *directory, const char *set, Err *err);

/* Where a host keeps its keys. passphrase: asked for when the reader file is under one, and only
 * then; NULL: this host has none (key.passphrase_missing). */
typedef struct KeyringPlace {
    const char *directory;
    bool (*passphrase)(void *ctx, Secret **out, Err *err);
    void *ctx;
} KeyringPlace;
/* prune: <directory>/<set>.prune, whose certificate signs, instead of the writer file; it names no
 * chunk and writes no backup. */
MUST_CHECK bool keyring_open_at(Keyring **out, const KeyringPlace *place, const char *set,
                                bool prune, Err *err);
void keyring_close(Keyring *keyring); /* wipes; NULL is fine */

const char *keyring_set(const Keyring *keyring); /* name of the key set */
bool keyring_plain(const Keyring *keyring);
bool keyring_can_write(const Keyring *keyring);
bool keyring_can_read(const Keyring *keyring); /* with a reader file, or what a grant names */
bool keyring_can_prune(const Keyring *keyring);
Uuid keyring_set_id(const Keyring *keyring); /* nil for plain */
uint64_t keyring_generation(const Keyring *keyring);
Slice keyring_root(const Keyring *keyring); /* the root's public key, 32 bytes; empty for plain */

/* Checks the repository's own records against this keyring: signed by the same root, the same key
 * set, no generation older than this host's or, for keys, than the config's, else
 * repo.key_mismatch. keys (the object keyring_keys_name) also teaches a reader the id secret and
 * the readers' secrets of before, and everybody who was revoked; both may be called once more. For
 * plain: refuses sealed ones, and back. */
MUST_CHECK bool keyring_check_config(Keyring *keyring, Slice config, Uuid *repository, Err *err);
enum { KEYRING_NAME = 112 };
void keyring_keys_name(const Keyring *keyring, char out[KEYRING_NAME]);
MUST_CHECK bool keyring_learn_keys(Keyring *keyring, Slice keys, Err *err);

uint64_t keyring_repository_generation(const Keyring *keyring);
/* This host's writer or prune file seals to other readers than the repository names: it is from
 * before a rotation. What it writes can be read, until the old reader is retired. */
bool keyring_outdated(const Keyring *keyring);
/* May this host still seal and sign? key.revoked when its certificate was taken back, key.retired
 * when its file seals to a reader who was retired; repo.no_writer without a writer or prune file.
 */
MUST_CHECK bool keyring_may_seal(const Keyring *keyring, Err *err);

/* Whose certificates were taken back: so many hosts, and the name of one. */
unsigned keyring_revoked_hosts(const Keyring *keyring);
typedef struct KeyringRevoked {
    const char *host; /* lives as long as the keyring */
    uint64_t before;  /* its certificates of generations below this one */
    uint64_t at_s;    /* when, seconds since 1970; 0: not known */
} KeyringRevoked;
KeyringRevoked keyring_revoked_host(const Keyring *keyring, unsigned index);

/* The lists of manifests that stay good although their writer was revoked: how many there are, the
 * object of each, its bytes. One that is not learned, or is not the one that the root signed, keeps
 * nothing (false, nothing else happens). */
unsigned keyring_kept_lists(const Keyring *keyring);
bool keyring_kept_name(const Keyring *keyring, unsigned list, char out[KEYRING_NAME]);
bool keyring_learn_kept(Keyring *keyring, unsigned list, Slice bytes);

/* The name of content: HMAC-SHA-256 under the chunk-id key. */
void keyring_chunk_id(const Keyring *keyring, Slice plain, ChunkId *out);
/* Keys from the id secret: label "gear" for the cutting table, "parents" with the source's name. */
void keyring_derive(const Keyring *keyring, const char *label, Slice context,
                    uint8_t out[SEAL_KEY]);

/* Appends one slot (16 bytes of key id, sealed box) for each current reader key. */
void keyring_seal(const Keyring *keyring, const uint8_t key[SEAL_KEY], Buf *out);
unsigned keyring_slots(const Keyring *keyring);
/* The names of those readers, keyring_slots of them. */
void keyring_reader_ids(const Keyring *keyring, uint8_t out[DISK_READERS_MOST][16]);
/* Opens the first slot that a reader key held here fits: repo.no_reader without one. */
MUST_CHECK bool keyring_unseal(const Keyring *keyring, Slice slots, uint8_t key[SEAL_KEY],
                               Err *err);

/* What a reader sealed for this host, by the box key of its writer file, becomes readable: the
 * chunks and the manifest of one backup. Before repo_open. See grant_open for what is refused. */
MUST_CHECK bool keyring_take_grant(Keyring *keyring, Slice sealed, const Uuid *grant,
                                   const Uuid *backup, int64_t now_s, Err *err);
bool keyring_granted(const Keyring *keyring); /* it reads by a grant alone */
/* grant.no_key: the chunk is not, there, among what was granted. */
MUST_CHECK bool keyring_chunk_key(const Keyring *keyring, const Uuid *pack, uint32_t ordinal,
                                  uint8_t key[SEAL_KEY], Err *err);

/* Who signed: read from a certificate whose root signature was checked. */
typedef struct Signer {
    char host[128];
    char role[16]; /* "write", "prune" */
    uint8_t sign_public[SEAL_SIGN_PUBLIC];
    uint8_t box_public[SEAL_PUBLIC];
    uint64_t generation;
    char sources[1024]; /* names separated by spaces; "*" for all */
    unsigned revoked;   /* 0: no; else the list of what is kept of it, counted from 1 */
} Signer;

/* The root signed it, for this key set; whether it was taken back is in signer->revoked. */
MUST_CHECK bool keyring_check_certificate(const Keyring *keyring, Slice certificate, Signer *signer,
                                          Err *err);

Slice keyring_certificate(const Keyring *keyring); /* of this writer; empty for plain */
void keyring_sign(const Keyring *keyring, const char *label, Slice bytes,
                  uint8_t out[SEAL_SIGNATURE]);
/* Root signed the certificate, and the certificate's key signed the bytes. */
MUST_CHECK bool keyring_check(const Keyring *keyring, Slice certificate, const char *label,
                              Slice bytes, const uint8_t signature[SEAL_SIGNATURE], Signer *signer,
                              Err *err);
bool keyring_may_write(const Signer *signer, Text source);
/* Not revoked, or this manifest is in the list of what is kept. */
bool keyring_keeps(const Keyring *keyring, const Signer *signer, const Sha256 *manifest);

#endif
