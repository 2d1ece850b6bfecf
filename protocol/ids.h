/* SPDX-License-Identifier: Apache-2.0
 * ids.h — names that people and programs pass around, and their one text form.
 * A job is a catalogue number, shown "jb_" + Crockford base32 of at least 7 digits.
 * A backup is a uuid drawn by its attempt (48 bits of Unix milliseconds, 80 random bits, so ids
 * sort by age), shown "bk_" + 26 Crockford base32 digits (the form of a ULID).
 * Packs, index objects and every other uuid are fully random (version 4), shown as hex with dashes.
 * Crockford's alphabet: 0123456789ABCDEFGHJKMNPQRSTVWXYZ; reading accepts lower case, I and L as 1,
 * O as 0. */
#ifndef PROTOCOL_IDS_H
#define PROTOCOL_IDS_H

#include "protocol/err.h"

enum {
    UUID_TEXT = 37,      /* with the NUL */
    BACKUP_ID_TEXT = 30, /* "bk_" + 26 + NUL */
    JOB_ID_TEXT = 17,    /* "jb_" + up to 13 + NUL */
    CHUNK_ID_TEXT = 65,
    SHA256_TEXT = 65,
};

typedef struct Uuid {
    uint8_t bytes[16];
} Uuid;

typedef struct ChunkId {
    uint8_t bytes[32];
} ChunkId;

typedef struct Sha256 {
    uint8_t bytes[32];
} Sha256;

bool uuid_is_nil(const Uuid *id);
bool uuid_equal(const Uuid *a, const Uuid *b);
int uuid_compare(const Uuid *a, const Uuid *b);
void uuid_text(const Uuid *id, char out[UUID_TEXT]);
MUST_CHECK bool uuid_parse(Text text, Uuid *out, Err *err); /* hex, with or without dashes */

/* From 16 random bytes, and the time where it counts: pure, the caller brings the randomness. */
Uuid uuid_random(const uint8_t random[16]);
Uuid uuid_backup(uint64_t unix_ms, const uint8_t random[16]);

void uuid_backup_text(const Uuid *id, char out[BACKUP_ID_TEXT]);
MUST_CHECK bool uuid_backup_parse(Text text, Uuid *out, Err *err);

/* A unique prefix as a range: "bk_01JD2K" -> the first and the last uuid that begin so. */
MUST_CHECK bool uuid_backup_range(Text text, Uuid *first, Uuid *last, Err *err);

void ids_job_text(uint64_t job, char out[JOB_ID_TEXT]);
MUST_CHECK bool ids_job_parse(Text text, uint64_t *job, Err *err);

/* Lower-case hex. out holds 2 * len + 1. */
void ids_hex(const uint8_t *at, size_t len, char *out);
MUST_CHECK bool ids_unhex(Text text, uint8_t *out, size_t len, Err *err); /* exactly len bytes */

#endif
