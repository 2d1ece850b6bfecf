/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/channel.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

static void a_message_arrives_whole(void **state)
{
    int fds[2];
    ChannelOutput output;
    ChannelInput input = {0};
    Err err = {0};
    Slice frame;
    bool end = false;
    uint64_t id = 0;
    (void)state;
    assert_int_equal(pipe(fds), 0);
    channel_output_init(&output, fds[1]);
    JobProgress sent = {.phase = TEXT("dump"), .bytes_done = 1u << 30, .total_basis = TEXT("plan")};
    JobVerdict last = {.outcome = TEXT("completed"), .code = TEXT("none"), .committed = true};
    assert_true(channel_send_job_progress(&output, &sent, &err));
    assert_true(channel_send_job_verdict(&output, &last, &err));
    assert_true(channel_receive(&input, fds[0], &frame, &end, &err));
    assert_false(end);
    assert_true(messages_id(frame, &id, &err));
    assert_int_equal(id, MESSAGE_job_progress);
    JobProgress got;
    assert_true(messages_unpack_job_progress(frame, &got, &err));
    assert_true(text_equal(got.phase, TEXT("dump")));
    assert_int_equal(got.bytes_done, 1u << 30);
    assert_true(channel_receive(&input, fds[0], &frame, &end, &err));
    JobVerdict verdict;
    assert_true(messages_unpack_job_verdict(frame, &verdict, &err));
    assert_true(verdict.committed);
    close(fds[1]);
    assert_true(channel_receive(&input, fds[0], &frame, &end, &err));
    assert_true(end);
    channel_input_free(&input);
    channel_output_free(&output);
    close(fds[0]);
}

static void a_frame_in_pieces_is_waited_for(void **state)
{
    static const uint8_t bytes[] = {3, 0, 0, 0, 'a', 'b', 'c', 1, 0, 0, 0, 'd'};
    int fds[2];
    ChannelInput input = {0};
    Err err = {0};
    Slice frame;
    bool end = false, found = false;
    (void)state;
    assert_int_equal(pipe(fds), 0);
    for (size_t i = 0; i < sizeof bytes; i++) {
        assert_int_equal(write(fds[1], bytes + i, 1), 1);
        assert_true(channel_fill(&input, fds[0], &end, &err));
        assert_true(channel_next(&input, &frame, &found, &err));
        assert_int_equal(found, i == 6 || i == 11);
    }
    assert_int_equal(frame.len, 1);
    assert_int_equal(frame.at[0], 'd');
    channel_input_free(&input);
    close(fds[0]);
    close(fds[1]);
}

static void a_length_that_no_message_has_is_refused(void **state)
{
    static const uint8_t bytes[] = {0xff, 0xff, 0xff, 0xff};
    int fds[2];
    ChannelInput input = {0};
    Err err = {0};
    Slice frame;
    bool end = false;
    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], bytes, sizeof bytes), 4);
    assert_false(channel_receive(&input, fds[0], &frame, &end, &err));
    assert_string_equal(err.cause, "channel.frame");
    channel_input_free(&input);
    close(fds[0]);
    close(fds[1]);
}

static void writing_to_nobody_is_an_error(void **state)
{
    int fds[2];
    ChannelOutput output;
    Err err = {0};
    JobCancel cancel = {.reason = TEXT("drain")};
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe(fds), 0);
    close(fds[0]);
    channel_output_init(&output, fds[1]);
    assert_false(channel_send_job_cancel(&output, &cancel, &err));
    assert_string_equal(err.cause, "channel.closed");
    channel_output_free(&output);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_arrives_whole),
        cmocka_unit_test(a_frame_in_pieces_is_waited_for),
        cmocka_unit_test(a_length_that_no_message_has_is_refused),
        cmocka_unit_test(writing_to_nobody_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
