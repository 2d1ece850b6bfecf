/* SPDX-License-Identifier: Apache-2.0
 * The simulation's model of the catalogue (tests/sim/model.h) against the catalogue itself: random
 * operations are put to both at the same virtual instants, every answer is compared, and every few
 * operations the tables. HOLDFAST_SEED=n plays that one, HOLDFAST_STEPS its length. */
#include "tests/integration/catalog/model_tables.h"
#include "tests/integration/catalog/model_workers.h"

#include <math.h>

/* --- the policy ------------------------------------------------------------------------------- */

static void write_source(const ModelSpec *spec, const World *w, Buf *out)
{
    static const char *const engines[] = {"files", "postgresql"};
    const ModelSource *s = &spec->source;
    buf_printf(out, "\"%s\":{\"type\":\"%s\",\"policy\":\"%s\",\"pool\":\"%s\",\"store\":\"nas\",",
               s->name, engines[s->engine], s->policy, w->model.pools[s->pool].name);
    buf_printf(out, "\"key_set\":\"keys\",\"config\":{},\"timezone\":\"UTC\",\"timeout_s\":60,");
    buf_printf(out, "\"schedules\":{\"%s\":{\"at\":\"%s\"}},", spec->schedule.name,
               spec->schedule.at);
    buf_printf(out, "\"overlap\":\"%s\",\"catch_up\":\"%s\",",
               spec->schedule.overlap_skip ? "skip" : "queue",
               spec->schedule.catch_up ? "latest" : "none");
    if (spec->schedule.start_deadline_s != 0)
        buf_printf(out, "\"start_deadline_s\":%" PRId64 ",", spec->schedule.start_deadline_s);
    if (s->concurrent != 0)
        buf_printf(out, "\"concurrent\":%d,", s->concurrent);
    if (s->per_host != 0)
        buf_printf(out, "\"per_host\":%d,", s->per_host);
    if (s->reads[0] != '\0')
        buf_printf(out, "\"reads\":\"%s\",", s->reads);
    if (s->owner[0] != '\0')
        buf_printf(out, "\"owner\":\"%s\",", s->owner);
    buf_printf(out, "\"labels\":{\"b0\":\"%u\",\"b1\":\"%u\"},", s->labels & 1, s->labels >> 1);
    buf_printf(
        out, "\"retry\":{\"attempts\":%d,\"backoff_s\":%g,\"max_backoff_s\":%g,\"jitter\":\"%s\"}}",
        s->attempts, s->backoff_s, s->max_backoff_s, s->jitter ? "equal" : "none");
}

static void apply(World *w)
{
    scoped(buf_free) Buf document = {0};
    PolicyApplied applied;
    Model *m = &w->model;
    w->doing = "policy";
    buf_printf(&document, "{\"fleet\":\"test\",\"n\":%u,\"pools\":{", w->step);
    for (uint32_t i = 1; i <= 2; i++)
        buf_printf(&document, m->pools[i].most == 0 ? "%s\"%s\":{}" : "%s\"%s\":{\"max_jobs\":%u}",
                   i == 1 ? "" : ",", m->pools[i].name, m->pools[i].most);
    buf_printf(&document, "},\"stores\":{\"nas\":{\"type\":\"local\",\"path\":\"/srv\"");
    if (m->uploads != 0)
        buf_printf(&document, ",\"max_uploads\":%d", m->uploads);
    buf_printf(&document, "}},\"budgets\":{");
    for (unsigned i = 0, told = 0; i < MODEL_BUDGETS; i++)
        if (m->budgets[i] != 0)
            buf_printf(&document, "%s\"b%u\":{\"labels\":{\"b%u\":\"1\"},\"concurrent\":%d}",
                       told++ == 0 ? "" : ",", i, i, m->budgets[i]);
    buf_printf(&document, "},\"sources\":{");
    for (size_t i = 0; i < w->spec_count; i++) {
        buf_printf(&document, i == 0 ? "" : ",");
        write_source(&w->specs[i], w, &document);
    }
    buf_printf(&document, "}}");
    OK(catalog_policy_apply(w->scheduler, buf_text(&document), (Text){0}, TEXT("t"), &applied,
                            &err));
    model_policy_apply(m, w->specs, w->spec_count);
}

