/* SPDX-License-Identifier: Apache-2.0
 * moves.h — in which part of yesterday's list the row of a file lies that had another path then.
 * Made when the first such file is met, from all parts; 16 bytes a row, of the first half million
 * rows. An answer is a hint: the part says whether it is so. Not thread-safe. */
#ifndef COMMON_REPO_MOVES_H
#define COMMON_REPO_MOVES_H

#include "common/repo/parents.h"

typedef struct Moves Moves;
Moves *moves_new(void);
/* number: from 1. */
void moves_add(Moves *moves, const Parents *part, uint32_t number);
uint32_t moves_part(const Moves *moves, const ParentsKey *key); /* 0: in none */
void moves_free(Moves *moves);                                  /* NULL is fine */

#endif
