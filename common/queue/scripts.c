/* SPDX-License-Identifier: Apache-2.0 */
#include "common/queue/scripts.h"

#include "hf_queue_assets.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>

enum { SHA1_BYTES = 20 };

static char names[SCRIPT_COUNT][2 * SHA1_BYTES + 1];
static pthread_once_t named = PTHREAD_ONCE_INIT;

Slice scripts_text(Script script)
{
    static const Asset *const assets[SCRIPT_COUNT] = {
        [SCRIPT_PUSH] = &asset_lua_push_lua,         [SCRIPT_ACK] = &asset_lua_ack_lua,
        [SCRIPT_GIVEBACK] = &asset_lua_giveback_lua, [SCRIPT_ORPHAN] = &asset_lua_orphan_lua,
        [SCRIPT_TAKE] = &asset_lua_take_lua,
    };
    return (Slice){assets[script]->bytes, assets[script]->size};
}

static void name_all(void)
{
    for (Script script = 0; script < SCRIPT_COUNT; script++) {
        uint8_t digest[SHA1_BYTES] = {0};
        Slice text = scripts_text(script);
        /* SHA-1 is Redis' choice of a name here, nothing rests on it. A failure leaves zeros: the
         * script is then not found and loaded again, and the answer names it. */
        (void)EVP_Digest(text.at, text.len, digest, NULL, EVP_sha1(), NULL);
        for (size_t i = 0; i < SHA1_BYTES; i++)
            snprintf(names[script] + 2 * i, 3, "%02x", digest[i]);
    }
}

Slice scripts_sha1(Script script)
{
    (void)pthread_once(&named, name_all);
    return (Slice){(const uint8_t *)names[script], 2 * SHA1_BYTES};
}
