/* SPDX-License-Identifier: Apache-2.0
 * repo.h — a repository: one store, one key set, opened and checked.
 * repo_open never makes one: without a `config` that carries the root's signature and the expected
 * id the answer is store.not_a_repository, so an unmounted disk stays an error. */
#ifndef COMMON_REPO_REPO_H
#define COMMON_REPO_REPO_H

#include "common/repo/ledger.h"

typedef struct Store Store;     /* common/store/store.h */
typedef struct Keyring Keyring; /* common/codec/keyring.h */
typedef struct Repo Repo;

#define REPO_EPOCH_UNKNOWN UINT64_MAX

typedef struct RepoFacts {
    Uuid id;
    char key_set[64];    /* name of the key set; "plain" where nothing is sealed */
    uint64_t generation; /* of the repository's keys; this host's file may be older */
    uint64_t epoch; /* of the collector, as the store says; REPO_EPOCH_UNKNOWN: that is damaged */
    uint64_t epoch_job, epoch_attempt; /* who wrote it; 0: it does not say */
} RepoFacts;

/* Borrows store and keyring until repo_close. expected may be NULL (offline verbs). */
MUST_CHECK bool repo_open(Repo **out, Store *store, Keyring *keyring, const Uuid *expected,
                          Err *err);
const RepoFacts *repo_facts(const Repo *repo);
Store *repo_store(Repo *repo);
/* How much goes into one index object; 0: as much as memory stands, see index.c. */
void repo_index_bytes_set(Repo *repo, size_t bytes);
size_t repo_index_bytes(const Repo *repo);
const Keyring *repo_keyring(const Repo *repo);
void repo_close(Repo *repo); /* NULL is fine */

/* The marker commits/<backup>: written after the catalogue's commit, says that the backup is whole.
 * Writing it twice is no error. */
MUST_CHECK bool repo_marker_put(Repo *repo, const Uuid *backup, const Sha256 *manifest, Err *err);
MUST_CHECK bool repo_marker_get(Repo *repo, const Uuid *backup, bool *found, Sha256 *manifest,
                                Err *err);

MUST_CHECK bool repo_has_manifest(Repo *repo, const Uuid *backup, bool *found, Err *err);
/* The ids of the newest markers, `most` of them at most, the oldest first (ids sort by age), of
 * those after the id `after`; nil: of all. */
MUST_CHECK bool repo_markers(Repo *repo, const Uuid *after, size_t most, Uuid *ids, size_t *count,
                             Err *err);

/* The epoch as the store has it now, into repo_facts. */
MUST_CHECK bool repo_epoch_read(Repo *repo, Err *err);

/* What a backup or a listing shows without opening any page. */
typedef struct RepoBackup {
    Uuid id;
    char source[128];
    char host[128];    /* who signed it; in a list of backups */
    uint64_t sequence; /* counts this source's backups */
    Uuid parent;       /* nil when there is none */
    Sha256 parent_manifest;
    Sha256 manifest; /* sha256 of the stored manifest object */
    Uuid index;      /* the last object of this session's index; nil when it wrote no pack */
    int64_t consistent_ns;
    uint64_t entries, issues;
    uint64_t bytes;        /* content of all entries */
    uint64_t stored_bytes; /* sealed bytes that this backup added to the store */
    uint64_t new_bytes;    /* content that no earlier chunk had */
    uint64_t *pack_nos;    /* every pack it needs, ascending; from a writer only */
    size_t pack_count;
} RepoBackup;
void repo_backup_free(RepoBackup *backup);

/* Every backup with a manifest, oldest first (ids sort by age); marked tells whether its marker is
 * there. A manifest that does not open is visited with *why set and only the id filled. */
typedef bool RepoBackupVisit(void *ctx, const RepoBackup *backup, bool marked, const Err *why,
                             Err *err);
MUST_CHECK bool repo_backups(Repo *repo, RepoBackupVisit *visit, void *ctx, Err *err);

#endif
