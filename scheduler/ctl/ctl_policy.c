/* SPDX-License-Identifier: Apache-2.0
 * The policy as files: sent to be checked or applied, shown, taken back. Plans and differences:
 * ctl_policy_plan.c; when what is due: ctl_policy_next.c. */
#include "scheduler/ctl/ctl_policy.h"

#include "common/base/yaml.h"
#include "scheduler/ctl/bundle.h"

/* Shorter words of --expect are numbers of versions. */
enum { DIGEST_LEAST = 12 };

/* Lines whose tabs stand: carets below them count on it. */
static void print_excerpts(FILE *out, Buf *text)
{
    for (char *at = (char *)(uintptr_t)buf_cstr(text); *at != 0;) {
        size_t len = strcspn(at, "\t\n");
        char end = at[len];
        at[len] = 0;
        print_safe(out, at);
        if (end == 0)
            break;
        fputc(end, out);
        at += len + 1;
    }
}

static void print_problems(const char *directory, const json_t *list)
{
    YamlProblems problems = {0};
    scoped(buf_free) Buf text = {0};
    yaml_problems_read(list, &problems);
    yaml_problems_below(&problems, directory);
    yaml_problems_print(&problems, &text);
    print_excerpts(stderr, &text);
    yaml_problems_free(&problems);
}

bool ctl_policy_send(Ctl *ctl, const char *method, const char *path, const char *if_match,
                     json_t **answer, Err *err)
{
    const char *name;
    return ctl_word(ctl, 0, &name, err) &&
           ctl_policy_send_file(ctl, name, method, path, if_match, answer, err);
}

bool ctl_policy_send_file(Ctl *ctl, const char *file, const char *method, const char *path,
                          const char *if_match, json_t **answer, Err *err)
{
    scoped(bundle_free) Bundle bundle = {0};
    if (!bundle_read(file, &bundle, err))
        return false;
    ClientBody body = {buf_slice(&bundle.body), BUNDLE_TYPE, if_match};
    bool done = client_send_file(ctl->client, method, path, &body, answer, err);
    const json_t *problems = done ? json_object_get(*answer, "errors")
                                  : json_object_get(client_problem(ctl->client), "errors");
    if (!ctl_wants_json(ctl))
        print_problems(bundle.directory, problems);
    return done;
}

bool ctl_policy_check(Ctl *ctl, Err *err)
{
    json_t *answer = NULL;
    bool done = ctl_policy_send(ctl, "POST", "/policy/check", NULL, &answer, err);
    if (done && ctl_wants_json(ctl))
        print_json(stdout, answer);
    else if (done) {
        print_safe(stdout, print_text_at(answer, "summary"));
        printf("\n");
    }
    json_decref(answer);
    return done;
}

/* Is this the version that --expect names? By its number, or by 12 letters of its digest or more: a
 * number comes again after a failover that lost the newest version. */
static bool is_expected(const json_t *policy, const char *asked)
{
    char number[24];
    const char *digest = print_text_at(policy, "sha256");
    snprintf(number, sizeof number, "%lld", (long long)print_number_at(policy, "version"));
    if (strlen(asked) >= DIGEST_LEAST)
        return strncmp(digest, asked, strlen(asked)) == 0;
    return strcmp(number, asked) == 0;
}

/* --expect: the ETag of that version, if it is in force. What comes between is the server's to see.
 */
static bool tag_of(Ctl *ctl, Buf *tag, Err *err)
{
    json_t *policy = NULL;
    const char *asked = ctl->args->expect;
    size_t digits = strspn(asked, "0123456789");
    size_t letters = strspn(asked, "0123456789abcdef");
    if (asked[letters] != 0 || letters == 0 || (letters < DIGEST_LEAST && asked[digits] != 0))
        return err_set(err, ERR_USAGE, "usage.version",
                       "--expect is a version or a digest, as  holdfast policy plan  names it, "
                       "not '%s'",
                       asked);
    if (!client_get(ctl->client, "/policy", &policy, err))
        return false;
    bool same = is_expected(policy, asked);
    if (same)
        buf_printf(tag, "\"%s\"", print_text_at(policy, "sha256"));
    else
        err_set(err, ERR_CONFLICT, "policy.changed",
                "version %lld (%.12s, by %.60s) is in force, and not %s: see  holdfast policy "
                "history  and plan again",
                (long long)print_number_at(policy, "version"), print_text_at(policy, "sha256"),
                print_text_at(policy, "actor"), asked);
    json_decref(policy);
    return same;
}

