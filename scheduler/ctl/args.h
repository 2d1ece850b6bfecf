/* SPDX-License-Identifier: Apache-2.0
 * args.h — a command line as typed, understood by the rows of verbs.def and flags.def.
 * Everything is borrowed from argv. A mistake is an ERR_USAGE that names the nearest thing that
 * would have worked. */
#ifndef SCHEDULER_CTL_ARGS_H
#define SCHEDULER_CTL_ARGS_H

#include "common/base/buf.h"

#include <jansson.h>

typedef enum Verb {
#define VERB(symbol, ...) VERB_##symbol,
#include "scheduler/ctl/verbs.def"
#undef VERB
    VERB_COUNT
} Verb;

enum { ARGS_MOST = 64 };

typedef struct ArgList {
    const char *at[ARGS_MOST];
    size_t count;
} ArgList;

typedef struct Args {
    Verb verb;
    ArgList words;      /* what is neither verb nor flag */
    ArgList help_words; /* with --help: what it is about; none: the verb */
#define FLAG_SWITCH            bool
#define FLAG_VALUE             const char *
#define FLAG_LIST              ArgList
#define FLAG(field, kind, ...) FLAG_##kind field;
#include "scheduler/ctl/flags.def"
#undef FLAG
#undef FLAG_SWITCH
#undef FLAG_VALUE
#undef FLAG_LIST
} Args;

MUST_CHECK bool args_parse(Args *args, int argc, char **argv, Err *err);

const char *args_words(Verb verb); /* "job list" */

const char *args_arguments(Verb verb); /* "SELECTOR PATH" */
const char *args_verb_help(Verb verb);

/* `holdfast help`, and a verb's own page; 80 columns at most. */
void args_help(Buf *out);
void args_help_verb(Buf *out, Verb verb);
bool args_help_noun(Buf *out, const char *noun); /* "job"; false: there is none */
bool args_find_verb(Text words, Verb *verb);
json_t *args_json(void); /* the whole table, the caller's */

/* The n-th flag; false past the last. */
typedef struct ArgsFlag {
    const char *flag;
    const char *help;
    const char *metavar; /* what follows it */
    bool value;          /* something does */
    bool fits;           /* the verb takes it */
    bool common;         /* so does every verb */
} ArgsFlag;
bool args_flag_of(size_t n, Verb verb, ArgsFlag *out);

/* The manual page, as roff (args_man.c). */
void args_man(Buf *out);

/* A completion script for "bash", "zsh" or "fish" (args_complete.c). */
MUST_CHECK bool args_completion(Buf *out, Text shell, Err *err);

#endif
