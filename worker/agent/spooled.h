/* SPDX-License-Identifier: Apache-2.0
 * spooled.h — looks into the spool where servers of this host push their logs
 * (worker/engine/postgresql_spool.h), and tells the catalogue what waits there: so a job is made a
 * moment after a push, and what is not stored yet is seen by whoever asks. */
#ifndef WORKER_AGENT_SPOOLED_H
#define WORKER_AGENT_SPOOLED_H

#include "worker/agent/desk.h"

typedef struct SpoolWatch SpoolWatch;

SpoolWatch *spooled_new(Desk *desk);
/* May be called often; root NULL: there is none. */
void spooled_look(SpoolWatch *watch, const char *root);
void spooled_free(SpoolWatch *watch); /* after the desk has stopped */

#endif
