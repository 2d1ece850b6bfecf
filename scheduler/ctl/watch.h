/* SPDX-License-Identifier: Apache-2.0
 * watch.h — a verb again and again, for --watch: whenever something happened, and every ten
 * seconds; every two where the scheduler cannot be listened to. */
#ifndef SCHEDULER_CTL_WATCH_H
#define SCHEDULER_CTL_WATCH_H

#include "scheduler/ctl/ctl.h"

/* Ends with the first failure of the first time; later a scheduler that is away is waited for. */
MUST_CHECK bool watch_run(Ctl *ctl, bool (*run)(Ctl *ctl, Err *err), Err *err);

#endif
