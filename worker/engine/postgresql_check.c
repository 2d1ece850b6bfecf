/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_check.h"

#include <string.h>

bool postgresql_check(PostgresqlChecks *checks, const char *name, bool ok, const char *next,
                      const char *text)
{
    checks->ok = checks->ok && ok;
    json_array_append_new(checks->list, json_pack("{s:s, s:b, s:s, s:s}", "name", name, "ok",
                                                  (int)ok, "text", text, "next", ok ? "" : next));
    return ok;
}

void postgresql_check_err(PostgresqlChecks *checks, const char *name, const Err *err)
{
    static const char word[] = "; next: ";
    Err cut = *err;
    char *next = strstr(cut.text, word);
    if (next != NULL)
        *next = 0;
    postgresql_check(checks, name, false, next == NULL ? cut.text : next + strlen(word), cut.text);
}
