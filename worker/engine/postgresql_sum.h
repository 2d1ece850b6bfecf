/* SPDX-License-Identifier: Apache-2.0
 * postgresql_sum.h — the two checks that a PostgreSQL server's files come with: CRC-32C of whole
 * files, in the manifest of a base backup, and the sixteen bits in the head of every page of a
 * cluster that has data checksums. */
#ifndef WORKER_ENGINE_POSTGRESQL_SUM_H
#define WORKER_ENGINE_POSTGRESQL_SUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Goes on from crc; of nothing it is 0. */
uint32_t postgresql_sum_crc(uint32_t crc, const void *at, size_t len);

typedef enum PostgresqlPage {
    POSTGRESQL_PAGE_FINE,  /* its sum is right, or it was never used */
    POSTGRESQL_PAGE_YOUNG, /* written since `start`: the log that follows holds it whole */
    POSTGRESQL_PAGE_WRONG,
} PostgresqlPage;

/* block counts from the relation's begin: over all files of it. size: a multiple of 128. */
PostgresqlPage postgresql_sum_page(const uint8_t *page, size_t size, uint32_t block,
                                   uint64_t start);

#endif
