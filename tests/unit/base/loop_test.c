/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/loop.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

static Loop *loop;
static int calls;
static int order[8];

static int setup(void **state)
{
    Err err = {0};
    (void)state;
    calls = 0;
    return loop_new(&loop, &err) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    loop_free(loop);
    return 0;
}

static void stop(void *ctx)
{
    (void)ctx;
    loop_stop(loop);
}

static void remember(void *ctx)
{
    order[calls++] = *(const int *)ctx;
    if (calls == 3)
        loop_stop(loop);
}

static void *post_three(void *ctx)
{
    static int numbers[] = {1, 2, 3};
    (void)ctx;
    for (int i = 0; i < 3; i++)
        loop_post(loop, remember, &numbers[i]);
    return NULL;
}

static void what_another_thread_posts_runs_here_in_its_order(void **state)
{
    (void)state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, post_three, NULL), 0);
    loop_run(loop);
    pthread_join(thread, NULL);
    assert_int_equal(calls, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(order[i], i + 1);
}

static void what_was_posted_before_the_loop_runs_is_not_lost(void **state)
{
    (void)state;
    post_three(NULL);
    loop_run(loop);
    assert_int_equal(calls, 3);
}

static void count(void *ctx)
{
    (void)ctx;
    if (++calls == 3)
        loop_stop(loop);
}

static void a_repeating_timer_calls_until_it_is_stopped(void **state)
{
    (void)state;
    LoopTimer *timer = loop_timer_new(loop, count, NULL);
    loop_timer_every(timer, 2);
    loop_run(loop);
    assert_int_equal(calls, 3);
    loop_timer_free(timer);
    loop_timer_free(NULL);
}

static void a_stopped_timer_does_not_call(void **state)
{
    (void)state;
    LoopTimer *quiet = loop_timer_new(loop, count, NULL);
    LoopTimer *end = loop_timer_new(loop, stop, NULL);
    loop_timer_once(quiet, 5);
    loop_timer_stop(quiet);
    loop_timer_once(end, 20);
    loop_run(loop);
    assert_int_equal(calls, 0);
    loop_timer_free(quiet);
    loop_timer_free(end);
}

static void take_signal(void *ctx, int number)
{
    (void)ctx;
    calls = number;
    loop_stop(loop);
}

static void raise_it(void *ctx)
{
    (void)ctx;
    kill(getpid(), SIGUSR1);
}

static void a_signal_arrives_as_an_ordinary_call(void **state)
{
    (void)state;
    loop_signal(loop, SIGUSR1, take_signal, NULL);
    loop_post(loop, raise_it, NULL);
    loop_run(loop);
    assert_int_equal(calls, SIGUSR1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_another_thread_posts_runs_here_in_its_order, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_was_posted_before_the_loop_runs_is_not_lost, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_repeating_timer_calls_until_it_is_stopped, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_stopped_timer_does_not_call, setup, teardown),
        cmocka_unit_test_setup_teardown(a_signal_arrives_as_an_ordinary_call, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
