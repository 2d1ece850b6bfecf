/* SPDX-License-Identifier: Apache-2.0
 * Coded bytes of any kind, decoded into exactly the room they announce: byte 0 is the codec, bytes
 * 1 and 2 the length. */
#include "common/base/buf.h"
#include "common/codec/codec.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static CodecWork *work;
    Err err = {0};
    scoped(buf_free) Buf plain = {0};
    if (size < 3)
        return 0;
    if (work == NULL)
        work = codec_work_new();
    size_t len = (size_t)bytes[1] << 8 | bytes[2];
    buf_extend(&plain, len);
    bool done = codec_decode(work, bytes[0] % 5, (Slice){bytes + 3, size - 3}, plain.at, len, &err);
    (void)done;
    return 0;
}
