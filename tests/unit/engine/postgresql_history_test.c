/* SPDX-License-Identifier: Apache-2.0
 * The history of a timeline as servers write it: which timelines lead there, and where each was
 * left. What makes no sense is refused with its line. */
#include "worker/engine/postgresql_wal_server.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static bool parse(PostgresqlWalServer *server, uint32_t timeline, const char *content, Err *err)
{
    *server = (PostgresqlWalServer){0};
    return postgresql_wal_history_parse(server, timeline, text_of(content), err);
}

static void each_line_is_a_timeline_and_where_it_was_left(void **state)
{
    (void)state;
    PostgresqlWalServer server;
    Err err = {0};
    assert_true(parse(&server, 4,
                      "1\t0/3000148\tno recovery target specified\n\n# a comment\n"
                      "2\t1/40000A0\tbefore 2026-11-22 10:00:00+00\n  3 \t 1/50000A0",
                      &err));
    assert_int_equal(server.timeline_count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        static const uint64_t starts[] = {0, 0x3000148, 0x1040000A0, 0x1050000A0};
        assert_int_equal(server.timelines[i].number, i + 1);
        assert_int_equal(server.timelines[i].parent, i);
        assert_int_equal(server.timelines[i].start, starts[i]);
    }
    postgresql_wal_server_free(&server);
    assert_true(parse(&server, 1, "", &err));
    assert_int_equal(server.timeline_count, 1);
    postgresql_wal_server_free(&server);
}

static void a_line_that_makes_no_sense_is_named(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "one\t0/3000148\tx",      "1\t3000148\tx",    "1",          "1\t0/3000148x\ty",
        "4294967297\t0/30001\tx", "2\t0/3000148\tx",  "1\t0/",      "1 0/300 x\n1 0/400 y",
        "1 0/400 x\n2 0/300 y",   "-1\t0/3000148\tx", "10/3000148", "1\t0/000000003000148\tx"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        PostgresqlWalServer server;
        Err err = {0};
        uint32_t timeline = i == 8 ? 3 : 2;
        if (parse(&server, timeline, bad[i], &err))
            fail_msg("taken: %s", bad[i]);
        assert_string_equal(err.cause, "source.history");
        postgresql_wal_server_free(&server);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_line_is_a_timeline_and_where_it_was_left),
        cmocka_unit_test(a_line_that_makes_no_sense_is_named),
    };
    return cmocka_run_group_tests_name("unit.engine.postgresql_history", tests, NULL, NULL);
}
