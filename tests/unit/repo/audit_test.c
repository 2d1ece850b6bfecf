/* SPDX-License-Identifier: Apache-2.0
 * What checks found comes back as it was said, and only from the hand of the prune role, in the
 * repository that it was said of, under the name that it was given. */
#include "common/base/mem.h"
#include "common/repo/canon.h"
#include "common/repo/object.h"
#include "common/repo/survey.h"
#include "tests/harness/repository.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

typedef struct Pruner {
    Keyring *keyring;
    Repo *repo;
} Pruner;

static Pruner pruner_of(const Repository *r)
{
    Pruner pruner;
    char folder[80];
    Err err = {0};
    snprintf(folder, sizeof folder, "%s/keys", r->dir);
    assert_true(
        keyring_open_at(&pruner.keyring, &(KeyringPlace){.directory = folder}, "test", true, &err));
    assert_true(repo_open(&pruner.repo, r->store, pruner.keyring, NULL, &err));
    return pruner;
}

static void pruner_close(Pruner *pruner)
{
    repo_close(pruner->repo);
    keyring_close(pruner->keyring);
}

/* Says one check and two packs, as this hand; the object's id. */
static Uuid say(Repo *repo)
{
    RepoAudit audit = {.id = repo_audit_id(1700000000123456789), .said_ns = 1700000000123456789};
    Err err = {0};
    audit.verification_count = 1;
    audit.verifications = mem_array(AuditVerification, 1);
    audit.verifications[0] = (AuditVerification){.level = TEXT("content"),
                                                 .result = TEXT("failed"),
                                                 .started_ns = -5,
                                                 .finished_ns = 1700000000000001000,
                                                 .worker = TEXT("w1"),
                                                 .host = TEXT("db1"),
                                                 .checks = TEXT("{\"level\":\"content\"}")};
    audit.pack_count = 2;
    audit.packs = mem_array(AuditPack, 2);
    audit.packs[0] = (AuditPack){.object = {{7}}, .sha256 = {{9}}, .verified_ns = 3000};
    audit.packs[1] = (AuditPack){.damaged_ns = 4000, .damage = TEXT("a bit")};
    if (!repo_audit_put(repo, &audit, &err))
        fail_msg("%s", err.text);
    Uuid id = audit.id;
    repo_audit_free(&audit);
    return id;
}

static void must_find(Repository *r, const Uuid *id, SurveyFinding wanted, const char *cause)
{
    RepoAudit audit;
    SurveyFinding finding;
    Err why = {0}, err = {0};
    assert_true(survey_audit(r->repo, id, &audit, &finding, &why, &err));
    assert_int_equal(finding, wanted);
    assert_string_equal(why.cause, cause);
    repo_audit_free(&audit);
}

static void what_was_said_is_read(void **state)
{
    (void)state;
    Repository *r = repository_new(false);
    Pruner pruner = pruner_of(r);
    Uuid id = say(pruner.repo);
    RepoAudit audit;
    bool found;
    Err err = {0};
    assert_true(repo_audit_get(r->repo, &id, &audit, &found, &err) && found);
    assert_true(audit.verification_count == 1 && audit.pack_count == 2);
    assert_true(text_equal(audit.verifications[0].result, TEXT("failed")));
    assert_true(text_equal(audit.verifications[0].host, TEXT("db1")));
    assert_true(audit.verifications[0].started_ns == -5);
    assert_true(audit.verifications[0].finished_ns == 1700000000000001000);
    assert_true(audit.packs[0].object.bytes[0] == 7 && audit.packs[0].verified_ns == 3000);
    assert_true(audit.packs[0].damaged_ns == 0 && audit.packs[1].damaged_ns == 4000);
    assert_true(text_equal(audit.packs[1].damage, TEXT("a bit")));
    assert_true(uuid_is_nil(&audit.previous) && audit.said_ns == 1700000000123456789);
    repo_audit_free(&audit);
    must_find(r, &(Uuid){{1}}, SURVEY_ABSENT, "");
    pruner_close(&pruner);
    repository_free(r);
}

