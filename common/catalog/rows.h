/* SPDX-License-Identifier: Apache-2.0
 * rows.h — the answer of one statement, in PostgreSQL's binary form. A column that is read as
 * another type than the statement gives is our own bug and stops the program. */
#ifndef COMMON_CATALOG_ROWS_H
#define COMMON_CATALOG_ROWS_H

#include "common/base/buf.h"
#include "protocol/ids.h"

struct pg_result;

typedef struct Rows {
    struct pg_result *result;
} Rows;

size_t rows_count(const Rows *rows);
bool rows_null(const Rows *rows, size_t row, int column);
int64_t rows_i64(const Rows *rows, size_t row, int column); /* int2, int4 or int8; NULL is 0 */
uint64_t rows_u64(const Rows *rows, size_t row, int column);
uint32_t rows_u32(const Rows *rows, size_t row, int column);
bool rows_flag(const Rows *rows, size_t row, int column);
double rows_double(const Rows *rows, size_t row, int column);
int64_t rows_time(const Rows *rows, size_t row, int column); /* Unix nanoseconds; NULL is 0 */
Text rows_text(const Rows *rows, size_t row, int column);    /* borrowed; NULL is empty */
Slice rows_bytes(const Rows *rows, size_t row, int column);  /* borrowed */
void rows_uuid(const Rows *rows, size_t row, int column, Uuid *out);     /* NULL is nil */
void rows_sha256(const Rows *rows, size_t row, int column, Sha256 *out); /* NULL is zero */

/* Copies into a fixed field, cut to fit. */
void rows_copy(const Rows *rows, size_t row, int column, char *out, size_t room);

void rows_free(Rows *rows);

#endif
