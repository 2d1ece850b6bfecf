/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql.h"

#include "worker/engine/postgresql_probe.h"
#include "worker/engine/postgresql_sandbox.h"
#include "worker/engine/postgresql_source.h"
#include "worker/engine/postgresql_target.h"
#include "worker/engine/postgresql_tools.h"
#include "worker/engine/postgresql_wal.h"

static bool tools(json_t **report, Err *err)
{
    (void)err;
    *report = postgresql_tools_list();
    return true;
}

static bool open_source(Source **out, const EngineParams *params, Err *err)
{
    return postgresql_wal_asked(params) ? postgresql_wal_source_open(out, params, err)
                                        : postgresql_source_open(out, params, err);
}

const Engine postgresql_engine = {
    .name = "postgresql",
    .open_source = open_source,
    .open_target = postgresql_target_open,
    .test = postgresql_probe_test,
    .plan = postgresql_probe_plan,
    .tools = tools,
    .sandbox = &postgresql_sandbox,
};
