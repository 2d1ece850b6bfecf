/* SPDX-License-Identifier: Apache-2.0
 * suggest.h — "did you mean": the known word nearest to a wrong one, by edits (a swap of
 * neighbours counts one). None when even the nearest differs in more than a third of its letters.
 */
#ifndef COMMON_BASE_SUGGEST_H
#define COMMON_BASE_SUGGEST_H

#include "protocol/bytes.h"

/* One of `names`, or NULL. NULL names are passed over. */
const char *suggest_nearest(Text word, const char *const *names, size_t count);

/* How many letters must be added, taken, changed or swapped; words beyond 63 letters are cut. */
size_t suggest_distance(Text a, Text b);

#endif
