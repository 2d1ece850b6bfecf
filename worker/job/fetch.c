/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/fetch.h"

#include "common/base/http.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/job/plain_form.h"

#include <stdio.h>
#include <time.h>

enum {
    PIECE = 1 << 20,
    TRIES = 5, /* of one piece, when the API cannot be reached */
    ZEROS = 64 * 1024,
    IDLE_MS = 600000, /* a piece is answered when its reader took it */
};

typedef struct Fetch {
    Job *job;
    Http *http;
    Buf address; /* up to the offset */
    Buf piece;
    uint64_t offset; /* of the piece */
    bool found;
    EntryType type;
    ReaderContent *content;
} Fetch;

static bool refused(const HttpResponse *response, Err *err)
{
    if (response->status == 404 || response->status == 410)
        return err_set(err, ERR_CANCELLED, "fetch.gone",
                       "whoever asked for the file is gone: ask again");
    return err_set(
        err, response->status >= 500 ? ERR_UNREACHABLE : ERR_DENIED, "fetch.refused",
        "the scheduler answered %d to a piece of the file: is `api` in worker.yaml right?",
        response->status);
}

static bool send_once(Fetch *fetch, const char *more, Err *err)
{
    scoped(buf_free) Buf url = {0};
    buf_add_slice(&url, buf_slice(&fetch->address));
    buf_printf(&url, "?offset=%llu%s", (unsigned long long)fetch->offset, more);
    HttpRequest request = {.method = "PUT",
                           .url = buf_cstr(&url),
                           .type = "application/octet-stream",
                           .body = buf_slice(&fetch->piece),
                           .ca_file = fetch->job->settings->api_ca,
                           .cert_file = fetch->job->settings->api_cert,
                           .key_file = fetch->job->settings->api_key,
                           .idle_ms = IDLE_MS};
    HttpResponse response = {0};
    bool fine = http_send(fetch->http, &request, &response, err);
    if (fine && response.status != 200)
        fine = refused(&response, err);
    http_response_free(&response);
    return fine;
}

/* The API takes a piece only at the offset it waits for, so sending one twice does no harm. */
static bool send_piece(Fetch *fetch, bool end, Err *err)
{
    struct timespec pause = {.tv_nsec = 300000000};
    for (int tries = 1;; tries++) {
        if (!job_go_on(fetch->job, err))
            return false;
        if (send_once(fetch, end ? "&end=1" : "", err))
            break;
        /* The stream is over once its last piece was taken; only the answer was lost. */
        if (end && tries > 1 && err->code == ERR_CANCELLED)
            break;
        if ((err->code != ERR_UNREACHABLE && err->code != ERR_BUSY) || tries == TRIES)
            return false;
        nanosleep(&pause, NULL);
    }
    fetch->offset += fetch->piece.len;
    fetch->job->counters.bytes_done = fetch->offset;
    buf_clear(&fetch->piece);
    return true;
}

/* Whoever waits learns why nothing more comes. */
static void send_failure(Fetch *fetch, const Err *why)
{
    scoped(buf_free) Buf more = {0};
    Err err = {0};
    buf_printf(&more, "&error=%s", why->cause);
    buf_clear(&fetch->piece);
    if (fetch->http != NULL && !send_once(fetch, buf_cstr(&more), &err))
        job_log(fetch->job, LOG_WARN, "fetch.failure", "%s: %s", err.cause, err.text);
}

static bool on_data(void *ctx, Slice bytes, Err *err)
{
    Fetch *fetch = ctx;
    while (bytes.len > 0) {
        size_t room = PIECE - fetch->piece.len;
        size_t some = bytes.len < room ? bytes.len : room;
        buf_add(&fetch->piece, bytes.at, some);
        bytes = (Slice){bytes.at + some, bytes.len - some};
        if (fetch->piece.len == PIECE && !send_piece(fetch, false, err))
            return false;
    }
    return true;
}

