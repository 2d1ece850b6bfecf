/* SPDX-License-Identifier: Apache-2.0
 * holdfast — the operator's command: a client of the REST API and of nothing else. */
#include "common/base/buf.h"
#include "scheduler/ctl/ctl.h"

#include <locale.h>
#include <stdlib.h>

static const struct {
    bool (*run)(Ctl *ctl, Err *err);
    const char *words;
} verbs[VERB_COUNT] = {
#define VERB(symbol, words, ...) [VERB_##symbol] = {ctl_##symbol, words},
#include "scheduler/ctl/verbs.def"
#undef VERB
};

static void print_buf(const Buf *page)
{
    fwrite(page->at, 1, page->len, stdout);
}

bool ctl_help(Ctl *ctl, Err *err)
{
    scoped(buf_free) Buf page = {0};
    scoped(buf_free) Buf words = {0};
    Verb verb;
    for (size_t i = 0; i < ctl->args->words.count; i++)
        buf_printf(&words, "%s%s", i == 0 ? "" : " ", ctl->args->words.at[i]);
    if (words.len == 0 || text_equal(buf_text(&words), TEXT("exit-codes")))
        args_help(&page);
    else if (args_find_verb(buf_text(&words), &verb))
        args_help_verb(&page, verb);
    else
        return err_set(err, ERR_USAGE, "usage.verb", "'%s' is not a command. See:  holdfast help",
                       buf_cstr(&words));
    print_buf(&page);
    return true;
}

bool ctl_completion(Ctl *ctl, Err *err)
{
    scoped(buf_free) Buf script = {0};
    const char *shell;
    if (!ctl_word(ctl, 0, &shell, err) || !args_completion(&script, text_of(shell), err))
        return false;
    print_buf(&script);
    return true;
}

bool ctl_version(Ctl *ctl, Err *err)
{
    (void)ctl;
    (void)err;
    printf("holdfast " HOLDFAST_VERSION "\n");
    return true;
}

/* These ask no server. */
static bool stands_alone(Verb verb)
{
    return verb == VERB_help || verb == VERB_completion || verb == VERB_version;
}

static int report(const Ctl *ctl, const Err *err, const Args *args)
{
    const json_t *problem = client_problem(ctl->client);
    if (args->output != NULL && strcmp(args->output, "json") == 0 && problem != NULL)
        print_json(stderr, problem);
    else {
        fprintf(stderr, "holdfast: ");
        print_safe(stderr, err->text);
        fprintf(stderr, "  [%s]\n", err->cause);
    }
    return err_exit_code(err->code);
}

int main(int argc, char **argv)
{
    Err err = {0};
    Args args;
    Ctl ctl = {.args = &args};
    setlocale(LC_TIME, "");
    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        return ctl_version(&ctl, &err) ? 0 : 1;
    if (!args_parse(&args, argc, argv, &err)) {
        fprintf(stderr, "holdfast: %s\n", err.text);
        return err_exit_code(err.code);
    }
    if (args.help) {
        scoped(buf_free) Buf page = {0};
        if (argc == 2)
            args_help(&page);
        else
            args_help_verb(&page, args.verb);
        print_buf(&page);
        return 0;
    }
    bool done = stands_alone(args.verb) || client_open(&ctl.client, &args, &err);
    done = done && verbs[args.verb].run(&ctl, &err);
    int code = done ? ctl.exit_code : report(&ctl, &err, &args);
    client_close(ctl.client);
    if (fflush(stdout) != 0 && code == 0)
        code = 1;
    return code;
}
