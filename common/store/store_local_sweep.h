/* SPDX-License-Identifier: Apache-2.0
 * store_local_sweep.h — files on their way whose put died, where a file system has no files without
 * a name. Only what is named like one is looked at, and no link is followed. */
#ifndef COMMON_STORE_STORE_LOCAL_SWEEP_H
#define COMMON_STORE_STORE_LOCAL_SWEEP_H

#include "common/store/store.h"

#define STORE_LOCAL_TEMPORARY ".tmp-" /* what the names of such files begin with */

MUST_CHECK bool store_local_sweep(int root, StoreSweep *sweep, Err *err);

#endif
