/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql.h"

#include "worker/engine/postgresql_probe.h"
#include "worker/engine/postgresql_source.h"
#include "worker/engine/postgresql_target.h"
#include "worker/engine/postgresql_tools.h"

static bool tools(json_t **report, Err *err)
{
    (void)err;
    *report = postgresql_tools_list();
    return true;
}

const Engine postgresql_engine = {
    .name = "postgresql",
    .open_source = postgresql_source_open,
    .open_target = postgresql_target_open,
    .test = postgresql_probe_test,
    .plan = postgresql_probe_plan,
    .tools = tools,
};
