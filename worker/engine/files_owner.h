/* SPDX-License-Identifier: Apache-2.0
 * files_owner.h — names of users and groups, and back, asked of the system once each.
 * Names travel with the numbers because hosts number their users differently; a name that is not
 * known here leaves the number. Safe from several threads. */
#ifndef WORKER_ENGINE_FILES_OWNER_H
#define WORKER_ENGINE_FILES_OWNER_H

#include "protocol/bytes.h"

#include <sys/types.h>

typedef struct FilesOwner FilesOwner;

FilesOwner *files_owner_new(void);
void files_owner_free(FilesOwner *owner); /* NULL is fine */

/* Empty when the number has no name. The text lives until files_owner_free. */
Text files_owner_user(FilesOwner *owner, uid_t uid);
Text files_owner_group(FilesOwner *owner, gid_t gid);

/* The number of a name on this host, else `number`. */
uid_t files_owner_uid(FilesOwner *owner, Text user, uid_t number);
gid_t files_owner_gid(FilesOwner *owner, Text group, gid_t number);

#endif
