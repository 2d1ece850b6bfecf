/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/policy_file.h"

#include "common/base/include.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/catalog/catalog_policy.h"
#include "scheduler/plan/fleet.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Reads and compiles; problems are printed to stderr, with paths that can be clicked. */
static bool compile(const char *path, Buf *document, Buf *summary, Err *err)
{
    IncludeFiles files = {0};
    YamlProblems problems = {0};
    FleetCount counted = {0};
    FleetFacts facts = {.now_s = time(NULL)};
    scoped(buf_free) Buf printed = {0};
    bool good = include_read(path, &files, err);
    if (good) {
        FleetFile *rows = mem_array(FleetFile, files.count);
        for (size_t i = 0; i < files.count; i++)
            rows[i] = (FleetFile){files.rows[i].name, buf_text(&files.rows[i].text)};
        good = fleet_compile_files(rows, files.count, &facts, document, &counted, &problems);
        mem_free(rows);
        yaml_problems_below(&problems, files.directory);
        yaml_problems_print(&problems, &printed);
        fputs(buf_cstr(&printed), stderr);
        fleet_summary(path, &counted, &problems, summary);
        if (!good)
            err_set(err, ERR_INVALID, "policy.invalid", "%s is not valid", path);
    }
    yaml_problems_free(&problems);
    include_free(&files);
    return good;
}

static bool apply(Catalog *catalog, const char *path, bool always, Err *err)
{
    bool found;
    char digest[SHA256_TEXT];
    PolicyApplied applied;
    scoped(buf_free) Buf document = {0};
    scoped(buf_free) Buf summary = {0};
    if (path[0] == 0)
        return true;
    if (!catalog_policy_load(catalog, &document, digest, &found, err))
        return false;
    if (found && !always)
        return true;
    buf_clear(&document);
    if (!compile(path, &document, &summary, err))
        return err_note(err, "nothing was applied");
    if (!catalog_policy_apply(catalog, buf_text(&document), (Text){0}, TEXT("scheduler"), &applied,
                              err))
        return false;
    log_info("policy.applied", "version=%llu changed=%s", (unsigned long long)applied.version,
             applied.changed ? "true" : "false");
    return true;
}

bool policy_file_apply(Catalog *catalog, const char *path, bool always, Err *err)
{
    bool good = apply(catalog, path, always, err);
    mem_trim(); /* a source needs 13 KiB while it is read, and nothing afterwards */
    return good;
}

static int print_schema(void)
{
    json_t *schema = fleet_schema();
    char *text = json_dumps(schema, JSON_INDENT(1) | JSON_SORT_KEYS);
    json_decref(schema);
    printf("%s\n", text == NULL ? "" : text);
    free(text);
    return 0;
}

int policy_file_verb(int count, char **args, Err *err)
{
    scoped(buf_free) Buf document = {0};
    scoped(buf_free) Buf summary = {0};
    if (count == 1 && strcmp(args[0], "schema") == 0)
        return print_schema();
    if (count != 2 || strcmp(args[0], "check") != 0)
        err_set(err, ERR_USAGE, "usage.policy", "write: policy check FILE, or policy schema");
    else if (compile(args[1], &document, &summary, err))
        fwrite(summary.at, 1, summary.len, stdout);
    else
        fwrite(summary.at, 1, summary.len, stderr);
    return err->code == ERR_NONE ? 0 : err_exit_code(err->code);
}
