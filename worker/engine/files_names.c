/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_names.h"

#include "common/base/mem.h"

#include <pthread.h>

enum { BUCKETS = 1 << 14 };

typedef struct Row Row;
struct Row {
    Row *next;
    size_t len;
    char path[];
};

struct FilesNames {
    pthread_mutex_t lock;
    Row *buckets[BUCKETS];
};

FilesNames *files_names_new(void)
{
    FilesNames *names = mem_new(FilesNames);
    pthread_mutex_init(&names->lock, NULL);
    return names;
}

void files_names_free(FilesNames *names)
{
    if (names == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        while (names->buckets[i] != NULL) {
            Row *row = names->buckets[i];
            names->buckets[i] = row->next;
            mem_free(row);
        }
    pthread_mutex_destroy(&names->lock);
    mem_free(names);
}

/* FNV-1a: a bad spread costs time only, every hit is compared whole. */
static size_t bucket_of(Text path)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < path.len; i++)
        hash = (hash ^ (unsigned char)path.at[i]) * UINT64_C(0x100000001b3);
    return (size_t)(hash % BUCKETS);
}

static const Row *find(const FilesNames *names, Text path)
{
    const Row *row = names->buckets[bucket_of(path)];
    while (row != NULL && !text_equal((Text){row->path, row->len}, path))
        row = row->next;
    return row;
}

void files_names_add(FilesNames *names, Text path)
{
    pthread_mutex_lock(&names->lock);
    if (find(names, path) == NULL) {
        Row *row = mem_zeroed(1, sizeof *row + path.len);
        row->len = path.len;
        memcpy(row->path, path.at, path.len);
        row->next = names->buckets[bucket_of(path)];
        names->buckets[bucket_of(path)] = row;
    }
    pthread_mutex_unlock(&names->lock);
}

bool files_names_has(FilesNames *names, Text path)
{
    pthread_mutex_lock(&names->lock);
    bool found = find(names, path) != NULL;
    pthread_mutex_unlock(&names->lock);
    return found;
}
