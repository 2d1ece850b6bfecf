/* SPDX-License-Identifier: Apache-2.0
 * postgresql_sandbox.h — a logical backup is tried in a throw-away server: its rows are counted
 * again after that server was stopped and started, against what the backup says of each table;
 * pg_amcheck looks at every table and B-tree index; the policy's queries are asked, each in a
 * transaction that may only read. A backup of another method is refused as "sandbox.method". */
#ifndef WORKER_ENGINE_POSTGRESQL_SANDBOX_H
#define WORKER_ENGINE_POSTGRESQL_SANDBOX_H

#include "worker/engine/sandbox.h"

extern const SandboxOps postgresql_sandbox;

#endif
