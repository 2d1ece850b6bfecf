/* SPDX-License-Identifier: Apache-2.0
 * policy_file.h — a fleet file on the scheduler's own disk: what it applies when it starts and on
 * SIGHUP, and the verbs that ask no server. */
#ifndef SCHEDULER_POLICY_FILE_H
#define SCHEDULER_POLICY_FILE_H

#include "common/catalog/catalog.h"

/* Applies the file; `always` false: only where no policy is in force. An empty path does nothing.
 */
MUST_CHECK bool policy_file_apply(Catalog *catalog, const char *path, bool always, Err *err);

/* `policy check FILE` and `policy schema`; args are the words after `policy`. An exit code. */
int policy_file_verb(int count, char **args, Err *err);

#endif
