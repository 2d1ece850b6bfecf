/* SPDX-License-Identifier: Apache-2.0
 * statement.h — sends one embedded statement and takes its answer; for the catalog_*.c only.
 * Every statement of sql/ is listed in statements.def, which is how it is checked at start. */
#ifndef COMMON_CATALOG_STATEMENT_H
#define COMMON_CATALOG_STATEMENT_H

#include "common/base/asset.h"
#include "common/catalog/args.h"
#include "common/catalog/catalog_backup.h"
#include "common/catalog/rows.h"
#include "protocol/pack.h"

#define STATEMENT(name)    extern const Asset asset_sql_##name##_sql;
#define VIEW(symbol, name) extern const Asset asset_sql_##name##_sql;
#include "common/catalog/statements.def"
#undef STATEMENT
#undef VIEW

/* Runs a statement; args may be NULL, rows may be NULL when nobody looks. One round trip: the
 * server's own transaction around one statement is the only one there is. */
MUST_CHECK bool statement_run(Catalog *c, const Asset *sql, const Args *args, Rows *rows, Err *err);

/* The same, and there must be a row: else ERR_BUG names the statement. */
MUST_CHECK bool statement_row(Catalog *c, const Asset *sql, const Args *args, Rows *rows, Err *err);

/* Several statements in one string without parameters: migrations only. */
MUST_CHECK bool statement_script(Catalog *c, const Asset *sql, Err *err);

/* The server parses and forgets it. */
MUST_CHECK bool statement_check(Catalog *c, const Asset *sql, const unsigned *types, unsigned count,
                                Err *err);

void statement_fence(Args *args, const Fence *fence);
/* Two arrays: numbers of packs, and the hash of each one's stored object. */
void statement_packs(Args *args, const uint64_t *pack_nos, const Sha256 *sha256s, size_t count);

/* The answer of every statement that says where chunks lie: n (place in `list`, from 1), pack
 * number, object, pack id, ordinal, codec, offset, stored, plain. What it does not name is not
 * found. */
MUST_CHECK bool catalog_pack_places(const Rows *rows, const ChunkId *list, size_t count,
                                    ChunkPlace *out, Err *err);

/* The answer of a fenced COMMIT, in both its columns. */
MUST_CHECK bool catalog_commit_answer(const Rows *rows, CommitAnswer *answer, char detail[256],
                                      Err *err);

/* A connection without the checks that catalog_open makes. */
MUST_CHECK bool statement_connect(Catalog **out, const CatalogParams *params, Err *err);

bool statement_ok(const Catalog *c);
MUST_CHECK bool statement_reset(Catalog *c, Err *err);
void statement_close(Catalog *c);

/* The SCRAM verifier of a password, so that the server and its log never see the password. */
MUST_CHECK bool statement_verifier(Catalog *c, Text role, Slice password, Buf *out, Err *err);

#endif
