/* SPDX-License-Identifier: Apache-2.0
 * The writing half of the S3 store. A put fills a buffer of one part. What ends within it is one
 * PUT; else it becomes an upload, and each full buffer goes on its way in a thread of its own while
 * the next is filled. Memory is bounded: a put owns one buffer, and all puts together may have so
 * many more as one put has lanes, twice; where there is none left a put sends its part by itself,
 * so nobody waits for another put.
 *
 * Whether an object that is there is ours is told by its mark, a uuid of this put in its metadata.
 * So a PUT or a completion whose answer was lost is looked up: ours and whole is done, another's is
 * store.exists, absent is a failure. A name is never judged by anything else. */
#include "common/store/store_s3_internal.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/store/s3_answer.h"

#include <stdio.h>
#include <stdlib.h>

/* 10 000 is S3's own limit. What proves the condition is sent twice: it should be small. */
enum { PARTS_MOST = 10000, PROOF_MOST = 64 * 1024 };

typedef struct S3Put S3Put;

/* One part on its way. */
typedef struct Flight {
    S3Put *put;
    pthread_t thread;
    unsigned number; /* from 1 */
    uint8_t *bytes;
    size_t len;
    bool sent;
    Err err;
} Flight;

struct S3Put {
    StorePut put;
    char name[STORE_NAME_MOST + 1];
    char mark[UUID_TEXT];
    uint8_t *part; /* being filled */
    size_t filled;
    uint64_t total;
    Buf upload;                   /* its id; empty: not begun */
    char (*etags)[STORE_S3_ETAG]; /* of the parts, by number */
    unsigned parts, etag_room;
    Flight *flights[16]; /* the oldest first */
    unsigned flying;
    atomic_bool stop;
    bool broken;
};

static S3Store *s3_of(const S3Put *put)
{
    return (S3Store *)put->put.store;
}

/* --- buffers -------------------------------------------------------------------------------- */

/* A buffer, if `extra` is not beyond what all puts may have; NULL then. */
static uint8_t *buffer_take(S3Store *s3, bool extra)
{
    uint8_t *buffer = NULL;
    pthread_mutex_lock(&s3->lock);
    bool may = !extra || s3->extra < 2 * s3->lanes;
    if (may && s3->spare_count != 0)
        buffer = s3->spare[--s3->spare_count];
    s3->extra += may && extra;
    pthread_mutex_unlock(&s3->lock);
    return may && buffer == NULL ? mem_resize(NULL, s3->part_bytes) : buffer;
}

static void buffer_give(S3Store *s3, uint8_t *buffer, bool extra)
{
    pthread_mutex_lock(&s3->lock);
    bool kept = s3->spare_count < STORE_S3_SPARE;
    if (kept)
        s3->spare[s3->spare_count++] = buffer;
    s3->extra -= extra;
    pthread_mutex_unlock(&s3->lock);
    if (!kept)
        mem_free(buffer);
}

/* --- one PUT -------------------------------------------------------------------------------- */

static bool exists(const char *name, Err *err)
{
    return err_set(err, ERR_CONFLICT, "store.exists", "the store already has %s", name);
}

typedef enum Found { FOUND_NOTHING, FOUND_OURS, FOUND_OTHERS } Found;

static bool look_up(S3Put *put, Found *found, Err *err)
{
    S3Look look;
    if (!store_s3_look(s3_of(put), put->name, &look, err))
        return false;
    bool ours = strcmp(look.mark, put->mark) == 0 && look.size == put->total;
    *found = !look.found ? FOUND_NOTHING : ours ? FOUND_OURS : FOUND_OTHERS;
    return true;
}

/* After an end that proves nothing: is it there? `met` is what came instead of an answer. */
static bool settle(S3Put *put, const Err *met, Err *err)
{
    Found found;
    Err unseen = {0};
    if (look_up(put, &found, &unseen) && found != FOUND_NOTHING)
        return found == FOUND_OURS || exists(put->name, err);
    *err = *met;
    return false;
}

