/* SPDX-License-Identifier: Apache-2.0
 * A signal that is lost costs whoever waits a second, not the work. */
#include "common/base/wait.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

typedef struct Door {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    bool open;
    int inside;
} Door;

static void *enter(void *ctx)
{
    Door *door = ctx;
    pthread_mutex_lock(&door->lock);
    while (!door->open)
        wait_signal(&door->opened, &door->lock);
    door->inside++;
    pthread_mutex_unlock(&door->lock);
    return NULL;
}

static void nobody_signals_and_all_see_it(void **state)
{
    Door door = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0};
    pthread_t threads[4];
    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, enter, &door), 0);
    pthread_mutex_lock(&door.lock);
    door.open = true; /* as after a signal that reached nobody */
    pthread_mutex_unlock(&door.lock);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(door.inside, 4);
}

static void *try_lock(void *ctx)
{
    return (void *)(intptr_t)pthread_mutex_trylock(ctx);
}

static void the_lock_is_held_when_it_comes_back(void **state)
{
    Door door = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0};
    pthread_t other;
    void *found;
    (void)state;
    pthread_mutex_lock(&door.lock);
    wait_signal(&door.opened, &door.lock);
    assert_int_equal(pthread_create(&other, NULL, try_lock, &door.lock), 0);
    pthread_join(other, &found);
    assert_int_equal((intptr_t)found, EBUSY);
    pthread_mutex_unlock(&door.lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_signals_and_all_see_it),
        cmocka_unit_test(the_lock_is_held_when_it_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
