/* SPDX-License-Identifier: Apache-2.0
 * rebuild_proofs.c — what checks had found, as the store itself says it: after the backups that
 * they were of, and after it is known which packs are there. */
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/catalog/catalog_proof.h"
#include "worker/job/rebuild_internal.h"

typedef struct Said {
    const Rebuild *rebuild;
    const RepoAudit *audit;
    Proofs proofs; /* points into audit */
    ProofsBack back;
} Said;

static bool call_proofs(Catalog *catalog, void *ctx, Err *err)
{
    Said *said = ctx;
    return catalog_rebuild_proofs(catalog, &said->rebuild->who, &said->audit->id,
                                  &said->audit->sha256, &said->proofs, &said->back, err);
}

/* What was counted is for people: where it cannot be read, the check counts without it. */
static Text object_or_none(Text text)
{
    scoped(json_release) json_t *value = NULL;
    Err err = {0};
    return json_parse(text, &value, &err) && json_is_object(value) ? text : TEXT("{}");
}

static void lend(const RepoAudit *audit, Proofs *proofs)
{
    proofs->check_count = audit->verification_count;
    proofs->checks = mem_array(ProofCheck, proofs->check_count);
    for (size_t i = 0; i < proofs->check_count; i++) {
        const AuditVerification *row = &audit->verifications[i];
        proofs->checks[i] = (ProofCheck){.backup = row->backup,
                                         .level = row->level,
                                         .result = row->result,
                                         .worker = row->worker,
                                         .host = row->host,
                                         .checks = object_or_none(row->checks),
                                         .started_ns = row->started_ns,
                                         .finished_ns = row->finished_ns};
    }
    proofs->pack_count = audit->pack_count;
    proofs->packs = mem_array(ProofPack, proofs->pack_count);
    for (size_t i = 0; i < proofs->pack_count; i++) {
        const AuditPack *row = &audit->packs[i];
        proofs->packs[i] = (ProofPack){.object = row->object,
                                       .sha256 = row->sha256,
                                       .verified_ns = row->verified_ns,
                                       .checked_ns = row->checked_ns,
                                       .damaged_ns = row->damaged_ns,
                                       .damage = row->damage};
    }
}

static bool tell(Rebuild *rebuild, const RepoAudit *audit, Err *err)
{
    Said said = {.rebuild = rebuild, .audit = audit};
    lend(audit, &said.proofs);
    Err why = {0};
    char id[UUID_TEXT];
    bool fine = patient_call(rebuild->params->catalog, call_proofs, &said, &why);
    if (!fine && rebuild_refused(&why)) {
        uuid_text(&audit->id, id);
        rebuild_find(
            rebuild, "audit",
            "audit/%s says what the catalogue does not take; verify again what it was of: %s", id,
            why.text);
        fine = true;
    } else if (!fine) {
        *err = why;
    }
    rebuild->counts.verifications += said.back.checks;
    rebuild->counts.proven += said.back.proven;
    rebuild->counts.known_damaged += said.back.damaged;
    catalog_proofs_free(&said.proofs);
    return fine;
}

/* The one that was read last, which is mostly the one that the next one names. */
typedef struct Chain {
    Uuid id;
    Sha256 sha256;
} Chain;

/* Each names the one before it. A listing is only a hint: that one is asked for by name. */
static bool check_before(Rebuild *rebuild, const Chain *last, const RepoAudit *audit, Err *err)
{
    RepoAudit before = {0};
    SurveyFinding finding;
    Err why = {0};
    char id[UUID_TEXT], named[UUID_TEXT];
    if (uuid_is_nil(&audit->previous) ||
        (uuid_equal(&audit->previous, &last->id) &&
         memcmp(&audit->previous_sha256, &last->sha256, sizeof last->sha256) == 0))
        return true;
    bool fine = survey_audit(rebuild->params->repo, &audit->previous, &before, &finding, &why, err);
    uuid_text(&audit->id, id);
    uuid_text(&audit->previous, named);
    if (fine && (finding == SURVEY_ABSENT ||
                 (finding == SURVEY_WHOLE &&
                  memcmp(&before.sha256, &audit->previous_sha256, sizeof before.sha256) != 0)))
        rebuild_find(rebuild, "audit",
                     "audit/%s was written after audit/%s, which is %s: what that one said of "
                     "checks is lost; put it back from a copy of the store, or verify again",
                     id, named,
                     finding == SURVEY_ABSENT ? "not in the store" : "another one than it was");
    repo_audit_free(&before);
    return fine;
}

/* What nobody with that right signed says nothing, and is told. */
static bool take(Rebuild *rebuild, Chain *last, const Uuid *id, Err *err)
{
    RepoAudit audit = {0};
    SurveyFinding finding;
    Err why = {0};
    bool fine = survey_audit(rebuild->params->repo, id, &audit, &finding, &why, err);
    if (fine && finding == SURVEY_BAD)
        rebuild_find(rebuild, "audit", "%s", why.text);
    else if (fine && finding == SURVEY_WHOLE) {
        fine = check_before(rebuild, last, &audit, err) && tell(rebuild, &audit, err);
        *last = (Chain){audit.id, audit.sha256};
    }
    repo_audit_free(&audit);
    return fine;
}

bool rebuild_proofs(Rebuild *rebuild, Err *err)
{
    const RebuildParams *params = rebuild->params;
    Uuid *ids = NULL;
    size_t count = 0;
    Chain last = {0};
    bool fine = survey_names(params->repo, "audit/", &ids, &count, err);
    for (size_t i = 0; fine && i < count; i++)
        fine = params->go_on(params->ctx, "proofs", i, count, err) &&
               take(rebuild, &last, &ids[i], err);
    mem_free(ids);
    return fine;
}
