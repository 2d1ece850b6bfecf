/* SPDX-License-Identifier: Apache-2.0
 * keys.h — the names that we use in Redis. A pool's keys share the hash tag {p<number>}, so that on
 * a cluster they live on one node and every script touches one slot only.
 *   hf:{p7}:ready           LIST   tickets; pushed left, urgent ones and returned ones right, taken
 * right hf:{p7}:claimed:<wid>   LIST   what one worker process took and has not finished with
 *   hf:{p7}:inq             HASH   job -> dispatch: makes a push idempotent
 *   hf:{p7}:workers         SET    worker processes that may own a claimed list
 *   hf:{p7}:w:<wid>         STRING is there while that process lives
 *   hf:{p7}:generation      STRING uuid; differs from the catalogue's when this Redis lost data */
#ifndef COMMON_QUEUE_KEYS_H
#define COMMON_QUEUE_KEYS_H

#include "protocol/ids.h"

enum { KEYS_NAME = 96 };

typedef struct KeysName {
    char text[KEYS_NAME];
    size_t len;
} KeysName;

KeysName keys_ready(uint32_t pool);
KeysName keys_inq(uint32_t pool);
KeysName keys_workers(uint32_t pool);
KeysName keys_generation(uint32_t pool);
KeysName keys_claimed(uint32_t pool, const Uuid *worker);
KeysName keys_alive(uint32_t pool, const Uuid *worker);

Slice keys_slice(const KeysName *name);

#endif
