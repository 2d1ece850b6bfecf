/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/options.h"

#include "common/base/mem.h"
#include "common/base/suggest.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { NAME_ROOM = 64, FLAGS_MOST = 64, ROWS_MOST = 64 };

static const YamlField fields[] = {
    [OPTIONS_text] = {.type = YAML_TEXT},
    [OPTIONS_u32] = {.type = YAML_U64, .most = UINT32_MAX},
    [OPTIONS_duration] = {.type = YAML_DURATION},
    [OPTIONS_size] = {.type = YAML_SIZE},
    [OPTIONS_flag] = {.type = YAML_BOOL},
    [OPTIONS_secret] = {.type = YAML_SECRET},
    [OPTIONS_tree] = {.type = YAML_ANY},
};

/* A flag of the command line, kept until file and environment were read. */
typedef struct Flag {
    const OptionsRow *row;
    const char *value;
} Flag;

typedef struct Reading {
    const OptionsSpec *spec;
    void *into;
    OptionsEnd *end;
    YamlProblems problems;
    Flag flags[FLAGS_MOST];
    size_t flag_count;
    const char *config; /* named by --config or HOLDFAST_CONFIG */
} Reading;

static void *member(const OptionsRow *row, void *into)
{
    return (char *)into + row->offset;
}

static void clear(const OptionsRow *row, void *into)
{
    if (row->type == OPTIONS_text) {
        char **text = member(row, into);
        mem_free(*text);
        *text = NULL;
    } else if (row->type == OPTIONS_secret || row->type == OPTIONS_tree) {
        json_t **value = member(row, into);
        json_release(value);
    }
}

/* Takes the reference. */
static void store(const OptionsRow *row, void *into, json_t *value)
{
    clear(row, into);
    switch (row->type) {
    case OPTIONS_text:
        *(char **)member(row, into) =
            mem_text((Text){json_string_value(value), json_string_length(value)});
        break;
    case OPTIONS_u32:
        *(uint32_t *)member(row, into) = (uint32_t)json_integer_value(value);
        break;
    case OPTIONS_duration:
        *(int64_t *)member(row, into) = json_integer_value(value);
        break;
    case OPTIONS_size:
        *(uint64_t *)member(row, into) = (uint64_t)json_integer_value(value);
        break;
    case OPTIONS_flag:
        *(bool *)member(row, into) = json_is_true(value);
        break;
    default:
        *(json_t **)member(row, into) = json_is_null(value) ? NULL : json_incref(value);
    }
    json_decref(value);
}

static const YamlField *field_of(const OptionsSpec *spec, const OptionsRow *row)
{
    for (size_t i = 0; i < spec->tree_count; i++)
        if (strcmp(spec->trees[i].name, row->name) == 0)
            return spec->trees[i].field;
    return &fields[row->type];
}

static void take_node(Reading *reading, const OptionsRow *row, const YamlDoc *doc,
                      const YamlNode *node, const char *path)
{
    json_t *value = NULL;
    bool emptied = row->type == OPTIONS_text && node->kind == YAML_SCALAR && node->text.len == 0;
    if (emptied)
        value = json_string("");
    else if (!yaml_walk(doc, node, path, field_of(reading->spec, row), &value, &reading->problems))
        json_release(&value);
    if (value != NULL)
        store(row, reading->into, value);
}

/* "file:/run/secret" and the like; NULL when text is not of this form. */
static json_t *short_reference(const char *text)
{
    static const char *const kinds[] = {"credential", "file", "env"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t len = strlen(kinds[i]);
        if (strncmp(text, kinds[i], len) == 0 && text[len] == ':' && text[len + 1] != 0)
            return json_pack("{s:s}", kinds[i], text + len + 1);
    }
    return NULL;
}