/* May somebody else's object be overwritten, for want of a condition? Looks, then. */
static bool refuse_taken(S3Put *put, Err *err)
{
    Found found;
    return look_up(put, &found, err) && (found != FOUND_OTHERS || exists(put->name, err));
}

static bool send_whole(S3Put *put, Slice body, bool condition, S3Answer *answer, Err *err)
{
    S3Store *s3 = s3_of(put);
    S3Headers headers = {.count = 0};
    char key[STORE_S3_KEY_MOST];
    store_s3_headers(s3, put->mark, true, &headers);
    store_s3_add_md5(s3, body, &headers);
    if (condition)
        store_s3_add(&headers, "if-none-match", "*");
    S3Request request = {.method = "PUT",
                         .key = store_s3_key(s3, put->name, key),
                         .headers = headers.list,
                         .header_count = headers.count,
                         .body = body};
    return s3_client_send(s3->client, &request, answer, err);
}

static bool lacks(const Err *err)
{
    return strcmp(err->cause, "store.unsupported") == 0;
}

/* The object is there: a server that honours the condition refuses the same bytes now. */
static void prove_condition(S3Put *put, Slice body)
{
    S3Answer answer;
    Err err = {0};
    if (body.len > PROOF_MOST || !send_whole(put, body, true, &answer, &err))
        return;
    atomic_store(&s3_of(put)->condition,
                 answer.status == 412 ? STORE_S3_HONOURED : STORE_S3_LACKING);
}

static bool put_whole(S3Put *put, Err *err)
{
    S3Store *s3 = s3_of(put);
    S3Answer answer;
    Slice body = {put->part, put->filled};
    StoreS3Condition condition = atomic_load(&s3->condition);
    if (condition != STORE_S3_HONOURED && !refuse_taken(put, err))
        return false;
    bool sent = send_whole(put, body, condition != STORE_S3_LACKING, &answer, err);
    if (!sent && lacks(err) && condition == STORE_S3_UNKNOWN) {
        *err = (Err){0};
        condition = STORE_S3_LACKING;
        sent = send_whole(put, body, false, &answer, err);
        if (sent && answer.status / 100 == 2)
            atomic_store(&s3->condition, condition);
    }
    if (sent && answer.status / 100 == 2) {
        if (condition == STORE_S3_UNKNOWN)
            prove_condition(put, body);
        return true;
    }
    Err met = *err;
    if (sent)
        store_s3_refused(&answer, put->name, &met);
    return settle(put, &met, err);
}

/* --- parts ---------------------------------------------------------------------------------- */

static bool send_part(S3Put *put, unsigned number, Slice body, Err *err)
{
    S3Store *s3 = s3_of(put);
    S3Answer answer;
    S3Headers headers = {.count = 0};
    char key[STORE_S3_KEY_MOST], digits[12];
    snprintf(digits, sizeof digits, "%u", number);
    S3Field query[] = {{TEXT("partNumber"), text_of(digits)},
                       {TEXT("uploadId"), buf_text(&put->upload)}};
    store_s3_add_md5(s3, body, &headers);
    S3Request request = {.method = "PUT",
                         .key = store_s3_key(s3, put->name, key),
                         .query = query,
                         .query_count = 2,
                         .headers = headers.list,
                         .header_count = headers.count,
                         .body = body,
                         .stop = &put->stop};
    if (!s3_client_send(s3->client, &request, &answer, err))
        return false;
    if (answer.status / 100 != 2)
        return store_s3_refused(&answer, put->name, err);
    if (answer.etag[0] == 0)
        return err_set(err, ERR_CORRUPT, "store.protocol",
                       "%s: the server took a part and gave no ETag for it", put->name);
    memcpy(put->etags[number - 1], answer.etag, STORE_S3_ETAG);
    return true;
}

static void *fly(void *ctx)
{
    Flight *flight = ctx;
    flight->sent =
        send_part(flight->put, flight->number, (Slice){flight->bytes, flight->len}, &flight->err);
    return NULL;
}

