/* SPDX-License-Identifier: Apache-2.0
 * chunker.c — gear hash for streams and large files, page hashes for images, zero runs for both. */
#include "common/repo/chunker.h"

#include "common/base/hash.h"
#include "protocol/entry.h"

#include <endian.h>

/* Averages: a cut is possible behind `min` only, and then happens once in `spread` bytes (streams)
 * or pages (images): min + spread is the average, within a few per cent for the cap at max. */
enum {
    DUMP_MIN = 256 * 1024,
    DUMP_SPREAD = 768 * 1024,
    DUMP_MAX = CHUNK_PLAIN_MAX,
    LARGE_MIN = 32 * 1024,
    LARGE_SPREAD = 64 * 1024,
    LARGE_MAX = 512 * 1024,
    IMAGE_MIN = 32 * 1024,
    IMAGE_SPREAD_PAGES = 16,
    IMAGE_MAX = 512 * 1024,
    GEAR_WINDOW = 64,   /* a 64-bit gear hash has forgotten what is further back */
    BUNDLE_SPREAD = 48, /* files a bundle */
    PAGE_SPREAD = 128,  /* entries a manifest page */
    BRANCH_SPREAD = 64, /* pages a branch page */
    ZERO_PAGES = CHUNKER_ZERO_RUN / CHUNKER_PAGE,
};

/* How a stream is cut by its bytes. */
typedef struct Gear {
    size_t min, max;
    uint64_t limit;
} Gear;

static const Gear DUMP_GEAR = {DUMP_MIN, DUMP_MAX, UINT64_MAX / DUMP_SPREAD};
static const Gear LARGE_GEAR = {LARGE_MIN, LARGE_MAX, UINT64_MAX / LARGE_SPREAD};
static const uint64_t IMAGE_LIMIT = UINT64_MAX / IMAGE_SPREAD_PAGES;
static const uint64_t BUNDLE_LIMIT = UINT64_MAX / BUNDLE_SPREAD;
static const uint64_t PAGE_LIMIT = UINT64_MAX / PAGE_SPREAD;

static uint64_t load64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

/* Table entries are the key's HMAC over a counter, four a block. */
static uint64_t table_entry(const uint8_t key[32], uint32_t index)
{
    uint32_t block = index / 4;
    uint8_t counter[4] = {(uint8_t)block, (uint8_t)(block >> 8), (uint8_t)(block >> 16), 0};
    Sha256 out;
    hash_hmac_sha256((Slice){key, 32}, (Slice){counter, sizeof counter}, &out);
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++)
        value |= (uint64_t)out.bytes[(index % 4) * 8 + i] << (8 * i);
    return value;
}

void chunker_init(Chunker *chunker, const uint8_t key[32])
{
    uint32_t next = 0;
    for (unsigned i = 0; i < 256; i++)
        chunker->gear[i] = table_entry(key, next++);
    for (unsigned i = 0; i < 4; i++)
        chunker->page_seed[i] = table_entry(key, next++);
    for (unsigned i = 0; i < 4; i++)
        chunker->page_multiply[i] = table_entry(key, next++) | 1;
    chunker->name_seed = table_entry(key, next++);
}

size_t chunker_zero_prefix(const uint8_t *at, size_t len)
{
    size_t i = 0;
    while (len - i >= 32) {
        if ((load64(at + i) | load64(at + i + 8) | load64(at + i + 16) | load64(at + i + 24)) != 0)
            break;
        i += 32;
    }
    while (i < len && at[i] == 0)
        i++;
    return i;
}

static uint64_t mix(uint64_t h)
{
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return h ^ (h >> 32);
}

/* Four lanes of xor and multiply: fast enough not to be seen beside the reading. */
static uint64_t page_hash(const Chunker *c, const uint8_t *at, bool *zero)
{
    uint64_t lane[4] = {c->page_seed[0], c->page_seed[1], c->page_seed[2], c->page_seed[3]};
    uint64_t any = 0;
    for (size_t i = 0; i < CHUNKER_PAGE; i += 32) {
        for (unsigned k = 0; k < 4; k++) {
            uint64_t word = load64(at + i + 8 * k);
            any |= word;
            lane[k] = (lane[k] ^ word) * c->page_multiply[k];
            lane[k] ^= lane[k] >> 29;
        }
    }
    *zero = any == 0;
    return mix(lane[0] ^ mix(lane[1] ^ mix(lane[2] ^ mix(lane[3]))));
}

