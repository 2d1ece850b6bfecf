/* SPDX-License-Identifier: Apache-2.0
 * plain_name.h — the name of a plain copy from its policy's template: {source} {schedule} {policy}
 * {type} {backup} {time:%Y%m%d_%H%M%S}, the time being the backup's, in its policy's zone. Whatever
 * a value holds, the name lies below the store: what is not a letter, digit, '-', '_' or an inner
 * '.' of it becomes '_'. */
#ifndef WORKER_JOB_PLAIN_NAME_H
#define WORKER_JOB_PLAIN_NAME_H

#include "common/base/buf.h"

#include <jansson.h>

#define PLAIN_NAME_USUAL "{source}_{time:%Y%m%d_%H%M%S}"

/* plain: the order's part of that name, whose values are used. The extension is added where the
 * template lacks it; n > 1: the n-th choice of a name. ERR_INVALID plain.name. */
MUST_CHECK bool plain_name_make(const json_t *plain, const char *extension, unsigned n, Buf *out,
                                Err *err);

/* The name that always means the newest: the policy's, else that of the template with `latest` in
 * place of what changes from backup to backup. *out is empty when nothing does. */
MUST_CHECK bool plain_name_latest(const json_t *plain, const char *extension, Buf *out, Err *err);

/* What an archive calls the SQL that it holds: the order's `holds`, with .sql behind it. */
MUST_CHECK bool plain_name_holds(const json_t *plain, Buf *out, Err *err);

#endif
