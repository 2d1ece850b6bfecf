/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/http/client.h"

/* A caller that waits for the stream `ticket`; the first PUT may come before the server knows. */
static int wait_for(const Stand *stand, const char *ticket)
{
    int fd = dial(stand);
    say_text(fd, "GET /stream/%s HTTP/1.1\r\nHost: x\r\n\r\n", ticket);
    return fd;
}

static int put(const Stand *stand, const char *target, const char *piece, Buf *answer)
{
    return ask(stand, "PUT", target, slice_of_text(text_of(piece)), answer);
}

/* A PUT, again while the stream is not there yet. */
static int put_first(const Stand *stand, const char *target, const char *piece, Buf *answer)
{
    int64_t began = now_ms();
    int status;
    do
        status = put(stand, target, piece, answer);
    while (status == 410 && now_ms() - began < WAIT_MS);
    return status;
}

/* Everything up to the end of the connection or of the chunks. */
static void hear_all(int fd, Buf *out)
{
    char bytes[65536];
    buf_clear(out);
    for (size_t got; (got = hear(fd, bytes, sizeof bytes)) != 0;) {
        buf_add(out, bytes, got);
        if (out->len >= 5 && memcmp(out->at + out->len - 5, "0\r\n\r\n", 5) == 0)
            return;
    }
}

static void pieces_arrive_once_and_in_order(void **state)
{
    scoped(buf_free) Buf answer = {0};
    Stand *stand = stand_up((ServerParams){0});
    int fd = wait_for(stand, "t1");
    (void)state;
    assert_int_equal(put_first(stand, "/streams/t1?offset=0", "abc", &answer), 200);
    assert_int_equal(put(stand, "/streams/t1?offset=0", "abc", &answer), 200); /* again */
    assert_int_equal(put(stand, "/streams/t1?offset=1", "bc", &answer), 200);
    assert_int_equal(put(stand, "/streams/t1?offset=4", "x", &answer), 409);  /* a gap */
    assert_int_equal(put(stand, "/streams/t1?offset=2", "cd", &answer), 409); /* half known */
    assert_int_equal(put(stand, "/streams/t1?offset=3", "de", &answer), 200);
    assert_int_equal(put(stand, "/streams/t1?offset=5&end=1", "f", &answer), 200);
    hear_all(fd, &answer);
    assert_non_null(
        strstr(buf_cstr(&answer), "\r\n\r\n3\r\nabc\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n"));
    /* The answer to the last piece was lost: it is told again, and nothing else is taken. */
    assert_int_equal(put(stand, "/streams/t1?offset=5&end=1", "f", &answer), 200);
    assert_int_equal(put(stand, "/streams/t1?offset=6&end=1", "", &answer), 200);
    assert_int_equal(put(stand, "/streams/t1?offset=6", "g", &answer), 409);
    say_text(fd, "GET /after HTTP/1.1\r\nHost: x\r\n\r\n"); /* the connection is still good */
    assert_int_equal(hear_answer(fd, &answer), 200);
    close(fd);
    stand_down(stand);
}

static void an_empty_file_is_a_whole_answer(void **state)
{
    scoped(buf_free) Buf answer = {0};
    Stand *stand = stand_up((ServerParams){0});
    int fd = wait_for(stand, "t1");
    (void)state;
    assert_int_equal(put_first(stand, "/streams/t1?offset=0&end=1", "", &answer), 200);
    hear_all(fd, &answer);
    assert_non_null(strstr(buf_cstr(&answer), "HTTP/1.1 200"));
    close(fd);
    stand_down(stand);
}

static void a_stream_that_nobody_waits_for_is_gone(void **state)
{
    scoped(buf_free) Buf answer = {0};
    Stand *stand = stand_up((ServerParams){0});
    (void)state;
    assert_int_equal(put(stand, "/streams/none?offset=0", "abc", &answer), 410);
    assert_non_null(strstr(buf_cstr(&answer), "application/problem+json"));
    assert_int_equal(put(stand, "/streams/?offset=0", "abc", &answer), 410);
    stand_down(stand);
}