/* A value that came as text: from a flag, the environment, or the table's default. */
static void take_text(Reading *reading, const OptionsRow *row, const char *from, const char *text)
{
    YamlNode scalar = {.kind = YAML_SCALAR, .plain = true, .text = text_of(text)};
    YamlDoc *doc = NULL;
    json_t *reference = row->type == OPTIONS_secret ? short_reference(text) : NULL;
    if (reference != NULL) {
        store(row, reading->into, reference);
    } else if (row->type == OPTIONS_secret || row->type == OPTIONS_tree) {
        if (yaml_parse(from, text_of(text), &doc, &reading->problems))
            take_node(reading, row, doc, yaml_root(doc), row->name);
        yaml_doc_free(doc);
    } else if (yaml_parse(from, TEXT(""), &doc, &reading->problems)) { /* for the problem's file */
        take_node(reading, row, doc, &scalar, row->name);
        yaml_doc_free(doc);
    }
}

static const OptionsRow *row_named(const OptionsSpec *spec, Text name)
{
    for (size_t i = 0; i < spec->row_count; i++)
        if (text_equal(name, text_of(spec->rows[i].name)))
            return &spec->rows[i];
    return NULL;
}

static const char *nearest(const OptionsSpec *spec, Text name)
{
    const char *names[ROWS_MOST];
    size_t count = spec->row_count < ROWS_MOST ? spec->row_count : ROWS_MOST;
    for (size_t i = 0; i < count; i++)
        names[i] = spec->rows[i].name;
    return suggest_nearest(name, names, count);
}

static void unknown_key(Reading *reading, const YamlDoc *doc, const YamlNode *key, Text name)
{
    char hint[NAME_ROOM + 24] = "";
    const char *near = nearest(reading->spec, name);
    if (near != NULL)
        snprintf(hint, sizeof hint, "did you mean '%s'?", near);
    yaml_problem(&reading->problems, doc, key, false, "unknown-key", near == NULL ? NULL : hint,
                 "'%.*s' is no option of %s", TEXT_ARG(name), reading->spec->program);
}

/* `log: {level: info}` is log_level where no option is called log. */
static void take_parts(Reading *reading, const YamlDoc *doc, const YamlPair *pair)
{
    scoped(buf_free) Buf name = {0};
    for (size_t i = 0; i < pair->value->count; i++) {
        const YamlPair *part = &pair->value->pairs[i];
        buf_clear(&name);
        buf_printf(&name, "%.*s_%.*s", TEXT_ARG(pair->key->text), TEXT_ARG(part->key->text));
        const OptionsRow *row = row_named(reading->spec, buf_text(&name));
        if (row == NULL)
            unknown_key(reading, doc, part->key, buf_text(&name));
        else
            take_node(reading, row, doc, part->value, row->name);
    }
}

static bool has_parts(const OptionsSpec *spec, const YamlPair *pair)
{
    Text name = pair->key->text;
    for (size_t i = 0; i < spec->row_count && pair->value->kind == YAML_MAP; i++) {
        const char *each = spec->rows[i].name;
        if (strncmp(each, name.at, name.len) == 0 && each[name.len] == '_')
            return true;
    }
    return false;
}

static bool read_file(Reading *reading, Err *err)
{
    const char *path = reading->config != NULL ? reading->config : reading->spec->config;
    YamlDoc *doc = NULL;
    if (path == NULL || (reading->config == NULL && access(path, F_OK) != 0))
        return true;
    bool parsed = yaml_load(path, &doc, &reading->problems, err);
    if (doc == NULL)
        return err_note(err, "options");
    const YamlNode *root = yaml_root(doc);
    if (parsed && root->kind != YAML_MAP)
        yaml_problem(&reading->problems, doc, root, false, "wrong-shape", NULL,
                     "the file must be a map of options");
    for (size_t i = 0; parsed && root->kind == YAML_MAP && i < root->count; i++) {
        const YamlPair *pair = &root->pairs[i];
        const OptionsRow *row = row_named(reading->spec, pair->key->text);
        if (row != NULL)
            take_node(reading, row, doc, pair->value, row->name);
        else if (has_parts(reading->spec, pair))
            take_parts(reading, doc, pair);
        else
            unknown_key(reading, doc, pair->key, pair->key->text);
    }
    yaml_doc_free(doc);
    reading->end->config = mem_string(path);
    return true;
}