static size_t image_cut(const Chunker *c, const uint8_t *at, size_t len)
{
    size_t zero_pages = 0;
    size_t end = len < IMAGE_MAX ? len : IMAGE_MAX;
    for (size_t next = CHUNKER_PAGE; next <= end; next += CHUNKER_PAGE) {
        bool zero;
        uint64_t hash = page_hash(c, at + next - CHUNKER_PAGE, &zero);
        zero_pages = zero ? zero_pages + 1 : 0;
        /* The run becomes no chunk: cut in front of it. */
        if (zero_pages == ZERO_PAGES && next > CHUNKER_ZERO_RUN)
            return next - CHUNKER_ZERO_RUN;
        if (!zero && next >= IMAGE_MIN && hash < IMAGE_LIMIT)
            return next;
    }
    return len >= IMAGE_MAX ? IMAGE_MAX : 0;
}

/* Plain on purpose: gcc 12 at -O3 -march=native makes cleverer loops slower than this at -O2. */
static size_t gear_cut(const Chunker *c, const Gear *gear, const uint8_t *at, size_t len)
{
    if (len <= gear->min)
        return 0;
    size_t end = len < gear->max ? len : gear->max;
    uint64_t limit = gear->limit;
    uint64_t hash = 0;
    size_t i = gear->min - GEAR_WINDOW;
    for (; i < gear->min; i++)
        hash = (hash << 1) + c->gear[at[i]];
    for (; i < end; i++) {
        if (hash < limit)
            return i;
        hash = (hash << 1) + c->gear[at[i]];
    }
    return len >= gear->max ? gear->max : 0;
}

static size_t cut_of(const Chunker *c, uint8_t cut, const uint8_t *at, size_t len)
{
    if (cut == CUT_IMAGE)
        return image_cut(c, at, len);
    return gear_cut(c, cut == CUT_LARGE ? &LARGE_GEAR : &DUMP_GEAR, at, len);
}

static size_t whole_units(const ChunkerState *state, size_t count)
{
    return state->cut == CUT_IMAGE ? count - count % CHUNKER_PAGE : count;
}

/* Is there a run of zeros in front? Decided by bytes alone: a run is one from 64 KiB on, or what is
 * left when nothing else comes. */
static ChunkerStep zero_step(ChunkerState *state, const uint8_t *at, size_t len, bool end,
                             size_t *taken)
{
    size_t zeros = chunker_zero_prefix(at, len);
    bool all = zeros == len;
    size_t whole = all && end ? zeros : whole_units(state, zeros);
    bool run = state->zeros || whole >= CHUNKER_ZERO_RUN || (all && end);
    if (!run && all)
        return CHUNKER_MORE;
    if (run && whole > 0) {
        *taken = whole;
        state->zeros = all;
        return CHUNKER_ZEROS;
    }
    if (state->zeros && all)
        return CHUNKER_MORE;
    state->zeros = false;
    return CHUNKER_CUT;
}

ChunkerStep chunker_step(const Chunker *chunker, ChunkerState *state, const uint8_t *at, size_t len,
                         bool end, size_t *taken)
{
    *taken = 0;
    if (len == 0)
        return CHUNKER_MORE;
    ChunkerStep step = zero_step(state, at, len, end, taken);
    if (step != CHUNKER_CUT)
        return step;
    *taken = cut_of(chunker, state->cut, at, len);
    if (*taken == 0 && end)
        *taken = len;
    return *taken == 0 ? CHUNKER_MORE : CHUNKER_CUT;
}

static uint64_t text_hash(const Chunker *chunker, Text text, uint64_t seed)
{
    uint64_t hash = seed ^ text.len;
    for (size_t i = 0; i < text.len; i += 8) {
        uint64_t word = 0;
        memcpy(&word, text.at + i, text.len - i < 8 ? text.len - i : 8);
        hash = mix(hash ^ le64toh(word)) + chunker->page_seed[i / 8 % 4];
    }
    return mix(hash);
}

bool chunker_bundle_ends(const Chunker *chunker, Text path)
{
    size_t from = path.len;
    while (from > 0 && path.at[from - 1] != '/')
        from--;
    Text name = {path.at + from, path.len - from};
    return text_hash(chunker, name, chunker->name_seed) < BUNDLE_LIMIT;
}

unsigned chunker_page_ends(const Chunker *chunker, Text path)
{
    uint64_t hash = text_hash(chunker, path, ~chunker->name_seed);
    unsigned levels = 0;
    for (uint64_t limit = PAGE_LIMIT; hash < limit; limit /= BRANCH_SPREAD)
        levels++;
    return levels;
}
