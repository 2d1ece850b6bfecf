/* SPDX-License-Identifier: Apache-2.0
 * Small files whose bundle lies in a damaged pack are read again though they did not change, and
 * laid together as they were: so the older backup is whole again too. */
#include "common/base/mem.h"
#include "common/repo/pack.h"
#include "tests/harness/repository.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* Most bundles of such files are ended by their segment, and not by a name. */
enum { FIRST = 60, SECOND = 300, FILES = FIRST + SECOND + 1, SMALL = 100 * 1024, LARGE = 32 << 20 };

static const int64_t LONG_AGO = 1500000000000000000;

typedef struct Tree {
    RepositoryEntry entries[FILES];
    char paths[FILES][40];
    uint8_t *bytes;
} Tree;

/* Small files in two folders, and a large one behind them. */
static Tree *tree_new(void)
{
    Tree *tree = mem_new(Tree);
    size_t all = (size_t)(FILES - 1) * SMALL + LARGE;
    uint64_t seed = 7;
    tree->bytes = mem_resize(NULL, all);
    for (size_t i = 0; i < all; i += 8) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        memcpy(tree->bytes + i, &seed, 8);
    }
    for (size_t i = 0; i < FILES; i++) {
        bool large = i == FILES - 1;
        size_t size = large ? LARGE : SMALL;
        if (large)
            snprintf(tree->paths[i], sizeof tree->paths[i], "zz");
        else
            snprintf(tree->paths[i], sizeof tree->paths[i], "%s/name %04zu", i < FIRST ? "a" : "b",
                     i);
        tree->entries[i] = (RepositoryEntry){.entry = {.path = text_of(tree->paths[i]),
                                                       .type = ENTRY_FILE,
                                                       .cut = large ? CUT_IMAGE : CUT_DUMP,
                                                       .mode = 0644,
                                                       .mtime_ns = LONG_AGO,
                                                       .ctime_ns = LONG_AGO,
                                                       .inode = i + 10,
                                                       .size = size},
                                             .content = {tree->bytes + i * SMALL, size}};
    }
    return tree;
}

static void tree_free(Tree *tree)
{
    mem_free(tree->bytes);
    mem_free(tree);
}

/* The packs of content that `after` has and `before` has not are gone, and known to be. */
static void lose_new(Repository *r, const RepoBackup *before, const RepoBackup *after)
{
    unsigned lost = 0;
    Err err = {0};
    for (size_t i = 0; i < after->pack_count; i++) {
        Uuid object;
        char name[PACK_NAME];
        bool older = false;
        for (size_t n = 0; n < before->pack_count; n++)
            older = older || before->pack_nos[n] == after->pack_nos[i];
        if (older || !ledger_damage(r->ledger, after->pack_nos[i], PACK_DATA, &object))
            continue;
        pack_name(&object, name);
        assert_true(store_remove(r->store, name, &err));
        lost++;
    }
    assert_true(lost > 0);
}

/* The large file and the first folder; then the second too, whose packs are lost. */
static void two_and_a_loss(Repository *r, Tree *tree, RepoBackup *first, RepoBackup *second)
{
    RepositoryEntry *some = mem_array(RepositoryEntry, FIRST + 1);
    memcpy(some, tree->entries, FIRST * sizeof some[0]);
    some[FIRST] = tree->entries[FILES - 1];
    repository_backup(r, some, FIRST + 1, NULL, first);
    repository_backup(r, tree->entries, FILES, first, second);
    repository_compare(r, second, tree->entries, FILES);
    lose_new(r, first, second);
    mem_free(some);
}

static void what_is_damaged_is_read_again(void **state)
{
    (void)state;
    Repository *r = repository_new(false);
    Tree *tree = tree_new();
    RepoBackup first = {0}, second = {0}, third = {0};
    two_and_a_loss(r, tree, &first, &second);
    repository_backup(r, tree->entries, FILES, &second, &third);
    assert_true(third.new_bytes == (uint64_t)SECOND * SMALL);
    repository_compare(r, &third, tree->entries, FILES);
    repository_compare(r, &second, tree->entries, FILES);
    repo_backup_free(&first);
    repo_backup_free(&second);
    repo_backup_free(&third);
    tree_free(tree);
    repository_free(r);
}

/* What changed elsewhere since then must not be laid into the bundles that are made again. */
static void a_bundle_is_made_again_beside_what_changed(void **state)
{
    (void)state;
    Repository *r = repository_new(false);
    Tree *tree = tree_new();
    Tree *before = tree_new();
    RepoBackup first = {0}, second = {0}, third = {0};
    two_and_a_loss(r, tree, &first, &second);
    for (size_t i = FIRST - 3; i < FIRST; i++) {
        tree->bytes[i * SMALL] ^= 1;
        tree->entries[i].entry.ctime_ns += 1000;
    }
    repository_backup(r, tree->entries, FILES, &second, &third);
    assert_true(third.new_bytes == (uint64_t)(SECOND + 3) * SMALL);
    repository_compare(r, &third, tree->entries, FILES);
    repository_compare(r, &second, before->entries, FILES);
    repo_backup_free(&first);
    repo_backup_free(&second);
    repo_backup_free(&third);
    tree_free(before);
    tree_free(tree);
    repository_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_damaged_is_read_again),
        cmocka_unit_test(a_bundle_is_made_again_beside_what_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
