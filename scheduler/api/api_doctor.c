/* SPDX-License-Identifier: Apache-2.0
 * Checks of every part, each OK, WARN or FAIL with what was seen and what to do. A check that could
 * not be made is not OK. */
#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/catalog/catalog_migrate.h"
#include "scheduler/api/api.h"

#include <inttypes.h>
#include <math.h>

/* Leases are granted by PostgreSQL's clock alone; a host whose clock is off writes logs and plans
 * slots at the wrong time, no worse. */
static const double SKEW_WARN_S = 2;
static const double SKEW_FAIL_S = 60;

/* The core ticks five times a second. */
enum { TICK_LATE_S = 10, TOKEN_ENDS_S = 14 * 86400 };

typedef enum Verdict { OK, WARN, FAIL } Verdict;

static void check(json_t *checks, Verdict verdict, const char *name, const char *next,
                  const char *format, ...) PRINTF_LIKE(5, 6);
static void check(json_t *checks, Verdict verdict, const char *name, const char *next,
                  const char *format, ...)
{
    static const char *const words[] = {"OK", "WARN", "FAIL"};
    scoped(buf_free) Buf text = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    json_t *text_or_bytes = json_string(buf_cstr(&text));
    if (text_or_bytes == NULL)
        text_or_bytes = json_bytes(buf_slice(&text));
    json_array_append_new(checks,
                          json_pack("{s:s, s:s, s:o, s:s}", "state", words[verdict], "name", name,
                                    "text", text_or_bytes, "next", verdict == OK ? "" : next));
}

static void check_scheduler(const CoreState *state, const json_t *facts, json_t *checks)
{
    Text leader = json_text_or(facts, "leader", (Text){0});
    int64_t late_s = (clock_wall_ns() - state->last_tick_ns) / 1000000000;
    if (state->last_tick_ns == 0 || late_s > TICK_LATE_S)
        check(checks, FAIL, "scheduler", "read the scheduler's log and restart it",
              "its core has not ticked for %" PRId64 " s", late_s);
    else if (leader.len == 0 && !state->leads)
        check(checks, FAIL, "scheduler", "read the schedulers' logs",
              "none leads: nothing is started");
    else if (state->leads)
        check(checks, OK, "scheduler", "", "this one leads, term %" PRIu64, state->term);
    else
        check(checks, OK, "scheduler", "", "the one on %.*s leads, this one stands by",
              TEXT_ARG(leader));
}

static void check_catalogue(const CoreState *state, const json_t *facts, int64_t skew_ns,
                            json_t *checks)
{
    uint64_t schema = json_u64_or(facts, "schema", 0);
    double skew_s = (double)skew_ns / 1e9;
    if (!state->catalogue_up)
        check(checks, FAIL, "catalogue", "start PostgreSQL, or mend `catalogue` in scheduler.yaml",
              "%s", state->catalogue_error);
    else
        check(checks, OK, "catalogue", "", "PostgreSQL %.*s answers",
              TEXT_ARG(json_text_or(facts, "server", TEXT("?"))));
    check(checks, schema == catalog_migrate_newest() ? OK : FAIL, "schema",
          "holdfast-scheduler migrate", "%" PRIu64 ", this scheduler was built for %u", schema,
          catalog_migrate_newest());
    check(checks,
          fabs(skew_s) >= SKEW_FAIL_S   ? FAIL
          : fabs(skew_s) >= SKEW_WARN_S ? WARN
                                        : OK,
          "clock", "let chrony or ntpd keep the clocks of both hosts",
          "this host is %.1f s %s PostgreSQL's", fabs(skew_s), skew_s < 0 ? "behind" : "ahead of");
}

static void check_redis(const CoreState *state, json_t *checks)
{
    if (!state->redis_up)
        check(checks, FAIL, "redis", "start Redis, or mend `redis` in scheduler.yaml", "%s",
              state->redis_error[0] == 0 ? "not asked yet" : state->redis_error);
    else if (state->redis_eviction[0] == 0)
        check(checks, WARN, "redis", "see to it that maxmemory-policy is noeviction",
              "%s answers, but does not say its maxmemory-policy", state->redis_version);
    else
        check(checks, OK, "redis", "", "%s answers, maxmemory-policy %s", state->redis_version,
              state->redis_eviction);
}

