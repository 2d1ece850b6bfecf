/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_name.h"

static bool only_dots(Text name)
{
    return (name.len == 1 || name.len == 2) && memcmp(name.at, "..", name.len) == 0;
}

void postgresql_name_part(Buf *path, Text name)
{
    bool dots = only_dots(name);
    for (size_t i = 0; i < name.len; i++) {
        uint8_t byte = (uint8_t)name.at[i];
        if (dots || byte < 0x20 || byte == 0x7f || byte == '%' || byte == '/')
            buf_printf(path, "%%%02X", byte);
        else
            buf_add_byte(path, byte);
    }
}

void postgresql_name_path(Buf *path, Text schema, Text table)
{
    buf_add_text(path, TEXT("tables/"));
    postgresql_name_part(path, schema);
    buf_add_byte(path, '/');
    postgresql_name_part(path, table);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void postgresql_name_unpart(Text part, Buf *name)
{
    for (size_t i = 0; i < part.len; i++) {
        int high = part.at[i] == '%' && i + 2 < part.len ? hex_digit(part.at[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(part.at[i + 2]) : -1;
        if (low >= 0) {
            buf_add_byte(name, (uint8_t)(high << 4 | low));
            i += 2;
        } else {
            buf_add_byte(name, (uint8_t)part.at[i]);
        }
    }
}

void postgresql_name_quote(Buf *sql, Text name)
{
    buf_add_byte(sql, '"');
    for (size_t i = 0; i < name.len; i++) {
        if (name.at[i] == '"')
            buf_add_byte(sql, '"');
        buf_add_byte(sql, (uint8_t)name.at[i]);
    }
    buf_add_byte(sql, '"');
}

void postgresql_name_literal(Buf *sql, Text value)
{
    buf_add_text(sql, TEXT("E'"));
    for (size_t i = 0; i < value.len; i++) {
        uint8_t byte = (uint8_t)value.at[i];
        if (byte == '\'' || byte == '\\')
            buf_add_byte(sql, byte);
        if (byte == '\n' || byte == '\r') /* one statement stays one line */
            buf_add_text(sql, byte == '\n' ? TEXT("\\n") : TEXT("\\r"));
        else
            buf_add_byte(sql, byte);
    }
    buf_add_byte(sql, '\'');
}

void postgresql_name_conninfo(Buf *out, const char *key, Text value)
{
    buf_printf(out, "%s%s='", out->len == 0 ? "" : " ", key);
    for (size_t i = 0; i < value.len; i++) {
        if (value.at[i] == '\'' || value.at[i] == '\\')
            buf_add_byte(out, '\\');
        buf_add_byte(out, (uint8_t)value.at[i]);
    }
    buf_add_byte(out, '\'');
}

bool postgresql_name_split(Text path, Text *parts, size_t room, size_t *count)
{
    *count = 0;
    for (size_t start = 0; start <= path.len;) {
        const char *slash = memchr(path.at + start, '/', path.len - start);
        size_t end = slash == NULL ? path.len : (size_t)(slash - path.at);
        if (*count == room)
            return false;
        parts[(*count)++] = (Text){path.at + start, end - start};
        start = end + 1;
    }
    return true;
}