static void an_offset_that_is_no_number_is_refused(void **state)
{
    scoped(buf_free) Buf answer = {0};
    Stand *stand = stand_up((ServerParams){0});
    int fd = wait_for(stand, "t1");
    (void)state;
    assert_int_equal(put_first(stand, "/streams/t1?offset=-1", "abc", &answer), 400);
    assert_int_equal(put(stand, "/streams/t1", "abc", &answer), 400);
    assert_int_equal(put(stand, "/streams/t1?offset=9999999999999999999", "abc", &answer), 400);
    assert_int_equal(put(stand, "/streams/t1?offset=0", "abc", &answer), 200);
    close(fd);
    stand_down(stand);
}

/* More than both sockets hold, to a caller that does not read. */
static size_t fill(const Stand *stand, int *worker)
{
    enum { PIECE = 1 << 20 };
    scoped(buf_free) Buf answer = {0};
    char *piece = calloc(1, PIECE);
    *worker = dial(stand);
    size_t offset = 0;
    for (bool taken = true; taken; offset += PIECE) {
        struct pollfd ready = {.fd = *worker, .events = POLLIN};
        say_text(*worker,
                 "PUT /streams/t1?offset=%zu HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
                 offset, PIECE);
        say(*worker, piece, PIECE);
        taken = poll(&ready, 1, 4000) == 1; /* a busy machine answers later than at once */
        if (taken)
            assert_int_equal(hear_answer(*worker, &answer), 200);
    }
    free(piece);
    return offset;
}

static void a_caller_that_does_not_read_holds_the_worker_back(void **state)
{
    scoped(buf_free) Buf answer = {0};
    Stand *stand = stand_up((ServerParams){0});
    int worker;
    int fd = wait_for(stand, "t1");
    (void)state;
    assert_int_equal(put_first(stand, "/streams/t1?offset=0", "", &answer), 200);
    size_t sent = fill(stand, &worker);
    assert_true(sent < 64u << 20);
    size_t got = 0;
    while (got < sent) {
        static char bytes[65536];
        got += hear(fd, bytes, sizeof bytes);
    }
    assert_int_equal(hear_answer(worker, &answer), 200);
    close(worker);
    close(fd);
    stand_down(stand);
}

static void a_worker_learns_that_its_caller_left(void **state)
{
    scoped(buf_free) Buf answer = {0};
    Stand *stand = stand_up((ServerParams){0});
    int worker;
    int fd = wait_for(stand, "t1");
    (void)state;
    assert_int_equal(put_first(stand, "/streams/t1?offset=0", "", &answer), 200);
    fill(stand, &worker);
    close(fd); /* with a piece on its way */
    assert_int_equal(hear_answer(worker, &answer), 410);
    assert_int_equal(put(stand, "/streams/t1?offset=0", "abc", &answer), 410);
    close(worker);
    fd = wait_for(stand, "t2");
    assert_int_equal(put_first(stand, "/streams/t2?offset=0", "abc", &answer), 200);
    close(fd); /* between two pieces */
    int64_t began = now_ms();
    for (size_t at = 3; put(stand, "/streams/t2?offset=3", "", &answer) != 410; at++)
        assert_true(now_ms() - began < WAIT_MS);
    stand_down(stand);
}

