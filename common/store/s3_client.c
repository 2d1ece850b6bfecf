/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/s3_client.h"

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/store/s3_answer.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

enum {
    SPARE_HANDLES = 16,
    REFUSAL_MOST = 64 * 1024,
    HEADERS_OWN = 6,          /* host, date, hash, type, token, and one to spare */
    SLOWEST_PER_MS = 16,      /* 16 KiB a second: a part that moves more slowly is tried anew */
    PAUSE_MOST_MS = 20 * 1000 /* of ours and of a server's Retry-After */
};

struct S3Client {
    char *scheme, *host, *bucket, *region, *ca_file, *place;
    bool host_style;
    S3KeySource *keys;
    int64_t connect_ms, idle_ms, pause_ms;
    unsigned tries;
    pthread_mutex_t lock; /* guards spare */
    CURL *spare[SPARE_HANDLES];
    size_t spare_count;
};

/* One try of one request, as curl's callbacks see it. */
typedef struct Try {
    const S3Client *client;
    const S3Request *request;
    S3Answer *answer;
    CURL *curl;
    size_t out_before; /* length of request->out */
    Buf refusal;       /* the body where status is no 2xx */
    char location[120], region[40], date[40];
    int64_t retry_after_ms;
    struct curl_slist *headers;
    curl_off_t moved; /* bytes, both ways, */
    int64_t moved_at; /* and when the last of them did, by the monotonic clock */
    bool stalled;
    char reason[CURL_ERROR_SIZE];
} Try;

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void start_curl(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        abort();
}

/* --- where ---------------------------------------------------------------------------------- */

static bool proper(const char *text, const char *more)
{
    for (const char *at = text; *at != 0; at++) {
        bool word = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                    (*at >= '0' && *at <= '9') || strchr(more, *at) != NULL;
        if (!word)
            return false;
    }
    return text[0] != 0 && strlen(text) <= 255;
}

/* "https://host[:port]" into its two parts. */
static bool take_endpoint(S3Client *client, const char *endpoint, Err *err)
{
    char amazon[128];
    if (endpoint == NULL) {
        snprintf(amazon, sizeof amazon, "https://s3.%s.amazonaws.com", client->region);
        endpoint = amazon;
    }
    const char *host = strstr(endpoint, "://");
    Text scheme = {endpoint, host == NULL ? 0 : (size_t)(host - endpoint)};
    if (!text_equal(scheme, TEXT("https")) && !text_equal(scheme, TEXT("http")))
        return err_set(err, ERR_INVALID, "store.endpoint",
                       "the store's endpoint begins with https:// or http://");
    client->scheme = mem_text(scheme);
    Text name = text_of(host + 3);
    name.len -= name.len != 0 && name.at[name.len - 1] == '/';
    scoped(mem_release) char *bare = mem_text(name);
    if (!proper(bare, "-._:[]"))
        return err_set(err, ERR_INVALID, "store.endpoint",
                       "the store's endpoint is a host and perhaps a port, with nothing behind");
    scoped(buf_free) Buf whole = {0};
    if (client->host_style)
        buf_printf(&whole, "%s.", client->bucket);
    buf_printf(&whole, "%s", bare);
    client->host = mem_string(buf_cstr(&whole));
    return true;
}

bool s3_client_open(S3Client **out, const S3ClientParams *params, Err *err)
{
    char place[600];
    pthread_once(&curl_once, start_curl);
    const char *region = params->region == NULL ? "us-east-1" : params->region;
    if (!proper(params->bucket, "-._") || !proper(region, "-_"))
        return err_set(err, ERR_INVALID, "store.bucket",
                       "the store's bucket or region is no such name");
    S3Client *client = mem_new(S3Client);
    *client = (S3Client){.bucket = mem_string(params->bucket),
                         .region = mem_string(region),
                         .ca_file = mem_string(params->ca_file),
                         .host_style = params->host_style,
                         .connect_ms = params->connect_ms == 0 ? 10000 : params->connect_ms,
                         .idle_ms = params->idle_ms == 0 ? 60000 : params->idle_ms,
                         .pause_ms = params->pause_ms == 0 ? 200 : params->pause_ms,
                         .tries = params->tries == 0 ? 9 : params->tries};
    pthread_mutex_init(&client->lock, NULL);
    if (!take_endpoint(client, params->endpoint, err)) {
        s3_client_close(client);
        return false;
    }
    snprintf(place, sizeof place, "the bucket %s at %s://%s", client->bucket, client->scheme,
             client->host);
    client->place = mem_string(place);
    client->keys = params->keys;
    *out = client;
    return true;
}

