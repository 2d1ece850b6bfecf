/* SPDX-License-Identifier: Apache-2.0
 * A backup is written and read back, with keys and without. */
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "tests/harness/repository.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { FILES = 900, OLD_NS = 1600000000 };

typedef struct Tree {
    RepositoryEntry entries[FILES];
    char *paths[FILES];
    uint8_t *contents[FILES];
    size_t count;
} Tree;

static int by_path(const void *a, const void *b)
{
    const RepositoryEntry *left = a, *right = b;
    return text_compare(left->entry.path, right->entry.path);
}

static uint32_t noise(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void add(Tree *tree, const char *path, size_t len, uint64_t zeros, uint32_t seed)
{
    size_t i = tree->count++;
    tree->paths[i] = mem_string(path);
    tree->contents[i] = mem_resize(NULL, len + 1);
    for (size_t b = 0; b < len; b++)
        tree->contents[i][b] = (uint8_t)("etaoin shrdlu\n"[noise(&seed) % 14]);
    tree->entries[i] =
        (RepositoryEntry){.entry = {.path = text_of(tree->paths[i]),
                                    .type = ENTRY_FILE,
                                    .cut = i % 2 == 0 ? CUT_DUMP : CUT_IMAGE,
                                    .mode = 0644,
                                    .uid = 7,
                                    .user = TEXT("someone"),
                                    .mtime_ns = (int64_t)OLD_NS * 1000000000 + (int64_t)i,
                                    .ctime_ns = (int64_t)OLD_NS * 1000000000 + (int64_t)i,
                                    .inode = i + 1,
                                    .size = len + zeros},
                          .content = {tree->contents[i], len},
                          .zeros = zeros};
}

static Tree *tree_new(void)
{
    Tree *tree = mem_new(Tree);
    char path[64];
    for (uint32_t i = 0; i < FILES - 10; i++) {
        snprintf(path, sizeof path, "small/%03u/file %u", i % 37, i);
        add(tree, path, (i * 37) % 4000, 0, i);
    }
    add(tree, "big/dump", 9 * 1024 * 1024 + 17, 0, 5);
    add(tree, "big/image", 7 * 1024 * 1024, 0, 6);
    add(tree, "big/sparse", 3 * 1024 * 1024 + 5, 40 * 1024 * 1024 + 3, 7);
    add(tree, "big/hole", 0, 100 * 1024 * 1024, 8);
    add(tree, "big/zeros", 0, 12345, 9);
    qsort(tree->entries, tree->count, sizeof tree->entries[0], by_path);
    return tree;
}

static void tree_free(Tree *tree)
{
    for (size_t i = 0; i < tree->count; i++) {
        mem_free(tree->paths[i]);
        mem_free(tree->contents[i]);
    }
    mem_free(tree);
}

static void round_trip(bool plain)
{
    Repository *r = repository_new(plain);
    Tree *tree = tree_new();
    RepoBackup first, second, third;
    repository_backup(r, tree->entries, tree->count, NULL, &first);
    assert_int_equal(first.entries, tree->count);
    assert_true(first.new_bytes > 19 * 1024 * 1024);
    repository_reopen(r);
    repository_compare(r, &first, tree->entries, tree->count);

    /* Nothing changed: known entries, and pages that are there already. */
    repository_backup(r, tree->entries, tree->count, &first, &second);
    assert_int_equal(second.new_bytes, 0);
    assert_int_equal(second.stored_bytes, 0);
    assert_int_equal(second.sequence, 2);
    repository_compare(r, &second, tree->entries, tree->count);

    /* Nothing changed and the list of yesterday is not used: cut alike, found again. */
    repository_backup(r, tree->entries, tree->count, NULL, &third);
    assert_int_equal(third.new_bytes, 0);
    assert_int_equal(third.stored_bytes, 0);
    repository_compare(r, &third, tree->entries, tree->count);
    assert_false(ledger_unsorted(r->ledger));
    repo_backup_free(&first);
    repo_backup_free(&second);
    repo_backup_free(&third);
    tree_free(tree);
    repository_free(r);
}

static void a_tree_comes_back_byte_for_byte(void **state)
{
    (void)state;
    round_trip(false);
}

static void a_tree_comes_back_from_a_plain_repository(void **state)
{
    (void)state;
    round_trip(true);
}

/* --- markers -------------------------------------------------------------------------------- */

enum { WRITERS = 4, OWED = 60 };

typedef struct Hurry {
    Repository *repository;
    Uuid *owed;
    pthread_barrier_t *start;
    Err err;
} Hurry;

/* As another process: with a repository of its own over the same store. */
static void *put_markers(void *ctx)
{
    Hurry *hurry = ctx;
    Repo *repo = NULL;
    Sha256 manifest = {{5}};
    bool ok =
        repo_open(&repo, hurry->repository->store, hurry->repository->keyring, NULL, &hurry->err);
    for (size_t i = 0; ok && i < OWED; i++) {
        pthread_barrier_wait(hurry->start);
        ok = repo_marker_put(repo, &hurry->owed[i], &manifest, &hurry->err);
        pthread_barrier_wait(hurry->start);
        if (!ok) /* the others go on waiting for us */
            for (size_t left = 2 * (OWED - i - 1); left > 0; left--)
                pthread_barrier_wait(hurry->start);
    }
    repo_close(repo);
    return NULL;
}

static void several_may_write_an_owed_marker_at_once(void **state)
{
    (void)state;
    Repository *r = repository_new(true);
    Uuid owed[OWED];
    pthread_t threads[WRITERS];
    pthread_barrier_t start;
    Hurry hurry[WRITERS];
    Sha256 manifest = {{5}}, other = {{6}};
    Err err = {0};
    for (size_t i = 0; i < OWED; i++)
        owed[i] = rand_backup_id();
    pthread_barrier_init(&start, NULL, WRITERS);
    for (size_t i = 0; i < WRITERS; i++) {
        hurry[i] = (Hurry){.repository = r, .owed = owed, .start = &start};
        assert_int_equal(pthread_create(&threads[i], NULL, put_markers, &hurry[i]), 0);
    }
    for (size_t i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
        assert_string_equal(hurry[i].err.text, "");
    }
    pthread_barrier_destroy(&start);
    assert_true(repo_marker_put(r->repo, &owed[0], &manifest, &err));
    assert_false(repo_marker_put(r->repo, &owed[0], &other, &err));
    assert_string_equal(err.cause, "repo.other_marker");
    repository_free(r);
}

/* However many there are: a job asks for a day of them. */
static void the_newest_markers_after_a_name_are_found(void **state)
{
    enum { MINUTES = 200, FROM = 150, MOST = 20 };
    static const uint8_t least[16];
    Repository *r = repository_new(true);
    Sha256 manifest = {{5}};
    Uuid ids[MINUTES], found[MINUTES], nil = {{0}};
    size_t count;
    Err err = {0};
    (void)state;
    for (unsigned i = 0; i < MINUTES; i++) {
        uint8_t random[16];
        rand_bytes(random, sizeof random);
        ids[i] = uuid_backup(i * UINT64_C(60000) + 1, random);
        assert_true(repo_marker_put(r->repo, &ids[i], &manifest, &err));
    }
    assert_true(repo_markers(r->repo, &nil, MINUTES, found, &count, &err));
    assert_int_equal(count, MINUTES);
    assert_memory_equal(found, ids, sizeof ids);
    Uuid after = uuid_backup(FROM * UINT64_C(60000), least);
    assert_true(repo_markers(r->repo, &after, MINUTES, found, &count, &err));
    assert_int_equal(count, MINUTES - FROM);
    assert_memory_equal(found, ids + FROM, (MINUTES - FROM) * sizeof ids[0]);
    assert_true(repo_markers(r->repo, &after, MOST, found, &count, &err));
    assert_int_equal(count, MOST);
    assert_memory_equal(found, ids + MINUTES - MOST, MOST * sizeof ids[0]);
    repository_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tree_comes_back_byte_for_byte),
        cmocka_unit_test(a_tree_comes_back_from_a_plain_repository),
        cmocka_unit_test(several_may_write_an_owed_marker_at_once),
        cmocka_unit_test(the_newest_markers_after_a_name_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
