/* SPDX-License-Identifier: Apache-2.0
 * catalog_backup.h — the one fenced COMMIT that makes a backup, its marker, and its readers.
 * At most one backup a job is a constraint. Committing again with the same fence and id answers
 * ALREADY, which is how "the connection died at COMMIT" is answered. */
#ifndef COMMON_CATALOG_CATALOG_BACKUP_H
#define COMMON_CATALOG_CATALOG_BACKUP_H

#include "common/catalog/catalog_pack.h"

/* Says the name of the backup before anything is written under it: a manifest of which no attempt
 * said so may be a backup that the catalogue lost, and is not tidied away. */
MUST_CHECK bool catalog_backup_begin(Catalog *c, const Fence *fence, const Uuid *id, Err *err);

/* One line of the entry list: a database, a table, a path root, with its counts. */
typedef struct BackupItem {
    Text kind; /* "database", "table", "path" */
    Text name; /* percent-escaped where it is not clean UTF-8 (json_bytes) */
    uint64_t entries, rows, bytes;
} BackupItem;

typedef struct BackupRow {
    Uuid id;                /* also the name of the manifest, parents and marker objects */
    Sha256 manifest_sha256; /* of the stored manifest object */
    Uuid index_object;
    Sha256 index_sha256;
    uint64_t sequence;     /* the order's parent.sequence + 1, or 1 */
    int64_t consistent_ns; /* Receipt.consistent_ns */
    Text position;         /* Receipt.position */
    Text receipt;          /* Receipt.details: JSON object */
    bool partial;
    bool stored_verified; /* this job read back what it stored and the sha256s held */
    uint64_t entries, bytes, stored_bytes, new_bytes; /* new: stored by this job, every attempt */
    const uint64_t *pack_nos; /* every pack it needs: the parent's, verified ones, meta packs */
    size_t pack_count;
    Text issues; /* JSON array of {"kind","path","text"}, capped by the caller; "" is none */
    uint64_t issue_count;
    const BackupItem *items;
    size_t item_count;
} BackupRow;

typedef enum CommitAnswer {
    COMMIT_OK = 1,
    COMMIT_ALREADY, /* this very commit is in already */
    COMMIT_FENCED,
    COMMIT_DAMAGED, /* packs died or were found damaged since the lookup: the attempt fails, retry
                     */
} CommitAnswer;

/* detail: damaged: the first pack numbers; else empty. */
MUST_CHECK bool catalog_backup_commit(Catalog *c, const Fence *fence, const BackupRow *row,
                                      CommitAnswer *answer, char detail[256], Err *err);

typedef struct MarkerRow {
    Uuid backup;
    Sha256 manifest_sha256;
    Uuid index_object;
    Sha256 index_sha256;
    uint64_t job, attempt, sequence;
    int64_t committed_ns;
    char source[64];
} MarkerRow;

/* The marker object is durable. The fence is the one that committed, or the live one of a later
 * job on the same repository. */
MUST_CHECK bool catalog_marker_done(Catalog *c, const Fence *fence, const Uuid *backup, Err *err);

/* Committed backups of this job's repository whose marker is not known to be there: write them
 * before own work. *rows is freed with mem_free. */
MUST_CHECK bool catalog_markers_due(Catalog *c, const Fence *fence, MarkerRow **rows, size_t *count,
                                    Err *err);

typedef struct BackupOpened {
    Uuid backup, repository; /* repository: its bound id */
    uint32_t repository_no;
    Sha256 manifest_sha256;
    Uuid index_object;
    Sha256 index_sha256;
    uint64_t sequence, entries, bytes;
    int64_t consistent_ns;
    char source[64], source_type[24];
} BackupOpened;

/* For jobs whose order names this backup. ERR_MISSING backup.unknown, backup.deleted. */
MUST_CHECK bool catalog_backup_open(Catalog *c, const Fence *fence, const Uuid *backup,
                                    BackupOpened *out, Err *err);

typedef struct VerificationRow {
    Uuid backup;
    Text level;  /* stored content restore query */
    Text result; /* ok failed inconclusive */
    int64_t started_ns;
    Text checks; /* JSON object */
} VerificationRow;

MUST_CHECK bool catalog_verification_add(Catalog *c, const Fence *fence, const VerificationRow *row,
                                         Err *err);

#endif
