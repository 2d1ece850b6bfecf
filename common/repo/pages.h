/* SPDX-License-Identifier: Apache-2.0
 * pages.h — the tree of pages a manifest is made of, being built.
 * Records come in bytewise path order; a leaf page is an array of them, a branch page an array of
 * {page, first path, entries, bytes}, and so on upward until few pages are left: those go into the
 * root. Where a page ends depends on a keyed hash of the path it ends with, so an insertion changes
 * the pages on its way up and no other. */
#ifndef COMMON_REPO_PAGES_H
#define COMMON_REPO_PAGES_H

#include "common/base/buf.h"
#include "common/repo/canon.h"
#include "common/repo/chunker.h"
#include "protocol/ids.h"

enum {
    PAGES_LEVELS = 8, /* branch levels a reader follows at most */
    PAGES_ROOT = 64,  /* pages that a root names at most, of a tree that pages_* built */
};

/* A page as its parent names it. */
typedef struct PageRef {
    ChunkId id;
    Text first; /* path of the first entry below */
    uint64_t entries;
    uint64_t bytes; /* content of all entries below */
} PageRef;

void pages_add_ref(Buf *out, const PageRef *ref);
MUST_CHECK bool pages_read_ref(CanonReader *r, PageRef *ref); /* borrows; false: r is bad */

/* Makes a chunk of a page and names it. */
typedef bool PagesEmit(void *ctx, Slice page, ChunkId *id, Err *err);

typedef struct Pages Pages;
Pages *pages_new(const Chunker *chunker, PagesEmit *emit, void *ctx);
MUST_CHECK bool pages_add(Pages *pages, Text path, Slice record, uint64_t bytes, Err *err);
/* What the root needs: refs as pages_add_ref wrote them, and how many branch levels are above the
 * leaves (0: the root names leaves). */
typedef struct PagesRoot {
    Buf refs;
    uint32_t ref_count;
    uint32_t levels;
    uint64_t entries, bytes;
} PagesRoot;
MUST_CHECK bool pages_finish(Pages *pages, PagesRoot *out, Err *err);
void pages_free(Pages *pages);

#endif
