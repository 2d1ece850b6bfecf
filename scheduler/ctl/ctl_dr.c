/* SPDX-License-Identifier: Apache-2.0
 * A drill, or the day itself: several sources in order onto empty targets, from one file. Every
 * step is planned before the first one begins, so a target that is not empty or a backup that is
 * not there refuses the whole while nothing is touched. Each step is one restore job, timed and
 * judged; what came of it is the report. The first step that is not well ends it: a later one may
 * need it. */
#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/yaml.h"
#include "scheduler/ctl/ctl.h"
#include "scheduler/ctl/ctl_restore.h"
#include "scheduler/ctl/follow.h"

#include <inttypes.h>
#include <time.h>

enum { STEPS_MOST = 1000 };

static const YamlField least_fields[] = {
    {.name = "tables", .type = YAML_U64, .doc = "tables of all databases"},
    {.name = "rows", .type = YAML_U64, .doc = "rows of all tables"},
    {.name = "entries", .type = YAML_U64, .doc = "entries that came back"},
    {.name = "bytes", .type = YAML_SIZE, .doc = "their content"},
};
static const YamlField text_of_list[] = {{.type = YAML_TEXT, .least = 1, .most = 4096}};
static const YamlField step_fields[] = {
    {.name = "name", .type = YAML_NAME, .required = true},
    {.name = "restore", .type = YAML_TEXT, .required = true, .least = 1, .most = 300},
    {.name = "to", .type = YAML_TEXT, .required = true, .least = 1, .most = 4096},
    {.name = "until", .type = YAML_TEXT, .least = 1, .most = 100},
    {.name = "pool", .type = YAML_TEXT, .least = 1, .most = 100},
    {.name = "from", .type = YAML_TEXT, .least = 1, .most = 100},
    {.name = "only", .type = YAML_LIST_OF, .fields = text_of_list, .most = 1000},
    {.name = "rto", .type = YAML_DURATION, .least = 1000},
    {.name = "least", .type = YAML_RECORD, .fields = least_fields, .field_count = 4},
};
static const YamlField step_of[] = {{.type = YAML_RECORD, .fields = step_fields, .field_count = 9}};
static const YamlField file_fields[] = {
    {.name = "version", .type = YAML_U64, .required = true, .least = 1, .most = 1},
    {.name = "rto", .type = YAML_DURATION, .least = 1000},
    {.name = "steps",
     .type = YAML_LIST_OF,
     .required = true,
     .least = 1,
     .most = STEPS_MOST,
     .fields = step_of},
};
static const YamlField file_table = {.type = YAML_RECORD, .fields = file_fields, .field_count = 3};

/* The next part of a path; of none the length is 0. "//" and "/./" are the same as "/". */
static const char *next_part(const char *at, size_t *len)
{
    for (;;) {
        at += strspn(at, "/");
        *len = strcspn(at, "/");
        if (*len != 1 || *at != '.')
            return at;
        at++;
    }
}

/* Are two directories one, or is one in the other? */
static bool lie_within(const char *one, const char *other)
{
    size_t len = 0, same = 0;
    if (one[0] != '/' || other[0] != '/')
        return false;
    for (;; one += len, other += same) {
        one = next_part(one, &len);
        other = next_part(other, &same);
        if (len == 0 || same == 0)
            return true;
        if (len != same || memcmp(one, other, len) != 0)
            return false;
    }
}

static void check_within(const YamlDoc *doc, const json_t *steps, size_t i, YamlProblems *problems)
{
    char path[60];
    const char *own = print_text_at(json_array_get(steps, i), "to");
    snprintf(path, sizeof path, "steps[%zu].to", i);
    for (size_t k = 0; k < i; k++) {
        const char *other = print_text_at(json_array_get(steps, k), "to");
        if (strcmp(own, other) != 0 && lie_within(own, other))
            yaml_problem(problems, doc, yaml_find(doc, path), false, "within", NULL,
                         "it and the target of step %zu are one, or one lies in the other", k + 1);
    }
}

/* Two steps of one name, or onto one target or into another's, are no plan. */
static void check_steps(const YamlDoc *doc, const json_t *file, YamlProblems *problems)
{
    static const char *const once[] = {"name", "to"};
    const json_t *steps = json_object_get(file, "steps");
    for (size_t i = 0; i < json_array_size(steps); i++) {
        check_within(doc, steps, i, problems);
        for (size_t k = 0; k < i; k++)
            for (size_t n = 0; n < 2; n++) {
                const json_t *own = json_object_get(json_array_get(steps, i), once[n]);
                char path[60];
                if (own == NULL ||
                    !json_equal(own, json_object_get(json_array_get(steps, k), once[n])))
                    continue;
                snprintf(path, sizeof path, "steps[%zu].%s", i, once[n]);
                yaml_problem(problems, doc, yaml_find(doc, path), false, "twice", NULL,
                             "step %zu has this %s already", k + 1, once[n]);
            }
    }
}

