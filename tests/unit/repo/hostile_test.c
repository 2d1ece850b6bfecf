/* SPDX-License-Identifier: Apache-2.0
 * Manifests, indexes and packs that somebody with a writer's keys made to do harm, or that a broken
 * disk did: each is refused by name, and what it does not touch can still be read. */
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/repo/index.h"
#include "common/repo/pack.h"
#include "common/repo/pages.h"
#include "common/repo/reader.h"
#include "common/repo/record.h"
#include "common/repo/repo_internal.h"
#include "common/repo/verify.h"
#include "tests/harness/repository.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* A backup made by hand: chunks that say anything, pages that say anything. */
typedef struct Craft {
    Repository *r;
    PackWriter *pack;
    Manifest m;
    Buf refs;
    ChunkId content; /* "hello" */
} Craft;

static void must(bool good, const Err *err)
{
    if (!good)
        fail_msg("%s: %s", err->cause, err->text);
}

static void put_chunk(Craft *c, const ChunkId *id, Slice bytes)
{
    Err err = {0};
    must(pack_add(c->pack, id, CODEC_NONE, bytes, bytes.len, &err), &err);
}

static ChunkId chunk(Craft *c, Slice bytes)
{
    ChunkId id;
    keyring_chunk_id(c->r->keyring, bytes, &id);
    put_chunk(c, &id, bytes);
    return id;
}

static Craft *craft_new(void)
{
    Craft *c = mem_new(Craft);
    Err err = {0};
    Uuid object = rand_uuid(), pack = rand_uuid();
    c->r = repository_new(false);
    must(pack_begin(&c->pack, c->r->keyring, c->r->store, PACK_META, &object, &pack, &err), &err);
    c->m = (Manifest){.backup = rand_backup_id(), .source = TEXT("tree"), .sequence = 1};
    c->content = chunk(c, slice_of_text(TEXT("hello")));
    return c;
}

static void craft_free(Craft *c)
{
    buf_free(&c->refs);
    repository_free(c->r);
    mem_free(c);
}

static void add_ref(Craft *c, const ChunkId *page, const char *first)
{
    PageRef ref = {.id = *page, .first = text_of(first), .entries = 1, .bytes = 5};
    pages_add_ref(&c->refs, &ref);
    c->m.ref_count++;
}

static void add_record(Craft *c, Buf *page, const char *path, uint64_t size, uint64_t length)
{
    scoped(buf_free) Buf extents = {0};
    Extent extent = {.id = c->content, .length = length};
    record_add_extent(&extents, &extent);
    Entry entry = {.path = text_of(path), .type = ENTRY_FILE, .cut = CUT_DUMP, .mode = 0644};
    RecordContent content = {.size = size, .extents = buf_slice(&extents), .extent_count = 1};
    record_add(page, &entry, &content);
}

/* A leaf page of files with the content "hello". */
static ChunkId leaf(Craft *c, const char *const *paths, uint32_t count)
{
    scoped(buf_free) Buf page = {0};
    canon_array(&page, count);
    for (uint32_t i = 0; i < count; i++)
        add_record(c, &page, paths[i], 5, 5);
    return chunk(c, buf_slice(&page));
}

static void finish(Craft *c)
{
    scoped(buf_free) Buf body = {0};
    Err err = {0};
    PackRow row;
    char name[REPO_NAME];
    PackSet used = {0};
    Uuid index;
    static const Uuid backup = {{7}};
    IndexBuilder *builder = index_builder_new(c->r->repo, NULL, &backup);
    must(pack_finish(c->pack, &row, &err), &err);
    row.pack_no = 1;
    packset_add(&used, 1);
    index_builder_add(builder, &row);
    must(index_builder_put(builder, &used, &index, &err), &err);
    index_builder_free(builder);
    packset_free(&used);
    pack_free(c->pack);
    c->m.refs = buf_slice(&c->refs);
    manifest_add(&body, &c->m);
    repo_name("manifests", &c->m.backup, name);
    must(repo_put(c->r->repo, DISK_MANIFEST, name, NULL, (Slice){0}, buf_slice(&body), NULL, &err),
         &err);
}

