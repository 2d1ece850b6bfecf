/* SPDX-License-Identifier: Apache-2.0
 * manifest.h — the root of a manifest: what a backup is, and the pages its entries are in.
 * Stored as the object manifests/<backup>, signed over its stored bytes and sealed to the readers;
 * this is the record inside. */
#ifndef COMMON_REPO_MANIFEST_H
#define COMMON_REPO_MANIFEST_H

#include "common/base/buf.h"
#include "common/repo/pages.h"
#include "protocol/entry.h"
#include "protocol/ids.h"

enum {
    MANIFEST_FORMAT = 1,
    MANIFEST_SOURCE_MAX = 127,
    MANIFEST_DETAILS_MAX = 1024 * 1024,
};

/* What the catalogue knew of this backup, so that it can be told again from the store alone. Zero
 * or empty where it is not known: a manifest of an older release says nothing of it. */
typedef struct ManifestOrigin {
    uint64_t job, attempt;
    Text schedule, policy, type;    /* of the job; of the source */
    int64_t slot_ns;                /* nominal instant */
    int64_t started_ns, written_ns; /* worker's clock: the attempt began, the manifest was stored */
    uint64_t faults;                /* issues that are not notes: the backup is partial */
} ManifestOrigin;

typedef struct Manifest {
    Uuid backup;
    Text source;
    uint64_t sequence;
    bool has_parent;
    Uuid parent;
    Sha256 parent_manifest;
    int64_t consistent_ns;
    Text position, details; /* of the receipt */
    uint32_t levels;
    Slice refs; /* ref_count PageRefs as pages_add_ref wrote them */
    uint32_t ref_count;
    uint64_t entries, bytes;
    uint64_t issues;
    Slice issue_pages; /* ids of chunks, each an array of issues; as msgpack bins */
    uint32_t issue_page_count;
    uint8_t last_phase;
    Uuid index; /* nil when the session wrote no pack */
    uint64_t new_bytes, stored_bytes;
    ManifestOrigin origin;
} Manifest;

void manifest_add(Buf *out, const Manifest *manifest);
/* Borrows bytes. */
MUST_CHECK bool manifest_read(Slice bytes, Manifest *out, Err *err);

void manifest_add_issue(Buf *out, const Issue *issue);
MUST_CHECK bool manifest_read_issue(CanonReader *r, Issue *issue); /* false: r is bad */

#endif
