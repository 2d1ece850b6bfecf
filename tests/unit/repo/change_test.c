/* SPDX-License-Identifier: Apache-2.0
 * What a second backup costs, and what it must not take for unchanged. */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/repo/reader.h"
#include "tests/harness/repository.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>

#include <cmocka.h>

enum { FILES = 300, IMAGE = 32 * 1024 * 1024, LANES = 3, PER_LANE = 40 };

static const int64_t LONG_AGO = 1500000000000000000;

typedef struct Tree {
    RepositoryEntry entries[FILES];
    char paths[FILES][40];
    uint8_t *bytes;
} Tree;

static void fill(uint8_t *at, size_t len, uint64_t seed)
{
    for (size_t i = 0; i + 8 <= len; i += 8) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        memcpy(at + i, &seed, 8);
    }
}

/* Small files of 10 KiB each, and one image. */
static Tree *tree_new(void)
{
    Tree *tree = mem_new(Tree);
    size_t small = 10 * 1024;
    tree->bytes = mem_resize(NULL, IMAGE + FILES * small);
    fill(tree->bytes, IMAGE + FILES * small, 99);
    for (size_t i = 0; i < FILES; i++) {
        bool image = i == FILES - 1;
        snprintf(tree->paths[i], sizeof tree->paths[i], image ? "zz.img" : "dir/name %03zu", i);
        tree->entries[i] = (RepositoryEntry){
            .entry = {.path = text_of(tree->paths[i]),
                      .type = ENTRY_FILE,
                      .cut = image ? CUT_IMAGE : CUT_DUMP,
                      .mode = 0644,
                      .mtime_ns = LONG_AGO,
                      .ctime_ns = LONG_AGO,
                      .inode = i + 10,
                      .size = image ? IMAGE : small},
            .content = {tree->bytes + (image ? FILES * small : i * small), image ? IMAGE : small}};
    }
    return tree;
}

static void tree_free(Tree *tree)
{
    mem_free(tree->bytes);
    mem_free(tree);
}

static void touch(Tree *tree, size_t i, size_t at)
{
    uint8_t *bytes = tree->bytes + (tree->entries[i].content.at - tree->bytes);
    bytes[at] ^= 0x55;
    tree->entries[i].entry.mtime_ns += 1000;
    tree->entries[i].entry.ctime_ns += 1000;
}

static void second(Repository *r, Tree *tree, const RepoBackup *first, RepoBackup *out)
{
    repository_backup(r, tree->entries, FILES, first, out);
    repository_compare(r, out, tree->entries, FILES);
}

static void a_changed_small_file_costs_itself_not_its_bundle(void **state)
{
    (void)state;
    Repository *r = repository_new(false);
    Tree *tree = tree_new();
    RepoBackup first, out;
    repository_backup(r, tree->entries, FILES, NULL, &first);
    touch(tree, 100, 5000);
    second(r, tree, &first, &out);
    assert_int_equal(out.new_bytes, 10 * 1024);
    assert_true(out.stored_bytes < 60 * 1024);
    repo_backup_free(&first);
    repo_backup_free(&out);
    tree_free(tree);
    repository_free(r);
}

/* A build or a checkout writes files anew that are what they were: one of them, or all. */
static void small_files_of_the_same_content_cost_nothing(void **state)
{
    (void)state;
    Repository *r = repository_new(false);
    Tree *tree = tree_new();
    RepoBackup first, out, third;
    for (size_t i = 0; i < FILES; i += 2) /* too young to be known by their stamps */
        tree->entries[i].entry.ctime_ns = tree->entries[i].entry.mtime_ns = clock_wall_ns();
    repository_backup(r, tree->entries, FILES, NULL, &first);
    for (size_t i = 0; i < FILES - 1; i++) {
        touch(tree, i, 7);
        tree->bytes[tree->entries[i].content.at - tree->bytes + 7] ^= 0x55; /* back again */
    }
    second(r, tree, &first, &out);
    assert_int_equal(out.new_bytes, 0);
    /* What is known by its content only is known tomorrow too; what did change is stored. */
    tree->entries[3].entry.ctime_ns += 1000;
    touch(tree, 100, 5000);
    repository_backup(r, tree->entries, FILES, &out, &third);
    repository_compare(r, &third, tree->entries, FILES);
    assert_int_equal(third.new_bytes, 10 * 1024);
    repo_backup_free(&first);
    repo_backup_free(&out);
    repo_backup_free(&third);
    tree_free(tree);
    repository_free(r);
}

