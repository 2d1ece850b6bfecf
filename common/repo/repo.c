/* SPDX-License-Identifier: Apache-2.0
 * repo.c — opening a repository, its small objects, markers and the list of backups. */
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/repo/repo_internal.h"
#include "common/repo/wrap.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { CONFIG_MOST = 1024 * 1024 };

struct Repo {
    Store *store;
    Keyring *keyring;
    RepoFacts facts;
    size_t index_bytes;
};

static bool not_a_repository(const char *what, Err *err)
{
    return err_set(err, ERR_MISSING, "store.not_a_repository",
                   "the store has no %s: is the disk mounted and the path right? Only "
                   "`holdfast-worker repo create` makes a repository",
                   what);
}

static bool read_config(Repo *repo, const Uuid *expected, Err *err)
{
    scoped(buf_free) Buf config = {0};
    bool found;
    if (!store_get(repo->store, "config", CONFIG_MOST, &found, &config, err))
        return err_note(err, "reading the repository's config");
    if (!found)
        return not_a_repository("config", err);
    if (!keyring_check_config(repo->keyring, buf_slice(&config), &repo->facts.id, err))
        return err_note(err, "the repository's config, which never changes (put it back from a "
                             "copy of the store)");
    if (expected == NULL || uuid_is_nil(expected) || uuid_equal(expected, &repo->facts.id))
        return true;
    char found_text[UUID_TEXT], expected_text[UUID_TEXT];
    uuid_text(&repo->facts.id, found_text);
    uuid_text(expected, expected_text);
    return err_set(err, ERR_CONFLICT, "repo.other_id",
                   "the store holds repository %s and the catalogue expects %s: another disk is "
                   "mounted, or the repository was made anew",
                   found_text, expected_text);
}

static bool read_keys(Repo *repo, Err *err)
{
    if (keyring_plain(repo->keyring))
        return true;
    scoped(buf_free) Buf keys = {0};
    char name[KEYRING_NAME];
    bool found;
    keyring_keys_name(repo->keyring, name);
    if (!store_get(repo->store, name, CONFIG_MOST, &found, &keys, err))
        return err_note(err, "reading the repository's keys");
    if (!found)
        return not_a_repository("keys of this key set", err);
    return keyring_learn_keys(repo->keyring, buf_slice(&keys), err) ||
           err_note(err,
                    "%s (put it back from a copy of the store, or from the %s.keys beside the "
                    "recovery kit)",
                    name, keyring_set(repo->keyring));
}

/* Only readers judge manifests. A list that is away or changed keeps nothing: safe, and the
 * manifests that it named say so when they are opened. */
static bool read_kept(Repo *repo, Err *err)
{
    bool reads = keyring_can_read(repo->keyring) && !keyring_plain(repo->keyring);
    for (unsigned i = 0; reads && i < keyring_kept_lists(repo->keyring); i++) {
        scoped(buf_free) Buf list = {0};
        char name[KEYRING_NAME];
        bool found;
        if (!keyring_kept_name(repo->keyring, i, name))
            continue;
        if (!store_get(repo->store, name, DISK_OBJECT_MOST, &found, &list, err)) {
            if (err->code != ERR_CORRUPT)
                return err_note(err, "reading %s", name);
            *err = (Err){0};
        } else if (found)
            (void)keyring_learn_kept(repo->keyring, i, buf_slice(&list));
    }
    return true;
}

/* No object means epoch 0: nothing was ever collected here. One that is damaged stops no restore
 * and no backup: who writes is told, and the collector stands still. */
bool repo_epoch_read(Repo *repo, Err *err)
{
    scoped(buf_free) Buf epoch = {0};
    bool found;
    repo->facts.epoch = repo->facts.epoch_job = repo->facts.epoch_attempt = 0;
    if (!store_get(repo->store, "epoch", CONFIG_MOST, &found, &epoch, err)) {
        if (err->code != ERR_CORRUPT)
            return err_note(err, "reading the repository's epoch");
        *err = (Err){0};
        repo->facts.epoch = REPO_EPOCH_UNKNOWN;
        return true;
    }
    if (!found)
        return true;
    CanonReader r = canon_reader(buf_slice(&epoch));
    Uuid id;
    uint32_t parts = canon_read_array(&r);
    canon_read_exact(&r, id.bytes, sizeof id.bytes);
    repo->facts.epoch = canon_read_uint(&r);
    if (parts == 4) {
        repo->facts.epoch_job = canon_read_uint(&r);
        repo->facts.epoch_attempt = canon_read_uint(&r);
    }
    if ((parts != 2 && parts != 4) || !canon_done(&r) || !uuid_equal(&id, &repo->facts.id))
        repo->facts.epoch = REPO_EPOCH_UNKNOWN;
    return true;
}