static void variable_of(const char *name, const char *suffix, char out[NAME_ROOM])
{
    snprintf(out, NAME_ROOM, "HOLDFAST_%s%s", name, suffix);
    for (char *at = out; *at != 0; at++)
        *at = (char)toupper((unsigned char)*at);
}

/* The whole content of a small file without the newline at its end. */
static bool file_text(const char *path, Buf *out, Err *err)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return err_set_sys(err, ERR_MISSING, "options.file", "reading %s", path);
    size_t got = fread(buf_extend(out, 1 << 16), 1, 1 << 16, file);
    bool whole = feof(file) != 0;
    fclose(file);
    out->len = got;
    if (!whole)
        return err_set(err, ERR_INVALID, "options.file", "%s is larger than 64 KiB", path);
    if (out->len != 0 && out->at[out->len - 1] == '\n')
        out->len--;
    return true;
}

static bool take_variable(Reading *reading, const OptionsRow *row, Err *err)
{
    char name[NAME_ROOM];
    char file_name[NAME_ROOM];
    variable_of(row->name, "", name);
    variable_of(row->name, "_FILE", file_name);
    const char *text = getenv(name);
    const char *path = getenv(file_name);
    if (text != NULL && path != NULL)
        return err_set(err, ERR_USAGE, "options.twice", "%s and %s are both set; keep one", name,
                       file_name);
    if (row->type == OPTIONS_secret && text != NULL)
        store(row, reading->into, json_pack("{s:s}", "env", name));
    else if (row->type == OPTIONS_secret && path != NULL)
        store(row, reading->into, json_pack("{s:s}", "file", path));
    else if (text != NULL)
        take_text(reading, row, name, text);
    else if (path != NULL) {
        scoped(buf_free) Buf content = {0};
        if (!file_text(path, &content, err))
            return err_note(err, "%s", file_name);
        take_text(reading, row, file_name, buf_cstr(&content));
    }
    return true;
}

static bool unknown_flag(const OptionsSpec *spec, const char *word, Text name, Err *err)
{
    char near[NAME_ROOM] = "";
    const char *found = nearest(spec, name);
    snprintf(near, sizeof near, "%s", found == NULL ? "" : found);
    for (char *at = near; *at != 0; at++)
        *at = *at == '_' ? '-' : *at;
    return err_set(err, ERR_USAGE, "options.unknown", "%s is no option of %s%s%s%s; see %s --help",
                   word, spec->program, *near == 0 ? "" : "; did you mean --", near,
                   *near == 0 ? "" : "?", spec->program);
}

/* One word that begins with "--", at argv[*at]; *at moves past its value. */
static bool take_flag(Reading *reading, int argc, char **argv, int *at, Err *err)
{
    char name[NAME_ROOM];
    const char *word = argv[(*at)++];
    const char *equals = strchr(word, '=');
    size_t len = equals == NULL ? strlen(word) : (size_t)(equals - word);
    snprintf(name, sizeof name, "%.*s", (int)(len - 2), word + 2);
    for (char *c = name; *c != 0; c++)
        *c = *c == '-' ? '_' : *c;
    bool config = strcmp(name, "config") == 0 && reading->spec->config != NULL;
    const OptionsRow *row = row_named(reading->spec, text_of(name));
    const char *value = equals == NULL ? NULL : equals + 1;
    if (row == NULL && strncmp(name, "no_", 3) == 0 && value == NULL) {
        row = row_named(reading->spec, text_of(name + 3));
        row = row != NULL && row->type == OPTIONS_flag ? row : NULL;
        value = "false";
    }
    if (row == NULL && !config)
        return unknown_flag(reading->spec, word, text_of(name), err);
    if (value == NULL && row != NULL && row->type == OPTIONS_flag)
        value = "true";
    if (value == NULL && *at == argc)
        return err_set(err, ERR_USAGE, "options.value", "%s needs a value", word);
    if (value == NULL)
        value = argv[(*at)++];
    if (config)
        reading->config = value;
    else if (reading->flag_count == FLAGS_MOST)
        return err_set(err, ERR_USAGE, "options.many", "more than %d options", FLAGS_MOST);
    else
        reading->flags[reading->flag_count++] = (Flag){row, value};
    return true;
}