void s3_client_close(S3Client *client)
{
    if (client == NULL)
        return;
    for (size_t i = 0; i < client->spare_count; i++)
        curl_easy_cleanup(client->spare[i]);
    s3_keys_close(client->keys);
    pthread_mutex_destroy(&client->lock);
    mem_free(client->scheme);
    mem_free(client->host);
    mem_free(client->bucket);
    mem_free(client->region);
    mem_free(client->ca_file);
    mem_free(client->place);
    mem_free(client);
}

const char *s3_client_place(const S3Client *client)
{
    return client->place;
}

static CURL *handle_take(S3Client *client)
{
    CURL *curl = NULL;
    pthread_mutex_lock(&client->lock);
    if (client->spare_count != 0)
        curl = client->spare[--client->spare_count];
    pthread_mutex_unlock(&client->lock);
    if (curl == NULL)
        curl = curl_easy_init();
    if (curl == NULL)
        abort();
    return curl;
}

static void handle_give(S3Client *client, CURL *curl)
{
    curl_easy_reset(curl); /* its connections stay */
    pthread_mutex_lock(&client->lock);
    bool kept = client->spare_count < SPARE_HANDLES;
    if (kept)
        client->spare[client->spare_count++] = curl;
    pthread_mutex_unlock(&client->lock);
    if (!kept)
        curl_easy_cleanup(curl);
}

/* --- what comes back ------------------------------------------------------------------------ */

