/* SPDX-License-Identifier: Apache-2.0
 * plain_form.h — a backup as one stream that other programs read: files as a .tar.gz, a PostgreSQL
 * backup as a .sql.gz, or as a .tar.gz that holds a .sql: an archive says the length of a file in
 * front of it, so the SQL is made twice then, and counted first. It is made while it is taken: what
 * nobody takes waits, and nothing is kept. A backup of several databases makes and connects to each
 * of them by itself. */
#ifndef WORKER_JOB_PLAIN_FORM_H
#define WORKER_JOB_PLAIN_FORM_H

#include "worker/job/opened.h"

/* ".tar.gz"; NULL: backups of such sources have no plain form. tar: databases in an archive too. */
const char *plain_form_extension(Text type, bool tar);

typedef struct PlainForm {
    Job *job;
    const Opened *opened;
    Text holds; /* a database in an archive, whose one file has this name; empty: no archive */
    void *ctx;
    bool (*take)(void *ctx, Slice bytes, Err *err); /* compressed bytes, in order, one thread */
} PlainForm;

/* entries: of the archive; 0 where it has none. What fails in the middle was not whole. */
MUST_CHECK bool plain_form_stream(const PlainForm *form, uint64_t *entries, Err *err);

#endif