static void a_changed_page_of_an_image_costs_one_chunk(void **state)
{
    (void)state;
    Repository *r = repository_new(false);
    Tree *tree = tree_new();
    RepoBackup first, out;
    repository_backup(r, tree->entries, FILES, NULL, &first);
    touch(tree, FILES - 1, IMAGE / 2 + 77);
    second(r, tree, &first, &out);
    assert_true(out.new_bytes > 0);
    assert_true(out.new_bytes <= 1024 * 1024);
    repo_backup_free(&first);
    repo_backup_free(&out);
    tree_free(tree);
    repository_free(r);
}

/* The list of yesterday says "unchanged"; the ledger says that the chunks cannot be used. */
static void what_is_gone_is_read_again_though_it_did_not_change(void **state)
{
    (void)state;
    Repository *r = repository_new(false);
    Tree *tree = tree_new();
    RepoBackup first, out;
    repository_backup(r, tree->entries, FILES, NULL, &first);
    ledger_lose(r->ledger);
    second(r, tree, &first, &out);
    assert_int_equal(out.new_bytes, first.new_bytes);
    repo_backup_free(&first);
    repo_backup_free(&out);
    tree_free(tree);
    repository_free(r);
}

/* "None" of yesterday is believed only where there were none, not where they could not be read. */
static void attributes_that_could_not_be_read_are_asked_for_again(void **state)
{
    (void)state;
    Err err = {0};
    Repository *r = repository_new(false);
    Tree *tree = tree_new();
    RepoBackup first;
    WriterParams params;
    RepoWriter *w;
    tree->entries[3].entry.attributes_unsure = true;
    repository_backup(r, tree->entries, FILES, NULL, &first);
    repository_params(r, &first, &params);
    assert_true(writer_open(&w, &params, &err));
    for (size_t i = 2; i <= 4; i++) {
        bool known;
        const Entry *entry = &tree->entries[i].entry;
        assert_true(writer_entry_begin(w, 0, entry, &known, &err));
        assert_true(known);
        assert_int_equal(writer_entry_bare(w, 0), i != 3);
        assert_true(writer_entry_end(w, 0, entry, true, &err));
    }
    writer_close(w);
    repo_backup_free(&first);
    tree_free(tree);
    repository_free(r);
}

static void what_is_gone_is_stored_again_though_it_has_the_mark(void **state)
{
    (void)state;
    Repository *r = repository_new(false);
    Tree *tree = tree_new();
    RepoBackup first, out;
    repository_backup(r, tree->entries, FILES, NULL, &first);
    for (size_t i = 0; i < FILES; i++)
        tree->entries[i].entry.ctime_ns += 1000;
    ledger_lose(r->ledger);
    second(r, tree, &first, &out);
    assert_int_equal(out.new_bytes, first.new_bytes);
    repo_backup_free(&first);
    repo_backup_free(&out);
    tree_free(tree);
    repository_free(r);
}

/* A renamed folder in which one file in ten was edited: every bundle has one of them. */
static uint64_t known_after_a_move(bool subsecond, uint64_t device, uint64_t other_device,
                                   uint64_t *new_bytes)
{
    Repository *r = repository_new(false);
    Tree *tree = tree_new();
    RepoBackup first, out;
    WriterParams params;
    WriterProgress progress;
    Err err = {0};
    for (size_t i = 0; i < FILES; i++) {
        tree->entries[i].entry.device = device;
        tree->entries[i].entry.ctime_ns += subsecond ? 4000000 : 0;
    }
    repository_backup(r, tree->entries, FILES, NULL, &first);
    for (size_t i = 0; i < FILES; i++) {
        tree->entries[i].entry.device = other_device;
        if (i < FILES - 1)
            memcpy(tree->paths[i], "new", 3);
        if (i % 10 == 0)
            touch(tree, i, 4000);
    }
    repository_params(r, &first, &params);
    assert_true(repository_try(&params, tree->entries, FILES, &out, &progress, &err));
    repository_commit(r, &out);
    repository_compare(r, &out, tree->entries, FILES);
    *new_bytes = progress.new_bytes;
    repo_backup_free(&first);
    repo_backup_free(&out);
    tree_free(tree);
    repository_free(r);
    return progress.known;
}

