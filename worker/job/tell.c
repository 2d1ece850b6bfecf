/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/tell.h"

#include "common/base/clock.h"
#include "common/base/json.h"

#include <inttypes.h>

enum { PARTS_MOST = 100, ISSUES_MOST = 50 };

void tell_opened(Job *job, const char *engine, unsigned wanted, unsigned given)
{
    const json_t *parent = json_object_get(job->order, "parent");
    Text store = json_text_or(json_object_get(job->repository, "store"), "name", TEXT("?"));
    if (json_is_object(parent))
        job_log(job, LOG_INFO, "backup.opened", "store %.*s, on top of backup %" PRIu64,
                TEXT_ARG(store), json_u64_or(parent, "sequence", 0));
    else
        job_log(job, LOG_INFO, "backup.opened", "store %.*s, the first backup of this source",
                TEXT_ARG(store));
    job_log(job, LOG_INFO, "source.opened", "%s, read over %u of %u lanes", engine, given, wanted);
}

static void tell_part(Job *job, const json_t *part)
{
    scoped(buf_free) Buf name = {0};
    Text kind = json_text_or(part, "kind", TEXT("part"));
    uint64_t rows = json_u64_or(part, "rows", 0);
    json_escape_bytes(slice_of_text(json_text_or(part, "name", TEXT("?"))), &name);
    if (rows != 0)
        job_log(job, LOG_INFO, "backup.part",
                "%.*s %s: %" PRIu64 " entries, %" PRIu64 " rows, %" PRIu64 " bytes", TEXT_ARG(kind),
                buf_cstr(&name), json_u64_or(part, "entries", 0), rows,
                json_u64_or(part, "bytes", 0));
    else
        job_log(job, LOG_INFO, "backup.part", "%.*s %s: %" PRIu64 " entries, %" PRIu64 " bytes",
                TEXT_ARG(kind), buf_cstr(&name), json_u64_or(part, "entries", 0),
                json_u64_or(part, "bytes", 0));
}

void tell_read(Job *job, const Receipt *receipt)
{
    char at[CLOCK_TEXT];
    Err ignored = {0};
    scoped(json_release) json_t *details = NULL;
    clock_rfc3339(receipt->consistent_ns, at);
    job_log(job, LOG_INFO, "backup.snapshot", "consistent at %s%s%.*s", at,
            receipt->position.len == 0 ? "" : ", ", TEXT_ARG(receipt->position));
    if (receipt->details.len == 0 || !json_parse(receipt->details, &details, &ignored))
        return;
    const json_t *parts = json_object_get(details, "items");
    size_t count = json_array_size(parts);
    for (size_t i = 0; i < count && i < PARTS_MOST; i++)
        tell_part(job, json_array_get(parts, i));
    if (count > PARTS_MOST)
        job_log(job, LOG_INFO, "backup.part", "and %zu more: `holdfast backup show` lists them",
                count - PARTS_MOST);
}

void tell_stored(Job *job, const RepoBackup *made, size_t packs, size_t read_back)
{
    job_log(job, LOG_INFO, "backup.stored",
            "%" PRIu64 " entries, %" PRIu64 " bytes read, %" PRIu64 " of them new; %" PRIu64
            " bytes stored in %zu packs, %zu of them read back",
            made->entries, made->bytes, made->new_bytes, made->stored_bytes, packs, read_back);
}

void tell_committed(Job *job, const RepoBackup *made, bool partial, uint64_t issues)
{
    char id[BACKUP_ID_TEXT];
    uuid_backup_text(&made->id, id);
    job_log(job, partial ? LOG_WARN : LOG_INFO, "backup.committed",
            "%s, number %" PRIu64 " of its source%s, %" PRIu64 " issues", id, made->sequence,
            partial ? ", partial" : "", issues);
}

void tell_issue(Job *job, uint64_t number, const Issue *issue, const char *kind)
{
    scoped(buf_free) Buf path = {0};
    if (number > ISSUES_MOST)
        return;
    json_escape_bytes(slice_of_text(issue->path), &path);
    job_log(job, issue->kind == ISSUE_NOTE ? LOG_INFO : LOG_WARN, "backup.issue",
            "%s %.500s: %.*s%s", kind, buf_cstr(&path), TEXT_ARG(issue->text),
            number == ISSUES_MOST ? " (more issues are in the backup's ledger)" : "");
}
