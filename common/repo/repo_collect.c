/* SPDX-License-Identifier: Apache-2.0 */
#include "common/repo/repo_collect.h"

#include "common/base/crashpoint.h"
#include "common/repo/pack.h"
#include "common/repo/repo_internal.h"

bool repo_epoch_put(Repo *repo, uint64_t epoch, uint64_t job, uint64_t attempt, Err *err)
{
    const Uuid *id = &repo_facts(repo)->id;
    scoped(buf_free) Buf record = {0};
    canon_array(&record, 4);
    canon_bin(&record, (Slice){id->bytes, sizeof id->bytes});
    canon_uint(&record, epoch);
    canon_uint(&record, job);
    canon_uint(&record, attempt);
    return store_replace(repo_store(repo), "epoch", buf_slice(&record), err) ||
           err_note(err, "writing the epoch");
}

static bool put_forgotten(Repo *repo, const Uuid *backup, const Sha256 *manifest, Err *err)
{
    scoped(buf_free) Buf head = {0};
    char name[REPO_NAME];
    canon_array(&head, 2);
    canon_bin(&head, (Slice){backup->bytes, sizeof backup->bytes});
    canon_bin(&head, (Slice){manifest->bytes, sizeof manifest->bytes});
    repo_name("forgotten", backup, name);
    if (repo_put(repo, DISK_FORGOTTEN, name, NULL, buf_slice(&head), (Slice){0}, NULL, err))
        return true;
    if (strcmp(err->cause, "store.exists") != 0)
        return err_note(err, "writing %s", name);
    *err = (Err){0};
    return true;
}

/* The last part first: while one is there, those before it are. */
static bool remove_parents(Repo *repo, const Uuid *backup, Err *err)
{
    char name[REPO_PARENTS_NAME];
    uint64_t parts = 0, size;
    for (bool found = true; found; parts += found) {
        repo_parents_name(backup, parts, name);
        if (!store_head(repo_store(repo), name, &found, &size, err))
            return false;
    }
    while (parts-- > 0) {
        repo_parents_name(backup, parts, name);
        if (!store_remove(repo_store(repo), name, err))
            return false;
    }
    return true;
}

bool repo_forget(Repo *repo, const Uuid *backup, const Sha256 *manifest, Err *err)
{
    char marker[REPO_NAME], root[REPO_NAME];
    repo_name("commits", backup, marker);
    repo_name("manifests", backup, root);
    CRASHPOINT("forget.before");
    if (!put_forgotten(repo, backup, manifest, err))
        return false;
    CRASHPOINT("forget.said");
    if (!store_remove(repo_store(repo), marker, err))
        return false;
    CRASHPOINT("forget.unmarked");
    if (!store_remove(repo_store(repo), root, err))
        return false;
    CRASHPOINT("forget.manifest");
    return remove_parents(repo, backup, err);
}

bool repo_forgotten(Repo *repo, const Uuid *backup, bool *forgotten, Err *err)
{
    scoped(buf_free) Buf head = {0};
    char name[REPO_NAME];
    Signer signer = {0};
    Uuid id;
    repo_name("forgotten", backup, name);
    if (!repo_get(repo, DISK_FORGOTTEN, name, NULL, forgotten, &head, NULL, NULL, &signer, err))
        return false;
    if (!*forgotten)
        return true;
    CanonReader r = canon_reader(buf_slice(&head));
    uint32_t parts = canon_read_array(&r);
    canon_read_exact(&r, id.bytes, sizeof id.bytes);
    *forgotten = parts >= 2 && !r.bad && uuid_equal(&id, backup) && signer.revoked == 0 &&
                 (keyring_plain(repo_keyring(repo)) || strcmp(signer.role, "prune") == 0);
    return true;
}

bool repo_pack_remove(Repo *repo, const Uuid *object, Err *err)
{
    char name[PACK_NAME];
    pack_name(object, name);
    return store_remove(repo_store(repo), name, err);
}

bool repo_index_remove(Repo *repo, const Uuid *object, Err *err)
{
    char name[REPO_NAME];
    repo_name("index", object, name);
    return uuid_is_nil(object) || store_remove(repo_store(repo), name, err);
}
