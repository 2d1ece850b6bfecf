/* SPDX-License-Identifier: Apache-2.0
 * s3_keys.h — where an S3 store's access keys come from, and how they are rotated without a
 * restart. Given by reference (a file or a credential of this host), they are read again every
 * minute and whenever the server refuses them. Else they are those of AWS's own conventions, the
 * first that is there:
 *   AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN;
 *   the profile AWS_PROFILE (or default) of AWS_SHARED_CREDENTIALS_FILE (or ~/.aws/credentials);
 *   AWS_CONTAINER_CREDENTIALS_FULL_URI or _RELATIVE_URI with AWS_CONTAINER_AUTHORIZATION_TOKEN;
 *   the role of the machine, from AWS_EC2_METADATA_SERVICE_ENDPOINT (or 169.254.169.254), by token;
 * these too are read again, the last two five minutes before they expire.
 * A worker's jobs have no secret in their environment: those that it has are lent to them.
 */
#ifndef COMMON_STORE_S3_KEYS_H
#define COMMON_STORE_S3_KEYS_H

#include "common/base/secret.h"

enum { S3_KEYS_ID_MOST = 160, S3_KEYS_SECRET_MOST = 256, S3_KEYS_TOKEN_MOST = 8192 };

typedef struct S3Keys {
    char id[S3_KEYS_ID_MOST];
    char secret[S3_KEYS_SECRET_MOST];
    char token[S3_KEYS_TOKEN_MOST]; /* empty: none */
} S3Keys;

typedef struct S3KeySource S3KeySource;

/* References as secret_resolve takes them; both or neither. The texts of scope outlive the source.
 * Nothing is read yet. */
S3KeySource *s3_keys_open(const json_t *id, const json_t *secret, const SecretScope *scope);
void s3_keys_close(S3KeySource *source); /* NULL is fine */

/* What stands in the environment of whoever started this process and not in its own. Said once,
 * before any store is opened; empty texts lend nothing. */
void s3_keys_lend(Text id, Text secret, Text token);

/* A copy for one request; wipe it with s3_keys_wipe. no-credential where there is none. From any
 * thread. */
MUST_CHECK bool s3_keys_get(S3KeySource *source, S3Keys *keys, Err *err);

/* The server refused these: are there others now? Then *keys are they. */
MUST_CHECK bool s3_keys_renew(S3KeySource *source, S3Keys *keys, bool *others, Err *err);

void s3_keys_wipe(S3Keys *keys);

#endif
