/* SPDX-License-Identifier: Apache-2.0
 * net.h — hosts and the links between them and the three servers. A link may be cut in either
 * direction, slow, or drop a connection at any message; a request that was sent is served whatever
 * becomes of the sender. */
#ifndef TESTS_SIM_NET_H
#define TESTS_SIM_NET_H

#include "tests/sim/vm.h"

typedef struct Link {
    bool cut_to, cut_from; /* towards the server, and back */
    int64_t slow_ns;       /* added to each message, up to this */
    unsigned drops;        /* of 1000 messages: the connection breaks there */
} Link;

typedef struct Host {
    char name[24];
    Link catalogue, redis;
    unsigned store_fails; /* of 1000 writes */
    int64_t store_slow_ns;
    int64_t skew_ns;
} Host;

static inline Host *net_host(const Process *process)
{
    return vm_owner(process);
}

/* How long one message takes. */
static inline int64_t net_delay(const Link *link)
{
    int64_t ns = vm_between(40, 400) * VM_US;
    return link->slow_ns == 0 ? ns : ns + vm_between(0, link->slow_ns);
}

#endif
