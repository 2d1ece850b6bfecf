/* SPDX-License-Identifier: Apache-2.0
 * locator_catalog.h — where chunks lie, as the catalogue knows it; for restore, verify and probes.
 */
#ifndef WORKER_JOB_LOCATOR_CATALOG_H
#define WORKER_JOB_LOCATOR_CATALOG_H

#include "common/repo/locator.h"
#include "worker/job/patient.h"

/* Borrows the connection. repository: its number in the catalogue, opened by catalog_place_open; 0:
 * the job's own. Closed by locator_close. */
RepoLocator *locator_catalog_open(Patient *catalog, const Fence *fence, uint32_t repository);

#endif
