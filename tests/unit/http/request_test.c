/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/http/request.h"
#include "scheduler/http/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static Slice bytes_of(const char *text)
{
    return (Slice){(const uint8_t *)text, strlen(text)};
}

/* The status that a head is refused with; 0: it is taken. */
static int status_of(const char *head)
{
    Request request;
    RequestFault fault = {0};
    size_t end = request_head_end(bytes_of(head), &fault);
    if (fault.status != 0)
        return fault.status;
    assert_int_equal(end, strlen(head));
    bool taken = request_parse(bytes_of(head), &request, &fault);
    request_free(&request);
    assert_int_equal(taken, fault.status == 0);
    if (!taken)
        assert_true(fault.code[0] != 0 && fault.text[0] != 0);
    return fault.status;
}

static void a_head_is_taken_apart(void **state)
{
    Request request;
    RequestFault fault;
    (void)state;
    assert_true(request_parse(bytes_of("POST /a/b?c=d&e HTTP/1.1\r\nHost: x\r\nX-Odd:  a b\t\r\n"
                                       "Content-Length: 12\r\nExpect: 100-Continue\r\n\r\n"),
                              &request, &fault));
    assert_string_equal(request.method, "POST");
    assert_string_equal(request.path, "/a/b");
    assert_string_equal(request.query, "c=d&e");
    assert_string_equal(request_header(&request, "x-odd"), "a b");
    assert_null(request_header(&request, "authorization"));
    assert_true(request.keep_alive && request.expects && !request.chunked);
    assert_int_equal(request.length, 12);
    request_free(&request);
    assert_true(
        request_parse(bytes_of("GET http://h:1/p HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n"),
                      &request, &fault));
    assert_string_equal(request.path, "/p");
    assert_true(request.old && request.keep_alive);
    request_free(&request);
}

