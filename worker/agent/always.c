/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/agent/always.h"

#include "worker/job/hook_owed.h"

bool always_wanted(const json_t *order)
{
    return hook_owed_after(order) || hook_owed_apps(order);
}
