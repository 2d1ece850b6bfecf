/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_wal_file.h"

#include <string.h>

enum {
    NAME_DIGITS = 24,
    TIMELINE_DIGITS = 8,
    HEAD_SHORT = 24,    /* of a page */
    FLAG_CONTINUED = 1, /* its first bytes belong to a record of the page before */
    FLAG_LONG = 2,      /* it has the long head: a segment's first page */
    RECORD_HEAD = 24,
    MANAGER_TRANSACTION = 1,
    OP_MASK = 0x70,
    OP_COMMIT = 0x00,
    OP_ABORT = 0x20,
    OP_COMMIT_PREPARED = 0x30,
    OP_ABORT_PREPARED = 0x40,
    PART_DATA_SHORT = 255,
    PART_DATA_LONG = 254,
    PART_ORIGIN = 253,
    PART_TOP = 252,
    PAGE_LEAST = 1024,
};

static const int64_t EPOCH_US = INT64_C(946684800) * 1000000; /* 2000-01-01 */
static const uint64_t SEGMENT_LEAST = UINT64_C(1) << 20, SEGMENT_MOST = UINT64_C(1) << 30;

static uint16_t le16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static uint32_t le32(const uint8_t *at)
{
    return (uint32_t)le16(at) | (uint32_t)le16(at + 2) << 16;
}

static uint64_t le64(const uint8_t *at)
{
    return (uint64_t)le32(at) | (uint64_t)le32(at + 4) << 32;
}

/* --- names ---------------------------------------------------------------------------------- */

static bool digits(Text name, size_t from, size_t count)
{
    if (name.len < from + count)
        return false;
    for (size_t i = from; i < from + count; i++)
        if (!((name.at[i] >= '0' && name.at[i] <= '9') || (name.at[i] >= 'A' && name.at[i] <= 'F')))
            return false;
    return true;
}

static bool rest_is(Text name, size_t from, const char *rest)
{
    return text_equal((Text){name.at + from, name.len - from}, text_of(rest));
}

static uint32_t timeline_of(Text name)
{
    uint32_t value = 0;
    for (size_t i = 0; i < TIMELINE_DIGITS; i++) {
        char c = name.at[i];
        value = value * 16 + (uint32_t)(c <= '9' ? c - '0' : c - 'A' + 10);
    }
    return value;
}

PostgresqlWalKind postgresql_wal_kind(Text name, uint32_t *timeline)
{
    PostgresqlWalKind kind = POSTGRESQL_WAL_OTHER;
    if (digits(name, 0, NAME_DIGITS)) {
        if (name.len == NAME_DIGITS)
            kind = POSTGRESQL_WAL_SEGMENT;
        else if (rest_is(name, NAME_DIGITS, ".partial"))
            kind = POSTGRESQL_WAL_PARTIAL;
        else if (name.at[NAME_DIGITS] == '.' && digits(name, NAME_DIGITS + 1, TIMELINE_DIGITS) &&
                 rest_is(name, NAME_DIGITS + 1 + TIMELINE_DIGITS, ".backup"))
            kind = POSTGRESQL_WAL_NOTE;
    } else if (digits(name, 0, TIMELINE_DIGITS) && rest_is(name, TIMELINE_DIGITS, ".history")) {
        kind = POSTGRESQL_WAL_HISTORY;
    }
    *timeline = kind == POSTGRESQL_WAL_OTHER ? 0 : timeline_of(name);
    if (*timeline == 0)
        kind = POSTGRESQL_WAL_OTHER;
    return kind;
}

/* --- the head ------------------------------------------------------------------------------- */

