/* SPDX-License-Identifier: Apache-2.0
 * view_args.h — the one parameter list of every sql/view_*.sql, in this order. */
#ifndef COMMON_CATALOG_VIEW_ARGS_H
#define COMMON_CATALOG_VIEW_ARGS_H

#include "common/catalog/args.h"
#include "common/catalog/catalog_view.h"

/* $1 source  $2 state  $3 kind  $4 name  $5 cursor (text, NULL when any)  $6 job  $7 after (bigint,
 * NULL when any)  $8 first  $9 last (uuid)  $10 since  $11 until (timestamptz)  $12 limit (int) */
enum { VIEW_ARGS_COUNT = 12 };
extern const unsigned view_args_types[VIEW_ARGS_COUNT];

void view_args_add(Args *args, const ViewArgs *view);

#endif
