/* SPDX-License-Identifier: Apache-2.0 */
#include "common/queue/keys.h"

#include <inttypes.h>
#include <stdio.h>

static KeysName name(uint32_t pool, const char *what, const Uuid *worker)
{
    KeysName key = {{0}, 0};
    char id[UUID_TEXT] = "";
    if (worker != NULL)
        uuid_text(worker, id);
    int len = snprintf(key.text, sizeof key.text, "hf:{p%" PRIu32 "}:%s%s", pool, what, id);
    key.len = (size_t)len; /* at most 5 + 10 + 2 + 10 + 36 */
    return key;
}

KeysName keys_ready(uint32_t pool)
{
    return name(pool, "ready", NULL);
}

KeysName keys_inq(uint32_t pool)
{
    return name(pool, "inq", NULL);
}

KeysName keys_workers(uint32_t pool)
{
    return name(pool, "workers", NULL);
}

KeysName keys_generation(uint32_t pool)
{
    return name(pool, "generation", NULL);
}

KeysName keys_claimed(uint32_t pool, const Uuid *worker)
{
    return name(pool, "claimed:", worker);
}

KeysName keys_alive(uint32_t pool, const Uuid *worker)
{
    return name(pool, "w:", worker);
}

Slice keys_slice(const KeysName *key)
{
    return (Slice){(const uint8_t *)key->text, key->len};
}