static void draw_spec(World *w, size_t i)
{
    ModelSpec *spec = &w->specs[i];
    *spec = (ModelSpec){.source = {.pool = 1 + (uint32_t)draw(w, 2),
                                   .engine = draw(w, 4) == 0,
                                   .attempts = 1 + (int32_t)draw(w, 3),
                                   .backoff_s = 8,
                                   .max_backoff_s = 20,
                                   .jitter = draw(w, 2) == 0,
                                   .concurrent = draw(w, 3) == 0 ? 1 + (int32_t)draw(w, 2) : 0,
                                   .per_host = draw(w, 3) == 0 ? 1 + (int32_t)draw(w, 2) : 0,
                                   .labels = (uint32_t)draw(w, 4)},
                        .schedule = {.catch_up = draw(w, 2) == 0,
                                     .overlap_skip = draw(w, 2) == 0,
                                     .start_deadline_s = draw(w, 3) == 0 ? 30 : 0}};
    snprintf(spec->source.name, MODEL_NAME, "s%zu", i + 1);
    snprintf(spec->source.policy, MODEL_NAME, draw(w, 2) == 0 ? "gold" : "iron");
    snprintf(spec->source.owner, MODEL_NAME, "%s", (const char *[]){"", "ann", "bob"}[draw(w, 3)]);
    snprintf(spec->source.reads, MODEL_NAME, "%s", (const char *[]){"", "db1", "db2"}[draw(w, 3)]);
    snprintf(spec->schedule.name, MODEL_NAME, "often");
    snprintf(spec->schedule.at, MODEL_NAME, "every %us", 20 + (unsigned)draw(w, 3));
}

static void change_policy(World *w)
{
    size_t i = draw(w, SOURCES);
    if (draw(w, 3) == 0)
        w->model.pools[1 + draw(w, 2)].most = (uint32_t)draw(w, 4);
    else if (draw(w, 4) == 0)
        w->model.uploads = (int32_t)draw(w, 4);
    else if (draw(w, 3) == 0)
        w->model.budgets[draw(w, MODEL_BUDGETS)] = (int32_t)draw(w, 3);
    else if (i >= w->spec_count || i + 1 < w->spec_count)
        draw_spec(w, i >= w->spec_count ? w->spec_count++ : i);
    else if (w->spec_count > 1)
        w->spec_count--;
    apply(w);
}

/* --- schedulers --------------------------------------------------------------------------------
 */

static void fire(World *w)
{
    ScheduleList list;
    SlotRow rows[3];
    ModelFire fires[3];
    SlotAnswer answers[3], model_answers[3];
    ERRS;
    OK(catalog_schedule_load(w->scheduler, &list, &err));
    SAME(list.count, w->model.schedules.count);
    const ScheduleRow *row = &list.rows[draw(w, list.count)];
    size_t count = 1 + draw(w, 3);
    int64_t old = draw(w, 6) == 0 ? row->last_slot_ns - 1000000000 : row->last_slot_ns;
    int64_t from = row->last_slot_ns - (draw(w, 10) == 0 ? 3000000000 : 0); /* set back */
    for (size_t i = 0; i < count; i++) {
        int64_t slot = from + (int64_t)(i + 1) * 1000000000;
        int64_t by = draw(w, 3) == 0 ? w->now_ms * 1000000 + 5000000000 : 0;
        bool missed = i + 1 < count || draw(w, 5) == 0;
        bool excluded = draw(w, 6) == 0;
        rows[i] = (SlotRow){.source = row->source,
                            .schedule = text_of(row->name),
                            .old_slot_ns = old,
                            .slot_ns = slot,
                            .start_by_ns = by,
                            .missed = missed,
                            .code = excluded ? TEXT("slot.excluded") : (Text){0}};
        fires[i] = (ModelFire){.source = row->source,
                               .schedule = row->name,
                               .old = old / 1000,
                               .slot = slot / 1000,
                               .start_by = by / 1000,
                               .missed = missed,
                               .excluded = excluded};
    }
    if (AGREE(catalog_slots_fire(w->scheduler, rows, count, answers, &real_err),
              model_fire(&w->model, fires, count, model_answers, &model_err)))
        for (size_t i = 0; i < count; i++) {
            SAME(answers[i].job, model_answers[i].job);
            assert_string_equal(answers[i].state, model_answers[i].state);
        }
    catalog_schedule_free(&list);
}

