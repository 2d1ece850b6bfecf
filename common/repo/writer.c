/* SPDX-License-Identifier: Apache-2.0
 * writer.c — a write session from its opening to its manifest. */
#include "common/base/crashpoint.h"
#include "common/base/mem.h"
#include "common/repo/repo_internal.h"
#include "common/repo/writer_internal.h"

#include <unistd.h>

enum {
    MEMORY_DEFAULT = 48 * 1024 * 1024,
    MEMORY_LEAST = 32 * 1024 * 1024,
    PACK_BYTES = 16 * 1024 * 1024,
    THREADS_DEFAULT_MAX = 8,
};

bool writer_failed(RepoWriter *w, Err *err)
{
    if (!atomic_load_explicit(&w->stop, memory_order_acquire))
        return false;
    pthread_mutex_lock(&w->lock);
    *err = w->failure;
    pthread_mutex_unlock(&w->lock);
    return true;
}

bool writer_fail(RepoWriter *w, const Err *why)
{
    pthread_mutex_lock(&w->lock);
    if (!w->failed) {
        w->failed = true;
        w->failure = *why;
    }
    atomic_store_explicit(&w->stop, true, memory_order_release);
    pthread_cond_broadcast(&w->work);
    pthread_cond_broadcast(&w->pack);
    pthread_cond_broadcast(&w->room);
    pthread_cond_broadcast(&w->named);
    pthread_mutex_unlock(&w->lock);
    pool_stop(w->pool);
    return false;
}

void writer_cancel(RepoWriter *w)
{
    Err err = {0};
    err_set(&err, ERR_CANCELLED, "job.cancelled", "the backup was cancelled");
    writer_fail(w, &err);
}

static unsigned processors(void)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    if (online < 1)
        return 1;
    return online > THREADS_DEFAULT_MAX ? THREADS_DEFAULT_MAX : (unsigned)online;
}

static bool take_params(RepoWriter *w, const WriterParams *params, Err *err)
{
    w->params = *params;
    WriterParams *p = &w->params;
    if (p->lanes == 0 || (p->ordered && p->lanes != 1))
        return err_set(err, ERR_BUG, "writer.lanes", "a writer needs a lane, and order only one");
    if (p->source.len == 0 || p->source.len > MANIFEST_SOURCE_MAX)
        return err_set(err, ERR_USAGE, "repo.source_name", "the name of a source has 1 to %d bytes",
                       MANIFEST_SOURCE_MAX);
    memcpy(w->source, p->source.at, p->source.len);
    p->source.at = w->source;
    p->memory_bytes = p->memory_bytes == 0 ? MEMORY_DEFAULT : p->memory_bytes;
    if (p->memory_bytes < MEMORY_LEAST)
        p->memory_bytes = MEMORY_LEAST;
    p->threads = p->threads == 0 ? processors() : p->threads;
    if (p->threads > WRITER_THREADS_MAX)
        p->threads = WRITER_THREADS_MAX;
    p->codec = p->codec == 0 ? CODEC_ZSTD : p->codec;
    p->pack_bytes = p->pack_bytes == 0 ? PACK_BYTES : p->pack_bytes;
    w->worker_count = p->threads;
    return true;
}

static void init_locks(RepoWriter *w)
{
    pthread_mutex_init(&w->lock, NULL);
    pthread_mutex_init(&w->known_lock, NULL);
    pthread_mutex_init(&w->manifest_lock, NULL);
    pthread_cond_init(&w->work, NULL);
    pthread_cond_init(&w->pack, NULL);
    pthread_cond_init(&w->room, NULL);
    pthread_cond_init(&w->named, NULL);
}

/* A lane may hold a segment, a bundle, and wait for the next segment; one more keeps things
 * moving. */
static unsigned segments_of(const WriterParams *params)
{
    unsigned wanted = (unsigned)(params->memory_bytes / POOL_SEGMENT);
    unsigned least = 2 * params->lanes + 2;
    return wanted < least ? least : wanted;
}

