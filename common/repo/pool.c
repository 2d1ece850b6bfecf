/* SPDX-License-Identifier: Apache-2.0
 * pool.c — segments in one mapping, free ones on a stack. */
#include "common/repo/pool.h"

#include "common/base/mem.h"
#include "common/base/wait.h"

#include <pthread.h>
#include <sys/mman.h>

struct Pool {
    pthread_mutex_t lock;
    pthread_cond_t free_again;
    Segment *segments;
    Segment **free;
    unsigned count, free_count;
    uint8_t *memory;
    bool stopped;
};

bool pool_new(Pool **out, unsigned segments, Err *err)
{
    Pool *pool = mem_new(Pool);
    pool->memory = mmap(NULL, (size_t)segments * POOL_SEGMENT, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pool->memory == MAP_FAILED) {
        mem_free(pool);
        return err_set_sys(err, ERR_FULL, "repo.no_memory",
                           "reserving %u MiB for content: lower the job's memory", segments * 4);
    }
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->free_again, NULL);
    pool->count = pool->free_count = segments;
    pool->segments = mem_array(Segment, segments);
    pool->free = mem_array(Segment *, segments);
    for (unsigned i = 0; i < segments; i++) {
        pool->segments[i] = (Segment){pool->memory + (size_t)i * POOL_SEGMENT, pool, 0};
        pool->free[segments - 1 - i] = &pool->segments[i];
    }
    *out = pool;
    return true;
}

Segment *pool_take(Pool *pool)
{
    Segment *segment = NULL;
    pthread_mutex_lock(&pool->lock);
    while (pool->free_count == 0 && !pool->stopped)
        wait_signal(&pool->free_again, &pool->lock);
    if (!pool->stopped) {
        segment = pool->free[--pool->free_count];
        segment->refs = 1;
    }
    pthread_mutex_unlock(&pool->lock);
    return segment;
}

void pool_keep(Segment *segment)
{
    pthread_mutex_lock(&segment->pool->lock);
    segment->refs++;
    pthread_mutex_unlock(&segment->pool->lock);
}

void pool_release(Segment *segment)
{
    if (segment == NULL)
        return;
    Pool *pool = segment->pool;
    pthread_mutex_lock(&pool->lock);
    if (--segment->refs == 0) {
        pool->free[pool->free_count++] = segment;
        pthread_cond_signal(&pool->free_again);
    }
    pthread_mutex_unlock(&pool->lock);
}

void pool_stop(Pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->stopped = true;
    pthread_cond_broadcast(&pool->free_again);
    pthread_mutex_unlock(&pool->lock);
}

void pool_free(Pool *pool)
{
    if (pool == NULL)
        return;
    munmap(pool->memory, (size_t)pool->count * POOL_SEGMENT);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->free_again);
    mem_free(pool->segments);
    mem_free(pool->free);
    mem_free(pool);
}
