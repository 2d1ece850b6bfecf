/* SPDX-License-Identifier: Apache-2.0
 * files_delta.h — a target that makes a directory which is there equal to what it is given: files,
 * directories and symbolic links.
 * What is there is compared by content, page by page; size and time are not believed. Only what
 * differs is written, into the file that is there, unless that has other names (a hard link) or is
 * no file: then it is replaced. Nothing is opened through a symbolic link, neither here nor on the
 * way here; what stands where a directory must be is removed and told as a note. While it works the
 * mark of an unfinished restore lies at the top, with a text by which the next one knows whose it
 * is, and is locked. A restore that dies leaves a mixture of old and new: who must not take it for
 * whole is the caller's to keep away. Any failure ends it. */
#ifndef WORKER_ENGINE_FILES_DELTA_H
#define WORKER_ENGINE_FILES_DELTA_H

#include "worker/engine/engine.h"

typedef enum FilesDeltaState {
    FILES_DELTA_MISSING, /* there is no such directory, or it is empty */
    FILES_DELTA_MARKED,  /* an unfinished restore with this mark */
    FILES_DELTA_OTHER,   /* an unfinished restore of something else */
    FILES_DELTA_THERE,   /* something that no restore left */
} FilesDeltaState;

typedef struct FilesDeltaParams {
    const EngineHost *host;
    Text path; /* absolute; made when it is missing */
    Text mark;
    unsigned lanes;
    /* What lies beside the entries at the top stays: a tablespace's directory may hold those of
     * other servers, and a file system's lost+found. */
    bool shared;
} FilesDeltaParams;

/* Changes nothing. */
MUST_CHECK bool files_delta_look(Text path, Text mark, FilesDeltaState *state, Err *err);

/* Marks the directory. ERR_CONFLICT "target.busy": another restore is at work there;
 * "target.unfinished": the mark is another's. */
MUST_CHECK bool files_delta_open(Target **out, const FilesDeltaParams *params, Err *err);

/* From now on the mark stays until finish; closed before, a directory that had none has none. */
void files_delta_keep(Target *target);

/* Removes what no entry so far has named. Without it finish refuses. */
MUST_CHECK bool files_delta_clear(Target *target, Err *err);

#endif
