/* SPDX-License-Identifier: Apache-2.0
 * buf.h — bytes that are owned and grow. `scoped(buf_free) Buf out = {0};` is an empty one.
 * Growth aborts when memory is gone (mem.h says why); it is for control data and single chunks,
 * bulk data lives in a bounded pool. */
#ifndef COMMON_BASE_BUF_H
#define COMMON_BASE_BUF_H

#include "protocol/err.h"

#include <stdarg.h>

typedef struct Buf {
    uint8_t *at;
    size_t len;
    size_t room; /* allocated */
} Buf;

void buf_free(Buf *buf);                 /* releases and zeroes the struct; an empty one is fine */
void buf_clear(Buf *buf);                /* length 0, memory kept */
void buf_reserve(Buf *buf, size_t more); /* makes room for `more` bytes past len */
uint8_t *buf_extend(Buf *buf, size_t more); /* grows len by more, returns where they start */
void buf_add(Buf *buf, const void *at, size_t len);
void buf_add_slice(Buf *buf, Slice slice);
void buf_add_text(Buf *buf, Text text);
void buf_add_byte(Buf *buf, uint8_t byte);
void buf_printf(Buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(Buf *buf, const char *format, va_list args) PRINTF_LIKE(2, 0);

/* Little-endian integers, the byte order of every record that is not msgpack. */
void buf_add_le16(Buf *buf, uint16_t value);
void buf_add_le32(Buf *buf, uint32_t value);
void buf_add_le64(Buf *buf, uint64_t value);

/* The content as a C string; keeps a NUL after len that does not count. */
const char *buf_cstr(Buf *buf);
Slice buf_slice(const Buf *buf);
Text buf_text(const Buf *buf);

/* Gives the memory away: the caller frees *at with mem_free; the Buf is empty afterwards. */
uint8_t *buf_take(Buf *buf, size_t *len);

#endif
