/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_stand.h"

#include <errno.h>
#include <sched.h>
#include <unistd.h>

static bool has_own(FilesStand *stand)
{
    if (!stand->asked) {
        stand->asked = true;
        stand->own = gettid() != getpid() && unshare(CLONE_FS) == 0;
    }
    return stand->own;
}

static bool stand_in(FilesStand *stand, const FilesFound *found)
{
    if (stand->in == found->open)
        return found->open != NULL;
    files_stand_leave(stand);
    if (found->open == NULL || !has_own(stand) || fchdir(found->directory) != 0)
        return false;
    files_directory_keep(found->open);
    stand->in = found->open;
    return true;
}

int files_stand_look(FilesStand *stand, const FilesFound *found, FilesXattr *out)
{
    char path[FILES_XATTR_PATH];
    const char *name = found->name;
    if (!stand_in(stand, found)) {
        files_xattr_path(found->directory, found->name, path);
        name = path;
    }
    return files_xattr_read(out, name) ? 0 : errno;
}

void files_stand_leave(FilesStand *stand)
{
    if (stand->in != NULL)
        files_directory_release(stand->in);
    stand->in = NULL;
}
