/* SPDX-License-Identifier: Apache-2.0
 * Uploads in parts that nobody completes any more: their writer died, or may not abort. They are no
 * objects, no listing shows them, and they are paid for. What begins before the store's prefix is
 * somebody else's. How old one is says the server, by its own clock. */
#include "common/store/store_s3_internal.h"

#include "common/base/clock.h"
#include "common/store/s3_answer.h"

enum { PAGE_MOST = 8 << 20 };

static bool ask(S3Store *s3, Text key, Text id, S3Lefts *page, int64_t *now_s, Err *err)
{
    S3Answer answer;
    scoped(buf_free) Buf body = {0};
    S3Field query[6] = {{TEXT("uploads"), TEXT("")},
                        {TEXT("encoding-type"), TEXT("url")},
                        {TEXT("prefix"), text_of(s3->prefix)},
                        {TEXT("max-uploads"), TEXT("1000")}};
    size_t count = 4;
    if (key.len != 0)
        query[count++] = (S3Field){TEXT("key-marker"), key};
    if (id.len != 0)
        query[count++] = (S3Field){TEXT("upload-id-marker"), id};
    S3Request request = {.method = "GET",
                         .query = query,
                         .query_count = count,
                         .document = true,
                         .out = &body,
                         .most = PAGE_MOST};
    if (!s3_client_send(s3->client, &request, &answer, err))
        return false;
    if (answer.status / 100 != 2)
        return store_s3_refused(&answer, "listing uploads", err);
    if (answer.too_large)
        return err_set(err, ERR_CORRUPT, "store.protocol", "a page of uploads is over %d bytes",
                       PAGE_MOST);
    *now_s = answer.date_s != 0 ? answer.date_s : clock_wall_ns() / 1000000000;
    return s3_answer_lefts(buf_slice(&body), page, err);
}

/* What the server was not asked for is left alone, whatever it sends. */
static bool sweep_page(S3Store *s3, const S3Lefts *page, int64_t now_s, StoreSweep *sweep, Err *err)
{
    for (size_t i = 0; i < page->count; i++) {
        const char *key = (const char *)page->texts.at + page->rows[i].key;
        const char *id = (const char *)page->texts.at + page->rows[i].id;
        bool ours = strncmp(key, s3->prefix, strlen(s3->prefix)) == 0;
        if (!ours || (now_s - page->rows[i].begun_s) * 1000 < sweep->age_ms)
            continue;
        if (sweep->ours != NULL && !sweep->ours(sweep->ctx, key + strlen(s3->prefix), &ours, err))
            return false;
        if (!ours)
            continue;
        sweep->found++;
        if (sweep->look_only)
            continue;
        if (!store_s3_abort(s3, text_of(key), text_of(id), 0, err))
            return false;
        sweep->removed++;
    }
    return true;
}

bool store_s3_sweep(Store *s, StoreSweep *sweep, Err *err)
{
    S3Store *s3 = (S3Store *)s;
    S3Lefts page = {0};
    scoped(buf_free) Buf key = {0}, id = {0};
    int64_t now_s = 0;
    bool fine;
    do {
        fine = ask(s3, buf_text(&key), buf_text(&id), &page, &now_s, err) &&
               sweep_page(s3, &page, now_s, sweep, err);
        if (fine && page.more && text_equal(buf_text(&key), buf_text(&page.next_key)) &&
            text_equal(buf_text(&id), buf_text(&page.next_id)))
            fine = err_set(err, ERR_CORRUPT, "store.protocol",
                           "the list of uploads does not get on: a page names itself as the next");
        buf_clear(&key);
        buf_clear(&id);
        buf_add_text(&key, buf_text(&page.next_key));
        buf_add_text(&id, buf_text(&page.next_id));
    } while (fine && page.more);
    s3_lefts_free(&page);
    return fine || err_note(err, "uploads below %s in %s", s3->prefix, s3_client_place(s3->client));
}
