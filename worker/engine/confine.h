/* SPDX-License-Identifier: Apache-2.0
 * confine.h — a program that works on restored content is not trusted with more than its folder:
 * another user where we are root, no network and no shared memory of others where the kernel lets
 * us, no more rights than it has, and behind others for the processor. */
#ifndef WORKER_ENGINE_CONFINE_H
#define WORKER_ENGINE_CONFINE_H

#include <stdbool.h>
#include <sys/types.h>

typedef struct Confine {
    bool other_user; /* uid and gid are taken on: we are root */
    uid_t uid;
    gid_t gid;
    const char *directory; /* its working directory; by it a later look finds what was left */
} Confine;

/* Between fork and exec; only what is safe there. False: it must not be started. */
bool confine_enter(const Confine *confine);

#endif
