/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/s3_ahead.h"

#include "common/base/mem.h"
#include "common/base/wait.h"
#include "common/store/store.h"

#include <pthread.h>
#include <string.h>

enum {
    BLOCK = 1024 * 1024, /* 40 ms on the way cost as much as 1 MiB at 25 MB/s */
    BLOCKS = 8,          /* the memory that a store may take for reading */
    GIVEN_MOST = 64,     /* parts of one block */
    OBJECTS = 16,        /* that are read at a time */
    READS_LEAST = 3,     /* a header, a table and one chunk are no reason to fetch more */
};

typedef struct Block {
    char name[STORE_NAME_MOST + 1]; /* "": free */
    uint64_t from;
    size_t have;
    uint8_t *at;
    uint64_t given[GIVEN_MOST]; /* where the parts begin that were given away */
    unsigned given_count;
    bool loading;
    unsigned holders; /* who waits for it or copies out of it */
    uint64_t used;
} Block;

typedef struct Object {
    char name[STORE_NAME_MOST + 1];
    unsigned reads;
    uint64_t used;
} Object;

struct S3Ahead {
    S3Fetch *fetch;
    void *ctx;
    pthread_mutex_t lock;
    pthread_cond_t loaded;
    Block blocks[BLOCKS];
    Object objects[OBJECTS];
    uint64_t tick;
};

/* One read. */
typedef struct Part {
    const char *name;
    uint64_t offset;
    size_t len;
    uint8_t *at;
} Part;

S3Ahead *s3_ahead_new(S3Fetch *fetch, void *ctx)
{
    S3Ahead *ahead = mem_new(S3Ahead);
    ahead->fetch = fetch;
    ahead->ctx = ctx;
    pthread_mutex_init(&ahead->lock, NULL);
    pthread_cond_init(&ahead->loaded, NULL);
    return ahead;
}

void s3_ahead_free(S3Ahead *ahead)
{
    if (ahead == NULL)
        return;
    for (unsigned i = 0; i < BLOCKS; i++)
        mem_free(ahead->blocks[i].at);
    pthread_cond_destroy(&ahead->loaded);
    pthread_mutex_destroy(&ahead->lock);
    mem_free(ahead);
}

/* --- all of these under the lock ---------------------------------------------------------------
 */

/* Counts the read; true: the object is read again and again. */
static bool count_read(S3Ahead *ahead, const char *name)
{
    Object *oldest = &ahead->objects[0];
    for (unsigned i = 0; i < OBJECTS; i++) {
        Object *object = &ahead->objects[i];
        if (strcmp(object->name, name) == 0) {
            object->used = ++ahead->tick;
            return ++object->reads > READS_LEAST;
        }
        if (object->used < oldest->used)
            oldest = object;
    }
    *oldest = (Object){.reads = 1, .used = ++ahead->tick};
    memcpy(oldest->name, name, strlen(name) + 1);
    return false;
}

static Block *block_at(S3Ahead *ahead, const char *name, uint64_t from)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        if (ahead->blocks[i].from == from && strcmp(ahead->blocks[i].name, name) == 0)
            return &ahead->blocks[i];
    return NULL;
}

static Block *free_block(S3Ahead *ahead)
{
    Block *best = NULL;
    for (unsigned i = 0; i < BLOCKS; i++) {
        Block *block = &ahead->blocks[i];
        if (block->holders == 0 && (best == NULL || block->used < best->used))
            best = block;
    }
    return best;
}

static bool was_given(const Block *block, uint64_t offset)
{
    for (unsigned i = 0; i < block->given_count; i++)
        if (block->given[i] == offset)
            return true;
    return block->given_count == GIVEN_MOST;
}

/* Makes it the block from there and fetches it; at least `least` bytes must come. */
static bool load(S3Ahead *ahead, Block *block, const char *name, uint64_t from, size_t least,
                 Err *err)
{
    *block = (Block){.at = block->at, .from = from, .loading = true, .holders = 1};
    memcpy(block->name, name, strlen(name) + 1);
    pthread_mutex_unlock(&ahead->lock);
    size_t got = 0;
    if (block->at == NULL)
        block->at = mem_resize(NULL, BLOCK);
    bool good = ahead->fetch(ahead->ctx, name, from, least, BLOCK, block->at, &got, err);
    pthread_mutex_lock(&ahead->lock);
    block->loading = false;
    block->have = got;
    block->holders--;
    if (!good)
        block->name[0] = 0;
    pthread_cond_broadcast(&ahead->loaded);
    return good;
}

/* Copies what the block that is to begin at `from` has of the part. *given false: it has it no
 * more, or there is no room for it. */
static bool give(S3Ahead *ahead, const Part *part, uint64_t from, bool *given, Err *err)
{
    uint64_t begin = part->offset > from ? part->offset : from;
    uint64_t end =
        part->offset + part->len < from + BLOCK ? part->offset + part->len : from + BLOCK;
    Block *block = block_at(ahead, part->name, from);
    if (block == NULL) {
        block = free_block(ahead);
        if (block != NULL && !load(ahead, block, part->name, from, (size_t)(end - from), err))
            return false;
    }
    *given = block != NULL && !was_given(block, part->offset);
    if (!*given)
        return true;
    block->given[block->given_count++] = part->offset;
    block->holders++;
    while (block->loading)
        wait_signal(&ahead->loaded, &ahead->lock);
    *given = block->name[0] != 0 && end - from <= block->have;
    if (*given) {
        pthread_mutex_unlock(&ahead->lock);
        memcpy(part->at + (begin - part->offset), block->at + (begin - from),
               (size_t)(end - begin));
        pthread_mutex_lock(&ahead->lock);
    }
    block->holders--;
    block->used = ++ahead->tick;
    return true;
}

/* -----------------------------------------------------------------------------------------------
 */

bool s3_ahead_read(S3Ahead *ahead, const char *name, uint64_t offset, size_t len, uint8_t *at,
                   Err *err)
{
    size_t got;
    bool good = true;
    Part part = {name, offset, len, at};
    pthread_mutex_lock(&ahead->lock);
    bool given = count_read(ahead, name) && len < BLOCK;
    for (uint64_t from = offset - offset % BLOCK; good && given && from < offset + len;
         from += BLOCK)
        good = give(ahead, &part, from, &given, err);
    pthread_mutex_unlock(&ahead->lock);
    return good && (given || ahead->fetch(ahead->ctx, name, offset, len, len, at, &got, err));
}
