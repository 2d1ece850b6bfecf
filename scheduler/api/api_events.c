/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/api/api.h"
#include "scheduler/api/feed.h"

#include <stdlib.h>

#define KINDS "job.state,job.progress,job.finished,source.state,worker.state,alert,reset"

/* Where it goes on: what the client heard last, by header as browsers send it, or by ?after=. */
static bool place_of(const ApiCall *call, uint64_t *after, Err *err)
{
    scoped(buf_free) Buf text = {0};
    *after = FEED_NOW;
    if (call->http->last_event_id != NULL)
        buf_printf(&text, "%s", call->http->last_event_id);
    else if (!api_query(call, "after", &text))
        return true;
    if (text.len == 0 || text.len > 18 || strspn(buf_cstr(&text), "0123456789") != text.len)
        return err_set(err, ERR_USAGE, "request.last_event_id",
                       "Last-Event-ID is the id of an event that was heard: a number");
    *after = strtoull(buf_cstr(&text), NULL, 10);
    return true;
}

bool api_events(ApiCall *call, Err *err)
{
    bool more;
    uint64_t after;
    ServerAnswer *answer = call->answer;
    ServerWish *wish = &answer->listen;
    api_query(call, "source", &wish->sources);
    api_query(call, "job", &wish->jobs);
    if (call->params->feed == NULL)
        return err_set(err, ERR_UNREACHABLE, "events.away", "this server tells no events");
    if (!place_of(call, &after, err) || !api_choice(call, "event", KINDS, &wish->kinds, err))
        return false;
    if (!feed_begin(call->params->feed, call->catalog, after, wish, &answer->body, &more, err)) {
        wish->on = false;
        return false;
    }
    answer->type = "text/event-stream";
    wish->on = !more; /* the client comes again for the rest */
    return true;
}
