/* SPDX-License-Identifier: Apache-2.0
 * s3_problem.h — what an S3 server's refusal means to us: the cause of store.h, whether the same
 * request may succeed later, and the next step for people. One table knows all codes. */
#ifndef COMMON_STORE_S3_PROBLEM_H
#define COMMON_STORE_S3_PROBLEM_H

#include "common/base/buf.h"

/* A server's own words, cut short and without control characters. */
typedef struct S3Problem {
    int status;
    char code[64]; /* "SlowDown"; empty where it sent none (HEAD has no body) */
    char message[120];
    char region[40]; /* where the bucket is, if it says so */
} S3Problem;

/* What to do with the request that met it. */
typedef enum S3Verdict {
    S3_GIVE_UP,
    S3_TRY_AGAIN, /* the server, or the way to it, has a bad moment */
    S3_NEW_KEYS,  /* the access key may have been rotated: read it anew */
} S3Verdict;

/* Copies text that a stranger sent into `out` of `room` bytes: one printable line. */
void s3_problem_words(Text text, char *out, size_t room);

S3Verdict s3_problem_verdict(const S3Problem *problem);

/* Is it the bucket that is not there, and not one object of it? */
bool s3_problem_no_bucket(const S3Problem *problem);

/* Raises what it means; `what` says which request of which object met it. */
bool s3_problem_raise(const S3Problem *problem, const char *what, Err *err);

#endif
