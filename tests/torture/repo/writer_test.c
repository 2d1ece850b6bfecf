/* SPDX-License-Identifier: Apache-2.0
 * The writer when things break: every call of the store and of the ledger fails once. Whichever it
 * is, the attempt says so, and the next one makes a whole backup. */
#include "common/base/mem.h"
#include "tests/harness/repository.h"
#include "tests/harness/store_faulty.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ENTRIES = 40, MIB = 1024 * 1024 };

typedef struct Content {
    RepositoryEntry entries[ENTRIES];
    char paths[ENTRIES][32];
    uint8_t *bytes;
} Content;

/* Bytes that neither shrink nor repeat, in files of all sizes. */
static Content *content_new(size_t large, size_t large_count)
{
    Content *c = mem_new(Content);
    size_t total = large * large_count + ENTRIES * 3000, at = 0;
    uint64_t state = 88172645463325252u;
    c->bytes = mem_resize(NULL, total + 8);
    for (size_t i = 0; i < total; i += 8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        memcpy(c->bytes + i, &state, 8);
    }
    for (size_t i = 0; i < ENTRIES; i++) {
        size_t len = i % 10 < large_count ? large / 4 : i * 70;
        snprintf(c->paths[i], sizeof c->paths[i], "folder/file %03zu", i);
        c->entries[i] = (RepositoryEntry){.entry = {.path = text_of(c->paths[i]),
                                                    .type = ENTRY_FILE,
                                                    .cut = CUT_DUMP,
                                                    .mode = 0600,
                                                    .mtime_ns = 1,
                                                    .ctime_ns = 1,
                                                    .inode = i + 1,
                                                    .size = len},
                                          .content = {c->bytes + at, len}};
        at += len;
    }
    return c;
}

static void content_free(Content *c)
{
    mem_free(c->bytes);
    mem_free(c);
}

/* A first attempt with a fault, then one without: true while the fault was still met. */
static bool survive(uint64_t call, Fault fault, bool ledger, const Content *c)
{
    Repository *r = repository_new(false);
    Store *faulty = store_faulty_new(r->store);
    Repo *repo;
    Err err = {0};
    RepoBackup backup;
    WriterParams params;
    assert_true(repo_open(&repo, faulty, r->keyring, NULL, &err));
    repository_params(r, NULL, &params);
    params.repo = repo;
    params.pack_bytes = MIB;
    if (ledger)
        ledger_fail_at(r->ledger, call);
    else
        store_faulty_at(faulty, call, fault);
    bool good = repository_try(&params, c->entries, ENTRIES, &backup, NULL, &err);
    bool hit = ledger ? !good : store_faulty_hit(faulty);
    /* A failed call ends the attempt, and never silently. */
    if (hit && good)
        fail_msg("call %llu failed and nobody noticed", (unsigned long long)call);
    if (good)
        repo_backup_free(&backup);
    else
        assert_int_not_equal(err.code, ERR_NONE);
    ledger_fail_at(r->ledger, 0);
    store_faulty_at(faulty, 0, fault);
    ledger_attempt(r->ledger);
    repository_params(r, NULL, &params);
    params.pack_bytes = MIB;
    memset(&err, 0, sizeof err);
    if (!repository_try(&params, c->entries, ENTRIES, &backup, NULL, &err))
        fail_msg("behind a failure of call %llu: %s", (unsigned long long)call, err.text);
    repository_commit(r, &backup);
    repository_compare(r, &backup, c->entries, ENTRIES);
    repo_backup_free(&backup);
    repo_close(repo);
    store_close(faulty);
    repository_free(r);
    return hit;
}

static void every_store_call_may_fail_once(void **state)
{
    (void)state;
    Content *c = content_new(2 * MIB, 1);
    uint64_t calls = 0;
    while (survive(calls + 1, FAULT_BEFORE, false, c))
        calls++;
    assert_true(calls > 8);
    content_free(c);
}

static void every_answer_of_the_store_may_be_lost(void **state)
{
    (void)state;
    Content *c = content_new(2 * MIB, 1);
    uint64_t answers = 0;
    while (survive(answers + 1, FAULT_AFTER, false, c))
        answers++;
    assert_true(answers >= 4); /* two packs at least, the index, the manifest */
    content_free(c);
}

static void every_ledger_call_may_fail_once(void **state)
{
    (void)state;
    Content *c = content_new(2 * MIB, 1);
    uint64_t calls = 0;
    while (survive(calls + 1, FAULT_BEFORE, true, c))
        calls++;
    assert_true(calls > 5);
    content_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_store_call_may_fail_once),
        cmocka_unit_test(every_answer_of_the_store_may_be_lost),
        cmocka_unit_test(every_ledger_call_may_fail_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
