/* SPDX-License-Identifier: Apache-2.0
 * stores.h — the store that an order names, from the fleet file's words for it:
 *   {"name", "type": "local", "path"}
 *   {"name", "type": "s3", "bucket", "endpoint", "region", "style", "prefix", "ca_file",
 *    "storage_class", "sse", "kms_key", "lock": {"mode", "for"}, "access_key", "secret_key"}
 * Secrets are references, and read on this host only. */
#ifndef WORKER_JOB_STORES_H
#define WORKER_JOB_STORES_H

#include "common/store/store.h"
#include "worker/job/settings.h"

/* below: a folder in it; empty: the place itself. settings outlive the store. */
MUST_CHECK bool stores_open(Store **out, const JobSettings *settings, const json_t *store,
                            Text below, Err *err);

/* The same for the prune role: with prune_access_key and prune_secret_key where the store names
 * them, and it may delete (store_let_remove). */
MUST_CHECK bool stores_open_prune(Store **out, const JobSettings *settings, const json_t *store,
                                  Text below, Err *err);

#endif
