/* SPDX-License-Identifier: Apache-2.0
 * wire.h — msgpack with limits. Bytes from outside are scanned before msgpack-c sees them: depth,
 * number of elements and every declared length against the bytes that are there, because a header
 * of five bytes can announce gigabytes. Readers walk maps; what they do not know they skip. */
#ifndef PROTOCOL_WIRE_H
#define PROTOCOL_WIRE_H

#include "protocol/err.h"

#include <msgpack.h>

typedef struct WireLimits {
    size_t bytes;    /* of the whole message */
    size_t depth;    /* of nested maps and arrays */
    size_t elements; /* maps, arrays and scalars together */
} WireLimits;

/* For tickets and frames between processes. */
extern const WireLimits WIRE_SMALL; /* 1 MiB, depth 8, 65 536 elements */

/* True when bytes hold exactly one well-formed msgpack value within the limits. */
MUST_CHECK bool wire_scan(Slice bytes, const WireLimits *limits, Err *err);

/* wire_scan, then msgpack_unpack_next; *out is freed with msgpack_unpacked_destroy. The strings in
 * it point into `bytes`. */
MUST_CHECK bool wire_unpack(Slice bytes, const WireLimits *limits, msgpack_unpacked *out, Err *err);

/* Typed takers: false and ERR_CORRUPT "wire.type" with `what` named. */
MUST_CHECK bool wire_take_u64(const msgpack_object *object, const char *what, uint64_t *out,
                              Err *err);
MUST_CHECK bool wire_take_i64(const msgpack_object *object, const char *what, int64_t *out,
                              Err *err);
MUST_CHECK bool wire_take_bool(const msgpack_object *object, const char *what, bool *out, Err *err);
MUST_CHECK bool wire_take_text(const msgpack_object *object, const char *what, Text *out, Err *err);
MUST_CHECK bool wire_take_bytes(const msgpack_object *object, const char *what, Slice *out,
                                Err *err);
MUST_CHECK bool wire_take_map(const msgpack_object *object, const char *what, Err *err);

#endif