static void ask(World *w)
{
    char name[8];
    JobCreated created;
    uint64_t job;
    bool probe = draw(w, 4) == 0;
    uint32_t pool = 1 + (uint32_t)draw(w, 2);
    int64_t by_ms = draw(w, 4) == 0 ? w->now_ms + 20000 : 0;
    bool emergency = !probe && draw(w, 8) == 0;
    int32_t priority = emergency ? JOB_PRIORITY_EMERGENCY : (int32_t)draw(w, 200) - 100;
    ERRS;
    snprintf(name, sizeof name, "s%u", (unsigned)draw(w, SOURCES + 1) + 1);
    JobRequest request = {.kind = probe ? TEXT("probe") : TEXT("backup"),
                          .trigger = emergency ? TEXT("emergency") : (Text){0},
                          .source = probe ? (Text){0} : text_of(name),
                          .pool = probe ? text_of(w->model.pools[pool].name) : (Text){0},
                          .actor = TEXT("t"),
                          .priority = priority,
                          .start_by_ns = by_ms * 1000000};
    if (AGREE(catalog_job_create(w->scheduler, &request, &created, &real_err),
              model_create(&w->model, probe ? MODEL_PROBE : MODEL_BACKUP, probe ? NULL : name,
                           probe ? pool : 0, priority, by_ms * 1000, &job, &model_err))) {
        SAME(created.job, job);
        w->model.jobs.rows[job - 1].emergency = emergency;
    }
}

static uint64_t any_job(World *w)
{
    size_t count = w->model.jobs.count;
    return count - draw(w, count < 12 ? count + 1 : 12);
}

static void cancel(World *w)
{
    uint64_t job = any_job(w);
    char state[16] = "", model_state[16] = "";
    ERRS;
    if (AGREE(catalog_job_cancel(w->scheduler, job, TEXT("t"), TEXT("why"), state, &real_err),
              model_cancel(&w->model, job, model_state, &model_err)))
        assert_string_equal(state, model_state);
}

static void retry(World *w)
{
    uint64_t job = any_job(w), made = 0;
    JobCreated created;
    bool again = false;
    ERRS;
    if (AGREE(catalog_job_retry(w->scheduler, job, TEXT("t"), &created, &real_err),
              model_retry(&w->model, job, &made, &again, &model_err))) {
        SAME(created.job, made);
        SAME(created.again, again);
    }
}

static void overdue(World *w)
{
    PoolList pools;
    OK(catalog_jobs_due(w->scheduler, &pools, &err));
    model_overdue(&w->model);
    for (size_t i = 0; i < pools.count; i++) {
        uint32_t due = 0, queued = 0, running = 0;
        for (size_t k = 0; k < w->model.jobs.count; k++) {
            const ModelJob *job = &w->model.jobs.rows[k];
            if (job->pool != pools.rows[i].number)
                continue;
            due += job->state == JOB_PENDING && job->run_at <= w->model.now;
            queued += job->state == JOB_QUEUED;
            running += job->state == JOB_RUNNING;
        }
        SAME(pools.rows[i].due, due);
        SAME(pools.rows[i].queued, queued);
        SAME(pools.rows[i].running, running);
    }
    catalog_pools_free(&pools);
}

