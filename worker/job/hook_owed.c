/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/hook_owed.h"

#include "common/base/json.h"

static const json_t *hooks_of(const json_t *order)
{
    return json_object_get(json_object_get(order, "policy"), "hooks");
}

static bool is_kind(const json_t *order, const char *kind)
{
    return text_equal(json_text_or(order, "kind", TEXT("")), text_of(kind));
}

bool hook_owed_after(const json_t *order)
{
    const json_t *after = json_object_get(hooks_of(order), "after");
    return is_kind(order, "backup") && json_bool_or(after, "always", false);
}

bool hook_owed_release(const json_t *order)
{
    const json_t *seat = json_object_get(json_object_get(order, "params"), "group");
    return is_kind(order, "backup") && json_bool_or(seat, "lead", false) &&
           json_text_or(seat, "release", TEXT("")).len > 0;
}

bool hook_owed_apps(const json_t *order)
{
    const json_t *apps = json_object_get(hooks_of(order), "apps");
    return is_kind(order, "restore") && json_array_size(apps) > 0 &&
           json_bool_or(json_object_get(order, "params"), "in_place", false);
}

uint64_t hook_owed_s(const json_t *order)
{
    const json_t *apps = json_object_get(hooks_of(order), "apps");
    const json_t *seat = json_object_get(json_object_get(order, "params"), "group");
    uint64_t sum = hook_owed_release(order) ? json_u64_or(seat, "timeout_s", 60) : 0;
    for (size_t i = 0; hook_owed_apps(order) && i < json_array_size(apps); i++)
        sum += json_u64_or(json_array_get(apps, i), "timeout_s", 60);
    return sum;
}
