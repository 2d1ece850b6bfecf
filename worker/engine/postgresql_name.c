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

/* Length of the valid UTF-8 sequence at `at`, 0 when there is none. */
static size_t utf8_length(const uint8_t *at, size_t len)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t need = at[0] < 0x80 ? 1 : at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (need == 1)
        return 1;
    if (at[0] < 0xc2 || at[0] > 0xf4 || need > len)
        return 0;
    uint32_t code = at[0] & (0xffU >> (need + 1));
    for (size_t i = 1; i < need; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (at[i] & 0x3fU);
    }
    bool fine = code >= least[need] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
    return fine ? need : 0;
}

json_t *postgresql_name_json(Text bytes)
{
    scoped(buf_free) Buf out = {0};
    for (size_t i = 0; i < bytes.len;) {
        const uint8_t *at = (const uint8_t *)bytes.at + i;
        size_t len = utf8_length(at, bytes.len - i);
        if (len == 0 || *at < 0x20 || *at == 0x7f || *at == '%') {
            buf_printf(&out, "%%%02X", *at);
            i++;
        } else {
            buf_add(&out, at, len);
            i += len;
        }
    }
    return json_stringn(buf_cstr(&out), out.len);
}

bool postgresql_name_unjson(const json_t *string, Buf *out)
{
    if (!json_is_string(string))
        return false;
    postgresql_name_unpart((Text){json_string_value(string), json_string_length(string)}, out);
    return true;
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
