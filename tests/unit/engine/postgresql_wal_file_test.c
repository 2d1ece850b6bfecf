/* SPDX-License-Identifier: Apache-2.0
 * Files of a log, made here byte for byte: what their names and first pages must say, where they
 * stop being log, and the instants of the commits in them, also of one that crosses a page. */
#include "worker/engine/postgresql_wal_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"

enum { SEGMENT = 1 << 20, PAGE = 8192, HEAD = 40, SHORT = 24, COMMIT = 24 + 2 + 8 };

static const char name[] = "000000020000000100000003"; /* 0x100300000 with these segments */
static const uint64_t start = UINT64_C(0x100300000);

static void put(uint8_t *at, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

/* Empty pages of timeline 2 with their heads. */
static uint8_t *segment(void)
{
    uint8_t *all = mem_array(uint8_t, SEGMENT);
    for (size_t page = 0; page < SEGMENT / PAGE; page++) {
        uint8_t *at = all + page * PAGE;
        put(at, 0xD110, 2);
        put(at + 2, page == 0 ? 2 : 0, 2);
        put(at + 4, 2, 4);
        put(at + 8, start + page * PAGE, 8);
    }
    put(all + 24, UINT64_C(7300000000000000001), 8);
    put(all + 32, SEGMENT, 4);
    put(all + 36, PAGE, 4);
    return all;
}

/* A commit of this many microseconds since 2000. */
static void commit(uint8_t out[COMMIT], int64_t instant)
{
    memset(out, 0, COMMIT);
    put(out, COMMIT, 4);
    out[17] = 1; /* of a transaction */
    out[24] = 255;
    out[25] = 8;
    put(out + 26, (uint64_t)instant, 8);
}

static void scan_all(PostgresqlWalScan *scan, const uint8_t *all, size_t step)
{
    PostgresqlWalHead head;
    Err err = {0};
    assert_true(postgresql_wal_head_parse(text_of(name), (Slice){all, SEGMENT}, &head, &err));
    postgresql_wal_scan_begin(scan, &head);
    for (size_t at = 0; at < SEGMENT; at += step)
        postgresql_wal_scan_add(scan, (Slice){all + at, SEGMENT - at < step ? SEGMENT - at : step});
}

static int64_t unix_us(int64_t instant)
{
    return instant + INT64_C(946684800000000);
}

static void names_say_what_they_are_of(void **state)
{
    static const struct {
        const char *name;
        PostgresqlWalKind kind;
    } cases[] = {
        {"000000010000000000000001", POSTGRESQL_WAL_SEGMENT},
        {"0000000A00000000000000FF.partial", POSTGRESQL_WAL_PARTIAL},
        {"0000000A.history", POSTGRESQL_WAL_HISTORY},
        {"000000010000000000000001.00000028.backup", POSTGRESQL_WAL_NOTE},
        {"00000001000000000000000", POSTGRESQL_WAL_OTHER},
        {"00000001000000000000000a", POSTGRESQL_WAL_OTHER},
        {"000000000000000000000001", POSTGRESQL_WAL_OTHER},
        {"000000010000000000000001.backup", POSTGRESQL_WAL_OTHER},
        {"../000000010000000000000001", POSTGRESQL_WAL_OTHER},
        {"", POSTGRESQL_WAL_OTHER},
    };
    uint32_t timeline;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(postgresql_wal_kind(text_of(cases[i].name), &timeline), cases[i].kind);
    assert_int_equal(postgresql_wal_kind(TEXT("0000000A.history"), &timeline),
                     POSTGRESQL_WAL_HISTORY);
    assert_int_equal(timeline, 10);
}

static void a_first_page_of_another_place_is_refused(void **state)
{
    static const char *const others[] = {"000000020000000100000004", "000000010000000100000003",
                                         "000000020000000200000003"};
    PostgresqlWalHead head;
    uint8_t *all = segment();
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        Err err = {0};
        assert_false(
            postgresql_wal_head_parse(text_of(others[i]), (Slice){all, PAGE}, &head, &err));
        assert_string_equal(err.cause, "wal.address");
    }
    /* No byte may be just anything, but for the version's, unknown flags, the timeline before, what
     * is left of a record, and the system. */
    for (size_t at = 0; at < HEAD; at++) {
        Err err = {0};
        bool free_byte = at == 0 || at == 3 || (at >= 4 && at < 8) || (at >= 16 && at < 32);
        all[at] ^= 0xFF;
        if (!free_byte)
            assert_false(postgresql_wal_head_parse(text_of(name), (Slice){all, PAGE}, &head, &err));
        all[at] ^= 0xFF;
    }
    Err err = {0};
    assert_false(postgresql_wal_head_parse(text_of(name), (Slice){all, HEAD - 1}, &head, &err));
    mem_free(all);
}

