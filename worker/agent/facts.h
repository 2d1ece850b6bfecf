/* SPDX-License-Identifier: Apache-2.0
 * facts.h — what a worker can do, as it announces it: engines and their tools, the roles its keys
 * give it, key sets, stores, credential names, tags. It says what is there now; jobs look again. */
#ifndef WORKER_AGENT_FACTS_H
#define WORKER_AGENT_FACTS_H

#include "common/base/buf.h"
#include "worker/job/settings.h"

/* Appends the JSON object that WorkerHello.facts describes. tags may be NULL. */
void facts_collect(const JobSettings *settings, const json_t *tags, Buf *out);

#endif
