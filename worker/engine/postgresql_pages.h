/* SPDX-License-Identifier: Apache-2.0
 * postgresql_pages.h — the page checksums of relation files that stream by. A page that is wrong
 * here may just have been read while the server wrote it; the server, which checks beside us, reads
 * such a page again. So a page is only called corrupt when the server complains of its file too. */
#ifndef WORKER_ENGINE_POSTGRESQL_PAGES_H
#define WORKER_ENGINE_POSTGRESQL_PAGES_H

#include "worker/engine/postgresql_replication.h"

typedef struct PostgresqlPages PostgresqlPages;

/* start: pages that are younger are not looked at. */
PostgresqlPages *postgresql_pages_new(const PostgresqlSystem *system, uint64_t start);
void postgresql_pages_free(PostgresqlPages *pages); /* NULL is fine */

/* Is it a file of a relation, and which of its files (0, 1, …)? */
bool postgresql_pages_relation(Text path, uint64_t *number);

/* location: of the tablespace that the file is in, by which the server names it; else empty. */
void postgresql_pages_begin(PostgresqlPages *pages, Text path, Text location);
void postgresql_pages_add(PostgresqlPages *pages, Slice bytes); /* cut anywhere */
void postgresql_pages_end(PostgresqlPages *pages);

/* Tells an issue for each file with wrong pages that the server named too in its notices, and the
 * server's own words where it found what we did not. *wrong counts pages. */
void postgresql_pages_judge(const PostgresqlPages *pages, bool corrupt, Text notices,
                            const EngineHost *host, uint64_t *wrong);

#endif
