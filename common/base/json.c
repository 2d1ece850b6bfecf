/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/json.h"

#include <stdlib.h>

bool json_parse(Text text, json_t **out, Err *err)
{
    json_error_t why;
    *out = json_loadb(text.at, text.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (*out == NULL)
        return err_set(err, ERR_INVALID, "json.syntax", "line %d, column %d: %s", why.line,
                       why.column, why.text);
    return true;
}

static bool wrong(const json_t *value, const char *key, const char *wanted, Err *err)
{
    return err_set(err, ERR_INVALID, "json.type", "'%s' %s %s", key,
                   value == NULL ? "is missing; it must be" : "must be", wanted);
}

bool json_take_text(const json_t *object, const char *key, Text *out, Err *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value))
        return wrong(value, key, "a string", err);
    *out = (Text){json_string_value(value), json_string_length(value)};
    return true;
}

bool json_take_u64(const json_t *object, const char *key, uint64_t *out, Err *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return wrong(value, key, "a whole number that is not negative", err);
    *out = (uint64_t)json_integer_value(value);
    return true;
}

bool json_take_object(const json_t *object, const char *key, const json_t **out, Err *err)
{
    *out = json_object_get(object, key);
    return json_is_object(*out) || wrong(*out, key, "an object", err);
}

Text json_text_or(const json_t *object, const char *key, Text otherwise)
{
    const json_t *value = json_object_get(object, key);
    return json_is_string(value) ? (Text){json_string_value(value), json_string_length(value)}
                                 : otherwise;
}

uint64_t json_u64_or(const json_t *object, const char *key, uint64_t otherwise)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) && json_integer_value(value) >= 0
               ? (uint64_t)json_integer_value(value)
               : otherwise;
}

double json_real_or(const json_t *object, const char *key, double otherwise)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : otherwise;
}

bool json_bool_or(const json_t *object, const char *key, bool otherwise)
{
    const json_t *value = json_object_get(object, key);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

void json_canonical(const json_t *value, Buf *out)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    if (text == NULL)
        abort();
    buf_printf(out, "%s", text);
    free(text);
}

/* Bytes of the UTF-8 sequence that starts at `at`, 0 when it is none (RFC 3629: shortest form only,
 * no surrogates, up to U+10FFFF). */
static size_t utf8_length(const uint8_t *at, size_t left)
{
    uint8_t lead = at[0];
    size_t len = lead < 0x80                    ? 1
                 : lead >= 0xc2 && lead <= 0xdf ? 2
                 : lead >= 0xe0 && lead <= 0xef ? 3
                 : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                : 0;
    if (len == 0 || len > left)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (lead == 0xe0 && at[1] < 0xa0) || (lead == 0xf0 && at[1] < 0x90);
    bool beyond = (lead == 0xed && at[1] > 0x9f) || (lead == 0xf4 && at[1] > 0x8f);
    return overlong || beyond ? 0 : len;
}

void json_escape_bytes(Slice bytes, Buf *out)
{
    for (size_t i = 0; i < bytes.len;) {
        size_t len = utf8_length(bytes.at + i, bytes.len - i);
        uint8_t byte = bytes.at[i];
        if (len == 0 || byte < 0x20 || byte == 0x7f || byte == '%') {
            buf_printf(out, "%%%02X", byte);
            i++;
        } else {
            buf_add(out, bytes.at + i, len);
            i += len;
        }
    }
}

json_t *json_bytes(Slice bytes)
{
    scoped(buf_free) Buf text = {0};
    json_escape_bytes(bytes, &text);
    return json_stringn(buf_cstr(&text), text.len);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

bool json_unbytes(Text text, Buf *out, Err *err)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] != '%') {
            buf_add_byte(out, (uint8_t)text.at[i]);
            continue;
        }
        int high = i + 2 < text.len ? hex_value(text.at[i + 1]) : -1;
        int low = i + 2 < text.len ? hex_value(text.at[i + 2]) : -1;
        if (high < 0 || low < 0)
            return err_set(err, ERR_INVALID, "json.bytes",
                           "'%.*s': after %% come two hex digits; a percent sign itself is %%25",
                           TEXT_ARG(text));
        buf_add_byte(out, (uint8_t)(high << 4 | low));
        i += 2;
    }
    return true;
}

void json_release(json_t **value)
{
    json_decref(*value);
    *value = NULL;
}
