/* SPDX-License-Identifier: Apache-2.0
 * protocol-describe SECTION — prints the rows of a table as Markdown for protocol/README.md.
 * Sections: errors, lifecycle, messages, disk, routes, api. tests/lint/docs.py compares. */
#include "protocol/err.h"
#include "protocol/lifecycle.h"

#include <ctype.h>
#include <stdio.h>

static void describe_errors(void)
{
    puts("| name | may succeed later | exit code | HTTP | meaning |\n|---|---|---|---|---|");
    for (ErrCode code = ERR_NONE; code < ERR_COUNT; code++)
        printf("| `%s` | %s | %d | %d | %s |\n", err_name(code), err_retry(code) ? "yes" : "no",
               err_exit_code(code), err_http_status(code), err_meaning(code));
}

/* EVENT words as the drawing writes them. */
static const char *lower(const char *word)
{
    static char out[32];
    size_t at = 0;
    for (; word[at] != 0 && at < sizeof out - 1; at++)
        out[at] = word[at] == '_' ? ' ' : (char)tolower((unsigned char)word[at]);
    out[at] = 0;
    return out;
}

static void describe_move(JobState from, const char *event, JobState to)
{
    printf("  %s --> %s: %s\n", lifecycle_name(from), lifecycle_name(to), lower(event));
}

static void describe_lifecycle(void)
{
    puts("```mermaid\nstateDiagram-v2\n  [*] --> pending");
#define STATE(...)
#define MOVE(from, event, to, why) describe_move(JOB_##from, #event, JOB_##to);
#include "protocol/lifecycle.def"
#undef STATE
#undef MOVE
    puts("```\n\n| state | ends | meaning |\n|---|---|---|");
#define STATE(symbol, name, terminal, meaning)                                                     \
    printf("| `%s` | %s | %s |\n", name, terminal ? "yes" : "no", meaning);
#define MOVE(...)
#include "protocol/lifecycle.def"
#undef STATE
#undef MOVE
    puts("\n| from | event | to | why |\n|---|---|---|---|");
#define STATE(...)
#define MOVE(from, event, to, why)                                                                 \
    printf("| `%s` | %s | `%s` | %s |\n", lifecycle_name(JOB_##from), lower(#event),               \
           lifecycle_name(JOB_##to), why);
#include "protocol/lifecycle.def"
#undef STATE
#undef MOVE
}

static void describe_messages(void)
{
#define MESSAGE_BEGIN(Type, name, id, doc)                                                         \
    printf("**%s** (%d), %s\n\n| key | type | name | meaning |\n|---|---|---|---|\n", #Type, id,   \
           doc);
#define FIELD(tag, type, name, doc) printf("| %d | %s | `%s` | %s |\n", tag, #type, #name, doc);
#define MESSAGE_END(Type, name)     puts("");
#include "protocol/messages.def"
#undef MESSAGE_BEGIN
#undef FIELD
#undef MESSAGE_END
}

static void describe_disk(void)
{
    puts("| record | magic | version | where | meaning |\n|---|---|---|---|---|");
#define RECORD(symbol, magic, version, where, meaning)                                             \
    printf("| %s | `%s` | %d | %s | %s |\n", lower(#symbol), magic, version, where, meaning);
#include "protocol/disk.def"
#undef RECORD
}

static void describe_routes(void)
{
    puts("| verb | path below /api/v1 | least role | meaning |\n|---|---|---|---|");
#define ROUTE(symbol, verb, path, role, meaning)                                                   \
    printf("| %s | `%s` | %s | %s |\n", verb, path, role, meaning);
#include "protocol/routes.def"
#undef ROUTE
}

static void describe_exchange(void)
{
    puts("| route | what | name | type | meaning |\n|---|---|---|---|---|");
#define GIVES(route, status, shape, resource)                                                      \
    printf("| %s | gives %d | %s | %s | |\n", #route, status, #resource, lower(#shape));
#define TAKES(route, place, name, type, meaning)                                                   \
    printf("| %s | takes, %s | `%s` | %s | %s |\n", #route, lower(#place), #name, #type, meaning);
#include "protocol/exchange.def"
#undef GIVES
#undef TAKES
}

static void describe_api(void)
{
    puts("| resource | field | type | meaning |\n|---|---|---|---|");
#define API(resource, field, type, meaning)                                                        \
    printf("| %s | `%s` | %s | %s |\n", #resource, #field, #type, meaning);
#include "protocol/api.def"
#undef API
}

static const struct {
    const char *name;
    void (*print)(void);
} sections[] = {
    {"errors", describe_errors},     {"lifecycle", describe_lifecycle},
    {"messages", describe_messages}, {"disk", describe_disk},
    {"routes", describe_routes},     {"api", describe_api},
    {"exchange", describe_exchange},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < sizeof sections / sizeof *sections; i++)
        if (strcmp(argv[1], sections[i].name) == 0) {
            sections[i].print();
            return fflush(stdout) == 0 ? 0 : 1;
        }
    fprintf(stderr,
            "usage: protocol-describe errors|lifecycle|messages|disk|routes|exchange|api\n");
    return 2;
}
