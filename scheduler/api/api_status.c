/* SPDX-License-Identifier: Apache-2.0
 * The verdict on the fleet: what the catalogue knows of its sources, and what this scheduler knows
 * of its own surroundings. Each thing that needs attention comes with what to type next. */
#include "common/base/json.h"
#include "scheduler/api/api.h"

#include <inttypes.h>

/* A due job that nobody took for so long is worth a look. */
enum { WAITS_TOO_LONG_S = 600 };

static void attend(json_t *status, const char *part, const char *state, const char *code,
                   const char *next, const char *format, ...) PRINTF_LIKE(6, 7);
static void attend(json_t *status, const char *part, const char *state, const char *code,
                   const char *next, const char *format, ...)
{
    scoped(buf_free) Buf text = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    json_t *item = json_pack("{s:s, s:s, s:{s:s, s:s}, s:[s]}", "part", part, "state", state,
                             "cause", "code", code, "message", buf_cstr(&text), "next", next);
    if (item == NULL)
        return;
    json_array_append_new(json_object_get(status, "attention"), item);
    json_object_set_new(status, "ok", json_false());
}

/* A scheduled check that found a backup broken, or that is late. */
static void attend_to_check(json_t *status, const json_t *item)
{
    uint64_t failed = json_u64_or(item, "failed", 0);
    Text source = json_text_or(item, "source", TEXT("?"));
    Text level = json_text_or(item, "level", TEXT("?"));
    Text store = json_text_or(item, "store", TEXT("?"));
    if (failed != 0)
        attend(status, "verification", "failed", "verify.damaged", "holdfast damage",
               "%" PRIu64 " backups of %.*s in %.*s have lost something (check of %.*s)", failed,
               TEXT_ARG(source), TEXT_ARG(store), TEXT_ARG(level));
    else
        attend(status, "verification", "overdue", "verify.overdue", "holdfast verification list",
               "the check of %.*s of %.*s in %.*s is late: %.*s", TEXT_ARG(level), TEXT_ARG(source),
               TEXT_ARG(store), TEXT_ARG(json_text_or(item, "overdue", TEXT(""))));
}

/* A source whose last try to restore it ended badly, or took longer than it may. */
static void attend_to_proof(json_t *status, const json_t *item)
{
    Text source = json_text_or(item, "source", TEXT("?"));
    Text verdict = json_text_or(item, "verdict", TEXT("?"));
    scoped(buf_free) Buf code = {0};
    scoped(buf_free) Buf next = {0};
    buf_printf(&code, "proof.%.*s", TEXT_ARG(verdict));
    buf_printf(&next, "holdfast proof %.*s", TEXT_ARG(source));
    if (text_equal(verdict, TEXT("slow")))
        attend(status, "proof", "slow", buf_cstr(&code), buf_cstr(&next),
               "%.*s was ready %" PRIu64 " s after its restore began, its RTO is %" PRIu64 " s",
               TEXT_ARG(source),
               (uint64_t)json_number_value(json_object_get(item, "ready_seconds")),
               json_u64_or(item, "rto_seconds", 0));
    else if (text_equal(verdict, TEXT("overdue")))
        attend(status, "proof", "overdue", buf_cstr(&code), buf_cstr(&next),
               "%.*s was to be proved by restoring it, and was not", TEXT_ARG(source));
    else
        attend(status, "proof", json_string_value(json_object_get(item, "verdict")),
               buf_cstr(&code), buf_cstr(&next), "restoring %.*s to prove it: %.*s",
               TEXT_ARG(source),
               TEXT_ARG(json_text_or(item, "last_text", TEXT("it did not end well"))));
}