bool repo_open(Repo **out, Store *store, Keyring *keyring, const Uuid *expected, Err *err)
{
    Repo *repo = mem_new(Repo);
    repo->store = store;
    repo->keyring = keyring;
    snprintf(repo->facts.key_set, sizeof repo->facts.key_set, "%s", keyring_set(keyring));
    if (read_config(repo, expected, err) && read_keys(repo, err) && read_kept(repo, err) &&
        repo_epoch_read(repo, err)) {
        repo->facts.generation = keyring_repository_generation(keyring);
        *out = repo;
        return true;
    }
    repo_close(repo);
    return false;
}

const RepoFacts *repo_facts(const Repo *repo)
{
    return &repo->facts;
}

void repo_index_bytes_set(Repo *repo, size_t bytes)
{
    repo->index_bytes = bytes;
}

size_t repo_index_bytes(const Repo *repo)
{
    return repo->index_bytes;
}

Store *repo_store(Repo *repo)
{
    return repo->store;
}

const Keyring *repo_keyring(const Repo *repo)
{
    return repo->keyring;
}

void repo_close(Repo *repo)
{
    mem_free(repo);
}

void repo_name(const char *folder, const Uuid *id, char out[REPO_NAME])
{
    char text[UUID_TEXT];
    uuid_text(id, text);
    snprintf(out, REPO_NAME, "%s/%s", folder, text);
}

void repo_parents_name(const Uuid *backup, uint64_t part, char out[REPO_PARENTS_NAME])
{
    repo_name("parents", backup, out);
    size_t len = strlen(out);
    if (part > 0)
        snprintf(out + len, REPO_PARENTS_NAME - len, ".%" PRIu64, part);
}

bool repo_put(Repo *repo, DiskObject kind, const char *name, const uint8_t *own_key, Slice head,
              Slice body, Sha256 *sha256, Err *err)
{
    scoped(buf_free) Buf stored = {0};
    if (!object_pack(repo->keyring, kind, own_key, head, body, &stored, err))
        return false;
    if (sha256 != NULL)
        hash_sha256(buf_slice(&stored), sha256);
    return store_put(repo->store, name, buf_slice(&stored), err);
}

bool repo_get(Repo *repo, DiskObject kind, const char *name, const uint8_t *own_key, bool *found,
              Buf *head, Buf *body, Sha256 *sha256, Signer *signer, Err *err)
{
    scoped(buf_free) Buf stored = {0}, unused = {0};
    Slice head_slice;
    if (!store_get(repo->store, name, DISK_OBJECT_MOST, found, &stored, err))
        return false;
    if (!*found)
        return true;
    if (!wrap_strip(repo->keyring, &stored, err))
        return err_note(err, "opening %s", name);
    if (sha256 != NULL)
        hash_sha256(buf_slice(&stored), sha256);
    if (!object_unpack(repo->keyring, kind, own_key, buf_slice(&stored), &head_slice,
                       body == NULL ? &unused : body, signer, err))
        return err_note(err, "opening %s", name);
    if (head != NULL)
        buf_add_slice(head, head_slice);
    return true;
}

static bool check_signer(const Repo *repo, const char *name, const Signer *signer,
                         const Manifest *m, const Sha256 *sha256, Err *err)
{
    if (keyring_plain(repo->keyring))
        return true;
    if (!keyring_may_write(signer, m->source))
        return err_set(err, ERR_CORRUPT, "repo.wrong_signer",
                       "%s was signed by host %s, which may not write source %.*s: do not trust "
                       "this backup, restore another",
                       name, signer->host, TEXT_ARG(m->source));
    return keyring_keeps(repo->keyring, signer, sha256) ||
           err_set(err, ERR_CORRUPT, "repo.revoked",
                   "%s was signed by host %s, whose certificate was revoked, and is not in the "
                   "list of what was kept of it: do not trust this backup, restore another; if all "
                   "of that host's are refused, put keys/*.kept.* back from a copy of the store",
                   name, signer->host);
}

