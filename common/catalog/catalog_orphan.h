/* SPDX-License-Identifier: Apache-2.0
 * catalog_orphan.h — objects of a store that no row accounts for, for the attempt that holds a
 * prune job on a login enrolled as a pruner. A scan lists, asks, notes and says that everything was
 * listed; only then is anything moved to quarantine, or deleted from there, and only what the
 * catalogue names: what two scans saw a day apart, that no open session can have written, while
 * store and catalogue fit each other. Every call may be repeated. */
#ifndef COMMON_CATALOG_CATALOG_ORPHAN_H
#define COMMON_CATALOG_CATALOG_ORPHAN_H

#include "common/catalog/catalog_job.h"

enum { ORPHAN_NAME = 256 };

/* asked: even if none is due. */
MUST_CHECK bool catalog_orphan_begin(Catalog *c, const Fence *fence, bool asked, bool *begun,
                                     Err *err);

typedef enum OrphanKind {
    ORPHAN_OTHER = 0, /* a pack, a manifest, parent lists */
    ORPHAN_INDEX,     /* in no row: ask for the packs that its head names */
    ORPHAN_MARKER,    /* of a backup that was never known */
    ORPHAN_FOREIGN,   /* not named like anything that is written here */
} OrphanKind;
typedef struct OrphanAnswer {
    size_t at; /* in the list that was asked about */
    OrphanKind kind;
} OrphanAnswer;
/* Of these objects, those that no row accounts for. out has room for count. */
MUST_CHECK bool catalog_orphan_ask(Catalog *c, const Fence *fence, const Text *names, size_t count,
                                   OrphanAnswer *out, size_t *answered, Err *err);
/* Is any of these packs still there for somebody? */
MUST_CHECK bool catalog_orphan_packs(Catalog *c, const Fence *fence, const Uuid *objects,
                                     size_t count, bool *known, Err *err);
/* What is accounted for meanwhile is not noted. */
MUST_CHECK bool catalog_orphan_note(Catalog *c, const Fence *fence, const Text *names,
                                    const uint64_t *bytes, size_t count, Err *err);

typedef struct OrphanListed {
    uint64_t fresh, known; /* seen for the first time; seen before, or foreign */
    uint64_t strangers;    /* markers of backups that the catalogue does not know */
    char blocked[400];     /* why nothing is moved or deleted; empty: it is */
} OrphanListed;
/* epoch: the store's; UINT64_MAX: it cannot be read. */
MUST_CHECK bool catalog_orphan_listed(Catalog *c, const Fence *fence, uint64_t epoch,
                                      uint64_t listed, OrphanListed *out, Err *err);

typedef struct OrphanLook {
    uint64_t ripe, over; /* would go to quarantine; would be deleted from there */
    char blocked[400];
} OrphanLook;
MUST_CHECK bool catalog_orphan_look(Catalog *c, const Fence *fence, uint64_t epoch, OrphanLook *out,
                                    Err *err);

typedef struct OrphanDue {
    uint64_t no, bytes;
    bool over; /* it lies in `place`, and its time is over; else it goes there */
    char name[ORPHAN_NAME], place[ORPHAN_NAME];
} OrphanDue;
/* ERR_CONFLICT orphan.blocked. */
MUST_CHECK bool catalog_orphan_due(Catalog *c, const Fence *fence, size_t most, OrphanDue **out,
                                   size_t *count, Err *err); /* mem_free *out */
/* Before it is copied, and again before it is taken from its place. */
MUST_CHECK bool catalog_orphan_moving(Catalog *c, const Fence *fence, uint64_t no, bool *may,
                                      Err *err);
/* state: quarantined, deleted, gone (it was not there), kept (the store did not let it go: error
 * says why, and it is tried again in a day). */
MUST_CHECK bool catalog_orphan_moved(Catalog *c, const Fence *fence, uint64_t no, Text state,
                                     Text error, Err *err);

/* A damaged pack whose object would be deleted now: where it goes instead. */
MUST_CHECK bool catalog_orphan_damaged(Catalog *c, const Fence *fence, uint64_t pack_no,
                                       OrphanDue *out, Err *err);

#endif