/* order: the rows come in one order only. */
static void same_tickets(World *w, TicketList *real, TicketList *model, bool order)
{
    SAME(real->count, model->count);
    for (size_t i = 0; i < real->count; i++) {
        size_t k = i;
        for (size_t n = 0; !order && n < model->count; n++)
            k = model->rows[n].job == real->rows[i].job ? n : k;
        SAME(real->rows[i].job, model->rows[k].job);
        SAME(real->rows[i].dispatch, model->rows[k].dispatch);
        SAME(real->rows[i].urgent, model->rows[k].urgent);
    }
    catalog_tickets_free(real);
    catalog_tickets_free(model);
}

static void pick(World *w)
{
    TicketList real, model;
    uint32_t pool = 1 + (uint32_t)draw(w, 2);
    int32_t most = (int32_t)draw(w, 6) - 1;
    OK(catalog_dispatch_pick(w->scheduler, pool, most, &real, &err));
    model_pick(&w->model, pool, most, &model);
    same_tickets(w, &real, &model, true);
}

static void requeue(World *w)
{
    TicketList real, model;
    uint32_t pool = 1 + (uint32_t)draw(w, 2);
    bool all = draw(w, 2) == 0;
    OK((all ? catalog_requeue_all : catalog_requeue)(w->scheduler, pool, &real, &err));
    model_requeue(&w->model, pool, all, &model);
    same_tickets(w, &real, &model, false);
}

static void tickets_done(World *w)
{
    TicketRow rows[4];
    bool done[4];
    for (size_t i = 0; i < 4; i++)
        rows[i] = (TicketRow){.job = any_job(w), .dispatch = 1 + draw(w, 3)};
    OK(catalog_tickets_done(w->scheduler, rows, 4, done, &err));
    for (size_t i = 0; i < 4; i++)
        SAME(done[i], model_ticket_done(&w->model, rows[i].job, rows[i].dispatch));
}

static void reap(World *w)
{
    ReapReport real, model;
    OK(catalog_reap(w->scheduler, &real, &err));
    model_reap(&w->model, &model);
    SAME(real.count, model.count);
    SAME(real.suspects, model.suspects);
    SAME(real.grace, model.grace);
    SAME(real.mass, model.mass);
    for (size_t i = 0; i < real.count; i++) {
        SAME(real.rows[i].job, model.rows[i].job);
        SAME(real.rows[i].attempt, model.rows[i].attempt);
        assert_string_equal(real.rows[i].state, model.rows[i].state);
    }
    catalog_reap_free(&real);
    catalog_reap_free(&model);
}

static void lead(World *w)
{
    const Uuid *holder = &w->holders[draw(w, 2)];
    uint64_t term;
    if (draw(w, 5) == 0) {
        OK(catalog_leader_resign(w->scheduler, holder, &err));
        model_leader_resign(&w->model, holder);
        return;
    }
    OK(catalog_leader_take(w->scheduler, holder, TEXT("h"), &term, &err));
    SAME(term, model_leader_take(&w->model, holder));
}

static void keep_house(World *w)
{
    OK(catalog_housekeep(w->scheduler, &err));
    model_housekeep(&w->model);
}

static void sweep(World *w)
{
    uint64_t swept;
    OK(catalog_sweep(w->scheduler, &swept, &err));
    SAME(swept, model_sweep(&w->model));
}

static void hold(World *w)
{
    static const double silences[] = {INFINITY, 19, 19.5, 20};
    double silent_s = silences[draw(w, 4)];
    OK(catalog_reap_hold(w->scheduler, silent_s, &err));
    model_reap_hold(&w->model, silent_s);
}

static void act_both(World *w, WindowsActed *real)
{
    WindowsActed model;
    OK(catalog_windows_act(w->scheduler, real, &err));
    model_windows_act(&w->model, &model);
    SAME(real->now_ns, model.now_ns);
    SAME(real->put_off, model.put_off);
    SAME(real->stopped, model.stopped);
}