bool repo_get_manifest(Repo *repo, const Uuid *backup, Buf *body, Manifest *out, Sha256 *sha256,
                       Err *err)
{
    Signer signer;
    return repo_get_manifest_signer(repo, backup, body, out, sha256, &signer, err);
}

bool repo_get_manifest_signer(Repo *repo, const Uuid *backup, Buf *body, Manifest *out,
                              Sha256 *sha256, Signer *signer, Err *err)
{
    char name[REPO_NAME];
    bool found;
    Sha256 sha;
    *signer = (Signer){0};
    repo_name("manifests", backup, name);
    if (!repo_get(repo, DISK_MANIFEST, name, NULL, &found, NULL, body, &sha, signer, err))
        return err->code == ERR_CORRUPT
                   ? err_note(err, "restore another backup, or put back from a copy of the store")
                   : false;
    if (!found)
        return err_set(err, ERR_MISSING, "repo.no_manifest",
                       "the store has no %s: the backup was forgotten or never finished; restore "
                       "another, or put it back from a copy of the store",
                       name);
    if (!manifest_read(buf_slice(body), out, err))
        return err_note(err, "reading %s", name);
    if (!uuid_equal(&out->backup, backup))
        return err_set(err, ERR_CORRUPT, "repo.bad_manifest",
                       "%s holds the manifest of another backup: somebody moved it; put the right "
                       "one back from a copy of the store",
                       name);
    if (sha256 != NULL)
        *sha256 = sha;
    return check_signer(repo, name, signer, out, &sha, err);
}

/* The marker's head names the manifest in the clear: it holds no secret, and a keyless health check
 * can compare. */
static bool put_marker(Repo *repo, const Uuid *backup, const Sha256 *manifest, Err *err)
{
    scoped(buf_free) Buf head = {0};
    char name[REPO_NAME];
    canon_array(&head, 2);
    canon_bin(&head, (Slice){backup->bytes, sizeof backup->bytes});
    canon_bin(&head, (Slice){manifest->bytes, sizeof manifest->bytes});
    repo_name("commits", backup, name);
    if (!repo_put(repo, DISK_MARKER, name, NULL, buf_slice(&head), (Slice){0}, NULL, err))
        return err_note(err, "writing the marker");
    return true;
}

/* Everybody who finds a marker owed writes it, so somebody else may be a moment faster: what stands
 * there then is looked at, once more. */
bool repo_marker_put(Repo *repo, const Uuid *backup, const Sha256 *manifest, Err *err)
{
    bool found, late = false;
    Sha256 old;
    for (;;) {
        if (!repo_marker_get(repo, backup, &found, &old, err))
            return false;
        if (found && memcmp(&old, manifest, sizeof old) != 0)
            return err_set(err, ERR_CONFLICT, "repo.other_marker",
                           "the marker of this backup names another manifest");
        if (found || put_marker(repo, backup, manifest, err))
            return true;
        if (late || strcmp(err->cause, "store.exists") != 0)
            return false;
        late = true;
        *err = (Err){0};
    }
}

bool repo_marker_get(Repo *repo, const Uuid *backup, bool *found, Sha256 *manifest, Err *err)
{
    scoped(buf_free) Buf stored = {0};
    char name[REPO_NAME];
    Slice head;
    repo_name("commits", backup, name);
    if (!store_get(repo->store, name, DISK_OBJECT_MOST, found, &stored, err))
        return err_note(err, "reading the marker");
    if (!*found)
        return true;
    if (!object_head(DISK_MARKER, buf_slice(&stored), &head, err))
        return err_note(err, "reading the marker");
    CanonReader r = canon_reader(head);
    Uuid id;
    uint32_t parts = canon_read_array(&r);
    canon_read_exact(&r, id.bytes, sizeof id.bytes);
    canon_read_exact(&r, manifest->bytes, sizeof manifest->bytes);
    if (parts != 2 || !canon_done(&r) || !uuid_equal(&id, backup))
        return err_set(err, ERR_CORRUPT, "repo.bad_marker",
                       "%s is not a valid marker; put it back from a copy of the store", name);
    return true;
}

