/* SPDX-License-Identifier: Apache-2.0
 * keyset.h — what only the root decides of a key set: who reads, since when, and who no longer
 * writes. Each call makes the record of the next generation; nothing that is stored is touched, and
 * no store is asked. The caller signs (keyfile_keys_pack) and publishes it. */
#ifndef COMMON_CODEC_KEYSET_H
#define COMMON_CODEC_KEYSET_H

#include "common/codec/keyfile.h"

/* The id secret, with the reader secret of the kit; key.retired when it is no reader any more. */
MUST_CHECK bool keyset_id_secret(const KeysRecord *keys, const Kit *kit, uint8_t out[SEAL_KEY],
                                 Err *err);

/* Adds a reader, first in the list, and seals to it the id secret and every reader secret that the
 * kit's reader has. kit becomes the kit of the new reader: it opens all that the old one opened,
 * and what is written from now on. The old one opens that too until it is retired. */
MUST_CHECK bool keyset_rotate(KeysRecord *keys, Kit *kit, Err *err);

/* Nothing more is sealed to any reader but the kit's: their slots end, writer files of older
 * generations may seal nothing more, and what was sealed to them stays readable through the kit's
 * reader. Refused (key.kit) when that one lacks a secret that would be lost so, and key.nothing
 * when it is the only reader already. */
MUST_CHECK bool keyset_retire(KeysRecord *keys, const Kit *kit, Err *err);

/* Every certificate of this host from before the new generation no longer counts; `kept` is the
 * sha256 of the list of manifests that stay good. now_s: the wall clock, rounded up; the host's
 * logins to the catalogue from before it count no more either. */
MUST_CHECK bool keyset_revoke(KeysRecord *keys, const char *host, const Sha256 *kept,
                              uint64_t now_s, Err *err);

#endif