static long status_of(const Try *try)
{
    long status = 0;
    curl_easy_getinfo(try->curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static bool good(long status)
{
    return status >= 200 && status < 300;
}

static size_t take_body(char *at, size_t size, size_t count, void *ctx)
{
    Try *try = ctx;
    S3Answer *answer = try->answer;
    const S3Request *request = try->request;
    size_t len = size * count;
    if (!good(status_of(try))) {
        size_t room = REFUSAL_MOST - try->refusal.len;
        buf_add(&try->refusal, at, len < room ? len : room);
        return len;
    }
    size_t most = request->into != NULL ? request->into_len : request->most;
    if (len > most - answer->received || answer->length > most) {
        answer->too_large = true;
        return 0;
    }
    if (request->into != NULL)
        memcpy(request->into + answer->received, at, len);
    else if (request->out != NULL)
        buf_add(request->out, at, len);
    answer->received += len;
    return len;
}

static bool header(Text line, const char *name, Text *value)
{
    size_t len = strlen(name);
    if (line.len <= len || line.at[len] != ':' || strncasecmp(line.at, name, len) != 0)
        return false;
    *value = (Text){line.at + len + 1, line.len - len - 1};
    while (value->len > 0 && (value->at[0] == ' ' || value->at[0] == '\t'))
        *value = (Text){value->at + 1, value->len - 1};
    while (value->len > 0 && strchr("\r\n \t", value->at[value->len - 1]) != NULL)
        value->len--;
    return true;
}

/* "bytes 5-9/100": where it begins. */
static void take_range(Text value, S3Answer *answer)
{
    char text[80];
    s3_problem_words(value, text, sizeof text);
    if (strncmp(text, "bytes ", 6) == 0)
        answer->first = strtoull(text + 6, NULL, 10);
}

static size_t take_header(char *at, size_t size, size_t count, void *ctx)
{
    Try *try = ctx;
    Text value, line = {at, size * count};
    char number[24];
    if (header(line, "etag", &value)) {
        s3_problem_words(value, try->answer->etag, sizeof try->answer->etag);
    } else if (header(line, "x-amz-meta-holdfast-put", &value)) {
        s3_problem_words(value, try->answer->mark, sizeof try->answer->mark);
    } else if (header(line, "content-length", &value)) {
        s3_problem_words(value, number, sizeof number);
        try->answer->length = strtoull(number, NULL, 10);
    } else if (header(line, "content-range", &value)) {
        take_range(value, try->answer);
    } else if (header(line, "location", &value)) {
        s3_problem_words(value, try->location, sizeof try->location);
    } else if (header(line, "x-amz-bucket-region", &value)) {
        s3_problem_words(value, try->region, sizeof try->region);
    } else if (header(line, "date", &value)) {
        s3_problem_words(value, try->date, sizeof try->date);
        try->answer->date_s = curl_getdate(try->date, NULL);
        if (try->answer->date_s < 0)
            try->answer->date_s = 0;
    } else if (header(line, "retry-after", &value)) {
        s3_problem_words(value, number, sizeof number);
        try->retry_after_ms = strtol(number, NULL, 10) * 1000;
    }
    return line.len;
}

static bool stopped(const S3Request *request)
{
    return request->stop != NULL && atomic_load(request->stop);
}

/* curl's own measure of a stall is an average and comes late; this one sees that nothing moves. */
static int watch(void *ctx, curl_off_t down_all, curl_off_t down, curl_off_t up_all, curl_off_t up)
{
    Try *try = ctx;
    int64_t now = clock_mono_ns();
    (void)down_all;
    (void)up_all;
    if (down + up != try->moved) {
        try->moved = down + up;
        try->moved_at = now;
    }
    try->stalled = now - try->moved_at > try->client->idle_ms * 1000000;
    return try->stalled || stopped(try->request);
}

/* --- one try -------------------------------------------------------------------------------- */

static void add_header(struct curl_slist **list, const S3Field *field, Buf *line)
{
    buf_clear(line);
    buf_printf(line, "%.*s: %.*s", TEXT_ARG(field->name), TEXT_ARG(field->value));
    *list = curl_slist_append(*list, buf_cstr(line));
}

/* Signs the request with these keys, and gives curl its headers and its URL. */
static void sign(Try *try, const S3Keys *keys, const char *payload)
{
    const S3Client *client = try->client;
    const S3Request *request = try->request;
    S3Field headers[S3_FIELDS_MOST];
    char date[S3_DATE_TEXT];
    scoped(buf_free) Buf key = {0}, path = {0}, query = {0}, line = {0}, url = {0};
    buf_add_byte(&key, '/');
    if (!client->host_style)
        buf_printf(&key, "%s%s", client->bucket, request->key.len == 0 ? "" : "/");
    buf_add_text(&key, request->key);
    s3_path(&path, buf_text(&key));
    s3_query(&query, request->query, request->query_count);
    s3_date(clock_wall_ns(), date);

    size_t count = 0;
    headers[count++] = (S3Field){TEXT("host"), text_of(client->host)};
    headers[count++] = (S3Field){TEXT("x-amz-content-sha256"), text_of(payload)};
    headers[count++] = (S3Field){TEXT("x-amz-date"), text_of(date)};
    if (request->body.len != 0)
        headers[count++] = (S3Field){TEXT("content-type"), TEXT("application/octet-stream")};
    if (keys->token[0] != 0)
        headers[count++] = (S3Field){TEXT("x-amz-security-token"), text_of(keys->token)};
    for (size_t i = 0; i < request->header_count && count < S3_FIELDS_MOST; i++)
        headers[count++] = request->headers[i];
    S3Signed to_sign = {.method = request->method,
                        .path = buf_text(&path),
                        .query = buf_text(&query),
                        .headers = headers,
                        .header_count = count,
                        .payload = payload,
                        .date = date,
                        .region = client->region,
                        .service = "s3",
                        .access_key = text_of(keys->id),
                        .secret_key = slice_of_text(text_of(keys->secret))};
    buf_printf(&line, "Authorization: ");
    s3_sign(&to_sign, &line);
    try->headers = curl_slist_append(curl_slist_append(NULL, "Expect:"), buf_cstr(&line));
    if (request->body.len == 0)
        try->headers = curl_slist_append(try->headers, "Content-Type:");
    for (size_t i = 0; i < count; i++)
        add_header(&try->headers, &headers[i], &line);
    explicit_bzero(line.at, line.room);
    buf_printf(&url, "%s://%s%.*s%s%.*s", client->scheme, client->host, TEXT_ARG(buf_text(&path)),
               query.len == 0 ? "" : "?", TEXT_ARG(buf_text(&query)));
    curl_easy_setopt(try->curl, CURLOPT_URL, buf_cstr(&url));
    curl_easy_setopt(try->curl, CURLOPT_HTTPHEADER, try->headers);
}

static void describe(Try *try)
{
    CURL *curl = try->curl;
    const S3Client *client = try->client;
    const S3Request *request = try->request;
    size_t bytes =
        request->body.len + request->into_len + (request->out != NULL ? request->most : 0);
    int64_t slowest_ms = client->connect_ms + client->idle_ms + (int64_t)(bytes / SLOWEST_PER_MS);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)client->connect_ms);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)slowest_ms);
    if (client->ca_file != NULL)
        curl_easy_setopt(curl, CURLOPT_CAINFO, client->ca_file);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, try->reason);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, try);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, try);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, watch);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, try);
    if (strcmp(request->method, "HEAD") == 0) {
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    } else if (request->body.len != 0 || request->method[0] == 'P') {
        /* Sent from where it is: curl copies nothing. */
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS,
                         request->body.len == 0 ? "" : (const char *)request->body.at);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
    }
}

