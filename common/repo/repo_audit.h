/* SPDX-License-Identifier: Apache-2.0
 * repo_audit.h — what checks found, said in the store itself: audit/<id>, written once, signed by a
 * certificate of the prune role. The ids sort by age, and each names the one before it, so that one
 * which was taken away is missed. What a lost catalogue knew of its backups' checks, and of packs
 * that were seen whole or damaged, comes back from these. */
#ifndef COMMON_REPO_REPO_AUDIT_H
#define COMMON_REPO_REPO_AUDIT_H

#include "common/base/buf.h"
#include "common/repo/repo.h"

/* One check of one backup. Texts are lent. */
typedef struct AuditVerification {
    Uuid backup;
    Text level, result;
    int64_t started_ns, finished_ns;
    Text worker, host;
    Text checks; /* a JSON object: what was counted */
} AuditVerification;

/* The last word on one pack; a time of 0 is never. */
typedef struct AuditPack {
    Uuid object;
    Sha256 sha256;                               /* of the stored object that was looked at */
    int64_t verified_ns, checked_ns, damaged_ns; /* opened whole; hashed whole; found damaged */
    Text damage;
} AuditPack;

typedef struct RepoAudit {
    Uuid id;       /* of a new one: made by repo_audit_id */
    Uuid previous; /* nil: it is the first */
    Sha256 previous_sha256;
    int64_t said_ns;
    AuditVerification *verifications;
    size_t verification_count;
    AuditPack *packs;
    size_t pack_count;
    Sha256 sha256; /* of the stored object; of one that was written or read */
    Buf body;      /* of one that was read: texts point into it */
} RepoAudit;

/* A name that no other has, and that sorts behind every one made before said_ns. */
Uuid repo_audit_id(int64_t said_ns);

/* Durable when it returns. A keyring of the prune role signs. */
MUST_CHECK bool repo_audit_put(Repo *repo, RepoAudit *audit, Err *err);

/* Needs a reader. What another hand than that of the prune role signed, what was revoked, and what
 * is of another repository or stands under another name is ERR_CORRUPT, and says so. Freed by
 * repo_audit_free. */
MUST_CHECK bool repo_audit_get(Repo *repo, const Uuid *id, RepoAudit *audit, bool *found, Err *err);
void repo_audit_free(RepoAudit *audit);

#endif
