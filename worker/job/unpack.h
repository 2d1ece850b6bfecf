/* SPDX-License-Identifier: Apache-2.0
 * unpack.h — a file as what it was before gzip or zstd, or as it is: its first bytes say which.
 * ■ What the packing says of its content is checked: a file that was cut or damaged fails by name
 * at its end at the latest, and is never taken for a shorter one. Members that follow each other,
 * as `cat a.gz b.gz` and pigz make them, are one content. */
#ifndef WORKER_JOB_UNPACK_H
#define WORKER_JOB_UNPACK_H

#include "protocol/err.h"

typedef struct Unpack Unpack;

/* fd: at its begin; borrowed. name: for messages. ERR_CORRUPT "file.damaged". */
MUST_CHECK bool unpack_open(Unpack **out, int fd, const char *name, Err *err);
const char *unpack_format(const Unpack *unpack); /* "gzip", "zstd", "plain" */
/* Up to `room` bytes; *got 0 at the end. */
MUST_CHECK bool unpack_read(Unpack *unpack, uint8_t *at, size_t room, size_t *got, Err *err);
void unpack_close(Unpack *unpack); /* NULL is fine */

#endif
