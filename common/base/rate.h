/* SPDX-License-Identifier: Apache-2.0
 * rate.h — bytes a second, with a second of burst: bytes move the clock of what is allowed.
 * Not thread-safe; who shares one locks around rate_take and waits outside. */
#ifndef COMMON_BASE_RATE_H
#define COMMON_BASE_RATE_H

#include "protocol/err.h"

#include <stddef.h>
#include <stdint.h>

typedef struct Rate {
    uint64_t bytes_a_second; /* 0: no limit */
    int64_t allowed_ns;      /* monotonic: when the bytes so far may have passed */
} Rate;

/* Counts the bytes; the instant (monotonic) until which to wait before more may pass. */
int64_t rate_take(Rate *rate, size_t bytes);
/* Waits until then, asking every 50 ms whether to go on. */
MUST_CHECK bool rate_wait(int64_t until_ns, bool (*go_on)(void *ctx, Err *err), void *ctx,
                          Err *err);

#endif
