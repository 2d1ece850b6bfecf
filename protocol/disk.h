/* SPDX-License-Identifier: Apache-2.0
 * disk.h — the numbers of stored records; disk.def lists the records, README.md draws them. */
#ifndef PROTOCOL_DISK_H
#define PROTOCOL_DISK_H

#include "protocol/err.h"

typedef enum DiskRecord {
#define RECORD(symbol, ...) DISK_##symbol,
#include "protocol/disk.def"
#undef RECORD
    DISK_RECORD_COUNT
} DiskRecord;

/* The algorithm byte. */
typedef enum DiskAlgorithm {
    DISK_PLAIN = 0,  /* nothing is sealed or signed: repositories that a worker's file must allow */
    DISK_SEALED = 1, /* AES-256-GCM under a random key, sealed to readers with X25519; Ed25519 */
    DISK_DERIVED = 2, /* AES-256-GCM under a key derived from the id secret; Ed25519 */
    DISK_LOCKED = 3,  /* AES-256-GCM under a key that Argon2id made of a passphrase */
} DiskAlgorithm;

/* What an HFOB object is; part of what is signed. */
typedef enum DiskObject {
    DISK_INDEX = 1,
    DISK_MANIFEST = 2,
    DISK_PARENTS = 3,
    DISK_MARKER = 4,
    DISK_FORGOTTEN = 5,
    DISK_LOG = 6,
    DISK_AUDIT = 7,
    DISK_HOLD = 8,
} DiskObject;

enum {
    DISK_MAGIC = 4,
    DISK_HEAD = 6,              /* magic, version, algorithm */
    DISK_CHUNK_MOST = 4 << 20,  /* plain bytes of one chunk; checked before memory is taken */
    DISK_READERS_MOST = 16,     /* reader keys that one record is sealed to */
    DISK_OLDER_MOST = 64,       /* reader secrets of before, sealed to those of now */
    DISK_REVOKED_MOST = 64,     /* hosts whose certificates were taken back */
    DISK_SLOT = 16 + 80,        /* id of a reader key, key in a sealed box */
    DISK_OBJECT_MOST = 64 << 20 /* one signed object */
};

const char *disk_magic(DiskRecord record);
uint8_t disk_version(DiskRecord record);

/* Magic and version; a newer version is said so. *algorithm is the third field. */
MUST_CHECK bool disk_check(Slice bytes, DiskRecord record, uint8_t *algorithm, Err *err);

#endif
