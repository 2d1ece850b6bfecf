/* SPDX-License-Identifier: Apache-2.0
 * keep_future.h — when a backup will go: the rules of keep.h asked again at each slot to come, as
 * if every slot made a good backup, and nobody held, read, doubted or froze anything anew. Pure. */
#ifndef SCHEDULER_PLAN_KEEP_FUTURE_H
#define SCHEDULER_PLAN_KEEP_FUTURE_H

#include "scheduler/plan/cron.h"
#include "scheduler/plan/keep.h"

/* A schedule that makes backups. */
typedef struct KeepComing {
    Cron cron;
    Text name;
} KeepComing;

/* The slot at which backups[index] expires. False: not within ten years, or four thousand slots. */
bool keep_goes(const KeepPolicy *policy, const KeepFacts *facts, const KeepBackup *backups,
               size_t count, size_t index, const KeepComing *coming, size_t coming_count,
               int64_t *at_s);

#endif
