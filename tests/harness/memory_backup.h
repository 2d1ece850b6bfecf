/* SPDX-License-Identifier: Apache-2.0
 * memory_backup.h — a backup kept in memory: what an engine's source yields and its target eats,
 * without a repository between. */
#ifndef TESTS_HARNESS_MEMORY_BACKUP_H
#define TESTS_HARNESS_MEMORY_BACKUP_H

#include "worker/engine/engine.h"

typedef struct MemoryPiece {
    uint64_t zeros; /* else bytes */
    size_t at, len;
} MemoryPiece;

typedef struct MemoryEntry {
    Entry entry;
    Buf strings, bytes;
    MemoryPiece *pieces;
    size_t piece_count;
} MemoryEntry;

typedef struct MemoryBackup MemoryBackup;
struct MemoryBackup {
    MemoryEntry *kept;
    size_t count;
    unsigned issues[ISSUE_SKIPPED + 1]; /* by IssueKind */
    char last_issue[300];
    Buf told;      /* every issue, a line "path: text" each */
    char *receipt; /* its details */
    void (*during)(MemoryBackup *memory, const Entry *entry, unsigned reads); /* after each read */
};

/* A host that counts issues into memory. */
EngineHost memory_backup_host(MemoryBackup *memory);

/* Runs the only lane of a source to its end; asserts that paths ascend bytewise. False when the
 * source could not be opened. */
bool memory_backup_take(MemoryBackup *memory, const Engine *engine, const json_t *config, Err *err);

/* Feeds a target, phase by phase, over two lanes in turn. False when opening or finishing failed.
 */
bool memory_backup_restore(MemoryBackup *memory, const Engine *engine, const json_t *request,
                           json_t **report, Err *err);
void memory_backup_feed(Target *target, const MemoryEntry *kept, unsigned lane);

void memory_backup_free(MemoryBackup *memory);

#endif
