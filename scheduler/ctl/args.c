/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/args.h"

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

/* The verb is the longest row that begins the words: two words before one. */
static bool find_verb(Args *args, Err *err)
{
    char two[128];
    if (args->words.count == 0) {
        args->verb = VERB_help;
        return true;
    }
    const char *first = args->words.at[0];
    size_t used = 1;
    bool found = false;
    if (args->words.count > 1) {
        snprintf(two, sizeof two, "%s %s", first, args->words.at[1]);
        found = args_find_verb(text_of(two), &args->verb);
        used = found ? 2 : 1;
    }
    if (!found && !args_find_verb(text_of(first), &args->verb)) {
        for (size_t i = 0; i < VERB_COUNT; i++)
            if (strncmp(verbs[i].words, first, strlen(first)) == 0 &&
                verbs[i].words[strlen(first)] == ' ')
                return err_set(err, ERR_USAGE, "usage.verb",
                               "'%s' is not a command of '%s'. Try:  holdfast %s %s",
                               args->words.count > 1 ? args->words.at[1] : "", first,
                               verbs[i].words, verbs[i].arguments);
        return err_set(err, ERR_USAGE, "usage.verb", "'%s' is not a command. See:  holdfast help",
                       first);
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
    return err_set(err, ERR_USAGE, "usage.flag", "there is no %.*s. See:  holdfast help", (int)len,
                   typed);
}

bool args_parse(Args *args, int argc, char **argv, Err *err)
{
    bool seen[FLAG_COUNT] = {false};
    bool only_words = false;
    *args = (Args){0};
    for (int i = 1; i < argc; i++) {
        if (!only_words && strcmp(argv[i], "--") == 0)
            only_words = true;
        else if (!only_words && argv[i][0] == '-' && argv[i][1] != 0) {
            if (!take_flag(args, seen, argc, argv, &i, err))
                return false;
        } else if (!add(&args->words, argv[i], err))
            return false;
    }
    if (!find_verb(args, err))
        return false;
    for (size_t f = 0; f < FLAG_COUNT; f++)
        if (seen[f] && !flag_fits(f, args->verb))
            return err_set(err, ERR_USAGE, "usage.flag", "%s does not go with 'holdfast %s'",
                           flags[f].flag, verbs[args->verb].words);
    if (args->json)
        args->output = "json";
    return true;
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
    buf_printf(
        out,
        "\nA SELECTOR is SOURCE, SOURCE@latest, SOURCE@latest~1, SOURCE@TIME or a backup's id.\n"
        "A verb's own page:  holdfast help run\n\n"
        "Exit codes: 0 done, 1 ran and failed, 2 usage, 3 partial, 4 not allowed,\n"
        "5 not found, 6 refused, 7 waited too long (the job goes on), 8 unreachable,\n"
        "9 policy invalid, 10 something to see, 130 interrupted.\n");
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

static void complete_words(Buf *out, Verb verb)
{
    for (size_t f = 0; f < FLAG_COUNT; f++)
        if (flag_fits(f, verb))
            buf_printf(out, "%s ", flags[f].flag);
}

static void complete_bash(Buf *out)
{
    buf_printf(out,
               "_holdfast() {\n  local cur=${COMP_WORDS[COMP_CWORD]} line=\"${COMP_WORDS[*]:1}\"\n"
               "  case \"$line\" in\n");
    for (size_t i = 0; i < VERB_COUNT; i++) {
        buf_printf(out, "    \"%s \"*) COMPREPLY=($(compgen -W \"", verbs[i].words);
        complete_words(out, (Verb)i);
        buf_printf(out, "\" -- \"$cur\"));;\n");
    }
    buf_printf(out, "    *) COMPREPLY=($(compgen -W \"");
    for (size_t i = 0; i < VERB_COUNT; i++)
        buf_printf(out, "%s ", verbs[i].words);
    buf_printf(out, "\" -- \"$cur\"));;\n  esac\n}\ncomplete -F _holdfast holdfast\n");
}

bool args_completion(Buf *out, Text shell, Err *err)
{
    if (text_equal(shell, TEXT("bash"))) {
        complete_bash(out);
        return true;
    }
    if (text_equal(shell, TEXT("zsh"))) {
        buf_printf(out, "#compdef holdfast\nautoload -U +X bashcompinit && bashcompinit\n");
        complete_bash(out);
        return true;
    }
    if (text_equal(shell, TEXT("fish"))) {
        for (size_t i = 0; i < VERB_COUNT; i++)
            buf_printf(out, "complete -c holdfast -a '%s' -d '%s'\n", verbs[i].words,
                       verbs[i].help);
        return true;
    }
    return err_set(err, ERR_USAGE, "usage.shell",
                   "no completions for '%.*s'; there are bash, zsh, fish", TEXT_ARG(shell));
}