static void act(World *w)
{
    WindowsActed real;
    act_both(w, &real);
}

/* Some are of a policy that is not in force, and some come again as they were. */
static void windows(World *w)
{
    WindowRow rows[SOURCES];
    size_t count = 0;
    bool taken, all = draw(w, 3) == 0;
    uint64_t other = draw(w, 8) == 0;
    WindowsActed look; /* for the mark */
    act_both(w, &look);
    int64_t until = (w->now_ms / 4000 + 1) * 4000;
    for (uint32_t i = 1; i <= w->model.sources.count && i <= SOURCES; i++)
        if (draw(w, 3) == 0)
            rows[count++] =
                (WindowRow){.source = i,
                            .open = draw(w, 3) != 0,
                            .since_ns = (w->now_ms + (draw(w, 9) == 0 ? 500 : 0)) * 1000000,
                            .until_ns = until * 1000000,
                            .cancels = draw(w, 2) == 0,
                            .words = TEXT("no window is open")};
    OK(catalog_windows_keep(w->scheduler, look.policy_mark + other, rows, count, all, &taken,
                            &err));
    SAME(taken, model_windows_keep(&w->model, w->model.policy_mark + other, rows, count, all));
}

static void flip(World *w)
{
    Model *m = &w->model;
    uint32_t i = 1 + (uint32_t)draw(w, 2);
    switch (draw(w, 3)) {
    case 0:
        m->pools[i].paused = draw(w, 4) == 0;
        OK(catalog_pool_pause(w->scheduler, text_of(m->pools[i].name), m->pools[i].paused,
                              (Text){0}, TEXT("t"), &err));
        break;
    case 1:
        m->workers.rows[i].drain = draw(w, 4) == 0;
        OK(catalog_worker_drain(w->scheduler, text_of(m->workers.rows[i].name),
                                m->workers.rows[i].drain, (Text){0}, TEXT("t"), &err));
        break;
    default:
        m->sources.rows[0].paused_until = m->now + 15000000;
        if (m->sources.rows[0].retired_at == 0)
            OK(catalog_source_pause(w->scheduler, text_of(m->sources.rows[0].name),
                                    m->sources.rows[0].paused_until * 1000, TEXT("x"), TEXT("t"),
                                    &err));
        else
            m->sources.rows[0].paused_until = 0;
    }
}

/* --- histories ---------------------------------------------------------------------------------
 */

static void pass_time(World *w)
{
    static const int64_t most_ms[] = {10, 200, 1000, 6000};
    w->now_ms += 1 + (int64_t)draw(w, (uint64_t)most_ms[draw(w, 4)]);
    virtual_clock_set(w->scheduler, w->now_ms);
    w->model.now = w->now_ms * 1000;
}

static const struct {
    const char *name;
    void (*happens)(World *w);
    unsigned weight;
} operations[] = {
    {"fire", fire, 5},
    {"ask", ask, 9},
    {"cancel", cancel, 2},
    {"retry", retry, 3},
    {"overdue", overdue, 3},
    {"pick", pick, 20},
    {"requeue", requeue, 3},
    {"tickets_done", tickets_done, 2},
    {"reap", reap, 8},
    {"lead", lead, 3},
    {"housekeep", keep_house, 1},
    {"sweep", sweep, 2},
    {"hold", hold, 2},
    {"flip", flip, 3},
    {"windows", windows, 5},
    {"act", act, 8},
    {"policy", change_policy, 2},
    {"hello", hello, 3},
    {"claim", claim, 30},
    {"beat", beat, 16},
    {"finish", finish, 8},
    {"stage", stage, 14},
    {"adopt", adopt, 3},
    {"commit", commit, 12},
    {"marker", marker, 2},
};

