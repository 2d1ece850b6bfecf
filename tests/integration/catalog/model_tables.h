/* SPDX-License-Identifier: Apache-2.0
 * model_tables.h — the tables of both as lines of text, and where the first differs. */
#ifndef TESTS_INTEGRATION_CATALOG_MODEL_TABLES_H
#define TESTS_INTEGRATION_CATALOG_MODEL_TABLES_H

#include "tests/integration/catalog/model_world.h"

static void read_tables(const World *w, Buf *out)
{
    char command[512], conninfo[256];
    postgres_as(w->fleet->pg, "postgres", "postgres", conninfo);
    snprintf(command, sizeof command,
             "PGOPTIONS='-c search_path=holdfast' psql -qAtX -v ON_ERROR_STOP=1 -d '%s' -f "
             "tests/integration/catalog/model_tables.sql",
             conninfo);
    FILE *from = popen(command, "r");
    assert_non_null(from);
    for (size_t got = 1; got != 0;) {
        uint8_t *at = buf_extend(out, 65536);
        got = fread(at, 1, 65536, from);
        out->len -= 65536 - got;
    }
    assert_int_equal(pclose(from), 0);
}

/* What ends in -infinity at the server is nothing here. */
static long long us(int64_t at)
{
    return at == INT64_MIN ? 0 : (long long)at;
}

static void write_jobs(Model *m, Buf *out)
{
    for (size_t i = 0; i < m->jobs.count; i++) {
        const ModelJob *j = &m->jobs.rows[i];
        if (j->pool == 0)
            continue; /* a number that was never given */
        buf_printf(out,
                   "job|%zu|%s|%s|%u|%s|%s|%lld|%d|%lld|%lld|%lld|%lld|%" PRIu64 "|%" PRIu64
                   "|%d|%d|%d|%d|%d|%s\n",
                   i + 1, j->kind == MODEL_BACKUP ? "backup" : "probe", lifecycle_name(j->state),
                   j->source, m->pools[j->pool].name, j->schedule, us(j->slot), j->priority,
                   us(j->run_at), us(j->start_by), us(j->queued_at), us(j->finished_at), j->attempt,
                   j->dispatch, j->failures, j->max_failures, j->losses, j->deferrals,
                   j->cancel_requested, j->cause);
    }
    for (size_t i = 1; i <= m->jobs.count; i++) {
        const ModelLease *l = model_lease(m, i);
        if (l != NULL)
            buf_printf(out, "lease|%zu|%" PRIu64 "|%s|%lld|%lld|%lld\n", i, l->attempt,
                       m->workers.rows[l->worker - 1].name, us(l->expires_at), us(l->beat_at),
                       us(l->suspect_expires));
    }
}

static void write_attempts(Model *m, Buf *out)
{
    static const char *const outcomes[] = {"open",     "completed", "partial", "failed",
                                           "released", "cancelled", "lost"};
    for (size_t job = 1; job <= m->jobs.count; job++)
        for (uint64_t n = 1; n <= m->jobs.rows[job - 1].attempt; n++) {
            const ModelAttempt *a = model_attempt(m, job, n);
            buf_printf(out, "attempt|%zu|%" PRIu64 "|%s|%lld|%lld\n", job, n, outcomes[a->outcome],
                       us(a->started_at), us(a->ended_at));
        }
}

static int by_scope(const void *a, const void *b)
{
    const ModelSlot *x = a, *y = b;
    int order = strcmp(x->scope, y->scope);
    return order != 0 ? order : x->n - y->n;
}

static const char *pack_state(const ModelPack *pack)
{
    return pack->live ? "live" : pack->swept ? "deleting" : "staged";
}