static void a_renamed_folder_costs_what_was_edited_in_it(void **state)
{
    (void)state;
    uint64_t new_bytes;
    assert_int_equal(known_after_a_move(true, 7, 7, &new_bytes), FILES - FILES / 10);
    assert_int_equal(new_bytes, FILES / 10 * 10 * 1024);
}

/* An inode number alone says nothing: on another device, or where its stamps are too coarse to tell
 * it from one that was given out again, only the path makes it the same file. */
static void a_path_is_needed_where_the_inode_is_no_proof(void **state)
{
    (void)state;
    uint64_t new_bytes;
    assert_int_equal(known_after_a_move(false, 7, 7, &new_bytes), 1); /* the image */
    assert_int_equal(known_after_a_move(true, 7, 8, &new_bytes), 1);
    assert_int_equal(known_after_a_move(true, 0, 0, &new_bytes), 1);
}

/* Within the grain of a file system's clock a second change leaves no trace. */
static void a_file_changed_just_now_is_read_again(void **state)
{
    (void)state;
    Repository *r = repository_new(false);
    Tree *tree = tree_new();
    RepoBackup first, out;
    tree->entries[7].entry.ctime_ns = tree->entries[7].entry.mtime_ns = clock_wall_ns();
    repository_backup(r, tree->entries, FILES, NULL, &first);
    tree->bytes[7 * 10 * 1024] ^= 1;
    second(r, tree, &first, &out);
    assert_int_equal(out.new_bytes, 10 * 1024);
    repo_backup_free(&first);
    repo_backup_free(&out);
    tree_free(tree);
    repository_free(r);
}

static void another_source_does_not_read_our_parent_list(void **state)
{
    (void)state;
    Repository *r = repository_new(false);
    Tree *tree = tree_new();
    RepoBackup first, out;
    WriterParams params;
    WriterProgress progress;
    Err err = {0};
    repository_backup(r, tree->entries, FILES, NULL, &first);
    repository_params(r, &first, &params);
    params.source = TEXT("other");
    assert_true(repository_try(&params, tree->entries, FILES, &out, &progress, &err));
    assert_int_equal(progress.known, 0);
    assert_int_equal(progress.entries, FILES);
    repo_backup_free(&first);
    repo_backup_free(&out);
    tree_free(tree);
    repository_free(r);
}

/* Another host of the key set may leave objects in the store, but not say what this source has. */
static void a_parent_list_of_another_host_is_not_believed(void **state)
{
    (void)state;
    Repository *r = repository_new(false);
    Tree *tree = tree_new();
    RepoBackup first, out;
    WriterParams params;
    WriterProgress progress;
    Err err = {0};
    Repo *repo;
    for (unsigned own = 0; own < 2; own++) {
        Keyring *stranger = repository_stranger(r, own ? "tree more" : "more");
        assert_true(repo_open(&repo, r->store, stranger, NULL, &err));
        repository_params(r, NULL, &params);
        params.repo = repo;
        assert_true(repository_try(&params, tree->entries, FILES, &first, &progress, &err));
        repository_commit(r, &first);
        repository_params(r, &first, &params);
        assert_true(repository_try(&params, tree->entries, FILES, &out, &progress, &err));
        assert_int_equal(progress.known, own ? FILES : 0);
        repo_backup_free(&first);
        repo_backup_free(&out);
        repo_close(repo);
        keyring_close(stranger);
    }
    tree_free(tree);
    repository_free(r);
}

typedef struct LaneRun {
    RepoWriter *w;
    unsigned lane;
    uint8_t *bytes;
} LaneRun;