typedef struct Seen {
    RepoReader *reader;
    unsigned entries, bad_pages;
    uint64_t bytes;
} Seen;

static bool count_data(void *ctx, Slice bytes, Err *err)
{
    (void)err;
    ((Seen *)ctx)->bytes += bytes.len;
    return true;
}

static bool count_zeros(void *ctx, uint64_t count, Err *err)
{
    (void)err;
    ((Seen *)ctx)->bytes += count;
    return true;
}

static bool see(void *ctx, const Entry *entry, const ReaderContent *content, bool *stop, Err *err)
{
    (void)entry;
    (void)stop;
    Seen *seen = ctx;
    ReaderSink sink = {seen, count_data, count_zeros};
    seen->entries++;
    return reader_content(seen->reader, content, &sink, err);
}

static void see_bad(void *ctx, Text from_path, const Err *why)
{
    (void)from_path;
    (void)why;
    ((Seen *)ctx)->bad_pages++;
}

/* What a walk over everything ends with; "" when it is fine. */
static Seen walk(Craft *c, bool tolerant, Err *err)
{
    RepoLocator *locator;
    Seen seen = {0};
    memset(err, 0, sizeof *err);
    must(locator_open_index(&locator, c->r->repo, NULL, err), err);
    ReaderParams params = {.repo = c->r->repo, .locator = locator, .backup = c->m.backup};
    if (reader_open(&seen.reader, &params, err)) {
        if (tolerant)
            reader_on_damage(seen.reader, see_bad, &seen);
        bool good = reader_walk(seen.reader, NULL, see, &seen, err);
        assert_int_equal(good, err->code == ERR_NONE);
        reader_close(seen.reader);
    }
    locator_close(locator);
    return seen;
}

static void expect(Craft *c, const char *cause)
{
    Err err;
    finish(c);
    walk(c, false, &err);
    assert_string_equal(err.cause, cause);
    assert_int_equal(err.code, ERR_CORRUPT);
    craft_free(c);
}

static void an_honest_manifest_is_read(void **state)
{
    (void)state;
    Craft *c = craft_new();
    Err err;
    ChunkId page = leaf(c, (const char *const[]){"a", "b/c"}, 2);
    add_ref(c, &page, "a");
    finish(c);
    Seen seen = walk(c, false, &err);
    must(err.code == ERR_NONE, &err);
    assert_int_equal(seen.entries, 2);
    assert_int_equal(seen.bytes, 10);
    craft_free(c);
}

static void paths_that_leave_the_target_are_refused(void **state)
{
    (void)state;
    static const char *const BAD[] = {"..",   "../a", "a/../b", "/etc/passwd",
                                      "a//b", "a/",   ".",      "a/."};
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        Craft *c = craft_new();
        ChunkId page = leaf(c, &BAD[i], 1);
        add_ref(c, &page, BAD[i]);
        expect(c, "repo.bad_path");
    }
}

static void a_hard_link_out_of_the_target_is_refused(void **state)
{
    (void)state;
    Craft *c = craft_new();
    scoped(buf_free) Buf page = {0};
    Entry entry = {.path = TEXT("a"), .type = ENTRY_HARDLINK, .link = TEXT("../../etc/shadow")};
    canon_array(&page, 1);
    record_add(&page, &entry, &(RecordContent){0});
    ChunkId id = chunk(c, buf_slice(&page));
    add_ref(c, &id, "a");
    expect(c, "repo.bad_path");
}

static void a_path_that_comes_twice_is_refused(void **state)
{
    (void)state;
    Craft *c = craft_new();
    ChunkId page = leaf(c, (const char *const[]){"a", "a"}, 2);
    add_ref(c, &page, "a");
    expect(c, "repo.bad_page");
    c = craft_new();
    page = leaf(c, (const char *const[]){"b", "a"}, 2);
    add_ref(c, &page, "b");
    expect(c, "repo.bad_page");
}

/* One page of a thousand entries, named a thousand times on each of eight levels, would be 10^24
 * entries; order forbids the second time. */
