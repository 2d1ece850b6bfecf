/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/repacking.h"

#include "common/base/crashpoint.h"
#include "common/base/mem.h"
#include "common/catalog/catalog_pack.h"
#include "common/catalog/catalog_repack.h"
#include "common/catalog/catalog_verify.h"
#include "common/repo/idmap.h"
#include "common/repo/reader.h"
#include "common/repo/repack.h"
#include "worker/job/ledger_catalog.h"
#include "worker/job/locator_catalog.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHUNKS_MOST = 100000, /* of one run: their rows, ids and new places are kept, and one index */
    BACKUPS_A_PAGE = 100,
    NEEDED = 1, /* of a chunk's value; the number of its new pack is above it */
};

typedef struct Candidate {
    RepackPack pack;
    ChunkRow *chunks;
    size_t count;
    uint64_t total, needed; /* stored bytes of its chunks */
    bool named;             /* by a backup that was walked */
    bool stays;             /* by one that cannot be; or it is damaged */
    bool chosen;
} Candidate;

typedef struct Repacking {
    Job *job;
    RepoLedger ledger; /* first what repack_open is given */
    Session session;
    RepoLocator *locator;
    RepackingCounts *counts;
    const RepackingPlan *plan;
    RepackPack *picked;
    size_t picked_count;
    Candidate *candidates; /* by domain and kind */
    size_t count, chunk_count;
    uint64_t *nos; /* theirs, ascending */
    IdMap ids;
    RepackName *names;
    size_t name_count;
    Uuid after;
    Uuid *walked;
    size_t walked_count;
    uint64_t like; /* whose domain a new pack gets */
    Repack *repack;
} Repacking;

/* --- what may be partly dead ------------------------------------------------------------------ */

static bool call_chunks(Catalog *catalog, void *ctx, Err *err)
{
    Repacking *r = ctx;
    Candidate *candidate = &r->candidates[r->count];
    mem_free(candidate->chunks);
    candidate->chunks = NULL;
    return catalog_pack_chunks(catalog, &r->job->fence, candidate->pack.row.pack_no,
                               &candidate->chunks, &candidate->count, err);
}

static int compare_nos(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

static bool pick(Repacking *r, Err *err)
{
    if (!r->plan->pick(r->plan->ctx, r->job, &r->session, &r->picked, &r->picked_count, err))
        return false;
    r->candidates = mem_array(Candidate, r->picked_count);
    r->nos = mem_array(uint64_t, r->picked_count);
    for (size_t i = 0; i < r->picked_count && r->chunk_count < CHUNKS_MOST; i++) {
        Candidate *candidate = &r->candidates[r->count];
        candidate->pack = r->picked[i];
        if (!job_go_on(r->job, err) || !patient_call(r->job->catalog, call_chunks, r, err))
            return false;
        for (size_t k = 0; k < candidate->count; k++) {
            candidate->total += candidate->chunks[k].stored;
            idmap_add(&r->ids, &candidate->chunks[k].id, NULL);
        }
        r->chunk_count += candidate->count;
        r->nos[r->count++] = candidate->pack.row.pack_no;
    }
    if (r->count > 0)
        qsort(r->nos, r->count, sizeof r->nos[0], compare_nos);
    return true;
}

/* --- what backups need of it ------------------------------------------------------------------ */

static bool call_backups(Catalog *catalog, void *ctx, Err *err)
{
    Repacking *r = ctx;
    Uuid after = r->after;
    bool fine = catalog_repack_backups(catalog, &r->job->fence, r->nos, r->count, &after,
                                       BACKUPS_A_PAGE, &r->names, &r->name_count, err);
    r->after = fine ? after : r->after;
    return fine;
}

static bool need(void *ctx, const ChunkId *id, bool meta, Err *err)
{
    Repacking *r = ctx;
    uint32_t at = idmap_find(&r->ids, id);
    (void)meta;
    (void)err;
    if (at != IDMAP_NONE)
        r->ids.values[at] |= NEEDED;
    return true;
}

static bool walk(Repacking *r, const RepackName *name, Err *err)
{
    RepoReader *reader = NULL;
    ReaderParams params = {.repo = r->session.repo,
                           .locator = r->locator,
                           .backup = name->backup,
                           .manifest = &name->manifest,
                           .memory_bytes = r->job->settings->memory_bytes / 4};
    bool fine = reader_open(&reader, &params, err) && reader_chunks(reader, need, r, err);
    reader_close(reader);
    return fine;
}

static Candidate *candidate_of(Repacking *r, uint64_t no)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->candidates[i].pack.row.pack_no == no)
            return &r->candidates[i];
    return NULL;
}

/* One backup: the rows from `at` to `end`. What one needs that does not open is not known: its
 * packs stay as they are. */
