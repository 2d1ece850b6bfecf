/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_ahead.h"

#include "common/base/mem.h"
#include "common/base/wait.h"
#include "worker/engine/files_stand.h"

#include <pthread.h>
#include <stdatomic.h>

/* Entries go over in batches, as a lock for each would cost as much as a look. */
enum { BATCH = 64, BATCHES = 8 };

typedef struct Batch {
    FilesSeen seen[BATCH];
    size_t count;
} Batch;

struct FilesAhead {
    FilesWalk *walk;
    pthread_t thread;
    bool started;
    atomic_bool stop;

    pthread_mutex_t lock; /* guards all below, but for the content of batches */
    pthread_cond_t filled, emptied;
    Batch *batches;    /* a ring */
    size_t head, tail; /* batches filled and taken back, counted from the start */
    bool ended;
    bool failed;
    Err failure;

    size_t at;        /* in the batch that is being taken; the taker's alone */
    FilesStand stand; /* the thread's alone */
};

/* --- looking ------------------------------------------------------------------------------------
 */

/* The walk's own words are gone with its next step. */
static void keep(FilesSeen *seen, const FilesFound *found)
{
    buf_clear(&seen->path);
    buf_add_text(&seen->path, found->path);
    buf_add_byte(&seen->path, 0);
    seen->found = *found;
    seen->found.path = (Text){(const char *)seen->path.at, found->path.len};
    if (found->open != NULL) {
        files_directory_keep(found->open);
        seen->found.name = seen->found.path.at + (found->name - found->path.at);
    }
}

static bool fill(FilesAhead *ahead, Batch *batch, bool *more, Err *err)
{
    FilesFound found;
    for (batch->count = 0; batch->count < BATCH && !atomic_load(&ahead->stop);) {
        if (!files_walk_next(ahead->walk, &found, more, err))
            return false;
        if (!*more)
            return true;
        FilesSeen *seen = &batch->seen[batch->count++];
        keep(seen, &found);
        seen->looked = !S_ISREG(found.status.st_mode);
        if (seen->looked)
            seen->xattr_errno = files_stand_look(&ahead->stand, &seen->found, &seen->xattr);
    }
    return true;
}

/* NULL: nobody wants any more. */
static Batch *room(FilesAhead *ahead)
{
    pthread_mutex_lock(&ahead->lock);
    while (ahead->head - ahead->tail == BATCHES && !atomic_load(&ahead->stop))
        wait_signal(&ahead->emptied, &ahead->lock);
    Batch *batch = &ahead->batches[ahead->head % BATCHES];
    pthread_mutex_unlock(&ahead->lock);
    return atomic_load(&ahead->stop) ? NULL : batch;
}

static void *run(void *ctx)
{
    FilesAhead *ahead = ctx;
    Batch *batch;
    bool more = true;
    while (more && (batch = room(ahead)) != NULL) {
        Err err = {0};
        bool good = fill(ahead, batch, &more, &err);
        more = more && good;
        pthread_mutex_lock(&ahead->lock);
        ahead->head++;
        ahead->ended = !more;
        if (!good) {
            ahead->failed = true;
            ahead->failure = err;
        }
        pthread_cond_signal(&ahead->filled);
        pthread_mutex_unlock(&ahead->lock);
    }
    files_stand_leave(&ahead->stand);
    return NULL;
}

/* --- taking -------------------------------------------------------------------------------------
 */

static void give_back(FilesSeen *seen)
{
    if (seen->found.open != NULL)
        files_directory_release(seen->found.open);
    seen->found.open = NULL;
}

/* The batch that is being taken, once it has come; NULL at the end. */
static Batch *current(FilesAhead *ahead)
{
    pthread_mutex_lock(&ahead->lock);
    while (ahead->head == ahead->tail && !ahead->ended)
        wait_signal(&ahead->filled, &ahead->lock);
    Batch *batch = ahead->head == ahead->tail ? NULL : &ahead->batches[ahead->tail % BATCHES];
    pthread_mutex_unlock(&ahead->lock);
    return batch;
}

static void next_batch(FilesAhead *ahead)
{
    pthread_mutex_lock(&ahead->lock);
    ahead->tail++;
    pthread_cond_signal(&ahead->emptied);
    pthread_mutex_unlock(&ahead->lock);
    ahead->at = 0;
}

bool files_ahead_next(FilesAhead *ahead, FilesSeen **seen, Err *err)
{
    Batch *batch;
    *seen = NULL;
    while ((batch = current(ahead)) != NULL) {
        if (ahead->at > 0)
            give_back(&batch->seen[ahead->at - 1]);
        if (ahead->at < batch->count) {
            *seen = &batch->seen[ahead->at++];
            return true;
        }
        next_batch(ahead);
    }
    if (!ahead->failed)
        return true;
    *err = ahead->failure;
    return false;
}

bool files_ahead_open(FilesAhead **out, FilesWalk *walk, Err *err)
{
    FilesAhead *ahead = mem_new(FilesAhead);
    ahead->walk = walk;
    ahead->batches = mem_array(Batch, BATCHES);
    pthread_mutex_init(&ahead->lock, NULL);
    pthread_cond_init(&ahead->filled, NULL);
    pthread_cond_init(&ahead->emptied, NULL);
    ahead->started = pthread_create(&ahead->thread, NULL, run, ahead) == 0;
    if (!ahead->started) {
        files_ahead_close(ahead);
        return err_set(err, ERR_IO, "files.thread", "no thread could be started to walk with");
    }
    *out = ahead;
    return true;
}

void files_ahead_close(FilesAhead *ahead)
{
    if (ahead == NULL)
        return;
    atomic_store(&ahead->stop, true);
    pthread_mutex_lock(&ahead->lock);
    pthread_cond_signal(&ahead->emptied);
    pthread_mutex_unlock(&ahead->lock);
    if (ahead->started)
        pthread_join(ahead->thread, NULL);
    for (size_t b = 0; b < BATCHES; b++) {
        for (size_t i = 0; i < BATCH; i++) {
            FilesSeen *seen = &ahead->batches[b].seen[i];
            give_back(seen);
            buf_free(&seen->path);
            files_xattr_free(&seen->xattr);
        }
    }
    pthread_mutex_destroy(&ahead->lock);
    pthread_cond_destroy(&ahead->filled);
    pthread_cond_destroy(&ahead->emptied);
    mem_free(ahead->batches);
    mem_free(ahead);
}