static bool read_file(const char *path, json_t **file, Err *err)
{
    scoped(yaml_doc_release) YamlDoc *doc = NULL;
    scoped(buf_free) Buf printed = {0};
    YamlProblems problems = {0};
    *file = NULL;
    if (!yaml_load(path, &doc, &problems, err))
        err_note(err, "the plan");
    else if (yaml_walk(doc, yaml_root(doc), "", &file_table, file, &problems))
        check_steps(doc, *file, &problems);
    bool good = *file != NULL && problems.errors == 0;
    yaml_problems_print(&problems, &printed);
    fputs(buf_cstr(&printed), stderr);
    yaml_problems_free(&problems);
    if (!good && err->code == ERR_NONE)
        err_set(err, ERR_INVALID, "dr.invalid", "%s is not valid; nothing was done", path);
    return good;
}

/* ---- planning ---- */

static json_t *request_of(const json_t *step)
{
    static const char *const told[] = {"to", "until", "pool", "from"};
    json_t *body = json_object();
    json_t *select = json_object();
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        if (json_object_get(step, told[i]) != NULL)
            json_object_set(body, told[i], json_object_get(step, told[i]));
    if (json_object_get(step, "only") != NULL)
        json_object_set(select, "paths", json_object_get(step, "only"));
    json_object_set_new(body, "select", select);
    return body;
}

/* A drill is for empty places: what is there is never replaced. */
static bool is_free(const json_t *plan, Err *err)
{
    bool exists = json_bool_or(plan, "exists", false);
    if (!json_bool_or(plan, "ok", true) || (exists && !json_bool_or(plan, "empty", false)))
        return err_set(err, ERR_CONFLICT, "dr.not_empty", "%s",
                       exists ? "its target is there and not empty; a drill replaces nothing"
                              : print_text_at(plan, "warning"));
    return true;
}

static bool plan_step(Ctl *ctl, const json_t *step, json_t *row, Err *err)
{
    json_t *job = NULL;
    json_t *body = request_of(step);
    const char *until = json_string_value(json_object_get(step, "until"));
    bool done = ctl_restore_which(ctl, print_text_at(step, "restore"), until, body, err) &&
                ctl_restore_plan(ctl, body, &job, err);
    json_decref(body);
    const json_t *plan = json_object_get(job, "answer");
    if (done) {
        static const char *const kept[] = {"backup", "source", "type",          "consistent_at",
                                           "bytes",  "target", "takes_seconds", "skipped"};
        ctl_restore_tell_skipped(plan);
        json_object_set(row, "plan", json_object_get(job, "id"));
        for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
            if (json_object_get(plan, kept[i]) != NULL)
                json_object_set(row, kept[i], json_object_get(plan, kept[i]));
        done = is_free(plan, err);
    }
    json_decref(job);
    return done;
}

static void tell_error(json_t *row, const Err *err)
{
    json_object_set_new(row, "error",
                        json_pack("{s:s, s:s, s:s}", "code", err_name(err->code), "cause",
                                  err->cause, "text", err->text));
}

/* Every step, so that all that is wrong is said at once; *refused counts. */
static json_t *plan_all(Ctl *ctl, const json_t *file, size_t *refused, Err *last)
{
    size_t i;
    json_t *step;
    json_t *rows = json_array();
    json_array_foreach(json_object_get(file, "steps"), i, step)
    {
        Err err = {0};
        json_t *row = json_pack("{s:O, s:O, s:O, s:s}", "step", json_object_get(step, "name"),
                                "restore", json_object_get(step, "restore"), "to",
                                json_object_get(step, "to"), "state", "planned");
        json_array_append_new(rows, row);
        if (plan_step(ctl, step, row, &err))
            continue;
        json_object_set_new(row, "state", json_string("refused"));
        tell_error(row, &err);
        *last = err;
        (*refused)++;
    }
    return rows;
}

/* ---- doing ---- */

static double seconds_between(int64_t began_ns)
{
    int64_t ms = (clock_mono_ns() - began_ns) / 1000000;
    return (double)ms / 1000.0;
}

