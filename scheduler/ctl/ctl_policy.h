/* SPDX-License-Identifier: Apache-2.0
 * ctl_policy.h — what the verbs about policies share. */
#ifndef SCHEDULER_CTL_CTL_POLICY_H
#define SCHEDULER_CTL_CTL_POLICY_H

#include "scheduler/ctl/ctl.h"

/* Sends the file that the first word names, with what it includes; problems and warnings are
 * printed on stderr with paths that can be clicked, unless JSON is asked for. *answer is the
 * caller's. */
MUST_CHECK bool ctl_policy_send(Ctl *ctl, const char *method, const char *path,
                                const char *if_match, json_t **answer, Err *err);

/* The same of any file. */
MUST_CHECK bool ctl_policy_send_file(Ctl *ctl, const char *file, const char *method,
                                     const char *path, const char *if_match, json_t **answer,
                                     Err *err);

#endif