static void check_worker(const json_t *worker, json_t *checks)
{
    scoped(buf_free) Buf name = {0};
    Text state = json_text_or(worker, "state", TEXT("?"));
    Text version = json_text_or(worker, "version", TEXT("?"));
    double skew_s = json_real_or(worker, "skew_seconds", 0);
    buf_printf(&name, "worker %.*s", TEXT_ARG(json_text_or(worker, "name", TEXT("?"))));
    const char *title = buf_cstr(&name);
    if (!text_equal(state, TEXT("alive")) && !text_equal(state, TEXT("draining")))
        check(checks, WARN, title, "start holdfast-worker there, and read its log",
              text_equal(state, TEXT("never")) ? "is enrolled and never came"
                                               : "is silent since %.*s",
              TEXT_ARG(json_text_or(worker, "seen_at", TEXT("?"))));
    else if (fabs(skew_s) >= SKEW_WARN_S)
        check(checks, WARN, title, "let chrony or ntpd keep its clock",
              "its clock is %.1f s %s PostgreSQL's", fabs(skew_s),
              skew_s < 0 ? "behind" : "ahead of");
    else if (!text_equal(version, TEXT(HOLDFAST_VERSION)))
        check(checks, WARN, title, "install the same version everywhere",
              "runs %.*s, this scheduler is " HOLDFAST_VERSION, TEXT_ARG(version));
    else
        check(checks, OK, title, "", "%.*s, %" PRIu64 " of %" PRIu64 " slots in use",
              TEXT_ARG(state), json_u64_or(worker, "running", 0), json_u64_or(worker, "slots", 0));
}

/* Who serves what is in use: pools, stores, keys to write and to read with. */
static void check_service(const json_t *facts, json_t *checks)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(facts, "pools"), i, item)
    {
        uint64_t workers = json_u64_or(item, "workers", 0);
        bool paused = json_bool_or(item, "paused", false);
        check(checks,
              workers == 0 ? FAIL
              : paused     ? WARN
                           : OK,
              "pool",
              workers == 0 ? "start a holdfast-worker that serves it" : "it waits to be resumed",
              "%.*s: %" PRIu64 " sources, %" PRIu64 " live workers%s",
              TEXT_ARG(json_text_or(item, "name", TEXT("?"))), json_u64_or(item, "sources", 0),
              workers, paused ? ", paused" : "");
    }
    json_array_foreach(json_object_get(facts, "stores"), i, item)
    {
        uint64_t workers = json_u64_or(item, "workers", 0);
        check(checks, workers == 0 ? FAIL : OK, "store",
              "let a worker's `allow: {stores: …}` name it",
              "%.*s: %" PRIu64 " live workers may use it",
              TEXT_ARG(json_text_or(item, "name", TEXT("?"))), workers);
    }
    json_array_foreach(json_object_get(facts, "key_sets"), i, item)
    {
        Text name = json_text_or(item, "name", TEXT(""));
        uint64_t writers = json_u64_or(item, "writers", 0);
        uint64_t readers = json_u64_or(item, "readers", 0);
        check(checks,
              writers == 0   ? FAIL
              : readers == 0 ? WARN
                             : OK,
              "key set",
              writers == 0
                  ? "put its writer key on a worker"
                  : "nothing can be verified or restored before a worker has its reader key",
              "%.*s: %" PRIu64 " live workers write with it, %" PRIu64 " read",
              TEXT_ARG(name.len == 0 ? TEXT("(no encryption)") : name), writers, readers);
    }
}

/* Who would do each source's backup: what no worker can is told before its next slot is missed. */
static void check_sources(const json_t *facts, json_t *checks)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(facts, "unserved"), i, item)
    {
        scoped(buf_free) Buf others = {0};
        uint64_t sources = json_u64_or(item, "sources", 1);
        if (sources > 1)
            buf_printf(&others, " and %" PRIu64 " more", sources - 1);
        check(checks, FAIL, "source", "give one of these workers what it lacks, or start another",
              "%.*s%s: %.*s", TEXT_ARG(json_text_or(item, "source", TEXT("?"))), buf_cstr(&others),
              TEXT_ARG(json_text_or(item, "text", TEXT("?"))));
    }
}