static void *run_lane(void *ctx)
{
    LaneRun *run = ctx;
    Err err = {0};
    char path[40];
    for (int i = PER_LANE - 1; i >= 0; i--) {
        bool known, keep = i % 10 != 3;
        snprintf(path, sizeof path, "table %02d of %u", i, run->lane);
        RepositoryEntry e = {.entry = {.path = text_of(path), .type = ENTRY_STREAM, .phase = 2},
                             .content = {run->bytes, 70000u * (unsigned)i}};
        e.entry.cut = CUT_DUMP;
        if (keep ? !repository_write(run->w, run->lane, &e, &known, &err)
                 : !writer_entry_begin(run->w, run->lane, &e.entry, &known, &err) ||
                       !writer_entry_end(run->w, run->lane, &e.entry, false, &err))
            return mem_string(err.text);
    }
    return NULL;
}

typedef struct Seen {
    unsigned entries, issues;
    uint64_t bytes;
} Seen;

static bool see(void *ctx, const Entry *entry, const ReaderContent *content, bool *stop, Err *err)
{
    (void)stop;
    (void)err;
    Seen *seen = ctx;
    seen->entries++;
    seen->bytes += reader_content_size(content);
    assert_int_equal(entry->phase, 2);
    return true;
}

static bool see_issue(void *ctx, const Issue *issue, Err *err)
{
    (void)err;
    ((Seen *)ctx)->issues++;
    assert_int_equal(issue->kind, ISSUE_DENIED);
    assert_true(text_equal(issue->text, TEXT("no")));
    return true;
}

static void see_all(Repository *r, const RepoBackup *backup, Seen *seen)
{
    RepoLocator *locator;
    RepoReader *reader;
    Err err = {0};
    assert_true(locator_open_index(&locator, r->repo, NULL, &err));
    ReaderParams params = {.repo = r->repo, .locator = locator, .backup = backup->id};
    assert_true(reader_open(&reader, &params, &err));
    assert_int_equal(reader_last_phase(reader), 2);
    assert_true(reader_walk(reader, NULL, see, seen, &err));
    assert_true(reader_issues(reader, see_issue, seen, &err));
    reader_close(reader);
    locator_close(locator);
}

static void lanes_in_any_order_make_one_sorted_backup(void **state)
{
    (void)state;
    Repository *r = repository_new(false);
    WriterParams params;
    RepoWriter *w;
    RepoBackup backup;
    LaneRun runs[LANES];
    pthread_t threads[LANES];
    Err err = {0};
    Receipt receipt = {.consistent_ns = 5};
    repository_params(r, NULL, &params);
    params.lanes = LANES;
    params.ordered = false;
    params.memory_bytes = 1; /* the least there is */
    assert_true(writer_open(&w, &params, &err));
    uint8_t *bytes = mem_resize(NULL, 70000 * PER_LANE);
    fill(bytes, 70000 * PER_LANE, 3);
    for (unsigned i = 0; i < LANES; i++) {
        runs[i] = (LaneRun){w, i, bytes};
        assert_int_equal(pthread_create(&threads[i], NULL, run_lane, &runs[i]), 0);
    }
    for (unsigned i = 0; i < LANES; i++) {
        void *problem;
        pthread_join(threads[i], &problem);
        if (problem != NULL)
            fail_msg("%s", (char *)problem);
    }
    for (unsigned i = 0; i < 12000; i++)
        writer_issue(w, &(Issue){.kind = ISSUE_DENIED, .path = TEXT("x"), .text = TEXT("no")});
    assert_true(writer_finish(w, &receipt, &backup, &err));
    writer_close(w);
    repository_commit(r, &backup);
    Seen seen = {0};
    see_all(r, &backup, &seen);
    assert_int_equal(seen.entries, LANES * (PER_LANE - 4));
    assert_int_equal(seen.issues, 12000);
    assert_int_equal(backup.issues, 12000);
    assert_int_equal(seen.bytes, backup.bytes);
    repo_backup_free(&backup);
    mem_free(bytes);
    repository_free(r);
}

