/* SPDX-License-Identifier: Apache-2.0
 * store_s3_internal.h — what the parts of the S3 store share: reading, putting, aliases,
 * sweeping. */
#ifndef COMMON_STORE_STORE_S3_INTERNAL_H
#define COMMON_STORE_STORE_S3_INTERNAL_H

#include "common/base/clock.h"
#include "common/store/s3_ahead.h"
#include "common/store/s3_client.h"
#include "common/store/store_s3.h"

#include <pthread.h>

enum {
    STORE_S3_ETAG = 128,
    STORE_S3_SPARE = 4, /* part buffers that wait for the next put */
    STORE_S3_KEY_MOST = STORE_S3_PREFIX_MOST + STORE_NAME_MOST + 1
};

typedef struct S3Store {
    Store store;
    S3Client *client;
    S3Ahead *ahead;
    char *bucket, *prefix, *storage_class, *encryption, *kms_key, *lock_mode; /* NULL: none */
    int64_t lock_ms;
    size_t part_bytes;
    unsigned lanes;
    _Atomic StoreS3Condition condition;
    pthread_mutex_t lock; /* guards what is below */
    uint8_t *spare[STORE_S3_SPARE];
    size_t spare_count;
    unsigned extra; /* part buffers beyond the first of each put */
} S3Store;

/* What is stored under a name. */
typedef struct S3Look {
    bool found;
    uint64_t size;
    char mark[64];
} S3Look;

/* The key of a name in the bucket. */
Text store_s3_key(const S3Store *s3, const char *name, char out[STORE_S3_KEY_MOST]);

/* One HEAD. A bucket that is gone looks like an object that is not there: only store_head asks. */
MUST_CHECK bool store_s3_look(S3Store *s3, const char *name, S3Look *look, Err *err);

/* An answer that is a refusal where no result was expected. */
bool store_s3_refused(const S3Answer *answer, const char *name, Err *err);

/* The functions of StoreOps that put. */
bool store_s3_put_begin(Store *s, const char *name, StorePut **out, Err *err);
bool store_s3_put_write(Store *s, StorePut *put, Slice bytes, Err *err);
bool store_s3_put_finish(Store *s, StorePut *put, Err *err);
void store_s3_put_abort(Store *s, StorePut *put);
bool store_s3_replace(Store *s, const char *name, Slice bytes, Err *err);

/* What an object is to be; texts live as long as this does. */
typedef struct S3Headers {
    S3Field list[12];
    size_t count;
    char until[CLOCK_TEXT], md5[S3_MD5_TEXT];
} S3Headers;

/* Those of every object; mark: whose it is, NULL: nobody's. lock: for as long as the store says. */
void store_s3_headers(const S3Store *s3, const char *mark, bool lock, S3Headers *headers);
void store_s3_add(S3Headers *headers, const char *name, const char *value); /* NULL: none */
/* A bucket with locks takes no body without it. */
void store_s3_add_md5(const S3Store *s3, Slice body, S3Headers *headers);

/* Uploads in parts. */
MUST_CHECK bool store_s3_upload_begin(S3Store *s3, const char *name, const char *mark, bool lock,
                                      Buf *upload, Err *err);
typedef struct S3UploadEnd {
    const char *name;
    Text upload;
    char (*etags)[STORE_S3_ETAG];
    unsigned parts;
    bool condition; /* only where the name is free */
} S3UploadEnd;
MUST_CHECK bool store_s3_upload_complete(S3Store *s3, const S3UploadEnd *end, Err *err);

/* Ends an upload in parts that becomes no object. One that is gone already is fine. */
MUST_CHECK bool store_s3_abort(S3Store *s3, Text key, Text upload, unsigned tries, Err *err);

bool store_s3_sweep(Store *s, StoreSweep *sweep, Err *err);
bool store_s3_alias(Store *s, const char *name, const char *target, bool *made, Err *err);

#endif