static void another_hand_says_nothing(void **state)
{
    (void)state;
    Repository *r = repository_new(false);
    Uuid by_writer = say(r->repo); /* a writer may sign, and put what it likes into its own files */
    must_find(r, &by_writer, SURVEY_BAD, "repo.wrong_signer");
    Pruner pruner = pruner_of(r);
    Uuid id = say(pruner.repo);
    must_find(r, &id, SURVEY_WHOLE, "");
    pruner_close(&pruner);
    repository_revoke(r, "testhost", &(Sha256){{0}}, 1);
    must_find(r, &id, SURVEY_BAD, "repo.revoked");
    repository_free(r);
}

/* As somebody who may write the bucket would lay it there. */
static void put_copy(const Repository *from, const Uuid *id, const Repository *to, const Uuid *as)
{
    scoped(buf_free) Buf stored = {0};
    char text[UUID_TEXT], name[80];
    bool found;
    Err err = {0};
    uuid_text(id, text);
    snprintf(name, sizeof name, "audit/%s", text);
    assert_true(store_get(from->store, name, 1 << 20, &found, &stored, &err) && found);
    uuid_text(as, text);
    snprintf(name, sizeof name, "audit/%s", text);
    assert_true(store_put(to->store, name, buf_slice(&stored), &err));
}

static void what_is_not_of_here_says_nothing(void **state)
{
    (void)state;
    Repository *r = repository_new(false), *other = repository_new(false);
    Pruner pruner = pruner_of(r);
    Pruner stranger = pruner_of(other);
    Uuid id = say(pruner.repo), theirs = say(stranger.repo), renamed = {{1, 2, 3}};
    put_copy(r, &id, r, &renamed);
    must_find(r, &renamed, SURVEY_BAD, "repo.foreign");
    put_copy(other, &theirs, r, &theirs); /* of another key set */
    must_find(r, &theirs, SURVEY_BAD, "repo.key_mismatch");
    pruner_close(&stranger);
    pruner_close(&pruner);
    repository_free(other);
    repository_free(r);
}

/* Signed by the right hand and not what it should be. */
static void lay(Pruner *pruner, const Repository *r, const Uuid *id, const Uuid *repository,
                Slice body)
{
    scoped(buf_free) Buf head = {0}, stored = {0};
    char text[UUID_TEXT], name[80];
    uint8_t zero[32] = {0};
    Err err = {0};
    canon_array(&head, 5);
    canon_bin(&head, (Slice){id->bytes, 16});
    canon_bin(&head, (Slice){repository->bytes, 16});
    canon_int(&head, 1);
    canon_bin(&head, (Slice){zero, 16});
    canon_bin(&head, (Slice){zero, 32});
    assert_true(
        object_pack(pruner->keyring, DISK_AUDIT, NULL, buf_slice(&head), body, &stored, &err));
    uuid_text(id, text);
    snprintf(name, sizeof name, "audit/%s", text);
    assert_true(store_put(r->store, name, buf_slice(&stored), &err));
}

static void lies_are_refused_before_memory_is_taken(void **state)
{
    (void)state;
    static const uint8_t many[] = {0x82, 1, 1, 3, 0xdd, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t newer[] = {0x81, 1, 2};
    Repository *r = repository_new(false);
    Pruner pruner = pruner_of(r);
    const Uuid *here = &repo_facts(r->repo)->id;
    Uuid elsewhere = {{4}};
    lay(&pruner, r, &(Uuid){{1}}, here, (Slice){many, sizeof many});
    must_find(r, &(Uuid){{1}}, SURVEY_BAD, "repo.damaged");
    lay(&pruner, r, &(Uuid){{2}}, here, (Slice){newer, sizeof newer});
    must_find(r, &(Uuid){{2}}, SURVEY_BAD, "repo.version");
    lay(&pruner, r, &(Uuid){{3}}, &elsewhere, (Slice){newer, sizeof newer});
    must_find(r, &(Uuid){{3}}, SURVEY_BAD, "repo.foreign");
    pruner_close(&pruner);
    repository_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_said_is_read),
        cmocka_unit_test(another_hand_says_nothing),
        cmocka_unit_test(what_is_not_of_here_says_nothing),
        cmocka_unit_test(lies_are_refused_before_memory_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
