/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/options.h"

#include <stdio.h>

enum { WIDTH = 80, INDENT = 30 };

static const char *const values[] = {
    [OPTIONS_text] = "TEXT", [OPTIONS_u32] = "N", [OPTIONS_duration] = "TIME",
    [OPTIONS_size] = "SIZE", [OPTIONS_flag] = "", [OPTIONS_secret] = "REF",
    [OPTIONS_tree] = "YAML",
};

const char *options_value(OptionsType type)
{
    return values[type];
}

/* Adds words from column `column` on, broken before column 80 and indented. */
static void add_wrapped(Buf *out, size_t column, size_t indent, const char *words)
{
    bool first = true;
    while (*words != 0) {
        size_t len = strcspn(words, " ");
        if (!first && column + 1 + len > WIDTH) {
            buf_printf(out, "\n%*s", (int)indent, "");
            column = indent;
            first = true;
        }
        buf_printf(out, "%s%.*s", first ? "" : " ", (int)len, words);
        column += len + !first;
        first = false;
        words += len + (words[len] == ' ');
    }
    buf_add_byte(out, '\n');
}

static void add_flag(Buf *out, const OptionsRow *row)
{
    buf_printf(out, "  --%s%s", row->type == OPTIONS_flag ? "[no-]" : "", row->name);
    for (size_t i = out->len; out->at[--i] != ' ';)
        out->at[i] = out->at[i] == '_' ? '-' : out->at[i];
    if (row->type != OPTIONS_flag)
        buf_printf(out, " %s", values[row->type]);
}

static void add_row(Buf *out, const OptionsRow *row)
{
    scoped(buf_free) Buf words = {0};
    size_t start = out->len;
    add_flag(out, row);
    size_t column = out->len - start;
    if (column + 2 > INDENT) {
        buf_printf(out, "\n%*s", INDENT, "");
    } else {
        buf_printf(out, "%*s", (int)(INDENT - column), "");
    }
    buf_printf(&words, "%s", row->help);
    if (*row->fallback != 0)
        buf_printf(&words, " [%s]", row->fallback);
    add_wrapped(out, INDENT, INDENT, buf_cstr(&words));
}

void options_help(const OptionsSpec *spec, Buf *out)
{
    scoped(buf_free) Buf usage = {0};
    scoped(buf_free) Buf words = {0};
    buf_printf(&usage, "Usage: %s %s", spec->program, spec->usage);
    add_wrapped(out, 0, 9, buf_cstr(&usage));
    buf_printf(out, "%s\n\nOptions, each with its default in brackets:\n", spec->about);
    for (size_t i = 0; i < spec->row_count; i++)
        add_row(out, &spec->rows[i]);
    if (spec->config != NULL) {
        buf_printf(&words, "read this file of options [%s]", spec->config);
        buf_printf(out, "  --config FILE%*s", INDENT - 15, "");
        add_wrapped(out, INDENT, INDENT, buf_cstr(&words));
    }
    buf_printf(out, "  --help                      print this\n"
                    "  --version                   print the version\n\n");
    buf_printf(out,
               "Each option is also a line of the file (log-level is log_level there), the\n"
               "variable HOLDFAST_<NAME>, and HOLDFAST_<NAME>_FILE names a file that holds\n"
               "the value. A flag wins over a variable, a variable over the file.\n"
               "REF is credential:NAME, file:PATH or env:VARIABLE, never the secret itself.\n");
}

void options_markdown(const OptionsSpec *spec, Buf *out)
{
    buf_printf(out,
               "### %s\n\n| file | flag | variable | default | meaning |\n|---|---|---|---|---|\n",
               spec->program);
    for (size_t i = 0; i < spec->row_count; i++) {
        const OptionsRow *row = &spec->rows[i];
        buf_printf(out, "| `%s` | `", row->name);
        size_t start = out->len;
        buf_printf(out, "--%s", row->name);
        for (size_t at = start; at < out->len; at++)
            out->at[at] = out->at[at] == '_' ? '-' : out->at[at];
        buf_printf(out, "` | `HOLDFAST_");
        for (const char *at = row->name; *at != 0; at++)
            buf_add_byte(out, (uint8_t)(*at >= 'a' && *at <= 'z' ? *at - 'a' + 'A' : *at));
        buf_printf(out, "` | %s%s%s | %s |\n", *row->fallback == 0 ? "" : "`", row->fallback,
                   *row->fallback == 0 ? "" : "`", row->help);
    }
}
