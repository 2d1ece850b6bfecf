/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/messages.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static Slice slice(const msgpack_sbuffer *buffer)
{
    return (Slice){(const uint8_t *)buffer->data, buffer->size};
}

static Slice raw(const char *bytes, size_t len)
{
    return (Slice){(const uint8_t *)bytes, len};
}

static void every_field_of_an_order_comes_back(void **state)
{
    (void)state;
    static const uint8_t claim[16] = {1, 2, 3};
    Err err = {0};
    uint64_t id = 0;
    JobOrder out;
    JobOrder in = {.job = 7,
                   .attempt = 2,
                   .claim = {claim, sizeof claim},
                   .order = TEXT("{}"),
                   .config = TEXT("/etc/holdfast/worker.yaml"),
                   .scratch = TEXT("/tmp/x")};
    msgpack_sbuffer buffer;
    msgpack_sbuffer_init(&buffer);
    messages_pack_job_order(&in, &buffer);
    assert_true(messages_id(slice(&buffer), &id, &err));
    assert_int_equal(id, MESSAGE_job_order);
    assert_true(messages_unpack_job_order(slice(&buffer), &out, &err));
    assert_int_equal(out.job, 7);
    assert_int_equal(out.attempt, 2);
    assert_true(slice_equal(out.claim, in.claim));
    assert_true(text_equal(out.order, in.order));
    assert_true(text_equal(out.config, in.config));
    assert_true(text_equal(out.scratch, in.scratch));
    msgpack_sbuffer_destroy(&buffer);
}

static void flags_and_empty_texts_of_a_verdict_come_back(void **state)
{
    (void)state;
    Err err = {0};
    JobVerdict out;
    JobVerdict in = {.outcome = TEXT("failed"), .retry = true};
    msgpack_sbuffer buffer;
    msgpack_sbuffer_init(&buffer);
    messages_pack_job_verdict(&in, &buffer);
    assert_true(messages_unpack_job_verdict(slice(&buffer), &out, &err));
    assert_true(out.retry);
    assert_false(out.committed);
    assert_true(text_equal(out.outcome, TEXT("failed")));
    assert_int_equal(out.cause.len, 0);
    msgpack_sbuffer_destroy(&buffer);
}

static void missing_fields_are_zero_and_unknown_ones_are_skipped(void **state)
{
    (void)state;
    Err err = {0};
    JobCancel cancel;
    assert_true(messages_unpack_job_cancel(raw("\x81\x00\x02", 3), &cancel, &err));
    assert_int_equal(cancel.reason.len, 0);
    assert_true(messages_unpack_job_cancel(raw("\x82\x63\x91\x01\x00\x02", 6), &cancel, &err));
}

static void what_is_no_message_is_refused_by_cause(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *cause;
    } cases[] = {
        {"", 0, "wire.malformed"},
        {"\x81\x00", 2, "wire.malformed"},
        {"\x02", 1, "wire.type"},
        {"\x80", 1, "wire.id"},
        {"\x81\x00\xa1x", 4, "wire.id"},
        {"\x81\x00\x03", 3, "wire.id"},
        {"\x81\xa1x\x02", 4, "wire.type"},
        {"\x82\x00\x02\x00\x02", 5, "wire.twice"},
        {"\x82\x00\x02\x01\x07", 5, "wire.type"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Err err = {0};
        JobCancel cancel;
        assert_false(messages_unpack_job_cancel(raw(cases[i].bytes, cases[i].len), &cancel, &err));
        assert_string_equal(err.cause, cases[i].cause);
        assert_int_equal(err.code, ERR_CORRUPT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_of_an_order_comes_back),
        cmocka_unit_test(flags_and_empty_texts_of_a_verdict_come_back),
        cmocka_unit_test(missing_fields_are_zero_and_unknown_ones_are_skipped),
        cmocka_unit_test(what_is_no_message_is_refused_by_cause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