/* No whole answer came. *again: the way may be better next time. */
static bool no_answer(const Try *try, CURLcode code, const char *what, bool *again, Err *err)
{
    const char *words = try->reason[0] != 0 ? try->reason : curl_easy_strerror(code);
    *again = true;
    if (try->stalled || code == CURLE_OPERATION_TIMEDOUT)
        return err_set(err, ERR_TIMEOUT, "store.timeout", "%s: %s; look at the way to the server",
                       what, try->stalled ? "nothing moves any more" : words);
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE) {
        *again = false;
        return err_set(err, ERR_DENIED, "store.certificate",
                       "%s: the server's certificate is not trusted (%s); name its CA in the "
                       "store's ca_file",
                       what, words);
    }
    *again = code != CURLE_URL_MALFORMAT && code != CURLE_UNSUPPORTED_PROTOCOL;
    return err_set(err, ERR_UNREACHABLE, "store.unreachable",
                   "%s: %s; correct the store's endpoint, or look at the way to it", what, words);
}

/* What a server said that sent no document, or none that we read. */
static void complete_problem(const Try *try, S3Problem *problem)
{
    memcpy(problem->region, try->region, sizeof problem->region);
    s3_answer_problem(buf_slice(&try->refusal), problem);
    if (problem->status / 100 == 3 && try->location[0] != 0)
        snprintf(problem->message, sizeof problem->message, "to %.100s", try->location);
    if (strcmp(problem->code, "RequestTimeTooSkewed") == 0)
        snprintf(problem->message, sizeof problem->message, "its clock shows %s", try->date);
}

/* The verdict over an answer that came whole. True: it is final and good, or a result. */
static bool judge(const Try *try, const char *what, S3Verdict *verdict, Err *err)
{
    S3Answer *answer = try->answer;
    S3Problem *problem = &answer->problem;
    const S3Request *request = try->request;
    *problem = (S3Problem){.status = answer->status};
    *verdict = S3_GIVE_UP;
    if (good(answer->status)) {
        Slice body = {0};
        if (request->document && request->out != NULL)
            body = (Slice){request->out->at + try->out_before, request->out->len - try->out_before};
        if (!request->document || !s3_answer_problem(body, problem))
            return true;
    } else {
        complete_problem(try, problem);
    }
    bool result = answer->status == 404 || answer->status == 412 || answer->status == 416;
    if (result && !s3_problem_no_bucket(problem))
        return true;
    *verdict = s3_problem_verdict(problem);
    return s3_problem_raise(problem, what, err);
}

