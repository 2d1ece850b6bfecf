/* SPDX-License-Identifier: Apache-2.0
 * Parent lists of any length: written and read a few parts at a time, and never more than a hint.
 */
#include "common/base/mem.h"
#include "common/repo/today.h"
#include "common/repo/yesterday.h"
#include "protocol/disk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum {
    ROWS = 200000,
    PARTS_MOST = 64,
    NONE = -1,
};

static const int64_t LONG_AGO = 1500000000004000000;
static const uint8_t SECRET[32] = {7};

typedef struct Shelf {
    Buf parts[PARTS_MOST];
    uint64_t count, largest;
    uint64_t loads;
    int missing; /* a part that cannot be read; NONE */
} Shelf;

static bool keep_part(void *ctx, uint64_t part, Slice body, Err *err)
{
    (void)err;
    Shelf *shelf = ctx;
    assert_true(part < PARTS_MOST);
    assert_int_equal(shelf->parts[part].len, 0);
    buf_add_slice(&shelf->parts[part], body);
    shelf->count++;
    if (body.len > shelf->largest)
        shelf->largest = body.len;
    return true;
}

static bool load_part(void *ctx, uint64_t part, Buf *body)
{
    Shelf *shelf = ctx;
    shelf->loads++;
    if ((int)part == shelf->missing || part >= PARTS_MOST || shelf->parts[part].len == 0)
        return false;
    buf_add_slice(body, buf_slice(&shelf->parts[part]));
    return true;
}

static void shelf_free(Shelf *shelf)
{
    for (size_t i = 0; i < PARTS_MOST; i++)
        buf_free(&shelf->parts[i]);
}

static uint64_t device; /* 0: only paths tell files */

static Entry entry_of(unsigned number, char path[40])
{
    snprintf(path, 40, "folder/%08u", number);
    return (Entry){.path = text_of(path),
                   .type = ENTRY_FILE,
                   .size = 100,
                   .mtime_ns = LONG_AGO,
                   .ctime_ns = LONG_AGO,
                   .device = device,
                   .inode = number + 1};
}

static void id_of(unsigned number, ChunkId *id)
{
    memset(id, 0, sizeof *id);
    for (unsigned i = 0; i < 4; i++)
        id->bytes[i] = (uint8_t)((number * 2654435761u) >> 8 * i);
    memcpy(id->bytes + 8, &number, sizeof number);
}

/* One in three is marked, one in two had no attributes. */
static ParentsFacts facts_of(unsigned number)
{
    ParentsFacts facts = {.bare = number % 2 == 0, .marked = number % 3 == 0};
    if (facts.marked)
        memcpy(facts.mark, &number, sizeof number);
    return facts;
}

/* ROWS files of one chunk each. */
static void fill(Shelf *shelf)
{
    Err err = {0};
    char path[40];
    *shelf = (Shelf){.missing = NONE};
    Today *today = today_new(keep_part, shelf);
    for (unsigned i = 0; i < ROWS; i++) {
        scoped(buf_free) Buf row = {0};
        ParentsKey key;
        Entry entry = entry_of(i, path);
        Extent extent = {.offset = 5, .length = 100};
        ParentsFacts facts = facts_of(i);
        id_of(i, &extent.id);
        parents_key(&key, SECRET, &entry);
        Parents *part = today_join(today);
        assert_true(parents_extent(part, &row, &extent));
        today_add(today, part, &key, &facts, buf_slice(&row));
        assert_true(today_leave(today, part, &err));
    }
    assert_true(today_finish(today, &err));
    today_free(today);
    assert_true(shelf->count > 4);
    assert_true(shelf->largest < 2 * 1024 * 1024);
}

static bool right(YesterdayPart *part, ParentsRow row, unsigned number)
{
    Extent extent;
    ChunkId id;
    uint32_t index;
    id_of(number, &id);
    ParentsFacts facts = facts_of(number);
    return row.facts.bare == facts.bare && row.facts.marked == facts.marked &&
           memcmp(row.facts.mark, facts.mark, sizeof facts.mark) == 0 &&
           parents_next(part->parents, &row, &extent, &index) && extent.offset == 5 &&
           extent.length == 100 && memcmp(&extent.id, &id, sizeof id) == 0 && row.left == 0;
}

/* How many of the files from..to (every step-th) the list knows; a wrong row fails the test. */
static unsigned known_of(Yesterday *yesterday, unsigned from, unsigned to, bool touched)
{
    unsigned known = 0;
    char path[40];
    for (unsigned i = from; i < to; i++) {
        ParentsKey key;
        ParentsRow row;
        Entry entry = entry_of(i, path);
        entry.mtime_ns += touched;
        parents_key(&key, SECRET, &entry);
        YesterdayPart *part = yesterday_row(yesterday, &key, &row);
        if (part == NULL)
            continue;
        assert_true(right(part, row, i));
        yesterday_release(part);
        known++;
    }
    return known;
}

