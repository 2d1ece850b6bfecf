/* SPDX-License-Identifier: Apache-2.0
 * Completions from the rows of verbs.def and flags.def: a noun first, then its verb, then flags. */
#include "scheduler/ctl/args.h"

#include <stdio.h>

enum { NOUN_MOST = 32 };

/* The first word of a verb; the second, or NULL. */
static const char *split(Verb verb, char first[NOUN_MOST])
{
    const char *words = args_words(verb);
    size_t len = strcspn(words, " ");
    snprintf(first, NOUN_MOST, "%.*s", (int)len, words);
    return words[len] == 0 ? NULL : words + len + 1;
}

/* Is it the first row with this first word? */
static bool opens(Verb verb)
{
    char mine[NOUN_MOST];
    char other[NOUN_MOST];
    split(verb, mine);
    for (Verb at = 0; at < verb; at++) {
        split(at, other);
        if (strcmp(mine, other) == 0)
            return false;
    }
    return true;
}

static void add_firsts(Buf *out)
{
    char first[NOUN_MOST];
    for (Verb verb = 0; verb < VERB_COUNT; verb++)
        if (opens(verb)) {
            split(verb, first);
            buf_printf(out, "%s%s", verb == 0 ? "" : " ", first);
        }
}

static void add_seconds(Buf *out, const char *noun)
{
    char first[NOUN_MOST];
    bool begun = false;
    for (Verb verb = 0; verb < VERB_COUNT; verb++) {
        const char *second = split(verb, first);
        if (second == NULL || strcmp(first, noun) != 0)
            continue;
        buf_printf(out, "%s%s", begun ? " " : "", second);
        begun = true;
    }
}

static void add_flags(Buf *out, Verb verb)
{
    ArgsFlag flag;
    for (size_t n = 0; args_flag_of(n, verb, &flag); n++)
        if (flag.fits)
            buf_printf(out, " %s", flag.flag);
}

static void complete_bash(Buf *out)
{
    buf_printf(out, "_holdfast() {\n"
                    "  local cur=${COMP_WORDS[COMP_CWORD]} all=\n"
                    "  if [ \"$COMP_CWORD\" -eq 1 ]; then all=\"");
    add_firsts(out);
    buf_printf(out, "\"; fi\n  if [ \"$COMP_CWORD\" -eq 2 ]; then case \"${COMP_WORDS[1]}\" in\n");
    for (Verb verb = 0; verb < VERB_COUNT; verb++) {
        char first[NOUN_MOST];
        if (split(verb, first) == NULL || !opens(verb))
            continue;
        buf_printf(out, "    %s) all=\"", first);
        add_seconds(out, first);
        buf_printf(out, "\";;\n");
    }
    buf_printf(out, "  esac; fi\n  case \"${COMP_WORDS[1]} ${COMP_WORDS[2]} \" in\n");
    for (Verb verb = 0; verb < VERB_COUNT; verb++) {
        buf_printf(out, "    \"%s \"*) all=\"$all", args_words(verb));
        add_flags(out, verb);
        buf_printf(out, "\";;\n");
    }
    buf_printf(out, "  esac\n  COMPREPLY=($(compgen -W \"$all\" -- \"$cur\"))\n}\n"
                    "complete -F _holdfast holdfast\n");
}

/* Inside single quotes fish knows two escapes. */
static void add_quoted(Buf *out, const char *text)
{
    buf_add_byte(out, '\'');
    for (; *text != 0; text++) {
        if (*text == '\'' || *text == '\\')
            buf_add_byte(out, '\\');
        buf_add_byte(out, (uint8_t)*text);
    }
    buf_add_byte(out, '\'');
}

static void fish_flags(Buf *out, Verb verb, const char *when)
{
    ArgsFlag flag;
    for (size_t n = 0; args_flag_of(n, verb, &flag); n++) {
        if (!flag.fits)
            continue;
        bool words = flag.flag[1] == '-';
        buf_printf(out, "complete -c holdfast -n '%s' -%c %s%s -d ", when, words ? 'l' : 's',
                   flag.flag + (words ? 2 : 1), flag.value ? " -r" : "");
        add_quoted(out, flag.help);
        buf_add_byte(out, '\n');
    }
}

static void complete_fish(Buf *out)
{
    buf_printf(out, "complete -c holdfast -f\n");
    for (Verb verb = 0; verb < VERB_COUNT; verb++) {
        char first[NOUN_MOST];
        char when[160];
        const char *second = split(verb, first);
        if (opens(verb)) {
            buf_printf(out, "complete -c holdfast -n __fish_use_subcommand -a %s -d ", first);
            scoped(buf_free) Buf seconds = {0};
            add_seconds(&seconds, first);
            add_quoted(out, second == NULL ? args_verb_help(verb) : buf_cstr(&seconds));
            buf_add_byte(out, '\n');
        }
        snprintf(when, sizeof when, "__fish_seen_subcommand_from %s", first);
        if (second != NULL) {
            scoped(buf_free) Buf seconds = {0};
            add_seconds(&seconds, first);
            buf_printf(out,
                       "complete -c holdfast -n '%s; and not __fish_seen_subcommand_from %s' "
                       "-a %s -d ",
                       when, buf_cstr(&seconds), second);
            add_quoted(out, args_verb_help(verb));
            buf_add_byte(out, '\n');
            snprintf(when, sizeof when,
                     "__fish_seen_subcommand_from %s; and __fish_seen_subcommand_from %s", first,
                     second);
        }
        fish_flags(out, verb, when);
    }
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
        complete_fish(out);
        return true;
    }
    return err_set(err, ERR_USAGE, "usage.shell",
                   "no completions for '%.*s'; there are bash, zsh, fish", TEXT_ARG(shell));
}
