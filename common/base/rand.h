/* SPDX-License-Identifier: Apache-2.0
 * rand.h — randomness from the kernel (getrandom), never from a seeded generator: ids, keys and
 * claims must differ after a fork and between cloned machines. */
#ifndef COMMON_BASE_RAND_H
#define COMMON_BASE_RAND_H

#include "protocol/ids.h"

void rand_bytes(void *at, size_t len);
Uuid rand_uuid(void);      /* version 4 */
Uuid rand_backup_id(void); /* time-ordered, see ids.h */
double rand_unit(void);    /* [0, 1) */

#endif
