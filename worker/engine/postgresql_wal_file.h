/* SPDX-License-Identifier: Apache-2.0
 * postgresql_wal_file.h — what can be read from a file of a server's log without the server: whose
 * it is, where it lies, and the instants of the commits in it. Byte for byte as servers write on
 * this kind of machine: 8-byte alignment, little-endian. The layout is the same from PostgreSQL 13
 * to 18; it was run against 15. */
#ifndef WORKER_ENGINE_POSTGRESQL_WAL_FILE_H
#define WORKER_ENGINE_POSTGRESQL_WAL_FILE_H

#include "worker/engine/postgresql_replication.h"

typedef enum PostgresqlWalKind {
    POSTGRESQL_WAL_OTHER,   /* no file of a log */
    POSTGRESQL_WAL_SEGMENT, /* 24 hexadecimal digits */
    POSTGRESQL_WAL_PARTIAL, /* and ".partial": the last one of a timeline that was left */
    POSTGRESQL_WAL_HISTORY, /* 8 digits and ".history" */
    POSTGRESQL_WAL_NOTE,    /* "<segment>.<8 digits>.backup": a note of a base backup, for people */
} PostgresqlWalKind;

/* By its name alone; its timeline, 0 of no file of a log. */
PostgresqlWalKind postgresql_wal_kind(Text name, uint32_t *timeline);

enum {
    POSTGRESQL_WAL_PAGE_MOST = 65536,
    POSTGRESQL_WAL_HEAD = 40,   /* bytes of a segment that say whose it is */
    POSTGRESQL_WAL_RECORD = 64, /* as much of a record as its commit's instant needs */
};

typedef struct PostgresqlWalHead {
    uint16_t magic;
    uint32_t timeline; /* of its first page: on a new timeline's first segment the one before */
    uint64_t start;    /* of the segment */
    uint64_t system;
    uint32_t segment_bytes, page_bytes;
} PostgresqlWalHead;

/* The beginning of a segment or partial called `name`; refused when it makes no sense or is of
 * another place than its name says. */
MUST_CHECK bool postgresql_wal_head_parse(Text name, Slice bytes, PostgresqlWalHead *out, Err *err);

/* Goes through a segment in pieces of any size, from its first byte. */
typedef struct PostgresqlWalScan {
    PostgresqlWalHead head;
    uint8_t page[POSTGRESQL_WAL_PAGE_MOST];
    size_t have;    /* of the page */
    uint64_t pages; /* that were looked at */
    uint64_t sound; /* bytes from the beginning in pages that belong here */
    bool empty;     /* a page of zeros came: behind a switch there is nothing more */
    bool over;      /* no more records can be followed */
    uint64_t left;  /* bytes of the record that goes on in the next page */
    uint8_t record[POSTGRESQL_WAL_RECORD];
    size_t record_have;
    uint64_t commits;
    int64_t
        latest_us; /* since 1970: the latest instant of a commit or an abort; 0: there is none */
} PostgresqlWalScan;

void postgresql_wal_scan_begin(PostgresqlWalScan *scan, const PostgresqlWalHead *head);
void postgresql_wal_scan_add(PostgresqlWalScan *scan, Slice bytes);

#endif
