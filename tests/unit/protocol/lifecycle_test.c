/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/lifecycle.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void a_backup_goes_its_usual_way(void **state)
{
    (void)state;
    JobState at = JOB_PENDING;
    assert_true(lifecycle_move(at, EVENT_DISPATCH, &at));
    assert_int_equal(at, JOB_QUEUED);
    assert_true(lifecycle_move(at, EVENT_CLAIM, &at));
    assert_int_equal(at, JOB_RUNNING);
    assert_true(lifecycle_move(at, EVENT_COMMIT, &at));
    assert_int_equal(at, JOB_COMPLETED);
}

static void a_move_that_is_not_in_the_table_changes_nothing(void **state)
{
    (void)state;
    JobState at = JOB_COMPLETED;
    assert_false(lifecycle_move(JOB_COMPLETED, EVENT_CLAIM, &at));
    assert_int_equal(at, JOB_COMPLETED);
    assert_false(lifecycle_move(JOB_PENDING, EVENT_COMMIT, &at));
}

static void nothing_leaves_a_final_state_but_a_failed_job_tried_again(void **state)
{
    (void)state;
    for (JobState from = 0; from < JOB_STATE_COUNT; from++)
        for (JobEvent event = 0; event < EVENT_COUNT; event++) {
            JobState to = from;
            bool moved = lifecycle_move(from, event, &to);
            if (moved && lifecycle_terminal(from))
                assert_true(from == JOB_FAILED && event == EVENT_REQUEUE && to == JOB_PENDING);
            if (moved)
                assert_true(lifecycle_leads(from, to));
        }
    assert_false(lifecycle_leads(JOB_COMPLETED, JOB_RUNNING));
}

/* But for what its plan found to be done already. */
static void only_a_running_job_completes_and_only_a_waiting_one_starts(void **state)
{
    (void)state;
    for (JobState from = 0; from < JOB_STATE_COUNT; from++) {
        JobState to = from;
        bool settles = lifecycle_move(from, EVENT_SETTLE, &to);
        assert_int_equal(settles, from == JOB_PENDING);
        assert_int_equal(to == JOB_COMPLETED && settles, settles);
        assert_int_equal(lifecycle_leads(from, JOB_COMPLETED), from == JOB_RUNNING || settles);
        assert_int_equal(lifecycle_leads(from, JOB_RUNNING),
                         from == JOB_PENDING || from == JOB_QUEUED);
    }
}

static void every_state_is_reached_and_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (JobState to = 0; to < JOB_STATE_COUNT; to++) {
        bool reached = to == JOB_PENDING;
        JobState back = JOB_STATE_COUNT;
        for (JobState from = 0; from < JOB_STATE_COUNT; from++)
            reached = reached || lifecycle_leads(from, to);
        assert_true(reached);
        assert_true(lifecycle_parse(text_of(lifecycle_name(to)), &back));
        assert_int_equal(back, to);
    }
    JobState state_of;
    assert_false(lifecycle_parse(TEXT("snoozing"), &state_of));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backup_goes_its_usual_way),
        cmocka_unit_test(a_move_that_is_not_in_the_table_changes_nothing),
        cmocka_unit_test(nothing_leaves_a_final_state_but_a_failed_job_tried_again),
        cmocka_unit_test(only_a_running_job_completes_and_only_a_waiting_one_starts),
        cmocka_unit_test(every_state_is_reached_and_has_a_name_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