static void begin(World *w)
{
    static const char *const settings[] = {"mass_leases", "mass_wait_s", "lease_s", "liveness_s",
                                           "looks_s",     "requeue_s",   "aging_s", "grace_s"};
    static const double values[] = {4, 10, 20, 20, 3, 3, 30, 5};
    Model *m = &w->model;
    w->fleet = fleet_start();
    virtual_clock_begin(w->fleet, "holdfast_scheduler");
    w->scheduler = fleet_connect(w->fleet, "holdfast_scheduler");
    model_begin(m);
    m->random = one_half;
    m->random_uuid = no_uuid;
    for (size_t i = 0; i < 8; i++)
        OK(catalog_setting_set(w->scheduler, text_of(settings[i]), values[i], &err));
    m->setting = (ModelSettings){.lease = 20,
                                 .beat = 0.5,
                                 .liveness = 20,
                                 .looks = 3,
                                 .grace = 5,
                                 .mass_leases = 4,
                                 .mass_share = 0.5,
                                 .mass_wait = 10,
                                 .requeue = 3,
                                 .requeue_force = 600,
                                 .loss_backoff = 0,
                                 .loss_backoff_max = 3600,
                                 .max_losses = 3,
                                 .defer_min = 0.1,
                                 .defer_max = 0.2,
                                 .leader = 1,
                                 .aging = 30,
                                 .recall = 2};
    m->leader_until = m->hold_until = INT64_MIN;
    pass_time(w);
    (void)model_pool(m, "fra");
    (void)model_pool(m, "nyc");
    m->pools[1].most = (uint32_t)draw(w, 3);
    for (w->spec_count = 0; w->spec_count < SOURCES; w->spec_count++)
        draw_spec(w, w->spec_count);
    apply(w);
    enroll(w);
}

static void live_through(uint64_t seed, unsigned steps)
{
    World *w = mem_new(World);
    unsigned total = 0;
    *w = (World){.seed = seed,
                 .random = seed * UINT64_C(0x9E3779B97F4A7C15) + 1,
                 .now_ms = INT64_C(1767225600000)};
    for (size_t i = 0; i < 2; i++)
        w->holders[i] = draw_uuid(w);
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
        total += operations[i].weight;
    begin(w);
    for (w->step = 1; w->step <= steps; w->step++) {
        uint64_t at = draw(w, total);
        size_t which = 0;
        while (at >= operations[which].weight)
            at -= operations[which++].weight;
        if (draw(w, 4) == 0)
            pass_time(w);
        w->doing = operations[which].name;
        if (getenv("HOLDFAST_SHOW") != NULL)
            print_message("%u %" PRId64 " %s\n", w->step, w->now_ms, w->doing);
        operations[which].happens(w);
        if (w->step % 25 == 0)
            compare_tables(w);
    }
    compare_tables(w);
    print_message("seed %" PRIu64 ": %zu jobs, %zu attempts, %zu backups\n", seed,
                  w->model.jobs.count, w->model.attempts.count, w->model.backups.count);
    for (size_t i = 1; i <= WORKERS; i++)
        catalog_close(w->workers[i]);
    catalog_close(w->scheduler);
    /* fire sets schedules back now and then: they are where their last slot is. A pool's limit was
     * another each time the policy changed. */
    fleet_do(w->fleet, "UPDATE schedule s SET last_slot = greatest(last_slot, (SELECT max(slot) "
                       "FROM job j WHERE j.source = s.source AND j.schedule = s.name)); "
                       "UPDATE pool SET max_jobs = NULL");
    fleet_stop(w->fleet);
    model_free(&w->model);
    mem_free(w);
}

static void the_model_and_the_catalogue_answer_the_same(void **state)
{
    const char *seed = getenv("HOLDFAST_SEED"), *steps = getenv("HOLDFAST_STEPS");
    unsigned most = steps == NULL ? 1000 : (unsigned)strtoul(steps, NULL, 10);
    (void)state;
    if (seed != NULL)
        live_through(strtoull(seed, NULL, 10), most);
    else
        for (uint64_t one = 1; one <= 2; one++)
            live_through(one, most);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_model_and_the_catalogue_answer_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
