/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/http/client.h"

static void requests_on_one_connection_are_answered_in_their_order(void **state)
{
    scoped(buf_free) Buf answer = {0};
    Stand *stand = stand_up((ServerParams){.threads = 4});
    int fd = dial(stand);
    (void)state;
    for (int i = 0; i < 20; i++)
        say_text(fd, "POST /p%d HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc\r\n", i);
    say_text(fd, "PUT /c?q HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "2\r\nab\r\n0\r\n\r\nGET /last HTTP/1.1\r\nHost: x\r\n\r\n");
    shutdown(fd, SHUT_WR); /* it is answered all the same */
    for (int i = 0; i < 20; i++) {
        char expected[40];
        assert_int_equal(hear_answer(fd, &answer), 200);
        snprintf(expected, sizeof expected, "{POST /p%d  3}", i);
        assert_non_null(strstr(buf_cstr(&answer), expected));
    }
    assert_int_equal(hear_answer(fd, &answer), 200);
    assert_non_null(strstr(buf_cstr(&answer), "{PUT /c q 2}"));
    assert_int_equal(hear_answer(fd, &answer), 200);
    assert_non_null(strstr(buf_cstr(&answer), "{GET /last  0}"));
    assert_true(ends(fd));
    close(fd);
    stand_down(stand);
}

static void a_head_request_gets_no_body_and_close_closes(void **state)
{
    Stand *stand = stand_up((ServerParams){0});
    int fd = dial(stand);
    (void)state;
    say_text(fd, "HEAD /h HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    char all[1000];
    size_t len = 0;
    for (size_t got; (got = hear(fd, all + len, sizeof all - 1 - len)) != 0;)
        len += got;
    all[len] = 0;
    assert_non_null(strstr(all, "Content-Length: 12\r\n"));
    assert_non_null(strstr(all, "Connection: close\r\n"));
    assert_string_equal(all + len - 4, "\r\n\r\n");
    close(fd);
    stand_down(stand);
}

static void a_client_that_waits_for_100_gets_it(void **state)
{
    scoped(buf_free) Buf answer = {0};
    Stand *stand = stand_up((ServerParams){.body_most = 1000});
    int fd = dial(stand);
    (void)state;
    say_text(fd, "PUT /e HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(hear_answer(fd, &answer), 100);
    say_text(fd, "abc");
    assert_int_equal(hear_answer(fd, &answer), 200);
    say_text(fd,
             "PUT /e HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(hear_answer(fd, &answer), 413);
    close(fd);
    stand_down(stand);
}

/* Each wrong request is answered with a problem document, even while it is still being sent. */
static void what_is_too_large_is_told_so(void **state)
{
    static const struct {
        int status;
        const char *head;
        size_t more;
    } rows[] = {
        {413, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n", 5000000},
        {413, "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4c4b40\r\n", 5000000},
        {414, "GET /", 65536},
        {431, "GET / HTTP/1.1\r\nHost: x\r\nX: ", 65536},
        {400, "BROKEN\r\n\r\n", 100000},
    };
    static char filler[5000000];
    scoped(buf_free) Buf answer = {0};
    Stand *stand = stand_up((ServerParams){.body_most = 100000});
    (void)state;
    memset(filler, 'a', sizeof filler);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char code[40];
        int fd = dial(stand);
        say_text(fd, "%s", rows[i].head);
        say(fd, filler, rows[i].more);
        assert_int_equal(hear_answer(fd, &answer), rows[i].status);
        assert_non_null(strstr(buf_cstr(&answer), "Content-Type: application/problem+json\r\n"));
        assert_non_null(strstr(buf_cstr(&answer), "Connection: close\r\n"));
        snprintf(code, sizeof code, "\"status\":%d,", rows[i].status);
        assert_non_null(strstr(buf_cstr(&answer), code));
        assert_non_null(strstr(buf_cstr(&answer), "\"request_id\":\"rq_"));
        assert_true(ends(fd));
        close(fd);
    }
    stand_down(stand);
}

static void bodies_share_one_budget(void **state)
{
    scoped(buf_free) Buf answer = {0};
    Stand *stand = stand_up((ServerParams){.body_most = 60000, .bodies_most = 100000});
    int held = dial(stand);
    (void)state;
    say_text(held, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n");
    char *body = calloc(1, 60000);
    int status;
    do /* until the server has seen the first one's head */
        status = ask(stand, "PUT", "/", (Slice){(uint8_t *)body, 60000}, &answer);
    while (status == 200);
    assert_int_equal(status, 503);
    assert_non_null(strstr(buf_cstr(&answer), "Retry-After: "));
    say(held, body, 60000);
    assert_int_equal(hear_answer(held, &answer), 200);
    assert_int_equal(ask(stand, "PUT", "/", (Slice){(uint8_t *)body, 60000}, &answer), 200);
    close(held);
    free(body);
    stand_down(stand);
}

static void a_request_that_trickles_ends_and_keeps_nobody_waiting(void **state)
{
    scoped(buf_free) Buf answer = {0};
    Stand *stand = stand_up((ServerParams){.request_ms = 700});
    int slow = dial(stand);
    int body = dial(stand);
    int64_t began = now_ms();
    bool told = false;
    (void)state;
    say_text(slow, "GET / HTTP/1.1\r\nX: ");
    say_text(body, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n");
    while (!told && now_ms() - began < WAIT_MS) {
        struct pollfd ready = {.fd = slow, .events = POLLIN};
        say_text(slow, "a"); /* each byte alone would be in time */
        say_text(body, "a");
        assert_int_equal(ask(stand, "GET", "/other", (Slice){0}, &answer), 200);
        told = poll(&ready, 1, 20) == 1;
    }
    assert_true(told);
    assert_int_equal(hear_answer(slow, &answer), 408);
    assert_int_equal(hear_answer(body, &answer), 408);
    assert_true(now_ms() - began >= 600);
    close(slow);
    close(body);
    stand_down(stand);
}

static void an_idle_connection_is_closed_without_a_word(void **state)
{
    scoped(buf_free) Buf answer = {0};
    Stand *stand = stand_up((ServerParams){.idle_ms = 2000});
    int silent = dial(stand);
    int used = dial(stand);
    (void)state;
    say_text(used, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(hear_answer(used, &answer), 200);
    assert_true(ends(used));
    assert_true(ends(silent));
    close(used);
    close(silent);
    stand_down(stand);
}

static void idle_clients_beyond_the_limit_give_way_to_new_ones(void **state)
{
    enum { HELD = 60 };
    int held[HELD];
    scoped(buf_free) Buf answer = {0};
    Stand *stand = stand_up((ServerParams){.connections_most = 20});
    (void)state;
    for (int i = 0; i < HELD; i++) {
        held[i] = dial(stand);
        if (i % 2 == 0)
            say_text(held[i], "GET /half");
    }
    for (int i = 0; i < 10; i++)
        assert_int_equal(ask(stand, "GET", "/", (Slice){0}, &answer), 200);
    assert_true(ends(held[0])); /* the oldest went first */
    for (int i = 0; i < HELD; i++)
        close(held[i]);
    stand_down(stand);
}

static void when_all_are_busy_a_newcomer_hears_so(void **state)
{
    enum { MOST = 4 };
    int busy[MOST];
    scoped(buf_free) Buf answer = {0};
    Stand *stand = stand_up((ServerParams){.connections_most = MOST, .threads = MOST});
    (void)state;
    for (int i = 0; i < MOST; i++) {
        busy[i] = dial(stand);
        say_text(busy[i], "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    while (__atomic_load_n(&stand->slow, __ATOMIC_SEQ_CST) < MOST)
        usleep(1000);
    int fd = dial(stand);
    assert_int_equal(hear_answer(fd, &answer), 503);
    assert_non_null(strstr(buf_cstr(&answer), "\"code\":\"http.busy\""));
    close(fd);
    for (int i = 0; i < MOST; i++)
        sem_post(&stand->gate);
    for (int i = 0; i < MOST; i++) {
        assert_int_equal(hear_answer(busy[i], &answer), 200);
        close(busy[i]);
    }
    stand_down(stand);
}

static void a_client_that_leaves_while_it_is_answered_harms_nobody(void **state)
{
    scoped(buf_free) Buf answer = {0};
    struct linger at_once = {.l_onoff = 1};
    Stand *stand = stand_up((ServerParams){.threads = 8});
    (void)state;
    for (int i = 0; i < 8; i++) {
        int fd = dial(stand);
        say_text(fd, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
        while (__atomic_load_n(&stand->slow, __ATOMIC_SEQ_CST) <= i)
            usleep(1000);
        if (i % 2 == 0) /* a reset, and an ordinary end */
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(fd);
    }
    usleep(50000);
    for (int i = 0; i < 8; i++)
        sem_post(&stand->gate);
    for (int i = 0; i < 20; i++)
        assert_int_equal(ask(stand, "GET", "/", (Slice){0}, &answer), 200);
    stand_down(stand);
}

static void a_server_stops_with_clients_in_every_state(void **state)
{
    Stand *stand = stand_up((ServerParams){.threads = 1});
    int idle = dial(stand), half = dial(stand), busy = dial(stand), queued = dial(stand);
    int waiting = dial(stand);
    (void)state;
    say_text(half, "GET /");
    say_text(waiting, "GET /stream/t HTTP/1.1\r\nHost: x\r\n\r\n");
    usleep(50000);
    say_text(busy, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
    while (__atomic_load_n(&stand->slow, __ATOMIC_SEQ_CST) < 1)
        usleep(1000);
    say_text(queued, "GET /q HTTP/1.1\r\nHost: x\r\n\r\n");
    usleep(50000);
    stand_down(stand);
    assert_true(ends(idle) && ends(half) && ends(waiting));
    close(idle);
    close(half);
    close(busy);
    close(queued);
    close(waiting);
}

static void an_address_that_is_none_is_refused(void **state)
{
    static const char *const wrong[] = {"",
                                        "8480",
                                        ":8480",
                                        "127.0.0.1:",
                                        "127.0.0.1:x",
                                        "127.0.0.1:65536",
                                        "127.0.0.1:80 ",
                                        "nowhere.invalid:1"};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        Err err = {0};
        Loop *loop = NULL;
        Server *server = NULL;
        ServerParams params = {.listen = wrong[i], .stream_prefix = "/streams/"};
        assert_true(loop_new(&loop, &err));
        assert_false(server_start(&server, loop, &params, &err));
        assert_string_equal(err.cause, "http.listen");
        server_stop(server);
        loop_free(loop);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_on_one_connection_are_answered_in_their_order),
        cmocka_unit_test(a_head_request_gets_no_body_and_close_closes),
        cmocka_unit_test(a_client_that_waits_for_100_gets_it),
        cmocka_unit_test(what_is_too_large_is_told_so),
        cmocka_unit_test(bodies_share_one_budget),
        cmocka_unit_test(a_request_that_trickles_ends_and_keeps_nobody_waiting),
        cmocka_unit_test(an_idle_connection_is_closed_without_a_word),
        cmocka_unit_test(idle_clients_beyond_the_limit_give_way_to_new_ones),
        cmocka_unit_test(when_all_are_busy_a_newcomer_hears_so),
        cmocka_unit_test(a_client_that_leaves_while_it_is_answered_harms_nobody),
        cmocka_unit_test(a_server_stops_with_clients_in_every_state),
        cmocka_unit_test(an_address_that_is_none_is_refused),
    };
    return cmocka_run_group_tests_name("http/server", tests, NULL, NULL);
}
