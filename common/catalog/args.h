/* SPDX-License-Identifier: Apache-2.0
 * args.h — the parameters of one statement, in PostgreSQL's binary form, so that no value is ever
 * quoted or parsed. `scoped(args_free) Args args = {0};`, then one call a parameter, in order.
 * Text that is not UTF-8, or holds a NUL, is repaired (U+FFFD): it is for people; names that must
 * survive byte for byte are escaped by their owner before they come here. */
#ifndef COMMON_CATALOG_ARGS_H
#define COMMON_CATALOG_ARGS_H

#include "common/base/buf.h"
#include "protocol/ids.h"

enum { ARGS_MOST = 26 };

typedef struct Args {
    unsigned count;
    unsigned types[ARGS_MOST]; /* Oid */
    size_t at[ARGS_MOST];      /* into bytes; SIZE_MAX is NULL */
    int lengths[ARGS_MOST];
    Buf bytes;
} Args;

void args_i64(Args *args, int64_t value);
void args_i64_null(Args *args);
void args_i32(Args *args, int32_t value);
void args_flag(Args *args, bool value);
void args_double(Args *args, double value);
void args_text(Args *args, Text text);
void args_text_or_null(Args *args, Text text); /* empty is NULL */
void args_uuid(Args *args, const Uuid *id);    /* NULL is NULL */
void args_bytes(Args *args, const void *at, size_t len);
void args_time(Args *args, int64_t unix_ns); /* 0 is NULL */

/* An array parameter: begin, the elements, end. */
typedef enum ArgsElement {
    ELEMENT_I32,
    ELEMENT_I64,
    ELEMENT_FLAG,
    ELEMENT_TEXT,
    ELEMENT_UUID,
    ELEMENT_BYTES,
    ELEMENT_TIME,
} ArgsElement;
void args_array(Args *args, ArgsElement element, size_t count);
void args_element_i64(Args *args, int64_t value);
void args_element_i32(Args *args, int32_t value);
void args_element_flag(Args *args, bool value);
void args_element_text(Args *args, Text text);
void args_element_bytes(Args *args, const void *at, size_t len); /* bytea or uuid */
void args_element_time(Args *args, int64_t unix_ns);             /* 0 is NULL */
void args_array_end(Args *args);

void args_free(Args *args);

#endif