static bool on_zeros(void *ctx, uint64_t count, Err *err)
{
    static const uint8_t zeros[ZEROS];
    while (count > 0) {
        size_t some = count < ZEROS ? (size_t)count : ZEROS;
        if (!on_data(ctx, (Slice){zeros, some}, err))
            return false;
        count -= some;
    }
    return true;
}

static bool on_entry(void *ctx, const Entry *entry, const ReaderContent *content, bool *stop,
                     Err *err)
{
    Fetch *fetch = ctx;
    (void)err;
    fetch->found = *stop = true;
    fetch->type = entry->type;
    if (content != NULL)
        fetch->content = reader_content_copy(content);
    return true;
}

static bool find(Fetch *fetch, RepoReader *reader, const json_t *asked, Err *err)
{
    scoped(buf_free) Buf bytes = {0};
    Text given = json_text_or(asked, "path", TEXT(""));
    Err plain = {0};
    if (!json_unbytes(given, &bytes, &plain)) { /* typed by a person: a '%' that escapes nothing */
        buf_clear(&bytes);
        buf_add_text(&bytes, given);
    }
    Text path = buf_text(&bytes);
    while (path.len > 0 && path.at[0] == '/')
        path = (Text){path.at + 1, path.len - 1};
    ReaderSelection selection = {.paths = &path, .path_count = 1, .phase = -1};
    if (path.len > 0 && !reader_walk(reader, &selection, on_entry, fetch, err))
        return false;
    if (!fetch->found)
        return err_set(err, ERR_MISSING, "fetch.missing",
                       "the backup holds no %.*s: `holdfast backup files` lists what it holds",
                       TEXT_ARG(given));
    if (fetch->type == ENTRY_FILE || fetch->type == ENTRY_STREAM)
        return true;
    return err_set(err, ERR_USAGE, "fetch.not_a_file", "%.*s is not a file: restore it instead",
                   TEXT_ARG(given));
}

static bool stream(Fetch *fetch, RepoReader *reader, Err *err)
{
    ReaderSink sink = {fetch, on_data, on_zeros};
    fetch->job->counters.total_basis = "plan";
    if (fetch->content != NULL)
        fetch->job->counters.bytes_total = reader_content_size(fetch->content);
    job_phase(fetch->job, "fetch");
    if (fetch->content != NULL && !reader_content(reader, fetch->content, &sink, err))
        return false;
    return send_piece(fetch, true, err);
}

/* The whole backup in its plain form. */
static bool export(Fetch *fetch, const Opened *opened, Err *err)
{
    uint64_t entries;
    PlainForm form = {.job = fetch->job, .opened = opened, .ctx = fetch, .take = on_data};
    job_phase(fetch->job, "fetch");
    return plain_form_stream(&form, &entries, err) && send_piece(fetch, true, err);
}

bool fetch_run(Job *job, JobResult *result, Err *err)
{
    Opened opened = {0};
    Fetch fetch = {.job = job};
    const json_t *asked = json_object_get(job->params, "fetch");
    if (job->settings->api == NULL || job->settings->api[0] == '\0')
        return err_set(err, ERR_INVALID, "fetch.no_api",
                       "this worker has no `api` in worker.yaml, so it cannot stream files");
    buf_printf(&fetch.address, "%s/api/v1/streams/", job->settings->api);
    http_escape(&fetch.address, json_text_or(asked, "stream", TEXT("")));
    bool fine = http_open(&fetch.http, err) && opened_open(&opened, job, err);
    if (json_is_true(json_object_get(asked, "export")))
        fine = fine && export(&fetch, &opened, err);
    else
        fine =
            fine && find(&fetch, opened.reader, asked, err) && stream(&fetch, opened.reader, err);
    if (!fine)
        send_failure(&fetch, err);
    else
        snprintf(result->text, sizeof result->text, "%llu bytes sent",
                 (unsigned long long)fetch.offset);
    http_close(fetch.http);
    reader_content_free(fetch.content);
    buf_free(&fetch.address);
    buf_free(&fetch.piece);
    opened_close(&opened);
    return fine;
}
