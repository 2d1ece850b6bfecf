/* SPDX-License-Identifier: Apache-2.0
 * scripts.h — the five Lua scripts (lua/ says what each does) and their names, which are the
 * SHA-1 of their text: Redis keeps loaded scripts under it. */
#ifndef COMMON_QUEUE_SCRIPTS_H
#define COMMON_QUEUE_SCRIPTS_H

#include "protocol/bytes.h"

typedef enum Script {
    SCRIPT_PUSH,
    SCRIPT_ACK,
    SCRIPT_GIVEBACK,
    SCRIPT_ORPHAN,
    SCRIPT_TAKE,
    SCRIPT_COUNT
} Script;

Slice scripts_text(Script script);
Slice scripts_sha1(Script script); /* 40 hex digits */

#endif
