/* SPDX-License-Identifier: Apache-2.0
 * migration.h — the embedded migrations in order. To change the schema add NNNN_what.sql and a row
 * of migrations.def; one that was released is never edited. */
#ifndef COMMON_CATALOG_MIGRATION_H
#define COMMON_CATALOG_MIGRATION_H

#include "common/base/asset.h"

size_t migration_count(void);
const Asset *migration_at(size_t index); /* number index + 1 */
const Asset *migration_roles(void);      /* runs before each: roles, schema, rights to it */

#endif
