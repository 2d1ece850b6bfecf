/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/ctl.h"

bool ctl_doctor(Ctl *ctl, Err *err)
{
    json_t *report = NULL;
    size_t i;
    json_t *check;
    if (!client_get(ctl->client, "/doctor", &report, err))
        return false;
    if (ctl_wants_json(ctl))
        print_json(stdout, report);
    json_array_foreach(json_object_get(report, "checks"), i, check)
    {
        const char *state = print_text_at(check, "state");
        const char *hint = print_text_at(check, "next");
        if (strcmp(state, "FAIL") == 0)
            ctl->exit_code = 1;
        if (ctl_wants_json(ctl))
            continue;
        printf("%-4s %-28s ", state, print_text_at(check, "name"));
        print_safe(stdout, print_text_at(check, "text"));
        printf("%s%s\n", hint[0] == 0 ? "" : " → ", hint);
    }
    json_decref(report);
    return true;
}
