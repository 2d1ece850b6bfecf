/* SPDX-License-Identifier: Apache-2.0
 * Of a revoked host's backups those in the root's list are read, and no others, whatever they say.
 */
#include "tests/harness/repository.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

typedef struct Seen {
    unsigned good, revoked;
    Uuid refused;
} Seen;

static bool see(void *ctx, const RepoBackup *backup, bool marked, const Err *why, Err *err)
{
    Seen *seen = ctx;
    (void)err;
    assert_true(marked);
    if (why == NULL) {
        seen->good++;
        return true;
    }
    assert_string_equal(why->cause, "repo.revoked");
    seen->revoked++;
    seen->refused = backup->id;
    return true;
}

static Seen look(Repository *r)
{
    Seen seen = {0};
    Err err = {0};
    assert_true(repo_backups(r->repo, see, &seen, &err));
    return seen;
}

static void only_what_is_kept_is_read(void **state)
{
    (void)state;
    Repository *r = repository_new(false);
    RepositoryEntry entry = {.entry = {.path = TEXT("a"), .type = ENTRY_FILE, .mode = 0644},
                             .content = slice_of_text(TEXT("content of before"))};
    RepoBackup backups[3] = {0}, late = {0};
    WriterParams params;
    Err err = {0};
    entry.entry.size = entry.content.len;
    for (unsigned i = 0; i < 3; i++)
        repository_backup(r, &entry, 1, i == 0 ? NULL : &backups[i - 1], &backups[i]);
    assert_int_equal(look(r).good, 3);
    repository_revoke(r, "testhost", &(Sha256[2]){backups[0].manifest, backups[2].manifest}[0], 2);
    Seen seen = look(r);
    assert_true(seen.good == 2 && seen.revoked == 1);
    assert_true(uuid_equal(&seen.refused, &backups[1].id));
    repository_compare(r, &backups[0], &entry, 1);
    /* The host itself is told before it writes anything. */
    repository_params(r, &backups[2], &params);
    entry.content = slice_of_text(TEXT("content of a thief, that is not there yet"));
    entry.entry.size = entry.content.len;
    assert_false(repository_try(&params, &entry, 1, &late, NULL, &err));
    assert_string_equal(err.cause, "key.revoked");
    /* Whoever takes the list away makes readers refuse more, never less. */
    err = (Err){0};
    assert_true(store_remove(r->store, "keys/test.kept.2", &err));
    repository_reopen(r);
    seen = look(r);
    assert_true(seen.good == 0 && seen.revoked == 3);
    repo_backup_free(&late);
    for (unsigned i = 0; i < 3; i++)
        repo_backup_free(&backups[i]);
    repository_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(only_what_is_kept_is_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
