/* SPDX-License-Identifier: Apache-2.0
 * store_s3_internal.h — what the two halves of the S3 store share: reading, and putting. */
#ifndef COMMON_STORE_STORE_S3_INTERNAL_H
#define COMMON_STORE_STORE_S3_INTERNAL_H

#include "common/store/s3_client.h"
#include "common/store/store_s3.h"

#include <pthread.h>

enum {
    STORE_S3_SPARE = 4, /* part buffers that wait for the next put */
    STORE_S3_KEY_MOST = STORE_S3_PREFIX_MOST + STORE_NAME_MOST + 1
};

typedef struct S3Store {
    Store store;
    S3Client *client;
    char *prefix, *storage_class, *encryption, *kms_key, *lock_mode; /* NULL: none */
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

/* Ends an upload in parts that becomes no object. One that is gone already is fine. */
MUST_CHECK bool store_s3_abort(S3Store *s3, Text key, Text upload, unsigned tries, Err *err);

bool store_s3_sweep(Store *s, StoreSweep *sweep, Err *err);

#endif
