/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/commit.h"

#include "common/base/crashpoint.h"
#include "common/base/hash.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/catalog/catalog_backup.h"
#include "worker/job/note.h"
#include "worker/job/spool.h"

#include <stdio.h>

enum { INDEX_MOST = 256 << 20 };

typedef struct Commit {
    const Fence *fence;
    BackupRow row;
    CommitAnswer answer;
    char detail[256];
} Commit;

static bool call_commit(Catalog *catalog, void *ctx, Err *err)
{
    Commit *commit = ctx;
    return catalog_backup_commit(catalog, commit->fence, &commit->row, &commit->answer,
                                 commit->detail, err);
}

static bool call_marker_done(Catalog *catalog, void *ctx, Err *err)
{
    Commit *commit = ctx;
    return catalog_marker_done(catalog, commit->fence, &commit->row.id, err);
}

static bool judge(const Commit *commit, Err *err)
{
    switch (commit->answer) {
    case COMMIT_OK:
    case COMMIT_ALREADY:
        return true;
    case COMMIT_FENCED:
        return err_set(
            err, ERR_FENCED, "job.fenced",
            "another attempt holds this job: what this one stored is the other's to use");
    case COMMIT_DAMAGED:
        break;
    }
    return err_set(err, ERR_BUSY, "backup.damaged",
                   "packs that this backup shares were found damaged meanwhile (%.120s): it is "
                   "tried again",
                   commit->detail);
}

/* The hash of the stored index object, read back from the store. */
static bool hash_index(Session *session, const RepoBackup *made, Sha256 *out, Err *err)
{
    char id[UUID_TEXT], name[STORE_NAME_MOST];
    bool found;
    scoped(buf_free) Buf bytes = {0};
    if (uuid_is_nil(&made->index))
        return true;
    uuid_text(&made->index, id);
    snprintf(name, sizeof name, "index/%s", id);
    if (!store_get(session->store, name, INDEX_MOST, &found, &bytes, err))
        return false;
    if (!found)
        return err_set(err, ERR_IO, "store.lost_write",
                       "%s is not there a moment after it was written: check the store's disk",
                       name);
    hash_sha256(buf_slice(&bytes), out);
    return true;
}

static BackupItem *take_items(const json_t *details, size_t *count)
{
    const json_t *list = json_object_get(details, "items");
    *count = json_array_size(list);
    BackupItem *items = mem_array(BackupItem, *count);
    for (size_t i = 0; i < *count; i++) {
        const json_t *one = json_array_get(list, i);
        items[i] = (BackupItem){.kind = json_text_or(one, "kind", TEXT("")),
                                .name = json_text_or(one, "name", TEXT("")),
                                .entries = json_u64_or(one, "entries", 0),
                                .rows = json_u64_or(one, "rows", 0),
                                .bytes = json_u64_or(one, "bytes", 0)};
    }
    return items;
}

static void fill_row(BackupRow *row, const CommitFacts *facts)
{
    const RepoBackup *made = facts->made;
    row->id = made->id;
    row->manifest_sha256 = made->manifest;
    row->index_object = made->index;
    row->sequence = made->sequence;
    row->consistent_ns = facts->receipt->consistent_ns;
    row->position = facts->receipt->position;
    row->receipt = facts->receipt->details.len > 0 ? facts->receipt->details : TEXT("{}");
    row->partial = facts->partial;
    row->stored_verified = facts->stored_verified;
    row->entries = made->entries;
    row->bytes = made->bytes;
    row->stored_bytes = made->stored_bytes;
    row->new_bytes = made->new_bytes;
    row->pack_nos = made->pack_nos;
    row->pack_count = made->pack_count;
    row->issue_count = facts->issue_count;
}

/* Without a note the next attempt takes over what is stored: no reason to fail. */
static void note_it(Job *job, const Commit *commit, Note *note)
{
    scoped(buf_free) Buf text = {0};
    Err err = {0};
    spool_text(job->settings->name, commit->fence, &commit->row, &text);
    if (!note_write(note, job->settings->cache, SPOOL_NOTES, commit->fence, buf_text(&text), &err))
        job_log(job, LOG_WARN, "backup.commit_not_noted", "%s: %s", err.cause, err.text);
}

/* Only when the catalogue answered is there nothing left to ask: a worker that is stopped while
 * PostgreSQL is away asks again when it is back. */
static bool is_answered(const Job *job, const Err *err)
{
    bool passing =
        err->code == ERR_UNREACHABLE || err->code == ERR_TIMEOUT || err->code == ERR_BUSY;
    bool drained = err->code == ERR_CANCELLED && strcmp(job->reason, "drain") == 0;
    return !passing && !drained;
}

/* The lease is not asked for before: the commit checks (attempt, claim) and the lease row in its
 * own transaction, under the job's row lock. A worker whose lease ended while it slept is answered
 * FENCED as soon as anybody was given its job, and commits when nobody was. */
static bool commit_and_mark(Job *job, Session *session, Commit *commit, Err *err)
{
    Err owed = {0};
    Note note = {.fd = -1};
    note_it(job, commit, &note);
    CRASHPOINT("commit.before");
    bool told = patient_call(job->catalog, call_commit, commit, err);
    CRASHPOINT("commit.told");
    if (told || is_answered(job, err))
        note_done(&note);
    note_leave(&note);
    if (!told || !judge(commit, err))
        return false;
    CRASHPOINT("commit.after");
    if (!repo_marker_put(session->repo, &commit->row.id, &commit->row.manifest_sha256, &owed) ||
        !patient_call(job->catalog, call_marker_done, commit, &owed))
        job_log(job, LOG_WARN, "backup.marker_owed", "%s: %s", owed.cause, owed.text);
    CRASHPOINT("commit.marked");
    return true;
}

bool commit_run(Job *job, Session *session, const CommitFacts *facts, Err *err)
{
    Commit commit = {.fence = &job->fence};
    scoped(buf_free) Buf issues = {0};
    scoped(json_release) json_t *details = NULL;
    Text receipt = facts->receipt->details;
    if (receipt.len > 0 && !json_parse(receipt, &details, err))
        return false;
    fill_row(&commit.row, facts);
    json_canonical(facts->issues, &issues);
    commit.row.issues = buf_text(&issues);
    BackupItem *items = take_items(details, &commit.row.item_count);
    commit.row.items = items;
    bool fine = hash_index(session, facts->made, &commit.row.index_sha256, err) &&
                commit_and_mark(job, session, &commit, err);
    mem_free(items);
    return fine;
}
