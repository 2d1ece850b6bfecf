/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/http/request.h"

#include <strings.h>

static bool refuse(RequestFault *fault, int status, const char *code, const char *text)
{
    *fault = (RequestFault){status, code, text};
    return false;
}

size_t request_head_end(Slice bytes, RequestFault *fault)
{
    size_t lines = 0;
    size_t start = 0; /* of the line */
    *fault = (RequestFault){0};
    for (size_t i = 0; i < bytes.len && i < REQUEST_HEAD_MOST; i++) {
        if (bytes.at[i] != '\n')
            continue;
        if (i == 0 || bytes.at[i - 1] != '\r') {
            refuse(fault, 400, "request.line_end", "a line of the request does not end in CR LF");
            return 0;
        }
        if (i - start == 1)
            return i + 1;
        lines++;
        start = i + 1;
    }
    if (lines == 0 && bytes.len > REQUEST_TARGET_MOST + 64)
        refuse(fault, 414, "request.target_long", "the path is longer than 8 KiB");
    else if (bytes.len >= REQUEST_HEAD_MOST)
        refuse(fault, 431, "request.head_long", "the request's head is longer than 16 KiB");
    return 0;
}

/* tchar of RFC 9110. */
static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token(const char *text)
{
    size_t len = 0;
    while (is_token_char(text[len]))
        len++;
    return len != 0 && text[len] == 0;
}

/* A path that begins with '/', also behind "http://host"; every byte printable ASCII. */
static bool take_target(Request *request, char *target, RequestFault *fault)
{
    if (strlen(target) > REQUEST_TARGET_MOST)
        return refuse(fault, 414, "request.target_long", "the path is longer than 8 KiB");
    for (const char *at = target; *at != 0; at++)
        if (*at <= 0x20 || *at >= 0x7f || *at == '#')
            return refuse(fault, 400, "request.target",
                          "the path holds a byte that must be written as %XX");
    if (strncasecmp(target, "http://", 7) == 0 || strncasecmp(target, "https://", 8) == 0) {
        target = strchr(strchr(target, ':') + 3, '/');
        if (target == NULL)
            return refuse(fault, 400, "request.target", "the address has no path");
    }
    if (target[0] != '/' && strcmp(target, "*") != 0)
        return refuse(fault, 400, "request.target", "the path does not begin with /");
    char *query = strchr(target, '?');
    if (query != NULL)
        *query++ = 0;
    request->path = target;
    request->query = query == NULL ? "" : query;
    return true;
}

/* "GET /path HTTP/1.1": one blank between the three, no more. */
static bool take_first_line(Request *request, char *line, RequestFault *fault)
{
    char *target = strchr(line, ' ');
    char *version = target == NULL ? NULL : strchr(target + 1, ' ');
    if (version == NULL)
        return refuse(fault, 400, "request.line", "this is not an HTTP request");
    *target++ = 0;
    *version++ = 0;
    if (!is_token(line))
        return refuse(fault, 400, "request.line", "the method is not a word");
    request->method = line;
    request->old = strcmp(version, "HTTP/1.0") == 0;
    if (!request->old && strcmp(version, "HTTP/1.1") != 0)
        return strncmp(version, "HTTP/", 5) == 0 && strlen(version) == 8
                   ? refuse(fault, 505, "request.version", "this server speaks HTTP/1.1")
                   : refuse(fault, 400, "request.line", "this is not an HTTP request");
    return take_target(request, target, fault);
}

static bool take_header(Request *request, char *line, RequestFault *fault)
{
    if (request->header_count == REQUEST_HEADERS_MOST)
        return refuse(fault, 431, "request.headers_many", "more than 64 headers");
    char *value = strchr(line, ':');
    if (value == NULL)
        return refuse(fault, 400, "request.header", "a header has no colon");
    *value++ = 0;
    if (!is_token(line)) /* a blank before the colon, and a folded line, end here */
        return refuse(fault, 400, "request.header", "a header's name is not a word");
    value += strspn(value, " \t");
    size_t len = strlen(value);
    while (len != 0 && (value[len - 1] == ' ' || value[len - 1] == '\t'))
        value[--len] = 0;
    for (const char *at = value; *at != 0; at++)
        if ((unsigned char)*at < 0x20 && *at != '\t')
            return refuse(fault, 400, "request.header", "a header holds a control character");
    request->headers[request->header_count++] = (RequestHeader){line, value};
    return true;
}