static bool look_at(Repacking *r, size_t at, size_t end, Err *err)
{
    const RepackName *name = &r->names[at];
    bool known = !name->going;
    if (known && !walk(r, name, err)) {
        if (err->code != ERR_CORRUPT && err->code != ERR_MISSING && err->code != ERR_INVALID)
            return false;
        job_log(r->job, LOG_WARN, "repack.unreadable", "%s: %s", err->cause, err->text);
        *err = (Err){0};
        known = false;
    }
    for (size_t i = at; i < end; i++) {
        Candidate *candidate = candidate_of(r, r->names[i].no);
        if (candidate != NULL) {
            candidate->named = true;
            candidate->stays = candidate->stays || !known;
        }
    }
    if (known) {
        r->walked = mem_resize(r->walked, (r->walked_count + 1) * sizeof r->walked[0]);
        r->walked[r->walked_count++] = name->backup;
    }
    return true;
}

static bool look(Repacking *r, Err *err)
{
    bool fine;
    do {
        r->name_count = 0;
        fine = patient_call(r->job->catalog, call_backups, r, err);
        for (size_t at = 0, end; fine && at < r->name_count; at = end) {
            for (end = at;
                 end < r->name_count && uuid_equal(&r->names[end].backup, &r->names[at].backup);)
                end++;
            fine = job_go_on(r->job, err) && look_at(r, at, end, err);
        }
        mem_free(r->names);
        r->names = NULL;
    } while (fine && r->name_count > 0);
    return fine;
}

/* --- which are, and what it is worth to know -------------------------------------------------- */

typedef struct Looked {
    const Fence *fence;
    uint64_t *nos, *needed;
    size_t count;
    uint64_t *taken;
    size_t taken_count;
} Looked;

static bool call_looked(Catalog *catalog, void *ctx, Err *err)
{
    Looked *looked = ctx;
    return catalog_repack_looked(catalog, looked->fence, looked->nos, looked->needed, looked->count,
                                 err);
}

static bool call_take(Catalog *catalog, void *ctx, Err *err)
{
    Looked *looked = ctx;
    mem_free(looked->taken);
    looked->taken = NULL;
    return catalog_repack_take(catalog, looked->fence, looked->nos, looked->count, &looked->taken,
                               &looked->taken_count, err);
}

/* Of its bytes: its directory is needed as much as its chunks are. One of which it cannot be known
 * counts as needed, until something is let go of it. */
static uint64_t needed_of(const Repacking *r, Candidate *c)
{
    for (size_t k = 0; k < c->count; k++)
        if ((r->ids.values[idmap_find(&r->ids, &c->chunks[k].id)] & NEEDED) != 0)
            c->needed += c->chunks[k].stored;
    if (c->stays || c->needed == c->total)
        return c->pack.row.bytes;
    return (uint64_t)((double)c->pack.row.bytes * ((double)c->needed / (double)c->total));
}

static bool take(Repacking *r, Looked *looked, Err *err)
{
    bool fine = r->plan->all || patient_call(r->job->catalog, call_take, looked, err);
    for (size_t i = 0; fine && i < r->count; i++) {
        Candidate *c = &r->candidates[i];
        bool worth = r->plan->all;
        for (size_t k = 0; k < looked->taken_count; k++)
            worth = worth || looked->taken[k] == c->pack.row.pack_no;
        c->chosen = worth && c->named && !c->stays;
    }
    mem_free(looked->taken);
    return fine;
}

static bool choose(Repacking *r, Err *err)
{
    scoped(mem_release) uint64_t *nos = mem_array(uint64_t, r->count);
    scoped(mem_release) uint64_t *needed = mem_array(uint64_t, r->count);
    Looked looked = {&r->job->fence, nos, needed, 0, NULL, 0};
    for (size_t i = 0; i < r->count; i++) {
        Candidate *c = &r->candidates[i];
        if (!c->named)
            continue;
        nos[looked.count] = c->pack.row.pack_no;
        needed[looked.count++] = needed_of(r, c);
    }
    r->counts->looked += looked.count;
    return looked.count == 0 ||
           (patient_call(r->job->catalog, call_looked, &looked, err) && take(r, &looked, err));
}

/* --- moving it -------------------------------------------------------------------------------- */

typedef struct New {
    const Fence *fence;
    const Uuid *object, *pack;
    uint64_t like, *no;
} New;

static bool call_new(Catalog *catalog, void *ctx, Err *err)
{
    New *new = ctx;
    return catalog_repack_new(catalog, new->fence, new->object, new->pack, new->like, new->no, err);
}

static Repacking *of_ledger(RepoLedger *ledger)
{
    return (Repacking *)(void *)((char *)ledger - offsetof(Repacking, ledger));
}

