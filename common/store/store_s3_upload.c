/* SPDX-License-Identifier: Apache-2.0
 * What an object in S3 is said to be, and uploads in parts: begun, completed, given up. */
#include "common/store/s3_answer.h"
#include "common/store/store_s3_internal.h"

enum { DOCUMENT_MOST = 256 * 1024 };

void store_s3_add(S3Headers *headers, const char *name, const char *value)
{
    if (value != NULL)
        headers->list[headers->count++] = (S3Field){text_of(name), text_of(value)};
}

void store_s3_headers(const S3Store *s3, const char *mark, bool lock, S3Headers *headers)
{
    store_s3_add(headers, "x-amz-meta-holdfast-put", mark);
    store_s3_add(headers, "x-amz-storage-class", s3->storage_class);
    store_s3_add(headers, "x-amz-server-side-encryption", s3->encryption);
    store_s3_add(headers, "x-amz-server-side-encryption-aws-kms-key-id", s3->kms_key);
    if (s3->lock_mode == NULL || !lock)
        return;
    clock_rfc3339(clock_wall_ns() + s3->lock_ms * 1000000, headers->until);
    store_s3_add(headers, "x-amz-object-lock-mode", s3->lock_mode);
    store_s3_add(headers, "x-amz-object-lock-retain-until-date", headers->until);
}

void store_s3_add_md5(const S3Store *s3, Slice body, S3Headers *headers)
{
    if (s3->lock_mode == NULL)
        return;
    s3_md5(body, headers->md5);
    store_s3_add(headers, "content-md5", headers->md5);
}

bool store_s3_upload_begin(S3Store *s3, const char *name, const char *mark, bool lock, Buf *upload,
                           Err *err)
{
    S3Answer answer;
    S3Headers headers = {.count = 0};
    char key[STORE_S3_KEY_MOST];
    scoped(buf_free) Buf body = {0};
    S3Field query = {TEXT("uploads"), TEXT("")};
    store_s3_headers(s3, mark, lock, &headers);
    S3Request request = {.method = "POST",
                         .key = store_s3_key(s3, name, key),
                         .query = &query,
                         .query_count = 1,
                         .headers = headers.list,
                         .header_count = headers.count,
                         .document = true,
                         .out = &body,
                         .most = DOCUMENT_MOST};
    if (!s3_client_send(s3->client, &request, &answer, err))
        return false;
    if (answer.status / 100 != 2)
        return store_s3_refused(&answer, name, err);
    return s3_answer_upload(buf_slice(&body), upload, err) || err_note(err, "%s", name);
}

static void completion(const S3UploadEnd *end, Buf *out)
{
    buf_printf(out, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (unsigned i = 0; i < end->parts; i++) {
        buf_printf(out, "<Part><PartNumber>%u</PartNumber><ETag>", i + 1);
        for (const char *at = end->etags[i]; *at != 0; at++)
            if (*at == '&' || *at == '<' || *at == '>')
                buf_printf(out, "&#%d;", *at);
            else
                buf_add_byte(out, (uint8_t)*at);
        buf_printf(out, "</ETag></Part>");
    }
    buf_printf(out, "</CompleteMultipartUpload>");
}

bool store_s3_upload_complete(S3Store *s3, const S3UploadEnd *end, Err *err)
{
    S3Answer answer;
    char key[STORE_S3_KEY_MOST];
    scoped(buf_free) Buf body = {0};
    scoped(buf_free) Buf document = {0};
    S3Field query = {TEXT("uploadId"), end->upload};
    S3Field header = {TEXT("if-none-match"), TEXT("*")};
    completion(end, &document);
    S3Request request = {.method = "POST",
                         .key = store_s3_key(s3, end->name, key),
                         .query = &query,
                         .query_count = 1,
                         .headers = &header,
                         .header_count = end->condition,
                         .body = buf_slice(&document),
                         .document = true,
                         .out = &body,
                         .most = DOCUMENT_MOST};
    if (!s3_client_send(s3->client, &request, &answer, err))
        return false;
    if (answer.status / 100 != 2)
        return store_s3_refused(&answer, end->name, err);
    return s3_answer_completed(buf_slice(&body), err) || err_note(err, "%s", end->name);
}

bool store_s3_abort(S3Store *s3, Text key, Text upload, unsigned tries, Err *err)
{
    S3Answer answer;
    S3Field query = {TEXT("uploadId"), upload};
    S3Request request = {
        .method = "DELETE", .key = key, .query = &query, .query_count = 1, .tries = tries};
    if (!s3_client_send(s3->client, &request, &answer, err))
        return false;
    return answer.status / 100 == 2 || answer.status == 404 ||
           store_s3_refused(&answer, "an upload that nobody completes", err);
}