/* The worst of what is wrong with one repository. */
static void attend_to_repository(json_t *status, const json_t *item)
{
    Text store = json_text_or(item, "store", TEXT("?"));
    if (json_bool_or(item, "rolled_back", false))
        attend(status, "store", "rolled_back", "repo.rolled_back", "holdfast backup list",
               "store %.*s or the catalogue was set back to an earlier day", TEXT_ARG(store));
    else if (json_u64_or(item, "unknown_backups", 0) > 0)
        attend(status, "store", "unknown_backups", "repo.unknown_backups", "holdfast orphan list",
               "store %.*s holds %" PRIu64 " backups that the catalogue does not know: a merge "
               "brings them back",
               TEXT_ARG(store), json_u64_or(item, "unknown_backups", 0));
    else
        attend(status, "store", "damaged", "repo.damaged", "holdfast backup list",
               "store %.*s holds damaged packs; holdfast damage says which backups they are of",
               TEXT_ARG(store));
}

static void attend_to_plant(json_t *status, const CoreState *state)
{
    size_t i;
    json_t *item;
    uint64_t waits = json_u64_or(json_object_get(status, "queue"), "oldest_seconds", 0);
    if (!state->redis_up)
        attend(status, "redis", "down", "redis.down", "holdfast doctor", "%s",
               state->redis_error[0] == 0 ? "Redis does not answer" : state->redis_error);
    if (json_is_null(json_object_get(status, "scheduler")))
        attend(status, "scheduler", "no_leader", "scheduler.no_leader", "holdfast doctor",
               "no scheduler leads: nothing is started");
    json_array_foreach(json_object_get(status, "unserved"), i, item)
    {
        attend(status, "workers", "down", "pool.unserved", "holdfast worker list",
               "no live worker serves pool %.*s, which %" PRIu64 " sources wait for",
               TEXT_ARG(json_text_or(item, "pool", TEXT("?"))), json_u64_or(item, "sources", 0));
    }
    if (waits > WAITS_TOO_LONG_S)
        attend(status, "queue", "late", "queue.late", "holdfast queue list",
               "a job that is due has waited for %" PRIu64 " minutes", waits / 60);
    json_array_foreach(json_object_get(status, "stalled"), i, item)
    {
        scoped(buf_free) Buf next = {0};
        buf_printf(&next, "holdfast job logs %s", json_string_value(item));
        attend(status, "jobs", "stalled", "job.stalled", buf_cstr(&next),
               "%s runs and has not moved for too long", json_string_value(item));
    }
    json_array_foreach(json_object_get(status, "retention"), i, item)
    {
        Text frozen = json_text_or(item, "frozen", TEXT(""));
        attend(status, "retention", "overdue", "retention.overdue",
               frozen.len == 0 ? "holdfast job list --kind retention"
                               : "holdfast retention resume --reason",
               "%" PRIu64 " backups in %.*s were to go %" PRIu64
               " hours ago and are still there%s%.*s",
               json_u64_or(item, "overdue", 0), TEXT_ARG(json_text_or(item, "store", TEXT("?"))),
               json_u64_or(item, "seconds", 0) / 3600, frozen.len == 0 ? "" : ": frozen, ",
               TEXT_ARG(frozen));
    }
    json_array_foreach(json_object_get(status, "verification"), i, item)
    {
        attend_to_check(status, item);
    }
    json_array_foreach(json_object_get(status, "proofs"), i, item)
    {
        attend_to_proof(status, item);
    }
    json_array_foreach(json_object_get(status, "damaged"), i, item)
    {
        attend_to_repository(status, item);
    }
}

bool api_status(ApiCall *call, Err *err)
{
    CoreState state;
    scoped(buf_free) Buf body = {0};
    scoped(json_release) json_t *status = NULL;
    core_state(call->params->core, &state);
    if (!catalog_view(call->catalog, VIEW_STATUS, NULL, &body, err) ||
        !json_parse(buf_text(&body), &status, err) ||
        !api_schedule_next(call, json_object_get(status, "freshness"), err))
        return false;
    attend_to_plant(status, &state);
    json_canonical(status, &call->answer->body);
    return true;
}
