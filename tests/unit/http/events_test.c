/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/http/client.h"

/* One that listens, once its beginning has come; `from`: "" or "?N". */
static int listener(const Stand *stand, const char *kinds, const char *from, Buf *heard)
{
    int fd = dial(stand);
    buf_clear(heard);
    say_text(fd, "GET /listen/%s%s HTTP/1.1\r\nHost: x\r\n\r\n", kinds, from);
    while (heard->len < 10 || strstr(buf_cstr(heard), "retry: 1\n\n") == NULL) {
        char bytes[4096];
        size_t got = hear(fd, bytes, sizeof bytes);
        assert_true(got != 0);
        buf_add(heard, bytes, got);
    }
    return fd;
}

static void tell(const Stand *stand, const char *kind, uint64_t place, const char *data)
{
    server_tell(stand->server, &(ServerEvent){kind, NULL, NULL, place, text_of(data)});
}

/* Until these words were heard; false: the connection ended before. */
static bool hear_until(int fd, const char *words, Buf *heard)
{
    int64_t began = now_ms();
    while (strstr(buf_cstr(heard), words) == NULL) {
        char bytes[65536];
        size_t got = hear(fd, bytes, sizeof bytes);
        if (got == 0)
            return false;
        assert_in_range(now_ms() - began, 0, WAIT_MS); /* beats come for ever */
        buf_add(heard, bytes, got);
    }
    return true;
}

static void each_hears_what_it_asked_for_in_order(void **state)
{
    scoped(buf_free) Buf all = {0};
    scoped(buf_free) Buf some = {0};
    Stand *stand = stand_up((ServerParams){0});
    int one = listener(stand, "", "", &all);
    int other = listener(stand, "b,c", "", &some);
    (void)state;
    assert_int_equal(server_listeners(stand->server), 2);
    tell(stand, "a", 7, "{\"n\":1}");
    tell(stand, "b", 0, "{\"n\":2}");
    tell(stand, "bc", 8, "{\"n\":3}");
    tell(stand, "c", 9, "{\"n\":4}");
    assert_true(hear_until(one, "{\"n\":4}\n\n", &all));
    assert_true(hear_until(other, "{\"n\":4}\n\n", &some));
    assert_non_null(strstr(buf_cstr(&all), "id: 7\nevent: a\ndata: {\"n\":1}\n\n"));
    assert_non_null(strstr(buf_cstr(&all), "\nevent: b\ndata: {\"n\":2}\n\n"));
    assert_null(strstr(buf_cstr(&all), "id: 0"));
    assert_null(strstr(buf_cstr(&some), "\"n\":1"));
    assert_null(strstr(buf_cstr(&some), "\"n\":3"));
    assert_true(strstr(buf_cstr(&some), "\"n\":2") < strstr(buf_cstr(&some), "\"n\":4"));
    close(one);
    close(other);
    stand_down(stand);
}

/* What was told between the look at the past and the listening is not lost. */
static void one_that_began_before_hears_what_came_between(void **state)
{
    scoped(buf_free) Buf heard = {0};
    Stand *stand = stand_up((ServerParams){0});
    int first = listener(stand, "", "", &heard);
    (void)state;
    for (int i = 1; i <= 5; i++) {
        char data[32];
        snprintf(data, sizeof data, "{\"n\":%d}", i);
        tell(stand, "a", 0, data);
    }
    assert_true(hear_until(first, "\"n\":5", &heard)); /* all are on the loop */
    int late = listener(stand, "", "?2", &heard);
    assert_true(hear_until(late, "\"n\":5", &heard));
    assert_null(strstr(buf_cstr(&heard), "\"n\":2"));
    assert_non_null(strstr(buf_cstr(&heard), "\"n\":3"));
    close(first);
    close(late);
    stand_down(stand);
}

static void one_that_is_too_late_is_cut_off(void **state)
{
    scoped(buf_free) Buf heard = {0};
    Stand *stand = stand_up((ServerParams){0});
    int first = listener(stand, "last", "", &heard);
    (void)state;
    for (int i = 0; i < 2000; i++)
        tell(stand, "a", 0, "{}");
    tell(stand, "last", 0, "{}");
    assert_true(hear_until(first, "event: last", &heard));
    int late = dial(stand);
    say_text(late, "GET /listen/?1 HTTP/1.1\r\nHost: x\r\n\r\n");
    buf_clear(&heard);
    assert_false(hear_until(late, "no such words", &heard));
    assert_null(strstr(buf_cstr(&heard), "0\r\n\r\n"));
    close(first);
    close(late);
    stand_down(stand);
}

static void a_beat_comes_now_and_then_and_an_end_in_time(void **state)
{
    scoped(buf_free) Buf heard = {0};
    Stand *stand = stand_up((ServerParams){.beat_ms = 20, .listen_ms = 300});
    int64_t began = now_ms();
    int fd = listener(stand, "", "", &heard);
    (void)state;
    assert_true(hear_until(fd, "\r\n: still here\n\n\r\n", &heard));
    assert_true(hear_until(fd, "0\r\n\r\n", &heard));
    assert_in_range(now_ms() - began, 300, WAIT_MS);
    assert_int_equal(server_listeners(stand->server), 0);
    say_text(fd, "GET /after HTTP/1.1\r\nHost: x\r\n\r\n"); /* the connection is still good */
    assert_int_equal(hear_answer(fd, &heard), 200);
    close(fd);
    stand_down(stand);
}

static void one_that_leaves_is_forgotten_and_too_many_are_refused(void **state)
{
    enum { MOST = 256 };
    int fds[MOST];
    scoped(buf_free) Buf heard = {0};
    Stand *stand = stand_up((ServerParams){.beat_ms = 20});
    (void)state;
    for (size_t i = 0; i < MOST; i++)
        fds[i] = listener(stand, "", "", &heard);
    assert_int_equal(ask(stand, "GET", "/listen/", (Slice){0}, &heard), 503);
    assert_non_null(strstr(buf_cstr(&heard), "events.full"));
    for (size_t i = 0; i < MOST; i++)
        close(fds[i]);
    for (int64_t began = now_ms(); server_listeners(stand->server) != 0;)
        assert_in_range(now_ms() - began, 0, WAIT_MS);
    stand_down(stand);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_hears_what_it_asked_for_in_order),
        cmocka_unit_test(one_that_began_before_hears_what_came_between),
        cmocka_unit_test(one_that_is_too_late_is_cut_off),
        cmocka_unit_test(a_beat_comes_now_and_then_and_an_end_in_time),
        cmocka_unit_test(one_that_leaves_is_forgotten_and_too_many_are_refused),
    };
    return cmocka_run_group_tests_name("http/events", tests, NULL, NULL);
}