static void say_applied(const json_t *answer)
{
    int initial = (int)print_number_at(answer, "initial");
    if (!json_is_true(json_object_get(answer, "changed"))) {
        printf("version %d is in force already, and says the same: nothing was done\n",
               (int)print_number_at(answer, "version"));
        return;
    }
    printf("version %d is in force: %d sources, %d added, %d changed, %d retired. ",
           (int)print_number_at(answer, "version"), (int)print_number_at(answer, "sources"),
           (int)print_number_at(answer, "added"), (int)print_number_at(answer, "updated"),
           (int)print_number_at(answer, "retired"));
    if (initial != 0)
        printf("%d first backup%s (initial: true), and nothing else.  holdfast status\n", initial,
               initial == 1 ? " begins" : "s begin");
    else
        printf("Applying starts nothing by itself; next:  holdfast policy next\n");
}

bool ctl_policy_apply(Ctl *ctl, Err *err)
{
    json_t *answer = NULL;
    scoped(buf_free) Buf tag = {0};
    scoped(buf_free) Buf path = {0};
    if (ctl->args->dry_run)
        return ctl_policy_plan(ctl, err);
    if (ctl->args->expect != NULL && !tag_of(ctl, &tag, err))
        return false;
    buf_printf(&path, "/policy");
    ctl_query(&path, "reason", ctl->args->reason);
    bool done = ctl_policy_send(ctl, "PUT", buf_cstr(&path), tag.len == 0 ? NULL : buf_cstr(&tag),
                                &answer, err);
    if (done && ctl_wants_json(ctl))
        print_json(stdout, answer);
    else if (done)
        say_applied(answer);
    json_decref(answer);
    return done;
}

/* The policy in force, or the one that --version names. */
static bool get_policy(Ctl *ctl, json_t **policy, Err *err)
{
    scoped(buf_free) Buf path = {0};
    buf_printf(&path, "/policy");
    if (ctl->args->version != NULL) {
        buf_printf(&path, "/versions/");
        http_escape(&path, text_of(ctl->args->version));
    }
    return client_get(ctl->client, buf_cstr(&path), policy, err);
}

bool ctl_policy_show(Ctl *ctl, Err *err)
{
    size_t i;
    json_t *file;
    json_t *policy = NULL;
    if (!get_policy(ctl, &policy, err))
        return false;
    const json_t *files = json_object_get(policy, "files");
    if (ctl_wants_json(ctl))
        print_json(stdout, policy);
    else
        json_array_foreach(files, i, file)
        {
            if (json_array_size(files) > 1) {
                printf("%s# --- ", i == 0 ? "" : "\n");
                print_safe(stdout, print_text_at(file, "name"));
                printf("\n");
            }
            print_lines(stdout, print_text_at(file, "text"));
        }
    json_decref(policy);
    return true;
}

static bool export_files(const Ctl *ctl, const json_t *files, Err *err)
{
    if (ctl->args->out != NULL)
        return bundle_write(files, ctl->args->out, err);
    if (ctl_wants_json(ctl)) {
        json_t *bundle = json_pack("{s:O}", "files", files);
        print_json(stdout, bundle);
        json_decref(bundle);
        return true;
    }
    if (json_array_size(files) != 1)
        return err_set(err, ERR_USAGE, "usage.out",
                       "the policy is %zu files; write them into a new directory with  --out DIR",
                       json_array_size(files));
    print_lines(stdout, print_text_at(json_array_get(files, 0), "text"));
    return true;
}

bool ctl_policy_export(Ctl *ctl, Err *err)
{
    json_t *policy = NULL;
    if (!get_policy(ctl, &policy, err))
        return false;
    bool done = export_files(ctl, json_object_get(policy, "files"), err);
    json_decref(policy);
    return done;
}

bool ctl_policy_schema(Ctl *ctl, Err *err)
{
    json_t *answer = NULL;
    if (!client_get(ctl->client, "/policy/schema", &answer, err))
        return false;
    print_json(stdout, json_object_get(answer, "schema"));
    json_decref(answer);
    return true;
}

static const PrintColumn history_columns[] = {
    {"VERSION", "version", AS_TEXT}, {"APPLIED", "applied_at", AS_WHEN},
    {"BY", "actor", AS_TEXT},        {"VIA", "via", AS_TEXT},
    {"DIGEST", "sha256", AS_TEXT},   {"REASON", "reason", AS_TEXT},
};

/* What an eye needs of a digest. */
static void shorten_digests(json_t *items)
{
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item)
    {
        json_object_set_new(item, "sha256", json_sprintf("%.12s", print_text_at(item, "sha256")));
    }
}

bool ctl_policy_history(Ctl *ctl, Err *err)
{
    size_t limit;
    json_t *items = NULL;
    if (!ctl_limit(ctl, 20, &limit, err))
        return false;
    bool done = client_list(ctl->client, "/policy/versions", limit, &items, err);
    if (done && ctl->args->output == NULL)
        shorten_digests(items);
    if (done)
        ctl_list(ctl, items, history_columns, sizeof history_columns / sizeof *history_columns,
                 "sha256");
    json_decref(items);
    return done;
}
