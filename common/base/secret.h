/* SPDX-License-Identifier: Apache-2.0
 * secret.h — bytes that must not leak: locked in memory, kept out of core dumps, wiped when freed,
 * opaque so that no format prints them. A Secret comes from a file, a descriptor or a credential,
 * never from argv. */
#ifndef COMMON_BASE_SECRET_H
#define COMMON_BASE_SECRET_H

#include "protocol/err.h"

#include <jansson.h>

typedef struct Secret Secret;

Secret *secret_new(Slice bytes); /* copies; the caller wipes its own copy */
Slice secret_slice(const Secret *secret);
void secret_free(Secret *secret);     /* NULL is fine */
void secret_release(Secret **secret); /* for scoped() */

/* A whole file, one newline at its end taken off. Refused when others than its owner (or root's
 * group) may read it: cause secret.readable. 1 MiB at most. */
MUST_CHECK bool secret_read_file(const char *path, Secret **out, Err *err);
/* The same to the last byte: a key file may end in anything. */
MUST_CHECK bool secret_read_bytes(const char *path, Secret **out, Err *err);

/* What a descriptor gives up to its end, one newline there taken off; name is for messages. The
 * descriptor stays open. */
MUST_CHECK bool secret_read_fd(int fd, const char *name, Secret **out, Err *err);
/* "fd:N", a private file, or NULL: typed at the terminal, unseen, after prompt (ERR_USAGE
 * secret.no_terminal where there is none). For verbs that people run. */
MUST_CHECK bool secret_ask(const char *from, const char *prompt, Secret **out, Err *err);

/* Where references of a configuration may point. */
typedef struct SecretScope {
    const char *credentials;  /* directory of named credentials; may be NULL */
    const char *const *below; /* {"file": P} only below these directories; NULL: anywhere */
    size_t below_count;
    bool daemon; /* a daemon's own file: {"env": V} is allowed */
} SecretScope;

/* {"credential": N}: $CREDENTIALS_DIRECTORY/hf_N, then scope->credentials/N, then /run/secrets/N.
 * {"file": P}. {"env": V}. One that this host lacks has the cause `no-credential`. */
MUST_CHECK bool secret_resolve(const json_t *reference, const SecretScope *scope, Secret **out,
                               Err *err);

#endif
