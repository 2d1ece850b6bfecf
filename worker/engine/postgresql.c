/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql.h"

#include "worker/engine/postgresql_archive.h"
#include "worker/engine/postgresql_cluster.h"
#include "worker/engine/postgresql_file.h"
#include "worker/engine/postgresql_physical.h"
#include "worker/engine/postgresql_probe.h"
#include "worker/engine/postgresql_sandbox.h"
#include "worker/engine/postgresql_slot.h"
#include "worker/engine/postgresql_source.h"
#include "worker/engine/postgresql_target.h"
#include "worker/engine/postgresql_tools.h"
#include "worker/engine/postgresql_wal.h"
#include "worker/engine/postgresql_wal_spooled.h"

static bool tools(json_t **report, Err *err)
{
    (void)err;
    *report = postgresql_tools_list();
    return true;
}

static bool open_source(Source **out, const EngineParams *params, Err *err)
{
    if (postgresql_wal_asked(params))
        return postgresql_wal_spooled_asked(params) ? postgresql_wal_spooled_open(out, params, err)
                                                    : postgresql_wal_source_open(out, params, err);
    return postgresql_physical_asked(params) ? postgresql_physical_open(out, params, err)
                                             : postgresql_source_open(out, params, err);
}

static bool open_target(Target **out, const EngineParams *params, Err *err)
{
    if (postgresql_archive_asked(params))
        return postgresql_archive_open(out, params, err);
    return postgresql_cluster_asked(params) ? postgresql_cluster_open(out, params, err)
                                            : postgresql_target_open(out, params, err);
}

static bool plan(const EngineParams *params, json_t **report, Err *err)
{
    return postgresql_cluster_asked(params) ? postgresql_cluster_plan(params, report, err)
                                            : postgresql_probe_plan(params, report, err);
}

const Engine postgresql_engine = {
    .name = "postgresql",
    .open_source = open_source,
    .open_target = open_target,
    .test = postgresql_probe_test,
    .plan = plan,
    .let_go = postgresql_slot_drop,
    .tools = tools,
    .restore_file = postgresql_file_restore,
    .sandbox = &postgresql_sandbox,
};
