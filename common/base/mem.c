/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/mem.h"

#include <malloc.h>
#include <stdlib.h>

enum {
    HEAP_KEPT = 64 * 1024 * 1024,      /* free at its end, before any is given back */
    LARGEST_IN_HEAP = 8 * 1024 * 1024, /* a chunk, and what codecs need for one */
};

void *mem_zeroed(size_t count, size_t size)
{
    void *at = calloc(count == 0 ? 1 : count, size);
    if (at == NULL)
        abort();
    return at;
}

void *mem_resize(void *at, size_t size)
{
    void *moved = realloc(at, size == 0 ? 1 : size);
    if (moved == NULL)
        abort();
    return moved;
}

void mem_free(void *at)
{
    free(at);
}

void mem_trim(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

void mem_share_heap(void)
{
#ifdef __GLIBC__
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_TRIM_THRESHOLD, HEAP_KEPT);
    mallopt(M_MMAP_THRESHOLD, LARGEST_IN_HEAP);
#endif
}

char *mem_text(Text text)
{
    char *copy = mem_zeroed(1, text.len + 1);
    if (text.len != 0)
        memcpy(copy, text.at, text.len);
    return copy;
}

char *mem_string(const char *string)
{
    return string == NULL ? NULL : mem_text(text_of(string));
}

void mem_release(void *pointer_to_pointer)
{
    void **at = pointer_to_pointer;
    free(*at);
    *at = NULL;
}
