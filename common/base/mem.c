/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/mem.h"

#include <malloc.h>
#include <stdlib.h>

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
