/* SPDX-License-Identifier: Apache-2.0
 * proof_clear.h — removes a folder that somebody else may still be writing to. Every step goes by
 * the descriptor of the folder that it is in, and opens nothing that is a link: whoever puts a link
 * where a folder was leads nobody out. */
#ifndef WORKER_JOB_PROOF_CLEAR_H
#define WORKER_JOB_PROOF_CLEAR_H

#include <stdbool.h>

/* True too when it is not there; else errno says what kept it. However deep it is, it takes a few
 * dozen descriptors. */
bool proof_clear(const char *folder);

#endif
