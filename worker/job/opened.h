/* SPDX-License-Identifier: Apache-2.0
 * opened.h — a backup opened for reading: repository, catalogue row, reader. For restores, checks,
 * listings and fetches. */
#ifndef WORKER_JOB_OPENED_H
#define WORKER_JOB_OPENED_H

#include "common/catalog/catalog_backup.h"
#include "common/repo/reader.h"
#include "worker/job/session.h"

#include <pthread.h>

enum { OPENED_PLACES = 8 };

/* One of the places that the order names for a backup. */
typedef struct OpenedPlace {
    const json_t *row; /* {"store", "fault", "repository"} */
    Session session;
    RepoLocator *locator;
    bool open, failed;
    uint64_t chunks, bytes; /* that came from here for another */
    Err why;                /* it was passed over, or asked for what another had lost */
} OpenedPlace;

typedef struct Opened {
    Job *job;
    OpenedPlace places[OPENED_PLACES]; /* in the order in which they are tried; 0: is read */
    size_t place_count;
    bool second;     /* not the job's own backup: no place of it is the order's repository */
    Session session; /* of what is read; borrowed from its place */
    BackupOpened row;
    RepoLocator *locator;
    RepoReader *reader;
    ReaderElsewhere elsewhere;
    pthread_mutex_t lock; /* of the places, while lanes read */
} Opened;

/* params.backup names it; its manifest must be the one that the catalogue has the hash of. Where
 * the order names places, the first that opens is read, and what is lost there is taken from the
 * others; both are written to the job's log. */
MUST_CHECK bool opened_open(Opened *opened, Job *job, Err *err);
/* "from", "passed_over" and "elsewhere" of an answer: which stores gave what, and why. */
void opened_tell(const Opened *opened, json_t *answer);
void opened_close(Opened *opened); /* a zeroed one is fine */
/* A second backup of the same source and key set, wherever it lies: params.against names it, the
 * order's `against` its places. Opened and closed beside the first one. */
MUST_CHECK bool opened_against(Opened *opened, Job *job, Err *err);

/* {"paths": […], "globs": […], "tables": […]} of a request, as what a walk visits. Paths are
 * absolute or not, and escaped as the API shows them. */
typedef struct OpenedSelect {
    ReaderSelection selection;
    Text *paths, *globs;
    Buf *bytes; /* what the texts point into */
    size_t count;
    size_t tables; /* that the engine selects by itself */
} OpenedSelect;

MUST_CHECK bool opened_select(OpenedSelect *select, const json_t *request, Err *err);
void opened_select_free(OpenedSelect *select);
bool opened_selects_all(const OpenedSelect *select);

#endif