static void a_worker_may_break_off_and_send_the_piece_again(void **state)
{
    scoped(buf_free) Buf answer = {0};
    Stand *stand = stand_up((ServerParams){0});
    int worker, again;
    int fd = wait_for(stand, "t1");
    (void)state;
    assert_int_equal(put_first(stand, "/streams/t1?offset=0", "", &answer), 200);
    size_t sent = fill(stand, &worker);
    char *piece = calloc(1, 1 << 20);
    again = dial(stand); /* the last one, while the first try still waits */
    say_text(again, "PUT /streams/t1?offset=%zu HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
             sent - (1 << 20), 1 << 20);
    say(again, piece, 1 << 20);
    free(piece);
    assert_int_equal(hear_answer(worker, &answer), 409);
    close(worker);
    size_t got = 0;
    while (got < sent) {
        static char bytes[65536];
        got += hear(fd, bytes, sizeof bytes);
    }
    assert_int_equal(hear_answer(again, &answer), 200);
    close(again);
    char last[64];
    snprintf(last, sizeof last, "/streams/t1?offset=%zu&end=1", sent);
    assert_int_equal(put(stand, last, "z", &answer), 200);
    hear_all(fd, &answer);
    assert_string_equal(buf_cstr(&answer) + answer.len - 11, "1\r\nz\r\n0\r\n\r\n");
    close(fd);
    stand_down(stand);
}

static void a_failure_reaches_the_caller(void **state)
{
    scoped(buf_free) Buf answer = {0};
    Stand *stand = stand_up((ServerParams){0});
    int fd = wait_for(stand, "t1");
    (void)state;
    assert_int_equal(
        put_first(stand, "/streams/t1?offset=0&error=fetch.missing%22%3Cb%3E", "", &answer), 200);
    assert_int_equal(hear_answer(fd, &answer), 502);
    assert_non_null(strstr(buf_cstr(&answer), "\"code\":\"fetch.missing__b_\""));
    close(fd);
    fd = wait_for(stand, "t2");
    assert_int_equal(put_first(stand, "/streams/t2?offset=0", "abc", &answer), 200);
    assert_int_equal(put(stand, "/streams/t2?offset=3&error=x", "", &answer), 200);
    hear_all(fd, &answer); /* ends without the last chunk: not whole */
    assert_string_equal(buf_cstr(&answer) + answer.len - 8, "3\r\nabc\r\n");
    close(fd);
    stand_down(stand);
}

static void a_silent_worker_ends_the_wait(void **state)
{
    scoped(buf_free) Buf answer = {0};
    Stand *stand = stand_up((ServerParams){.patience_ms = 500});
    int fd = wait_for(stand, "t1");
    (void)state;
    assert_int_equal(hear_answer(fd, &answer), 504);
    close(fd);
    fd = wait_for(stand, "t2");
    assert_int_equal(put_first(stand, "/streams/t2?offset=0", "abc", &answer), 200);
    hear_all(fd, &answer);
    assert_string_equal(buf_cstr(&answer) + answer.len - 8, "3\r\nabc\r\n");
    close(fd);
    stand_down(stand);
}

static void a_caller_that_could_not_see_the_end_is_refused(void **state)
{
    scoped(buf_free) Buf answer = {0};
    Stand *stand = stand_up((ServerParams){0});
    int fd = dial(stand);
    (void)state;
    say_text(fd, "GET /stream/t1 HTTP/1.0\r\n\r\n");
    assert_int_equal(hear_answer(fd, &answer), 505);
    close(fd);
    stand_down(stand);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_arrive_once_and_in_order),
        cmocka_unit_test(an_empty_file_is_a_whole_answer),
        cmocka_unit_test(a_stream_that_nobody_waits_for_is_gone),
        cmocka_unit_test(an_offset_that_is_no_number_is_refused),
        cmocka_unit_test(a_caller_that_does_not_read_holds_the_worker_back),
        cmocka_unit_test(a_worker_learns_that_its_caller_left),
        cmocka_unit_test(a_worker_may_break_off_and_send_the_piece_again),
        cmocka_unit_test(a_failure_reaches_the_caller),
        cmocka_unit_test(a_silent_worker_ends_the_wait),
        cmocka_unit_test(a_caller_that_could_not_see_the_end_is_refused),
    };
    return cmocka_run_group_tests_name("http/stream", tests, NULL, NULL);
}
