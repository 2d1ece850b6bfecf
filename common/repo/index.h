/* SPDX-License-Identifier: Apache-2.0
 * index.h — index objects: the joined chunk tables of a session's packs.
 * The head lies in the clear and maps packs to objects with their sizes and hashes, so that whoever
 * copies a repository without keys can write a new head; the body is sealed to the readers and says
 * which chunks are in which pack. */
#ifndef COMMON_REPO_INDEX_H
#define COMMON_REPO_INDEX_H

#include "common/base/buf.h"
#include "common/repo/packset.h"
#include "common/repo/repo.h"
#include "protocol/pack.h"

typedef struct IndexBuilder IndexBuilder;
/* backup: whose session writes; every object names it. Each object is announced to the ledger
 * before it is written; NULL: to nobody. Both repo and ledger are borrowed. */
IndexBuilder *index_builder_new(Repo *repo, RepoLedger *ledger, const Uuid *backup);
void index_builder_add(IndexBuilder *builder, const PackRow *row);
/* Enough was added since the last put to be worth an object: put it, so that memory stays bounded.
 */
bool index_builder_full(const IndexBuilder *builder);
/* Stores what was added and is in `used`, in as many objects as it takes, and forgets it; *index is
 * the last one's name, nil when there was nothing to store. After a failure what was being stored
 * is lost: the session has failed. */
MUST_CHECK bool index_builder_put(IndexBuilder *builder, const PackSet *used, Uuid *index,
                                  Err *err);
void index_builder_free(IndexBuilder *builder); /* NULL is fine */

/* Visits the packs of one index object (pack_no 0). With body empty only the head is read: rows
 * have no chunks. */
MUST_CHECK bool index_read(Slice head, Slice body, PackVisit *visit, void *ctx, Err *err);

/* The backup whose session wrote it; nil where the head does not say (older releases), or is bad.
 */
Uuid index_backup(Slice head);

#endif