static void a_page_named_twice_is_refused(void **state)
{
    (void)state;
    Craft *c = craft_new();
    ChunkId page = leaf(c, (const char *const[]){"a", "b"}, 2);
    add_ref(c, &page, "a");
    add_ref(c, &page, "a");
    expect(c, "repo.bad_page");
    c = craft_new();
    page = leaf(c, (const char *const[]){"a", "b"}, 2);
    add_ref(c, &page, "a");
    add_ref(c, &page, "aa");
    expect(c, "repo.bad_page");
}

static void a_page_that_begins_elsewhere_than_its_reference_says_is_refused(void **state)
{
    (void)state;
    Craft *c = craft_new();
    ChunkId page = leaf(c, (const char *const[]){"b", "c"}, 2);
    add_ref(c, &page, "a");
    expect(c, "repo.bad_page");
}

static void an_empty_page_is_refused(void **state)
{
    (void)state;
    Craft *c = craft_new();
    ChunkId page = leaf(c, NULL, 0);
    add_ref(c, &page, "a");
    expect(c, "repo.bad_page");
    c = craft_new();
    c->m.levels = 3;
    page = leaf(c, NULL, 0);
    add_ref(c, &page, "a");
    expect(c, "repo.bad_page");
}

static void content_that_does_not_add_up_is_refused(void **state)
{
    (void)state;
    scoped(buf_free) Buf page = {0};
    Craft *c = craft_new();
    canon_array(&page, 1);
    add_record(c, &page, "a", 6, 5);
    ChunkId id = chunk(c, buf_slice(&page));
    add_ref(c, &id, "a");
    expect(c, "repo.bad_record");
    c = craft_new();
    buf_clear(&page);
    canon_array(&page, 1);
    add_record(c, &page, "a", 4000, 4000); /* more than the chunk has */
    id = chunk(c, buf_slice(&page));
    add_ref(c, &id, "a");
    expect(c, "repo.bad_extents");
}

static void a_chunk_under_another_name_is_damage(void **state)
{
    (void)state;
    scoped(buf_free) Buf page = {0};
    Craft *c = craft_new();
    memset(c->content.bytes, 7, sizeof c->content.bytes);
    put_chunk(c, &c->content, slice_of_text(TEXT("false")));
    canon_array(&page, 1);
    add_record(c, &page, "a", 5, 5);
    ChunkId id = chunk(c, buf_slice(&page));
    add_ref(c, &id, "a");
    expect(c, "repo.damaged");
}

static void a_chunk_that_is_nowhere_is_named(void **state)
{
    (void)state;
    scoped(buf_free) Buf page = {0};
    Craft *c = craft_new();
    memset(c->content.bytes, 7, sizeof c->content.bytes);
    canon_array(&page, 1);
    add_record(c, &page, "a", 5, 5);
    ChunkId id = chunk(c, buf_slice(&page));
    add_ref(c, &id, "a");
    expect(c, "repo.chunk_missing");
}

static void a_damaged_page_hides_its_own_entries_only(void **state)
{
    (void)state;
    Craft *c = craft_new();
    Err err;
    ChunkId first = leaf(c, (const char *const[]){"a", "b"}, 2), lost = {.bytes = {9}};
    ChunkId garbage = chunk(c, slice_of_text(TEXT("no page")));
    ChunkId last = leaf(c, (const char *const[]){"m", "n", "o"}, 3);
    add_ref(c, &first, "a");
    add_ref(c, &lost, "d");
    add_ref(c, &garbage, "g");
    add_ref(c, &last, "m");
    finish(c);
    Seen seen = walk(c, true, &err);
    must(err.code == ERR_NONE, &err);
    assert_int_equal(seen.entries, 5);
    assert_int_equal(seen.bad_pages, 2);
    walk(c, false, &err);
    assert_string_equal(err.cause, "repo.chunk_missing");
    craft_free(c);
}

static void a_manifest_under_another_backups_name_is_refused(void **state)
{
    (void)state;
    Craft *c = craft_new();
    scoped(buf_free) Buf stored = {0};
    Err err = {0};
    char name[REPO_NAME];
    bool found;
    finish(c);
    repo_name("manifests", &c->m.backup, name);
    must(store_get(c->r->store, name, 1 << 20, &found, &stored, &err), &err);
    c->m.backup = rand_backup_id();
    repo_name("manifests", &c->m.backup, name);
    must(store_put(c->r->store, name, buf_slice(&stored), &err), &err);
    walk(c, false, &err);
    assert_string_equal(err.cause, "repo.bad_manifest");
    craft_free(c);
}

