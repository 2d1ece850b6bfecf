/* SPDX-License-Identifier: Apache-2.0
 * allow.h — what a policy may ask of this host, as the worker's own file says it (its `allow:`).
 * A stolen scheduler or policy cannot widen it. Each check fails with ERR_DENIED, cause
 * "not-allowed-here", and names the line of worker.yaml that would permit it.
 * Where a list is absent: key sets, stores and what is read are not limited; nothing is restored
 * outside ALLOW_RESTORE_DEFAULT or into any server, no file is restored into one, and of files no
 * devices, set-user-id bits or security.* and trusted.* attributes; no hook runs; nothing is stored
 * unencrypted; no host is granted anything; no backup is tried by restoring it. */
#ifndef WORKER_JOB_ALLOW_H
#define WORKER_JOB_ALLOW_H

#include "protocol/err.h"

#include <jansson.h>

#define ALLOW_RESTORE_DEFAULT "/var/lib/holdfast/restore"

typedef struct Allow Allow;

/* tree: the mapping as JSON; NULL is an empty one. An unknown key is refused by name. */
MUST_CHECK bool allow_parse(const json_t *tree, Allow **out, Err *err);
void allow_free(Allow *allow); /* NULL is fine */

MUST_CHECK bool allow_key_set(const Allow *allow, Text name, Err *err);
MUST_CHECK bool allow_plain(const Allow *allow, Err *err); /* no key set: stored unencrypted */
MUST_CHECK bool allow_store(const Allow *allow, Text name, Err *err);

/* The path, its symbolic links followed as far as it exists, is at or below an allowed one. */
MUST_CHECK bool allow_read_path(const Allow *allow, const char *path, Err *err);
MUST_CHECK bool allow_restore_path(const Allow *allow, const char *path, Err *err);

/* A dump that somebody else made: its SQL runs in a server, with the rights of the source's login.
 */
MUST_CHECK bool allow_restore_file(const Allow *allow, const char *path, Err *err);
/* what: devices, setuid or security; whoever may use them where they are restored is given power.
 */
MUST_CHECK bool allow_restore_with(const Allow *allow, Text what, Err *err);

/* host: a name, an address, or the directory of a unix socket, as the source spells it. */
MUST_CHECK bool allow_read_server(const Allow *allow, Text host, Err *err);
MUST_CHECK bool allow_restore_server(const Allow *allow, Text host, Err *err);

MUST_CHECK bool allow_hook(const Allow *allow, Text name, Err *err);

/* May this reader seal a backup's keys to that host? Nobody's, where the list is absent. */
MUST_CHECK bool allow_grant(const Allow *allow, Text host, Err *err);

/* Ceiling of packs that one prune run may delete; 0: none, this worker deletes nothing. */
uint64_t allow_prune_packs(const Allow *allow);
/* The same of backups that one run may forget; 100 where only prune_packs is given. */
uint64_t allow_prune_backups(const Allow *allow);

/* Where backups may be tried, and with how much of this host. */
typedef struct AllowSandbox {
    char *folder;
    char *user; /* who runs servers in it when we are root; NULL: nobody was named */
    uint64_t memory_bytes;
    uint64_t most_bytes; /* a larger backup is not tried; 0: no limit but the disk's */
    int64_t time_ms, stall_ms;
} AllowSandbox;
const AllowSandbox *allow_sandbox(const Allow *allow); /* NULL: none here */

/* For the worker's announcement; NULL where there is no limit. */
const json_t *allow_key_sets(const Allow *allow);
const json_t *allow_stores(const Allow *allow);

#endif
