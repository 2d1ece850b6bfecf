/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/http.h"

#include "common/base/mem.h"

#include <curl/curl.h>
#include <pthread.h>
#include <strings.h>

/* A gathered body past this is a server gone wrong: lists come in pages. */
static const size_t BODY_LIMIT = 64u << 20;

struct Http {
    CURL *curl;
    CURLM *multi; /* what http_begin began; NULL: nothing */
    struct Begun *begun;
};

/* One exchange, as curl's callbacks see it. */
typedef struct Exchange {
    Http *http;
    const HttpRequest *request;
    HttpResponse *response;
    Err *err;
    bool refused; /* a callback failed: *err says why */
    struct curl_slist *headers;
    char reason[CURL_ERROR_SIZE];
} Exchange;

/* An exchange that lives between two calls. */
typedef struct Begun {
    Exchange exchange;
    HttpRequest request;
    HttpResponse response;
} Begun;

/* curl_global_init is not safe between threads in every build of curl. */
static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static bool curl_ready;

static void start_curl(void)
{
    curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

bool http_open(Http **out, Err *err)
{
    pthread_once(&curl_once, start_curl);
    if (!curl_ready)
        return err_set(err, ERR_BUG, "http.init", "libcurl does not start");
    CURL *curl = curl_easy_init();
    if (curl == NULL)
        return err_set(err, ERR_BUG, "http.init", "libcurl gives no handle");
    *out = mem_new(Http);
    (*out)->curl = curl;
    return true;
}

static void end_begun(Http *http)
{
    if (http->begun == NULL)
        return;
    curl_multi_remove_handle(http->multi, http->curl);
    curl_multi_cleanup(http->multi);
    curl_slist_free_all(http->begun->exchange.headers);
    http_response_free(&http->begun->response);
    mem_free(http->begun);
    http->multi = NULL;
    http->begun = NULL;
}

void http_close(Http *http)
{
    if (http == NULL)
        return;
    end_begun(http);
    curl_easy_cleanup(http->curl);
    mem_free(http);
}

void http_response_free(HttpResponse *response)
{
    buf_free(&response->body);
    buf_free(&response->type);
    buf_free(&response->location);
    buf_free(&response->request_id);
}

static long status_of(Http *http)
{
    long status = 0;
    curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static size_t take_body(char *at, size_t size, size_t count, void *ctx)
{
    Exchange *exchange = ctx;
    size_t len = size * count;
    if (exchange->request->sink != NULL && status_of(exchange->http) < 400) {
        Slice bytes = {(const uint8_t *)at, len};
        exchange->refused =
            !exchange->request->sink(exchange->request->sink_ctx, bytes, exchange->err);
        return exchange->refused ? 0 : len;
    }
    if (exchange->response->body.len + len > BODY_LIMIT) {
        exchange->refused = true;
        err_set(exchange->err, ERR_CORRUPT, "http.too_large", "the answer is larger than %zu bytes",
                BODY_LIMIT);
        return 0;
    }
    buf_add(&exchange->response->body, at, len);
    return len;
}

static void keep_header(Buf *out, const char *line, size_t len, const char *name)
{
    size_t skip = strlen(name);
    if (len <= skip || strncasecmp(line, name, skip) != 0)
        return;
    while (skip < len && line[skip] == ' ')
        skip++;
    while (len > skip && (line[len - 1] == '\r' || line[len - 1] == '\n'))
        len--;
    buf_clear(out);
    buf_add(out, line + skip, len - skip);
}

static size_t take_header(char *at, size_t size, size_t count, void *ctx)
{
    Exchange *exchange = ctx;
    size_t len = size * count;
    keep_header(&exchange->response->type, at, len, "content-type:");
    keep_header(&exchange->response->location, at, len, "location:");
    keep_header(&exchange->response->request_id, at, len, "x-request-id:");
    return len;
}

static struct curl_slist *headers_of(const HttpRequest *request)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    scoped(buf_free) Buf line = {0};
    if (request->type != NULL) {
        buf_printf(&line, "Content-Type: %s", request->type);
        list = curl_slist_append(list, buf_cstr(&line));
    }
    for (size_t i = 0; i < request->header_count; i++) {
        buf_clear(&line);
        buf_printf(&line, "%s: %s", request->headers[i].name, request->headers[i].value);
        list = curl_slist_append(list, buf_cstr(&line));
    }
    if (request->bearer.len != 0) {
        buf_clear(&line);
        buf_printf(&line, "Authorization: Bearer %.*s", (int)request->bearer.len,
                   (const char *)request->bearer.at);
        list = curl_slist_append(list, buf_cstr(&line));
        explicit_bzero(line.at, line.room);
    }
    return list;
}

static void describe(CURL *curl, const HttpRequest *request, struct curl_slist *headers)
{
    curl_easy_setopt(curl, CURLOPT_URL, request->url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)(request->connect_ms == 0 ? 5000 : request->connect_ms));
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME,
                     (long)(request->idle_ms == 0 ? 60 : (request->idle_ms + 999) / 1000));
    if (request->ca_file != NULL)
        curl_easy_setopt(curl, CURLOPT_CAINFO, request->ca_file);
    if (request->cert_file != NULL)
        curl_easy_setopt(curl, CURLOPT_SSLCERT, request->cert_file);
    if (request->key_file != NULL)
        curl_easy_setopt(curl, CURLOPT_SSLKEY, request->key_file);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    bool has_body = request->body.len != 0 || strcmp(request->method, "GET") != 0;
    if (has_body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS,
                         request->body.len == 0 ? "" : (const char *)request->body.at);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
    }
}

