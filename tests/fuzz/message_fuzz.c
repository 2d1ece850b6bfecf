/* SPDX-License-Identifier: Apache-2.0
 * Every message reader on any bytes; what one accepts is packed and read again as the same. */
#include "protocol/messages.h"
#include "protocol/wire.h"
#include "tests/fuzz/target.h"

#include <stdlib.h>

#define MESSAGE_BEGIN(Type, name, id, doc)                                                         \
    static void try_##name(Slice frame)                                                            \
    {                                                                                              \
        Err err = {0};                                                                             \
        Type message;                                                                              \
        Type again;                                                                                \
        msgpack_sbuffer buffer;                                                                    \
        if (!messages_unpack_##name(frame, &message, &err))                                        \
            return;                                                                                \
        msgpack_sbuffer_init(&buffer);                                                             \
        messages_pack_##name(&message, &buffer);                                                   \
        Slice packed = {(const uint8_t *)buffer.data, buffer.size};                                \
        if (packed.len <= MESSAGE_FRAME_MOST && !messages_unpack_##name(packed, &again, &err))     \
            abort();                                                                               \
        msgpack_sbuffer_destroy(&buffer);                                                          \
    }
#define FIELD(tag, type, name, doc)
#define MESSAGE_END(Type, name)
#include "protocol/messages.def"
#undef MESSAGE_BEGIN
#undef FIELD
#undef MESSAGE_END

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    Slice frame = {bytes, size};
    Err err = {0};
    msgpack_unpacked unpacked;
    /* What the scan lets through, msgpack-c must be able to read. */
    bool scanned = wire_scan(frame, &WIRE_SMALL, &err);
    if (wire_unpack(frame, &WIRE_SMALL, &unpacked, &err) != scanned)
        abort();
    msgpack_unpacked_destroy(&unpacked);
#define MESSAGE_BEGIN(Type, name, id, doc) try_##name(frame);
#define FIELD(tag, type, name, doc)
#define MESSAGE_END(Type, name)
#include "protocol/messages.def"
#undef MESSAGE_BEGIN
#undef FIELD
#undef MESSAGE_END
    return 0;
}
