/* SPDX-License-Identifier: Apache-2.0
 * vault_files.h — the files and stores that the verbs read and write. Private to worker/vault. */
#ifndef WORKER_VAULT_VAULT_FILES_H
#define WORKER_VAULT_VAULT_FILES_H

#include "common/codec/keyfile.h"
#include "common/store/store_url.h"
#include "worker/vault/vault_args.h"

/* A file of secrets is new, private and durable, or it is not there. */
MUST_CHECK bool vault_write(const char *directory, const char *name, const char *suffix,
                            Slice bytes, Err *err);
MUST_CHECK bool vault_need(const char *value, const char *flag, Err *err);
MUST_CHECK bool vault_read_kit(const char *path, Kit *kit, Err *err);
/* The record SET.keys is not secret, but it must be the kit's. bytes: as it is in the file. */
MUST_CHECK bool vault_read_keys(const char *path, const Kit *kit, KeysRecord *keys, Buf *bytes,
                                Err *err);
/* The repository's place in the store url; create: its directory is made, the store's is not. */
MUST_CHECK bool vault_open_place(const char *url, const char *set, bool create, Store **store,
                                 Err *err);
bool vault_is_there(const char *url); /* the store itself */
/* The keys object and the lists of what is kept of revoked hosts, in a store. The lists are in the
 * store already or beside `path`, the file that the record came from. */
MUST_CHECK bool vault_put_keys(Store *store, const char *path, const KeysRecord *keys, Slice bytes,
                               Err *err);
/* The reader file of a kit. The caller wipes it. */
void vault_reader_of(const Kit *kit, const KeysRecord *keys, ReaderFile *out);
/* --keys, --kit, --dir: what every verb of the root needs; the kit and the record it is of. */
MUST_CHECK bool vault_open_set(const VaultArgs *args, Kit *kit, KeysRecord *keys, Err *err);

#endif
