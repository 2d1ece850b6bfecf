/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/rate.h"

#include "common/base/clock.h"

#include <time.h>

static const int64_t SECOND_NS = 1000000000;
static const int64_t SLICE_NS = 50 * 1000 * 1000;

int64_t rate_take(Rate *rate, size_t bytes)
{
    if (rate->bytes_a_second == 0)
        return 0;
    int64_t now = clock_mono_ns();
    if (rate->allowed_ns < now - SECOND_NS)
        rate->allowed_ns = now - SECOND_NS;
    rate->allowed_ns += (int64_t)((double)bytes * 1e9 / (double)rate->bytes_a_second);
    return rate->allowed_ns;
}

bool rate_wait(int64_t until_ns, bool (*go_on)(void *ctx, Err *err), void *ctx, Err *err)
{
    int64_t now;
    while ((now = clock_mono_ns()) < until_ns) {
        int64_t rest = until_ns - now;
        struct timespec nap = {0, rest < SLICE_NS ? rest : SLICE_NS};
        nanosleep(&nap, NULL);
        if (!go_on(ctx, err))
            return false;
    }
    return true;
}
