/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/ticket.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static Slice slice(const TicketBytes *bytes)
{
    return (Slice){bytes->at, bytes->len};
}

static bool accepts(const char *bytes, size_t len)
{
    Err err = {0};
    Ticket ticket;
    bool good = ticket_unpack((Slice){(const uint8_t *)bytes, len}, &ticket, &err);
    if (!good)
        assert_string_equal(err.cause, "ticket.malformed");
    return good;
}
#define ACCEPTS(literal) accepts(literal, sizeof(literal) - 1)

static void a_ticket_has_the_bytes_that_the_page_promises(void **state)
{
    (void)state;
    static const char wanted[] = "\x84\xa1v\x01\xa3job\xcd\x01\x2c\xa8"
                                 "dispatch\x02\xa4kind\xa6"
                                 "backup";
    TicketBytes bytes;
    ticket_pack(&(Ticket){.job = 300, .dispatch = 2, .kind = "backup"}, &bytes);
    assert_int_equal(bytes.len, sizeof wanted - 1);
    assert_memory_equal(bytes.at, wanted, bytes.len);
}

static void what_was_packed_is_unpacked_the_same(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {0,     1,     127,        128,        255,       256,
                                       65535, 65536, UINT32_MAX, 1ull << 32, UINT64_MAX};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        Err err = {0};
        Ticket out;
        TicketBytes bytes;
        Ticket in = {.job = numbers[i], .dispatch = numbers[10 - i], .kind = "aaaaabbbbbccccc"};
        ticket_pack(&in, &bytes);
        assert_true(ticket_unpack(slice(&bytes), &out, &err));
        assert_int_equal(out.job, in.job);
        assert_int_equal(out.dispatch, in.dispatch);
        assert_string_equal(out.kind, in.kind);
    }
}

static void every_other_spelling_is_refused(void **state)
{
    (void)state;
    assert_true(ACCEPTS("\x84\xa1v\x01\xa3job\x05\xa8"
                        "dispatch\x02\xa4kind\xa1x"));
    /* a longer integer, another order, another version, a key more, a key less, a byte after */
    assert_false(ACCEPTS("\x84\xa1v\x01\xa3job\xcc\x05\xa8"
                         "dispatch\x02\xa4kind\xa1x"));
    assert_false(ACCEPTS("\x84\xa3job\x05\xa1v\x01\xa8"
                         "dispatch\x02\xa4kind\xa1x"));
    assert_false(ACCEPTS("\x84\xa1v\x02\xa3job\x05\xa8"
                         "dispatch\x02\xa4kind\xa1x"));
    assert_false(ACCEPTS("\x85\xa1v\x01\xa3job\x05\xa8"
                         "dispatch\x02\xa4kind\xa1x\xa1y\x01"));
    assert_false(ACCEPTS("\x83\xa1v\x01\xa3job\x05\xa8"
                         "dispatch\x02"));
    assert_false(ACCEPTS("\x84\xa1v\x01\xa3job\x05\xa8"
                         "dispatch\x02\xa4kind\xa1x\x00"));
    assert_false(ACCEPTS("\x84\xa1v\x01\xa3job\x05\xa8"
                         "dispatch\x02\xa4kind\xd9\x01x"));
    assert_false(ACCEPTS("\x84\xa1v\x01\xa3job\xff\xa8"
                         "dispatch\x02\xa4kind\xa1x"));
    assert_false(ACCEPTS("\x84\xa1v\x01\xa3job\x05\xa8"
                         "dispatch\x02\xa4kind\xb0"
                         "aaaaabbbbbcccccd"));
    assert_false(ACCEPTS("\x84\xa1v\x01\xa3job\x05\xa8"
                         "dispatch\x02\xa4kind\xa2x\x00"));
    assert_false(ACCEPTS(""));
    assert_false(ACCEPTS("not a ticket"));
    assert_false(ACCEPTS("\xdd\xff\xff\xff\xff"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ticket_has_the_bytes_that_the_page_promises),
        cmocka_unit_test(what_was_packed_is_unpacked_the_same),
        cmocka_unit_test(every_other_spelling_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
