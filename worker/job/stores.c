/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/stores.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/store/store_s3.h"

static bool open_local(Store **out, const json_t *store, Text below, Err *err)
{
    scoped(buf_free) Buf path = {0};
    buf_add_text(&path, json_text_or(store, "path", TEXT("")));
    if (below.len > 0) {
        buf_add_byte(&path, '/');
        buf_add_text(&path, below);
    }
    return store_local_open(out, buf_cstr(&path), err);
}

/* NULL where the store does not say. */
static const char *said(const json_t *store, const char *key)
{
    const char *text = json_string_value(json_object_get(store, key));
    return text == NULL || text[0] == 0 ? NULL : text;
}

/* The store's own prefix and the folder in it, each with its '/'. */
static void take_prefix(const json_t *store, Text below, Buf *prefix)
{
    Text own = json_text_or(store, "prefix", TEXT(""));
    while (own.len > 0 && own.at[0] == '/')
        own = (Text){own.at + 1, own.len - 1};
    buf_add_text(prefix, own);
    if (own.len > 0 && own.at[own.len - 1] != '/')
        buf_add_byte(prefix, '/');
    buf_add_text(prefix, below);
    if (below.len > 0)
        buf_add_byte(prefix, '/');
}

static const char *encryption(const char *sse)
{
    return sse == NULL ? NULL : strcmp(sse, "kms") == 0 ? "aws:kms" : "AES256";
}

/* Amazon's own names have the bucket in the host's name, others seldom. */
static bool host_style(const json_t *store)
{
    const char *style = said(store, "style"), *endpoint = said(store, "endpoint");
    const char *bucket = said(store, "bucket");
    if (style != NULL)
        return strcmp(style, "host") == 0;
    bool amazon = endpoint == NULL || strstr(endpoint, ".amazonaws.com") != NULL;
    return amazon && bucket != NULL && strchr(bucket, '.') == NULL;
}

static bool open_s3(Store **out, const JobSettings *settings, const json_t *store, Text below,
                    Err *err)
{
    const json_t *lock = json_object_get(store, "lock");
    const char *mode = said(lock, "mode");
    const char *folder[] = {settings->credentials};
    /* A policy may name a file only where this worker keeps credentials anyway. */
    SecretScope scope = {.credentials = settings->credentials,
                         .below = folder,
                         .below_count = settings->credentials != NULL};
    scoped(buf_free) Buf prefix = {0};
    take_prefix(store, below, &prefix);
    StoreS3Params params = {
        .endpoint = said(store, "endpoint"),
        .region = said(store, "region"),
        .bucket = said(store, "bucket"),
        .prefix = buf_cstr(&prefix),
        .host_style = host_style(store),
        .ca_file = said(store, "ca_file"),
        .storage_class = said(store, "storage_class"),
        .encryption = encryption(said(store, "sse")),
        .kms_key = said(store, "kms_key"),
        .lock_mode = mode == NULL                      ? NULL
                     : strcmp(mode, "governance") == 0 ? "GOVERNANCE"
                                                       : "COMPLIANCE",
        .lock_ms = (int64_t)json_u64_or(lock, "for", 0),
        .access_key = json_object_get(store, "access_key"),
        .secret_key = json_object_get(store, "secret_key"),
        .scope = &scope,
    };
    if (params.bucket == NULL)
        return err_set(err, ERR_INVALID, "store.bucket", "the store names no bucket");
    return store_s3_open(out, &params, err);
}

bool stores_open(Store **out, const JobSettings *settings, const json_t *store, Text below,
                 Err *err)
{
    Text name = json_text_or(store, "name", TEXT("")), type = json_text_or(store, "type", TEXT(""));
    bool opened;
    *out = NULL;
    if (!allow_store(settings->allow, name, err))
        return false;
    if (text_equal(type, TEXT("local")))
        opened = open_local(out, store, below, err);
    else if (text_equal(type, TEXT("s3")))
        opened = open_s3(out, settings, store, below, err);
    else
        opened = err_set(err, ERR_INVALID, "store.type",
                         "it has the type %.*s, which this worker does not know", TEXT_ARG(type));
    return opened || err_note(err, "the store %.*s", TEXT_ARG(name));
}

bool stores_open_prune(Store **out, const JobSettings *settings, const json_t *store, Text below,
                       Err *err)
{
    static const char *const keys[][2] = {{"prune_access_key", "access_key"},
                                          {"prune_secret_key", "secret_key"}};
    scoped(json_release) json_t *own = json_copy((json_t *)(uintptr_t)store);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (json_object_get(own, keys[i][0]) != NULL)
            json_object_set(own, keys[i][1], json_object_get(own, keys[i][0]));
    if (!stores_open(out, settings, own, below, err))
        return false;
    store_let_remove(*out);
    return true;
}