static void write_store(Model *m, Buf *out)
{
    qsort(m->slots.rows, m->slots.count, sizeof *m->slots.rows, by_scope);
    for (size_t i = 0; i < m->slots.count; i++)
        buf_printf(out, "slot|%s|%d|%" PRIu64 "|%" PRIu64 "\n", m->slots.rows[i].scope,
                   m->slots.rows[i].n, m->slots.rows[i].job, m->slots.rows[i].attempt);
    for (size_t i = 0; i < m->packs.count; i++)
        if (m->packs.rows[i].job != 0)
            buf_printf(out, "pack|%zu|%" PRIu64 "|%" PRIu64 "|%s|%d\n", i + 1, m->packs.rows[i].job,
                       m->packs.rows[i].attempt, pack_state(&m->packs.rows[i]),
                       m->packs.rows[i].stored);
    for (uint64_t job = 1; job <= m->jobs.count; job++)
        for (size_t i = 0; i < m->backups.count; i++) {
            const ModelBackup *b = &m->backups.rows[i];
            if (b->job != job)
                continue;
            buf_printf(out, "backup|%" PRIu64 "|%" PRIu64 "|%u|%" PRIu64 "|%s|%d|", job, b->attempt,
                       b->source, b->sequence, b->partial ? "partial" : "completed", b->marked);
            for (uint64_t no = 1; no <= m->packs.count; no++)
                for (size_t k = 0, first = 1; k < b->pack_count; k++)
                    if (b->packs[k] == no) {
                        for (size_t n = 0; n < b->pack_count; n++)
                            first = first && b->packs[n] >= no;
                        buf_printf(out, first ? "%" PRIu64 : " %" PRIu64, no);
                    }
            buf_printf(out, "\n");
        }
}

static int by_code(const void *a, const void *b)
{
    const ModelDecision *x = a, *y = b;
    return x->job != y->job ? (x->job > y->job) - (x->job < y->job) : strcmp(x->code, y->code);
}

static int by_source(const void *a, const void *b)
{
    const ModelSchedule *x = a, *y = b;
    return (x->source > y->source) - (x->source < y->source);
}

/* Texts name holders, workers and what was counted: how often they change is not agreed. */
static void write_rest(Model *m, Buf *out)
{
    qsort(m->schedules.rows, m->schedules.count, sizeof *m->schedules.rows, by_source);
    qsort(m->decisions.rows, m->decisions.count, sizeof *m->decisions.rows, by_code);
    for (size_t i = 0; i < m->schedules.count; i++) {
        const ModelSchedule *s = &m->schedules.rows[i];
        buf_printf(out, "schedule|%u|%s|%s|%d|%d|%" PRId64 "|%lld\n", s->source, s->name, s->at,
                   s->catch_up, s->overlap_skip, s->start_deadline_s, us(s->last_slot));
    }
    for (uint32_t source = 1; source <= m->sources.count; source++)
        for (size_t i = 0; i < m->windows.count; i++) {
            const ModelWindow *v = &m->windows.rows[i];
            if (v->source == source)
                buf_printf(out, "window|%u|%d|%d|%lld|%lld\n", source, v->open, v->cancels,
                           us(v->since), us(v->until));
        }
    for (size_t i = 0; i < m->decisions.count; i++) {
        const ModelDecision *d = &m->decisions.rows[i];
        buf_printf(out, "decision|%" PRIu64 "|%s|%s|%u\n", d->job, d->verdict, d->code,
                   strcmp(d->code, "no_worker") == 0 || strcmp(d->code, "lane.busy") == 0 ||
                           strcmp(d->code, "limit.full") == 0
                       ? 0
                       : d->count);
    }
}

static void compare_tables(World *w)
{
    scoped(buf_free) Buf real = {0};
    scoped(buf_free) Buf model = {0};
    read_tables(w, &real);
    write_jobs(&w->model, &model);
    write_attempts(&w->model, &model);
    write_store(&w->model, &model);
    write_rest(&w->model, &model);
    const char *a = buf_cstr(&real), *b = buf_cstr(&model);
    if (getenv("HOLDFAST_SHOW") != NULL)
        print_message("%s---\n%s", a, b);
    while (*a != '\0' || *b != '\0') {
        int a_len = (int)strcspn(a, "\n"), b_len = (int)strcspn(b, "\n");
        if (a_len != b_len || memcmp(a, b, (size_t)a_len) != 0)
            fail_msg("seed %" PRIu64 " step %u at %" PRId64
                     " ms: the catalogue has\n  %.*s\nthe model\n  %.*s",
                     w->seed, w->step, w->now_ms, a_len, a, b_len, b);
        a += a_len + (a[a_len] == '\n');
        b += b_len + (b[b_len] == '\n');
    }
}

#endif