static void the_latest_commit_is_found_in_pieces_of_any_size(void **state)
{
    static const size_t steps[] = {SEGMENT, PAGE, 4097, 61};
    uint8_t record[COMMIT], *all = segment();
    (void)state;
    commit(record, 700);
    memcpy(all + HEAD, record, COMMIT);
    /* One fills the rest of the page but for 16 bytes; the next crosses it. */
    size_t at = HEAD + 40;
    put(all + at, PAGE - 16 - at, 4);
    commit(record, 900);
    memcpy(all + PAGE - 16, record, 16);
    put(all + PAGE + 2, 1, 2);
    put(all + PAGE + 16, COMMIT - 16, 4);
    memcpy(all + PAGE + SHORT, record + 16, COMMIT - 16);
    commit(record, 800);
    memcpy(all + PAGE + SHORT + 24, record, COMMIT);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        PostgresqlWalScan *scan = mem_new(PostgresqlWalScan);
        scan_all(scan, all, steps[i]);
        assert_int_equal(scan->commits, 3);
        assert_int_equal(scan->latest_us, unix_us(900));
        assert_int_equal(scan->sound, SEGMENT);
        mem_free(scan);
    }
    mem_free(all);
}

static void what_began_in_the_segment_before_is_passed_over(void **state)
{
    PostgresqlWalScan *scan = mem_new(PostgresqlWalScan);
    uint8_t record[COMMIT], *all = segment();
    (void)state;
    put(all + 2, 3, 2);
    put(all + 16, 30, 4);
    commit(record, 5000); /* only looks like one */
    memcpy(all + HEAD, record, 30);
    commit(record, 600);
    memcpy(all + HEAD + 32, record, COMMIT);
    scan_all(scan, all, PAGE);
    assert_int_equal(scan->commits, 1);
    assert_int_equal(scan->latest_us, unix_us(600));
    mem_free(scan);
    mem_free(all);
}

static void a_page_of_an_older_use_of_the_file_is_where_the_log_ends(void **state)
{
    PostgresqlWalScan *scan = mem_new(PostgresqlWalScan);
    uint8_t *all = segment();
    (void)state;
    put(all + 5 * PAGE + 8, start - SEGMENT + 5 * PAGE, 8);
    scan_all(scan, all, PAGE);
    assert_int_equal(scan->sound, 5 * PAGE);
    /* Behind a switch all is zero; then nothing may follow. */
    memset(all + 5 * PAGE, 0, SEGMENT - 5 * PAGE);
    scan_all(scan, all, PAGE);
    assert_int_equal(scan->sound, SEGMENT);
    all[9 * PAGE + 100] = 1;
    scan_all(scan, all, PAGE);
    assert_int_equal(scan->sound, 9 * PAGE);
    mem_free(scan);
    mem_free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_say_what_they_are_of),
        cmocka_unit_test(a_first_page_of_another_place_is_refused),
        cmocka_unit_test(the_latest_commit_is_found_in_pieces_of_any_size),
        cmocka_unit_test(what_began_in_the_segment_before_is_passed_over),
        cmocka_unit_test(a_page_of_an_older_use_of_the_file_is_where_the_log_ends),
    };
    return cmocka_run_group_tests_name("unit.engine.postgresql_wal_file", tests, NULL, NULL);
}
