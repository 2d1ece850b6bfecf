/* SPDX-License-Identifier: Apache-2.0
 * bundle.h — a fleet file and every file it includes, read here and sent as data: names go along
 * for problems, and nobody opens them on the other side. */
#ifndef SCHEDULER_CTL_BUNDLE_H
#define SCHEDULER_CTL_BUNDLE_H

#include "common/base/buf.h"

#include <jansson.h>

typedef struct Bundle {
    char *directory; /* of the first file: what stands before the names in problems */
    Buf body;        /* the document to send */
} Bundle;

#define BUNDLE_TYPE "application/vnd.holdfast.fleet+json"

/* path: "-" is standard input. ERR_INVALID policy.text: a file is not UTF-8. */
MUST_CHECK bool bundle_read(const char *path, Bundle *out, Err *err);
void bundle_free(Bundle *bundle); /* also for scoped() */

/* Writes files (a list of {name, text}) below a directory that is empty or not there yet. A name
 * that would leave it is refused, whoever sent it. */
MUST_CHECK bool bundle_write(const json_t *files, const char *directory, Err *err);

#endif
