/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/agent/always.h"

#include "worker/job/hook_owed.h"

int64_t always_most_ms(const json_t *order, int64_t more)
{
    return more + (int64_t)hook_owed_s(order) * 1000;
}

bool always_wanted(const json_t *order)
{
    return hook_owed_after(order) || hook_owed_apps(order) || hook_owed_release(order);
}
