/* SPDX-License-Identifier: Apache-2.0
 * wrap.h — a stored object sealed once more, as it is: the answer to a stolen reader key for what
 * is signed by hosts that are not asked again. Its own bytes, and with them their hash, their
 * signature and whoever names them, stay what they were; only who may open them changes. A wrapped
 * object is never wrapped again: what is in it is. protocol/README.md draws it. */
#ifndef COMMON_REPO_WRAP_H
#define COMMON_REPO_WRAP_H

#include "common/base/buf.h"
#include "common/codec/keyring.h"

bool wrap_is(Slice stored);

/* Seals `inner` to the readers of now. Refuses a plain keyring. */
MUST_CHECK bool wrap_pack(const Keyring *keyring, Slice inner, Buf *out, Err *err);
/* Checks everything; the object of before is appended to inner. */
MUST_CHECK bool wrap_open(const Keyring *keyring, Slice stored, Buf *inner, Err *err);
/* The same for an object that may be wrapped: *stored becomes what was in it. */
MUST_CHECK bool wrap_strip(const Keyring *keyring, Buf *stored, Err *err);

/* Without any key: the hash of what is in it, as it says; a wrapped object whose own bytes changed
 * is refused. Of one that is not wrapped: that of its bytes. */
MUST_CHECK bool wrap_sha256(Slice stored, Sha256 *out, Err *err);

/* Its key and its slots (in stored), for a grant. */
MUST_CHECK bool wrap_key(const Keyring *keyring, Slice stored, Slice *slots, uint8_t key[SEAL_KEY],
                         Err *err);

#endif
