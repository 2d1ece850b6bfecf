/* SPDX-License-Identifier: Apache-2.0
 * entry.h — one thing in a backup: a file, a directory, a table's rows, a schema section.
 * Engines make and eat entries, the repository stores them, neither knows the other; so the word
 * they share lives here. The strings are borrowed from whoever produced the Entry. */
#ifndef PROTOCOL_ENTRY_H
#define PROTOCOL_ENTRY_H

#include "protocol/bytes.h"

/* Written into manifests: never renumber, never reuse. */
typedef enum EntryType {
    ENTRY_FILE = 1,
    ENTRY_DIRECTORY = 2,
    ENTRY_SYMLINK = 3,
    ENTRY_HARDLINK = 4, /* link names the entry path of an earlier file of this backup */
    ENTRY_FIFO = 5,
    ENTRY_SOCKET = 6,
    ENTRY_CHARDEV = 7,
    ENTRY_BLOCKDEV = 8,
    ENTRY_STREAM = 9, /* bytes with no file metadata: database content */
} EntryType;

/* How content is best cut; decides the chunk size and whether pages are kept aligned. */
typedef enum EntryCut {
    CUT_DUMP = 1,  /* text and streams: about 1 MiB, content-defined */
    CUT_IMAGE = 2, /* database files and disk images: about 96 KiB, page-aligned */
    CUT_LARGE = 3, /* other large files: about 96 KiB, content-defined */
} EntryCut;

typedef struct EntryAttribute {
    Text name; /* "user.note", "system.posix_acl_access" */
    Slice value;
} EntryAttribute;

typedef struct Entry {
    Text path;    /* unique in the backup; raw bytes, '/' between parts, no leading or trailing '/',
                     no empty part, no "." or ".."; sorted bytewise in a manifest */
    uint8_t type; /* EntryType */
    uint8_t cut;  /* EntryCut; only where there is content */
    uint8_t phase; /* a restore finishes every entry of phase n before it starts phase n + 1 */
    uint32_t mode; /* permission bits with setuid, setgid, sticky: 07777 */
    uint32_t uid, gid;
    Text user, group;       /* names where they were known, else empty */
    int64_t mtime_ns;       /* since 1970 */
    int64_t ctime_ns;       /* only a hint that content did not change; never restored */
    uint64_t size;          /* of the content as the source announced it; a hint for streams */
    uint64_t device, inode; /* where it was; for hints and hard links only, not in manifests */
    uint32_t rdev_major, rdev_minor;
    Text link; /* symlink: its target, raw bytes; hard link: entry path */
    const EntryAttribute *attributes;
    size_t attribute_count;
    bool attributes_unsure; /* there may be others that could not be asked for; not stored */
    bool alone;             /* small content is not laid together with its neighbours': it changes
                               while they do not, and nothing tells so before it is read; not stored */
    uint64_t rows;          /* tables: rows copied, known at the end; 0 elsewhere */
    Text note; /* what the engine must know again at restore: canonical JSON, may be empty */
} Entry;

/* What was noticed about one entry and did not end the job. Written into the ledger of a backup. */
typedef enum IssueKind {
    ISSUE_NOTE = 1,    /* harmless: vanished between listing and opening, steady when read again */
    ISSUE_DENIED = 2,  /* permission refused: the content is not in the backup */
    ISSUE_IO = 3,      /* read error: the content is not, or not all, in the backup */
    ISSUE_TORN = 4,    /* changed while it was read, and again on the second reading */
    ISSUE_SKIPPED = 5, /* a kind of thing that is not backed up */
} IssueKind;

typedef struct Issue {
    IssueKind kind;
    int sys;   /* errno or 0 */
    Text path; /* entry path, raw bytes */
    Text text; /* one line for people */
} Issue;

/* Which instant a backup belongs to. */
typedef struct Receipt {
    int64_t consistent_ns; /* Unix nanoseconds of the consistency point */
    Text position;         /* "LSN 0/16B3748", GTID set, …; may be empty */
    Text details;          /* JSON object: server version, counts, tool versions, settings */
} Receipt;

#endif
