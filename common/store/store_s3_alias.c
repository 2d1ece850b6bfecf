/* SPDX-License-Identifier: Apache-2.0
 * S3 has no links: a name that stands for an object is a second object, copied by the server and
 * marked as such, so that it is never mistaken for one of its own. Nothing of it passes this host.
 */
#include "common/base/mem.h"
#include "common/store/s3_answer.h"
#include "common/store/store_s3_internal.h"

#include <stdio.h>

/* No uuid: no put has this mark. */
static const char MARK[] = "alias";

enum {
    DOCUMENT_MOST = 64 * 1024,
    WHOLE_PARTS = 640, /* what has more parts than this is copied in pieces */
    PIECE_PARTS = 128,
};
static const uint64_t WHOLE_MOST = 5ull << 30; /* S3's own limit of one copy */
static const uint64_t PIECE_MOST = 1ull << 30;

typedef struct Alias {
    S3Store *s3;
    const char *name;
    Buf source; /* the value of x-amz-copy-source */
    uint64_t size;
    Buf upload;
    char (*etags)[STORE_S3_ETAG];
    unsigned parts;
} Alias;

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static bool send_copy(Alias *alias, const S3Field *query, size_t query_count,
                      const S3Headers *headers, Buf *body, Err *err)
{
    S3Answer answer;
    char key[STORE_S3_KEY_MOST];
    S3Request request = {.method = "PUT",
                         .key = store_s3_key(alias->s3, alias->name, key),
                         .query = query,
                         .query_count = query_count,
                         .headers = headers->list,
                         .header_count = headers->count,
                         .document = true,
                         .out = body,
                         .most = DOCUMENT_MOST};
    return s3_client_send(alias->s3->client, &request, &answer, err) &&
           (answer.status / 100 == 2 || store_s3_refused(&answer, alias->name, err));
}

static bool copy_whole(Alias *alias, Err *err)
{
    S3Headers headers = {.count = 0};
    scoped(buf_free) Buf body = {0};
    char etag[STORE_S3_ETAG];
    store_s3_headers(alias->s3, MARK, false, &headers);
    store_s3_add(&headers, "x-amz-copy-source", buf_cstr(&alias->source));
    store_s3_add(&headers, "x-amz-metadata-directive", "REPLACE");
    return send_copy(alias, NULL, 0, &headers, &body, err) &&
           s3_answer_copied(buf_slice(&body), etag, sizeof etag, err);
}

static bool copy_piece(Alias *alias, uint64_t from, uint64_t len, Err *err)
{
    S3Headers headers = {.count = 0};
    scoped(buf_free) Buf body = {0};
    char digits[12], range[64];
    snprintf(digits, sizeof digits, "%u", alias->parts + 1);
    snprintf(range, sizeof range, "bytes=%llu-%llu", (unsigned long long)from,
             (unsigned long long)(from + len - 1));
    S3Field query[] = {{TEXT("partNumber"), text_of(digits)},
                       {TEXT("uploadId"), buf_text(&alias->upload)}};
    store_s3_add(&headers, "x-amz-copy-source", buf_cstr(&alias->source));
    store_s3_add(&headers, "x-amz-copy-source-range", range);
    if (!send_copy(alias, query, 2, &headers, &body, err) ||
        !s3_answer_copied(buf_slice(&body), alias->etags[alias->parts], STORE_S3_ETAG, err))
        return false;
    alias->parts++;
    return true;
}

static bool copy_pieces(Alias *alias, uint64_t piece, Err *err)
{
    char key[STORE_S3_KEY_MOST];
    Err unheard = {0};
    alias->etags = mem_resize(NULL, (size_t)(alias->size / piece + 1) * sizeof *alias->etags);
    if (!store_s3_upload_begin(alias->s3, alias->name, MARK, false, &alias->upload, err))
        return false;
    bool fine = true;
    for (uint64_t at = 0; fine && at < alias->size; at += piece)
        fine = copy_piece(alias, at, least(piece, alias->size - at), err);
    S3UploadEnd end = {.name = alias->name,
                       .upload = buf_text(&alias->upload),
                       .etags = alias->etags,
                       .parts = alias->parts};
    fine = fine && store_s3_upload_complete(alias->s3, &end, err);
    if (!fine && !store_s3_abort(alias->s3, store_s3_key(alias->s3, alias->name, key),
                                 buf_text(&alias->upload), 2, &unheard))
        return false; /* the prune role sweeps what is left */
    return fine;
}

static bool copy(Alias *alias, Err *err)
{
    uint64_t part = alias->s3->part_bytes;
    if (alias->size <= least(WHOLE_MOST, WHOLE_PARTS * part))
        return copy_whole(alias, err);
    return copy_pieces(alias, least(PIECE_MOST, PIECE_PARTS * part), err);
}

/* Only what is an alias already is replaced; and the object itself proves that it is there. */
static bool make(Alias *alias, const char *target, Err *err)
{
    S3Look look;
    if (!store_s3_look(alias->s3, alias->name, &look, err))
        return false;
    if (look.found && strcmp(look.mark, MARK) != 0)
        return err_set(err, ERR_CONFLICT, "store.exists",
                       "%s is an object of its own in the store: move it away", alias->name);
    if (!store_s3_look(alias->s3, target, &look, err))
        return false;
    if (!look.found)
        return err_set(err, ERR_CORRUPT, "store.damaged", "%s is not there to be named %s", target,
                       alias->name);
    alias->size = look.size;
    if (!copy(alias, err) || !store_s3_look(alias->s3, alias->name, &look, err))
        return false;
    return (look.found && look.size == alias->size && strcmp(look.mark, MARK) == 0) ||
           err_set(err, ERR_IO, "store.lost",
                   "%s was copied from %s, and the store does not have it so", alias->name, target);
}

bool store_s3_alias(Store *s, const char *name, const char *target, bool *made, Err *err)
{
    Alias alias = {.s3 = (S3Store *)s, .name = name};
    char key[STORE_S3_KEY_MOST];
    buf_add_byte(&alias.source, '/');
    buf_add_text(&alias.source, text_of(alias.s3->bucket));
    buf_add_byte(&alias.source, '/');
    s3_path(&alias.source, store_s3_key(alias.s3, target, key));
    *made = make(&alias, target, err);
    bool lacks = !*made && strcmp(err->cause, "store.unsupported") == 0;
    if (lacks)
        *err = (Err){0};
    buf_free(&alias.source);
    buf_free(&alias.upload);
    mem_free(alias.etags);
    return *made || lacks;
}
