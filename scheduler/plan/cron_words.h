/* SPDX-License-Identifier: Apache-2.0
 * cron_words.h — a rule told to people: what its `H` and its `@daily` became for one source, and
 * when it is due in words. Pure. */
#ifndef SCHEDULER_PLAN_CRON_WORDS_H
#define SCHEDULER_PLAN_CRON_WORDS_H

#include "common/base/buf.h"
#include "scheduler/plan/cron.h"

/* The rule as five fields without H or names: "H 1 * * *" -> "38 1 * * *"; "every 6h" as it is.
 * cron: what cron_parse made of this rule. */
void cron_words_fields(Text rule, const Cron *cron, Buf *out);

/* "01:38 every day", "00:00 and 12:00 on mon-fri", "minute 5 of every hour, in jan-mar". */
void cron_words_told(const Cron *cron, Buf *out);

#endif
