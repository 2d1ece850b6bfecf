/* SPDX-License-Identifier: Apache-2.0
 * postgresql_wal_receipt.h — the words in which every batch of a log says what is in it
 * (protocol/README.md, "The log of a server"). */
#ifndef WORKER_ENGINE_POSTGRESQL_WAL_RECEIPT_H
#define WORKER_ENGINE_POSTGRESQL_WAL_RECEIPT_H

#include "common/base/hash.h"
#include "worker/engine/postgresql_wal_server.h"

#include <jansson.h>

json_t *postgresql_wal_lsn_json(uint64_t lsn);
json_t *postgresql_wal_segment_json(const char *name, uint32_t timeline, uint64_t start,
                                    uint64_t end, const Sha256 *sha256);
/* The whole line to the server's timeline: its files are in every batch. */
json_t *postgresql_wal_histories_json(const PostgresqlWalServer *server);

#endif