static void check_repositories(const json_t *facts, json_t *checks)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(facts, "repositories"), i, item)
    {
        Text store = json_text_or(item, "store", TEXT("?"));
        uint64_t damaged = json_u64_or(item, "damaged", 0);
        uint64_t orphans = json_u64_or(item, "orphans", 0);
        uint64_t strangers = json_u64_or(item, "unknown_backups", 0);
        if (json_bool_or(item, "rolled_back", false))
            check(checks, FAIL, "repository",
                  "holdfast run every source of it: it stores all again",
                  "%.*s or the catalogue was set back to an earlier day", TEXT_ARG(store));
        else if (damaged != 0)
            check(checks, FAIL, "repository", "holdfast verify each backup: what is whole stays",
                  "%.*s holds %" PRIu64 " damaged packs", TEXT_ARG(store), damaged);
        else if (strangers != 0)
            check(checks, FAIL, "repository", "holdfast catalogue merge the store",
                  "%.*s holds %" PRIu64 " backups that the catalogue does not know",
                  TEXT_ARG(store), strangers);
        else if (orphans != 0)
            check(checks, WARN, "repository", "holdfast orphan list: what keeps them",
                  "%.*s holds %" PRIu64 " objects that no row accounts for and that do not go",
                  TEXT_ARG(store), orphans);
        else if (!json_bool_or(item, "bound", false))
            check(checks, WARN, "repository", "holdfast run one of its sources",
                  "%.*s was never opened by a worker", TEXT_ARG(store));
        else
            check(checks, OK, "repository", "", "%.*s: no damage is known", TEXT_ARG(store));
    }
}

/* Which sources were never restored, or not as they should be: success of a backup says neither. */
static void check_proofs(const json_t *facts, json_t *checks)
{
    const json_t *proofs = json_object_get(facts, "proofs");
    uint64_t sources = json_u64_or(proofs, "sources", 0);
    uint64_t never = json_u64_or(proofs, "never", 0), failed = json_u64_or(proofs, "failed", 0);
    uint64_t slow = json_u64_or(proofs, "slow", 0);
    if (failed > 0)
        check(checks, FAIL, "proof", "holdfast proof: what was wrong with each",
              "%" PRIu64 " sources were restored and were not what they should be, as %.*s", failed,
              TEXT_ARG(json_text_or(proofs, "failed_which", TEXT("?"))));
    if (slow > 0)
        check(checks, WARN, "proof", "holdfast proof: seconds beside each RTO",
              "%" PRIu64 " sources take longer to restore than their RTO allows, as %.*s", slow,
              TEXT_ARG(json_text_or(proofs, "slow_which", TEXT("?"))));
    if (never > 0)
        check(checks, json_u64_or(proofs, "sandboxes", 0) > 0 ? WARN : OK, "proof",
              "holdfast verify SOURCE --level restore, or verify: {restore: …} in its policy",
              "%" PRIu64 " of %" PRIu64 " sources were never restored to prove them, as %.*s",
              never, sources, TEXT_ARG(json_text_or(proofs, "never_which", TEXT("?"))));
    else if (failed == 0 && slow == 0 && sources > 0)
        check(checks, OK, "proof", "", "each of %" PRIu64 " sources was proved by restoring it",
              sources);
}

/* Does retention act where it is asked for? One that silently does nothing fills the store. */
static void check_retention(const json_t *facts, json_t *checks)
{
    const json_t *retention = json_object_get(facts, "retention");
    uint64_t asked = json_u64_or(retention, "asked", 0),
             overdue = json_u64_or(retention, "overdue", 0),
             silent = json_u64_or(retention, "silent", 0),
             frozen = json_u64_or(retention, "frozen", 0);
    Text which = json_text_or(retention, "which", TEXT(""));
    scoped(buf_free) Buf next = {0};
    buf_printf(&next, "holdfast retention preview %.*s", TEXT_ARG(which));
    if (asked == 0)
        check(checks, OK, "retention", "", "no policy has a keep rule: everything is kept");
    else if (json_u64_or(retention, "pruners", 0) == 0)
        check(checks, WARN, "retention",
              "holdfast-worker key enroll HOST --role prune, then holdfast-scheduler enroll NAME "
              "--prune",
              "no live worker may delete: nothing that expires leaves its store");
    else if (overdue != 0 || silent != 0 || frozen != 0)
        check(checks, WARN, "retention", buf_cstr(&next),
              "%" PRIu64 " backups were to go and are still there, %" PRIu64
              " sources had no run for two days, %" PRIu64 " are frozen",
              overdue, silent, frozen);
    else
        check(checks, OK, "retention", "", "it acts on %" PRIu64 " sources and stores", asked);
}

