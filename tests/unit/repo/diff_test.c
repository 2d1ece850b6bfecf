/* SPDX-License-Identifier: Apache-2.0
 * Two backups compared, held against a comparison of what went into them. */
#include "common/base/mem.h"
#include "common/repo/diff.h"
#include "tests/harness/repository.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { FILES = 4000, ROUNDS = 6, SIZE = 200 };

static const int64_t LONG_AGO = 1500000000000000000;

/* A file that may or may not be there; its content is made of `seed`. */
typedef struct Made {
    bool there;
    uint32_t seed, mode;
    int64_t mtime_ns;
} Made;

typedef struct Tree {
    Made made[FILES];
    char paths[FILES][32];
    uint8_t bytes[FILES][SIZE];
    RepositoryEntry entries[FILES];
    size_t count;
} Tree;

static void build(Tree *tree)
{
    tree->count = 0;
    for (size_t i = 0; i < FILES; i++) {
        const Made *made = &tree->made[i];
        if (!made->there)
            continue;
        snprintf(tree->paths[i], sizeof tree->paths[i], "d%02zu/file %05zu", i / 100, i);
        for (size_t k = 0; k < SIZE; k++)
            tree->bytes[i][k] = (uint8_t)((made->seed + 1) * 2654435761u >> (k % 3 * 8));
        tree->entries[tree->count++] = (RepositoryEntry){.entry = {.path = text_of(tree->paths[i]),
                                                                   .type = ENTRY_FILE,
                                                                   .cut = CUT_DUMP,
                                                                   .mode = made->mode,
                                                                   .mtime_ns = made->mtime_ns,
                                                                   .ctime_ns = made->mtime_ns,
                                                                   .inode = i + 10,
                                                                   .size = SIZE},
                                                         .content = {tree->bytes[i], SIZE}};
    }
}

typedef struct Expect {
    const Tree *before, *after;
    size_t next; /* file */
    uint64_t told;
    const char *prefix;
} Expect;

static bool differs(const Expect *expect, size_t i)
{
    const Made *a = &expect->before->made[i], *b = &expect->after->made[i];
    if (expect->prefix != NULL &&
        strncmp(b->there ? expect->after->paths[i] : expect->before->paths[i], expect->prefix, 3) !=
            0)
        return false;
    return a->there != b->there ||
           (a->there && (a->seed != b->seed || a->mode != b->mode || a->mtime_ns != b->mtime_ns));
}

static bool check(void *ctx, const DiffEntry *entry, bool *stop, Err *err)
{
    Expect *expect = ctx;
    (void)stop;
    (void)err;
    while (expect->next < FILES && !differs(expect, expect->next))
        expect->next++;
    assert_true(expect->next < FILES);
    size_t i = expect->next++;
    const Made *a = &expect->before->made[i], *b = &expect->after->made[i];
    const Entry *shown = entry->after != NULL ? entry->after : entry->before;
    assert_true(text_equal(shown->path,
                           text_of(b->there ? expect->after->paths[i] : expect->before->paths[i])));
    assert_int_equal(entry->before != NULL, a->there);
    assert_int_equal(entry->after != NULL, b->there);
    if (a->there && b->there)
        assert_int_equal(entry->content, a->seed != b->seed);
    expect->told++;
    return true;
}

static RepoReader *open_reader(Repository *r, RepoLocator **locator, const RepoBackup *backup)
{
    Err err = {0};
    RepoReader *reader;
    assert_true(locator_open_index(locator, r->repo, NULL, &err));
    ReaderParams params = {.repo = r->repo, .locator = *locator, .backup = backup->id};
    assert_true(reader_open(&reader, &params, &err));
    return reader;
}

static uint64_t compare(Repository *r, const RepoBackup *one, const RepoBackup *other,
                        const Tree *before, const Tree *after, const char *prefix)
{
    Err err = {0};
    RepoLocator *left, *right;
    Text path = text_of(prefix == NULL ? "" : prefix);
    ReaderSelection selection = {.paths = &path, .path_count = prefix != NULL, .phase = -1};
    Expect expect = {.before = before, .after = after, .prefix = prefix};
    RepoReader *a = open_reader(r, &left, one), *b = open_reader(r, &right, other);
    assert_true(diff_run(a, b, &selection, check, &expect, &err));
    while (expect.next < FILES)
        assert_false(differs(&expect, expect.next++));
    reader_close(a);
    reader_close(b);
    locator_close(left);
    locator_close(right);
    return expect.told;
}

static void mutate(Tree *tree, unsigned *seed, unsigned in_thousand)
{
    for (size_t i = 0; i < FILES; i++) {
        Made *made = &tree->made[i];
        if ((unsigned)rand_r(seed) % 1000 >= in_thousand)
            continue;
        switch (rand_r(seed) % 4) {
        case 0:
            made->there = !made->there;
            break;
        case 1:
            made->seed++;
            made->mtime_ns += 1000;
            break;
        case 2:
            made->mtime_ns += 1000; /* touched: read again, and stored in another bundle */
            break;
        default:
            made->mode ^= 0111;
        }
    }
}

static void what_differs_is_told_and_nothing_else(void **state)
{
    (void)state;
    static const unsigned shares[ROUNDS] = {0, 1, 20, 200, 700, 1000};
    Tree *trees[2] = {mem_new(Tree), mem_new(Tree)};
    unsigned seed = 7;
    for (unsigned round = 0; round < ROUNDS; round++) {
        Repository *r = repository_new(round % 2 == 1);
        RepoBackup one, other;
        for (size_t i = 0; i < FILES; i++)
            trees[0]->made[i] =
                (Made){rand_r(&seed) % 10 != 0, (uint32_t)rand_r(&seed), 0644, LONG_AGO};
        build(trees[0]);
        *trees[1] = *trees[0];
        mutate(trees[1], &seed, shares[round]);
        build(trees[1]);
        repository_backup(r, trees[0]->entries, trees[0]->count, NULL, &one);
        repository_backup(r, trees[1]->entries, trees[1]->count, &one, &other);
        uint64_t told = compare(r, &one, &other, trees[0], trees[1], NULL);
        assert_int_equal(told, compare(r, &other, &one, trees[1], trees[0], NULL));
        assert_true(told > 0 || shares[round] == 0);
        assert_true(compare(r, &one, &other, trees[0], trees[1], "d17") <= told);
        repo_backup_free(&one);
        repo_backup_free(&other);
        repository_free(r);
    }
    mem_free(trees[0]);
    mem_free(trees[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_differs_is_told_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
