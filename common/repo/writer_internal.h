/* SPDX-License-Identifier: Apache-2.0
 * writer_internal.h — what the parts of the writer share. Private to common/repo/writer*.c.
 *
 *   lane threads            worker threads                    packing thread
 *   fill segments, cut  ->  name, look up, compress       ->  seal, write packs, stage them
 *        ^                                                          |
 *        '------------------ segments come back --------------------'
 *
 * Segments are taken by lanes alone and released behind the last stage, and a compressed chunk goes
 * back into the place its plain bytes had: so no stage ever waits for memory that only an earlier
 * one could free, and the pipeline cannot lock up however small the pool is. */
#ifndef COMMON_REPO_WRITER_INTERNAL_H
#define COMMON_REPO_WRITER_INTERNAL_H

#include "common/codec/codec.h"
#include "common/codec/seal.h"
#include "common/repo/chunker.h"
#include "common/repo/idmap.h"
#include "common/repo/manifest.h"
#include "common/repo/packset.h"
#include "common/repo/pages.h"
#include "common/repo/pool.h"
#include "common/repo/today.h"
#include "common/repo/writer.h"
#include "common/repo/yesterday.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    SMALL_FILE = 512 * 1024, /* content below this goes into bundles */
    WRITER_THREADS_MAX = 16,
    META_QUEUED = 8 * 1024 * 1024, /* bytes of pages that may wait for the packing thread */
};

/* A cut of content on its way to a pack. Two parties hold it: the entries that name it, until its
 * id is known to them, and the pipeline, until it is packed or found to be there already. */
typedef struct Chunk {
    struct Chunk *next;
    Segment *segment; /* holds `at`; NULL for pages, which own `page` */
    Buf page;
    uint8_t *at;
    uint32_t len;   /* of the content */
    uint32_t coded; /* of what lies at `at` once it is compressed */
    uint8_t codec;
    PackKind kind;
    ChunkId id;
    atomic_bool named;
    atomic_uint refs;
} Chunk;

typedef struct ChunkQueue {
    Chunk *first, *last;
    size_t count, bytes;
} ChunkQueue;

/* Part of an entry's content; chunk NULL: zeros. */
typedef struct Piece {
    Chunk *chunk;
    uint32_t offset;
    uint64_t length;
} Piece;

/* An entry whose content is not all named yet, in the order of its lane. */
typedef struct Pending {
    struct Pending *next;
    Entry entry; /* deep copy, made when it ends */
    bool ended, keep;
    bool known;                /* by its stamp: it is not read */
    YesterdayPart *known_part; /* where its content is found, held; NULL: in its pieces */
    ParentsRow known_row;
    bool heals; /* unchanged, and the bundle that it lay in is not to be found any more: */
    ChunkId lost;
    Piece *pieces;
    size_t piece_count, piece_room, pieces_done;
    Buf extents; /* of the extent page being filled, or of the whole entry */
    uint32_t extent_count;
    ChunkId *pages;
    uint32_t page_count, page_room;
    Parents *parent_part; /* of today's list: joined with the first extent */
    Buf parent_row;
    ParentsFacts facts; /* of that row */
    bool parent_full;   /* too much for the parent list */
    uint64_t size;
    ParentsKey key; /* of the entry as it began; has_key: it is a file that may have one */
    bool has_key;
    int64_t began_mtime_ns, began_ctime_ns;
    uint64_t began_size, began_inode;
} Pending;

typedef struct Lane {
    Segment *segment;  /* of streams */
    size_t from, fill; /* [from, fill) is not cut yet */
    bool shared;       /* chunks of this segment are on their way */
    ChunkerState cutting;
    Segment *bundle_segment;
    Chunk *bundle;                    /* the bundle being filled, not queued yet */
    size_t bundle_fill, bundle_start; /* where the current entry begins in it */
    bool bundled;                     /* the current entry's content goes into the bundle */
    bool heals;                       /* the bundle is made again out of what is left of `lost` */
    ChunkId lost;
    SealMarker *marker; /* names small content for tomorrow */
    bool open;          /* between begin and end */
    Pending *first, **last, *current;
    size_t pending;
} Lane;

/* A record kept until the end, where entries do not come in order. */
typedef struct KeptRecord {
    uint8_t *at; /* path, then record */
    uint32_t path_len, record_len;
    uint64_t bytes;
} KeptRecord;

/* What a compressing thread keeps; out holds the longest encoded chunk. */
typedef struct WorkBench {
    CodecWork *work;
    uint8_t *out;
} WorkBench;

