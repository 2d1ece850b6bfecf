/* SPDX-License-Identifier: Apache-2.0
 * postgresql_toc.h — which definitions of a schema archive some of its tables need.
 * Reads what `pg_restore --list --verbose` prints: one numbered entry a line, with the entries it
 * depends on. Tables bring everything they depend on; of what hangs on them (indexes, constraints,
 * defaults, triggers, policies, comments, rights) comes what needs no table that was not chosen. */
#ifndef WORKER_ENGINE_POSTGRESQL_TOC_H
#define WORKER_ENGINE_POSTGRESQL_TOC_H

#include "common/base/buf.h"

/* *list: the lines to give to `pg_restore --use-list`. *left_out counts what hangs on a chosen
 * table and was not taken. A table oid that the archive does not have is ERR_MISSING. */
MUST_CHECK bool postgresql_toc_choose(Text printed, const Text *table_oids, size_t count, Buf *list,
                                      size_t *left_out, Err *err);

#endif
