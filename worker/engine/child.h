/* SPDX-License-Identifier: Apache-2.0
 * child.h — a program that is run for its output.
 * Started by execve from arrays: there is no shell, and the environment is exactly the given one,
 * so no secret travels in it. Both of its pipes are read together, so it never waits for us; its
 * last words on standard error are kept and its wait status is always read: a child that was not
 * asked how it ended counts as failed. One thread drives a Child from start to end. */
#ifndef WORKER_ENGINE_CHILD_H
#define WORKER_ENGINE_CHILD_H

#include "common/base/buf.h"
#include "protocol/err.h"
#include "worker/engine/confine.h"

typedef struct ChildParams {
    const char *program;            /* absolute path */
    const char *const *arguments;   /* after the program's own name; ends with NULL */
    const char *const *environment; /* ends with NULL; nothing else is inherited */
    int input;                      /* becomes standard input; below 0: /dev/null */
    const char *cause;              /* of the errors: "source.dump" */
    /* Called about once a second while it works; false stops it with that error. May be NULL. */
    bool (*tick)(void *ctx, Err *err);
    void *ctx;
    const Confine *confine; /* NULL: as we are */
} ChildParams;

typedef struct Child Child;

MUST_CHECK bool child_start(Child **out, const ChildParams *params, Err *err);
/* Up to `room` bytes of its standard output; *got 0 when it closed that. */
MUST_CHECK bool child_read(Child *child, uint8_t *at, size_t room, size_t *got, Err *err);
/* Waits for its end. Anything but exit status 0, and any "error:" line, is a failure that quotes
 * what it said. The output must have been read to its end. */
MUST_CHECK bool child_finish(Child *child, Err *err);
/* What it wrote to standard error, at most the first and last 4 KiB of it. */
Text child_words(const Child *child);
/* Stops it if it still runs, reaps it, frees. NULL is fine. */
void child_close(Child *child);

/* Runs it to its end; its output, at most `limit` bytes of it, is added to *out. */
MUST_CHECK bool child_output(const ChildParams *params, Buf *out, size_t limit, Err *err);

/* For scoped(). */
void child_release(Child **child);

#endif
