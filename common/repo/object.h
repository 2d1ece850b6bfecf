/* SPDX-License-Identifier: Apache-2.0
 * object.h — one small stored object: a clear head, a sealed body, a signature over all of it.
 * The body names its signer by certificate; without a key an object can be copied and its head
 * read, nothing else. protocol/README.md draws it. */
#ifndef COMMON_REPO_OBJECT_H
#define COMMON_REPO_OBJECT_H

#include "common/codec/keyring.h"
#include "protocol/disk.h"

/* own_key NULL: sealed to the readers. Else: under a key derived from it and from a fresh salt, so
 * that whoever derives own_key again can open it. A plain keyring neither seals nor signs. */
MUST_CHECK bool object_pack(const Keyring *keyring, DiskObject kind, const uint8_t *own_key,
                            Slice head, Slice body, Buf *out, Err *err);

/* Checks everything; *head points into stored, body is filled. signer may be NULL. */
MUST_CHECK bool object_unpack(const Keyring *keyring, DiskObject kind, const uint8_t *own_key,
                              Slice stored, Slice *head, Buf *body, Signer *signer, Err *err);

/* The clear head alone, without keys and so without proof of who wrote it. */
MUST_CHECK bool object_head(DiskObject kind, Slice stored, Slice *head, Err *err);

/* The key of an object that is sealed to readers, and its slots (in stored). */
MUST_CHECK bool object_key(const Keyring *keyring, DiskObject kind, Slice stored, Slice *slots,
                           uint8_t key[SEAL_KEY], Err *err);

#endif