static bool failure(CURLcode code, const HttpRequest *request, const char *reason, Err *err)
{
    const char *words = reason[0] != 0 ? reason : curl_easy_strerror(code);
    if (code == CURLE_OPERATION_TIMEDOUT)
        return err_set(err, ERR_TIMEOUT, "http.timeout", "%s does not answer in time: %s",
                       request->url, words);
    if (code == CURLE_SSL_CERTPROBLEM)
        return err_set(err, ERR_USAGE, "http.own_certificate",
                       "the own certificate or key cannot be used: %s", words);
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE)
        return err_set(err, ERR_DENIED, "http.certificate",
                       "%s shows a certificate that is not trusted: %s; name its CA", request->url,
                       words);
    return err_set(err, ERR_UNREACHABLE, "http.unreachable", "%s cannot be reached: %s",
                   request->url, words);
}

/* Everything that curl must know of an exchange, which stays where it is. */
static void prepare(Exchange *exchange)
{
    CURL *curl = exchange->http->curl;
    exchange->headers = headers_of(exchange->request);
    curl_easy_reset(curl);
    describe(curl, exchange->request, exchange->headers);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, exchange->reason);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, exchange);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, exchange);
}

bool http_send(Http *http, const HttpRequest *request, HttpResponse *response, Err *err)
{
    Exchange exchange = {.http = http, .request = request, .response = response, .err = err};
    prepare(&exchange);
    CURLcode code = curl_easy_perform(http->curl);
    curl_slist_free_all(exchange.headers);
    response->status = (int)status_of(http);
    if (exchange.refused)
        return false;
    if (code != CURLE_OK)
        return failure(code, request, exchange.reason, err);
    return true;
}

bool http_begin(Http *http, const HttpRequest *request, Err *err)
{
    Begun *begun = mem_new(Begun);
    end_begun(http);
    http->begun = begun;
    http->multi = curl_multi_init();
    begun->request = *request;
    begun->exchange = (Exchange){
        .http = http, .request = &begun->request, .response = &begun->response, .err = err};
    prepare(&begun->exchange);
    return curl_multi_add_handle(http->multi, http->curl) == CURLM_OK ||
           err_set(err, ERR_BUG, "http.init", "libcurl begins nothing");
}

/* How a begun exchange went, now that curl is done with it. */
static bool outcome(Http *http, CURLcode code, Err *err)
{
    const Exchange *exchange = &http->begun->exchange;
    long status = status_of(http);
    if (exchange->refused)
        return false;
    if (code != CURLE_OK)
        return failure(code, exchange->request, exchange->reason, err);
    return status < 400 || err_set(err, ERR_DENIED, "http.refused", "%s answered %ld",
                                   exchange->request->url, status);
}

bool http_wait(Http *http, int64_t timeout_ms, bool *ended, Err *err)
{
    int running = 0;
    int left;
    *ended = true;
    if (http->begun == NULL)
        return true;
    http->begun->exchange.err = err;
    if (curl_multi_perform(http->multi, &running) != CURLM_OK ||
        (running != 0 &&
         (curl_multi_poll(http->multi, NULL, 0, (int)timeout_ms, NULL) != CURLM_OK ||
          curl_multi_perform(http->multi, &running) != CURLM_OK)))
        return err_set(err, ERR_BUG, "http.wait", "libcurl does not wait");
    if (running != 0) {
        *ended = false;
        return true;
    }
    const CURLMsg *message = curl_multi_info_read(http->multi, &left);
    bool good = message != NULL && outcome(http, message->data.result, err);
    end_begun(http);
    return good;
}

void http_escape(Buf *out, Text text)
{
    static const char kept[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] != 0 && strchr(kept, text.at[i]) != NULL)
            buf_add_byte(out, (uint8_t)text.at[i]);
        else
            buf_printf(out, "%%%02X", (unsigned)(unsigned char)text.at[i]);
    }
}