const char *request_header(const Request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (strcasecmp(request->headers[i].name, name) == 0)
            return request->headers[i].value;
    return NULL;
}

/* Two of these could be read in two ways, and two readers would. */
static bool check_twice(const Request *request, RequestFault *fault)
{
    static const char *const single[] = {
        "host",     "content-length", "transfer-encoding", "authorization", "content-type",
        "if-match", "expect",         "idempotency-key",   "range",         "last-event-id"};
    for (size_t i = 0; i < sizeof single / sizeof *single; i++) {
        size_t count = 0;
        for (size_t h = 0; h < request->header_count; h++)
            count += strcasecmp(request->headers[h].name, single[i]) == 0;
        if (count > 1)
            return refuse(fault, 400, "request.header_twice",
                          "a header stands twice that may stand once");
    }
    return true;
}

/* How long the body is: by Content-Length or by chunks, never by both. */
static bool take_framing(Request *request, RequestFault *fault)
{
    const char *length = request_header(request, "content-length");
    const char *coding = request_header(request, "transfer-encoding");
    if (coding != NULL && (length != NULL || request->old))
        return refuse(fault, 400, "request.length", "the body's length is given in two ways");
    if (coding != NULL && strcasecmp(coding, "chunked") != 0)
        return refuse(fault, 501, "request.coding", "of transfer codings only chunked is known");
    request->chunked = coding != NULL;
    if (length == NULL)
        return true;
    size_t digits = strspn(length, "0123456789");
    if (digits == 0 || length[digits] != 0)
        return refuse(fault, 400, "request.length", "Content-Length is not a number");
    if (digits > 18)
        return refuse(fault, 413, "request.body_long", "the body is too long");
    for (const char *at = length; *at != 0; at++)
        request->length = request->length * 10 + (uint64_t)(*at - '0');
    return true;
}

static bool has_word(const char *list, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = list; at != NULL && *at != 0;) {
        at += strspn(at, ", \t");
        size_t step = strcspn(at, ", \t");
        if (step == len && strncasecmp(at, word, len) == 0)
            return true;
        at += step;
    }
    return false;
}

static bool take_rest(Request *request, RequestFault *fault)
{
    const char *connection = request_header(request, "connection");
    const char *expect = request_header(request, "expect");
    if (!check_twice(request, fault) || !take_framing(request, fault))
        return false;
    if (!request->old && request_header(request, "host") == NULL)
        return refuse(fault, 400, "request.host", "HTTP/1.1 wants a Host header");
    if (expect != NULL && strcasecmp(expect, "100-continue") != 0)
        return refuse(fault, 417, "request.expect", "of expectations only 100-continue is known");
    request->expects = expect != NULL && !request->old;
    request->keep_alive =
        request->old ? has_word(connection, "keep-alive") : !has_word(connection, "close");
    return true;
}

bool request_parse(Slice head, Request *out, RequestFault *fault)
{
    *out = (Request){0};
    *fault = (RequestFault){0};
    if (memchr(head.at, 0, head.len) != NULL)
        return refuse(fault, 400, "request.nul", "the request's head holds a NUL");
    buf_add_slice(&out->text, head);
    char *line = (char *)(uintptr_t)buf_cstr(&out->text);
    for (bool first = true; *line != 0; first = false) {
        char *end = strstr(line, "\r\n");
        if (end == NULL)
            return refuse(fault, 400, "request.line_end", "a line does not end in CR LF");
        if (end == line)
            break;
        *end = 0;
        if (strchr(line, '\r') != NULL)
            return refuse(fault, 400, "request.line_end", "a CR stands inside a line");
        if (first ? !take_first_line(out, line, fault) : !take_header(out, line, fault))
            return false;
        line = end + 2;
    }
    if (out->path == NULL)
        return refuse(fault, 400, "request.line", "this is not an HTTP request");
    return take_rest(out, fault);
}

