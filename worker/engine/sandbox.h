/* SPDX-License-Identifier: Apache-2.0
 * sandbox.h — where an engine's backup is restored to see whether it can be: a folder of its own
 * and, for a database, a throw-away server in it. The engine's target restores into it as it
 * restores anywhere else; then `settle` puts all of it on disk, and what is checked is read from
 * there. Errors of cause "sandbox.…" say that this host could not try (a version, a library, a
 * locale is missing), anything else speaks of the backup. */
#ifndef WORKER_ENGINE_SANDBOX_H
#define WORKER_ENGINE_SANDBOX_H

#include "worker/engine/confine.h"
#include "worker/engine/engine.h"

typedef struct SandboxParams {
    const char *folder;     /* empty, ours; everybody below may pass through it */
    const Confine *confine; /* for programs that work on what was restored */
    uint64_t memory_bytes;  /* for a server */
    const json_t *details;  /* of the backup's receipt */
    const json_t *log;      /* to where a log that is laid there goes on; NULL: there is none */
    const EngineHost *host;
} SandboxParams;

typedef struct Sandbox Sandbox;

typedef struct SandboxOps {
    /* How much the folder takes for a backup of so many bytes and entries. */
    uint64_t (*room)(uint64_t bytes, uint64_t entries);
    /* What can be refused before anything is made: versions, programs. */
    bool (*look)(const SandboxParams *params, Err *err);
    bool (*open)(Sandbox **out, const SandboxParams *params, Err *err);
    /* Members of the request that leads the engine's target here; a new reference. */
    json_t *(*request)(const Sandbox *sandbox);
    bool (*settle)(Sandbox *sandbox, Err *err);
    /* NULL where there is none: a target that compares what it is given with what is there. */
    bool (*compare)(Sandbox *sandbox, Target **out, Err *err);
    /* Looks at what was restored; adds to the report what was looked at and what it said. The
     * queries are [{"sql", "expect", "database"}], or NULL. */
    bool (*check)(Sandbox *sandbox, const json_t *queries, json_t *report, Err *err);
    /* Any thread: whatever waits in another call comes back with an error. */
    void (*kill)(Sandbox *sandbox);
    void (*close)(Sandbox *sandbox); /* no process of it is left; the folder is the caller's */
} SandboxOps;

#endif
