/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/session.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/catalog/catalog_backup.h"
#include "common/catalog/catalog_pack.h"
#include "worker/job/granting.h"
#include "worker/job/set_back.h"
#include "worker/job/stores.h"

#include <stdio.h>
#include <string.h>

static bool check_use(const Session *session, SessionUse use, Err *err)
{
    const char *set = keyring_set(session->keyring);
    if (use == SESSION_WRITE && !keyring_can_write(session->keyring))
        return err_set(err, ERR_DENIED, "repo.no_writer",
                       "this worker has no writer file of the key set %s: run `holdfast-worker key "
                       "enroll` for it",
                       set);
    if (use == SESSION_READ && !keyring_can_read(session->keyring))
        return err_set(err, ERR_DENIED, "no-reader",
                       "this worker has no reader file of the key set %s: send the job to a pool "
                       "that has one, or put %s.reader into its keys directory",
                       set, set);
    return true;
}

/* {"env": V} is refused: what a job starts would inherit it. */
static bool passphrase_of(void *ctx, Secret **out, Err *err)
{
    const JobSettings *settings = ctx;
    SecretScope scope = {.credentials = settings->credentials};
    if (settings->key_passphrase == NULL)
        return err_set(err, ERR_DENIED, "key.passphrase_missing",
                       "the reader file is under a passphrase and worker.yaml has no "
                       "key_passphrase: say where it is, {credential: NAME} or {file: PATH}");
    return secret_resolve(settings->key_passphrase, &scope, out, err) ||
           err_note(err, "key_passphrase in worker.yaml");
}

static bool open_keys(Session *session, const Job *job, Text set, SessionUse use, Err *err)
{
    const Allow *allow = job->settings->allow;
    if (set.len == 0 && !allow_plain(allow, err))
        return false;
    if (set.len > 0 && !allow_key_set(allow, set, err))
        return false;
    scoped(mem_release) char *name = mem_text(set.len == 0 ? TEXT("plain") : set);
    KeyringPlace place = {job->settings->keys, passphrase_of, (void *)(uintptr_t)job->settings};
    if (keyring_open_at(&session->keyring, &place, name, use == SESSION_PRUNE, err))
        return true;
    /* Whole objects are hashed without a key: the root's public part in a prune file will do. */
    if (use != SESSION_STORED || strcmp(err->cause, "key.missing") != 0)
        return false;
    Err ignored = {0};
    bool pruner = keyring_open_at(&session->keyring, &place, name, true, &ignored);
    if (pruner)
        *err = (Err){0};
    return pruner;
}

/* Who reads by its own key needs none. */
static bool take_grant(Session *session, Job *job, SessionUse use, Err *err)
{
    return use != SESSION_READ || keyring_can_read(session->keyring) || !granting_named(job) ||
           granting_take(job, session->keyring, err);
}

/* Said before any work: a host whose keys ended, and one whose keys will. */
static bool check_seal(const Session *session, Job *job, Err *err)
{
    if (!keyring_may_seal(session->keyring, err))
        return false;
    if (keyring_outdated(session->keyring))
        job_log(job, LOG_WARN, "key.outdated",
                "the keys of %s were rotated (generation %llu): enroll this host again before the "
                "old reader is retired",
                keyring_set(session->keyring),
                (unsigned long long)keyring_repository_generation(session->keyring));
    return true;
}

typedef struct Bind {
    const Fence *fence;
    Uuid repository;
    uint64_t gc_epoch, confirmed_epoch;
} Bind;

static bool call_bind(Catalog *catalog, void *ctx, Err *err)
{
    Bind *bind = ctx;
    return catalog_repository_bind(catalog, bind->fence, &bind->repository, &bind->gc_epoch,
                                   &bind->confirmed_epoch, err);
}

typedef struct Revoked {
    const Fence *fence;
    CatalogRevoked hosts[DISK_REVOKED_MOST];
    size_t count;
} Revoked;

static bool call_revoked(Catalog *catalog, void *ctx, Err *err)
{
    const Revoked *revoked = ctx;
    return catalog_session_revoked(catalog, revoked->fence, revoked->hosts, revoked->count, err);
}

/* What a host stored before it was revoked may hold anything: nobody shares it, not even its own
 * source, before a reader has seen it. */