void request_free(Request *request)
{
    if (request->text.at != NULL)
        explicit_bzero(request->text.at, request->text.room);
    buf_free(&request->text);
    *request = (Request){0};
}

/* --- chunks -------------------------------------------------------------------------------------
 */

/* SIZE [;extension] CR LF, content CR LF, …, 0 CR LF, trailers, CR LF. */
enum { SIZE, EXTENSION, SIZE_LF, CONTENT, CONTENT_CR, CONTENT_LF, TRAILER, TRAILER_LF };
enum { LINE_MOST = 256, TRAILER_MOST = 4096 };

static int hex_of(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool bad_chunk(RequestFault *fault)
{
    return refuse(fault, 400, "request.chunk", "the body's chunks are malformed");
}

static bool size_byte(RequestChunks *chunks, uint8_t c, RequestFault *fault)
{
    int digit = hex_of(c);
    if (digit >= 0 && chunks->line++ < 8) {
        chunks->left = chunks->left << 4 | (uint64_t)digit;
        chunks->digits = true;
        return true;
    }
    if (!chunks->digits || (c != ';' && c != '\r'))
        return bad_chunk(fault);
    chunks->state = c == ';' ? EXTENSION : SIZE_LF;
    return true;
}

static bool trailer_byte(RequestChunks *chunks, uint8_t c, RequestFault *fault)
{
    if (++chunks->trailer > TRAILER_MOST)
        return refuse(fault, 431, "request.trailer_long", "the trailers are longer than 4 KiB");
    if (c == '\n')
        return bad_chunk(fault);
    if (c == '\r')
        chunks->state = TRAILER_LF;
    else
        chunks->line++;
    return true;
}

/* The LF that ends a line. */
static bool line_feed(RequestChunks *chunks, RequestFault *fault)
{
    switch (chunks->state) {
    case SIZE_LF:
        chunks->state = chunks->left == 0 ? TRAILER : CONTENT;
        chunks->line = 0;
        return true;
    case CONTENT_LF:
        chunks->state = SIZE;
        chunks->line = 0;
        chunks->digits = false;
        return true;
    case TRAILER_LF:
        chunks->done = chunks->line == 0;
        chunks->state = TRAILER;
        chunks->line = 0;
        return true;
    default:
        return bad_chunk(fault);
    }
}

/* Extensions are read over. */
static bool extension_byte(RequestChunks *chunks, uint8_t c, RequestFault *fault)
{
    if (++chunks->line > LINE_MOST || c == '\n' || c == 0)
        return bad_chunk(fault);
    if (c == '\r')
        chunks->state = SIZE_LF;
    return true;
}

static bool chunk_byte(RequestChunks *chunks, uint8_t c, RequestFault *fault)
{
    switch (chunks->state) {
    case SIZE:
        return size_byte(chunks, c, fault);
    case EXTENSION:
        return extension_byte(chunks, c, fault);
    case CONTENT_CR:
        chunks->state = CONTENT_LF;
        return c == '\r' || bad_chunk(fault);
    case TRAILER:
        return trailer_byte(chunks, c, fault);
    default:
        return c == '\n' ? line_feed(chunks, fault) : bad_chunk(fault);
    }
}

bool request_chunks(RequestChunks *chunks, Slice in, size_t *used, Buf *body, size_t body_most,
                    RequestFault *fault)
{
    *used = 0;
    while (*used < in.len && !chunks->done) {
        if (chunks->state != CONTENT) {
            if (!chunk_byte(chunks, in.at[(*used)++], fault))
                return false;
            continue;
        }
        size_t some = in.len - *used < chunks->left ? in.len - *used : (size_t)chunks->left;
        if (chunks->left > body_most - body->len)
            return refuse(fault, 413, "request.body_long", "the body is too long");
        buf_add(body, in.at + *used, some);
        *used += some;
        chunks->left -= some;
        if (chunks->left == 0)
            chunks->state = CONTENT_CR;
    }
    return true;
}
