/* SPDX-License-Identifier: Apache-2.0
 * What an operator holds back and lets go again: a source's slots, a pool's tickets, a worker. None
 * of it stops what runs, and letting go starts nothing that was not due anyway. */
#include "scheduler/api/api.h"

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/units.h"
#include "common/catalog/catalog_plan.h"
#include "common/catalog/catalog_policy.h"

static const int64_t NS_A_MS = 1000000;
/* A hundred years: the sum stays an instant that nanoseconds can count. */
static const int64_t LONGEST_MS = INT64_C(100) * 366 * 86400 * 1000;

static bool say(ApiCall *call, const char *state)
{
    core_wake(call->params->core);
    buf_printf(&call->answer->body, "{\"state\":\"%s\"}", state);
    return true;
}

static Text actor(const ApiCall *call)
{
    return text_of(call->token.name);
}

static Text reason(const ApiCall *call)
{
    return json_text_or(call->body, "reason", TEXT(""));
}

/* A pause has an end: what is held back for ever is taken out of the policy. */
static bool pause_end(const ApiCall *call, int64_t *until_ns, Err *err)
{
    Text until = json_text_or(call->body, "until", TEXT("")),
         span = json_text_or(call->body, "for", TEXT(""));
    int64_t now_ns = clock_wall_ns(), at_s = 0, ms = 0;
    scoped(buf_free) Buf text = {0};
    if ((until.len == 0) == (span.len == 0))
        return err_set(err, ERR_USAGE, "request.until",
                       "say until when: either until, an instant, or for, as 2h");
    if (span.len != 0) {
        if (!units_duration_ms(span, &ms, err))
            return err_set(err, ERR_USAGE, "request.for", "'%.*s' is no time; write 2h or 30m",
                           TEXT_ARG(span));
        if (ms > LONGEST_MS)
            return err_set(err, ERR_USAGE, "request.for",
                           "%.*s is longer than a hundred years: take it out of the policy",
                           TEXT_ARG(span));
        *until_ns = now_ns + ms * NS_A_MS;
    } else {
        buf_add_text(&text, until);
        if (!clock_parse(buf_cstr(&text), &at_s))
            return err_set(err, ERR_USAGE, "request.until",
                           "'%.*s' is not an instant; write 2026-11-20T18:00Z", TEXT_ARG(until));
        *until_ns = at_s * 1000000000;
    }
    return *until_ns > now_ns || err_set(err, ERR_USAGE, "request.until", "that time is over");
}

bool api_source_pause(ApiCall *call, Err *err)
{
    int64_t until_ns;
    return pause_end(call, &until_ns, err) &&
           catalog_source_pause(call->catalog, call->parts[0], until_ns, reason(call), actor(call),
                                err) &&
           say(call, "paused");
}

bool api_source_resume(ApiCall *call, Err *err)
{
    return catalog_source_resume(call->catalog, call->parts[0], reason(call), actor(call), err) &&
           say(call, "resumed");
}

bool api_queue_pause(ApiCall *call, Err *err)
{
    return catalog_pool_pause(call->catalog, call->parts[0], true, reason(call), actor(call),
                              err) &&
           say(call, "paused");
}

bool api_queue_resume(ApiCall *call, Err *err)
{
    return catalog_pool_pause(call->catalog, call->parts[0], false, reason(call), actor(call),
                              err) &&
           say(call, "resumed");
}

bool api_worker_drain(ApiCall *call, Err *err)
{
    return catalog_worker_drain(call->catalog, call->parts[0], true, reason(call), actor(call),
                                err) &&
           say(call, "draining");
}

bool api_worker_resume(ApiCall *call, Err *err)
{
    return catalog_worker_drain(call->catalog, call->parts[0], false, reason(call), actor(call),
                                err) &&
           say(call, "resumed");
}
