/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/args.h"

#include <assert.h>

/* Oids of pg_type.dat; they never change. */
enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_INT4 = 23,
    OID_TEXT = 25,
    OID_FLOAT8 = 701,
    OID_TIMESTAMPTZ = 1184,
    OID_UUID = 2950,
};

static const struct {
    unsigned array, element;
} kinds[] = {
    [ELEMENT_I32] = {1007, OID_INT4},         [ELEMENT_I64] = {1016, OID_INT8},
    [ELEMENT_FLAG] = {1000, OID_BOOL},        [ELEMENT_TEXT] = {1009, OID_TEXT},
    [ELEMENT_UUID] = {2951, OID_UUID},        [ELEMENT_BYTES] = {1001, OID_BYTEA},
    [ELEMENT_TIME] = {1185, OID_TIMESTAMPTZ},
};

/* PostgreSQL counts microseconds from 2000-01-01, big-endian like everything on its wire. */
static const int64_t epoch_2000_us = INT64_C(946684800000000);

static void add_be(Buf *buf, uint64_t value, size_t width)
{
    uint8_t *at = buf_extend(buf, width);
    for (size_t i = 0; i < width; i++)
        at[i] = (uint8_t)(value >> (8 * (width - 1 - i)));
}

static size_t utf8_length(const uint8_t *at, size_t len)
{
    uint8_t lead = at[0];
    size_t need = lead < 0x80   ? 1
                  : lead < 0xC2 ? 0
                  : lead < 0xE0 ? 2
                  : lead < 0xF0 ? 3
                  : lead < 0xF5 ? 4
                                : 0;
    if (need == 0 || need > len || lead == 0)
        return 0;
    for (size_t i = 1; i < need; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    if ((lead == 0xE0 && at[1] < 0xA0) || (lead == 0xED && at[1] > 0x9F) ||
        (lead == 0xF0 && at[1] < 0x90) || (lead == 0xF4 && at[1] > 0x8F))
        return 0; /* overlong, a surrogate, or past U+10FFFF */
    return need;
}

static void add_clean(Buf *buf, Text text)
{
    for (size_t at = 0; at < text.len;) {
        size_t good = 0, step;
        const uint8_t *from = (const uint8_t *)text.at + at;
        while (at + good < text.len && (step = utf8_length(from + good, text.len - at - good)) != 0)
            good += step;
        buf_add(buf, from, good);
        at += good;
        if (at < text.len) {
            buf_add(buf, "\xEF\xBF\xBD", 3);
            at++;
        }
    }
}

static void begin(Args *args, unsigned type)
{
    assert(args->count < ARGS_MOST);
    args->types[args->count] = type;
    args->at[args->count] = args->bytes.len;
}

static void end(Args *args)
{
    args->lengths[args->count] = (int)(args->bytes.len - args->at[args->count]);
    args->count++;
}

static void null(Args *args, unsigned type)
{
    begin(args, type);
    args->at[args->count] = SIZE_MAX;
    args->lengths[args->count++] = 0;
}

void args_i64(Args *args, int64_t value)
{
    begin(args, OID_INT8);
    add_be(&args->bytes, (uint64_t)value, 8);
    end(args);
}

void args_i64_null(Args *args)
{
    null(args, OID_INT8);
}

void args_i32(Args *args, int32_t value)
{
    begin(args, OID_INT4);
    add_be(&args->bytes, (uint32_t)value, 4);
    end(args);
}

void args_flag(Args *args, bool value)
{
    begin(args, OID_BOOL);
    buf_add_byte(&args->bytes, value);
    end(args);
}

void args_double(Args *args, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    begin(args, OID_FLOAT8);
    add_be(&args->bytes, bits, 8);
    end(args);
}

void args_text(Args *args, Text text)
{
    begin(args, OID_TEXT);
    add_clean(&args->bytes, text);
    end(args);
}

void args_text_or_null(Args *args, Text text)
{
    if (text.len == 0)
        null(args, OID_TEXT);
    else
        args_text(args, text);
}

void args_uuid(Args *args, const Uuid *id)
{
    if (id == NULL) {
        null(args, OID_UUID);
        return;
    }
    begin(args, OID_UUID);
    buf_add(&args->bytes, id->bytes, sizeof id->bytes);
    end(args);
}

void args_bytes(Args *args, const void *at, size_t len)
{
    begin(args, OID_BYTEA);
    buf_add(&args->bytes, at, len);
    end(args);
}

static int64_t pg_time(int64_t unix_ns)
{
    return unix_ns / 1000 - epoch_2000_us;
}

void args_time(Args *args, int64_t unix_ns)
{
    if (unix_ns == 0) {
        null(args, OID_TIMESTAMPTZ);
        return;
    }
    begin(args, OID_TIMESTAMPTZ);
    add_be(&args->bytes, (uint64_t)pg_time(unix_ns), 8);
    end(args);
}

void args_array(Args *args, ArgsElement element, size_t count)
{
    begin(args, kinds[element].array);
    add_be(&args->bytes, count == 0 ? 0 : 1, 4); /* dimensions */
    add_be(&args->bytes, 0, 4);                  /* may hold NULLs: the server looks itself */
    add_be(&args->bytes, kinds[element].element, 4);
    if (count != 0) {
        add_be(&args->bytes, count, 4);
        add_be(&args->bytes, 1, 4); /* lower bound */
    }
}

void args_element_i64(Args *args, int64_t value)
{
    add_be(&args->bytes, 8, 4);
    add_be(&args->bytes, (uint64_t)value, 8);
}

void args_element_i32(Args *args, int32_t value)
{
    add_be(&args->bytes, 4, 4);
    add_be(&args->bytes, (uint32_t)value, 4);
}

void args_element_flag(Args *args, bool value)
{
    add_be(&args->bytes, 1, 4);
    buf_add_byte(&args->bytes, value);
}

void args_element_text(Args *args, Text text)
{
    size_t at = args->bytes.len;
    add_be(&args->bytes, 0, 4);
    add_clean(&args->bytes, text);
    uint32_t len = (uint32_t)(args->bytes.len - at - 4);
    for (size_t i = 0; i < 4; i++)
        args->bytes.at[at + i] = (uint8_t)(len >> (24 - 8 * i));
}

void args_element_bytes(Args *args, const void *at, size_t len)
{
    add_be(&args->bytes, len, 4);
    buf_add(&args->bytes, at, len);
}

void args_element_time(Args *args, int64_t unix_ns)
{
    if (unix_ns == 0)
        add_be(&args->bytes, UINT32_MAX, 4); /* length -1: NULL */
    else
        args_element_i64(args, pg_time(unix_ns));
}

void args_array_end(Args *args)
{
    end(args);
}

void args_free(Args *args)
{
    buf_free(&args->bytes);
    *args = (Args){0};
}
