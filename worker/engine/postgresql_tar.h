/* SPDX-License-Identifier: Apache-2.0
 * postgresql_tar.h — the head of a file in the archives that a PostgreSQL server sends: POSIX ustar
 * with octal or base-256 numbers, of files, directories and symbolic links. Pure. */
#ifndef WORKER_ENGINE_POSTGRESQL_TAR_H
#define WORKER_ENGINE_POSTGRESQL_TAR_H

#include "protocol/err.h"

enum { POSTGRESQL_TAR_BLOCK = 512, POSTGRESQL_TAR_PATH = 260 };

typedef struct PostgresqlTarHead {
    char path[POSTGRESQL_TAR_PATH]; /* relative, no "..", no trailing slash */
    char link[104];                 /* of a symbolic link: where it leads */
    char kind;                      /* 'f', 'd', 'l'; 0: the block is empty */
    uint32_t mode, uid, gid;
    uint64_t size; /* of the content, which is padded to whole blocks */
    int64_t mtime_s;
} PostgresqlTarHead;

/* A block that is no head, or whose sum is wrong, is ERR_SOURCE. */
MUST_CHECK bool postgresql_tar_head(const uint8_t block[POSTGRESQL_TAR_BLOCK],
                                    PostgresqlTarHead *out, Err *err);
/* Bytes between the end of a content and the next head. */
uint64_t postgresql_tar_padding(uint64_t size);

#endif
