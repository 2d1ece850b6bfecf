/* SPDX-License-Identifier: Apache-2.0
 * reader.h — one backup being read: its entries in path order, and the content of each.
 * Every chunk that is opened is named again from its plain bytes; one that has another name, or
 * does not open, is damage: the call fails with ERR_CORRUPT (cause repo.damaged) and names pack and
 * chunk, and everything that does not need that chunk can still be read. */
#ifndef COMMON_REPO_READER_H
#define COMMON_REPO_READER_H

#include "common/repo/locator.h"
#include "common/repo/repo.h"
#include "protocol/entry.h"

typedef struct RepoReader RepoReader;
typedef struct ReaderContent ReaderContent; /* where an entry's bytes are */

/* Other repositories that hold the same backup, for what this one has lost. Asked by any thread,
 * one at a time. */
typedef struct ReaderElsewhere {
    void *ctx;
    /* The n-th one, open until the reader is closed; false: there is no n-th, or it does not open
     * (then the next is asked for while *more). */
    bool (*place)(void *ctx, unsigned n, Repo **repo, RepoLocator **locator, bool *more);
    /* A chunk of so many bytes (0: the manifest) came from there, because of this. */
    void (*came)(void *ctx, unsigned n, size_t bytes, const Err *why);
} ReaderElsewhere;

typedef struct ReaderParams {
    Repo *repo;
    RepoLocator *locator; /* borrowed */
    Uuid backup;
    const Sha256 *manifest;           /* what the catalogue says it must be; NULL offline */
    size_t memory_bytes;              /* decoded chunks kept; 0: 32 MiB */
    const ReaderElsewhere *elsewhere; /* borrowed; NULL: what is lost here is lost */
} ReaderParams;

MUST_CHECK bool reader_open(RepoReader **out, const ReaderParams *params, Err *err);
const RepoBackup *reader_backup(const RepoReader *r);
/* Consistency point and engine details; strings live as long as the reader. */
const Receipt *reader_receipt(const RepoReader *r);
uint8_t reader_last_phase(const RepoReader *r); /* the highest phase of any entry */

/* What to visit. paths: these entries and all below them; empty: everything. phase: only entries of
 * that phase, -1 for all. after: only paths behind it (to go on with a listing). */
typedef struct ReaderSelection {
    const Text *paths;
    size_t path_count;
    const Text *globs; /* fnmatch over the whole path, '*' does not pass '/', "**" does */
    size_t glob_count;
    int phase;
    Text after;      /* a visitor may move it on, past what it does not want to see */
    bool no_content; /* nobody will ask for it: where it lies is not looked up */
} ReaderSelection;

/* Lends entry and content for the call. *stop ends the walk without failure. Several walks may run
 * at once, in several threads. Paths were checked: relative, no empty part, no "." or "..". */
typedef bool ReaderVisit(void *ctx, const Entry *entry, const ReaderContent *content, bool *stop,
                         Err *err);
MUST_CHECK bool reader_walk(RepoReader *r, const ReaderSelection *selection, ReaderVisit *visit,
                            void *ctx, Err *err);

/* A page that is damaged hides its entries: the walk goes on behind it and calls this once a page.
 * Without one the walk fails. */
typedef void ReaderDamage(void *ctx, Text from_path, const Err *why);
void reader_on_damage(RepoReader *r, ReaderDamage *damage, void *ctx);

/* A copy to keep past the visit (to hand it to another thread). */
ReaderContent *reader_content_copy(const ReaderContent *content);
void reader_content_free(ReaderContent *content); /* NULL is fine */

typedef struct ReaderSink {
    void *ctx;
    bool (*data)(void *ctx, Slice bytes, Err *err);
    bool (*zeros)(void *ctx, uint64_t count, Err *err);
} ReaderSink;

/* The whole content in order, or length bytes from offset. Any thread. */
MUST_CHECK bool reader_content(RepoReader *r, const ReaderContent *content, const ReaderSink *sink,
                               Err *err);
MUST_CHECK bool reader_content_range(RepoReader *r, const ReaderContent *content, uint64_t offset,
                                     uint64_t length, const ReaderSink *sink, Err *err);
uint64_t reader_content_size(const ReaderContent *content);

/* Its runs of zeros that no chunk is stored for, in order; two may touch. Any thread. */
typedef bool ReaderZerosVisit(void *ctx, uint64_t offset, uint64_t length, Err *err);
MUST_CHECK bool reader_content_zeros(RepoReader *r, const ReaderContent *content,
                                     ReaderZerosVisit *visit, void *ctx, Err *err);

/* The ledger of the backup. */
typedef bool ReaderIssueVisit(void *ctx, const Issue *issue, Err *err);
MUST_CHECK bool reader_issues(RepoReader *r, ReaderIssueVisit *visit, void *ctx, Err *err);

/* Every chunk the backup needs, pages too, in order of first use, repetitions left out. */
typedef bool ReaderChunkVisit(void *ctx, const ChunkId *id, bool meta, Err *err);
MUST_CHECK bool reader_chunks(RepoReader *r, ReaderChunkVisit *visit, void *ctx, Err *err);

void reader_close(RepoReader *r); /* NULL is fine */

#endif
