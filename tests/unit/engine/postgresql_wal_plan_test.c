/* SPDX-License-Identifier: Apache-2.0
 * Which files of a spool make the next batch: what goes on without a hole, where a hole ends it,
 * the end of a timeline that was left, what comes once more, and what is no file of this log. */
#include "worker/engine/postgresql_wal_plan.h"

#include "common/base/mem.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { SEGMENT = 1 << 20, PAGE = 8192 };

static const char system_id[] = "7300000000000000001";

typedef struct Place {
    char top[40];
    PostgresqlSpool spool;
    PostgresqlWalPlan plan;
} Place;

static int set_up(void **state)
{
    Place *place = mem_new(Place);
    Err err = {0};
    snprintf(place->top, sizeof place->top, "/var/tmp/wal-plan.XXXXXX");
    assert_non_null(mkdtemp(place->top));
    assert_true(postgresql_spool_open(&place->spool, place->top, system_id, true, &err));
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    Place *place = *state;
    char command[80];
    postgresql_wal_plan_free(&place->plan);
    postgresql_spool_close(&place->spool);
    snprintf(command, sizeof command, "rm -r %s", place->top);
    assert_int_equal(system(command), 0);
    mem_free(place);
    return 0;
}

static void put(uint8_t *at, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

/* A file of `bytes` whose first page says which segment of which cluster it is. */
static void lay_as(const Place *place, uint32_t timeline, uint64_t number, const char *end,
                   uint64_t cluster, off_t bytes)
{
    uint8_t head[40] = {0};
    char name[POSTGRESQL_WAL_FILE], segment[POSTGRESQL_WAL_NAME];
    put(head, 0xD110, 2);
    put(head + 2, 2, 2);
    put(head + 4, timeline, 4);
    put(head + 8, number * SEGMENT, 8);
    put(head + 24, cluster, 8);
    put(head + 32, SEGMENT, 4);
    put(head + 36, PAGE, 4);
    postgresql_wal_name(timeline, number * SEGMENT, SEGMENT, segment);
    snprintf(name, sizeof name, "%s%s", segment, end);
    int fd = openat(place->spool.fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, head, sizeof head), sizeof head);
    assert_int_equal(ftruncate(fd, bytes), 0);
    close(fd);
}

static void lay(const Place *place, uint32_t timeline, uint64_t number, const char *end)
{
    lay_as(place, timeline, number, end, strtoull(system_id, NULL, 10), SEGMENT);
}

/* Timeline 2 left timeline 1 there. */
static void lay_history(const Place *place, uint64_t switched)
{
    char text[80], lsn[POSTGRESQL_LSN_TEXT];
    Err err = {0};
    postgresql_lsn_text(switched, lsn);
    snprintf(text, sizeof text, "1\t%s\tno recovery target specified\n", lsn);
    assert_true(postgresql_spool_put(&place->spool, place->spool.history, "00000002.history",
                                     slice_of_text(text_of(text)), &err));
}

/* After what is stored up to `from` of a timeline; 0: nothing is. */
static PostgresqlWalPlan *make(Place *place, uint32_t timeline, uint64_t from)
{
    Err err = {0};
    place->plan = (PostgresqlWalPlan){
        .spool = &place->spool, .has_from = from > 0, .from_timeline = timeline, .from = from};
    memcpy(place->plan.system, system_id, sizeof system_id);
    if (!postgresql_wal_plan_make(&place->plan, &err))
        fail_msg("%s", err.text);
    return &place->plan;
}

static void assert_piece(const PostgresqlWalPlan *plan, size_t i, const char *name, uint64_t start,
                         uint64_t end)
{
    assert_true(i < plan->count);
    assert_string_equal(plan->pieces[i].name, name);
    if (plan->pieces[i].history == NULL) {
        assert_int_equal(plan->pieces[i].start, start);
        assert_int_equal(plan->pieces[i].end, end);
    }
}

static void what_follows_is_taken_in_order(void **state)
{
    Place *place = *state;
    assert_int_equal(make(place, 1, UINT64_C(5) * SEGMENT)->count, 0);
    assert_true(place->plan.reached);
    postgresql_wal_plan_free(&place->plan);
    lay(place, 1, 6, "");
    lay(place, 1, 5, "");
    const PostgresqlWalPlan *plan = make(place, 1, UINT64_C(5) * SEGMENT);
    assert_int_equal(plan->count, 2);
    assert_piece(plan, 0, "000000010000000000000005", 5 * SEGMENT, 6 * SEGMENT);
    assert_piece(plan, 1, "000000010000000000000006", 6 * SEGMENT, 7 * SEGMENT);
    assert_true(plan->reached && !plan->gap && plan->oldest_file_us > 0);
}

