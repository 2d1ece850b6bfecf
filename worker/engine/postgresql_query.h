/* SPDX-License-Identifier: Apache-2.0
 * postgresql_query.h — a policy's own questions to what was restored. Each is one statement, asked
 * in a transaction that may only read; its first value is compared with what the policy expects: a
 * comparison with a number (">= 100000"), else the very text. */
#ifndef WORKER_ENGINE_POSTGRESQL_QUERY_H
#define WORKER_ENGINE_POSTGRESQL_QUERY_H

#include "worker/engine/postgresql_link.h"

/* queries: [{"sql", "expect", "database"}]; `first` is asked where none is named. Report gets
 * "queries": [{"sql", "expect", "got", "ok"}]. The first that fails or says something else is the
 * error, cause "proof.query"; the others are asked all the same. */
MUST_CHECK bool postgresql_query_all(PostgresqlLink *link, Text first, const json_t *queries,
                                     json_t *report, Err *err);

/* Does this value meet that expectation? */
bool postgresql_query_meets(Text expect, Text value);

#endif
