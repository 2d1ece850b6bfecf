/* SPDX-License-Identifier: Apache-2.0
 * A repository without its index, or with a part of it: the packs say themselves what they hold. */
#include "common/base/mem.h"
#include "common/repo/locator.h"
#include "tests/harness/repository.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { FILES = 60, EACH = 70000 };

typedef struct Tree {
    RepositoryEntry entries[FILES];
    char paths[FILES][32];
    uint8_t bytes[FILES][EACH];
} Tree;

static Tree *tree_new(uint64_t seed)
{
    Tree *tree = mem_new(Tree);
    for (size_t i = 0; i < FILES; i++) {
        for (size_t k = 0; k < EACH; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            tree->bytes[i][k] = (uint8_t)(seed >> 60);
        }
        snprintf(tree->paths[i], sizeof tree->paths[i], "dir/%03zu", i);
        tree->entries[i] = (RepositoryEntry){
            .entry = {.path = text_of(tree->paths[i]), .type = ENTRY_FILE, .size = EACH},
            .content = {tree->bytes[i], EACH}};
    }
    return tree;
}

static void shell(const Repository *r, const char *script)
{
    char command[600];
    snprintf(command, sizeof command, "cd %s && %s", r->store_path, script);
    assert_int_equal(system(command), 0);
}

typedef struct Two {
    Repository *r;
    Tree *first, *second;
    RepoBackup backups[2];
} Two;

static void begin(Two *two, bool plain)
{
    *two = (Two){.r = repository_new(plain), .first = tree_new(1), .second = tree_new(2)};
    repository_backup(two->r, two->first->entries, FILES, NULL, &two->backups[0]);
    ledger_job(two->r->ledger);
    repository_backup(two->r, two->second->entries, FILES, &two->backups[0], &two->backups[1]);
}

static void compare_both(Two *two)
{
    repository_reopen(two->r);
    repository_compare(two->r, &two->backups[0], two->first->entries, FILES);
    repository_compare(two->r, &two->backups[1], two->second->entries, FILES);
}

static void end(Two *two)
{
    repo_backup_free(&two->backups[0]);
    repo_backup_free(&two->backups[1]);
    mem_free(two->first);
    mem_free(two->second);
    repository_free(two->r);
}

static uint64_t strays(const Two *two)
{
    RepoLocator *locator;
    uint64_t count;
    Err err = {0};
    assert_true(locator_open_index(&locator, two->r->repo, NULL, &err));
    assert_true(locator_strays(locator, &count, &err));
    locator_close(locator);
    return count;
}

static void without_any_index_everything_is_found_by_the_footers_of_packs(void **state)
{
    (void)state;
    for (unsigned plain = 0; plain < 2; plain++) {
        Two two;
        begin(&two, plain);
        assert_int_equal(strays(&two), 0);
        shell(two.r, "rm -r index");
        compare_both(&two);
        assert_int_equal(strays(&two), ledger_packs(two.r->ledger));
        end(&two);
    }
}

static void an_index_that_is_lost_or_damaged_costs_looking_into_its_packs(void **state)
{
    (void)state;
    static const char *const harms[] = {
        "rm \"$(ls -d index/* | head -1)\"",
        "f=$(ls -d index/* | head -1) && chmod u+w $f && truncate -s 70 $f",
        ("for f in index/*; do chmod u+w $f; printf X | dd of=$f bs=1 seek=150 conv=notrunc "
         "status=none; done"),
        "set -- index/* && chmod u+w $1 && cp $2 $1",
    };
    for (size_t i = 0; i < sizeof harms / sizeof *harms; i++) {
        Two two;
        begin(&two, false);
        shell(two.r, harms[i]);
        compare_both(&two);
        end(&two);
    }
}

/* What a dead attempt, a broken disk or a stranger left beside them hides nothing. */
static void packs_that_do_not_open_are_passed_over(void **state)
{
    (void)state;
    Two two;
    begin(&two, false);
    Repository *other = repository_new(false);
    RepoBackup foreign;
    char command[400];
    repository_backup(other, two.first->entries, FILES, NULL, &foreign);
    repo_backup_free(&foreign);
    snprintf(command, sizeof command,
             "rm -r index && cp -r %s/packs/. packs/ && mkdir -p packs/00 && "
             "head -c 100000 /dev/urandom > packs/00/00000000-0000-4000-8000-000000000001 && "
             ": > packs/00/00000000-0000-4000-8000-000000000002 && echo > packs/00/strange",
             other->store_path);
    shell(two.r, command);
    compare_both(&two);
    repository_free(other);
    end(&two);
}

/* Looking for what is lost must not look into every pack again and again. */
static void a_chunk_that_is_nowhere_is_not_found(void **state)
{
    (void)state;
    Two two;
    RepoLocator *locator;
    ChunkId ids[2] = {{{1}}, {{2}}};
    ChunkPlace places[2];
    Uuid none = {0};
    Err err = {0};
    begin(&two, false);
    shell(two.r, "rm -r index");
    assert_true(locator_open_index(&locator, two.r->repo, NULL, &err));
    assert_true(locator->ops->find(locator, ids, 2, places, &err));
    assert_false(places[0].found || places[1].found);
    assert_true(locator->ops->again(locator, &none, &ids[0], &places[0], &err));
    assert_false(places[0].found);
    locator_close(locator);
    end(&two);
}

/* As long as one pack of a session is there its index names all of them: of many places of a chunk
 * only one may be left. */
static void a_chunk_is_found_in_the_last_of_many_packs_that_held_it(void **state)
{
    (void)state;
    enum { TIMES = 8 };
    for (unsigned round = 0; round < 3; round++) {
        RepoBackup backups[TIMES];
        Repository *r = repository_new(false);
        Tree *tree = tree_new(1);
        for (unsigned i = 0; i < TIMES; i++) {
            repository_backup(r, tree->entries, FILES, i == 0 ? NULL : &backups[i - 1],
                              &backups[i]);
            ledger_lose(r->ledger);
            ledger_job(r->ledger);
            if (i == 0)
                shell(r, "ls packs/*/* > ../kept");
        }
        shell(r, "ls packs/*/* | grep -vxFf ../kept | xargs rm && rm ../kept");
        repository_reopen(r);
        repository_compare(r, &backups[0], tree->entries, FILES);
        for (unsigned i = 0; i < TIMES; i++)
            repo_backup_free(&backups[i]);
        mem_free(tree);
        repository_free(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_any_index_everything_is_found_by_the_footers_of_packs),
        cmocka_unit_test(an_index_that_is_lost_or_damaged_costs_looking_into_its_packs),
        cmocka_unit_test(packs_that_do_not_open_are_passed_over),
        cmocka_unit_test(a_chunk_that_is_nowhere_is_not_found),
        cmocka_unit_test(a_chunk_is_found_in_the_last_of_many_packs_that_held_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
