/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/mem.h"
#include "common/base/yaml_doc.h"

#include <stdio.h>
#include <stdlib.h>

/* Each excerpt is a walk through the text; who has more mistakes than this reads the first ones. */
enum { EXCERPT_MOST = 200, EXCERPTS_MOST = 1000 };

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

static bool is_hidden(const YamlProblems *problems, const char *file, uint32_t line)
{
    for (size_t i = 0; i < problems->hidden_count; i++)
        if (problems->hidden[i].line == line && strcmp(problems->hidden[i].file, file) == 0)
            return true;
    return false;
}

void yaml_problems_hide(YamlProblems *problems, const YamlDoc *doc, const YamlNode *node)
{
    const char *file = node->doc != NULL ? node->doc->file : doc == NULL ? "" : doc->file;
    if (is_hidden(problems, file, node->line))
        return;
    problems->hidden =
        mem_resize(problems->hidden, (problems->hidden_count + 1) * sizeof *problems->hidden);
    problems->hidden[problems->hidden_count++] = (YamlHidden){mem_string(file), node->line};
    for (size_t i = 0; i < problems->count; i++)
        if (problems->rows[i].line == node->line && strcmp(problems->rows[i].file, file) == 0) {
            mem_free(problems->rows[i].excerpt);
            problems->rows[i].excerpt = NULL;
        }
}

static YamlProblem *add_row(YamlProblems *problems, bool warning, const char *code)
{
    problems->rows = mem_resize(problems->rows, (problems->count + 1) * sizeof *problems->rows);
    YamlProblem *row = &problems->rows[problems->count++];
    *row = (YamlProblem){.warning = warning};
    snprintf(row->code, sizeof row->code, "%s", code);
    problems->errors += !warning;
    return row;
}

void yaml_problem(YamlProblems *problems, const YamlDoc *doc, const YamlNode *node, bool warning,
                  const char *code, const char *suggestion, const char *format, ...)
{
    scoped(buf_free) Buf message = {0};
    scoped(buf_free) Buf pointer = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&message, format, args);
    va_end(args);
    if (node != NULL && node->doc != NULL)
        doc = node->doc;
    YamlProblem *row = add_row(problems, warning, code);
    row->file = mem_string(doc == NULL ? "" : doc->file);
    row->message = mem_string(buf_cstr(&message));
    row->suggestion = mem_string(suggestion);
    if (node == NULL)
        return;
    row->line = node->line;
    row->column = node->column;
    row->width = node->width;
    yaml_pointer(node, &pointer);
    row->pointer = mem_string(buf_cstr(&pointer));
    /* A secret that should not be in the file should not be on the screen either. */
    if (strcmp(code, "literal-secret") == 0)
        yaml_problems_hide(problems, doc, node);
    bool shown = problems->count <= EXCERPTS_MOST && doc != NULL &&
                 !is_hidden(problems, row->file, row->line);
    row->excerpt = shown ? line_text(doc->text, node->line) : NULL;
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
    if (left->column != right->column)
        return left->column < right->column ? -1 : 1;
    return (left > right) - (left < right); /* as they were found */
}

/* Words of a file on a terminal: what would move it becomes a question mark; tabs stay. */
static void add_safe(Buf *out, const char *text)
{
    for (; *text != 0; text++) {
        bool control = (unsigned char)*text < 0x20 || *text == 0x7f;
        /* C1 controls in UTF-8: c2 80 to c2 9f. */
        bool second = (unsigned char)text[0] == 0xc2 && (unsigned char)text[1] >= 0x80 &&
                      (unsigned char)text[1] < 0xa0;
        buf_add_byte(out, (control && *text != '\t') || second ? '?' : (uint8_t)*text);
        text += second;
    }
}

/* "   39 |  - {keep_dayly: 14}" and the carets below; tabs of the line are kept as they are. */
static void print_excerpt(const YamlProblem *row, Buf *out)
{
    if (row->excerpt == NULL && row->suggestion != NULL)
        buf_printf(out, "      | %s\n", row->suggestion);
    if (row->excerpt == NULL || row->column == 0)
        return;
    buf_printf(out, "%5u | ", row->line);
    add_safe(out, row->excerpt);
    buf_printf(out, "\n      | ");
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
        buf_printf(out, " %s[%s]: ", row->warning ? "warning" : "error", row->code);
        add_safe(out, row->message);
        buf_add_byte(out, '\n');
        print_excerpt(row, out);
    }
    mem_free(sorted);
}

void yaml_problems_below(YamlProblems *problems, const char *directory)
{
    const char *slash = strcmp(directory, "/") == 0 ? "" : "/";
    for (size_t i = 0; strcmp(directory, ".") != 0 && i < problems->count; i++) {
        Buf name = {0};
        size_t len;
        buf_printf(&name, "%s%s%s", directory, slash, problems->rows[i].file);
        buf_cstr(&name);
        mem_free(problems->rows[i].file);
        problems->rows[i].file = (char *)buf_take(&name, &len);
    }
}

static void set_text(json_t *item, const char *key, const char *text)
{
    if (text != NULL && *text != 0)
        json_object_set_new(item, key,
                            json_string(text)); /* NULL for what is not UTF-8: left out */
}

json_t *yaml_problems_json(const YamlProblems *problems)
{
    json_t *list = json_array();
    for (size_t i = 0; i < problems->count; i++) {
        const YamlProblem *row = &problems->rows[i];
        json_t *item = json_pack("{s:i, s:i, s:i, s:s, s:s}", "line", (int)row->line, "column",
                                 (int)row->column, "width", (int)row->width, "severity",
                                 row->warning ? "warning" : "error", "code", row->code);
        set_text(item, "file", row->file);
        set_text(item, "pointer", row->pointer);
        set_text(item, "detail", row->message);
        set_text(item, "suggestion", row->suggestion);
        set_text(item, "excerpt", row->excerpt);
        json_array_append_new(list, item);
    }
    return list;
}

static uint32_t number_at(const json_t *item, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(item, key));
    return value < 0 || value > INT32_MAX ? 0 : (uint32_t)value;
}

static char *text_at(const json_t *item, const char *key)
{
    return mem_string(json_string_value(json_object_get(item, key)));
}

void yaml_problems_read(const json_t *list, YamlProblems *problems)
{
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        const char *severity = json_string_value(json_object_get(item, "severity"));
        const char *code = json_string_value(json_object_get(item, "code"));
        if (severity == NULL || code == NULL)
            continue;
        YamlProblem *row = add_row(problems, strcmp(severity, "warning") == 0, code);
        row->line = number_at(item, "line");
        row->column = number_at(item, "column");
        row->width = number_at(item, "width");
        row->file = text_at(item, "file");
        row->file = row->file == NULL ? mem_string("") : row->file;
        row->message = text_at(item, "detail");
        row->message = row->message == NULL ? mem_string("") : row->message;
        row->suggestion = text_at(item, "suggestion");
        row->excerpt = text_at(item, "excerpt");
        row->pointer = text_at(item, "pointer");
    }
}

void yaml_problems_free(YamlProblems *problems)
{
    for (size_t i = 0; i < problems->count; i++) {
        mem_free(problems->rows[i].file);
        mem_free(problems->rows[i].message);
        mem_free(problems->rows[i].suggestion);
        mem_free(problems->rows[i].excerpt);
        mem_free(problems->rows[i].pointer);
    }
    for (size_t i = 0; i < problems->hidden_count; i++)
        mem_free(problems->hidden[i].file);
    mem_free(problems->rows);
    mem_free(problems->hidden);
    *problems = (YamlProblems){0};
}