static void what_could_be_read_in_two_ways_is_refused(void **state)
{
    static const struct {
        int status;
        const char *head;
    } rows[] = {
        {0, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
        {0, "GET / HTTP/1.0\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
        {400, "GET / HTTP/1.1\nHost: a\n\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n"},
        {400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"},
        {400, "GET /\r\nHost: a\r\n\r\n"},
        {400, "G@T / HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET a HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET /a\x80 HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"},
        {505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"},
        {400, "GET / SMTP\r\nHost: a\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\r\nX: a\x01\r\n\r\n"},
        {400, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"},
        {400, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"},
        {400, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"},
        {400, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n"},
        {400, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n"},
        {400, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"},
        {413, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n"},
        {400, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
              "Transfer-Encoding: chunked\r\n\r\n"},
        {501, "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"},
        {501, "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"},
        {400, "PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: a\r\nidempotency-key: b\r\n\r\n"},
        {417, "PUT / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int status = status_of(rows[i].head);
        if (status != rows[i].status)
            fail_msg("%d instead of %d: %s", status, rows[i].status, rows[i].head);
    }
}

static void a_nul_in_a_head_is_refused(void **state)
{
    static const uint8_t head[] = "GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n";
    Request request;
    RequestFault fault;
    (void)state;
    assert_false(request_parse((Slice){head, sizeof head - 1}, &request, &fault));
    assert_int_equal(fault.status, 400);
    request_free(&request);
}

/* `count` times `part` between `before` and `after`. */
static char *long_head(const char *before, const char *part, size_t count, const char *after)
{
    Buf text = {0};
    buf_add(&text, before, strlen(before));
    for (size_t i = 0; i < count; i++)
        buf_add(&text, part, strlen(part));
    buf_add(&text, after, strlen(after) + 1);
    return (char *)text.at;
}

static void a_head_has_limits(void **state)
{
    static const struct {
        int status;
        const char *before, *part;
        size_t count;
        const char *after;
    } rows[] = {
        {414, "GET /", "a", 65536, " HTTP/1.1\r\nHost: a\r\n\r\n"},
        {414, "GET /", "a", 8192, " HTTP/1.1\r\nHost: a\r\n\r\n"},
        {0, "GET /", "a", 8191, " HTTP/1.1\r\nHost: a\r\n\r\n"},
        {431, "GET / HTTP/1.1\r\nHost: a\r\nX: ", "a", 16384, "\r\n\r\n"},
        {431, "GET / HTTP/1.1\r\nHost: a\r\n", "X: a\r\n", 64, "\r\n"},
        {0, "GET / HTTP/1.1\r\nHost: a\r\n", "X: a\r\n", 63, "\r\n"},
        {431, "GET / HTTP/1.1\r\nHost: a\r\n", "X: a\r\n", 6000, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *head = long_head(rows[i].before, rows[i].part, rows[i].count, rows[i].after);
        int status = status_of(head);
        free(head);
        if (status != rows[i].status)
            fail_msg("row %zu: %d instead of %d", i, status, rows[i].status);
    }
}

/* What a chunked body is, read `step` bytes at a time; its status where it is refused, 100 where it
 * is not whole. */
static int read_chunked(const char *text, size_t step, size_t most, Buf *body)
{
    RequestChunks chunks = {0};
    RequestFault fault = {0};
    size_t len = strlen(text);
    for (size_t at = 0, used; at < len && !chunks.done; at += used) {
        size_t some = len - at < step ? len - at : step;
        Slice in = {(const uint8_t *)text + at, some};
        if (!request_chunks(&chunks, in, &used, body, most, &fault))
            return fault.status;
    }
    return chunks.done ? 0 : 100;
}

static void chunks_are_read_in_pieces_of_any_size(void **state)
{
    static const struct {
        int status;
        const char *text, *body;
    } rows[] = {
        {0, "0\r\n\r\n", ""},
        {0, "3\r\nabc\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\nT: r\r\nU: s\r\n\r\n", "abc0123456789"},
        {100, "3\r\nabc\r\n", NULL},
        {100, "3\r\nabc\r\n0\r\nTrailer: x\r\n", NULL},
        {400, "3\nabc\r\n0\r\n\r\n", NULL},
        {400, "\r\nabc\r\n0\r\n\r\n", NULL},
        {400, "g\r\n", NULL},
        {400, "-1\r\na\r\n", NULL},
        {400, " 1\r\na\r\n", NULL},
        {400, "0x1\r\na\r\n", NULL},
        {400, "1\r\nab\r\n", NULL},
        {400, "1\r\na\n0\r\n\r\n", NULL},
        {400, "000000001\r\na\r\n", NULL},
        {400, "0\r\nT: r\n\r\n", NULL},
        {413, "11\r\n01234567890123456\r\n0\r\n\r\n", NULL},
        {413, "ffffffff\r\n", NULL},
        {413, "f\r\n012345678901234\r\n2\r\nab\r\n0\r\n\r\n", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t step = 1; step < 80; step += step < 5 ? 1 : 25) {
            scoped(buf_free) Buf body = {0};
            int status = read_chunked(rows[i].text, step, 16, &body);
            if (status == 100 && rows[i].status == 413) /* a size alone, nothing to store yet */
                status = 413;
            if (status != rows[i].status)
                fail_msg("row %zu, step %zu: %d instead of %d", i, step, status, rows[i].status);
            if (rows[i].body != NULL)
                assert_string_equal(buf_cstr(&body), rows[i].body);
        }
}

static void endless_extensions_and_trailers_are_refused(void **state)
{
    scoped(buf_free) Buf body = {0};
    (void)state;
    char *text = long_head("1;", "x", 300, "\r\na\r\n");
    assert_int_equal(read_chunked(text, 7, 16, &body), 400);
    free(text);
    text = long_head("0\r\n", "T: r\r\n", 1000, "\r\n");
    assert_int_equal(read_chunked(text, 7, 16, &body), 431);
    free(text);
}

static void a_query_is_found_decoded_or_malformed(void **state)
{
    static const struct {
        ServerFound found;
        const char *query, *name, *value;
    } rows[] = {
        {SERVER_FOUND, "a=b&cd=e%2Ff+g&cd=2", "cd", "e/f g"},
        {SERVER_FOUND, "a=&b", "a", ""},
        {SERVER_FOUND, "a&b", "b", ""},
        {SERVER_FOUND, "aa=1&a=2", "a", "2"},
        {SERVER_FOUND, "a=%C3%A9%F0%9F%98%80", "a", "\xc3\xa9\xf0\x9f\x98\x80"},
        {SERVER_ABSENT, "", "a", NULL},
        {SERVER_ABSENT, "ab=1", "a", NULL},
        {SERVER_ABSENT, "=1&&", "a", NULL},
        {SERVER_MALFORMED, "a=%", "a", NULL},
        {SERVER_MALFORMED, "a=%2", "a", NULL},
        {SERVER_MALFORMED, "a=%2g", "a", NULL},
        {SERVER_MALFORMED, "a=%00", "a", NULL},
        {SERVER_MALFORMED, "a=%ff", "a", NULL},
        {SERVER_MALFORMED, "a=%c0%af", "a", NULL},       /* an overlong '/' */
        {SERVER_MALFORMED, "a=%ed%a0%80", "a", NULL},    /* half a pair */
        {SERVER_MALFORMED, "a=%f4%90%80%80", "a", NULL}, /* past the last character */
        {SERVER_MALFORMED, "a=%e2%82", "a", NULL},       /* cut short */
        {SERVER_MALFORMED, "a=%e2%82x&b=%ac", "a", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        scoped(buf_free) Buf value = {0};
        ServerFound found = server_query(rows[i].query, rows[i].name, &value);
        if (found != rows[i].found)
            fail_msg("%s: %d", rows[i].query, (int)found);
        if (found == SERVER_FOUND)
            assert_string_equal(buf_cstr(&value), rows[i].value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_is_taken_apart),
        cmocka_unit_test(what_could_be_read_in_two_ways_is_refused),
        cmocka_unit_test(a_nul_in_a_head_is_refused),
        cmocka_unit_test(a_head_has_limits),
        cmocka_unit_test(chunks_are_read_in_pieces_of_any_size),
        cmocka_unit_test(endless_extensions_and_trailers_are_refused),
        cmocka_unit_test(a_query_is_found_decoded_or_malformed),
    };
    return cmocka_run_group_tests_name("http/request", tests, NULL, NULL);
}
