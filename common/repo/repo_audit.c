/* SPDX-License-Identifier: Apache-2.0 */
#include "common/repo/repo_audit.h"

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/repo/canon.h"
#include "common/repo/object.h"
#include "common/repo/repo_internal.h"

enum { FORMAT = 1, HEAD_PARTS = 5, VERIFICATION_PARTS = 8, PACK_PARTS = 6, BODY_FIELDS = 3 };
enum { VERIFICATION_LEAST = 30, PACK_LEAST = 50 }; /* bytes that a row takes at least */
enum { KEY_FORMAT = 1, KEY_VERIFICATIONS = 2, KEY_PACKS = 3 };

static const int64_t NS_A_MS = 1000000;

Uuid repo_audit_id(int64_t said_ns)
{
    uint8_t random[16];
    rand_bytes(random, sizeof random);
    return uuid_backup((uint64_t)(said_ns / NS_A_MS), random);
}

/* --- writing -------------------------------------------------------------------------------- */

static void add_uuid(Buf *out, const Uuid *id)
{
    canon_bin(out, (Slice){id->bytes, sizeof id->bytes});
}

static void add_sha256(Buf *out, const Sha256 *sha256)
{
    canon_bin(out, (Slice){sha256->bytes, sizeof sha256->bytes});
}

static void add_head(Buf *out, const Repo *repo, const RepoAudit *audit)
{
    canon_array(out, HEAD_PARTS);
    add_uuid(out, &audit->id);
    add_uuid(out, &repo_facts(repo)->id);
    canon_int(out, audit->said_ns);
    add_uuid(out, &audit->previous);
    add_sha256(out, &audit->previous_sha256);
}

static void add_verification(Buf *out, const AuditVerification *row)
{
    canon_array(out, VERIFICATION_PARTS);
    add_uuid(out, &row->backup);
    canon_text(out, row->level);
    canon_text(out, row->result);
    canon_int(out, row->started_ns);
    canon_int(out, row->finished_ns);
    canon_text(out, row->worker);
    canon_text(out, row->host);
    canon_text(out, row->checks);
}

static void add_pack(Buf *out, const AuditPack *row)
{
    canon_array(out, PACK_PARTS);
    add_uuid(out, &row->object);
    add_sha256(out, &row->sha256);
    canon_int(out, row->verified_ns);
    canon_int(out, row->checked_ns);
    canon_int(out, row->damaged_ns);
    canon_text(out, row->damage);
}

static void add_body(Buf *out, const RepoAudit *audit)
{
    canon_map(out, BODY_FIELDS);
    canon_uint(out, KEY_FORMAT);
    canon_uint(out, FORMAT);
    canon_uint(out, KEY_VERIFICATIONS);
    canon_array(out, (uint32_t)audit->verification_count);
    for (size_t i = 0; i < audit->verification_count; i++)
        add_verification(out, &audit->verifications[i]);
    canon_uint(out, KEY_PACKS);
    canon_array(out, (uint32_t)audit->pack_count);
    for (size_t i = 0; i < audit->pack_count; i++)
        add_pack(out, &audit->packs[i]);
}

bool repo_audit_put(Repo *repo, RepoAudit *audit, Err *err)
{
    scoped(buf_free) Buf head = {0};
    scoped(buf_free) Buf body = {0};
    char name[REPO_NAME];
    repo_name("audit", &audit->id, name);
    add_head(&head, repo, audit);
    add_body(&body, audit);
    return repo_put(repo, DISK_AUDIT, name, NULL, buf_slice(&head), buf_slice(&body),
                    &audit->sha256, err) ||
           err_note(err, "writing %s", name);
}

/* --- reading -------------------------------------------------------------------------------- */

static Text read_text(CanonReader *r)
{
    Slice bytes = canon_read_bin(r);
    return (Text){(const char *)bytes.at, bytes.len};
}

static void read_verification(CanonReader *r, AuditVerification *row)
{
    r->bad = r->bad || canon_read_array(r) != VERIFICATION_PARTS;
    canon_read_exact(r, row->backup.bytes, sizeof row->backup.bytes);
    row->level = read_text(r);
    row->result = read_text(r);
    row->started_ns = canon_read_int(r);
    row->finished_ns = canon_read_int(r);
    row->worker = read_text(r);
    row->host = read_text(r);
    row->checks = read_text(r);
}

static void read_pack(CanonReader *r, AuditPack *row)
{
    r->bad = r->bad || canon_read_array(r) != PACK_PARTS;
    canon_read_exact(r, row->object.bytes, sizeof row->object.bytes);
    canon_read_exact(r, row->sha256.bytes, sizeof row->sha256.bytes);
    row->verified_ns = canon_read_int(r);
    row->checked_ns = canon_read_int(r);
    row->damaged_ns = canon_read_int(r);
    row->damage = read_text(r);
}

