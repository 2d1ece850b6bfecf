/* SPDX-License-Identifier: Apache-2.0
 * messages.h — what a worker's parent and its job child say to each other, declared once in
 * messages.def, and the ticket that travels through Redis. Unpacked texts and bytes point into the
 * frame they came from. */
#ifndef PROTOCOL_MESSAGES_H
#define PROTOCOL_MESSAGES_H

#include "protocol/err.h"

#include <msgpack.h>

#define FIELD_TYPE_u64   uint64_t
#define FIELD_TYPE_i64   int64_t
#define FIELD_TYPE_flag  bool
#define FIELD_TYPE_text  Text
#define FIELD_TYPE_bytes Slice

#define MESSAGE_BEGIN(Type, name, id, doc) typedef struct Type {
#define FIELD(tag, type, name, doc)        FIELD_TYPE_##type name;
#define MESSAGE_END(Type, name)                                                                    \
    }                                                                                              \
    Type;
#include "protocol/messages.def"
#undef MESSAGE_BEGIN
#undef FIELD
#undef MESSAGE_END

typedef enum MessageId {
#define MESSAGE_BEGIN(Type, name, id, doc) MESSAGE_##name = id,
#define FIELD(tag, type, name, doc)
#define MESSAGE_END(Type, name)
#include "protocol/messages.def"
#undef MESSAGE_BEGIN
#undef FIELD
#undef MESSAGE_END
} MessageId;

/* A frame is a little-endian u32 length and that many bytes; this is the most a reader accepts. */
enum { MESSAGE_FRAME_MOST = 2 << 20 };

/* messages_pack_<name> appends the msgpack map; messages_unpack_<name> reads one whose id was seen
 * with messages_id. */
#define MESSAGE_BEGIN(Type, name, id, doc)                                                         \
    void messages_pack_##name(const Type *message, msgpack_sbuffer *out);                          \
    MUST_CHECK bool messages_unpack_##name(Slice frame, Type *message, Err *err);
#define FIELD(tag, type, name, doc)
#define MESSAGE_END(Type, name)
#include "protocol/messages.def"
#undef MESSAGE_BEGIN
#undef FIELD
#undef MESSAGE_END

MUST_CHECK bool messages_id(Slice frame, uint64_t *id, Err *err);

#endif
