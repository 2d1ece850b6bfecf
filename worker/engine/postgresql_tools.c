/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_tools.h"

#include "common/base/buf.h"
#include "worker/engine/child.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TOOLS_MAX = 32 };

/* Where Debian, the PGDG packages for Red Hat, and sources built by hand put them. */
static const char *const places[] = {
    "/usr/lib/postgresql/*/bin/pg_dump",
    "/usr/pgsql-*/bin/pg_dump",
    "/usr/local/pgsql*/bin/pg_dump",
    "/opt/homebrew/opt/postgresql@*/bin/pg_dump",
    "/usr/local/bin/pg_dump",
    "/usr/bin/pg_dump",
};

/* "pg_dump (PostgreSQL) 15.20 (Debian …)" */
static bool read_version(const char *program, PostgresqlTools *out)
{
    Err ignored = {0};
    scoped(buf_free) Buf text = {0};
    const char *const arguments[] = {"--version", NULL};
    const char *const environment[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", NULL};
    ChildParams params = {.program = program,
                          .arguments = arguments,
                          .environment = environment,
                          .input = -1,
                          .cause = "source.tools"};
    if (!child_output(&params, &text, 4096, &ignored))
        return false;
    const char *at = strchr(buf_cstr(&text), ')');
    if (at == NULL || sscanf(at + 1, " %31[0-9.]", out->version) != 1)
        return false;
    out->major = (int)strtol(out->version, NULL, 10);
    size_t folder = (size_t)(strrchr(program, '/') - program);
    if (folder >= sizeof out->folder)
        return false;
    memcpy(out->folder, program, folder);
    out->folder[folder] = 0;
    return true;
}

static size_t find_all(PostgresqlTools *tools, size_t room)
{
    size_t count = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        glob_t found = {0};
        if (glob(places[i], 0, NULL, &found) == 0)
            for (size_t k = 0; k < found.gl_pathc && count < room; k++) {
                /* Debian's /usr/bin/pg_dump is a wrapper that picks a version by itself. */
                char wrapper[4];
                bool link = readlink(found.gl_pathv[k], wrapper, sizeof wrapper) > 0;
                if (!link && read_version(found.gl_pathv[k], &tools[count]))
                    count++;
            }
        globfree(&found);
    }
    return count;
}

bool postgresql_tools_find(int server_version, const char *cause, PostgresqlTools *out, Err *err)
{
    PostgresqlTools tools[TOOLS_MAX];
    const PostgresqlTools *best = NULL;
    int major = server_version / 10000, newest = 0;
    size_t count = find_all(tools, TOOLS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (tools[i].major > newest)
            newest = tools[i].major;
        if (tools[i].major >= major && (best == NULL || tools[i].major < best->major))
            best = &tools[i];
    }
    if (best == NULL && newest == 0)
        return err_set(err, ERR_MISSING, cause,
                       "no pg_dump on this host; install postgresql-client-%d", major);
    if (best == NULL)
        return err_set(err, ERR_MISSING, cause,
                       "the server is PostgreSQL %d and the newest pg_dump here is %d; install "
                       "postgresql-client-%d or run the job on a worker that has it",
                       major, newest, major);
    *out = *best;
    return true;
}

void postgresql_tools_path(const PostgresqlTools *tools, const char *program, char out[300])
{
    snprintf(out, 300, "%s/%s", tools->folder, program);
}

static bool has_server(const PostgresqlTools *tools)
{
    static const char *const programs[] = {"initdb", "postgres"};
    char path[300];
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        postgresql_tools_path(tools, programs[i], path);
        if (access(path, X_OK) != 0)
            return false;
    }
    return true;
}

bool postgresql_tools_server(int major, PostgresqlTools *out, Err *err)
{
    PostgresqlTools tools[TOOLS_MAX];
    scoped(buf_free) Buf others = {0};
    size_t count = find_all(tools, TOOLS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (!has_server(&tools[i]))
            continue;
        *out = tools[i];
        if (tools[i].major == major)
            return true;
        buf_printf(&others, "%s%s", others.len == 0 ? "" : ", ", tools[i].version);
    }
    return err_set(err, ERR_MISSING, "sandbox.version",
                   "the backup is of PostgreSQL %d and this host has servers of %s: install "
                   "postgresql-%d here, or name a pool whose worker has it",
                   major, others.len == 0 ? "no version" : buf_cstr(&others), major);
}

json_t *postgresql_tools_list(void)
{
    PostgresqlTools tools[TOOLS_MAX];
    json_t *versions = json_array(), *servers = json_array();
    size_t count = find_all(tools, TOOLS_MAX);
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(versions, json_string(tools[i].version));
        if (has_server(&tools[i]))
            json_array_append_new(servers, json_string(tools[i].version));
    }
    return json_pack("{s:o, s:o}", "pg_dump", versions, "postgres", servers);
}