static void names_that_come_twice_or_out_of_order_are_our_own_bug(void **state)
{
    (void)state;
    Repository *r = repository_new(false);
    WriterParams params;
    RepoBackup backup;
    Err err = {0};
    RepositoryEntry twice[2] = {{.entry = {.path = TEXT("b"), .type = ENTRY_DIRECTORY}},
                                {.entry = {.path = TEXT("a"), .type = ENTRY_DIRECTORY}}};
    repository_params(r, NULL, &params);
    assert_false(repository_try(&params, twice, 2, &backup, NULL, &err));
    assert_int_equal(err.code, ERR_BUG);
    twice[1].entry.path = TEXT("b");
    params.ordered = false;
    assert_false(repository_try(&params, twice, 2, &backup, NULL, &err));
    assert_int_equal(err.code, ERR_BUG);
    repository_free(r);
}

static uint64_t peak_kib(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (uint64_t)use.ru_maxrss;
}

/* Many small files, the tenth of them with another content each time. */
static void write_many(Repository *r, unsigned entries, const RepoBackup *previous, RepoBackup *out)
{
    WriterParams params;
    RepoWriter *w;
    Err err = {0};
    char path[64];
    Receipt receipt = {.consistent_ns = 5};
    repository_params(r, previous, &params);
    params.memory_bytes = 1;
    assert_true(writer_open(&w, &params, &err));
    for (unsigned i = 0; i < entries; i++) {
        bool known;
        int64_t stamp = LONG_AGO + (i == 10 && previous != NULL);
        snprintf(path, sizeof path, "some/folder/%04u/with a file %08u", i / 100, i);
        RepositoryEntry e = {.entry = {.path = text_of(path),
                                       .type = ENTRY_FILE,
                                       .cut = CUT_DUMP,
                                       .mtime_ns = stamp,
                                       .ctime_ns = stamp,
                                       .inode = i,
                                       .size = 20},
                             .content = {(const uint8_t *)path, 20}};
        assert_true(repository_write(w, 0, &e, &known, &err));
        assert_int_equal(known, previous != NULL && i != 10);
    }
    assert_true(writer_finish(w, &receipt, out, &err));
    assert_int_equal(out->entries, entries);
    writer_close(w);
}

static uint64_t peak_of(unsigned entries)
{
    Repository *r = repository_new(false);
    RepoBackup first, second;
    write_many(r, entries, NULL, &first);
    repository_commit(r, &first);
    write_many(r, entries, &first, &second);
    repo_backup_free(&first);
    repo_backup_free(&second);
    repository_free(r);
    return peak_kib();
}

/* Of the parent list a part is held at a time; of records those that wait for the name of a bundle,
 * which does not wait for ever to be full. */
static void memory_does_not_grow_with_the_number_of_entries(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* sanitizers keep what is freed */
#endif
    uint64_t few = peak_of(20000);
    uint64_t many = peak_of(200000);
    if (many > few + 24 * 1024)
        fail_msg("%llu KiB for 20 000 entries, %llu for 200 000", (unsigned long long)few,
                 (unsigned long long)many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_does_not_grow_with_the_number_of_entries),
        cmocka_unit_test(a_changed_small_file_costs_itself_not_its_bundle),
        cmocka_unit_test(small_files_of_the_same_content_cost_nothing),
        cmocka_unit_test(a_changed_page_of_an_image_costs_one_chunk),
        cmocka_unit_test(what_is_gone_is_read_again_though_it_did_not_change),
        cmocka_unit_test(attributes_that_could_not_be_read_are_asked_for_again),
        cmocka_unit_test(what_is_gone_is_stored_again_though_it_has_the_mark),
        cmocka_unit_test(a_renamed_folder_costs_what_was_edited_in_it),
        cmocka_unit_test(a_path_is_needed_where_the_inode_is_no_proof),
        cmocka_unit_test(a_file_changed_just_now_is_read_again),
        cmocka_unit_test(another_source_does_not_read_our_parent_list),
        cmocka_unit_test(a_parent_list_of_another_host_is_not_believed),
        cmocka_unit_test(lanes_in_any_order_make_one_sorted_backup),
        cmocka_unit_test(names_that_come_twice_or_out_of_order_are_our_own_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
