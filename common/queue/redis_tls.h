/* SPDX-License-Identifier: Apache-2.0
 * redis_tls.h — TLS for redis.c: TLS 1.2 or newer, the peer's chain and host name always verified.
 */
#ifndef COMMON_QUEUE_REDIS_TLS_H
#define COMMON_QUEUE_REDIS_TLS_H

#include "protocol/err.h"

#include <openssl/ssl.h>

/* cert_file and key_file are NULL where the server asks for no certificate of ours. */
MUST_CHECK bool redis_tls_open(SSL_CTX **out, const char *ca_file, const char *cert_file,
                               const char *key_file, Err *err);

/* A session that accepts `host` (a name or an address) alone. */
MUST_CHECK bool redis_tls_session(SSL_CTX *tls, const char *host, SSL **out, Err *err);

/* OpenSSL's word for `code`, or the verification failure of the session where there is one. */
const char *redis_tls_reason(const SSL *session, unsigned long code);

#endif
