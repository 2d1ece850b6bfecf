/* SPDX-License-Identifier: Apache-2.0
 * s3_answer.h — the documents that an S3 server sends: refusals, pages of a listing, uploads. What
 * is not exactly such a document is ERR_CORRUPT store.protocol, and never an empty listing. */
#ifndef COMMON_STORE_S3_ANSWER_H
#define COMMON_STORE_S3_ANSWER_H

#include "common/store/s3_problem.h"

/* Is the body a refusal? Then code, message and region are taken from it; status stays. */
bool s3_answer_problem(Slice body, S3Problem *problem);

/* Where an upload goes on. */
MUST_CHECK bool s3_answer_upload(Slice body, Buf *upload, Err *err);

/* Only a CompleteMultipartUploadResult says that an upload is an object now. */
MUST_CHECK bool s3_answer_completed(Slice body, Err *err);

/* Only a CopyObjectResult or a CopyPartResult with an ETag says that something was copied. */
MUST_CHECK bool s3_answer_copied(Slice body, char *etag, size_t room, Err *err);

typedef struct S3Row {
    size_t name; /* its place in names; ends with a NUL */
    uint64_t size;
} S3Row;

typedef struct S3Page {
    Buf names;
    S3Row *rows;
    size_t count, room;
    Buf next;  /* the continuation token */
    bool more; /* then `next` is not empty */
} S3Page;

MUST_CHECK bool s3_answer_page(Slice body, S3Page *page, Err *err);
void s3_page_free(S3Page *page); /* a zeroed one is fine */

/* An upload that is neither completed nor aborted. */
typedef struct S3Left {
    size_t key, id; /* their places in texts; each ends with a NUL */
    int64_t begun_s;
} S3Left;

typedef struct S3Lefts {
    Buf texts;
    S3Left *rows;
    size_t count, room;
    Buf next_key, next_id; /* the markers; next_id may be empty */
    bool more;             /* then next_key is not */
} S3Lefts;

MUST_CHECK bool s3_answer_lefts(Slice body, S3Lefts *page, Err *err);
void s3_lefts_free(S3Lefts *page); /* a zeroed one is fine */

#endif