void repo_backup_fill(RepoBackup *out, const Manifest *m)
{
    memset(out, 0, sizeof *out);
    out->id = m->backup;
    snprintf(out->source, sizeof out->source, "%.*s", TEXT_ARG(m->source));
    out->sequence = m->sequence;
    out->parent = m->parent;
    out->parent_manifest = m->parent_manifest;
    out->index = m->index;
    out->consistent_ns = m->consistent_ns;
    out->entries = m->entries;
    out->issues = m->issues;
    out->bytes = m->bytes;
    out->stored_bytes = m->stored_bytes;
    out->new_bytes = m->new_bytes;
}

void repo_backup_free(RepoBackup *backup)
{
    mem_free(backup->pack_nos);
    backup->pack_nos = NULL;
    backup->pack_count = 0;
}

typedef struct Names {
    Uuid *ids;
    size_t count, room;
} Names;

static bool note_name(void *ctx, const char *name, uint64_t size, Err *err)
{
    (void)size;
    Names *names = ctx;
    const char *slash = strrchr(name, '/');
    Uuid id;
    /* What is not named like ours is not ours. */
    if (slash == NULL || !uuid_parse(text_of(slash + 1), &id, err))
        return true;
    if (names->count == names->room) {
        names->room = names->room == 0 ? 64 : names->room * 2;
        names->ids = mem_resize(names->ids, names->room * sizeof names->ids[0]);
    }
    names->ids[names->count++] = id;
    return true;
}

bool repo_has_manifest(Repo *repo, const Uuid *backup, bool *found, Err *err)
{
    char name[REPO_NAME];
    uint64_t size;
    repo_name("manifests", backup, name);
    return store_head(repo->store, name, found, &size, err);
}

static int compare_uuids(const void *a, const void *b)
{
    return uuid_compare(a, b);
}

bool repo_markers(Repo *repo, const Uuid *after, size_t most, Uuid *ids, size_t *count, Err *err)
{
    Names names = {0};
    char name[REPO_NAME];
    repo_name("commits", after, name);
    bool good = store_list_names(repo->store, "commits/", name, note_name, &names, err);
    if (good && names.count > 0)
        qsort(names.ids, names.count, sizeof names.ids[0], compare_uuids);
    *count = !good ? 0 : names.count < most ? names.count : most;
    if (*count > 0)
        memcpy(ids, names.ids + names.count - *count, *count * sizeof ids[0]);
    mem_free(names.ids);
    return good;
}

static bool visit_backup(Repo *repo, const Uuid *id, RepoBackupVisit *visit, void *ctx, Err *err)
{
    scoped(buf_free) Buf body = {0};
    bool marked;
    Manifest m = {0};
    Sha256 sha, marker;
    Err why = {0};
    RepoBackup backup = {.id = *id};
    Signer signer = {0};
    if (!repo_marker_get(repo, id, &marked, &marker, &why))
        return visit(ctx, &backup, false, &why, err);
    if (!repo_get_manifest_signer(repo, id, &body, &m, &sha, &signer, &why))
        return visit(ctx, &backup, marked, &why, err);
    repo_backup_fill(&backup, &m);
    memcpy(backup.host, signer.host, sizeof backup.host);
    backup.manifest = sha;
    if (marked && memcmp(&marker, &sha, sizeof sha) != 0) {
        err_set(&why, ERR_CORRUPT, "repo.bad_manifest",
                "the manifest is not the one that the backup's marker names; restore another, or "
                "compare both with a copy of the store");
        return visit(ctx, &backup, marked, &why, err);
    }
    return visit(ctx, &backup, marked, NULL, err);
}

bool repo_backups(Repo *repo, RepoBackupVisit *visit, void *ctx, Err *err)
{
    Names names = {0};
    bool good = store_list_names(repo->store, "manifests/", NULL, note_name, &names, err);
    if (good && names.count > 0)
        qsort(names.ids, names.count, sizeof names.ids[0], compare_uuids);
    for (size_t i = 0; good && i < names.count; i++)
        good = visit_backup(repo, &names.ids[i], visit, ctx, err);
    mem_free(names.ids);
    return good;
}
