/* SPDX-License-Identifier: Apache-2.0
 * bytes.h — borrowed bytes and borrowed text.
 * A Slice or a Text never owns what it points at: it is not freed, and not kept past the call that
 * received it unless the callee says so. Text is bytes with a length, not a C string: it may hold
 * any byte, NUL and invalid UTF-8 too. */
#ifndef PROTOCOL_BYTES_H
#define PROTOCOL_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct Slice {
    const uint8_t *at;
    size_t len;
} Slice;

typedef struct Text {
    const char *at;
    size_t len;
} Text;

/* A literal as Text; sizeof works because a literal is an array. */
#define TEXT(literal) ((Text){(literal), sizeof(literal) - 1})

/* printf's "%.*s" for a Text: printf("%.*s", TEXT_ARG(t)). */
#define TEXT_ARG(t) (int)(t).len, (t).at

static inline Text text_of(const char *s)
{
    return (Text){s, s == NULL ? 0 : strlen(s)};
}

static inline bool text_equal(Text a, Text b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

static inline bool slice_equal(Slice a, Slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

static inline Slice slice_of_text(Text t)
{
    return (Slice){(const uint8_t *)t.at, t.len};
}

static inline Text text_of_slice(Slice s)
{
    return (Text){(const char *)s.at, s.len};
}

/* Bytewise order, a prefix before what it begins: the order of paths in every record. */
static inline int text_compare(Text a, Text b)
{
    size_t shared = a.len < b.len ? a.len : b.len;
    int order = shared == 0 ? 0 : memcmp(a.at, b.at, shared);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

#endif
