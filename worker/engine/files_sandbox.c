/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_sandbox.h"

#include "common/base/mem.h"
#include "worker/engine/files_compare.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct Sandbox {
    char folder[560];
};

/* Names and their blocks, on top of the content. */
static uint64_t room(uint64_t bytes, uint64_t entries)
{
    return bytes + bytes / 50 + entries * 4096 + (16U << 20);
}

static bool look(const SandboxParams *params, Err *err)
{
    (void)params, (void)err;
    return true;
}

static bool sandbox_open(Sandbox **out, const SandboxParams *params, Err *err)
{
    Sandbox *sandbox = mem_new(Sandbox);
    snprintf(sandbox->folder, sizeof sandbox->folder, "%s/data", params->folder);
    *out = sandbox;
    if (mkdir(sandbox->folder, 0700) == 0)
        return true;
    err_set_sys(err, ERR_IO, "sandbox.folder", "cannot make %s", sandbox->folder);
    mem_free(sandbox);
    *out = NULL;
    return false;
}

static json_t *request(const Sandbox *sandbox)
{
    return json_pack("{s:{s:s}}", "target", "path", sandbox->folder);
}

static bool settle(Sandbox *sandbox, Err *err)
{
    int fd = open(sandbox->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool done = fd >= 0 && syncfs(fd) == 0;
    if (!done)
        err_set_sys(err, ERR_IO, "sandbox.folder", "writing %s to disk", sandbox->folder);
    if (fd >= 0)
        close(fd);
    return done;
}

static bool compare(Sandbox *sandbox, Target **out, Err *err)
{
    return files_compare_open(out, sandbox->folder, err);
}

static bool check(Sandbox *sandbox, const json_t *queries, json_t *report, Err *err)
{
    (void)sandbox, (void)report;
    return queries == NULL ||
           err_set(err, ERR_USAGE, "sandbox.query", "files answer no queries: ask for `restore`");
}

static void sandbox_kill(Sandbox *sandbox)
{
    (void)sandbox; /* nothing waits for anybody here */
}

static void sandbox_close(Sandbox *sandbox)
{
    mem_free(sandbox);
}

const SandboxOps files_sandbox = {room,    look,  sandbox_open, request,      settle,
                                  compare, check, sandbox_kill, sandbox_close};
