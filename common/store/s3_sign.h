/* SPDX-License-Identifier: Apache-2.0
 * s3_sign.h — AWS Signature Version 4 by header, for S3 and what speaks like it. Pure: a request
 * and its keys give one line. What is signed is what is sent: the canonical query and the encoded
 * path made here are the ones of the URL, so nothing on the way may spell them anew. */
#ifndef COMMON_STORE_S3_SIGN_H
#define COMMON_STORE_S3_SIGN_H

#include "common/base/buf.h"
#include "protocol/ids.h"

enum {
    S3_DATE_TEXT = 17,  /* "20130524T000000Z" with its NUL */
    S3_MD5_TEXT = 25,   /* the MD5 of a body in base64 with its NUL */
    S3_FIELDS_MOST = 24 /* headers, or query parameters, of one request */
};

/* A query parameter, or a header. Neither is encoded yet; header names are in small letters. */
typedef struct S3Field {
    Text name;
    Text value;
} S3Field;

typedef struct S3Signed {
    const char *method;
    Text path;  /* as s3_path made it */
    Text query; /* as s3_query made it */
    const S3Field *headers;
    size_t header_count; /* all of them are signed; host and x-amz-date must be there */
    const char *payload; /* SHA-256 of the body in hex */
    const char *date;    /* that of x-amz-date */
    const char *region;
    const char *service; /* "s3" */
    Text access_key;
    Slice secret_key;
} S3Signed;

/* Percent-encodes as RFC 3986 has it (unreserved are kept), hex digits in capitals. */
void s3_encode(Buf *out, Text text);
/* The same of a key: its '/' stay. */
void s3_path(Buf *out, Text key);
/* Encoded, sorted by name and then by value, each with its '=' even where the value is empty. */
void s3_query(Buf *out, const S3Field *fields, size_t count);

void s3_date(int64_t wall_ns, char out[S3_DATE_TEXT]);

/* The value of Content-MD5, which object locks ask for: base64. */
void s3_md5(Slice body, char out[S3_MD5_TEXT]);

/* Appends the value of the Authorization header. */
void s3_sign(const S3Signed *request, Buf *authorization);

#endif