static bool start_threads(RepoWriter *w, Err *err)
{
    if (pthread_create(&w->packer, NULL, writer_packer, w) != 0)
        return err_set_sys(err, ERR_FULL, "repo.no_thread", "starting the packing thread");
    w->packer_started = true;
    for (; w->workers_started < w->worker_count; w->workers_started++)
        if (pthread_create(&w->workers[w->workers_started], NULL, writer_worker, w) != 0)
            return err_set_sys(err, ERR_FULL, "repo.no_thread", "starting a compressing thread");
    return true;
}

static bool put_parents(void *ctx, uint64_t part, Slice body, Err *err)
{
    RepoWriter *w = ctx;
    char name[REPO_PARENTS_NAME];
    repo_parents_name(&w->params.backup, part, name);
    return repo_put(w->params.repo, DISK_PARENTS, name, w->parents_key, (Slice){0}, body, NULL,
                    err);
}

static void make_lanes(RepoWriter *w)
{
    uint8_t key[32];
    keyring_derive(repo_keyring(w->params.repo), "parents.marks", slice_of_text(w->params.source),
                   key);
    w->lanes = mem_array(Lane, w->params.lanes);
    for (unsigned i = 0; i < w->params.lanes; i++) {
        w->lanes[i].last = &w->lanes[i].first;
        w->lanes[i].marker = seal_marker_new(key, w->parents_secret);
    }
    explicit_bzero(key, sizeof key);
}

static void prepare(RepoWriter *w)
{
    uint8_t key[32];
    const Keyring *keyring = repo_keyring(w->params.repo);
    keyring_derive(keyring, "gear", (Slice){0}, key);
    chunker_init(&w->chunker, key);
    explicit_bzero(key, sizeof key);
    keyring_derive(keyring, "parents", slice_of_text(w->params.source), w->parents_key);
    keyring_derive(keyring, "parents.rows", slice_of_text(w->params.source), w->parents_secret);
    make_lanes(w);
    w->pages = pages_new(&w->chunker, writer_page, w);
    w->today = today_new(put_parents, w);
    writer_bench_init(&w->page_bench);
    writer_pack_init(w);
}

bool writer_open(RepoWriter **out, const WriterParams *params, Err *err)
{
    RepoWriter *w = mem_new(RepoWriter);
    init_locks(w);
    if (!take_params(w, params, err) || !pool_new(&w->pool, segments_of(&w->params), err)) {
        writer_close(w);
        return false;
    }
    prepare(w);
    if (!writer_known_adopt(w, err)) {
        writer_close(w);
        return false;
    }
    writer_known_load(w);
    if (!start_threads(w, err)) {
        writer_close(w);
        return false;
    }
    *out = w;
    return true;
}

void writer_progress(RepoWriter *w, WriterProgress *out)
{
    out->bytes = atomic_load(&w->bytes);
    out->read = atomic_load(&w->read);
    out->entries = atomic_load(&w->entries);
    out->known = atomic_load(&w->known);
    out->new_bytes = atomic_load(&w->new_bytes);
    out->stored = atomic_load(&w->stored);
    out->adopted = atomic_load(&w->adopted);
}

static void join_workers(RepoWriter *w)
{
    pthread_mutex_lock(&w->lock);
    w->raw_closed = true;
    pthread_cond_broadcast(&w->work);
    pthread_mutex_unlock(&w->lock);
    for (; w->workers_started > 0; w->workers_started--)
        pthread_join(w->workers[w->workers_started - 1], NULL);
}

static void join_packer(RepoWriter *w)
{
    pthread_mutex_lock(&w->lock);
    w->coded_closed = true;
    pthread_cond_broadcast(&w->pack);
    pthread_mutex_unlock(&w->lock);
    if (w->packer_started)
        pthread_join(w->packer, NULL);
    w->packer_started = false;
}

static void describe(RepoWriter *w, const PagesRoot *root, const Receipt *receipt, Manifest *m)
{
    const WriterParams *p = &w->params;
    *m = (Manifest){.backup = p->backup,
                    .source = p->source,
                    .sequence = p->has_parent ? p->parent_sequence + 1 : 1,
                    .has_parent = p->has_parent,
                    .parent = p->parent,
                    .parent_manifest = p->parent_manifest,
                    .consistent_ns = receipt->consistent_ns,
                    .position = receipt->position,
                    .details = receipt->details,
                    .levels = root->levels,
                    .refs = buf_slice(&root->refs),
                    .ref_count = root->ref_count,
                    .entries = root->entries,
                    .bytes = root->bytes,
                    .issues = atomic_load(&w->issue_count),
                    .issue_page_count = w->issue_page_count,
                    .last_phase = w->last_phase,
                    .new_bytes = atomic_load(&w->new_bytes),
                    .stored_bytes = atomic_load(&w->stored)};
    if (p->origin != NULL)
        m->origin = *p->origin;
}

