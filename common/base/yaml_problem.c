/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/mem.h"
#include "common/base/yaml_doc.h"

#include <stdio.h>
#include <stdlib.h>

enum { EXCERPT_MOST = 200 };

static char *line_text(const char *text, uint32_t line)
{
    for (uint32_t at = 1; at < line && text != NULL; at++) {
        text = strchr(text, '\n');
        text = text == NULL ? NULL : text + 1;
    }
    if (text == NULL)
        return NULL;
    size_t len = strcspn(text, "\r\n");
    return mem_text((Text){text, len > EXCERPT_MOST ? EXCERPT_MOST : len});
}

void yaml_problem(YamlProblems *problems, const YamlDoc *doc, const YamlNode *node, bool warning,
                  const char *code, const char *suggestion, const char *format, ...)
{
    scoped(buf_free) Buf message = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&message, format, args);
    va_end(args);
    problems->rows = mem_resize(problems->rows, (problems->count + 1) * sizeof *problems->rows);
    YamlProblem *row = &problems->rows[problems->count++];
    *row = (YamlProblem){.warning = warning,
                         .file = mem_string(doc == NULL ? "" : doc->file),
                         .message = mem_string(buf_cstr(&message)),
                         .suggestion = mem_string(suggestion)};
    snprintf(row->code, sizeof row->code, "%s", code);
    if (node != NULL) {
        row->line = node->line;
        row->column = node->column;
        row->width = node->width;
        /* A secret that should not be in the file should not be on the screen either. */
        bool shown = doc != NULL && strcmp(code, "literal-secret") != 0;
        row->excerpt = shown ? line_text(doc->text, node->line) : NULL;
    }
    problems->errors += !warning;
}

static int by_place(const void *a, const void *b)
{
    const YamlProblem *left = *(const YamlProblem *const *)a;
    const YamlProblem *right = *(const YamlProblem *const *)b;
    int file = strcmp(left->file, right->file);
    if (file != 0)
        return file;
    if (left->line != right->line)
        return left->line < right->line ? -1 : 1;
    return (left->column > right->column) - (left->column < right->column);
}

/* "   39 |  - {keep_dayly: 14}" and the carets below; tabs of the line are kept as they are. */
static void print_excerpt(const YamlProblem *row, Buf *out)
{
    if (row->excerpt == NULL && row->suggestion != NULL)
        buf_printf(out, "      | %s\n", row->suggestion);
    if (row->excerpt == NULL || row->column == 0)
        return;
    buf_printf(out, "%5u | %s\n      | ", row->line, row->excerpt);
    size_t len = strlen(row->excerpt);
    size_t at = 0;
    for (uint32_t column = 1; column < row->column && at < len; column++) {
        buf_add_byte(out, row->excerpt[at] == '\t' ? '\t' : ' ');
        for (at++; at < len && ((unsigned char)row->excerpt[at] & 0xc0) == 0x80;)
            at++; /* columns count characters, not bytes */
    }
    for (uint32_t i = 0; i < row->width && i < EXCERPT_MOST; i++)
        buf_add_byte(out, '^');
    buf_printf(out, "%s%s\n", row->suggestion == NULL ? "" : " ",
               row->suggestion == NULL ? "" : row->suggestion);
}

void yaml_problems_print(const YamlProblems *problems, Buf *out)
{
    const YamlProblem **sorted = mem_array(const YamlProblem *, problems->count);
    for (size_t i = 0; i < problems->count; i++)
        sorted[i] = &problems->rows[i];
    qsort(sorted, problems->count, sizeof *sorted, by_place);
    for (size_t i = 0; i < problems->count; i++) {
        const YamlProblem *row = sorted[i];
        buf_printf(out, "%s:", row->file);
        if (row->line != 0)
            buf_printf(out, "%u:%u:", row->line, row->column);
        buf_printf(out, " %s[%s]: %s\n", row->warning ? "warning" : "error", row->code,
                   row->message);
        print_excerpt(row, out);
    }
    mem_free(sorted);
}

json_t *yaml_problems_json(const YamlProblems *problems)
{
    json_t *list = json_array();
    for (size_t i = 0; i < problems->count; i++) {
        const YamlProblem *row = &problems->rows[i];
        json_t *item =
            json_pack("{s:s, s:i, s:i, s:s, s:s, s:s}", "file", row->file, "line", (int)row->line,
                      "column", (int)row->column, "severity", row->warning ? "warning" : "error",
                      "code", row->code, "detail", row->message);
        if (item == NULL) /* bytes that are not UTF-8: the place still says where */
            item = json_pack("{s:i, s:i, s:s, s:s}", "line", (int)row->line, "column",
                             (int)row->column, "severity", "error", "code", row->code);
        if (row->suggestion != NULL)
            json_object_set_new(item, "suggestion", json_string(row->suggestion));
        json_array_append_new(list, item);
    }
    return list;
}

void yaml_problems_free(YamlProblems *problems)
{
    for (size_t i = 0; i < problems->count; i++) {
        mem_free(problems->rows[i].file);
        mem_free(problems->rows[i].message);
        mem_free(problems->rows[i].suggestion);
        mem_free(problems->rows[i].excerpt);
    }
    mem_free(problems->rows);
    *problems = (YamlProblems){0};
}
