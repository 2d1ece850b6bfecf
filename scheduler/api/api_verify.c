/* SPDX-License-Identifier: Apache-2.0
 * Checks of what all backups of a source need: one by hand, and how the scheduled ones are; and
 * which backup of each source was last proved by restoring it. */
#include "scheduler/api/api.h"

#include "common/base/json.h"
#include "common/base/units.h"
#include "common/catalog/catalog_verify.h"

bool api_source_verify(ApiCall *call, Err *err)
{
    JobCreated created;
    int64_t within_ms = 0;
    Text within = json_text_or(call->body, "within", TEXT(""));
    VerifyAsk ask = {.source = call->parts[0],
                     .level = json_text_or(call->body, "level", TEXT("stored")),
                     .store = json_text_or(call->body, "store", TEXT("")),
                     .pool = json_text_or(call->body, "pool", TEXT("")),
                     .actor = text_of(call->token.name),
                     .idempotency_key = api_key(call)};
    if (within.len > 0 && !units_duration_ms(within, &within_ms, err)) {
        err->code = ERR_USAGE;
        return err_note(err, "within");
    }
    ask.within_s = (uint64_t)within_ms / 1000;
    return catalog_verify_ask(call->catalog, &ask, &created, err) &&
           api_job_asked(call, &created, "source.verify", call->parts[0], TEXT(""), err);
}

bool api_verification_list(ApiCall *call, Err *err)
{
    scoped(buf_free) Buf source = {0};
    ViewArgs args = {0};
    api_query(call, "source", &source);
    args.name = buf_text(&source);
    return catalog_view(call->catalog, VIEW_VERIFICATIONS, &args, &call->answer->body, err);
}

bool api_window_list(ApiCall *call, Err *err)
{
    scoped(buf_free) Buf source = {0};
    ViewArgs args = {.limit = 1000};
    api_query(call, "source", &source);
    args.name = buf_text(&source);
    return catalog_view(call->catalog, VIEW_WINDOWS, &args, &call->answer->body, err);
}

bool api_proof_list(ApiCall *call, Err *err)
{
    scoped(buf_free) Buf source = {0};
    ViewArgs args = {0};
    api_query(call, "source", &source);
    args.name = buf_text(&source);
    return catalog_view(call->catalog, VIEW_PROOFS, &args, &call->answer->body, err);
}
