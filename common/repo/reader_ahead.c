/* SPDX-License-Identifier: Apache-2.0
 * reader_ahead.c — chunks that will soon be taken, opened meanwhile. */
#include "common/base/mem.h"
#include "common/base/wait.h"
#include "common/repo/reader_internal.h"

#include <pthread.h>
#include <unistd.h>

enum { WISHES = 256, THREADS_MOST = 8 };

struct ReaderAhead {
    ReaderCache *cache;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    ChunkId wishes[WISHES]; /* a ring */
    size_t first, count;
    bool over;
    pthread_t threads[THREADS_MOST];
    unsigned started, most;
};

ReaderAhead *reader_ahead_new(ReaderCache *cache)
{
    ReaderAhead *ahead = mem_new(ReaderAhead);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    ahead->cache = cache;
    ahead->most = online < 1 ? 1 : online > THREADS_MOST ? THREADS_MOST : (unsigned)online;
    pthread_mutex_init(&ahead->lock, NULL);
    pthread_cond_init(&ahead->changed, NULL);
    return ahead;
}

static bool next_wish(ReaderAhead *ahead, ChunkId *id)
{
    pthread_mutex_lock(&ahead->lock);
    while (ahead->count == 0 && !ahead->over)
        wait_signal(&ahead->changed, &ahead->lock);
    bool wished = !ahead->over;
    if (wished) {
        *id = ahead->wishes[ahead->first];
        ahead->first = (ahead->first + 1) % WISHES;
        ahead->count--;
    }
    pthread_mutex_unlock(&ahead->lock);
    return wished;
}

static void *run(void *ctx)
{
    ReaderAhead *ahead = ctx;
    ChunkId id;
    while (next_wish(ahead, &id)) {
        Decoded *decoded;
        Err ignored = {0};
        if (reader_take(ahead->cache, &id, &decoded, &ignored))
            reader_drop(ahead->cache, decoded);
    }
    return NULL;
}

void reader_ahead_want(ReaderAhead *ahead, const ChunkId *id)
{
    pthread_mutex_lock(&ahead->lock);
    while (ahead->started < ahead->most &&
           pthread_create(&ahead->threads[ahead->started], NULL, run, ahead) == 0)
        ahead->started++;
    if (ahead->count < WISHES && ahead->started > 0) {
        ahead->wishes[(ahead->first + ahead->count++) % WISHES] = *id;
        pthread_cond_signal(&ahead->changed);
    }
    pthread_mutex_unlock(&ahead->lock);
}

void reader_ahead_free(ReaderAhead *ahead)
{
    if (ahead == NULL)
        return;
    pthread_mutex_lock(&ahead->lock);
    ahead->over = true;
    pthread_cond_broadcast(&ahead->changed);
    pthread_mutex_unlock(&ahead->lock);
    while (ahead->started > 0)
        pthread_join(ahead->threads[--ahead->started], NULL);
    pthread_mutex_destroy(&ahead->lock);
    pthread_cond_destroy(&ahead->changed);
    mem_free(ahead);
}
