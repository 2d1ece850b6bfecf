/* SPDX-License-Identifier: Apache-2.0
 * mem.h — control memory. Allocation aborts when memory is gone: a half-working backup is worse
 * than a restart, and a job whose process died is leased again. Bulk data does not come from here
 * but from bounded pools, where running out means waiting. */
#ifndef COMMON_BASE_MEM_H
#define COMMON_BASE_MEM_H

#include "protocol/bytes.h"

#define mem_new(Type)          ((Type *)mem_zeroed(1, sizeof(Type)))
#define mem_array(Type, count) ((Type *)mem_zeroed((count), sizeof(Type)))

void *mem_zeroed(size_t count, size_t size); /* zero bytes; count 0 gives a valid pointer */
void *mem_resize(void *at, size_t size);     /* realloc that aborts; new bytes are not zeroed */
void mem_free(void *at);                     /* NULL is fine */
char *mem_text(Text text);                   /* a C string; bytes from the first NUL on are kept */
char *mem_string(const char *string);        /* a copy; NULL gives NULL */

/* Gives the system back what was freed: after something that needed much, once. */
void mem_trim(void);

/* For a process whose threads hand large buffers to one another, before it starts them: one heap
 * that keeps what is freed. glibc gives each thread a heap of its own and shrinks it whenever its
 * end is free, so a buffer that one thread fills and another frees is cleared by the kernel again
 * and again: that was two fifths of a restore's processor time (mallopt(3)). */
void mem_share_heap(void);

/* For scoped(): `scoped(mem_release) char *name = NULL;` */
void mem_release(void *pointer_to_pointer);

#endif
