/* SPDX-License-Identifier: Apache-2.0
 * chunker.h — where content is cut. The places depend on the bytes and on a secret alone, never on
 * how the bytes arrived, so equal content gives equal chunks whoever reads it in whatever pieces.
 * Dumps and trees: a rolling gear hash, 1 MiB on average. Large files, which tend to be edited here
 * and there: the same, 96 KiB on average. Images: every 4 KiB page is hashed and cuts fall between
 * pages only, 96 KiB on average, so that a changed page changes one chunk. The rolling hash, on an
 * image of 4 GiB with 2 000 edits in it: beside 128 KiB a fifth less is stored again, at 0.9 % more
 * bytes the first time and a third more rows.
 *
 * Runs of 64 KiB and more of zeros are no chunks at all. The table is keyed: lengths of chunks do
 * not tell which public file a repository holds.
 *
 * Pure: no allocation, no failure. To change a number here is to change the format's start values:
 * old repositories stay readable, but share no content with what is written afterwards. */
#ifndef COMMON_REPO_CHUNKER_H
#define COMMON_REPO_CHUNKER_H

#include "protocol/bytes.h"

enum {
    CHUNK_PLAIN_MAX = 4 * 1024 * 1024, /* no chunk's content is longer, in any shape */
    CHUNKER_PAGE = 4096,
    CHUNKER_ZERO_RUN = 64 * 1024, /* shorter runs of zeros cost less inside a chunk */
};

typedef struct Chunker {
    uint64_t gear[256];
    uint64_t page_seed[4];
    uint64_t page_multiply[4];
    uint64_t name_seed;
} Chunker;

/* key: 32 bytes derived from the id secret. */
void chunker_init(Chunker *chunker, const uint8_t key[32]);

typedef enum ChunkerStep {
    CHUNKER_MORE,  /* undecided: give the same bytes again with more behind them, or the end */
    CHUNKER_CUT,   /* the first *taken bytes are a chunk */
    CHUNKER_ZEROS, /* the first *taken bytes are zeros and go on as a run */
} ChunkerStep;

/* State of one content between steps; starts as {0} with cut set (an EntryCut). */
typedef struct ChunkerState {
    uint8_t cut;
    bool zeros; /* the last step was a run that only the end of the given bytes cut off */
} ChunkerState;

/* at[0] is the first byte behind the last cut; end: nothing comes behind at[len - 1]. With len of
 * CHUNK_PLAIN_MAX or with end (and len > 0) the answer is never CHUNKER_MORE. */
ChunkerStep chunker_step(const Chunker *chunker, ChunkerState *state, const uint8_t *at, size_t len,
                         bool end, size_t *taken);

/* Does a bundle of small files end behind the file of that path? One in 48 does. Only the last part
 * of the path counts, so that a renamed folder is bundled as before. */
bool chunker_bundle_ends(const Chunker *chunker, Text path);

/* How many levels of manifest pages end behind the entry of that path: 0 for most, 1 for one in
 * 128, 2 for one in 128 * 64, and so on. */
unsigned chunker_page_ends(const Chunker *chunker, Text path);

/* How many zero bytes at[0..len) begins with. */
size_t chunker_zero_prefix(const uint8_t *at, size_t len);

#endif
