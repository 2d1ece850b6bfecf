/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/confine.h"

#include <grp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { NICENESS = 5 };

bool confine_enter(const Confine *confine)
{
    /* A container may not let even root make namespaces; the rest is not given up for that. */
    if (confine->other_user && unshare(CLONE_NEWNET | CLONE_NEWIPC) != 0)
        (void)unshare(CLONE_NEWIPC);
    (void)!nice(NICENESS);
    if (confine->other_user &&
        (setgroups(0, NULL) != 0 || setresgid(confine->gid, confine->gid, confine->gid) != 0 ||
         setresuid(confine->uid, confine->uid, confine->uid) != 0))
        return false;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && chdir(confine->directory) == 0;
}
