/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/rand.h"

#include "common/base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

void rand_bytes(void *at, size_t len)
{
    uint8_t *to = at;
    while (len != 0) {
        ssize_t got = getrandom(to, len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            abort(); /* a kernel without randomness: nothing here may go on */
        to += got;
        len -= (size_t)got;
    }
}

Uuid rand_uuid(void)
{
    uint8_t random[16];
    rand_bytes(random, sizeof random);
    return uuid_random(random);
}

Uuid rand_backup_id(void)
{
    uint8_t random[16];
    rand_bytes(random, sizeof random);
    return uuid_backup((uint64_t)(clock_wall_ns() / 1000000), random);
}

double rand_unit(void)
{
    uint64_t bits;
    rand_bytes(&bits, sizeof bits);
    return (double)(bits >> 11) * 0x1p-53;
}
