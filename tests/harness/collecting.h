/* SPDX-License-Identifier: Apache-2.0
 * collecting.h — a stage whose backups share next to nothing, so that packs go with each of them.
 */
#ifndef TESTS_HARNESS_COLLECTING_H
#define TESTS_HARNESS_COLLECTING_H

#include "tests/harness/stage.h"

int collecting_set_up(void **state);    /* a Stage with a tree; leases outlast a test */
int collecting_tear_down(void **state); /* its invariants must hold */

/* {"forget": [the backup of this sequence]}, and a prune job with these. */
void collecting_forget_params(const Stage *stage, unsigned sequence, char out[200]);
void collecting_forget(Stage *stage, unsigned sequence);

/* Another tree, so that the backup before shares next to nothing with the next. */
void collecting_change_all(Stage *stage);

#endif
