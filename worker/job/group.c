/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/group.h"

#include "common/base/clock.h"
#include "common/base/crashpoint.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/job/hook_owed.h"
#include "worker/job/hooks.h"
#include "worker/job/passed.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

enum {
    CALL_MS = 5000,   /* a call of the lead's watch: the limit is kept to that, also when the
                         catalogue hangs */
    LOOK_MS = 150,    /* between two looks at what the others do */
    TELL_S = 20,      /* between two lines about who is waited for, which also say "no stall" */
    PATIENCE_S = 60,  /* for the catalogue while the application is held */
    TIMEOUT_S = 60,   /* of a barrier that says none */
    ASKED_FOR_S = 10, /* the catalogue, before what a dead lead held is released */
};

struct Group {
    Job *job;
    const json_t *seat; /* of the order's params */
    GroupNow now;
    bool passed;
    Buf details;
    /* The lead, while the application is held: */
    Patient *catalog; /* its own, which gives up in time */
    int64_t until_ns; /* clock_boot */
    bool releasing;
    pthread_t thread;
    pthread_mutex_t lock; /* of `over` */
    pthread_cond_t wake;
    bool over;
};

typedef struct Step {
    const Group *group;
    const char *step;
    const char *text;
    GroupNow now;
} Step;

static bool call_step(Catalog *catalog, void *ctx, Err *err)
{
    Step *step = ctx;
    return catalog_group_step(catalog, &step->group->job->fence, step->step, step->text, &step->now,
                              err);
}

static bool step_by(const Group *group, Patient *catalog, const char *name, const char *text,
                    GroupNow *now, Err *err)
{
    Step step = {.group = group, .step = name, .text = text};
    if (!patient_call(catalog, call_step, &step, err))
        return err_note(err, "the barrier of its group");
    *now = step.now;
    return true;
}

static bool step(Group *group, const char *name, Err *err)
{
    return step_by(group, group->job->catalog, name, "", &group->now, err);
}

static bool is_lead(const Group *group)
{
    return json_bool_or(group->seat, "lead", false);
}

static HookCall call_of(const json_t *seat, const char *when, const char *outcome)
{
    return (HookCall){.name = json_text_or(seat, when, TEXT("")),
                      .timeout_s = json_u64_or(seat, "timeout_s", TIMEOUT_S),
                      .when = when,
                      .outcome = outcome};
}

/* --- waiting ----------------------------------------------------------------------------------
 */

static void pause_a_look(void)
{
    struct timespec rest = {.tv_nsec = LOOK_MS * 1000000L};
    nanosleep(&rest, NULL);
}

/* Looks until `enough` is so of what stands in the catalogue, or the barrier is broken. */
static bool wait_for(Group *group, bool (*enough)(const Group *group), Err *err)
{
    int64_t told_ns = 0;
    while (!enough(group) && group->now.state != GROUP_BROKEN) {
        if (clock_mono_ns() - told_ns > TELL_S * INT64_C(1000000000)) {
            told_ns = clock_mono_ns();
            job_log(group->job, LOG_INFO, "group.waits", "the group's barrier waits%s%s",
                    group->now.why[0] == 0 ? "" : " for ", group->now.why);
        }
        pause_a_look();
        if (!job_go_on(group->job, err) || !step(group, "look", err))
            return false;
    }
    return true;
}

static bool all_are_there(const Group *group)
{
    return group->now.state != GROUP_GATHERING || group->now.ready;
}

static bool is_held(const Group *group)
{
    return group->now.state >= GROUP_HELD;
}

static bool is_settled(const Group *group)
{
    return group->now.state >= GROUP_PASSED;
}

static void tell_broken(const Group *group)
{
    if (group->now.state == GROUP_BROKEN)
        job_log(group->job, LOG_WARN, "group.broken",
                "this is a backup of its own, not one of group %s: %s",
                json_string_value(json_object_get(group->seat, "name")), group->now.why);
}

/* --- the lead's watch over the held application -------------------------------------------------
 */

/* Until the next look; true: nobody is waited for any more. */
static bool rest(Group *group)
{
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    next.tv_nsec += LOOK_MS * 1000000L;
    next.tv_sec += next.tv_nsec / 1000000000;
    next.tv_nsec %= 1000000000;
    pthread_mutex_lock(&group->lock);
    if (!group->over)
        pthread_cond_timedwait(&group->wake, &group->lock, &next);
    bool over = group->over;
    pthread_mutex_unlock(&group->lock);
    return over;
}

static bool time_is_over(void *ctx)
{
    const Group *group = ctx;
    return clock_boot_ns() >= group->until_ns;
}

/* Settled only on what was seen before it is asked for: an answer that is late, or never comes,
 * speaks of instants that were all taken while the application was held. */
static void wait_while_held(Group *group)
{
    GroupNow now = {.state = GROUP_HELD};
    Err err = {0};
    while (now.state == GROUP_HELD && !rest(group) && !time_is_over(group) &&
           !job_cancelled(group->job)) {
        if (!step_by(group, group->catalog, "look", "", &now, &err))
            break;
        if (now.state == GROUP_HELD && now.ready) {
            CRASHPOINT("group.ready");
            if (!time_is_over(group))
                (void)step_by(group, group->catalog, "settle", "", &now, &err);
            break;
        }
    }
    CRASHPOINT("group.settled");
}

