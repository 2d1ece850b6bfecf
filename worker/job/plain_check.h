/* SPDX-License-Identifier: Apache-2.0
 * plain_check.h — a plain copy read back from its store, as a stranger would read it: its bytes
 * have the hash, gunzip takes them to the end, and what comes out is whole: a tar whose headers add
 * up and which ends as tars do, with so many entries; or SQL that ends with its mark. */
#ifndef WORKER_JOB_PLAIN_CHECK_H
#define WORKER_JOB_PLAIN_CHECK_H

#include "common/store/store.h"
#include "protocol/ids.h"

typedef struct PlainCheck {
    Store *store;
    const char *name;
    uint64_t bytes;
    const Sha256 *sha256;
    bool tar, sql;    /* both: an archive that ends with SQL */
    uint64_t entries; /* of a tar; 0: not known */
    void *ctx;
    bool (*go_on)(void *ctx, size_t bytes, Err *err); /* so many more were read */
} PlainCheck;

/* whole false: *why says what it lacks. False is a failure of the store. */
MUST_CHECK bool plain_check(const PlainCheck *check, bool *whole, Err *why, Err *err);

#endif