static void the_first_batch_begins_where_the_spool_does(void **state)
{
    Place *place = *state;
    lay(place, 1, 9, "");
    const PostgresqlWalPlan *plan = make(place, 0, 0);
    assert_int_equal(plan->count, 1);
    assert_true(plan->reached && !plan->gap);
}

static void a_batch_has_one_hole_at_most(void **state)
{
    Place *place = *state;
    lay(place, 1, 7, "");
    lay(place, 1, 8, "");
    lay(place, 1, 10, "");
    const PostgresqlWalPlan *plan = make(place, 1, UINT64_C(5) * SEGMENT);
    assert_int_equal(plan->count, 2);
    assert_true(plan->gap && !plan->reached);
    assert_int_equal(plan->gap_from, 5 * SEGMENT);
    assert_int_equal(plan->gap_to, 7 * SEGMENT);
}

static void what_comes_once_more_is_no_hole(void **state)
{
    Place *place = *state;
    lay(place, 1, 3, "");
    lay(place, 1, 5, "");
    const PostgresqlWalPlan *plan = make(place, 1, UINT64_C(5) * SEGMENT);
    assert_int_equal(plan->count, 2);
    assert_false(plan->gap);
}

/* A server was promoted in the middle of a segment: its first file has the end of the line that it
 * left, which the one that is gone never pushed. */
static void the_end_of_a_timeline_is_borrowed(void **state)
{
    Place *place = *state;
    uint64_t switched = 5 * SEGMENT + 3 * PAGE;
    lay_history(place, switched);
    lay(place, 2, 5, "");
    const PostgresqlWalPlan *plan = make(place, 1, UINT64_C(5) * SEGMENT);
    assert_int_equal(plan->count, 3);
    assert_piece(plan, 0, "000000010000000000000005.partial", 5 * SEGMENT, switched);
    assert_true(plan->pieces[0].borrowed);
    assert_piece(plan, 1, "000000020000000000000005", 5 * SEGMENT, 6 * SEGMENT);
    assert_piece(plan, 2, "00000002.history", 0, 0);
    assert_false(plan->gap);
}

static void a_part_is_of_use_where_its_timeline_was_left(void **state)
{
    Place *place = *state;
    uint64_t switched = 5 * SEGMENT + 3 * PAGE;
    lay(place, 1, 5, ".partial");
    assert_int_equal(make(place, 1, UINT64_C(5) * SEGMENT)->count, 0);
    postgresql_wal_plan_free(&place->plan);
    lay_history(place, switched);
    const PostgresqlWalPlan *plan = make(place, 1, UINT64_C(5) * SEGMENT);
    assert_int_equal(plan->count, 2);
    assert_piece(plan, 0, "000000010000000000000005.partial", 5 * SEGMENT, switched);
    assert_piece(plan, 1, "00000002.history", 0, 0);
}

/* The line before was stored up to less than where it was left. */
static void a_hole_before_a_switch_is_seen(void **state)
{
    Place *place = *state;
    lay_history(place, 8 * SEGMENT);
    lay(place, 2, 8, "");
    const PostgresqlWalPlan *plan = make(place, 1, UINT64_C(5) * SEGMENT);
    assert_true(plan->gap);
    assert_int_equal(plan->gap_from, 5 * SEGMENT);
    assert_int_equal(plan->gap_to, 8 * SEGMENT);
}

static void refused(Place *place, const char *cause)
{
    Err err = {0};
    place->plan = (PostgresqlWalPlan){.spool = &place->spool};
    memcpy(place->plan.system, system_id, sizeof system_id);
    assert_false(postgresql_wal_plan_make(&place->plan, &err));
    assert_string_equal(err.cause, cause);
    postgresql_wal_plan_free(&place->plan);
}

static void what_is_no_file_of_this_log_is_refused(void **state)
{
    Place *place = *state;
    lay_as(place, 1, 5, "", 42, SEGMENT);
    refused(place, "wal.spool_damaged");
    lay_as(place, 1, 5, "", strtoull(system_id, NULL, 10), SEGMENT - PAGE);
    refused(place, "wal.spool_damaged");
    lay(place, 1, 5, "");
    assert_int_equal(renameat(place->spool.fd, "000000010000000000000005", place->spool.fd,
                              "000000010000000000000006"),
                     0);
    refused(place, "wal.address");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_follows_is_taken_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_first_batch_begins_where_the_spool_does, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_batch_has_one_hole_at_most, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_comes_once_more_is_no_hole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_end_of_a_timeline_is_borrowed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_part_is_of_use_where_its_timeline_was_left, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_hole_before_a_switch_is_seen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_file_of_this_log_is_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
