/* SPDX-License-Identifier: Apache-2.0
 * What a client wrote into a path or a query, as text. */
#include "scheduler/http/connection.h"
#include "scheduler/http/server.h"

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Length of the UTF-8 character at the start, 0 when there is none: no overlong forms, no
 * surrogates, nothing past U+10FFFF, no NUL. */
static size_t character(const uint8_t *at, size_t len)
{
    static const struct {
        uint8_t first, last, low, high; /* of the first byte, of the second */
        size_t len;
    } rows[] = {
        {0x01, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        if (at[0] < rows[r].first || at[0] > rows[r].last || rows[r].len > len)
            continue;
        if (rows[r].len > 1 && (at[1] < rows[r].low || at[1] > rows[r].high))
            return 0;
        for (size_t i = 2; i < rows[r].len; i++)
            if ((at[i] & 0xc0) != 0x80)
                return 0;
        return rows[r].len;
    }
    return 0;
}

static bool is_text(Slice bytes)
{
    for (size_t i = 0, step; i < bytes.len; i += step) {
        step = character(bytes.at + i, bytes.len - i);
        if (step == 0)
            return false;
    }
    return true;
}

bool server_decode(Text text, bool plus_is_space, Buf *out)
{
    size_t start = out->len;
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] == '+' && plus_is_space)
            buf_add_byte(out, ' ');
        else if (text.at[i] != '%')
            buf_add_byte(out, (uint8_t)text.at[i]);
        else {
            int high = i + 2 < text.len ? hex_value(text.at[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_value(text.at[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            buf_add_byte(out, (uint8_t)(high << 4 | low));
            i += 2;
        }
    }
    return out->len == start || is_text((Slice){out->at + start, out->len - start});
}

ServerFound server_query(const char *query, const char *name, Buf *out)
{
    size_t len = strlen(name);
    for (const char *at = query; *at != 0;) {
        size_t pair = strcspn(at, "&");
        if (pair >= len && strncmp(at, name, len) == 0 && (pair == len || at[len] == '=')) {
            size_t skip = pair == len ? len : len + 1;
            return server_decode((Text){at + skip, pair - skip}, true, out) ? SERVER_FOUND
                                                                            : SERVER_MALFORMED;
        }
        at += pair;
        at += *at == '&';
    }
    return SERVER_ABSENT;
}

void server_problem(Buf *out, int status, const char *code, const char *text,
                    const char *request_id)
{
    connection_problem_json(out, status, code, text, request_id);
}
