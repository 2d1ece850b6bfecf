/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/ctl.h"

#include <errno.h>

static const PrintColumn next_columns[] = {
    {"AT", "at", AS_WHEN},     {"SOURCE", "source", AS_TEXT}, {"SCHEDULE", "schedule", AS_TEXT},
    {"RULE", "rule", AS_TEXT}, {"NOTE", "note", AS_TEXT},
};

/* What a fleet file may be long is the scheduler's to say; this only ends a device or a pipe. */
static const size_t FILE_LIMIT = 64u << 20;

static bool read_file(const char *name, Buf *out, Err *err)
{
    FILE *file = strcmp(name, "-") == 0 ? stdin : fopen(name, "rb");
    if (file == NULL)
        return err_set_sys(err, err_code_of_errno(errno), "policy.file", "%s", name);
    size_t got;
    do {
        uint8_t *at = buf_extend(out, 65536);
        got = fread(at, 1, 65536, file);
        out->len -= 65536 - got;
    } while (got != 0 && out->len <= FILE_LIMIT);
    bool failed = ferror(file) != 0;
    if (file != stdin)
        fclose(file);
    if (failed || out->len > FILE_LIMIT)
        return err_set(err, ERR_USAGE, "policy.file", "%s cannot be read, or is over %zu bytes",
                       name, FILE_LIMIT);
    return true;
}

/* Problems as editors and CI click them: file:line:column first. */
static size_t print_problems(const char *file, const json_t *problems)
{
    size_t i;
    size_t errors = 0;
    json_t *problem;
    json_array_foreach(problems, i, problem)
    {
        scoped(buf_free) Buf line = {0};
        const char *suggestion = print_text_at(problem, "suggestion");
        bool warning = strcmp(print_text_at(problem, "severity"), "warning") == 0;
        errors += !warning;
        buf_printf(&line, "%s:%d:%d: %s[%s]: %s", file, (int)print_number_at(problem, "line"),
                   (int)print_number_at(problem, "column"), warning ? "warning" : "error",
                   print_text_at(problem, "code"), print_text_at(problem, "detail"));
        if (suggestion[0] != 0)
            buf_printf(&line, "; %s", suggestion);
        print_safe(stderr, buf_cstr(&line));
        fputc('\n', stderr);
    }
    return errors;
}

/* Sends the file; a 422's list of errors is printed before the failure is returned. */
static bool send_policy(Ctl *ctl, const char *method, const char *path, json_t **answer, Err *err)
{
    const char *name;
    scoped(buf_free) Buf text = {0};
    if (!ctl_word(ctl, 0, &name, err) || !read_file(name, &text, err))
        return false;
    if (client_send_file(ctl->client, method, path, buf_slice(&text), "application/yaml", answer,
                         err))
        return true;
    const json_t *problems = json_object_get(client_problem(ctl->client), "errors");
    if (problems == NULL || ctl_wants_json(ctl))
        return false;
    size_t errors = print_problems(name, problems);
    return err_set(err, ERR_INVALID, "policy.invalid", "%zu errors in %s; nothing was changed",
                   errors, name);
}

bool ctl_policy_check(Ctl *ctl, Err *err)
{
    json_t *answer = NULL;
    bool done = send_policy(ctl, "POST", "/policy/check", &answer, err);
    if (done && ctl_wants_json(ctl))
        print_json(stdout, answer);
    else if (done) {
        print_problems(ctl->args->words.at[0], json_object_get(answer, "errors"));
        printf("%s is valid\n", ctl->args->words.at[0]);
    }
    json_decref(answer);
    return done;
}

bool ctl_policy_apply(Ctl *ctl, Err *err)
{
    json_t *answer = NULL;
    bool done = send_policy(ctl, "PUT", "/policy", &answer, err);
    if (done && ctl_wants_json(ctl))
        print_json(stdout, answer);
    else if (done)
        printf("version %d is in force: %d sources. Applying starts nothing by itself; next:  "
               "holdfast policy next\n",
               (int)print_number_at(answer, "version"), (int)print_number_at(answer, "sources"));
    json_decref(answer);
    return done;
}

bool ctl_policy_show(Ctl *ctl, Err *err)
{
    json_t *policy = NULL;
    if (!client_get(ctl->client, "/policy", &policy, err))
        return false;
    const char *text = print_text_at(policy, "text");
    if (ctl_wants_json(ctl) || text[0] == 0)
        print_json(stdout, policy);
    else
        print_lines(stdout, text);
    json_decref(policy);
    return true;
}

bool ctl_policy_next(Ctl *ctl, Err *err)
{
    scoped(buf_free) Buf path = {0};
    json_t *items = NULL;
    buf_printf(&path, "/schedule");
    ctl_query(&path, "for", ctl->args->span);
    ctl_query(&path, "source", ctl->args->source);
    bool done = client_list(ctl->client, buf_cstr(&path), 0, &items, err);
    if (done)
        ctl_list(ctl, items, next_columns, sizeof next_columns / sizeof *next_columns, "source");
    json_decref(items);
    return done;
}