static bool distrust_revoked(const Session *session, Job *job, Err *err)
{
    Revoked revoked = {.fence = &job->fence, .count = keyring_revoked_hosts(session->keyring)};
    for (unsigned i = 0; i < revoked.count; i++) {
        KeyringRevoked host = keyring_revoked_host(session->keyring, i);
        revoked.hosts[i] =
            (CatalogRevoked){.host = text_of(host.host), .before = host.before, .at_s = host.at_s};
    }
    return revoked.count == 0 || patient_call(job->catalog, call_revoked, &revoked, err);
}

static bool bind_repository(Session *session, Job *job, Err *err)
{
    const RepoFacts *facts = repo_facts(session->repo);
    Bind bind = {.fence = &job->fence, .repository = facts->id};
    if (!patient_call(job->catalog, call_bind, &bind, err))
        return false;
    return set_back_look(session, job, bind.gc_epoch, bind.confirmed_epoch, err);
}

/* All but what the catalogue must be told. */
static bool open_place(Session *session, Job *job, const json_t *repository, SessionUse use,
                       Err *err)
{
    Uuid id;
    Text set = json_text_or(repository, "key_set", TEXT(""));
    Text known = json_text_or(repository, "id", TEXT(""));
    *session = (Session){0};
    if (known.len > 0 && !uuid_parse(known, &id, err))
        return false;
    bool opened = (use == SESSION_PRUNE ? stores_open_prune : stores_open)(
                      &session->store, job->settings, json_object_get(repository, "store"),
                      set.len == 0 ? TEXT("plain") : set, err) &&
                  open_keys(session, job, set, use, err) && take_grant(session, job, use, err) &&
                  check_use(session, use, err) &&
                  repo_open(&session->repo, session->store, session->keyring,
                            known.len > 0 ? &id : NULL, err);
    if (!opened)
        session_close(session);
    return opened;
}

bool session_open(Session *session, Job *job, SessionUse use, Err *err)
{
    bool changes = use == SESSION_WRITE || use == SESSION_PRUNE;
    if (!open_place(session, job, job->repository, use, err))
        return false;
    repo_index_bytes_set(session->repo, (size_t)json_u64_or(job->params, "index_bytes", 0));
    if (!changes || (check_seal(session, job, err) && bind_repository(session, job, err) &&
                     (use != SESSION_WRITE || distrust_revoked(session, job, err))))
        return true;
    session_close(session);
    return false;
}

bool session_open_other(Session *session, Job *job, const json_t *repository, SessionUse use,
                        Err *err)
{
    return open_place(session, job, repository, use, err);
}

void session_close(Session *session)
{
    repo_close(session->repo);
    keyring_close(session->keyring);
    store_close(session->store);
    *session = (Session){0};
}

typedef struct Markers {
    const Fence *fence;
    MarkerRow *rows;
    size_t count;
    const Uuid *done;
} Markers;

static bool call_due(Catalog *catalog, void *ctx, Err *err)
{
    Markers *markers = ctx;
    return catalog_markers_due(catalog, markers->fence, &markers->rows, &markers->count, err);
}

static bool call_done(Catalog *catalog, void *ctx, Err *err)
{
    Markers *markers = ctx;
    return catalog_marker_done(catalog, markers->fence, markers->done, err);
}

bool session_markers(Session *session, Job *job, Err *err)
{
    Markers markers = {.fence = &job->fence};
    bool fine = patient_call(job->catalog, call_due, &markers, err);
    for (size_t i = 0; fine && i < markers.count; i++) {
        const MarkerRow *row = &markers.rows[i];
        Err owed = {0};
        markers.done = &row->backup;
        /* A store that was set back has lost the manifest: a marker would hide that. */
        bool there = false;
        if (!repo_has_manifest(session->repo, &row->backup, &there, &owed) ||
            (there &&
             !repo_marker_put(session->repo, &row->backup, &row->manifest_sha256, &owed))) {
            /* Another backup's trouble is told, and does not cost this one. */
            job_log(job, LOG_WARN, "backup.marker_owed", "%s: %s", owed.cause, owed.text);
            continue;
        }
        fine = !there || patient_call(job->catalog, call_done, &markers, err);
    }
    mem_free(markers.rows);
    return fine;
}
