/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/agent/scratch.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

static int remove_one(const char *path, const struct stat *about, int type, struct FTW *where)
{
    (void)about, (void)type, (void)where;
    return remove(path);
}

void scratch_drop(char path[SCRATCH_PATH])
{
    if (path[0] != '\0')
        nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    path[0] = '\0';
}

bool scratch_make(const char *cache, char path[SCRATCH_PATH], Err *err)
{
    snprintf(path, SCRATCH_PATH, "%s/job-XXXXXX", cache);
    if (mkdtemp(path) != NULL)
        return true;
    path[0] = '\0';
    return err_set_sys(err, ERR_IO, "agent.scratch",
                       "no scratch directory below %s; see to cache in worker.yaml", cache);
}
