/* SPDX-License-Identifier: Apache-2.0
 * files_apply.h — owner, attributes, mode and times onto something that was just made.
 * What could give away power is only restored when it was asked for: set-user-id bits, security.*
 * and trusted.* attributes, other people's ownership. Order: owner (clears set-id bits),
 * attributes, mode last, then the time. What could not be set, or is not as it was set, is counted
 * as a lack, and the rest still tried; but for the mode after a failed owner: the thing stays
 * private then. */
#ifndef WORKER_ENGINE_FILES_APPLY_H
#define WORKER_ENGINE_FILES_APPLY_H

#include "protocol/entry.h"
#include "worker/engine/files_lacks.h"
#include "worker/engine/files_owner.h"

typedef struct FilesApply {
    FilesOwner *names;
    bool owner;         /* restore ownership */
    bool numeric_owner; /* numbers even where a name is known */
    bool setuid;        /* restore set-user-id and set-group-id bits of files, with the owner */
    bool security;      /* restore security.* and trusted.* attributes */
    bool inherits;      /* new names may inherit ACLs from what was there: take them off */
    FilesLacks *lacks;
} FilesApply;

/* To an open file or directory. */
void files_apply_fd(FilesApply *apply, int fd, const Entry *entry);

/* To a name that cannot be opened: a symbolic link, a fifo, a device. Never follows a link. */
void files_apply_name(FilesApply *apply, int directory, const char *name, const Entry *entry);

#endif
