/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/args.h"

#include "common/base/suggest.h"

#include <stdio.h>

typedef enum FlagKind { SWITCH, VALUE, LIST } FlagKind;

static const struct {
    const char *words;
    const char *arguments;
    const char *group;
    const char *help;
    const char *symbol;
} verbs[VERB_COUNT] = {
#define VERB(symbol, words, arguments, group, help)                                                \
    [VERB_##symbol] = {words, arguments, group, help, #symbol},
#include "scheduler/ctl/verbs.def"
#undef VERB
};

static const struct {
    FlagKind kind;
    const char *flag;
    const char *metavar;
    const char *verbs;
    const char *help;
    size_t offset;
} flags[] = {
#define FLAG(field, kind, flag, metavar, verbs, help)                                              \
    {kind, flag, metavar, verbs, help, offsetof(Args, field)},
#include "scheduler/ctl/flags.def"
#undef FLAG
};
enum { FLAG_COUNT = sizeof flags / sizeof *flags };

const char *args_words(Verb verb)
{
    return verbs[verb].words;
}

bool args_find_verb(Text words, Verb *verb)
{
    for (size_t i = 0; i < VERB_COUNT; i++)
        if (text_equal(words, text_of(verbs[i].words))) {
            *verb = (Verb)i;
            return true;
        }
    return false;
}

/* Is it the first of two words? The verbs of "job" are "job list" and others. */
static bool is_noun(const char *word, size_t verb)
{
    size_t len = strlen(word);
    return strncmp(verbs[verb].words, word, len) == 0 && verbs[verb].words[len] == ' ';
}

/* "'lst' is not a command of 'job'": what was meant, or what there is. */
static bool wrong_second(const char *noun, const char *second, Err *err)
{
    const char *names[VERB_COUNT];
    size_t count = 0;
    scoped(buf_free) Buf all = {0};
    for (size_t i = 0; i < VERB_COUNT; i++)
        if (is_noun(noun, i)) {
            names[count++] = verbs[i].words + strlen(noun) + 1;
            buf_printf(&all, "%s%s", count == 1 ? "" : ", ", names[count - 1]);
        }
    const char *near = second == NULL ? NULL : suggest_nearest(text_of(second), names, count);
    if (second == NULL)
        return err_set(err, ERR_USAGE, "usage.verb", "%s what? There are %s", noun, buf_cstr(&all));
    if (near != NULL)
        return err_set(err, ERR_USAGE, "usage.verb",
                       "'%s' is not a %s command. Did you mean:  holdfast %s %s", second, noun,
                       noun, near);
    if (strcmp(noun, "backup") == 0)
        return err_set(err, ERR_USAGE, "usage.verb",
                       "'%s' is not a backup command. To back it up now:  holdfast run %s", second,
                       second);
    return err_set(err, ERR_USAGE, "usage.verb", "'%s' is not a %s command; there are %s", second,
                   noun, buf_cstr(&all));
}

static bool wrong_first(const char *first, Err *err)
{
    char nouns[VERB_COUNT][32];
    const char *names[VERB_COUNT];
    for (size_t i = 0; i < VERB_COUNT; i++) {
        size_t len = strcspn(verbs[i].words, " ");
        snprintf(nouns[i], sizeof nouns[i], "%.*s", (int)len, verbs[i].words);
        names[i] = nouns[i];
    }
    const char *near = suggest_nearest(text_of(first), names, VERB_COUNT);
    if (near != NULL)
        return err_set(err, ERR_USAGE, "usage.verb",
                       "'%s' is not a command. Did you mean:  holdfast %s", first, near);
    return err_set(err, ERR_USAGE, "usage.verb", "'%s' is not a command. See:  holdfast help",
                   first);
}

/* The verb is the longest row that begins the words: two words before one. */
static bool find_verb(Args *args, Err *err)
{
    char two[128];
    if (args->words.count == 0) {
        args->verb = VERB_help;
        return true;
    }
    const char *first = args->words.at[0];
    const char *second = args->words.count > 1 ? args->words.at[1] : NULL;
    size_t used = 1;
    bool found = false;
    if (second != NULL) {
        snprintf(two, sizeof two, "%s %s", first, second);
        found = args_find_verb(text_of(two), &args->verb);
        used = found ? 2 : 1;
    }
    if (!found && !args_find_verb(text_of(first), &args->verb)) {
        for (size_t i = 0; i < VERB_COUNT; i++)
            if (is_noun(first, i))
                return wrong_second(first, second, err);
        return wrong_first(first, err);
    }
    args->words.count -= used;
    memmove(args->words.at, args->words.at + used, args->words.count * sizeof *args->words.at);
    return true;
}

static bool flag_fits(size_t flag, Verb verb)
{
    char symbol[64];
    snprintf(symbol, sizeof symbol, " %s ", verbs[verb].symbol);
    return flags[flag].verbs[0] == '*' || strstr(flags[flag].verbs, symbol) != NULL;
}

static bool add(ArgList *list, const char *value, Err *err)
{
    if (list->count == ARGS_MOST)
        return err_set(err, ERR_USAGE, "usage.many", "more than %d arguments", ARGS_MOST);
    list->at[list->count++] = value;
    return true;
}

static bool wrong_flag(Text typed, Err *err)
{
    const char *names[FLAG_COUNT];
    for (size_t f = 0; f < FLAG_COUNT; f++)
        names[f] = flags[f].flag;
    const char *near = suggest_nearest(typed, names, FLAG_COUNT);
    return err_set(err, ERR_USAGE, "usage.flag", "there is no %.*s. %s%s", TEXT_ARG(typed),
                   near == NULL ? "See:  holdfast help" : "Did you mean ",
                   near == NULL ? "" : near);
}

/* Takes one flag from argv[*i]; seen[] remembers it for the check against the verb. */
static bool take_flag(Args *args, bool *seen, int argc, char **argv, int *i, Err *err)
{
    const char *typed = argv[*i];
    const char *equals = strchr(typed, '=');
    size_t len = equals == NULL ? strlen(typed) : (size_t)(equals - typed);
    for (size_t f = 0; f < FLAG_COUNT; f++) {
        if (strlen(flags[f].flag) != len || strncmp(flags[f].flag, typed, len) != 0)
            continue;
        void *field = (char *)args + flags[f].offset;
        seen[f] = true;
        if (flags[f].kind == SWITCH) {
            if (equals != NULL)
                return err_set(err, ERR_USAGE, "usage.flag", "%s takes no value", flags[f].flag);
            *(bool *)field = true;
            return true;
        }
        const char *value = equals != NULL ? equals + 1 : *i + 1 < argc ? argv[++*i] : NULL;
        if (value == NULL)
            return err_set(err, ERR_USAGE, "usage.flag", "%s needs a %s", flags[f].flag,
                           flags[f].metavar);
        if (flags[f].kind == LIST)
            return add(field, value, err);
        *(const char **)field = value;
        return true;
    }
    return wrong_flag((Text){typed, len}, err);
}

/* Lists are those that take --fields. */
static bool is_list(Verb verb)
{
    for (size_t f = 0; f < FLAG_COUNT; f++)
        if (flags[f].offset == offsetof(Args, fields))
            return flag_fits(f, verb);
    return false;
}

static bool check_output(const Args *args, Err *err)
{
    static const char *const formats[] = {"table", "json", "wide", "ndjson", "csv", "name"};
    enum { ANY = 2 };
    size_t count = is_list(args->verb) ? sizeof formats / sizeof *formats : ANY;
    if (args->output == NULL)
        return true;
    for (size_t i = 0; i < count; i++)
        if (strcmp(args->output, formats[i]) == 0)
            return true;
    return err_set(err, ERR_USAGE, "usage.output", "-o is %s with 'holdfast %s', not '%s'",
                   count == ANY ? "table or json" : "table, wide, json, ndjson, csv or name",
                   verbs[args->verb].words, args->output);
}

static bool check_flags(Args *args, const bool *seen, Err *err)
{
    for (size_t f = 0; f < FLAG_COUNT; f++)
        if (seen[f] && !flag_fits(f, args->verb))
            return err_set(err, ERR_USAGE, "usage.flag", "%s does not go with 'holdfast %s'",
                           flags[f].flag, verbs[args->verb].words);
    if (args->json)
        args->output = "json";
    return check_output(args, err);
}

/* `holdfast job --help` and `holdfast job lst --help` show what there is. */
static bool only_help(Args *args)
{
    Err ignored = {0};
    ArgList words = args->words;
    if (find_verb(args, &ignored)) {
        args->help_words = args->verb == VERB_help ? args->words : (ArgList){0};
        return true;
    }
    args->verb = VERB_help;
    args->help_words = words;
    args->help_words.count = 1;
    return true;
}

bool args_parse(Args *args, int argc, char **argv, Err *err)
{
    bool seen[FLAG_COUNT] = {false};
    bool only_words = false;
    *args = (Args){0};
    for (int i = 1; i < argc; i++) {
        if (!only_words && strcmp(argv[i], "--") == 0)
            only_words = true;
        else if (!only_words && strcmp(argv[i], "-h") == 0)
            args->help = true;
        else if (!only_words && argv[i][0] == '-' && argv[i][1] != 0) {
            if (!take_flag(args, seen, argc, argv, &i, err))
                return false;
        } else if (!add(&args->words, argv[i], err))
            return false;
    }
    if (args->help)
        return only_help(args);
    return find_verb(args, err) && check_flags(args, seen, err);
}

void args_help(Buf *out)
{
    const char *group = "";
    buf_printf(out, "Back up, verify and restore a fleet.\n\n");
    for (size_t i = 0; i < VERB_COUNT; i++) {
        char left[64];
        if (strcmp(group, verbs[i].group) != 0)
            buf_printf(out, "%s%s\n", i == 0 ? "" : "\n", group = verbs[i].group);
        snprintf(left, sizeof left, "%s %s", verbs[i].words, verbs[i].arguments);
        buf_printf(out, "  %-32s %s\n", left, verbs[i].help);
    }
    buf_printf(out,
               "\nA SELECTOR: SOURCE, SOURCE@latest, SOURCE@latest~1, SOURCE@TIME, a backup's id.\n"
               "A verb's own page:  holdfast help run\n\n"
               "Exit codes: 0 done, 1 ran and failed, 2 usage, 3 partial, 4 not allowed,\n"
               "5 not found, 6 refused, 7 waited too long (the job goes on), 8 unreachable,\n"
               "9 policy invalid, 10 something to see, 130 interrupted.\n");
}

bool args_help_noun(Buf *out, const char *noun)
{
    bool any = false;
    for (size_t i = 0; i < VERB_COUNT; i++) {
        char left[64];
        if (!is_noun(noun, i))
            continue;
        snprintf(left, sizeof left, "holdfast %s %s", verbs[i].words, verbs[i].arguments);
        buf_printf(out, "%-40s %s\n", left, verbs[i].help);
        any = true;
    }
    return any;
}

void args_help_verb(Buf *out, Verb verb)
{
    buf_printf(out, "holdfast %s %s\n  %s\n\n", verbs[verb].words, verbs[verb].arguments,
               verbs[verb].help);
    for (int own = 1; own >= 0; own--)
        for (size_t f = 0; f < FLAG_COUNT; f++) {
            char left[64];
            if ((flags[f].verbs[0] != '*') != own || !flag_fits(f, verb))
                continue;
            snprintf(left, sizeof left, "%s %s", flags[f].flag, flags[f].metavar);
            buf_printf(out, "  %-24s %s\n", left, flags[f].help);
        }
}

json_t *args_json(void)
{
    json_t *list = json_array();
    for (size_t i = 0; i < VERB_COUNT; i++) {
        json_t *own = json_array();
        for (size_t f = 0; f < FLAG_COUNT; f++)
            if (flag_fits(f, (Verb)i))
                json_array_append_new(own, json_string(flags[f].flag));
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:o}", "verb", verbs[i].words,
                                              "arguments", verbs[i].arguments, "group",
                                              verbs[i].group, "help", verbs[i].help, "flags", own));
    }
    json_t *all = json_array();
    for (size_t f = 0; f < FLAG_COUNT; f++)
        json_array_append_new(all, json_pack("{s:s, s:s, s:s}", "flag", flags[f].flag, "value",
                                             flags[f].metavar, "help", flags[f].help));
    return json_pack("{s:s, s:o, s:o}", "schema", "holdfast.help/1", "verbs", list, "flags", all);
}

bool args_flag_of(size_t n, Verb verb, ArgsFlag *out)
{
    if (n >= FLAG_COUNT)
        return false;
    *out = (ArgsFlag){.flag = flags[n].flag,
                      .help = flags[n].help,
                      .metavar = flags[n].metavar,
                      .value = flags[n].kind != SWITCH,
                      .fits = flag_fits(n, verb),
                      .common = flags[n].verbs[0] == '*'};
    return true;
}

const char *args_arguments(Verb verb)
{
    return verbs[verb].arguments;
}

const char *args_verb_help(Verb verb)
{
    return verbs[verb].help;
}