static void a_changed_byte_of_a_manifest_is_found(void **state)
{
    (void)state;
    Craft *c = craft_new();
    scoped(buf_free) Buf stored = {0};
    Err err = {0};
    char name[REPO_NAME];
    bool found;
    finish(c);
    repo_name("manifests", &c->m.backup, name);
    must(store_get(c->r->store, name, 1 << 20, &found, &stored, &err), &err);
    for (size_t i = 0; i < stored.len; i += 7) {
        stored.at[i] ^= 0x40;
        must(store_replace(c->r->store, name, buf_slice(&stored), &err), &err);
        walk(c, false, &err);
        if (err.code == ERR_NONE)
            fail_msg("byte %zu was changed and nobody noticed", i);
        stored.at[i] ^= 0x40;
        memset(&err, 0, sizeof err);
    }
    craft_free(c);
}

/* Backup workers hold no reader key: what they wrote they cannot read. */
static void a_writer_alone_cannot_read(void **state)
{
    (void)state;
    Craft *c = craft_new();
    Err err = {0};
    Repo *repo;
    RepoReader *reader;
    ChunkId page = leaf(c, (const char *const[]){"a"}, 1);
    add_ref(c, &page, "a");
    finish(c);
    Keyring *writer = repository_keyring(c->r, false);
    must(repo_open(&repo, c->r->store, writer, NULL, &err), &err);
    ReaderParams params = {.repo = repo, .backup = c->m.backup};
    assert_false(reader_open(&reader, &params, &err));
    assert_string_equal(err.cause, "repo.no_reader");
    repo_close(repo);
    keyring_close(writer);
    craft_free(c);
}

static void opening_needs_a_signed_config_of_the_right_repository(void **state)
{
    (void)state;
    Repository *r = repository_new(false);
    Err err = {0};
    Repo *repo;
    Uuid other = rand_uuid();
    scoped(buf_free) Buf config = {0};
    bool found;
    assert_false(repo_open(&repo, r->store, r->keyring, &other, &err));
    assert_string_equal(err.cause, "repo.other_id");
    assert_true(repo_open(&repo, r->store, r->keyring, &repo_facts(r->repo)->id, &err));
    repo_close(repo);
    must(store_get(r->store, "config", 1 << 20, &found, &config, &err), &err);
    config.at[config.len / 2] ^= 1;
    must(store_replace(r->store, "config", buf_slice(&config), &err), &err);
    assert_false(repo_open(&repo, r->store, r->keyring, NULL, &err));
    must(store_remove(r->store, "config", &err), &err);
    assert_false(repo_open(&repo, r->store, r->keyring, NULL, &err));
    assert_string_equal(err.cause, "store.not_a_repository");
    repository_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_honest_manifest_is_read),
        cmocka_unit_test(paths_that_leave_the_target_are_refused),
        cmocka_unit_test(a_hard_link_out_of_the_target_is_refused),
        cmocka_unit_test(a_path_that_comes_twice_is_refused),
        cmocka_unit_test(a_page_named_twice_is_refused),
        cmocka_unit_test(a_page_that_begins_elsewhere_than_its_reference_says_is_refused),
        cmocka_unit_test(an_empty_page_is_refused),
        cmocka_unit_test(content_that_does_not_add_up_is_refused),
        cmocka_unit_test(a_chunk_under_another_name_is_damage),
        cmocka_unit_test(a_chunk_that_is_nowhere_is_named),
        cmocka_unit_test(a_damaged_page_hides_its_own_entries_only),
        cmocka_unit_test(a_manifest_under_another_backups_name_is_refused),
        cmocka_unit_test(a_changed_byte_of_a_manifest_is_found),
        cmocka_unit_test(a_writer_alone_cannot_read),
        cmocka_unit_test(opening_needs_a_signed_config_of_the_right_repository),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