/* Waits for the oldest part; *buffer is free then. */
static bool land(S3Put *put, uint8_t **buffer, Err *err)
{
    Flight *flight = put->flights[0];
    pthread_join(flight->thread, NULL);
    put->flying--;
    memmove(put->flights, put->flights + 1, put->flying * sizeof *put->flights);
    bool sent = flight->sent;
    if (!sent && !put->broken)
        *err = flight->err;
    put->broken |= !sent;
    *buffer = flight->bytes;
    mem_free(flight);
    return sent;
}

static bool start_flight(S3Put *put, unsigned number)
{
    Flight *flight = mem_new(Flight);
    *flight = (Flight){.put = put, .number = number, .bytes = put->part, .len = put->filled};
    if (pthread_create(&flight->thread, NULL, fly, flight) != 0) {
        mem_free(flight);
        return false;
    }
    put->flights[put->flying++] = flight;
    return true;
}

/* Room for one more ETag. Threads write into the array: it moves only while none flies. */
static bool number_part(S3Put *put, Err *err)
{
    uint8_t *buffer;
    if (put->parts == PARTS_MOST)
        return err_set(err, ERR_FULL, "store.parts",
                       "%s is longer than %d parts of %zu bytes, the most of an object in S3",
                       put->name, PARTS_MOST, s3_of(put)->part_bytes);
    if (put->parts == put->etag_room) {
        while (put->flying > 0) {
            if (!land(put, &buffer, err)) {
                buffer_give(s3_of(put), buffer, true);
                return false;
            }
            buffer_give(s3_of(put), buffer, true);
        }
        put->etag_room = put->etag_room == 0 ? 64 : 4 * put->etag_room;
        put->etags = mem_resize(put->etags, put->etag_room * sizeof *put->etags);
    }
    put->parts++;
    return true;
}

/* The filled buffer goes on its way, and another takes its place. */
static bool launch(S3Put *put, Err *err)
{
    S3Store *s3 = s3_of(put);
    if ((put->upload.len == 0 &&
         !store_s3_upload_begin(s3, put->name, put->mark, true, &put->upload, err)) ||
        !number_part(put, err))
        return false;
    uint8_t *next = put->flying < s3->lanes ? buffer_take(s3, true) : NULL;
    if (next == NULL && put->flying > 0 && !land(put, &next, err)) {
        buffer_give(s3, next, true);
        return false;
    }
    bool flying = next != NULL && start_flight(put, put->parts);
    if (!flying && next != NULL)
        buffer_give(s3, next, true);
    if (!flying && !send_part(put, put->parts, (Slice){put->part, put->filled}, err))
        return false;
    if (flying)
        put->part = next;
    put->filled = 0;
    return true;
}

/* --- the end of an upload ------------------------------------------------------------------- */

static bool complete(S3Put *put, bool condition, Err *err)
{
    S3UploadEnd end = {.name = put->name,
                       .upload = buf_text(&put->upload),
                       .etags = put->etags,
                       .parts = put->parts,
                       .condition = condition};
    return store_s3_upload_complete(s3_of(put), &end, err);
}

/* Looked at before, since a server may honour the condition of a PUT and not this one; and after,
 * because only the object itself proves that it is there with all of its parts. */
static bool put_parts(S3Put *put, Err *err)
{
    StoreS3Condition condition = atomic_load(&s3_of(put)->condition);
    Err met = {0};
    if (!refuse_taken(put, err))
        return false;
    bool done = complete(put, condition != STORE_S3_LACKING, &met);
    if (!done && lacks(&met) && condition != STORE_S3_LACKING) {
        met = (Err){0};
        done = complete(put, false, &met);
    }
    if (!done)
        return settle(put, &met, err);
    Found found;
    return look_up(put, &found, err) &&
           (found == FOUND_OURS ||
            err_set(err, ERR_IO, "store.lost",
                    "%s: its upload was completed, and the store does not have it as it was sent",
                    put->name));
}