/* A count that the bytes do not have is refused before memory is taken. */
static size_t read_count(CanonReader *r, size_t least)
{
    uint32_t count = canon_read_array(r);
    r->bad = r->bad || count > r->left / least;
    return r->bad ? 0 : count;
}

static void read_verifications(CanonReader *r, RepoAudit *audit)
{
    audit->verification_count = read_count(r, VERIFICATION_LEAST);
    audit->verifications = mem_array(AuditVerification, audit->verification_count);
    for (size_t i = 0; i < audit->verification_count && !r->bad; i++)
        read_verification(r, &audit->verifications[i]);
}

static void read_packs(CanonReader *r, RepoAudit *audit)
{
    audit->pack_count = read_count(r, PACK_LEAST);
    audit->packs = mem_array(AuditPack, audit->pack_count);
    for (size_t i = 0; i < audit->pack_count && !r->bad; i++)
        read_pack(r, &audit->packs[i]);
}

static bool read_body(RepoAudit *audit, Err *err)
{
    CanonReader r = canon_reader(buf_slice(&audit->body));
    uint32_t fields = canon_read_map(&r);
    uint64_t last = 0, format = 0;
    for (uint32_t i = 0; i < fields && !r.bad; i++) {
        uint64_t key = canon_read_key(&r, &last);
        if (key == KEY_FORMAT)
            format = canon_read_uint(&r);
        else if (key == KEY_VERIFICATIONS)
            read_verifications(&r, audit);
        else if (key == KEY_PACKS)
            read_packs(&r, audit);
        else
            canon_skip(&r);
    }
    if (!canon_done(&r))
        return err_set(err, ERR_CORRUPT, "repo.damaged", "it does not hold what it should");
    return format == FORMAT ||
           err_set(err, ERR_CORRUPT, "repo.version", "a newer Holdfast wrote it");
}

static bool read_head(const Repo *repo, Slice head, const Uuid *id, RepoAudit *audit, Err *err)
{
    CanonReader r = canon_reader(head);
    Uuid repository;
    uint32_t parts = canon_read_array(&r);
    canon_read_exact(&r, audit->id.bytes, sizeof audit->id.bytes);
    canon_read_exact(&r, repository.bytes, sizeof repository.bytes);
    audit->said_ns = canon_read_int(&r);
    canon_read_exact(&r, audit->previous.bytes, sizeof audit->previous.bytes);
    canon_read_exact(&r, audit->previous_sha256.bytes, sizeof audit->previous_sha256.bytes);
    if (parts < HEAD_PARTS || r.bad)
        return err_set(err, ERR_CORRUPT, "repo.damaged", "its head is not that of an audit object");
    if (!uuid_equal(&repository, &repo_facts(repo)->id))
        return err_set(err, ERR_CORRUPT, "repo.foreign",
                       "it is of another repository: nothing that it says counts here");
    return uuid_equal(&audit->id, id) ||
           err_set(err, ERR_CORRUPT, "repo.foreign",
                   "it was written under another name: nothing that it says counts");
}

static bool check_hand(const Repo *repo, const Signer *signer, Err *err)
{
    if (keyring_plain(repo_keyring(repo)))
        return true;
    if (signer->revoked != 0)
        return err_set(err, ERR_CORRUPT, "repo.revoked",
                       "host %s signed it, whose certificate was revoked: nothing that it says "
                       "counts",
                       signer->host);
    return strcmp(signer->role, "prune") == 0 ||
           err_set(err, ERR_CORRUPT, "repo.wrong_signer",
                   "host %s signed it, which has no certificate of the prune role: nothing that it "
                   "says counts",
                   signer->host);
}

bool repo_audit_get(Repo *repo, const Uuid *id, RepoAudit *audit, bool *found, Err *err)
{
    scoped(buf_free) Buf head = {0};
    char name[REPO_NAME];
    Signer signer = {0};
    *audit = (RepoAudit){0};
    repo_name("audit", id, name);
    if (!repo_get(repo, DISK_AUDIT, name, NULL, found, &head, &audit->body, &audit->sha256, &signer,
                  err))
        return false;
    return !*found ||
           (check_hand(repo, &signer, err) && read_head(repo, buf_slice(&head), id, audit, err) &&
            read_body(audit, err)) ||
           err_note(err, "%s", name);
}

void repo_audit_free(RepoAudit *audit)
{
    mem_free(audit->verifications);
    mem_free(audit->packs);
    buf_free(&audit->body);
    *audit = (RepoAudit){0};
}