static void describe_backup(RepoWriter *w, const Manifest *m, RepoBackup *out)
{
    memset(out, 0, sizeof *out);
    repo_backup_fill(out, m);
    out->pack_nos = packset_sorted(&w->used);
    out->pack_count = w->used.count;
}

/* Each durable before the next: whatever names something comes after it. */
static bool put_objects(RepoWriter *w, const PagesRoot *root, const Receipt *receipt,
                        RepoBackup *out, Err *err)
{
    Manifest m;
    describe(w, root, receipt, &m);
    scoped(buf_free) Buf issue_pages = {0};
    for (uint32_t i = 0; i < w->issue_page_count; i++)
        canon_bin(&issue_pages, (Slice){w->issue_pages[i].bytes, sizeof(ChunkId)});
    m.issue_pages = buf_slice(&issue_pages);
    CRASHPOINT("repo.packs_staged");
    if (!writer_pack_index(w, &m.index, err))
        return false;
    CRASHPOINT("repo.index_durable");
    if (!today_finish(w->today, err))
        return err_note(err, "storing the parent list");
    CRASHPOINT("repo.parents_durable");
    scoped(buf_free) Buf body = {0};
    manifest_add(&body, &m);
    describe_backup(w, &m, out);
    char name[REPO_NAME];
    repo_name("manifests", &m.backup, name);
    if (!repo_put(w->params.repo, DISK_MANIFEST, name, NULL, (Slice){0}, buf_slice(&body),
                  &out->manifest, err)) {
        repo_backup_free(out);
        return err_note(err, "storing the manifest");
    }
    CRASHPOINT("repo.manifest_durable");
    return true;
}

bool writer_finish(RepoWriter *w, const Receipt *receipt, RepoBackup *out, Err *err)
{
    if (writer_failed(w, err))
        return false;
    for (unsigned i = 0; i < w->params.lanes; i++)
        if (!writer_lane_flush(w, &w->lanes[i], err) || !writer_drain(w, &w->lanes[i], true, err))
            return writer_fail(w, err);
    PagesRoot root = {0};
    bool good = writer_finish_pages(w, &root, err);
    join_workers(w);
    if (!good)
        writer_fail(w, err);
    join_packer(w);
    good = good && !writer_failed(w, err) && put_objects(w, &root, receipt, out, err);
    buf_free(&root.refs);
    return good || writer_fail(w, err);
}

static void drop_queue(ChunkQueue *queue)
{
    Chunk *chunk;
    while ((chunk = writer_queue_pop(queue)) != NULL)
        writer_release(chunk);
}

static void free_records(RepoWriter *w)
{
    for (size_t i = 0; i < w->record_count; i++)
        mem_free(w->records[i].at);
    mem_free(w->records);
}

void writer_close(RepoWriter *w)
{
    if (w == NULL)
        return;
    if (w->workers_started > 0 || w->packer_started)
        writer_cancel(w);
    join_workers(w);
    join_packer(w);
    drop_queue(&w->raw);
    drop_queue(&w->coded);
    drop_queue(&w->meta);
    for (unsigned i = 0; w->lanes != NULL && i < w->params.lanes; i++)
        writer_lane_free(w, &w->lanes[i]);
    mem_free(w->lanes);
    free_records(w);
    pages_free(w->pages);
    today_free(w->today);
    writer_known_free(w);
    writer_bench_free(&w->page_bench);
    writer_pack_free(w);
    buf_free(&w->last_path);
    buf_free(&w->issues);
    mem_free(w->issue_pages);
    explicit_bzero(w->parents_secret, sizeof w->parents_secret);
    explicit_bzero(w->parents_key, sizeof w->parents_key);
    pool_free(w->pool);
    mem_free(w);
}
