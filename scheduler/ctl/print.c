/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/print.h"

#include "common/base/clock.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { COLUMNS_MOST = 16, WIDEST = 60 };

const json_t *print_at(const json_t *item, const char *path)
{
    const char *dot;
    char part[64];
    while (item != NULL && (dot = strchr(path, '.')) != NULL) {
        snprintf(part, sizeof part, "%.*s", (int)(dot - path), path);
        item = json_object_get(item, part);
        path = dot + 1;
    }
    item = item == NULL ? NULL : json_object_get(item, path);
    return json_is_null(item) ? NULL : item;
}

const char *print_text_at(const json_t *item, const char *path)
{
    const char *text = json_string_value(print_at(item, path));
    return text == NULL ? "" : text;
}

int64_t print_number_at(const json_t *item, const char *path)
{
    return (int64_t)json_number_value(print_at(item, path));
}

void print_bytes(Buf *out, int64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1024;
        unit++;
    }
    buf_printf(out, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

void print_span(Buf *out, int64_t seconds)
{
    if (seconds < 0)
        seconds = 0;
    if (seconds >= 86400)
        buf_printf(out, "%" PRId64 "d %" PRId64 "h", seconds / 86400, seconds % 86400 / 3600);
    else if (seconds >= 3600)
        buf_printf(out, "%" PRId64 "h %" PRId64 "m", seconds / 3600, seconds % 3600 / 60);
    else if (seconds >= 60)
        buf_printf(out, "%" PRId64 "m %" PRId64 "s", seconds / 60, seconds % 60);
    else
        buf_printf(out, "%" PRId64 "s", seconds);
}

/* --- text from outside --------------------------------------------------------------------------
 */

/* One character of UTF-8 and its length; a byte that begins none stands for itself. */
static uint32_t character(const char *text, size_t *len)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t more = at[0] >= 0xf0 ? 3 : at[0] >= 0xe0 ? 2 : at[0] >= 0xc0 ? 1 : 0;
    uint32_t value = more == 0 ? at[0] : at[0] & (0x3fu >> more);
    *len = 1;
    for (size_t i = 1; i <= more; i++, (*len)++) {
        if ((at[i] & 0xc0) != 0x80) {
            *len = 1;
            return at[0];
        }
        value = value << 6 | (at[i] & 0x3f);
    }
    return value;
}

/* What moves a terminal, or lets text read otherwise than it is: control characters of both sets,
 * separators of lines, marks that turn the direction of writing. */
