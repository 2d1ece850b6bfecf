/* SPDX-License-Identifier: Apache-2.0
 * The server judges its own parts; what keeps it from answering is judged here. */
#include "scheduler/ctl/ctl.h"

#include "common/base/clock.h"

#include <inttypes.h>
#include <stdlib.h>

/* Times on this screen are this host's; more than this apart they mislead. */
enum { SKEW_S = 5 };

static void add(json_t *checks, const char *state, const char *name, const char *text,
                const char *next)
{
    json_array_append_new(checks, json_pack("{s:s, s:s, s:s, s:s}", "state", state, "name", name,
                                            "text", text, "next", next));
}

/* Why nothing more could be asked, and what to do about it. */
static void add_failure(json_t *checks, const Err *err)
{
    static const struct {
        const char *cause, *name, *next;
    } known[] = {
        {"auth.required", "token", "name a living token: --token-file or HOLDFAST_TOKEN_FILE"},
        {"auth.role", "token", "doctor needs the role operator or admin"},
        {"catalogue.unreachable", "catalogue",
         "start PostgreSQL, or mend `catalogue` in scheduler.yaml"},
        {"catalogue.older", "schema", "holdfast-scheduler migrate"},
        {"catalogue.newer", "schema",
         "install the scheduler that made this schema, or a newer one"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(err->cause, known[i].cause) == 0) {
            add(checks, "FAIL", known[i].name, err->text, known[i].next);
            return;
        }
    add(checks, "FAIL", "api", err->text, "is holdfast-scheduler running, and --server right?");
}

static void add_clock(json_t *checks, const json_t *report)
{
    char text[100];
    int64_t server_s;
    if (!clock_parse(print_text_at(report, "now"), &server_s))
        return;
    int64_t apart_s = clock_wall_ns() / 1000000000 - server_s;
    snprintf(text, sizeof text, "this host is %" PRId64 " s %s PostgreSQL's",
             apart_s < 0 ? -apart_s : apart_s, apart_s < 0 ? "behind" : "ahead of");
    bool far = apart_s > SKEW_S || apart_s < -SKEW_S;
    add(checks, far ? "WARN" : "OK", "this clock", text,
        far ? "let chrony or ntpd keep this host's clock" : "");
}

static void gather(Ctl *ctl, json_t *checks)
{
    Err err = {0};
    json_t *version = NULL;
    json_t *report = NULL;
    if (!client_get(ctl->client, "/version", &version, &err))
        add_failure(checks, &err);
    else {
        const char *theirs = print_text_at(version, "version");
        bool same = strcmp(theirs, HOLDFAST_VERSION) == 0;
        add(checks, same ? "OK" : "WARN", "api", theirs,
            same ? "" : "this command is " HOLDFAST_VERSION ": install the same version");
        if (client_get(ctl->client, "/doctor", &report, &err)) {
            add_clock(checks, report);
            json_array_extend(checks, json_object_get(report, "checks"));
        } else
            add_failure(checks, &err);
    }
    json_decref(version);
    json_decref(report);
    if (err.code != ERR_NONE)
        ctl->exit_code = err_exit_code(err.code);
}

static void show(const json_t *checks)
{
    size_t i;
    json_t *check;
    json_array_foreach(checks, i, check)
    {
        scoped(buf_free) Buf line = {0};
        const char *next = print_text_at(check, "next");
        buf_printf(&line, "%-4s %-18s %s", print_text_at(check, "state"),
                   print_text_at(check, "name"), print_text_at(check, "text"));
        print_safe(stdout, buf_cstr(&line));
        putchar('\n');
        if (next[0] == 0)
            continue;
        printf("%24snext: ", "");
        print_safe(stdout, next);
        putchar('\n');
    }
}

bool ctl_doctor(Ctl *ctl, Err *err)
{
    size_t i;
    json_t *check;
    json_t *checks = json_array();
    (void)err;
    gather(ctl, checks);
    json_array_foreach(checks, i, check)
    {
        if (strcmp(print_text_at(check, "state"), "FAIL") == 0 && ctl->exit_code == 0)
            ctl->exit_code = 1;
    }
    if (ctl_wants_json(ctl)) {
        json_t *report = json_pack("{s:s, s:O}", "schema", "holdfast.doctor/1", "checks", checks);
        print_json(stdout, report);
        json_decref(report);
    } else
        show(checks);
    json_decref(checks);
    return true;
}
