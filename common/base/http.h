/* SPDX-License-Identifier: Apache-2.0
 * http.h — an HTTP client over libcurl: one handle, one thread, connections kept between requests.
 * TLS certificates and host names are always verified. No redirect is followed: an API that moved
 * is an error to be seen, and a token is never sent to a second host. An answer of 400 and above is
 * a result (status says so), not an error; an error means that no whole answer arrived. */
#ifndef COMMON_BASE_HTTP_H
#define COMMON_BASE_HTTP_H

#include "common/base/buf.h"

typedef struct Http Http;

/* Receives a body as it arrives. False ends the transfer; http_send then fails with *err as set. */
typedef bool HttpSink(void *ctx, Slice bytes, Err *err);

typedef struct HttpHeader {
    const char *name;
    const char *value;
} HttpHeader;

typedef struct HttpRequest {
    const char *method; /* "GET", "POST", "PUT", "DELETE" */
    const char *url;
    Slice bearer;     /* token without "Bearer "; empty: none is sent */
    const char *type; /* Content-Type of the body; NULL where there is none */
    Slice body;       /* sent whole */
    const HttpHeader *headers;
    size_t header_count;
    const char *ca_file;   /* NULL: the system's */
    const char *cert_file; /* PEM; the caller's own certificate, NULL: none is shown */
    const char *key_file;  /* its private key; NULL: it stands in cert_file */
    int64_t timeout_ms;    /* of the whole exchange; 0: none (for streams) */
    int64_t connect_ms;    /* 0: 5 000 */
    int64_t idle_ms;       /* no byte for this long ends it; 0: 60 000 */
    HttpSink *sink;        /* NULL: the body is gathered in HttpResponse.body, 64 MiB at most */
    void *sink_ctx;        /* a body with status 400 and above is always gathered instead */
} HttpRequest;

typedef struct HttpResponse {
    int status;
    Buf body;
    Buf type;       /* Content-Type */
    Buf location;   /* Location */
    Buf request_id; /* X-Request-Id */
} HttpResponse;

MUST_CHECK bool http_open(Http **out, Err *err);
MUST_CHECK bool http_send(Http *http, const HttpRequest *request, HttpResponse *response, Err *err);

/* The same, of a body that comes as long as it likes to `sink`, for one who has other things to do
 * between: http_begin starts it, http_wait waits timeout_ms at most for some of it and passes it
 * on. *ended: it is over; *err, where it returns false, says how it went wrong. A status of 400 and
 * above ends it, as http.refused. What the request points to lives until then. */
MUST_CHECK bool http_begin(Http *http, const HttpRequest *request, Err *err);
MUST_CHECK bool http_wait(Http *http, int64_t timeout_ms, bool *ended, Err *err);

void http_response_free(HttpResponse *response);
void http_close(Http *http); /* NULL is fine */

/* Appends text percent-encoded as one path part or query value (RFC 3986 unreserved are kept). */
void http_escape(Buf *out, Text text);

#endif
