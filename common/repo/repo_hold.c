/* SPDX-License-Identifier: Apache-2.0 */
#include "common/repo/repo_hold.h"

#include "common/repo/canon.h"
#include "common/repo/object.h"
#include "common/repo/repo_internal.h"

enum { PARTS = 3 };

bool repo_hold_put(Repo *repo, const RepoHold *hold, Err *err)
{
    scoped(buf_free) Buf head = {0};
    scoped(buf_free) Buf stored = {0};
    char name[REPO_NAME];
    repo_name("holds", &hold->backup, name);
    canon_array(&head, PARTS);
    canon_bin(&head, (Slice){hold->backup.bytes, sizeof hold->backup.bytes});
    canon_int(&head, hold->until_s);
    canon_int(&head, hold->said_s);
    return (object_pack(repo_keyring(repo), DISK_HOLD, NULL, buf_slice(&head),
                        buf_slice(&hold->reason), &stored, err) &&
            store_replace(repo_store(repo), name, buf_slice(&stored), err)) ||
           err_note(err, "writing %s", name);
}

bool repo_hold_get(Repo *repo, const Uuid *backup, RepoHold *hold, bool *found, Err *err)
{
    scoped(buf_free) Buf head = {0};
    char name[REPO_NAME];
    Signer signer = {0};
    *hold = (RepoHold){0};
    repo_name("holds", backup, name);
    if (!repo_get(repo, DISK_HOLD, name, NULL, found, &head, &hold->reason, NULL, &signer, err))
        return false;
    if (!*found)
        return true;
    CanonReader r = canon_reader(buf_slice(&head));
    uint32_t parts = canon_read_array(&r);
    canon_read_exact(&r, hold->backup.bytes, sizeof hold->backup.bytes);
    hold->until_s = canon_read_int(&r);
    hold->said_s = canon_read_int(&r);
    *found = parts >= PARTS && !r.bad && uuid_equal(&hold->backup, backup) &&
             (keyring_plain(repo_keyring(repo)) || strcmp(signer.role, "prune") == 0);
    return true;
}

void repo_hold_free(RepoHold *hold)
{
    buf_free(&hold->reason);
    *hold = (RepoHold){0};
}
