/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/buf.h"

#include "common/base/mem.h"

#include <stdio.h>
#include <stdlib.h>

void buf_free(Buf *buf)
{
    mem_free(buf->at);
    *buf = (Buf){0};
}

void buf_clear(Buf *buf)
{
    buf->len = 0;
}

void buf_reserve(Buf *buf, size_t more)
{
    if (buf->room - buf->len >= more)
        return;
    size_t room = buf->room < 64 ? 64 : buf->room;
    while (room - buf->len < more) {
        if (room > SIZE_MAX / 2)
            abort();
        room *= 2;
    }
    buf->at = mem_resize(buf->at, room);
    buf->room = room;
}

uint8_t *buf_extend(Buf *buf, size_t more)
{
    buf_reserve(buf, more);
    uint8_t *start = buf->at == NULL ? NULL : buf->at + buf->len; /* nothing added to nothing */
    buf->len += more;
    return start;
}

void buf_add(Buf *buf, const void *at, size_t len)
{
    if (len != 0)
        memcpy(buf_extend(buf, len), at, len);
}

void buf_add_slice(Buf *buf, Slice slice)
{
    buf_add(buf, slice.at, slice.len);
}

void buf_add_text(Buf *buf, Text text)
{
    buf_add(buf, text.at, text.len);
}

void buf_add_byte(Buf *buf, uint8_t byte)
{
    *buf_extend(buf, 1) = byte;
}

void buf_printf(Buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    buf_vprintf(buf, format, args);
    va_end(args);
}

void buf_vprintf(Buf *buf, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int needed = vsnprintf(NULL, 0, format, args);
    if (needed > 0) {
        buf_reserve(buf, (size_t)needed + 1);
        vsnprintf((char *)buf->at + buf->len, (size_t)needed + 1, format, again);
        buf->len += (size_t)needed;
    }
    va_end(again);
}

void buf_add_le16(Buf *buf, uint16_t value)
{
    uint8_t *at = buf_extend(buf, 2);
    for (unsigned i = 0; i < 2; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

void buf_add_le32(Buf *buf, uint32_t value)
{
    uint8_t *at = buf_extend(buf, 4);
    for (unsigned i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

void buf_add_le64(Buf *buf, uint64_t value)
{
    uint8_t *at = buf_extend(buf, 8);
    for (unsigned i = 0; i < 8; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

const char *buf_cstr(Buf *buf)
{
    buf_reserve(buf, 1);
    buf->at[buf->len] = 0;
    return (const char *)buf->at;
}

Slice buf_slice(const Buf *buf)
{
    return (Slice){buf->at, buf->len};
}

Text buf_text(const Buf *buf)
{
    return (Text){(const char *)buf->at, buf->len};
}

uint8_t *buf_take(Buf *buf, size_t *len)
{
    uint8_t *at = buf->at;
    *len = buf->len;
    *buf = (Buf){0};
    return at;
}
