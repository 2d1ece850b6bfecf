/* SPDX-License-Identifier: Apache-2.0
 * s3_client.h — signed requests to one bucket, each tried until it has a final answer. What a bad
 * moment of the server or of the way to it can cause (5xx, 429, a broken or stalled connection, a
 * body that is cut, an answer of 200 that is a refusal) is tried again after a pause with jitter;
 * what people must mend has its name at once. A request that is tried again may have been done
 * before: whoever asks for what must not be done twice makes it so that this can be told.
 * From any thread; connections are kept and used again. TLS certificates and host names are always
 * verified, no redirect is followed, and no key is ever part of a message. */
#ifndef COMMON_STORE_S3_CLIENT_H
#define COMMON_STORE_S3_CLIENT_H

#include "common/store/s3_keys.h"
#include "common/store/s3_problem.h"
#include "common/store/s3_sign.h"
#include "protocol/ids.h"

#include <stdatomic.h>

typedef struct S3Client S3Client;

typedef struct S3ClientParams {
    const char *endpoint; /* "https://host[:port]"; NULL: Amazon's of the region */
    const char *region;   /* NULL: us-east-1 */
    const char *bucket;
    bool host_style;     /* the bucket stands in the host's name, else in the path */
    const char *ca_file; /* NULL: the system's */
    S3KeySource *keys;   /* taken over by a client that was opened */
    int64_t connect_ms;  /* 0: 10 s */
    int64_t idle_ms;     /* no byte moved for so long: a new connection is tried. 0: 60 s */
    int64_t pause_ms;    /* before the second try; doubled each time, 20 s at most. 0: 200 ms */
    unsigned tries;      /* 0: 9, which is about half a minute without a server */
} S3ClientParams;

typedef struct S3Request {
    const char *method;
    Text key; /* empty: of the bucket */
    const S3Field *query;
    size_t query_count;
    const S3Field *headers; /* beside those that every request has */
    size_t header_count;
    Slice body;    /* sent from where it is, and hashed */
    bool document; /* a good answer is a document: one that is a refusal is none */
    Buf *out;      /* receives the body of a good answer, `most` bytes of it at most */
    size_t most;
    uint8_t *into; /* instead of out: exactly this memory */
    size_t into_len;
    unsigned tries;          /* 0: those of the client */
    const atomic_bool *stop; /* true: nobody waits for it any more; NULL: never */
} S3Request;

typedef struct S3Answer {
    int status;        /* 2xx; or 404, 412 or 416, which are results (a missing bucket is none) */
    uint64_t length;   /* Content-Length; of a HEAD the object's */
    uint64_t first;    /* Content-Range: where it begins; 0 where there was none */
    bool too_large;    /* the body is longer than there is room for; nothing was received */
    size_t received;   /* bytes of the body */
    char etag[128];    /* with its quotes; empty: none */
    char mark[64];     /* x-amz-meta-holdfast-put; empty: none */
    int64_t date_s;    /* the server's clock; 0 where it does not tell */
    S3Problem problem; /* where status is no 2xx */
} S3Answer;

MUST_CHECK bool s3_client_open(S3Client **out, const S3ClientParams *params, Err *err);
void s3_client_close(S3Client *client); /* NULL is fine */

MUST_CHECK bool s3_client_send(S3Client *client, const S3Request *request, S3Answer *answer,
                               Err *err);

/* "the bucket B at https://…", for messages. */
const char *s3_client_place(const S3Client *client);

#endif