static bool moves(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

/* Columns that it takes: two for the wide ones of East Asia, none for what joins the last one. */
static size_t columns_of(uint32_t c)
{
    if ((c >= 0x300 && c <= 0x36f) || c == 0x200b || c == 0x200d || (c >= 0xfe00 && c <= 0xfe0f))
        return 0;
    bool wide = (c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) ||
                (c >= 0xac00 && c <= 0xd7a3) || (c >= 0xf900 && c <= 0xfaff) ||
                (c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff00 && c <= 0xff60) ||
                (c >= 0x1f300 && c <= 0x1faff) || (c >= 0x20000 && c <= 0x3fffd);
    return wide ? 2 : 1;
}

static size_t width_of(const char *text)
{
    size_t width = 0;
    for (size_t len; *text != 0; text += len)
        width += columns_of(character(text, &len));
    return width;
}

void print_add_safe(Buf *out, const char *text)
{
    for (size_t len; *text != 0; text += len) {
        uint32_t c = character(text, &len);
        if (!moves(c))
            buf_add(out, text, len);
        else
            buf_printf(out, c < 0x80 ? "\\x%02x" : "\\u%04x", (unsigned)c);
    }
}

void print_safe(FILE *out, const char *text)
{
    scoped(buf_free) Buf safe = {0};
    print_add_safe(&safe, text);
    fputs(buf_cstr(&safe), out);
}

void print_lines(FILE *out, const char *text)
{
    bool terminal = isatty(fileno(out)) == 1;
    while (terminal && *text != 0) {
        scoped(buf_free) Buf line = {0};
        size_t len = strcspn(text, "\n");
        buf_add(&line, text, len);
        print_safe(out, buf_cstr(&line));
        text += len;
        if (*text == '\n') {
            putc('\n', out);
            text++;
        }
    }
    fputs(text, out);
}

/* --- values -------------------------------------------------------------------------------------
 */

void print_when(Buf *out, const char *text, bool utc)
{
    int64_t wall_s;
    struct tm tm;
    char line[64];
    if (!clock_parse(text, &wall_s)) {
        print_add_safe(out, text);
        return;
    }
    time_t at = (time_t)wall_s;
    if (utc)
        gmtime_r(&at, &tm);
    else
        localtime_r(&at, &tm);
    strftime(line, sizeof line, utc ? "%a %d %b %H:%M:%S UTC" : "%a %d %b %H:%M:%S %Z", &tm);
    buf_printf(out, "%s", line);
}

static void add_ago(Buf *out, const char *text)
{
    int64_t wall_s;
    if (!clock_parse(text, &wall_s)) {
        print_add_safe(out, text);
        return;
    }
    print_span(out, clock_wall_ns() / 1000000000 - wall_s);
    buf_printf(out, " ago");
}

/* "a, b" of a list of words; everything else as JSON. */
static void add_other(Buf *out, const json_t *value)
{
    size_t i;
    json_t *item;
    bool words = json_is_array(value);
    json_array_foreach(value, i, item)
    {
        words = words && json_is_string(item);
    }
    json_array_foreach(value, i, item)
    {
        if (words && i != 0)
            buf_printf(out, ", ");
        if (words)
            print_add_safe(out, json_string_value(item));
    }
    if (words && json_array_size(value) == 0)
        buf_printf(out, "-");
    if (words)
        return;
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
    print_add_safe(out, text == NULL ? "?" : text);
    free(text);
}

static void add_value(Buf *out, const json_t *value, PrintAs asked, bool utc)
{
    PrintAs as = asked & (AS_WIDE - 1);
    if (value == NULL)
        buf_printf(out, "-");
    else if (as == AS_BYTES && json_is_number(value))
        print_bytes(out, (int64_t)json_number_value(value));
    else if (as == AS_RATE && json_is_number(value)) {
        print_bytes(out, (int64_t)json_number_value(value));
        buf_printf(out, "/s");
    } else if (as == AS_SECONDS && json_is_number(value))
        print_span(out, (int64_t)json_number_value(value));
    else if (as == AS_WHEN && json_is_string(value))
        print_when(out, json_string_value(value), utc);
    else if (as == AS_AGO && json_is_string(value))
        add_ago(out, json_string_value(value));
    else if (json_is_string(value))
        print_add_safe(out, json_string_value(value));
    else
        add_other(out, value);
}

/* --- tables -------------------------------------------------------------------------------------
 */

/* A cell filled up to its column's width; a longer one is cut where another follows. */
static void add_cell(Buf *line, const char *text, size_t width, bool last)
{
    size_t taken = 0;
    bool cut = !last && width_of(text) > width;
    for (size_t len; *text != 0; text += len) {
        size_t columns = columns_of(character(text, &len));
        if (cut && taken + columns + 1 > width)
            break;
        buf_add(line, text, len);
        taken += columns;
    }
    if (cut) {
        buf_printf(line, "…");
        taken++;
    }
    for (; !last && taken < width + 2; taken++)
        buf_add_byte(line, ' ');
}

static void put_row(FILE *out, const json_t *item, const PrintColumn *columns, size_t count,
                    const size_t *width, bool utc)
{
    scoped(buf_free) Buf line = {0};
    scoped(buf_free) Buf cell = {0};
    for (size_t c = 0; c < count; c++) {
        buf_clear(&cell);
        if (item == NULL)
            buf_printf(&cell, "%s", columns[c].title);
        else
            add_value(&cell, print_at(item, columns[c].path), columns[c].as, utc);
        add_cell(&line, buf_cstr(&cell), width[c], c + 1 == count);
    }
    buf_add_byte(&line, '\n');
    fwrite(line.at, 1, line.len, out);
}

void print_table(FILE *out, const json_t *items, const PrintColumn *columns, size_t count, bool utc)
{
    size_t width[COLUMNS_MOST];
    size_t i;
    json_t *item;
    scoped(buf_free) Buf cell = {0};
    for (size_t c = 0; c < count; c++) {
        width[c] = width_of(columns[c].title);
        json_array_foreach(items, i, item)
        {
            buf_clear(&cell);
            add_value(&cell, print_at(item, columns[c].path), columns[c].as, utc);
            size_t wanted = width_of(buf_cstr(&cell));
            if (wanted > width[c])
                width[c] = wanted > WIDEST ? WIDEST : wanted;
        }
    }
    put_row(out, NULL, columns, count, width, utc);
    json_array_foreach(items, i, item)
    {
        put_row(out, item, columns, count, width, utc);
    }
}

/* As programs read it. */
static void add_plain(Buf *out, const json_t *value)
{
    size_t i;
    json_t *item;
    bool words = json_is_array(value);
    json_array_foreach(value, i, item)
    {
        words = words && json_is_string(item);
    }
    if (value == NULL)
        return;
    if (json_is_string(value))
        buf_printf(out, "%s", json_string_value(value));
    json_array_foreach(value, i, item)
    {
        if (words)
            buf_printf(out, "%s%s", i == 0 ? "" : " ", json_string_value(item));
    }
    if (json_is_string(value) || words)
        return;
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
    buf_printf(out, "%s", text == NULL ? "" : text);
    free(text);
}

static void add_csv(Buf *line, Buf *cell)
{
    const char *text = buf_cstr(cell);
    if (strpbrk(text, ",\"\r\n") == NULL && *text != ' ') {
        buf_printf(line, "%s", text);
        return;
    }
    buf_add_byte(line, '"');
    for (; *text != 0; text++)
        buf_printf(line, *text == '"' ? "\"%c" : "%c", *text);
    buf_add_byte(line, '"');
}

/* A name from outside that a spreadsheet would take for a formula is shown as the text it is. */
static bool is_formula(const json_t *value)
{
    const char *text = json_string_value(value);
    return text != NULL && *text != 0 && strchr("=+-@\t\r", *text) != NULL;
}

void print_csv(FILE *out, const json_t *items, const PrintColumn *columns, size_t count)
{
    size_t i;
    json_t *item;
    bool terminal = isatty(fileno(out)) == 1;
    for (size_t c = 0; c < count; c++)
        fprintf(out, "%s%s", c == 0 ? "" : ",", columns[c].path);
    fputc('\n', out);
    json_array_foreach(items, i, item)
    {
        scoped(buf_free) Buf line = {0};
        for (size_t c = 0; c < count; c++) {
            scoped(buf_free) Buf cell = {0};
            const json_t *value = print_at(item, columns[c].path);
            if (is_formula(value))
                buf_add_byte(&cell, '\'');
            add_plain(&cell, value);
            if (c != 0)
                buf_add_byte(&line, ',');
            add_csv(&line, &cell);
        }
        if (terminal)
            print_safe(out, buf_cstr(&line));
        else
            fwrite(line.at, 1, line.len, out);
        fputc('\n', out);
    }
}

void print_card(FILE *out, const json_t *item, const PrintColumn *columns, size_t count, bool utc)
{
    scoped(buf_free) Buf cell = {0};
    for (size_t c = 0; c < count; c++) {
        const json_t *value = print_at(item, columns[c].path);
        if (value == NULL || (json_is_string(value) && json_string_length(value) == 0))
            continue;
        buf_clear(&cell);
        add_value(&cell, value, columns[c].as, utc);
        fprintf(out, "%-14s %s\n", columns[c].title, buf_cstr(&cell));
    }
}

/* JSON escapes control characters, but not those of the second set; on a terminal all is ASCII. */
void print_json(FILE *out, const json_t *value)
{
    size_t ascii = isatty(fileno(out)) == 1 ? JSON_ENSURE_ASCII : 0;
    json_dumpf(value, out, JSON_INDENT(2) | JSON_ENCODE_ANY | ascii);
    fputc('\n', out);
}

void print_json_line(FILE *out, const json_t *value)
{
    size_t ascii = isatty(fileno(out)) == 1 ? JSON_ENSURE_ASCII : 0;
    json_dumpf(value, out, JSON_COMPACT | JSON_ENCODE_ANY | ascii);
    fputc('\n', out);
    fflush(out);
}
