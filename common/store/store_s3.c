/* SPDX-License-Identifier: Apache-2.0
 * The S3 store: opening, reading, listing, removing; store_s3_put.c writes. */
#include "common/store/store_s3_internal.h"

#include "common/base/mem.h"
#include "common/store/s3_answer.h"

#include <stdio.h>
#include <stdlib.h>

/* A page has a thousand rows at most, each with a key of up to 1024 bytes, percent-encoded. */
enum { PAGE_MOST = 8 << 20, PART_DEFAULT = 8 << 20, LANES_DEFAULT = 3, LANES_MOST = 16 };

static S3Store *s3_of(Store *store)
{
    return (S3Store *)store;
}

Text store_s3_key(const S3Store *s3, const char *name, char out[STORE_S3_KEY_MOST])
{
    int len = snprintf(out, STORE_S3_KEY_MOST, "%s%s", s3->prefix, name);
    return (Text){out, (size_t)len};
}

bool store_s3_refused(const S3Answer *answer, const char *name, Err *err)
{
    return s3_problem_raise(&answer->problem, name, err);
}

static bool damaged(const S3Store *s3, const char *name, const char *what, Err *err)
{
    return err_set(err, ERR_CORRUPT, "store.damaged", "%s%s in %s %s", s3->prefix, name,
                   s3_client_place(s3->client), what);
}

/* --- reading -------------------------------------------------------------------------------- */

static bool s3_get(Store *s, const char *name, size_t most, bool *found, Buf *out, Err *err)
{
    S3Store *s3 = s3_of(s);
    S3Answer answer;
    char key[STORE_S3_KEY_MOST];
    size_t before = out->len;
    S3Request request = {
        .method = "GET", .key = store_s3_key(s3, name, key), .out = out, .most = most};
    if (!s3_client_send(s3->client, &request, &answer, err))
        return false;
    *found = answer.status != 404;
    if (answer.too_large) {
        out->len = before;
        return err_set(err, ERR_CORRUPT, "store.large", "%s has %llu bytes, %zu are the most", name,
                       (unsigned long long)answer.length, most);
    }
    return !*found || answer.status / 100 == 2 || store_s3_refused(&answer, name, err);
}

bool store_s3_look(S3Store *s3, const char *name, S3Look *look, Err *err)
{
    S3Answer answer;
    char key[STORE_S3_KEY_MOST];
    S3Request request = {.method = "HEAD", .key = store_s3_key(s3, name, key)};
    *look = (S3Look){0};
    if (!s3_client_send(s3->client, &request, &answer, err))
        return false;
    look->found = answer.status != 404;
    look->size = answer.length;
    memcpy(look->mark, answer.mark, sizeof look->mark);
    return !look->found || answer.status / 100 == 2 || store_s3_refused(&answer, name, err);
}

/* Where a listing begins, and how it goes on; texts may be empty. */
typedef struct Ask {
    const char *prefix, *most;
    const char *after; /* NULL: from the first name on */
    Text token;        /* of the page before */
} Ask;

static bool ask_page(S3Store *s3, const Ask *ask, S3Page *page, Err *err)
{
    S3Answer answer;
    char key[STORE_S3_KEY_MOST], after[STORE_S3_KEY_MOST];
    scoped(buf_free) Buf body = {0};
    S3Field query[6] = {{TEXT("list-type"), TEXT("2")},
                        {TEXT("encoding-type"), TEXT("url")},
                        {TEXT("prefix"), store_s3_key(s3, ask->prefix, key)},
                        {TEXT("max-keys"), text_of(ask->most)}};
    size_t count = 4;
    if (ask->token.len != 0)
        query[count++] = (S3Field){TEXT("continuation-token"), ask->token};
    else if (ask->after != NULL)
        query[count++] = (S3Field){TEXT("start-after"), store_s3_key(s3, ask->after, after)};
    S3Request request = {.method = "GET",
                         .query = query,
                         .query_count = count,
                         .document = true,
                         .out = &body,
                         .most = PAGE_MOST};
    if (!s3_client_send(s3->client, &request, &answer, err))
        return false;
    if (answer.status / 100 != 2)
        return store_s3_refused(&answer, "listing the bucket", err);
    if (answer.too_large)
        return err_set(err, ERR_CORRUPT, "store.protocol", "a page of a listing is over %d bytes",
                       PAGE_MOST);
    return s3_answer_page(buf_slice(&body), page, err) ||
           err_note(err, "listing %s%s in %s", s3->prefix, ask->prefix,
                    s3_client_place(s3->client));
}

