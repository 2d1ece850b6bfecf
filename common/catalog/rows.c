/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/rows.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_TEXT = 25,
    OID_FLOAT8 = 701,
    OID_TIMESTAMPTZ = 1184,
    OID_UUID = 2950,
};

static const int64_t epoch_2000_us = INT64_C(946684800000000);

static void need(const Rows *rows, int column, bool right)
{
    if (right)
        return;
    fprintf(stderr, "catalogue: column %d has type %u, which is not what its reader takes\n",
            column, PQftype(rows->result, column));
    abort();
}

static const uint8_t *cell(const Rows *rows, size_t row, int column, size_t *len)
{
    *len = (size_t)PQgetlength(rows->result, (int)row, column);
    return (const uint8_t *)PQgetvalue(rows->result, (int)row, column);
}

static uint64_t big_endian(const uint8_t *at, size_t len)
{
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++)
        value = value << 8 | at[i];
    return value;
}

size_t rows_count(const Rows *rows)
{
    return (size_t)PQntuples(rows->result);
}

bool rows_null(const Rows *rows, size_t row, int column)
{
    return PQgetisnull(rows->result, (int)row, column) != 0;
}

int64_t rows_i64(const Rows *rows, size_t row, int column)
{
    Oid type = PQftype(rows->result, column);
    size_t len;
    const uint8_t *at = cell(rows, row, column, &len);
    need(rows, column, type == OID_INT8 || type == OID_INT4 || type == OID_INT2);
    uint64_t value = big_endian(at, len);
    if (len == 2)
        return (int16_t)value;
    return len == 4 ? (int32_t)value : (int64_t)value;
}

uint64_t rows_u64(const Rows *rows, size_t row, int column)
{
    return (uint64_t)rows_i64(rows, row, column);
}

uint32_t rows_u32(const Rows *rows, size_t row, int column)
{
    return (uint32_t)rows_i64(rows, row, column);
}

bool rows_flag(const Rows *rows, size_t row, int column)
{
    size_t len;
    const uint8_t *at = cell(rows, row, column, &len);
    need(rows, column, PQftype(rows->result, column) == OID_BOOL);
    return len == 1 && at[0] != 0;
}

double rows_double(const Rows *rows, size_t row, int column)
{
    size_t len;
    const uint8_t *at = cell(rows, row, column, &len);
    double value;
    need(rows, column, PQftype(rows->result, column) == OID_FLOAT8);
    uint64_t bits = big_endian(at, len);
    memcpy(&value, &bits, sizeof value);
    return value;
}

int64_t rows_time(const Rows *rows, size_t row, int column)
{
    size_t len;
    const uint8_t *at = cell(rows, row, column, &len);
    need(rows, column, PQftype(rows->result, column) == OID_TIMESTAMPTZ);
    int64_t us = (int64_t)big_endian(at, len);
    if (len != 8 || us == INT64_MAX || us == INT64_MIN) /* NULL, infinity */
        return 0;
    return (us + epoch_2000_us) * 1000;
}

Text rows_text(const Rows *rows, size_t row, int column)
{
    size_t len;
    const uint8_t *at = cell(rows, row, column, &len);
    need(rows, column, PQftype(rows->result, column) == OID_TEXT);
    return (Text){(const char *)at, len};
}

Slice rows_bytes(const Rows *rows, size_t row, int column)
{
    size_t len;
    const uint8_t *at = cell(rows, row, column, &len);
    need(rows, column, PQftype(rows->result, column) == OID_BYTEA);
    return (Slice){at, len};
}

void rows_uuid(const Rows *rows, size_t row, int column, Uuid *out)
{
    size_t len;
    const uint8_t *at = cell(rows, row, column, &len);
    need(rows, column, PQftype(rows->result, column) == OID_UUID);
    *out = (Uuid){0};
    if (len == sizeof out->bytes)
        memcpy(out->bytes, at, len);
}

void rows_sha256(const Rows *rows, size_t row, int column, Sha256 *out)
{
    Slice bytes = rows_bytes(rows, row, column);
    *out = (Sha256){0};
    if (bytes.len == sizeof out->bytes)
        memcpy(out->bytes, bytes.at, bytes.len);
}

void rows_copy(const Rows *rows, size_t row, int column, char *out, size_t room)
{
    Text text = rows_text(rows, row, column);
    snprintf(out, room, "%.*s", TEXT_ARG(text));
}

void rows_free(Rows *rows)
{
    PQclear(rows->result);
    rows->result = NULL;
}
