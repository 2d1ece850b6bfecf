/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/proofs.h"

#include "common/base/clock.h"
#include "common/base/crashpoint.h"
#include "common/base/mem.h"
#include "common/catalog/catalog_proof.h"
#include "common/repo/repo_audit.h"

/* An object stays below a few MiB. */
enum { CHECKS_AT_ONCE = 1000, PACKS_AT_ONCE = 20000 };

typedef struct Tell {
    const Fence *fence;
    Uuid last; /* written before; nil: none */
    Sha256 last_sha256;
    Proofs due;
    Uuid object;
    Sha256 sha256;
} Tell;

static bool call_last(Catalog *catalog, void *ctx, Err *err)
{
    Tell *tell = ctx;
    return catalog_proofs_last(catalog, tell->fence, &tell->last, &tell->last_sha256, err);
}

static bool call_due(Catalog *catalog, void *ctx, Err *err)
{
    Tell *tell = ctx;
    catalog_proofs_free(&tell->due);
    return catalog_proofs(catalog, tell->fence, CHECKS_AT_ONCE, PACKS_AT_ONCE, &tell->due, err);
}

static bool call_told(Catalog *catalog, void *ctx, Err *err)
{
    Tell *tell = ctx;
    return catalog_proofs_told(catalog, tell->fence, &tell->object, &tell->sha256, &tell->due, err);
}

static void say_checks(const Proofs *due, RepoAudit *audit)
{
    audit->verification_count = due->check_count;
    audit->verifications = mem_array(AuditVerification, due->check_count);
    for (size_t i = 0; i < due->check_count; i++) {
        const ProofCheck *row = &due->checks[i];
        audit->verifications[i] = (AuditVerification){.backup = row->backup,
                                                      .level = row->level,
                                                      .result = row->result,
                                                      .started_ns = row->started_ns,
                                                      .finished_ns = row->finished_ns,
                                                      .worker = row->worker,
                                                      .host = row->host,
                                                      .checks = row->checks};
    }
}

static void say_packs(const Proofs *due, RepoAudit *audit)
{
    audit->pack_count = due->pack_count;
    audit->packs = mem_array(AuditPack, due->pack_count);
    for (size_t i = 0; i < due->pack_count; i++) {
        const ProofPack *row = &due->packs[i];
        audit->packs[i] = (AuditPack){.object = row->object,
                                      .sha256 = row->sha256,
                                      .verified_ns = row->verified_ns,
                                      .checked_ns = row->checked_ns,
                                      .damaged_ns = row->damaged_ns,
                                      .damage = row->damage};
    }
}

static bool write_one(Session *session, Tell *tell, Err *err)
{
    int64_t now = clock_wall_ns();
    RepoAudit audit = {.id = repo_audit_id(now),
                       .previous = tell->last,
                       .previous_sha256 = tell->last_sha256,
                       .said_ns = now};
    say_checks(&tell->due, &audit);
    say_packs(&tell->due, &audit);
    bool fine = repo_audit_put(session->repo, &audit, err);
    tell->object = audit.id;
    tell->sha256 = audit.sha256;
    repo_audit_free(&audit);
    return fine;
}

bool proofs_tell(Session *session, Job *job, ProofCounts *counts, Err *err)
{
    Tell tell = {.fence = &job->fence};
    job_phase(job, "proofs");
    bool fine = patient_call(job->catalog, call_last, &tell, err);
    for (;;) {
        fine = fine && job_go_on(job, err) && patient_call(job->catalog, call_due, &tell, err);
        if (!fine || tell.due.check_count + tell.due.pack_count == 0)
            break;
        fine = write_one(session, &tell, err);
        CRASHPOINT("proofs.stored");
        fine = fine && patient_call(job->catalog, call_told, &tell, err);
        if (!fine)
            break;
        tell.last = tell.object;
        tell.last_sha256 = tell.sha256;
        counts->objects++;
        counts->checks += tell.due.check_count;
        counts->packs += tell.due.pack_count;
    }
    catalog_proofs_free(&tell.due);
    return fine;
}
