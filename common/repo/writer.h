/* SPDX-License-Identifier: Apache-2.0
 * writer.h — one backup being written: content goes in by lanes, a manifest comes out.
 * Content is cut, named, looked up, compressed, sealed and packed by threads of the writer; all of
 * it lives in one bounded pool, and a lane that finds the pool empty waits: that is the
 * back-pressure. The first failure of any thread is kept and returned by every later call.
 * Nothing is a backup until writer_finish returned, the catalogue committed, and the marker is
 * there. Of one lane, one thread at a time; lanes run in parallel. */
#ifndef COMMON_REPO_WRITER_H
#define COMMON_REPO_WRITER_H

#include "common/repo/manifest.h"
#include "common/repo/repo.h"
#include "protocol/entry.h"

typedef struct RepoWriter RepoWriter;

typedef struct WriterParams {
    Repo *repo;
    RepoLedger *ledger;
    Text source; /* name; the parent list is sealed under a key of it */
    Uuid backup; /* drawn by this attempt */
    bool has_parent;
    Uuid parent; /* the claim's answer: newest backup of this source here */
    uint64_t parent_sequence;
    Sha256 parent_manifest;
    unsigned lanes;
    bool ordered;        /* one lane whose paths ascend bytewise: pages stream out while it runs.
                            Otherwise every entry's record is kept in memory until the end */
    size_t memory_bytes; /* the pool; 0: 48 MiB; 32 MiB at least */
    unsigned threads;    /* that hash and compress; 0: one a processor, 8 at most */
    int level;           /* 0: what pays, see codec.h */
    uint8_t codec;       /* CODEC_…; 0: zstd */
    uint64_t rate;       /* stored bytes a second; 0: no limit */
    size_t pack_bytes;   /* 0: 16 MiB */
    const ManifestOrigin *origin; /* borrowed, looked at by writer_finish; NULL: nothing is known */
} WriterParams;

MUST_CHECK bool writer_open(RepoWriter **out, const WriterParams *params, Err *err);

/* Starts an entry. *known true: its content is unchanged since the parent and will be taken from
 * there; nothing may be given before writer_entry_end. */
MUST_CHECK bool writer_entry_begin(RepoWriter *w, unsigned lane, const Entry *entry, bool *known,
                                   Err *err);
/* The entry that began is known and had no attributes, so it has none: else they must be there when
 * it ends. */
bool writer_entry_bare(const RepoWriter *w, unsigned lane);
/* Room for content, at least one byte; then how much of it was filled. */
MUST_CHECK bool writer_reserve(RepoWriter *w, unsigned lane, uint8_t **at, size_t *room, Err *err);
MUST_CHECK bool writer_advance(RepoWriter *w, unsigned lane, size_t filled, Err *err);
/* A hole: so many zero bytes. */
MUST_CHECK bool writer_zeros(RepoWriter *w, unsigned lane, uint64_t count, Err *err);
/* `entry` is what the manifest will say (size is set to what was really given). keep false
 * withdraws it. */
MUST_CHECK bool writer_entry_end(RepoWriter *w, unsigned lane, const Entry *entry, bool keep,
                                 Err *err);

/* Goes into the ledger of this backup. Any thread. The first 100 000 are kept, all are counted. */
void writer_issue(RepoWriter *w, const Issue *issue);

typedef struct WriterProgress {
    uint64_t bytes;   /* content taken, holes and known entries included */
    uint64_t read;    /* content that was really given */
    uint64_t entries; /* ended and kept */
    uint64_t known;   /* of these, taken from the parent */
    uint64_t new_bytes;
    uint64_t stored;  /* sealed bytes written to the store */
    uint64_t adopted; /* packs taken over from an earlier attempt */
} WriterProgress;
void writer_progress(RepoWriter *w, WriterProgress *out); /* any thread */

/* Makes every call of every lane return ERR_CANCELLED soon. Any thread. */
void writer_cancel(RepoWriter *w);

/* It failed or was cancelled, and *err says why: who waits for something else than the writer asks
 * now and then. Any thread. */
bool writer_failed(RepoWriter *w, Err *err);

/* After every lane ended its last entry: writes what is left, then index, parents and manifest,
 * each durable before the next. The caller frees *out with repo_backup_free. */
MUST_CHECK bool writer_finish(RepoWriter *w, const Receipt *receipt, RepoBackup *out, Err *err);

void writer_close(RepoWriter *w); /* stops the threads; what was staged stays for an adopter */

#endif
