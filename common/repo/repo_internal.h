/* SPDX-License-Identifier: Apache-2.0
 * repo_internal.h — what writer and reader need of an open repository. Private to common/repo. */
#ifndef COMMON_REPO_REPO_INTERNAL_H
#define COMMON_REPO_REPO_INTERNAL_H

#include "common/base/buf.h"
#include "common/codec/keyring.h"
#include "common/repo/manifest.h"
#include "common/repo/object.h"
#include "common/repo/repo.h"
#include "common/store/store.h"

enum { REPO_NAME = 64, REPO_PARENTS_NAME = 80 };

/* "<folder>/<uuid>"; folder is a word like "index". */
void repo_name(const char *folder, const Uuid *id, char out[REPO_NAME]);

/* "parents/<backup>" for the last part of a list, "parents/<backup>.<part>" for the others. */
void repo_parents_name(const Uuid *backup, uint64_t part, char out[REPO_PARENTS_NAME]);

/* Packs, signs and stores one object; *sha256 (may be NULL) is that of its stored bytes. own_key as
 * object_pack takes it. */
MUST_CHECK bool repo_put(Repo *repo, DiskObject kind, const char *name, const uint8_t *own_key,
                         Slice head, Slice body, Sha256 *sha256, Err *err);

/* Gets one and checks everything. head, body, sha256 and signer are filled; each may be NULL. */
MUST_CHECK bool repo_get(Repo *repo, DiskObject kind, const char *name, const uint8_t *own_key,
                         bool *found, Buf *head, Buf *body, Sha256 *sha256, Signer *signer,
                         Err *err);

/* The root of a backup, checked to be this backup's and signed by a host that may write its source,
 * and was not revoked or this manifest is kept. *out borrows from body; sha256 may be NULL. */
MUST_CHECK bool repo_get_manifest(Repo *repo, const Uuid *backup, Buf *body, Manifest *out,
                                  Sha256 *sha256, Err *err);
/* And who signed it; zeroed in a plain repository. */
MUST_CHECK bool repo_get_manifest_signer(Repo *repo, const Uuid *backup, Buf *body, Manifest *out,
                                         Sha256 *sha256, Signer *signer, Err *err);

/* Of the first `bytes` bytes of an object, read in parts. */
MUST_CHECK bool verify_hash(Store *store, const char *name, uint64_t bytes, Sha256 *out, Err *err);

/* What a RepoBackup says of a manifest; manifest's own sha256 is left zero. */
void repo_backup_fill(RepoBackup *out, const Manifest *m);

#endif