static bool ledger_begin(RepoLedger *ledger, const Uuid *object, const Uuid *pack, PackKind kind,
                         uint64_t *pack_no, Err *err)
{
    Repacking *r = of_ledger(ledger);
    New new = {&r->job->fence, object, pack, r->like, pack_no};
    (void)kind; /* is that of `like` */
    return patient_call(r->job->catalog, call_new, &new, err);
}

typedef struct Stage {
    const Fence *fence;
    const PackRow *row;
} Stage;

static bool call_stage(Catalog *catalog, void *ctx, Err *err)
{
    Stage *stage = ctx;
    return catalog_pack_stage(catalog, stage->fence, stage->row, err);
}

static bool ledger_stage(RepoLedger *ledger, const PackRow *row, Err *err)
{
    Repacking *r = of_ledger(ledger);
    Stage stage = {&r->job->fence, row};
    return patient_call(r->job->catalog, call_stage, &stage, err);
}

static bool ledger_index(RepoLedger *ledger, const Uuid *backup, const Uuid *object,
                         const uint64_t *pack_nos, size_t count, Err *err)
{
    Repacking *r = of_ledger(ledger);
    return ledger_catalog_index(r->job->catalog, &r->job->fence, backup, object, pack_nos, count,
                                err);
}

static const RepoLedgerOps LEDGER = {
    .pack_begin = ledger_begin, .pack_stage = ledger_stage, .index_begin = ledger_index};

typedef struct Mark {
    const Fence *fence;
    uint64_t no;
    Text why;
} Mark;

static bool call_mark(Catalog *catalog, void *ctx, Err *err)
{
    Mark *mark = ctx;
    return catalog_pack_damaged(catalog, mark->fence, mark->no, mark->why, err);
}

static bool damaged(Repacking *r, Candidate *c, const Err *why, Err *err)
{
    char object[UUID_TEXT];
    Mark mark = {&r->job->fence, c->pack.row.pack_no, text_of(why->text)};
    uuid_text(&c->pack.row.object, object);
    job_log(r->job, LOG_ERROR, "repack.damaged", "%s: %s", object, why->text);
    c->chosen = false;
    r->counts->damaged++;
    return patient_call(r->job->catalog, call_mark, &mark, err);
}

/* What is needed of it and has no new place yet. */
static bool move_pack(Repacking *r, Candidate *c, Err *err)
{
    bool good;
    Err why = {0};
    scoped(mem_release) ChunkRow *chunks = mem_array(ChunkRow, c->count);
    scoped(mem_release) uint64_t *into = mem_array(uint64_t, c->count);
    PackRow from = c->pack.row;
    from.chunks = chunks;
    for (size_t i = 0; i < c->count; i++)
        if (r->ids.values[idmap_find(&r->ids, &c->chunks[i].id)] == NEEDED)
            chunks[from.chunk_count++] = c->chunks[i];
    r->like = from.pack_no;
    if (from.chunk_count == 0)
        return true;
    if (!repack_move(r->repack, &from, into, &good, &why, err))
        return false;
    for (size_t i = 0; i < from.chunk_count; i++)
        if (into[i] != 0)
            r->ids.values[idmap_find(&r->ids, &chunks[i].id)] = NEEDED | into[i] << 1;
    return good || damaged(r, c, &why, err);
}

static bool move_all(Repacking *r, Err *err)
{
    const Candidate *last = NULL;
    for (size_t i = 0; i < r->count; i++) {
        Candidate *c = &r->candidates[i];
        if (!c->chosen)
            continue;
        if (last != NULL && last->pack.domain != c->pack.domain && !repack_cut(r->repack, err))
            return false;
        if (!job_go_on(r->job, err) || !move_pack(r, c, err))
            return false;
        r->job->counters.items_done++;
        last = c;
    }
    return true;
}

/* --- the swap --------------------------------------------------------------------------------- */

typedef struct Swap {
    const Fence *fence;
    RepackSwap what;
    uint64_t swapped;
} Swap;

static bool call_commit(Catalog *catalog, void *ctx, Err *err)
{
    Swap *swap = ctx;
    return catalog_repack_commit(catalog, swap->fence, &swap->what, &swap->swapped, err);
}

/* A row for each change of the new pack on the way through an old one. */
static size_t add_pairs(const Repacking *r, const Candidate *c, uint64_t *from, uint64_t *into)
{
    size_t count = 0;
    for (size_t i = 0; i < c->count; i++) {
        uint64_t place = r->ids.values[idmap_find(&r->ids, &c->chunks[i].id)] >> 1;
        if (place == 0 || (count > 0 && into[count - 1] == place))
            continue;
        from[count] = c->pack.row.pack_no;
        into[count++] = place;
    }
    return count;
}