/* One small page: proves that the bucket is there. */
static bool ask_bucket(S3Store *s3, Err *err)
{
    S3Page page = {0};
    bool fine = ask_page(s3, &(Ask){.prefix = "", .most = "1"}, &page, err);
    s3_page_free(&page);
    return fine;
}

/* A HEAD has no body, so a bucket that is gone looks like an object that is not there: nobody may
 * think that the objects were deleted. */
static bool s3_head(Store *s, const char *name, bool *found, uint64_t *size, Err *err)
{
    S3Look look;
    if (!store_s3_look(s3_of(s), name, &look, err))
        return false;
    *found = look.found;
    *size = look.size;
    return *found || ask_bucket(s3_of(s), err);
}

static bool fetch(void *ctx, const char *name, uint64_t offset, size_t least, size_t most,
                  uint8_t *at, size_t *got, Err *err)
{
    S3Store *s3 = ctx;
    S3Answer answer;
    char key[STORE_S3_KEY_MOST], range[64];
    snprintf(range, sizeof range, "bytes=%llu-%llu", (unsigned long long)offset,
             (unsigned long long)(offset + most - 1));
    S3Field header = {TEXT("range"), text_of(range)};
    S3Request request = {.method = "GET",
                         .key = store_s3_key(s3, name, key),
                         .headers = &header,
                         .header_count = 1,
                         .into = at,
                         .into_len = most};
    if (!s3_client_send(s3->client, &request, &answer, err))
        return false;
    if (answer.status == 404)
        return damaged(s3, name, "is not there", err);
    if (answer.status == 416)
        return damaged(s3, name, "ends before the part that is asked for", err);
    if (answer.status / 100 != 2)
        return store_s3_refused(&answer, name, err);
    bool whole = answer.status == 200 && offset == 0;
    if (answer.too_large || (!whole && (answer.status != 206 || answer.first != offset)))
        return err_set(err, ERR_CORRUPT, "store.protocol",
                       "%s: the server sends another part of it than was asked for", name);
    *got = answer.received;
    return answer.received >= least || damaged(s3, name, "ends early", err);
}

static bool s3_get_range(Store *s, const char *name, uint64_t offset, size_t len, uint8_t *at,
                         Err *err)
{
    S3Store *s3 = s3_of(s);
    bool found;
    uint64_t size;
    if (len > 0)
        return s3_ahead_read(s3->ahead, name, offset, len, at, err);
    return s3_head(s, name, &found, &size, err) &&
           (found || damaged(s3, name, "is not there", err));
}

/* What the server was not asked for is no part of the listing, whatever it sends. */
static bool visit_page(const S3Store *s3, const StoreListing *listing, const S3Page *page, Err *err)
{
    size_t skip = strlen(s3->prefix), len = strlen(listing->prefix);
    for (size_t i = 0; i < page->count; i++) {
        const char *key = (const char *)page->names.at + page->rows[i].name;
        if (strncmp(key, s3->prefix, skip) != 0)
            continue;
        const char *name = key + skip;
        bool wanted = strncmp(name, listing->prefix, len) == 0 && store_name_valid(name) &&
                      (listing->after == NULL || strcmp(name, listing->after) > 0);
        uint64_t size = listing->names_only ? 0 : page->rows[i].size;
        if (wanted && !listing->visit(listing->ctx, name, size, err))
            return false;
    }
    return true;
}

static bool s3_list(Store *s, const StoreListing *listing, Err *err)
{
    S3Store *s3 = s3_of(s);
    S3Page page = {0};
    scoped(buf_free) Buf token = {0};
    Ask ask = {.prefix = listing->prefix, .most = "1000", .after = listing->after};
    bool fine;
    do {
        ask.token = buf_text(&token);
        fine = ask_page(s3, &ask, &page, err);
        if (fine && page.more && text_equal(ask.token, buf_text(&page.next)))
            fine = err_set(err, ERR_CORRUPT, "store.protocol",
                           "the listing of %s%s in %s does not get on: a page names itself as the "
                           "next",
                           s3->prefix, listing->prefix, s3_client_place(s3->client));
        fine = fine && visit_page(s3, listing, &page, err);
        buf_clear(&token);
        buf_add_text(&token, buf_text(&page.next));
    } while (fine && page.more);
    s3_page_free(&page);
    return fine;
}

