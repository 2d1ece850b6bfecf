/* SPDX-License-Identifier: Apache-2.0
 * Is it alive, can it answer: for whoever restarts it and whoever sends requests its way. */
#include "scheduler/api/api.h"

static void describe(ApiCall *call, CoreState *state)
{
    core_state(call->params->core, state);
    buf_printf(&call->answer->body, "{\"catalogue\":%s,\"redis\":%s,\"leads\":%s}",
               state->catalogue_up ? "true" : "false", state->redis_up ? "true" : "false",
               state->leads ? "true" : "false");
}

bool api_healthz(ApiCall *call, Err *err)
{
    CoreState state;
    (void)err;
    describe(call, &state);
    return true;
}

/* Without Redis it answers all the same, and says what is wrong: that is when it is asked most. */
bool api_readyz(ApiCall *call, Err *err)
{
    CoreState state;
    describe(call, &state);
    return state.catalogue_up || err_set(err, ERR_UNREACHABLE, "catalogue.unreachable",
                                         "the catalogue is away: %.380s", state.catalogue_error);
}
