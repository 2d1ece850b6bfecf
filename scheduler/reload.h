/* SPDX-License-Identifier: Apache-2.0
 * reload.h — what SIGHUP asks for: the API's certificate is read again at once, the policy file is
 * read and applied by a thread of its own, because the catalogue may take its time to answer and
 * nobody else's request should wait for it. Asked again meanwhile, it is done once more. */
#ifndef SCHEDULER_RELOAD_H
#define SCHEDULER_RELOAD_H

#include "common/base/loop.h"
#include "scheduler/core/core.h"
#include "scheduler/http/server.h"
#include "scheduler/setup.h"

typedef struct Reload Reload;

/* Everything is borrowed until reload_free. On the loop's thread, all of them. */
Reload *reload_new(Loop *loop, const Setup *setup, Core *core, Server *server);
void reload_ask(Reload *reload);
void reload_free(Reload *reload); /* waits for what is on its way; NULL is fine */

#endif
