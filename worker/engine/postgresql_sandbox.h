/* SPDX-License-Identifier: Apache-2.0
 * postgresql_sandbox.h — a backup is tried in a throw-away server. The rows of a logical one are
 * counted again after that server was stopped and started, against what the backup says of each
 * table; a physical one becomes a server itself (postgresql_adopt.h), of the same system, whose
 * tables are read to their end (postgresql_tally.h). pg_amcheck looks at every table and B-tree
 * index of both; the policy's queries are asked, each in a transaction that may only read. */
#ifndef WORKER_ENGINE_POSTGRESQL_SANDBOX_H
#define WORKER_ENGINE_POSTGRESQL_SANDBOX_H

#include "worker/engine/sandbox.h"

extern const SandboxOps postgresql_sandbox;

#endif
