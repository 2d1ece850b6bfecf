/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/agent/always.h"

bool always_wanted(const json_t *order)
{
    const json_t *hooks = json_object_get(json_object_get(order, "policy"), "hooks");
    return json_is_true(json_object_get(json_object_get(hooks, "after"), "always"));
}