/* A log without a hole is what a restore to an instant stands on. */
static void check_logs(const json_t *facts, json_t *checks)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(facts, "logs"), i, item)
    {
        Text source = json_text_or(item, "source", TEXT("?"));
        Text trouble = json_text_or(item, "trouble", TEXT(""));
        Text to = json_text_or(item, "to_at", TEXT("?"));
        scoped(buf_free) Buf next = {0};
        buf_printf(&next, "holdfast windows %.*s; a new base backup begins a new window",
                   TEXT_ARG(source));
        if (trouble.len > 0)
            check(checks, FAIL, "log", buf_cstr(&next), "%.*s: %.*s", TEXT_ARG(source),
                  TEXT_ARG(trouble));
        else if (json_real_or(item, "keeps", 0) < 0)
            check(checks, WARN, "log",
                  "set max_slot_wal_keep_size on its server below the room on its disk",
                  "%.*s: its server keeps any amount of log for the slot, until its disk is full, "
                  "when nothing is fetched; %" PRIu64 " bytes were held back last time",
                  TEXT_ARG(source), json_u64_or(item, "lag", 0));
        else
            check(checks, OK, "log", "", "%.*s can be restored to any instant until %.*s",
                  TEXT_ARG(source), TEXT_ARG(to));
    }
    json_array_foreach(json_object_get(facts, "slots_left"), i, item)
        check(checks, FAIL, "slot",
              "see that a worker reaches that server; or drop it there: SELECT "
              "pg_drop_replication_slot('…')",
              "%.*s on %.*s keeps log that nobody fetches, since %.*s: %.*s",
              TEXT_ARG(json_text_or(item, "slot", TEXT("?"))),
              TEXT_ARG(json_text_or(item, "server", TEXT("?"))),
              TEXT_ARG(json_text_or(item, "left_at", TEXT("?"))),
              TEXT_ARG(json_text_or(item, "text", TEXT("?"))));
}

static void check_rest(const ApiCall *call, const json_t *facts, int64_t now_ns, json_t *checks)
{
    uint64_t waiting = json_u64_or(facts, "audit_waiting", 0);
    int64_t left_s = (call->token.expires_ns - now_ns) / 1000000000;
    check(checks, json_u64_or(facts, "policy", 0) == 0 ? WARN : OK, "policy",
          "holdfast policy apply fleet.yaml", "version %" PRIu64 ", %" PRIu64 " sources",
          json_u64_or(facts, "policy", 0), json_u64_or(facts, "sources", 0));
    check(checks, waiting == 0 ? OK : WARN, "audit",
          "a leading scheduler links them; see the check of the scheduler",
          "%" PRIu64 " events wait to be chained", waiting);
    check(checks, left_s < TOKEN_ENDS_S ? WARN : OK, "token",
          "holdfast token create, before this one ends", "%s ends in %" PRId64 " days",
          call->token.name, left_s / 86400);
}

bool api_doctor(ApiCall *call, Err *err)
{
    size_t i;
    json_t *worker;
    CoreState state;
    int64_t now_ns;
    scoped(buf_free) Buf body = {0};
    scoped(json_release) json_t *facts = NULL;
    core_state(call->params->core, &state);
    if (!catalog_view(call->catalog, VIEW_DOCTOR, NULL, &body, err) ||
        !json_parse(buf_text(&body), &facts, err) ||
        !catalog_server_now(call->catalog, &now_ns, err))
        return false;
    json_t *checks = json_array();
    check_scheduler(&state, facts, checks);
    check_catalogue(&state, facts, clock_wall_ns() - now_ns, checks);
    check_redis(&state, checks);
    json_array_foreach(json_object_get(facts, "workers"), i, worker)
    {
        check_worker(worker, checks);
    }
    if (json_array_size(json_object_get(facts, "workers")) == 0)
        check(checks, FAIL, "workers", "holdfast-scheduler enroll, then start holdfast-worker",
              "none is enrolled: nothing can run");
    check_service(facts, checks);
    check_sources(facts, checks);
    check_repositories(facts, checks);
    check_retention(facts, checks);
    check_logs(facts, checks);
    check_proofs(facts, checks);
    check_rest(call, facts, now_ns, checks);
    json_t *report = json_pack("{s:s, s:o, s:o}", "schema", "holdfast.doctor/1", "now",
                               json_incref(json_object_get(facts, "now")), "checks", checks);
    json_canonical(report, &call->answer->body);
    json_decref(report);
    return true;
}
