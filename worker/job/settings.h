/* SPDX-License-Identifier: Apache-2.0
 * settings.h — what a job needs to know of its worker's own file, as plain values.
 * worker/main.c fills it from the options, in the child anew; secrets stay references until the
 * process that uses them resolves them. */
#ifndef WORKER_JOB_SETTINGS_H
#define WORKER_JOB_SETTINGS_H

#include "worker/job/allow.h"

#include <jansson.h>

typedef struct JobSettings {
    const char *name, *host;          /* of the worker */
    const char *catalogue;            /* conninfo without a password */
    const json_t *catalogue_password; /* a reference; NULL: none */
    const char *credentials;          /* directory of named credentials; NULL: none */
    const char *hooks;                /* directory of hook programs */
    const char *cache;                /* directory; may vanish at any time */
    const char *keys;                 /* directory of writer and reader files */
    const json_t *key_passphrase;     /* of its reader files, a reference; NULL: none */
    const char *api;                  /* URL of a scheduler, for streamed fetches; NULL: none */
    const char *api_ca, *api_cert, *api_key; /* PEM files for its TLS; NULL: none of ours */
    const char *wal_spool; /* where servers of this host push their logs to; NULL: nowhere */
    uint64_t memory_bytes; /* buffers of one job */
    const Allow *allow;
} JobSettings;

#endif
