/* SPDX-License-Identifier: Apache-2.0
 * The desk: tasks of a kind that wait are done together, and one that is refused harms no other. */
#include "common/base/mem.h"
#include "tests/harness/fleet.h"
#include "worker/agent/desk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { TASKS = 40 };

typedef struct Job {
    DeskTask task; /* first */
    bool bad;      /* the catalogue refuses it */
    size_t beside; /* how many were done with it */
    ErrCode ended;
} Job;

static Loop *loop;
static Job jobs[TASKS];
static DeskTask hold; /* keeps the desk busy until all are posted */
static size_t over;
static bool posted;

static bool hold_work(DeskTask *task, Catalog *catalog, Err *err)
{
    (void)task, (void)catalog, (void)err;
    while (!__atomic_load_n(&posted, __ATOMIC_ACQUIRE))
        ;
    return true;
}

static void hold_done(DeskTask *task, const Err *err)
{
    (void)task, (void)err;
}

static bool do_all(DeskTask *const *tasks, size_t count, Catalog *catalog, Err *err)
{
    (void)catalog;
    for (size_t i = 0; i < count; i++) {
        ((Job *)tasks[i])->beside = count;
        if (((Job *)tasks[i])->bad)
            return err_set(err, ERR_DENIED, "test.bad", "refused");
    }
    return true;
}

static bool do_one(DeskTask *task, Catalog *catalog, Err *err)
{
    return do_all(&task, 1, catalog, err);
}

static void done(DeskTask *task, const Err *err)
{
    Job *job = (Job *)task;
    assert_ptr_equal(job, &jobs[over]); /* in the order posted */
    job->ended = err->code;
    if (++over == TASKS)
        loop_stop(loop);
}

static void on_state(void *ctx, const Err *err)
{
    (void)ctx, (void)err;
}

static void run(Fleet *fleet, bool together)
{
    Desk *desk;
    Err err = {0};
    DeskParams params = {.on_state = on_state};
    char conninfo[256];
    over = 0;
    posted = false;
    fleet_conninfo(fleet, "holdfast_scheduler", conninfo);
    params.catalog.conninfo = conninfo;
    assert_true(loop_new(&loop, &err));
    params.loop = loop;
    assert_true(desk_start(&desk, &params, &err));
    hold = (DeskTask){.work = hold_work, .done = hold_done};
    desk_post(desk, &hold);
    for (size_t i = 0; i < TASKS; i++) {
        jobs[i].task =
            (DeskTask){.work = do_one, .work_all = together ? do_all : NULL, .done = done};
        jobs[i].ended = ERR_BUG;
        desk_post(desk, &jobs[i].task);
    }
    __atomic_store_n(&posted, true, __ATOMIC_RELEASE);
    loop_run(loop);
    desk_stop(desk);
    loop_free(loop);
}

static void what_waits_is_done_together(void **state)
{
    run(*state, true);
    for (size_t i = 0; i < TASKS; i++) {
        assert_int_equal(jobs[i].ended, ERR_NONE);
        assert_int_equal(jobs[i].beside,
                         i < DESK_TOGETHER_MOST ? DESK_TOGETHER_MOST : TASKS - DESK_TOGETHER_MOST);
    }
}

static void what_cannot_be_done_together_is_done_alone(void **state)
{
    run(*state, false);
    for (size_t i = 0; i < TASKS; i++) {
        assert_int_equal(jobs[i].ended, ERR_NONE);
        assert_int_equal(jobs[i].beside, 1);
    }
}

static void one_that_is_refused_harms_no_other(void **state)
{
    jobs[7].bad = true;
    run(*state, true);
    for (size_t i = 0; i < TASKS; i++)
        assert_int_equal(jobs[i].ended, i == 7 ? ERR_DENIED : ERR_NONE);
    jobs[7].bad = false;
}

static int begin(void **state)
{
    *state = fleet_start();
    return 0;
}

static int end(void **state)
{
    fleet_stop(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_waits_is_done_together),
        cmocka_unit_test(what_cannot_be_done_together_is_done_alone),
        cmocka_unit_test(one_that_is_refused_harms_no_other),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
