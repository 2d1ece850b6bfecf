/* SPDX-License-Identifier: Apache-2.0
 * options.h — a daemon's options from one table: the line of its YAML file, --flag,
 * HOLDFAST_<NAME>, HOLDFAST_<NAME>_FILE, the default, --help and the reference page are the same
 * row. A flag wins over the environment, the environment over the file, the file over the default.
 * Only main sees the struct; modules get plain arguments.
 *
 *   OPTION(u32, slots, "4", "how many jobs run at once")          <- <program>/options.def
 *
 *   typedef struct WorkerOptions {
 *   #define OPTION(type, name, fallback, help) OPTIONS_TYPE_##type name;
 *   #include "worker/options.def"
 *   #undef OPTION
 *   } WorkerOptions;
 *   static const OptionsRow rows[] = {
 *   #define OPTION(type, name, fallback, help) OPTIONS_ROW(WorkerOptions, type, name, fallback,
 * help) #include "worker/options.def" #undef OPTION
 *   };
 *
 * In the file a name may be written in two parts: log_level is also `log: {level: …}`. */
#ifndef COMMON_BASE_OPTIONS_H
#define COMMON_BASE_OPTIONS_H

#include "common/base/json.h"
#include "common/base/yaml.h"

#define OPTIONS_TYPE_text     char *   /* never NULL; "" when there is none */
#define OPTIONS_TYPE_u32      uint32_t /* whole number */
#define OPTIONS_TYPE_duration int64_t  /* milliseconds */
#define OPTIONS_TYPE_size     uint64_t /* bytes */
#define OPTIONS_TYPE_flag     bool     /* --name, --no-name */
#define OPTIONS_TYPE_secret   json_t * /* a reference for secret_resolve; NULL when there is none */
#define OPTIONS_TYPE_tree     json_t * /* any YAML value; NULL when there is none */

typedef enum OptionsType {
    OPTIONS_text,
    OPTIONS_u32,
    OPTIONS_duration,
    OPTIONS_size,
    OPTIONS_flag,
    OPTIONS_secret,
    OPTIONS_tree,
} OptionsType;

typedef struct OptionsRow {
    OptionsType type;
    const char *name;     /* with underscores; --flags have dashes */
    const char *fallback; /* as the file would say it; "" for none */
    const char *help;
    size_t offset; /* in the program's struct */
} OptionsRow;

#define OPTIONS_ROW(Struct, type, name, fallback, help)                                            \
    {OPTIONS_##type, #name, fallback, help, offsetof(Struct, name)},

/* What a tree option must look like; one without a row here may be anything. */
typedef struct OptionsTree {
    const char *name;
    const YamlField *field;
} OptionsTree;

typedef struct OptionsSpec {
    const char *program; /* "holdfast-worker" */
    const char *usage;   /* after the program's name: "[OPTION]... [VERB...]" */
    const char *about;   /* one or more lines below it, at most 80 columns each */
    const char *config;  /* file that is read when no --config names one and it is there; or NULL */
    const OptionsRow *rows;
    size_t row_count;
    const OptionsTree *trees;
    size_t tree_count;
} OptionsSpec;

typedef struct OptionsEnd {
    bool done;    /* --help or --version was answered on stdout: exit 0 */
    int rest;     /* index in argv of the first word that is no option; argc when there is none */
    char *config; /* the file that was read; NULL when none was. Freed by options_free */
} OptionsEnd;

/* Fills *into (a zeroed struct of the program). Options end at the first word that does not begin
 * with '-' or at "--". Problems of the file go to stderr in full, *err sums them up. */
MUST_CHECK bool options_read(const OptionsSpec *spec, int argc, char **argv, void *into,
                             OptionsEnd *end, Err *err);
void options_free(const OptionsSpec *spec, void *into, OptionsEnd *end);

void options_help(const OptionsSpec *spec, Buf *out);     /* at most 80 columns */
void options_markdown(const OptionsSpec *spec, Buf *out); /* the reference: --help=markdown */
void options_man(const OptionsSpec *spec, Buf *out);      /* the manual page: --help=man */
void options_man_text(Buf *out, const char *words);       /* words, as roff takes them */
const char *options_value(OptionsType type);              /* what --help calls its value: "TEXT" */

#endif
