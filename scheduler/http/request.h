/* SPDX-License-Identifier: Apache-2.0
 * request.h — the head and the chunks of an HTTP/1.1 request, read strictly (RFC 9112): whatever
 * two readers could understand in two ways is refused, never guessed. Pure: bytes in, a request or
 * a status out. */
#ifndef SCHEDULER_HTTP_REQUEST_H
#define SCHEDULER_HTTP_REQUEST_H

#include "common/base/buf.h"

enum {
    REQUEST_HEAD_MOST = 16 << 10,  /* bytes of a head; more is 431 */
    REQUEST_TARGET_MOST = 8 << 10, /* of its path and query; more is 414 */
    REQUEST_HEADERS_MOST = 64,
};

typedef struct RequestHeader {
    const char *name;
    const char *value; /* without the blanks around it */
} RequestHeader;

typedef struct Request {
    Buf text; /* what everything below points into */
    const char *method;
    const char *path;  /* as sent, without the query; begins with '/' */
    const char *query; /* "" where there is none */
    RequestHeader headers[REQUEST_HEADERS_MOST];
    size_t header_count;
    bool keep_alive; /* the client would send another one */
    bool old;        /* HTTP/1.0: no chunks in the answer */
    bool expects;    /* it waits for 100 Continue before it sends the body */
    bool chunked;
    uint64_t length; /* of the body, where it is not chunked */
} Request;

/* Why a request is not taken: an HTTP status, a stable code, words. */
typedef struct RequestFault {
    int status;
    const char *code;
    const char *text;
} RequestFault;

/* Where the head ends, just after the empty line; 0: not yet. Sets *fault where no more bytes could
 * make a head of it: too long, or a line that ends in a bare LF. */
size_t request_head_end(Slice bytes, RequestFault *fault);

/* Reads a whole head. False: *fault says why. */
MUST_CHECK bool request_parse(Slice head, Request *out, RequestFault *fault);
void request_free(Request *request); /* wipes: the head holds a token */

/* A header by its lower-case name; NULL where absent. */
const char *request_header(const Request *request, const char *name);

/* A chunked body on its way. Zeroed is the start. */
typedef struct RequestChunks {
    int state;
    uint64_t left; /* of the chunk */
    size_t line;   /* bytes of the line so far */
    size_t trailer;
    bool digits;
    bool done;
} RequestChunks;

/* Takes what it can of `in`, adds content to `body` (at most body_most in all); *used bytes are
 * done with. False: *fault says why. */
MUST_CHECK bool request_chunks(RequestChunks *chunks, Slice in, size_t *used, Buf *body,
                               size_t body_most, RequestFault *fault);

#endif