static bool swap(Repacking *r, Err *err)
{
    Uuid index = {0};
    Swap swap = {.fence = &r->job->fence};
    RepackSwap *what = &swap.what;
    if (!repack_finish(r->repack, &index, &what->made, &what->made_count, err))
        return false;
    scoped(mem_release) uint64_t *old = mem_array(uint64_t, r->count);
    scoped(mem_release) uint64_t *from = mem_array(uint64_t, r->chunk_count);
    scoped(mem_release) uint64_t *into = mem_array(uint64_t, r->chunk_count);
    for (size_t i = 0; i < r->count; i++) {
        const Candidate *c = &r->candidates[i];
        if (!c->chosen)
            continue;
        old[what->old_count++] = c->pack.row.pack_no;
        r->counts->old_bytes += c->pack.row.bytes;
        what->pair_count += add_pairs(r, c, from + what->pair_count, into + what->pair_count);
    }
    what->old = old;
    what->from = from;
    what->into = into;
    what->backups = r->walked;
    what->backup_count = r->walked_count;
    what->index = uuid_is_nil(&index) ? NULL : &index;
    if (what->old_count == 0)
        return true;
    CRASHPOINT("repack.before");
    if (!patient_call(r->job->catalog, call_commit, &swap, err))
        return false;
    CRASHPOINT("repack.committed");
    r->counts->packed += what->old_count;
    r->counts->made += what->made_count;
    r->counts->bytes += repack_bytes(r->repack);
    r->counts->backups += swap.swapped;
    return r->plan->made(r->plan->ctx, r->job, what->made, what->made_count, err);
}

static bool any_chosen(const Repacking *r)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->candidates[i].chosen)
            return true;
    return false;
}

static bool run(Repacking *r, Err *err)
{
    job_phase(r->job, "repack");
    if (!session_open(&r->session, r->job, SESSION_WRITE, err) ||
        !repack_open(&r->repack, r->session.repo, &r->ledger, 0, err) || !pick(r, err))
        return false;
    if (r->count == 0)
        return true;
    r->locator = locator_catalog_open(r->job->catalog, &r->job->fence, 0);
    if (!look(r, err) || !choose(r, err))
        return false;
    CRASHPOINT("repack.looked");
    return !any_chosen(r) || (move_all(r, err) && swap(r, err));
}

static void release(Repacking *r)
{
    for (size_t i = 0; r->candidates != NULL && i < r->picked_count; i++)
        mem_free(r->candidates[i].chunks);
    repack_close(r->repack);
    locator_close(r->locator);
    session_close(&r->session);
    idmap_free(&r->ids);
    mem_free(r->candidates);
    mem_free(r->picked);
    mem_free(r->names);
    mem_free(r->nos);
    mem_free(r->walked);
}

bool repacking_round(Job *job, const RepackingPlan *plan, RepackingCounts *counts, Err *err)
{
    Repacking r = {.job = job, .ledger = {&LEDGER}, .counts = counts, .plan = plan};
    bool fine = run(&r, err);
    release(&r);
    return fine;
}

/* --- partly dead packs ------------------------------------------------------------------------ */

typedef struct PartlyDead {
    const Fence *fence;
    bool asked;
    RepackPack **packs;
    size_t *count;
} PartlyDead;

static bool call_pick(Catalog *catalog, void *ctx, Err *err)
{
    PartlyDead *partly = ctx;
    return catalog_repack_pick(catalog, partly->fence, partly->asked, REPACKING_PACKS,
                               partly->packs, partly->count, err);
}

static bool pick_partly_dead(void *ctx, Job *job, Session *session, RepackPack **packs,
                             size_t *count, Err *err)
{
    PartlyDead partly = {&job->fence, *(const bool *)ctx, packs, count};
    (void)session;
    return patient_call(job->catalog, call_pick, &partly, err);
}

static bool nothing_more(void *ctx, Job *job, const uint64_t *packs, size_t count, Err *err)
{
    (void)ctx, (void)job, (void)packs, (void)count, (void)err;
    return true;
}

/* A pruner need not read and write: then it only deletes. */
static bool lacks_a_role(const Err *err)
{
    return err->code == ERR_DENIED || strcmp(err->cause, "key.missing") == 0 ||
           strcmp(err->cause, "no-credential") == 0;
}

bool repacking_run(Job *job, bool asked, RepackingCounts *counts, Err *err)
{
    RepackingPlan plan = {pick_partly_dead, nothing_more, false, &asked};
    *counts = (RepackingCounts){0};
    bool fine = repacking_round(job, &plan, counts, err);
    if (fine || asked || !lacks_a_role(err))
        return fine;
    counts->cannot = true;
    *err = (Err){0};
    return true;
}
