/* SPDX-License-Identifier: Apache-2.0
 * setup.h — what the scheduler's verbs share: options read, secrets resolved, logs opened. */
#ifndef SCHEDULER_SETUP_H
#define SCHEDULER_SETUP_H

#include "common/base/options.h"
#include "common/base/secret.h"
#include "common/catalog/catalog.h"
#include "common/queue/queue.h"

typedef struct SchedulerOptions {
#define OPTION(type, name, fallback, help) OPTIONS_TYPE_##type name;
#include "scheduler/options.def"
#undef OPTION
} SchedulerOptions;

typedef struct Setup {
    SchedulerOptions options;
    OptionsEnd end;
    Secret *catalogue_password;
    Secret *admin_password;
    Secret *redis_password;
    Secret *sentinel_password;
} Setup;

MUST_CHECK bool setup_read(Setup *setup, int argc, char **argv, Err *err);
void setup_free(Setup *setup);

CatalogParams setup_catalog(const Setup *setup); /* as holdfast_scheduler */
CatalogParams setup_admin(const Setup *setup);   /* as the administrator */
QueueParams setup_queue(const Setup *setup);
const char *setup_or_null(const char *text); /* of an option that may be empty */

/* The verbs beside running: each returns an exit code. args are the words after the verb. */
int setup_migrate(Setup *setup, Err *err);
int setup_enroll(Setup *setup, int count, char **args, Err *err);

#endif