static void a_list_of_many_parts_is_read_along_with_the_walk(void **state)
{
    (void)state;
    Shelf shelf;
    fill(&shelf);
    Yesterday *yesterday = yesterday_open(load_part, &shelf, true);
    assert_non_null(yesterday);
    assert_int_equal(known_of(yesterday, 0, ROWS, false), ROWS);
    assert_int_equal(shelf.loads, shelf.count); /* each part once */
    yesterday_free(yesterday);
    shelf_free(&shelf);
}

static void what_was_deleted_or_touched_in_between_costs_a_sign_at_most(void **state)
{
    (void)state;
    Shelf shelf;
    fill(&shelf);
    Yesterday *yesterday = yesterday_open(load_part, &shelf, true);
    assert_int_equal(known_of(yesterday, 0, 10, false), 10);
    /* Most of the list is gone: its parts are never loaded. */
    unsigned known = known_of(yesterday, 150000, 170000, false);
    assert_true(known > 20000 - 8 * 1024);
    assert_true(shelf.loads < 3 + 4);
    yesterday_free(yesterday);

    yesterday = yesterday_open(load_part, &shelf, true);
    assert_int_equal(known_of(yesterday, 0, 150000, true), 0);
    /* The signs of touched files led the window along. */
    assert_true(known_of(yesterday, 150000, ROWS, false) > 50000 - 8 * 1024);
    yesterday_free(yesterday);
    shelf_free(&shelf);
}

static void where_inodes_tell_files_nothing_is_read_for_what_was_deleted(void **state)
{
    (void)state;
    Shelf shelf;
    device = 7;
    fill(&shelf);
    Yesterday *yesterday = yesterday_open(load_part, &shelf, true);
    assert_int_equal(known_of(yesterday, 0, 10, false), 10);
    /* All is looked through once, and the walk goes on from there. */
    assert_int_equal(known_of(yesterday, 150000, ROWS, false), 50000);
    assert_true(shelf.loads < 2 * shelf.count + 2);
    yesterday_free(yesterday);
    shelf_free(&shelf);
    device = 0;
}

static void a_part_that_is_lost_or_swapped_costs_its_rows_alone(void **state)
{
    (void)state;
    Shelf shelf;
    fill(&shelf);
    unsigned a_part = ROWS / (unsigned)shelf.count + 8 * 1024;
    shelf.missing = 3;
    Yesterday *yesterday = yesterday_open(load_part, &shelf, true);
    unsigned known = known_of(yesterday, 0, ROWS, false);
    assert_true(known < ROWS && known > ROWS - 2 * a_part);
    yesterday_free(yesterday);

    shelf.missing = NONE;
    Buf swapped = shelf.parts[2];
    shelf.parts[2] = shelf.parts[4];
    shelf.parts[4] = swapped;
    yesterday = yesterday_open(load_part, &shelf, true);
    assert_true(known_of(yesterday, 0, ROWS, false) > ROWS / 3);
    yesterday_free(yesterday);

    shelf.missing = 0;
    assert_null(yesterday_open(load_part, &shelf, true));
    shelf_free(&shelf);
}

/* How many of from..to are known under another path; a wrong row fails the test. */
static unsigned known_elsewhere(Yesterday *yesterday, unsigned from, unsigned to, unsigned step)
{
    unsigned known = 0;
    char path[40];
    for (unsigned i = from; i < to; i++) {
        ParentsKey key;
        ParentsRow row;
        unsigned number = (unsigned)((uint64_t)i * step % ROWS);
        Entry entry = entry_of(number, path);
        path[0] = 'F';
        parents_key(&key, SECRET, &entry);
        YesterdayPart *part = yesterday_row(yesterday, &key, &row);
        if (part == NULL)
            continue;
        assert_true(right(part, row, number));
        yesterday_release(part);
        known++;
    }
    return known;
}

