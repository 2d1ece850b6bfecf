/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a request: taken or refused with a status; a chunked body means the same in one
 * piece and byte by byte. */
#include "scheduler/http/request.h"
#include "scheduler/http/server.h"
#include "tests/fuzz/target.h"

#include <stdlib.h>

static int read_body(Slice in, size_t step, Buf *body, size_t *end)
{
    RequestChunks chunks = {0};
    RequestFault fault = {0};
    size_t used;
    for (*end = 0; *end < in.len && !chunks.done; *end += used) {
        size_t some = in.len - *end < step ? in.len - *end : step;
        if (!request_chunks(&chunks, (Slice){in.at + *end, some}, &used, body, 4096, &fault))
            return fault.status;
        if (used == 0)
            abort();
    }
    return chunks.done ? 0 : 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    Request request = {0};
    RequestFault fault;
    scoped(buf_free) Buf whole = {0};
    scoped(buf_free) Buf bit_by_bit = {0};
    scoped(buf_free) Buf value = {0};
    size_t ends[2];
    size_t end = request_head_end((Slice){bytes, size}, &fault);
    if (end == 0)
        return 0;
    if (!request_parse((Slice){bytes, end}, &request, &fault)) {
        if (fault.status < 400 || fault.status > 599 || fault.code == NULL)
            abort();
        request_free(&request);
        return 0;
    }
    if (request.path == NULL || request.query == NULL || (request.chunked && request.length != 0))
        abort();
    ServerFound found = server_query(request.query, "a", &value);
    if (found == SERVER_FOUND && value.len != 0 && memchr(value.at, 0, value.len) != NULL)
        abort();
    Slice body = {bytes + end, size - end};
    int one = read_body(body, body.len + 1, &whole, &ends[0]);
    int many = read_body(body, 1, &bit_by_bit, &ends[1]);
    if (one != many || (one == 0 && (ends[0] != ends[1] ||
                                     !slice_equal(buf_slice(&whole), buf_slice(&bit_by_bit)))))
        abort();
    request_free(&request);
    return 0;
}