static void *hold_watch(void *ctx)
{
    Group *group = ctx;
    GroupNow now;
    Err err = {0}, untold = {0};
    HookCall release = call_of(group->seat, "release", "");
    wait_while_held(group);
    bool released = release.name.len == 0 || hooks_run(group->job, &release, &err);
    if (!released)
        job_log(group->job, LOG_ERROR, "group.not_released", "%.*s: %s: release it by hand",
                TEXT_ARG(release.name), err.text);
    group->until_ns = clock_boot_ns() + PATIENCE_S * INT64_C(1000000000);
    if (!step_by(group, group->catalog, released ? "released" : "not_released", err.text, &now,
                 &untold))
        job_log(group->job, LOG_WARN, "group.release_untold", "%s: %s", untold.cause, untold.text);
    return NULL;
}

static bool open_watch(Group *group, Err *err)
{
    const JobSettings *settings = group->job->settings;
    PatientParams params = {.conninfo = settings->catalogue,
                            .password = group->job->catalogue_password,
                            .application = "holdfast-job",
                            .patience_s = PATIENCE_S,
                            .call_ms = CALL_MS,
                            .cancelled = time_is_over,
                            .ctx = group};
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&group->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&group->lock, NULL);
    return patient_open(&group->catalog, &params, err);
}

static void set_limit(Group *group)
{
    uint64_t seconds = json_u64_or(group->seat, "timeout_s", TIMEOUT_S);
    group->until_ns = clock_boot_ns() + (int64_t)seconds * 1000000000;
}

static bool hold_failed(Group *group, const Err *why, Err *err)
{
    return step_by(group, group->job->catalog, "break", why->text, &group->now, err);
}

/* All are there: the application is held, and a thread sees to it that it is released. */
static bool hold(Group *group, Err *err)
{
    Err why = {0};
    HookCall call = call_of(group->seat, "hold", "");
    if (!step(group, "hold", err))
        return false;
    if (group->now.state != GROUP_HOLDING)
        return true;
    set_limit(group);
    if (!open_watch(group, &why))
        return hold_failed(group, &why, err);
    call.gives_way = true;
    CRASHPOINT("group.holding");
    bool held = call.name.len == 0 || hooks_run(group->job, &call, &why);
    set_limit(group);
    bool told = held && step_by(group, group->catalog, "held", "", &group->now, &why);
    CRASHPOINT("group.held");
    group->releasing = pthread_create(&group->thread, NULL, hold_watch, group) == 0;
    if (!group->releasing)
        hold_watch(group);
    return told || hold_failed(group, &why, err);
}

/* --- the member's own way -----------------------------------------------------------------------
 */

bool group_open(Group **out, Job *job, Err *err)
{
    const json_t *seat = json_object_get(job->params, "group");
    *out = NULL;
    if (!json_is_object(seat))
        return true;
    Group *group = *out = mem_new(Group);
    group->job = job;
    group->seat = seat;
    job_phase(job, "gather");
    if (!step(group, "arrive", err))
        return false;
    CRASHPOINT("group.arrived");
    if (is_lead(group) && (!wait_for(group, all_are_there, err) ||
                           (group->now.state == GROUP_GATHERING && !hold(group, err))))
        return false;
    if (!wait_for(group, is_held, err))
        return false;
    tell_broken(group);
    return true;
}

bool group_pass(Group *group, Err *err)
{
    if (group == NULL || group->passed || group->now.state != GROUP_HELD)
        return true;
    CRASHPOINT("group.pass");
    group->passed = true;
    bool told = step(group, "pass", err);
    CRASHPOINT("group.passed");
    return told;
}

bool group_settle(Group *group, Receipt *receipt, Err *err)
{
    scoped(json_release) json_t *details = NULL;
    if (group == NULL || group->now.state == GROUP_BROKEN)
        return true;
    job_phase(group->job, "barrier");
    if (!group_pass(group, err) || !wait_for(group, is_settled, err))
        return false;
    tell_broken(group);
    if (group->now.state == GROUP_BROKEN)
        return true;
    if (receipt->details.len == 0)
        details = json_object();
    else if (!json_parse(receipt->details, &details, err))
        return false;
    json_t *barrier =
        json_pack("{s:O, s:O, s:O, s:s}", "name", json_object_get(group->seat, "name"), "run",
                  json_object_get(group->seat, "run"), "members",
                  json_object_get(group->seat, "members"), "held_at", group->now.held_at);
    json_object_set_new(details, "group", barrier);
    json_canonical(details, &group->details);
    receipt->details = buf_text(&group->details);
    return true;
}

void group_close(Group *group)
{
    if (group == NULL)
        return;
    if (group->releasing) {
        pthread_mutex_lock(&group->lock);
        group->over = true;
        pthread_cond_signal(&group->wake);
        pthread_mutex_unlock(&group->lock);
        pthread_join(group->thread, NULL);
    }
    patient_close(group->catalog);
    buf_free(&group->details);
    mem_free(group);
}

bool group_release_lost(const JobSettings *settings, const json_t *order, const JobReport *report,
                        Err *err)
{
    HookCall call =
        call_of(json_object_get(json_object_get(order, "params"), "group"), "release", "lost");
    bool passed;
    Err untold = {0};
    /* Who cannot ask releases: an application that is held for nobody is worse than a hold that
     * is broken. */
    if (!passed_ask(settings, order, ASKED_FOR_S, &passed, &untold))
        report->log(report->ctx, LOG_WARN, "group.unasked", untold.text);
    if (passed) {
        report->log(report->ctx, LOG_INFO, "group.passed_on",
                    "a later run of the group holds the application: it releases it");
        return true;
    }
    if (hooks_run_lost(settings, order, &call, report, err))
        return true;
    untold = (Err){0};
    if (!passed_tell_unreleased(settings, order, ASKED_FOR_S, err->text, &untold))
        report->log(report->ctx, LOG_WARN, "group.release_untold", untold.text);
    return false;
}
