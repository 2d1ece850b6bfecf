/* SPDX-License-Identifier: Apache-2.0
 * opened.h — a backup opened for reading: repository, catalogue row, reader. For restores, checks,
 * listings and fetches. */
#ifndef WORKER_JOB_OPENED_H
#define WORKER_JOB_OPENED_H

#include "common/catalog/catalog_backup.h"
#include "common/repo/reader.h"
#include "worker/job/session.h"

typedef struct Opened {
    Session session;
    BackupOpened row;
    RepoLocator *locator;
    RepoReader *reader;
} Opened;

/* params.backup names it; its manifest must be the one that the catalogue has the hash of. */
MUST_CHECK bool opened_open(Opened *opened, Job *job, Err *err);
void opened_close(Opened *opened); /* a zeroed one is fine */

/* {"paths": […], "globs": […]} of a request, as what a walk visits. Paths are absolute or not, and
 * escaped as the API shows them. */
typedef struct OpenedSelect {
    ReaderSelection selection;
    Text *paths, *globs;
    Buf *bytes; /* what the texts point into */
    size_t count;
} OpenedSelect;

MUST_CHECK bool opened_select(OpenedSelect *select, const json_t *request, Err *err);
void opened_select_free(OpenedSelect *select);
bool opened_selects_all(const OpenedSelect *select);

#endif
