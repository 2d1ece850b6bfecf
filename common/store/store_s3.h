/* SPDX-License-Identifier: Apache-2.0
 * store_s3.h — a store below a prefix of an S3 bucket, at Amazon or at whoever speaks like it.
 * Objects up to one part are one PUT, longer ones an upload in parts, some of which are on their
 * way while the next is filled. Each object carries the mark of the put that made it, so that an
 * answer that was lost is never taken for a failure, nor for a success without proof.
 * Backup and restore need the rights to put, get and list, and no other. */
#ifndef COMMON_STORE_STORE_S3_H
#define COMMON_STORE_STORE_S3_H

#include "common/base/secret.h"
#include "common/store/store.h"

enum { STORE_S3_PREFIX_MOST = 700 };

typedef struct StoreS3Params {
    const char *endpoint; /* "https://host[:port]"; NULL: Amazon's of the region */
    const char *region;   /* NULL: us-east-1 */
    const char *bucket;
    const char *prefix;        /* before each name, with its '/'; NULL: none */
    bool host_style;           /* the bucket in the host's name */
    const char *ca_file;       /* NULL: the system's */
    const char *storage_class; /* NULL: the bucket's */
    const char *encryption;    /* "AES256" or "aws:kms"; NULL: the bucket's */
    const char *kms_key;       /* for aws:kms; NULL: the account's */
    const char *lock_mode;     /* "COMPLIANCE" or "GOVERNANCE"; NULL: no lock */
    int64_t lock_ms;           /* from now on, for what is put (not what is replaced) */
    const json_t *access_key;  /* references; both or neither, see s3_keys.h */
    const json_t *secret_key;
    const SecretScope *scope; /* its texts outlive the store */
    size_t part_bytes;        /* 0: 8 MiB, of which S3 has room for 10 000 */
    unsigned lanes;           /* parts of one put on their way at once; 0: 3 */
    int64_t idle_ms;          /* s3_client.h has these three; 0: its own */
    int64_t pause_ms;
    unsigned tries;
} StoreS3Params;

/* The bucket is asked whether it is there (store.missing), and lets us list it (store.denied). */
MUST_CHECK bool store_s3_open(Store **out, const StoreS3Params *params, Err *err);

/* Does the server refuse to write a name twice by itself (If-None-Match)? It is asked once, by a
 * small object that was put already. Where it does not, names are looked up before they are
 * written, which two writers at the same moment can pass. Only known after a put. */
typedef enum StoreS3Condition {
    STORE_S3_UNKNOWN,
    STORE_S3_HONOURED,
    STORE_S3_LACKING,
} StoreS3Condition;

StoreS3Condition store_s3_condition(const Store *store);

#endif