static bool s3_remove(Store *s, const char *name, Err *err)
{
    S3Store *s3 = s3_of(s);
    S3Answer answer;
    char key[STORE_S3_KEY_MOST];
    S3Request request = {.method = "DELETE", .key = store_s3_key(s3, name, key)};
    if (!s3_client_send(s3->client, &request, &answer, err))
        return false;
    return answer.status / 100 == 2 || answer.status == 404 || store_s3_refused(&answer, name, err);
}

/* --- opening -------------------------------------------------------------------------------- */

static void s3_close(Store *s)
{
    S3Store *s3 = s3_of(s);
    s3_client_close(s3->client);
    s3_ahead_free(s3->ahead);
    for (size_t i = 0; i < s3->spare_count; i++)
        mem_free(s3->spare[i]);
    pthread_mutex_destroy(&s3->lock);
    mem_free(s3->bucket);
    mem_free(s3->prefix);
    mem_free(s3->storage_class);
    mem_free(s3->encryption);
    mem_free(s3->kms_key);
    mem_free(s3->lock_mode);
    mem_free(s3);
}

static const StoreOps s3_ops = {
    .scheme = "s3",
    .put_begin = store_s3_put_begin,
    .put_write = store_s3_put_write,
    .put_finish = store_s3_put_finish,
    .put_abort = store_s3_put_abort,
    .replace = store_s3_replace,
    .alias = store_s3_alias,
    .get = s3_get,
    .get_range = s3_get_range,
    .head = s3_head,
    .list = s3_list,
    .remove = s3_remove,
    .sweep = store_s3_sweep,
    .close = s3_close,
};

static S3Store *make(const StoreS3Params *params)
{
    S3Store *s3 = mem_new(S3Store);
    s3->store.ops = &s3_ops;
    s3->ahead = s3_ahead_new(fetch, s3);
    s3->bucket = mem_string(params->bucket);
    s3->prefix = mem_string(params->prefix == NULL ? "" : params->prefix);
    s3->storage_class = mem_string(params->storage_class);
    s3->encryption = mem_string(params->encryption);
    s3->kms_key = mem_string(params->kms_key);
    s3->lock_mode = mem_string(params->lock_mode);
    s3->lock_ms = params->lock_ms;
    s3->part_bytes = params->part_bytes == 0 ? PART_DEFAULT : params->part_bytes;
    s3->lanes = params->lanes == 0 ? LANES_DEFAULT : params->lanes;
    s3->lanes = s3->lanes > LANES_MOST ? LANES_MOST : s3->lanes;
    pthread_mutex_init(&s3->lock, NULL);
    return s3;
}

static bool connect_to(S3Store *s3, const StoreS3Params *params, Err *err)
{
    static const SecretScope nowhere = {0};
    S3ClientParams client = {
        .endpoint = params->endpoint,
        .region = params->region,
        .bucket = params->bucket,
        .host_style = params->host_style,
        .ca_file = params->ca_file,
        .idle_ms = params->idle_ms,
        .pause_ms = params->pause_ms,
        .tries = params->tries,
        .keys = s3_keys_open(params->access_key, params->secret_key,
                             params->scope == NULL ? &nowhere : params->scope),
    };
    if (!s3_client_open(&s3->client, &client, err)) {
        s3_keys_close(client.keys);
        return false;
    }
    if (ask_bucket(s3, err))
        return true;
    if (strcmp(err->cause, "store.gone") == 0)
        return err_set(err, ERR_MISSING, "store.missing",
                       "%s is not there: correct the store's bucket and endpoint, or make it",
                       s3_client_place(s3->client));
    return false;
}

bool store_s3_open(Store **out, const StoreS3Params *params, Err *err)
{
    *out = NULL;
    size_t len = params->prefix == NULL ? 0 : strlen(params->prefix);
    if (len > STORE_S3_PREFIX_MOST || (len != 0 && params->prefix[len - 1] != '/') ||
        (len != 0 && params->prefix[0] == '/'))
        return err_set(err, ERR_INVALID, "store.prefix",
                       "the store's prefix ends with '/', begins with another character and has "
                       "%d bytes at most",
                       STORE_S3_PREFIX_MOST);
    S3Store *s3 = make(params);
    if (!connect_to(s3, params, err)) {
        s3_close(&s3->store);
        return false;
    }
    *out = &s3->store;
    return true;
}

StoreS3Condition store_s3_condition(const Store *store)
{
    return atomic_load(&((const S3Store *)store)->condition);
}