/* Counts as backed up are the least; the step may ask for more than none. */
static bool is_enough(const json_t *step, const json_t *counts, Err *err)
{
    const char *key;
    json_t *least;
    /* Of a part nothing is compared; that something came back the restore itself has seen. */
    if (counts == NULL || json_is_false(json_object_get(counts, "as_backed_up")))
        return err_set(err, ERR_CORRUPT, "dr.counts",
                       "what came back is not all that the backup recorded");
    json_object_foreach(json_object_get(step, "least"), key, least)
    {
        int64_t wanted = json_integer_value(least), got = print_number_at(counts, key);
        if (got < wanted)
            return err_set(err, ERR_CORRUPT, "dr.least",
                           "%" PRId64 " %s came back, the plan asks for %" PRId64 " at least", got,
                           key, wanted);
    }
    return true;
}

static bool judge(const json_t *step, const json_t *job, json_t *row, Err *err)
{
    const json_t *counts = print_at(job, "answer.counts");
    const json_t *rto = json_object_get(step, "rto");
    double seconds = json_number_value(json_object_get(row, "seconds"));
    if (counts != NULL)
        json_object_set(row, "counts", (json_t *)(uintptr_t)counts);
    json_object_set_new(row, "said", json_string(print_text_at(job, "error.text")));
    if (rto != NULL) {
        double limit = (double)json_integer_value(rto) / 1000.0;
        json_object_set_new(row, "rto_seconds", json_real(limit));
        json_object_set_new(row, "rto_met", json_boolean(seconds <= limit));
    }
    if (strcmp(print_text_at(job, "state"), "completed") != 0) {
        const char *cause = print_text_at(job, "error.cause");
        return err_set(err, ERR_CORRUPT, cause[0] == 0 ? "dr.step" : cause, "%s",
                       print_text_at(job, "error.text"));
    }
    return is_enough(step, counts, err);
}

static bool do_step(Ctl *ctl, const json_t *step, json_t *row, Err *err)
{
    json_t *made = NULL, *ended = NULL;
    json_t *body = json_pack("{s:O}", "plan", json_object_get(row, "plan"));
    int64_t began_ns = clock_mono_ns();
    char now[CLOCK_TEXT];
    clock_rfc3339(clock_wall_ns(), now);
    json_object_set_new(row, "started_at", json_string(now));
    if (json_object_get(step, "pool") != NULL)
        json_object_set(body, "pool", json_object_get(step, "pool"));
    if (ctl->args->reason != NULL)
        json_object_set_new(body, "reason", json_string(ctl->args->reason));
    bool done = client_send(ctl->client, "POST", "/restores", body, &made, err);
    json_decref(body);
    if (done) {
        json_object_set(row, "job", json_object_get(made, "id"));
        done = follow_to_end(ctl->client, print_text_at(made, "id"), &ended, err);
    }
    json_object_set_new(row, "seconds", json_real(seconds_between(began_ns)));
    done = done && judge(step, ended, row, err);
    json_object_set_new(row, "state", json_string(done ? "ok" : "failed"));
    if (!done)
        tell_error(row, err);
    json_decref(made);
    json_decref(ended);
    return done;
}

/* ---- the report ---- */

static const PrintColumn columns[] = {
    {"STEP", "step", AS_TEXT},
    {"STATE", "state", AS_TEXT},
    {"BACKUP", "backup", AS_TEXT},
    {"CONSISTENT", "consistent_at", AS_WHEN},
    {"TO", "to", AS_TEXT},
    {"SIZE", "bytes", AS_BYTES},
    {"EXPECTED", "expected", AS_TEXT},
    {"TOOK", "took", AS_TEXT},
    {"RESULT", "result", AS_TEXT},
};

static void add_span(json_t *row, const char *from, const char *to)
{
    scoped(buf_free) Buf text = {0};
    const json_t *seconds = json_object_get(row, from);
    if (!json_is_number(seconds))
        return;
    print_span(&text, (int64_t)(json_number_value(seconds) + 0.5));
    json_object_set_new(row, to, json_string(buf_cstr(&text)));
}

static void print_report(const Ctl *ctl, const json_t *report)
{
    size_t i;
    json_t *row;
    scoped(buf_free) Buf line = {0};
    scoped(json_release) json_t *shown = json_deep_copy(json_object_get(report, "steps"));
    const json_t *rto = json_object_get(report, "rto_seconds");
    json_array_foreach(shown, i, row)
    {
        const char *error = print_text_at(row, "error.text");
        add_span(row, "takes_seconds", "expected");
        add_span(row, "seconds", "took");
        json_object_set_new(row, "result",
                            json_string(error[0] != 0 ? error : print_text_at(row, "said")));
    }
    print_table(stdout, shown, columns, sizeof columns / sizeof *columns, ctl->args->utc);
    buf_printf(&line, "%s: %s", print_text_at(report, "verdict"),
               json_bool_or(report, "done", false) ? "it took " : "expected ");
    print_span(&line, (int64_t)(json_number_value(json_object_get(report, "seconds")) + 0.5));
    if (json_is_number(rto)) {
        buf_add_text(&line, TEXT(", rto "));
        print_span(&line, (int64_t)json_number_value(rto));
        buf_add_text(&line,
                     json_bool_or(report, "rto_met", false) ? TEXT(" met") : TEXT(" missed"));
    }
    printf("%s\n", buf_cstr(&line));
}

