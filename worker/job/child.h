/* SPDX-License-Identifier: Apache-2.0
 * child.h — the job process: this program executed anew by its worker, for one attempt.
 * It reads one order, runs it, and reports progress, log lines and, last, the verdict. A cancel may
 * come at any time; the end of the order pipe means that the parent is gone, and then nothing is
 * left to work for. */
#ifndef WORKER_JOB_CHILD_H
#define WORKER_JOB_CHILD_H

#include "worker/job/settings.h"

/* The exit status: 0 when a verdict was sent, whatever it says. */
int child_run(int order_fd, int report_fd, const JobSettings *settings);

#endif
