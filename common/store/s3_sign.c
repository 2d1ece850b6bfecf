/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/s3_sign.h"

#include "common/base/hash.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <time.h>

static bool unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~';
}

static void encode(Buf *out, Text text, bool slashes_stay)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        if (unreserved(c) || (slashes_stay && c == '/'))
            buf_add_byte(out, (uint8_t)c);
        else
            buf_printf(out, "%%%02X", (unsigned)(uint8_t)c);
    }
}

void s3_encode(Buf *out, Text text)
{
    encode(out, text, false);
}

void s3_path(Buf *out, Text key)
{
    encode(out, key, true);
}

/* By encoded name, then by encoded value. Sorting "name=value" would do it wrongly: '-' is before
 * '='. */
static int compare_fields(const void *a, const void *b)
{
    const S3Field *one = a, *other = b;
    int order = text_compare(one->name, other->name);
    return order != 0 ? order : text_compare(one->value, other->value);
}

void s3_query(Buf *out, const S3Field *fields, size_t count)
{
    Buf encoded[S3_FIELDS_MOST][2] = {0};
    S3Field sorted[S3_FIELDS_MOST];
    for (size_t i = 0; i < count; i++) {
        s3_encode(&encoded[i][0], fields[i].name);
        s3_encode(&encoded[i][1], fields[i].value);
        sorted[i] = (S3Field){buf_text(&encoded[i][0]), buf_text(&encoded[i][1])};
    }
    qsort(sorted, count, sizeof *sorted, compare_fields);
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%s%.*s=%.*s", i == 0 ? "" : "&", TEXT_ARG(sorted[i].name),
                   TEXT_ARG(sorted[i].value));
    for (size_t i = 0; i < count; i++) {
        buf_free(&encoded[i][0]);
        buf_free(&encoded[i][1]);
    }
}

void s3_date(int64_t wall_ns, char out[S3_DATE_TEXT])
{
    struct tm tm;
    time_t seconds = (time_t)(wall_ns / 1000000000);
    gmtime_r(&seconds, &tm);
    strftime(out, S3_DATE_TEXT, "%Y%m%dT%H%M%SZ", &tm);
}

void s3_md5(Slice body, char out[S3_MD5_TEXT])
{
    uint8_t md5[16];
    if (EVP_Digest(body.at, body.len, md5, NULL, EVP_md5(), NULL) != 1)
        abort();
    EVP_EncodeBlock((unsigned char *)out, md5, sizeof md5);
}

/* Without blanks at its ends, and with one where several stand inside. */
static void add_trimmed(Buf *out, Text value)
{
    bool owed = false, any = false;
    for (size_t i = 0; i < value.len; i++) {
        char c = value.at[i];
        if (c == ' ' || c == '\t') {
            owed = any;
            continue;
        }
        if (owed)
            buf_add_byte(out, ' ');
        owed = false;
        any = true;
        buf_add_byte(out, (uint8_t)c);
    }
}

/* "host;x-amz-date": the names that are signed. */
static void add_names(Buf *out, const S3Field *sorted, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%s%.*s", i == 0 ? "" : ";", TEXT_ARG(sorted[i].name));
}

static void canonical_request(const S3Signed *request, const S3Field *sorted, Buf *out)
{
    buf_printf(out, "%s\n%.*s\n%.*s\n", request->method, TEXT_ARG(request->path),
               TEXT_ARG(request->query));
    for (size_t i = 0; i < request->header_count; i++) {
        buf_add_text(out, sorted[i].name);
        buf_add_byte(out, ':');
        add_trimmed(out, sorted[i].value);
        buf_add_byte(out, '\n');
    }
    buf_add_byte(out, '\n');
    add_names(out, sorted, request->header_count);
    buf_printf(out, "\n%s", request->payload);
}

static void step(Sha256 *key, Text word)
{
    Sha256 next;
    hash_hmac_sha256((Slice){key->bytes, sizeof key->bytes}, slice_of_text(word), &next);
    *key = next;
    explicit_bzero(&next, sizeof next);
}

/* The key of one day, region and service; the secret itself signs nothing else. */
static void signing_key(const S3Signed *request, Sha256 *key)
{
    scoped(buf_free) Buf first = {0};
    buf_reserve(&first, 4 + request->secret_key.len);
    buf_add_text(&first, TEXT("AWS4"));
    buf_add_slice(&first, request->secret_key);
    hash_hmac_sha256(buf_slice(&first), slice_of_text((Text){request->date, 8}), key);
    explicit_bzero(first.at, first.room);
    step(key, text_of(request->region));
    step(key, text_of(request->service));
    step(key, TEXT("aws4_request"));
}

void s3_sign(const S3Signed *request, Buf *authorization)
{
    S3Field sorted[S3_FIELDS_MOST];
    Sha256 hash, key;
    char hex[SHA256_TEXT];
    scoped(buf_free) Buf canonical = {0};
    scoped(buf_free) Buf scope = {0};
    scoped(buf_free) Buf text = {0};
    memcpy(sorted, request->headers, request->header_count * sizeof *sorted);
    qsort(sorted, request->header_count, sizeof *sorted, compare_fields);

    canonical_request(request, sorted, &canonical);
    hash_sha256(buf_slice(&canonical), &hash);
    ids_hex(hash.bytes, sizeof hash.bytes, hex);
    buf_printf(&scope, "%.8s/%s/%s/aws4_request", request->date, request->region, request->service);
    buf_printf(&text, "AWS4-HMAC-SHA256\n%s\n%.*s\n%s", request->date, TEXT_ARG(buf_text(&scope)),
               hex);

    signing_key(request, &key);
    hash_hmac_sha256((Slice){key.bytes, sizeof key.bytes}, buf_slice(&text), &hash);
    explicit_bzero(&key, sizeof key);
    ids_hex(hash.bytes, sizeof hash.bytes, hex);
    buf_printf(authorization, "AWS4-HMAC-SHA256 Credential=%.*s/%.*s,SignedHeaders=",
               TEXT_ARG(request->access_key), TEXT_ARG(buf_text(&scope)));
    add_names(authorization, sorted, request->header_count);
    buf_printf(authorization, ",Signature=%s", hex);
}
