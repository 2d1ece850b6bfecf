/* SPDX-License-Identifier: Apache-2.0 — 0028_windows.sql */
#include "tests/sim/model.h"

#include <stdio.h>

static ModelWindow *window_of(const Model *m, uint32_t source)
{
    for (size_t i = 0; i < m->windows.count; i++)
        if (m->windows.rows[i].source == source)
            return &m->windows.rows[i];
    return NULL;
}

static const WindowRow *told(const WindowRow *rows, size_t count, uint32_t source)
{
    for (size_t i = 0; i < count; i++)
        if (rows[i].source == source)
            return &rows[i];
    return NULL;
}

bool model_shut(const Model *m, const ModelJob *job)
{
    const ModelWindow *window =
        job->kind == MODEL_BACKUP && !job->emergency ? window_of(m, job->source) : NULL;
    return window != NULL && (!window->open || window->until <= m->now || window->since > m->now);
}

/* Whoever waited for this opening is due. */
static void release(Model *m, const ModelWindow *window)
{
    for (size_t i = 0; i < m->jobs.count; i++) {
        ModelJob *job = &m->jobs.rows[i];
        if (job->source == window->source && job->kind == MODEL_BACKUP &&
            job->state == JOB_PENDING && job->run_at == window->until)
            job->run_at = m->now;
    }
}

bool model_windows_keep(Model *m, uint64_t policy_mark, const WindowRow *rows, size_t count,
                        bool all)
{
    size_t kept = 0;
    if (policy_mark != m->policy_mark)
        return false;
    for (size_t i = 0; i < m->windows.count; i++) {
        ModelWindow window = m->windows.rows[i];
        const WindowRow *row = told(rows, count, window.source);
        bool other = row == NULL ? all : row->open || row->until_ns / 1000 != window.until;
        if (!window.open && window.until > m->now && other)
            release(m, &window);
        if (row != NULL || !all)
            m->windows.rows[kept++] = window;
    }
    m->windows.count = kept;
    for (size_t i = 0; i < count; i++) {
        ModelWindow *window = window_of(m, rows[i].source);
        if (window == NULL)
            window = model_add(&m->windows, (ModelWindow){.source = rows[i].source});
        window->open = rows[i].open;
        window->cancels = rows[i].cancels;
        window->since = rows[i].since_ns / 1000;
        window->until = rows[i].until_ns / 1000;
        snprintf(window->words, sizeof window->words, "%.*s", TEXT_ARG(rows[i].words));
    }
    return true;
}

static void put_off(Model *m, uint64_t number, const ModelWindow *window)
{
    ModelJob *job = model_job(m, number);
    model_move(m, job, JOB_PENDING);
    job->queued_at = 0;
    job->dispatch++;
    job->deferrals++;
    job->run_at = window->until;
    model_decide(m, number, "deferred", "window.closed", window->words);
}

void model_windows_act(Model *m, WindowsActed *out)
{
    *out = (WindowsActed){.now_ns = m->now * 1000, .policy_mark = m->policy_mark};
    for (size_t i = 0; i < m->jobs.count; i++) {
        ModelJob *job = &m->jobs.rows[i];
        bool held = job->kind == MODEL_BACKUP && job->finished_at == 0 && !job->emergency;
        const ModelWindow *window = held ? window_of(m, job->source) : NULL;
        if (window == NULL || window->open || window->until <= m->now)
            continue;
        if (job->state == JOB_QUEUED || (job->state == JOB_PENDING && job->run_at <= m->now)) {
            put_off(m, i + 1, window);
            out->put_off++;
        } else if (job->state == JOB_RUNNING && window->cancels && !job->cancel_requested) {
            job->cancel_requested = true;
            model_decide(m, i + 1, "cancelled", "window.cancel", window->words);
            out->stopped++;
        }
    }
}
