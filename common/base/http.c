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
};

/* One exchange, as curl's callbacks see it. */
typedef struct Exchange {
    Http *http;
    const HttpRequest *request;
    HttpResponse *response;
    Err *err;
    bool refused; /* a callback failed: *err says why */
} Exchange;

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

void http_close(Http *http)
{
    if (http == NULL)
        return;
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
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE)
        return err_set(err, ERR_DENIED, "http.certificate",
                       "%s shows a certificate that is not trusted: %s; name its CA", request->url,
                       words);
    return err_set(err, ERR_UNREACHABLE, "http.unreachable", "%s cannot be reached: %s",
                   request->url, words);
}

bool http_send(Http *http, const HttpRequest *request, HttpResponse *response, Err *err)
{
    char reason[CURL_ERROR_SIZE] = "";
    Exchange exchange = {.http = http, .request = request, .response = response, .err = err};
    struct curl_slist *headers = headers_of(request);
    curl_easy_reset(http->curl);
    describe(http->curl, request, headers);
    curl_easy_setopt(http->curl, CURLOPT_ERRORBUFFER, reason);
    curl_easy_setopt(http->curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(http->curl, CURLOPT_WRITEDATA, &exchange);
    curl_easy_setopt(http->curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(http->curl, CURLOPT_HEADERDATA, &exchange);
    CURLcode code = curl_easy_perform(http->curl);
    curl_slist_free_all(headers);
    response->status = (int)status_of(http);
    if (exchange.refused)
        return false;
    if (code != CURLE_OK)
        return failure(code, request, reason, err);
    return true;
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
