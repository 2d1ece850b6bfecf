/* SPDX-License-Identifier: Apache-2.0
 * reader.c — opening a backup and what is asked about it as a whole. */
#include "common/repo/reader.h"

#include "common/base/mem.h"
#include "common/repo/reader_internal.h"

enum { MEMORY_DEFAULT = 32 * 1024 * 1024 };

static bool check_expected(const RepoReader *r, Err *err)
{
    const Sha256 *expected = r->params.manifest;
    if (expected == NULL || memcmp(expected, &r->sha256, sizeof *expected) == 0)
        return true;
    return err_set(err, ERR_CORRUPT, "repo.other_manifest",
                   "the stored manifest is not the one that the catalogue committed: restore "
                   "another backup, or compare it with a copy of the store");
}

static bool open_root(RepoReader *r, Repo *repo, Err *err)
{
    buf_clear(&r->root);
    return repo_get_manifest(repo, &r->params.backup, &r->root, &r->manifest, &r->sha256, err) &&
           check_expected(r, err);
}

/* A manifest is the same wherever it lies. */
static bool open_root_elsewhere(RepoReader *r, const Err *why)
{
    const ReaderElsewhere *elsewhere = r->params.elsewhere;
    bool more = elsewhere != NULL;
    for (unsigned n = 0; more; n++) {
        Repo *repo;
        RepoLocator *locator;
        Err ignored = {0};
        if (!elsewhere->place(elsewhere->ctx, n, &repo, &locator, &more) ||
            !open_root(r, repo, &ignored))
            continue;
        elsewhere->came(elsewhere->ctx, n, 0, why);
        return true;
    }
    return false;
}

bool reader_open(RepoReader **out, const ReaderParams *params, Err *err)
{
    RepoReader *r = mem_new(RepoReader);
    r->params = *params;
    size_t memory = params->memory_bytes == 0 ? MEMORY_DEFAULT : params->memory_bytes;
    if (!open_root(r, params->repo, err) && !open_root_elsewhere(r, err)) {
        reader_close(r);
        return false;
    }
    *err = (Err){0};
    r->cache = reader_cache_new(params->repo, params->locator, memory);
    reader_cache_elsewhere(r->cache, params->elsewhere);
    r->ahead = reader_ahead_new(r->cache);
    repo_backup_fill(&r->backup, &r->manifest);
    r->backup.manifest = r->sha256;
    r->receipt = (Receipt){r->manifest.consistent_ns, r->manifest.position, r->manifest.details};
    *out = r;
    return true;
}

const RepoBackup *reader_backup(const RepoReader *r)
{
    return &r->backup;
}

const Receipt *reader_receipt(const RepoReader *r)
{
    return &r->receipt;
}

uint8_t reader_last_phase(const RepoReader *r)
{
    return r->manifest.last_phase;
}

void reader_on_damage(RepoReader *r, ReaderDamage *damage, void *ctx)
{
    r->damage = damage;
    r->damage_ctx = ctx;
}

static bool visit_issue_page(RepoReader *r, const ChunkId *id, ReaderIssueVisit *visit, void *ctx,
                             Err *err)
{
    Decoded *page;
    if (!reader_take(r->cache, id, &page, err))
        return false;
    CanonReader reader = canon_reader((Slice){page->at, page->len});
    uint32_t count = canon_read_array(&reader);
    bool good = true;
    for (uint32_t i = 0; good && i < count; i++) {
        Issue issue;
        if (!manifest_read_issue(&reader, &issue))
            good = err_set(err, ERR_CORRUPT, "repo.bad_issues", "a page of issues is not valid");
        else
            good = visit(ctx, &issue, err);
    }
    reader_drop(r->cache, page);
    return good;
}

bool reader_issues(RepoReader *r, ReaderIssueVisit *visit, void *ctx, Err *err)
{
    CanonReader ids = canon_reader(r->manifest.issue_pages);
    for (uint32_t i = 0; i < r->manifest.issue_page_count; i++) {
        ChunkId id;
        canon_read_exact(&ids, id.bytes, sizeof id.bytes);
        if (!visit_issue_page(r, &id, visit, ctx, err))
            return false;
    }
    return true;
}

typedef struct ChunkWalk {
    RepoReader *r;
    IdMap seen;
    ReaderChunkVisit *visit;
    void *ctx;
} ChunkWalk;

static bool see_chunk(ChunkWalk *walk, const ChunkId *id, bool meta, Err *err)
{
    bool added;
    idmap_add(&walk->seen, id, &added);
    return !added || walk->visit(walk->ctx, id, meta, err);
}

static bool see_extent(void *ctx, const Extent *extent, Err *err)
{
    return extent->zeros || see_chunk(ctx, &extent->id, false, err);
}

static bool see_entry(void *ctx, const Entry *entry, const ReaderContent *content, bool *stop,
                      Err *err)
{
    (void)stop;
    ChunkWalk *walk = ctx;
    CanonReader ids = canon_reader(content->page_ids);
    for (uint32_t i = 0; i < content->page_count; i++) {
        ChunkId id;
        canon_read_exact(&ids, id.bytes, sizeof id.bytes);
        if (!see_chunk(walk, &id, true, err))
            return false;
    }
    if (reader_extents(walk->r, content, see_extent, walk, err))
        return true;
    /* A page of extents that does not open hides the rest of this entry, no other. */
    if (err->code != ERR_CORRUPT || walk->r->damage == NULL)
        return false;
    walk->r->damage(walk->r->damage_ctx, entry->path, err);
    memset(err, 0, sizeof *err);
    return true;
}

static bool see_page(void *ctx, const ChunkId *id, Err *err)
{
    return see_chunk(ctx, id, true, err);
}

bool reader_chunks(RepoReader *r, ReaderChunkVisit *visit, void *ctx, Err *err)
{
    ChunkWalk walk = {.r = r, .visit = visit, .ctx = ctx};
    ReaderSelection all = {.phase = -1};
    bool good = reader_walk_pages(r, &all, see_entry, see_page, &walk, err);
    CanonReader ids = canon_reader(r->manifest.issue_pages);
    for (uint32_t i = 0; good && i < r->manifest.issue_page_count; i++) {
        ChunkId id;
        canon_read_exact(&ids, id.bytes, sizeof id.bytes);
        good = see_chunk(&walk, &id, true, err);
    }
    idmap_free(&walk.seen);
    return good;
}

void reader_close(RepoReader *r)
{
    if (r == NULL)
        return;
    reader_ahead_free(r->ahead);
    reader_cache_free(r->cache);
    buf_free(&r->root);
    mem_free(r);
}
