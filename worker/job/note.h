/* SPDX-License-Identifier: Apache-2.0
 * note.h — what this host must not forget when a process of it is killed: one small file for each
 * attempt, <cache>/<kind>/<job>.<attempt>, 0600, on disk (file and directory) before note_write
 * returns. A note is locked for as long as its process lives; so an unlocked one was left by a dead
 * process, and whoever finds and locks it owns it. Notes hold references and counts, never
 * secrets. The cache may vanish: a note saves work, nothing is wrong without it. */
#ifndef WORKER_JOB_NOTE_H
#define WORKER_JOB_NOTE_H

#include "common/base/buf.h"
#include "common/catalog/catalog.h"

enum { NOTE_PATH = 512, NOTE_MOST = 16 << 20 };

typedef struct Note {
    char path[NOTE_PATH];
    int fd; /* holds the lock; -1: there is none */
} Note;

/* ERR_FULL for more than NOTE_MOST bytes. After a failure there is no note. */
MUST_CHECK bool note_write(Note *note, const char *cache, const char *kind, const Fence *fence,
                           Text text, Err *err);
void note_done(Note *note);  /* removes it; none is fine */
void note_leave(Note *note); /* for whoever looks next; none is fine */

/* The note of this attempt when there is one and nobody holds it. */
bool note_take(Note *note, const char *cache, const char *kind, const Fence *fence, Buf *text);

/* Every note that nobody holds, locked for the visitor, who owns *note from then on. An empty one
 * (its writer died before anything was done) is removed and not visited. */
typedef void NoteVisit(void *ctx, Note *note, Text text);
void note_left(const char *cache, const char *kind, NoteVisit *visit, void *ctx);

#endif