static bool try_once(Try *try, const S3Keys *keys, const char *payload, const char *what,
                     S3Verdict *verdict, Err *err)
{
    bool again;
    *try->answer = (S3Answer){0};
    if (try->request->out != NULL)
        try->request->out->len = try->out_before;
    buf_clear(&try->refusal);
    try->moved = 0;
    try->moved_at = clock_mono_ns();
    try->stalled = false;
    try->retry_after_ms = 0;
    try->location[0] = try->region[0] = try->date[0] = try->reason[0] = 0;
    curl_easy_reset(try->curl);
    describe(try);
    sign(try, keys, payload);
    CURLcode code = curl_easy_perform(try->curl);
    curl_slist_free_all(try->headers);
    try->answer->status = (int)status_of(try);
    if (try->answer->too_large)
        return true;
    if (code == CURLE_OK)
        return judge(try, what, verdict, err);
    no_answer(try, code, what, &again, err);
    *verdict = again ? S3_TRY_AGAIN : S3_GIVE_UP;
    return false;
}

/* --- until it is final ---------------------------------------------------------------------- */

/* Longer each time, and never the same for two who met the same bad moment. */
static void pause_before(const S3Client *client, unsigned tried, int64_t server_ms)
{
    int64_t most = client->pause_ms;
    for (unsigned i = 1; i < tried && most < PAUSE_MOST_MS; i++)
        most *= 2;
    most = most < PAUSE_MOST_MS ? most : PAUSE_MOST_MS;
    int64_t ms = most / 2 + (int64_t)((double)most / 2 * rand_unit());
    server_ms = server_ms < PAUSE_MOST_MS ? server_ms : PAUSE_MOST_MS;
    ms = ms < server_ms ? server_ms : ms;
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0)
        continue;
}

static bool keep_trying(Try *try, S3Keys *keys, const char *payload, const char *what, Err *err)
{
    const S3Client *client = try->client;
    unsigned most = try->request->tries == 0 ? client->tries : try->request->tries;
    for (unsigned tried = 1;; tried++) {
        S3Verdict verdict;
        bool others = false;
        Err unread = {0};
        *err = (Err){0};
        if (try_once(try, keys, payload, what, &verdict, err))
            return true;
        if (verdict == S3_GIVE_UP || tried >= most || stopped(try->request))
            return tried == 1 ? false : err_note(err, "after %u tries", tried);
        if (verdict == S3_TRY_AGAIN)
            pause_before(client, tried, try->retry_after_ms);
        else if (!s3_keys_renew(client->keys, keys, &others, &unread) || !others)
            return false;
    }
}

bool s3_client_send(S3Client *client, const S3Request *request, S3Answer *answer, Err *err)
{
    Sha256 hash;
    S3Keys keys;
    char payload[SHA256_TEXT];
    scoped(buf_free) Buf what = {0};
    buf_printf(&what, "%s %.*s%s%s", request->method, TEXT_ARG(request->key),
               request->key.len == 0 ? "" : " in ", client->place);
    if (!s3_keys_get(client->keys, &keys, err))
        return err_note(err, "%s", buf_cstr(&what));
    hash_sha256(request->body, &hash);
    ids_hex(hash.bytes, sizeof hash.bytes, payload);
    Try try = {.client = client,
               .request = request,
               .answer = answer,
               .curl = handle_take(client),
               .out_before = request->out == NULL ? 0 : request->out->len};
    bool fine = keep_trying(&try, &keys, payload, buf_cstr(&what), err);
    handle_give(client, try.curl);
    buf_free(&try.refusal);
    s3_keys_wipe(&keys);
    return fine;
}
