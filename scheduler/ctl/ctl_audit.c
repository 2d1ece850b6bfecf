/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/ctl.h"

/* Something to see, as --check has it. */
enum { EXIT_SEE = 10 };

bool ctl_audit_verify(Ctl *ctl, Err *err)
{
    static const PrintColumn columns[] = {
        {"SEQ", "seq", AS_COUNT},
        {"AT", "at", AS_WHEN},
        {"WHAT", "action", AS_TEXT},
        {"FINDING", "finding", AS_TEXT},
    };
    json_t *chain = NULL;
    if (!client_get(ctl->client, "/audit/chain", &chain, err))
        return false;
    bool whole = json_is_true(json_object_get(chain, "whole"));
    ctl->exit_code = whole ? 0 : EXIT_SEE;
    if (ctl_wants_json(ctl))
        print_json(stdout, chain);
    else if (!whole)
        print_table(stdout, json_object_get(chain, "breaks"), columns,
                    sizeof columns / sizeof *columns, ctl->args->utc);
    else {
        printf("whole: %lld events, head ", (long long)print_number_at(chain, "events"));
        print_safe(stdout, print_text_at(chain, "head"));
        printf("\n");
    }
    json_decref(chain);
    return true;
}

#include <stdlib.h>

bool ctl_audit_log(Ctl *ctl, Err *err)
{
    static const PrintColumn columns[] = {
        {"SEQ", "seq", AS_COUNT},      {"AT", "at", AS_WHEN},         {"WHO", "actor", AS_TEXT},
        {"VIA", "via", AS_TEXT},       {"WHAT", "action", AS_TEXT},   {"OBJECT", "object", AS_TEXT},
        {"RESULT", "result", AS_TEXT}, {"REASON", "reason", AS_TEXT},
    };
    json_t *items = NULL;
    size_t limit;
    scoped(buf_free) Buf path = {0};
    buf_printf(&path, "/audit/events");
    ctl_query(&path, "action", ctl->args->action);
    ctl_query(&path, "since", ctl->args->since);
    ctl_query(&path, "until", ctl->args->until);
    bool done = ctl_limit(ctl, 50, &limit, err) &&
                client_list(ctl->client, buf_cstr(&path), limit, &items, err);
    if (done)
        ctl_list(ctl, items, columns, sizeof columns / sizeof *columns, "seq");
    json_decref(items);
    return done;
}