static bool power_of_two(uint64_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

bool postgresql_wal_head_parse(Text name, Slice bytes, PostgresqlWalHead *out, Err *err)
{
    char expected[POSTGRESQL_WAL_NAME];
    uint32_t timeline;
    PostgresqlWalKind kind = postgresql_wal_kind(name, &timeline);
    if (kind != POSTGRESQL_WAL_SEGMENT && kind != POSTGRESQL_WAL_PARTIAL)
        return err_set(err, ERR_INVALID, "wal.name", "%.*s is no name of a segment of a log",
                       (int)(name.len < 80 ? name.len : 80), name.at);
    const uint8_t *at = bytes.at;
    bool whole = bytes.len >= POSTGRESQL_WAL_HEAD;
    if (whole)
        *out = (PostgresqlWalHead){.magic = le16(at),
                                   .timeline = le32(at + 4),
                                   .start = le64(at + 8),
                                   .system = le64(at + 24),
                                   .segment_bytes = le32(at + 32),
                                   .page_bytes = le32(at + 36)};
    /* The magic number counts up with each version: 0xD106 is PostgreSQL 13. */
    if (!whole || out->magic < 0xD000 || out->magic > 0xD2FF || (le16(at + 2) & FLAG_LONG) == 0 ||
        !power_of_two(out->segment_bytes) || out->segment_bytes < SEGMENT_LEAST ||
        out->segment_bytes > SEGMENT_MOST || !power_of_two(out->page_bytes) ||
        out->page_bytes < PAGE_LEAST || out->page_bytes > POSTGRESQL_WAL_PAGE_MOST ||
        out->system == 0)
        return err_set(err, ERR_INVALID, "wal.head",
                       "%.*s does not begin as a segment of a log does: it is no log, of a machine "
                       "of another kind, or damaged",
                       TEXT_ARG(name));
    postgresql_wal_name(timeline, out->start, out->segment_bytes, expected);
    if (out->start % out->segment_bytes != 0 || out->timeline > timeline ||
        memcmp(expected, name.at, NAME_DIGITS) != 0)
        return err_set(err, ERR_INVALID, "wal.address",
                       "%.*s says of itself that it is %s of timeline %u: it was renamed, or its "
                       "file was used again before it was archived",
                       TEXT_ARG(name), expected, out->timeline);
    return true;
}

/* --- records -------------------------------------------------------------------------------- */

void postgresql_wal_scan_begin(PostgresqlWalScan *scan, const PostgresqlWalHead *head)
{
    scan->head = *head;
    scan->have = scan->record_have = 0;
    scan->pages = scan->sound = scan->left = scan->commits = 0;
    scan->empty = scan->over = false;
    scan->latest_us = 0;
}

/* Where a commit's own data begin, behind the heads of its parts; 0: it has others than known. */
static size_t data_of(const uint8_t *record, size_t have)
{
    size_t at = RECORD_HEAD;
    while (at < have) {
        switch (record[at]) {
        case PART_DATA_SHORT:
            return at + 2;
        case PART_DATA_LONG:
            return at + 5;
        case PART_ORIGIN:
            at += 3;
            break;
        case PART_TOP:
            at += 5;
            break;
        default:
            return 0;
        }
    }
    return 0;
}

static void take_record(PostgresqlWalScan *scan)
{
    const uint8_t *record = scan->record;
    if (scan->record_have < RECORD_HEAD || record[17] != MANAGER_TRANSACTION)
        return;
    unsigned op = record[16] & OP_MASK;
    if (op != OP_COMMIT && op != OP_ABORT && op != OP_COMMIT_PREPARED && op != OP_ABORT_PREPARED)
        return;
    size_t at = data_of(record, scan->record_have);
    if (at == 0 || at + 8 > scan->record_have)
        return;
    int64_t instant = (int64_t)le64(record + at) + EPOCH_US;
    scan->commits++;
    if (instant > scan->latest_us)
        scan->latest_us = instant;
}

static size_t aligned(size_t at)
{
    return (at + 7) & ~(size_t)7;
}

/* Bytes of the page from `at` that belong to the record; where it goes on. */
static size_t take_bytes(PostgresqlWalScan *scan, size_t at)
{
    size_t room = scan->head.page_bytes - at;
    size_t take = scan->left < room ? (size_t)scan->left : room;
    size_t wanted = sizeof scan->record - scan->record_have;
    size_t kept = take < wanted ? take : wanted;
    memcpy(scan->record + scan->record_have, scan->page + at, kept);
    scan->record_have += kept;
    scan->left -= take;
    if (scan->left == 0)
        take_record(scan);
    return aligned(at + take);
}

static void follow_records(PostgresqlWalScan *scan, size_t at)
{
    while (scan->left > 0 || at + 4 <= scan->head.page_bytes) {
        if (scan->left == 0) {
            scan->left = le32(scan->page + at);
            scan->record_have = 0;
            scan->over = scan->left < RECORD_HEAD; /* nothing more was written */
            if (scan->over)
                return;
        }
        if (at >= scan->head.page_bytes)
            return;
        at = take_bytes(scan, at);
    }
}

static bool is_zero(const uint8_t *at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (at[i] != 0)
            return false;
    return true;
}

/* Is the page of this place? One of an older use of the file has another address. */
static bool page_fits(const PostgresqlWalScan *scan)
{
    const uint8_t *page = scan->page;
    uint64_t address = scan->head.start + scan->pages * scan->head.page_bytes;
    if (scan->pages > 0 && is_zero(page, HEAD_SHORT))
        return is_zero(page, scan->head.page_bytes);
    return !scan->empty && le16(page) == scan->head.magic && le64(page + 8) == address;
}

static void read_page(PostgresqlWalScan *scan)
{
    const uint8_t *page = scan->page;
    unsigned flags = le16(page + 2);
    /* What went before the first page is not known: the rest of its record is passed over. */
    if (scan->pages == 0 && (flags & FLAG_CONTINUED) != 0) {
        scan->left = le32(page + 16);
        scan->record_have = sizeof scan->record;
        memset(scan->record, 0, sizeof scan->record);
    } else if ((flags & FLAG_CONTINUED) == 0) {
        scan->left = 0; /* also where a record was given up and begun anew */
    } else if (scan->left == 0) {
        scan->over = true;
        return;
    }
    follow_records(scan, (flags & FLAG_LONG) != 0 ? POSTGRESQL_WAL_HEAD : HEAD_SHORT);
}

static void take_page(PostgresqlWalScan *scan)
{
    bool fits = scan->sound == scan->pages * scan->head.page_bytes && page_fits(scan);
    scan->empty = scan->empty || (fits && le16(scan->page) == 0);
    scan->sound += fits ? scan->head.page_bytes : 0;
    if (fits && !scan->empty && !scan->over)
        read_page(scan);
    scan->over = scan->over || !fits || scan->empty;
    scan->pages++;
    scan->have = 0;
}

void postgresql_wal_scan_add(PostgresqlWalScan *scan, Slice bytes)
{
    while (bytes.len > 0) {
        size_t room = scan->head.page_bytes - scan->have;
        size_t take = bytes.len < room ? bytes.len : room;
        memcpy(scan->page + scan->have, bytes.at, take);
        scan->have += take;
        bytes = (Slice){bytes.at + take, bytes.len - take};
        if (scan->have == scan->head.page_bytes)
            take_page(scan);
    }
}
