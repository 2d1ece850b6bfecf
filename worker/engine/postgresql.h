/* SPDX-License-Identifier: Apache-2.0
 * postgresql.h — the engine "postgresql": logical backup of one server's databases, or a physical
 * one of its whole cluster (postgresql_physical.h), as `method` says.
 * Entries of a logical backup (every <…> is a name encoded by postgresql_name_part):
 *   globals.sql                              phase 0  roles and tablespaces, by pg_dumpall
 *   databases/<db>/properties.json           phase 0  what CREATE DATABASE needs
 *   databases/<db>/schema.pgdump             phase 0  archive of pg_dump without data: restores
 *   databases/<db>/schema.pre.sql            phase 0  the same as text, before the data
 *   databases/<db>/tables/<schema>/<table>   phase 1  rows as COPY text
 *   databases/<db>/blobs/<oid>               phase 1  a large object
 *   databases/<db>/sequences.sql             phase 1  setval statements, one a line
 *   databases/<db>/schema.post.sql           phase 2  indexes, constraints, triggers, refreshes
 * Psql fed with the .sql entries and COPY … FROM stdin around the rows restores without us. */
#ifndef WORKER_ENGINE_POSTGRESQL_H
#define WORKER_ENGINE_POSTGRESQL_H

#include "worker/engine/engine.h"

extern const Engine postgresql_engine;

#endif