static bool finish_parts(S3Put *put, Err *err)
{
    uint8_t *buffer;
    bool fine = put->filled == 0 || number_part(put, err);
    if (fine && put->filled > 0 && put->flying >= s3_of(put)->lanes) {
        fine = land(put, &buffer, err);
        buffer_give(s3_of(put), buffer, true);
    }
    fine = fine &&
           (put->filled == 0 || send_part(put, put->parts, (Slice){put->part, put->filled}, err));
    put->broken |= !fine;
    while (put->flying > 0) {
        fine = land(put, &buffer, err) && fine;
        buffer_give(s3_of(put), buffer, true);
    }
    return fine && put_parts(put, err);
}

/* Leaves no parts behind. It may lack the right to: the prune role sweeps what is left. */
static void drop_upload(S3Put *put)
{
    S3Store *s3 = s3_of(put);
    Err unheard = {0};
    char key[STORE_S3_KEY_MOST];
    if (!store_s3_abort(s3, store_s3_key(s3, put->name, key), buf_text(&put->upload), 2, &unheard))
        return;
}

/* --- StoreOps ------------------------------------------------------------------------------- */

static S3Put *begin(S3Store *s3, const char *name)
{
    S3Put *put = mem_new(S3Put);
    Uuid mark = rand_uuid();
    put->put.store = &s3->store;
    uuid_text(&mark, put->mark);
    snprintf(put->name, sizeof put->name, "%s", name);
    return put;
}

static void free_put(S3Put *put)
{
    if (put->part != NULL)
        buffer_give(s3_of(put), put->part, false);
    buf_free(&put->upload);
    mem_free(put->etags);
    mem_free(put);
}

bool store_s3_put_begin(Store *s, const char *name, StorePut **out, Err *err)
{
    S3Store *s3 = (S3Store *)s;
    S3Put *put = begin(s3, name);
    (void)err;
    put->part = buffer_take(s3, false);
    *out = &put->put;
    return true;
}

bool store_s3_put_write(Store *s, StorePut *base, Slice bytes, Err *err)
{
    S3Put *put = (S3Put *)base;
    size_t room = ((S3Store *)s)->part_bytes;
    while (bytes.len != 0) {
        /* A full buffer waits for the next byte: what ends with it may be one PUT. */
        if (put->filled == room && !launch(put, err)) {
            put->broken = true;
            return false;
        }
        size_t part = room - put->filled < bytes.len ? room - put->filled : bytes.len;
        memcpy(put->part + put->filled, bytes.at, part);
        put->filled += part;
        put->total += part;
        bytes = (Slice){bytes.at + part, bytes.len - part};
    }
    return true;
}

void store_s3_put_abort(Store *s, StorePut *base)
{
    S3Put *put = (S3Put *)base;
    uint8_t *buffer;
    Err unheard = {0};
    atomic_store(&put->stop, true);
    put->broken = true;
    while (put->flying > 0) {
        if (!land(put, &buffer, &unheard))
            unheard = (Err){0};
        buffer_give((S3Store *)s, buffer, true);
    }
    if (put->upload.len != 0)
        drop_upload(put);
    free_put(put);
}

bool store_s3_put_finish(Store *s, StorePut *base, Err *err)
{
    S3Put *put = (S3Put *)base;
    bool done = put->broken ? err_set(err, ERR_IO, "store.write", "%s was not written", put->name)
                : put->upload.len == 0 ? put_whole(put, err)
                                       : finish_parts(put, err);
    if (done)
        free_put(put);
    else
        store_s3_put_abort(s, base);
    return done;
}

/* config, epoch and holds: the same bytes again do no harm, so a lost answer is asked for anew. */
bool store_s3_replace(Store *s, const char *name, Slice bytes, Err *err)
{
    S3Store *s3 = (S3Store *)s;
    S3Answer answer;
    S3Headers headers = {.count = 0};
    char key[STORE_S3_KEY_MOST];
    store_s3_headers(s3, NULL, false, &headers);
    store_s3_add_md5(s3, bytes, &headers);
    S3Request request = {.method = "PUT",
                         .key = store_s3_key(s3, name, key),
                         .headers = headers.list,
                         .header_count = headers.count,
                         .body = bytes};
    return s3_client_send(s3->client, &request, &answer, err) &&
           (answer.status / 100 == 2 || store_s3_refused(&answer, name, err));
}
