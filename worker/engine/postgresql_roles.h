/* SPDX-License-Identifier: Apache-2.0
 * postgresql_roles.h — the roles of a globals.sql on another server. Only roles that are not there
 * are made; one that is there keeps its password and attributes. Tablespaces are not made: their
 * directories belong to the old host. */
#ifndef WORKER_ENGINE_POSTGRESQL_ROLES_H
#define WORKER_ENGINE_POSTGRESQL_ROLES_H

#include "worker/engine/postgresql_restore.h"

MUST_CHECK bool postgresql_roles_apply(const PostgresqlRules *rules, Buf *globals, Err *err);

#endif