struct RepoWriter {
    WriterParams params;
    char source[MANIFEST_SOURCE_MAX + 1];
    Chunker chunker;
    uint8_t parents_key[32];    /* seals the list */
    uint8_t parents_secret[32]; /* hashes what is in it */
    Pool *pool;
    unsigned worker_count;
    pthread_t workers[WRITER_THREADS_MAX], packer;
    unsigned workers_started;
    bool packer_started;

    pthread_mutex_t lock; /* queues, failure, stop */
    pthread_cond_t work, pack, room, named;
    ChunkQueue raw, coded;
    size_t meta_queued; /* bytes */
    bool raw_closed, coded_closed;
    bool failed;
    Err failure;
    atomic_bool stop;

    pthread_mutex_t known_lock; /* seen, used, distrusted, yesterday */
    IdMap seen;
    PackSet used, distrusted;
    Yesterday *yesterday;        /* NULL: none */
    uint64_t ids_here, ids_gone; /* of yesterday's, of those that were looked up */

    pthread_mutex_t manifest_lock; /* pages, records, today, pages waiting, issues */
    Pages *pages;
    Buf last_path;
    KeptRecord *records;
    size_t record_count, record_room;
    Today *today;
    ChunkQueue meta; /* pages that wait for a lookup */
    Buf issues;
    uint32_t issue_kept;
    ChunkId *issue_pages;
    uint32_t issue_page_count;
    atomic_uint_fast64_t issue_count;
    uint8_t last_phase;
    WorkBench page_bench;

    Lane *lanes;
    struct Packing *packing; /* writer_pack.c */
    atomic_uint_fast64_t bytes, read, entries, known, new_bytes, stored, adopted;
};

/* writer.c */
bool writer_fail(RepoWriter *w, const Err *why); /* keeps the first; returns false */

/* writer_work.c */
Chunk *writer_chunk(Segment *segment, size_t from, size_t len, PackKind kind);
void writer_release(Chunk *chunk);
void writer_drop_bytes(Chunk *chunk);
void writer_queue_push(ChunkQueue *queue, Chunk *chunk);
Chunk *writer_queue_pop(ChunkQueue *queue);
bool writer_submit(RepoWriter *w, Chunk *chunk, Err *err);
void writer_name(RepoWriter *w, Chunk *chunk);
bool writer_sift(RepoWriter *w, Chunk **chunks, size_t *count, Err *err);
bool writer_compress(RepoWriter *w, Chunk *chunk, WorkBench *bench, Err *err);
bool writer_to_pack(RepoWriter *w, Chunk *chunk, Err *err);
void writer_bench_init(WorkBench *bench);
void writer_bench_free(WorkBench *bench);
void *writer_worker(void *ctx);

/* writer_known.c */
void writer_known_load(RepoWriter *w);
bool writer_known_row(RepoWriter *w, const Entry *entry, Pending *pending, Err *err);
bool writer_known_lookup(RepoWriter *w, const ChunkId *ids, size_t count, ChunkPlace *places,
                         Err *err);
bool writer_known_id(RepoWriter *w, const ChunkId *id, bool *here, Err *err); /* known_lock held */
/* An entry that was read: is its content where yesterday's was? Sets pending->known_part. */
bool writer_known_again(RepoWriter *w, uint64_t size, Pending *pending, Err *err);
void writer_known_use(RepoWriter *w, const YesterdayPart *part, uint32_t index);
void writer_known_drop(RepoWriter *w, Pending *pending); /* lets go of what is held for it */
bool writer_known_adopt(RepoWriter *w, Err *err);
void writer_known_free(RepoWriter *w);

/* writer_entry.c */
bool writer_drain(RepoWriter *w, Lane *lane, bool wait, Err *err);
bool writer_page(void *writer, Slice page, ChunkId *id, Err *err); /* manifest_lock held */
void writer_pending_free(RepoWriter *w, Pending *pending);
bool writer_finish_pages(RepoWriter *w, PagesRoot *root, Err *err);

/* writer_lane.c */
bool writer_lane_flush(RepoWriter *w, Lane *lane, Err *err);
void writer_lane_free(RepoWriter *w, Lane *lane);

/* writer_pack.c */
void *writer_packer(void *ctx);
void writer_pack_init(RepoWriter *w);
void writer_pack_adopted(RepoWriter *w, const PackRow *row); /* its rows go into the index too */
bool writer_pack_index(RepoWriter *w, Uuid *index, Err *err);
void writer_pack_free(RepoWriter *w);

#endif