static void answer(Reading *reading, const char *word)
{
    scoped(buf_free) Buf out = {0};
    if (strcmp(word, "--version") == 0)
        buf_printf(&out, "%s %s\n", reading->spec->program, HOLDFAST_VERSION);
    else if (strcmp(word, "--help=markdown") == 0)
        options_markdown(reading->spec, &out);
    else if (strcmp(word, "--help=man") == 0)
        options_man(reading->spec, &out);
    else
        options_help(reading->spec, &out);
    fputs(buf_cstr(&out), stdout);
    fflush(stdout);
    reading->end->done = true;
}

static bool scan_words(Reading *reading, int argc, char **argv, Err *err)
{
    int at = 1;
    while (at < argc && argv[at][0] == '-' && argv[at][1] != 0) {
        const char *word = argv[at];
        if (strcmp(word, "--") == 0) {
            at++;
            break;
        }
        bool asks = strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 ||
                    strcmp(word, "--version") == 0 || strcmp(word, "--help=markdown") == 0 ||
                    strcmp(word, "--help=man") == 0;
        if (asks) {
            answer(reading, word);
            return true;
        }
        if (word[1] != '-')
            return unknown_flag(reading->spec, word, text_of(word + 1), err);
        if (!take_flag(reading, argc, argv, &at, err))
            return false;
    }
    reading->end->rest = at;
    return true;
}

static bool sum_up(const Reading *reading, Err *err)
{
    const YamlProblems *problems = &reading->problems;
    scoped(buf_free) Buf text = {0};
    if (problems->count == 0)
        return true;
    yaml_problems_print(problems, &text);
    fputs(buf_cstr(&text), stderr);
    if (problems->errors == 0)
        return true;
    return err_set(err, ERR_INVALID, "options.invalid", "%zu %s in the options of %s; see above",
                   problems->errors, problems->errors == 1 ? "error" : "errors",
                   reading->spec->program);
}

bool options_read(const OptionsSpec *spec, int argc, char **argv, void *into, OptionsEnd *end,
                  Err *err)
{
    Reading reading = {.spec = spec, .into = into, .end = end};
    *end = (OptionsEnd){.rest = argc};
    for (size_t i = 0; i < spec->row_count; i++)
        if (*spec->rows[i].fallback != 0 || spec->rows[i].type == OPTIONS_text)
            take_text(&reading, &spec->rows[i], "default", spec->rows[i].fallback);
    if (!scan_words(&reading, argc, argv, err))
        return false;
    if (end->done)
        return true;
    if (reading.config == NULL && spec->config != NULL)
        reading.config = getenv("HOLDFAST_CONFIG");
    bool done = read_file(&reading, err);
    for (size_t i = 0; done && i < spec->row_count; i++)
        done = take_variable(&reading, &spec->rows[i], err);
    for (size_t i = 0; done && i < reading.flag_count; i++) {
        char word[NAME_ROOM];
        snprintf(word, sizeof word, "--%s", reading.flags[i].row->name);
        take_text(&reading, reading.flags[i].row, word, reading.flags[i].value);
    }
    done = done && sum_up(&reading, err);
    yaml_problems_free(&reading.problems);
    return done;
}

void options_free(const OptionsSpec *spec, void *into, OptionsEnd *end)
{
    for (size_t i = 0; i < spec->row_count; i++)
        clear(&spec->rows[i], into);
    mem_free(end->config);
    end->config = NULL;
}
