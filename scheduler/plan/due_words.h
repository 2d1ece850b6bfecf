/* SPDX-License-Identifier: Apache-2.0
 * due_words.h — what became of a slot, in words that answer "why did it not run?". */
#ifndef SCHEDULER_PLAN_DUE_WORDS_H
#define SCHEDULER_PLAN_DUE_WORDS_H

#include "scheduler/plan/due.h"

enum { DUE_WORDS = 200 };

/* The dotted code of the decision ("slot.late") and one line for people about a slot of the list,
 * in the times of its zone. "" both: it runs, and for itself alone. */
const char *due_words(const DueList *list, size_t index, const DueRule *rule, const char *zone_name,
                      char text[DUE_WORDS]);

#endif
