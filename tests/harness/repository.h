/* SPDX-License-Identifier: Apache-2.0
 * repository.h — a private repository in a temporary directory, with or without keys. */
#ifndef TESTS_HARNESS_REPOSITORY_H
#define TESTS_HARNESS_REPOSITORY_H

#include "common/codec/keyring.h"
#include "common/repo/repo.h"
#include "common/repo/writer.h"
#include "common/store/store.h"
#include "tests/harness/ledger.h"

typedef struct RepositoryKeys RepositoryKeys; /* all of them, the root's too */

typedef struct Repository {
    char dir[64]; /* private, removed at the end; holds keys/ and store/ */
    char store_path[90];
    bool plain;
    Store *store;
    Keyring *keyring; /* writes and reads */
    Repo *repo;
    RepoLedger *ledger;
    RepositoryKeys *keys;
    unsigned strangers;
} Repository;

/* Fails the test when it cannot be made. */
Repository *repository_new(bool plain);
void repository_free(Repository *repository);

/* Closes and opens everything but the ledger again, as another process would. */
void repository_reopen(Repository *repository);
/* A keyring over the same key files: the writer's alone, or the reader's too. */
Keyring *repository_keyring(Repository *repository, bool read);
/* A keyring of another host of this key set, which may write these sources (names separated by
 * blanks, or "*") and read nothing. The caller closes it. */
Keyring *repository_stranger(Repository *repository, const char *sources);

/* As `key revoke` and `repo rekey` do: of this host only these manifests count; opened again. */
void repository_revoke(Repository *repository, const char *host, const Sha256 *kept, size_t count);

/* As `key rotate`, `key retire` and `repo rekey` do; no key file changes, nothing is opened again.
 */
void repository_rotate(Repository *repository);
void repository_retire(Repository *repository);
/* New key files of the keys as they are now, and everything opened again. */
void repository_enroll(Repository *repository);

/* One backup of entries that a callback gives. Parameters are the writer's defaults with one
 * ordered lane; previous may be NULL. Commits in the ledger and writes the marker. */
typedef struct RepositoryEntry {
    Entry entry;
    Slice content;
    uint64_t zeros; /* a hole behind the content */
} RepositoryEntry;
void repository_params(Repository *repository, const RepoBackup *previous, WriterParams *params);
bool repository_write(RepoWriter *w, unsigned lane, const RepositoryEntry *entry, bool *known,
                      Err *err);
void repository_backup(Repository *repository, const RepositoryEntry *entries, size_t count,
                       const RepoBackup *previous, RepoBackup *out);
/* The same, with failure as an answer: nothing is committed. params as repository_params made them,
 * changed at will. */
bool repository_try(const WriterParams *params, const RepositoryEntry *entries, size_t count,
                    RepoBackup *out, WriterProgress *progress, Err *err);
/* Reads a backup through the index and compares every byte and size; aborts on a difference. */
void repository_compare(Repository *repository, const RepoBackup *backup,
                        const RepositoryEntry *entries, size_t count);
void repository_commit(Repository *repository, const RepoBackup *backup);

#endif