static bool write_report(const char *path, const json_t *report, Err *err)
{
    if (path == NULL)
        return true;
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return err_set_sys(err, ERR_IO, "dr.report", "the report cannot be written to %s", path);
    print_json(file, report);
    if (fclose(file) != 0)
        return err_set_sys(err, ERR_IO, "dr.report", "the report cannot be written to %s", path);
    return true;
}

static double expected_seconds(const json_t *rows)
{
    size_t i;
    const json_t *row;
    double sum = 0;
    json_array_foreach(rows, i, row)
    {
        sum += json_number_value(json_object_get(row, "takes_seconds"));
    }
    return sum;
}

static json_t *report_of(const json_t *file, json_t *rows, bool done, double seconds,
                         const char *verdict)
{
    const json_t *rto = json_object_get(file, "rto");
    json_t *report = json_pack("{s:s, s:b, s:s, s:f, s:O}", "schema", "holdfast.dr/1", "done",
                               (int)done, "verdict", verdict, "seconds", seconds, "steps", rows);
    if (rto != NULL) {
        double limit = (double)json_integer_value(rto) / 1000.0;
        json_object_set_new(report, "rto_seconds", json_real(limit));
        json_object_set_new(report, "rto_met", json_boolean(seconds <= limit));
    }
    return report;
}

static bool tell(Ctl *ctl, json_t *report, Err *err)
{
    bool written = write_report(ctl->args->out, report, err);
    if (ctl_wants_json(ctl))
        print_json(stdout, report);
    else
        print_report(ctl, report);
    json_decref(report);
    return written;
}

static bool plan_file(Ctl *ctl, json_t **file, json_t **rows, Err *err)
{
    const char *path;
    size_t refused = 0;
    Err last = {0};
    if (!ctl_word(ctl, 0, &path, err) || !read_file(path, file, err))
        return false;
    *rows = plan_all(ctl, *file, &refused, &last);
    if (refused == 0)
        return true;
    if (!tell(ctl, report_of(*file, *rows, false, expected_seconds(*rows), "refused"), err))
        return false;
    return err_set(err, last.code, last.cause,
                   "%zu of %zu steps cannot begin; nothing was restored", refused,
                   json_array_size(*rows));
}

bool ctl_dr_plan(Ctl *ctl, Err *err)
{
    json_t *file = NULL, *rows = NULL;
    bool done = plan_file(ctl, &file, &rows, err) &&
                tell(ctl, report_of(file, rows, false, expected_seconds(rows), "can begin"), err);
    json_decref(file);
    json_decref(rows);
    return done;
}

static bool run_all(Ctl *ctl, const json_t *file, json_t *rows, Err *err)
{
    size_t i;
    json_t *step;
    Err why = {0};
    int64_t began_ns = clock_mono_ns();
    bool good = true;
    json_array_foreach(json_object_get(file, "steps"), i, step)
    {
        json_t *row = json_array_get(rows, i);
        if (!good)
            json_object_set_new(row, "state", json_string("not begun"));
        else
            good = do_step(ctl, step, row, &why);
    }
    json_t *report =
        report_of(file, rows, true, seconds_between(began_ns), good ? "restored" : "failed");
    bool late = json_is_false(json_object_get(report, "rto_met"));
    json_array_foreach(rows, i, step) late |= json_is_false(json_object_get(step, "rto_met"));
    if (!tell(ctl, report, err))
        return false;
    if (!good)
        return err_set(err, why.code, why.cause, "%s", why.text);
    ctl->exit_code = late ? 10 : 0;
    return true;
}

bool ctl_dr_run(Ctl *ctl, Err *err)
{
    json_t *file = NULL, *rows = NULL;
    bool done = plan_file(ctl, &file, &rows, err);
    if (done && !ctl->args->quiet && !ctl_wants_json(ctl) && !ctl->args->yes) {
        json_t *plan = report_of(file, rows, false, expected_seconds(rows), "can begin");
        print_report(ctl, plan);
        json_decref(plan);
    }
    done = done && ctl_restore_agreed(ctl, err) && run_all(ctl, file, rows, err);
    json_decref(file);
    json_decref(rows);
    return done;
}
