/* SPDX-License-Identifier: Apache-2.0
 * holdfast — the operator's command: a client of the REST API and of nothing else. */
#include "common/base/buf.h"
#include "scheduler/ctl/ctl.h"
#include "scheduler/ctl/watch.h"

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

/* A page about these words: none, a noun, a verb. */
static bool add_help(Buf *page, const ArgList *list, Err *err)
{
    scoped(buf_free) Buf words = {0};
    Verb verb;
    for (size_t i = 0; i < list->count; i++)
        buf_printf(&words, "%s%s", i == 0 ? "" : " ", list->at[i]);
    if (words.len == 0 || text_equal(buf_text(&words), TEXT("exit-codes")))
        args_help(page);
    else if (args_find_verb(buf_text(&words), &verb))
        args_help_verb(page, verb);
    else if (!args_help_noun(page, buf_cstr(&words)))
        return err_set(err, ERR_USAGE, "usage.verb", "'%s' is not a command. See:  holdfast help",
                       buf_cstr(&words));
    return true;
}

bool ctl_help(Ctl *ctl, Err *err)
{
    scoped(buf_free) Buf page = {0};
    if (ctl_wants_json(ctl)) {
        json_t *table = args_json();
        print_json(stdout, table);
        json_decref(table);
        return true;
    }
    if (ctl->args->man)
        args_man(&page);
    else if (!add_help(&page, &ctl->args->words, err))
        return false;
    print_buf(&page);
    return true;
}

bool ctl_completion(Ctl *ctl, Err *err)
{
    scoped(buf_free) Buf script = {0};
    const char *shell;
    if (!ctl_word(ctl, 0, &shell, err) || !args_completion(&script, text_of(shell), err))
        return false;
    if (!ctl_wants_json(ctl)) {
        print_buf(&script);
        return true;
    }
    json_t *answer = json_pack("{s:s, s:s}", "shell", shell, "script", buf_cstr(&script));
    print_json(stdout, answer);
    json_decref(answer);
    return true;
}

/* A server that does not answer is no reason not to say one's own. */
bool ctl_version(Ctl *ctl, Err *err)
{
    Err ignored = {0};
    json_t *answer = NULL;
    (void)err;
    bool asked = client_open(&ctl->client, ctl->args, &ignored) &&
                 client_get(ctl->client, "/version", &answer, &ignored);
    const char *server = asked ? print_text_at(answer, "version") : NULL;
    if (ctl_wants_json(ctl)) {
        json_t *both = json_pack("{s:s, s:s?}", "version", HOLDFAST_VERSION, "server", server);
        print_json(stdout, both);
        json_decref(both);
    } else {
        printf("holdfast " HOLDFAST_VERSION "\nserver   ");
        print_safe(stdout, server == NULL ? "does not answer" : server);
        printf("\n");
    }
    json_decref(answer);
    return true;
}

/* These ask no server. */
static bool stands_alone(Verb verb)
{
    return verb == VERB_help || verb == VERB_completion || verb == VERB_version;
}

/* With --json the problem goes to stderr as JSON: the API's own, or one of the same shape. */
static void report_json(const Client *client, const Err *err)
{
    json_t *own = NULL;
    const json_t *problem = client_problem(client);
    if (problem == NULL || strcmp(print_text_at(problem, "code"), err->cause) != 0)
        problem = own = json_pack("{s:s, s:s, s:s}", "title", err_meaning(err->code), "code",
                                  err->cause, "detail", err->text);
    if (problem != NULL)
        print_json(stderr, problem);
    json_decref(own);
}

static int report(const Ctl *ctl, const Err *err)
{
    if (ctl_wants_json(ctl))
        report_json(ctl->client, err);
    else {
        fprintf(stderr, "holdfast: ");
        print_safe(stderr, err->text);
        fprintf(stderr, "  [%s]\n", err->cause);
    }
    return err_exit_code(err->code);
}

static int help_asked(const Args *args)
{
    scoped(buf_free) Buf page = {0};
    Err err = {0};
    if (args->verb != VERB_help)
        args_help_verb(&page, args->verb);
    else if (!add_help(&page, &args->help_words, &err)) {
        fprintf(stderr, "holdfast: ");
        print_safe(stderr, err.text);
        fprintf(stderr, "\n");
        return err_exit_code(err.code);
    }
    print_buf(&page);
    return 0;
}

int main(int argc, char **argv)
{
    Err err = {0};
    Args args;
    Ctl ctl = {.args = &args};
    setlocale(LC_TIME, "");
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("holdfast " HOLDFAST_VERSION "\n");
        return 0;
    }
    if (!args_parse(&args, argc, argv, &err)) {
        fprintf(stderr, "holdfast: ");
        print_safe(stderr, err.text);
        fprintf(stderr, "  [%s]\n", err.cause);
        return err_exit_code(err.code);
    }
    if (args.help)
        return help_asked(&args);
    bool done = stands_alone(args.verb) || client_open(&ctl.client, &args, &err);
    done = done && (args.watch ? watch_run(&ctl, verbs[args.verb].run, &err)
                               : verbs[args.verb].run(&ctl, &err));
    int code = done ? ctl.exit_code : report(&ctl, &err);
    client_close(ctl.client);
    if (fflush(stdout) != 0 && code == 0)
        code = 1;
    return code;
}