static void files_of_a_renamed_folder_are_found_wherever_they_were(void **state)
{
    (void)state;
    Shelf shelf;
    device = 7;
    fill(&shelf);
    Yesterday *yesterday = yesterday_open(load_part, &shelf, true);
    assert_int_equal(known_elsewhere(yesterday, 150000, ROWS, 1), 50000);
    assert_int_equal(known_elsewhere(yesterday, 0, 60000, 1), 60000);
    assert_true(shelf.loads < 4 * shelf.count);
    /* They did not lead the window away from where the walk is. */
    assert_int_equal(known_of(yesterday, 0, ROWS, false), ROWS);
    yesterday_free(yesterday);

    /* Files that come from everywhere load some parts again and again, but not for ever. */
    shelf.loads = 0;
    yesterday = yesterday_open(load_part, &shelf, true);
    assert_true(known_elsewhere(yesterday, 0, ROWS, 77777) < ROWS);
    assert_true(shelf.loads < 5 * shelf.count + 64);
    assert_int_equal(known_of(yesterday, 0, ROWS, false), ROWS);
    yesterday_free(yesterday);
    shelf_free(&shelf);
    device = 0;
}

/* As after a checkout or a copy: every file has other stamps, and what it had in it. */
static void what_was_written_anew_is_known_by_its_content(void **state)
{
    (void)state;
    Shelf shelf;
    char path[40];
    unsigned known = 0;
    fill(&shelf);
    Yesterday *yesterday = yesterday_open(load_part, &shelf, true);
    for (unsigned i = 0; i < ROWS; i++) {
        ParentsKey key;
        ParentsRow row;
        Entry entry = entry_of(i, path);
        ParentsFacts facts = facts_of(i);
        entry.mtime_ns = entry.ctime_ns = LONG_AGO + i + 1;
        parents_key(&key, SECRET, &entry);
        assert_null(yesterday_row(yesterday, &key, &row));
        facts.mark[8] ^= i % 4 == 0; /* its content is another one */
        YesterdayPart *part = yesterday_marked(yesterday, &key, facts.mark, &row);
        assert_true(part == NULL || (i % 3 == 0 && i % 4 != 0));
        if (part == NULL)
            continue;
        assert_true(right(part, row, i));
        yesterday_release(part);
        known++;
    }
    /* Where the walk lost its place, up to the next sign, it is found no more. */
    assert_true(known > ROWS / 4 - ROWS / 16);
    yesterday_free(yesterday);
    shelf_free(&shelf);
}

static void a_row_outlives_the_window_while_it_is_held(void **state)
{
    (void)state;
    Shelf shelf;
    char path[40];
    ParentsKey key;
    ParentsRow row;
    fill(&shelf);
    Yesterday *yesterday = yesterday_open(load_part, &shelf, true);
    Entry entry = entry_of(3, path);
    parents_key(&key, SECRET, &entry);
    YesterdayPart *held = yesterday_row(yesterday, &key, &row);
    assert_non_null(held);
    assert_int_equal(known_of(yesterday, 4, ROWS, false), ROWS - 4);
    yesterday_free(yesterday);
    assert_true(right(held, row, 3));
    yesterday_release(held);
    shelf_free(&shelf);
}

static void an_entry_of_too_many_pieces_is_left_out(void **state)
{
    (void)state;
    scoped(buf_free) Buf row = {0};
    scoped(buf_free) Buf body = {0};
    Parents *part = parents_new();
    Extent extent = {.length = 1};
    unsigned i = 0;
    for (id_of(0, &extent.id); parents_extent(part, &row, &extent); id_of(++i, &extent.id))
        assert_true(i <= PARENTS_IDS_MAX);
    assert_int_equal(i, PARENTS_IDS_MAX);
    for (i = 0; i < 20; i++)
        parents_add(part, &(ParentsKey){.bytes = {(uint8_t)i}}, &(ParentsFacts){0},
                    buf_slice(&row));
    parents_body(part, &(ParentsEnd){0}, &body);
    assert_true(body.len < DISK_OBJECT_MOST);
    /* A hole and a block in turn name one id and need a row without end all the same. */
    buf_clear(&row);
    for (i = 0; i < 10000000 && parents_extent(part, &row, &extent); i++)
        extent.zeros = !extent.zeros;
    assert_true(i < 10000000);
    parents_free(part);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_of_many_parts_is_read_along_with_the_walk),
        cmocka_unit_test(what_was_deleted_or_touched_in_between_costs_a_sign_at_most),
        cmocka_unit_test(where_inodes_tell_files_nothing_is_read_for_what_was_deleted),
        cmocka_unit_test(a_part_that_is_lost_or_swapped_costs_its_rows_alone),
        cmocka_unit_test(files_of_a_renamed_folder_are_found_wherever_they_were),
        cmocka_unit_test(what_was_written_anew_is_known_by_its_content),
        cmocka_unit_test(a_row_outlives_the_window_while_it_is_held),
        cmocka_unit_test(an_entry_of_too_many_pieces_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
