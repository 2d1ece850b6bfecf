/* SPDX-License-Identifier: Apache-2.0
 * engine.h — what every kind of source can do: make entries and bytes, and eat them again.
 * An engine knows no repository, queue or catalogue. All calls block. A Source has `lanes`: each
 * lane is driven by one thread at a time and yields its own entries, so a database engine can read
 * over several connections at once; `next` hands every entry to exactly one lane. A files source
 * has one lane and yields in bytewise path order. A Target has lanes in the same way. */
#ifndef WORKER_ENGINE_ENGINE_H
#define WORKER_ENGINE_ENGINE_H

#include "common/base/buf.h"
#include "protocol/entry.h"
#include "protocol/err.h"

#include <jansson.h>

/* The surroundings an engine may use; every function may be called from any lane. */
typedef struct EngineHost EngineHost;
struct EngineHost {
    void *ctx;
    /* Resolves {"credential": N} or {"file": P} of the source's config. `secret` is filled with the
     * bytes and must be wiped by the caller (explicit_bzero before buf_free). */
    bool (*secret)(void *ctx, const json_t *reference, Buf *secret, Err *err);
    void (*issue)(void *ctx, const Issue *issue);
    void (*note)(void *ctx, const char *event, const char *text); /* a line of the job's log */
    bool (*cancelled)(void *ctx);                                 /* poll in long loops */
    /* Private directory 0700 of this attempt. Content never goes there: a file over 1 MiB is a
     * defect, but for the list of directories of a very large restore. */
    const char *scratch;
    const char *wal_spool; /* where servers of this host push their logs to; NULL: nowhere */
};

typedef struct EngineParams {
    const json_t *config;  /* the source's mapping of fleet.yaml, as the order carries it */
    const json_t *request; /* job parameters: restore target, selection; NULL for a backup */
    const EngineHost *host;
    unsigned lanes; /* how many the job would like; the engine may give fewer */
} EngineParams;

typedef struct Source Source;
typedef struct SourceOps {
    unsigned (*lanes)(const Source *s);
    /* The next entry of this lane; *more false at the end. The Entry's strings live until the
     * lane's next call of next or close. Content is opened lazily: by the first read. An entry that
     * `end` withdrew may come once more: a second reading of what changed during the first. */
    bool (*next)(Source *s, unsigned lane, Entry *entry, bool *more, Err *err);
    /* NULL: `next` gives them all. Else `next` leaves out what is dear to ask for and is not needed
     * of an entry that did not change since the last backup, the attributes of files; this fills
     * it in, before the first read. */
    bool (*attributes)(Source *s, unsigned lane, Entry *entry, Err *err);
    /* Up to `room` bytes of the current entry; *got 0 at its end. `*zeros` may be set instead of
     * bytes: that many zero bytes follow (a hole), nothing was written to at. */
    bool (*read)(Source *s, unsigned lane, uint8_t *at, size_t room, size_t *got, uint64_t *zeros,
                 Err *err);
    /* The current entry is over: fills what is only known now (rows, final size, mtime). *keep
     * false withdraws the entry (it vanished, was refused: an Issue was raised). */
    bool (*end)(Source *s, unsigned lane, Entry *entry, bool *keep, Err *err);
    /* After every lane ended: checks end markers and counts. Receipt strings live until close.
     * details may hold "items": [{"kind": "path"|"database"|"table", "name", "entries", "rows",
     * "bytes"}], the lines that the catalogue shows of this backup. */
    bool (*finish)(Source *s, Receipt *receipt, Err *err);
    /* NULL: there is always something. True right after the opening: nothing came since the last
     * backup, so none is made. */
    bool (*idle)(const Source *s);
    /* NULL: nothing to do. The backup is committed: what was kept only until then may go. Not
     * called where the commit's answer was lost; then the same comes once more. */
    bool (*stored)(Source *s, Err *err);
    void (*close)(Source *s);
    /* Once, before anything is read: what the source gives is from now on of one instant, whatever
     * changes in it. NULL: it has to be read whole before that is so. */
    bool (*fix)(Source *s, Err *err);
} SourceOps;
struct Source {
    const SourceOps *ops;
};

typedef struct Target Target;
typedef struct TargetOps {
    unsigned (*lanes)(const Target *t);
    /* Called by one thread before the entries of a phase, in order of phases. */
    bool (*phase)(Target *t, uint8_t phase, Err *err);
    /* Without an `end` before it, the lane's earlier entry is given up: its content is damaged, and
     * nothing of it may stay that looks whole. */
    bool (*begin)(Target *t, unsigned lane, const Entry *entry, bool *want_content, Err *err);
    bool (*write)(Target *t, unsigned lane, Slice bytes, Err *err);
    bool (*zeros)(Target *t, unsigned lane, uint64_t count, Err *err); /* a hole where possible */
    bool (*end)(Target *t, unsigned lane, const Entry *entry, Err *err);
    /* After the last phase: directory times, indexes, counts compared. *report is a JSON object
     * given to the caller (tables, rows, files, bytes), stored with the job. */
    bool (*finish)(Target *t, json_t **report, Err *err);
    void (*close)(Target *t); /* before finish: leaves nothing half-made that looks whole */
} TargetOps;
struct Target {
    const TargetOps *ops;
};

/* A dump that somebody else made. All calls come from one thread. */
typedef struct EngineFile {
    void *ctx;
    const char *name; /* as messages have it */
    int fd;           /* the file itself; *packed: its bytes are not what `read` gives */
    bool packed;
    /* Up to `room` unpacked bytes; *got 0 at the end, when what the packing says of it was right.
     */
    bool (*read)(void *ctx, uint8_t *at, size_t room, size_t *got, Err *err);
    /* About each second, and for each piece: tells how far fd was read; false: stop. */
    bool (*go_on)(void *ctx, Err *err);
} EngineFile;

typedef struct Engine {
    const char *name; /* the `type` of a source: "files", "postgresql" */
    bool (*open_source)(Source **out, const EngineParams *params, Err *err);
    bool (*open_target)(Target **out, const EngineParams *params, Err *err);
    /* `source test`: connects, checks rights, counts; *report is a JSON object
     * {"ok":true,"checks":[{"name","ok","text","next"}],…}. */
    bool (*test)(const EngineParams *params, json_t **report, Err *err);
    /* What a restore would do, before it is asked to: {"target","exists","creates","free_bytes"…}.
     */
    bool (*plan)(const EngineParams *params, json_t **report, Err *err);
    /* Drops on the source's server what is kept there for us alone and is not needed any more: the
     * replication slot that request "slot" names. {"dropped":bool,"text"}. NULL: it keeps nothing.
     */
    bool (*let_go)(const EngineParams *params, json_t **report, Err *err);
    /* NULL: nothing to do. Takes away what tells the target of `request` unfinished, where
     * `keep_mark` left it after finish: the caller has noted that it is done. Again is fine. */
    bool (*settle)(const EngineParams *params, Err *err);
    /* Tools and versions of this host: {"pg_dump":["15.20"]}; used for routing. */
    bool (*tools)(json_t **report, Err *err);
    /* Brings such a dump into a new, an empty or, in place, the source's own database; all of it or
     * nothing. NULL: no dump of this kind is read. */
    bool (*restore_file)(const EngineParams *params, const EngineFile *file, json_t **report,
                         Err *err);
    const struct SandboxOps *sandbox; /* sandbox.h; NULL: not provable by restoring */
} Engine;

/* NULL when no engine has that name. */
const Engine *engine_find(Text name);
const Engine *const *engine_list(size_t *count);

#endif
