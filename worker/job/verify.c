/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/verify.h"

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/catalog/catalog_pack.h"
#include "common/catalog/catalog_verify.h"
#include "common/repo/verify.h"
#include "worker/job/opened.h"

#include <stdio.h>
#include <stdlib.h>

/* Chunks of one pack that were opened and are what their names say. */
typedef struct Seen {
    uint64_t pack_no, chunks;
} Seen;

typedef struct Verify {
    Job *job;
    Uuid backup;
    VerifyCounts counts;
    Seen *seen; /* by pack, chunks of this backup that were opened */
    size_t seen_count, seen_room;
    uint64_t proven; /* packs that others may share from now on */
    json_t *damage;  /* the first few, for the answer */
    int64_t started_ns;
} Verify;

enum { DAMAGE_SHOWN = 50, PACKS_AT_ONCE = 16 };

static void note_damage(Verify *verify, const Uuid *object, Text path, const Err *why)
{
    char name[UUID_TEXT];
    verify->job->counters.errors++;
    uuid_text(object, name);
    job_log(verify->job, LOG_ERROR, "verify.damaged", "%s: %s", name, why->text);
    if (json_array_size(verify->damage) >= DAMAGE_SHOWN)
        return;
    json_t *row = json_object();
    json_object_set_new(row, "object", json_string(name));
    json_object_set_new(row, "path", json_bytes(slice_of_text(path)));
    json_object_set_new(row, "text", json_string(why->text));
    json_array_append_new(verify->damage, row);
}

typedef struct Mark {
    const Fence *fence;
    uint64_t pack_no;
    Text why;
} Mark;

static bool call_mark(Catalog *catalog, void *ctx, Err *err)
{
    Mark *mark = ctx;
    return catalog_pack_damaged(catalog, mark->fence, mark->pack_no, mark->why, err);
}

/* From now on no backup shares this pack. That the mark fails is told, the check goes on. */
static void mark_damaged(Job *job, uint64_t pack_no, const Err *why)
{
    Mark mark = {&job->fence, pack_no, text_of(why->text)};
    Err err = {0};
    if (pack_no != 0 && !patient_call(job->catalog, call_mark, &mark, &err))
        job_log(job, LOG_WARN, "verify.mark", "%s: %s", err.cause, err.text);
}

/* --- stored --------------------------------------------------------------------------------- */

typedef struct Packs {
    const Fence *fence;
    Uuid backup;
    bool seen; /* by a reader, whole */
    PackRow *rows;
    size_t count;
} Packs;

static bool keep_pack(void *ctx, const PackRow *row, Err *err)
{
    Packs *packs = ctx;
    (void)err;
    packs->rows = mem_resize(packs->rows, (packs->count + 1) * sizeof packs->rows[0]);
    packs->rows[packs->count] = *row;
    packs->rows[packs->count].chunks = NULL;
    packs->rows[packs->count++].chunk_count = 0;
    return true;
}

static bool call_packs(Catalog *catalog, void *ctx, Err *err)
{
    Packs *packs = ctx;
    packs->count = 0;
    return catalog_pack_of_backup(catalog, packs->fence, &packs->backup, keep_pack, packs, err);
}

/* One that is damaged is told and marked; the check goes on. */
static void judge(Verify *verify, const VerifyLook *look)
{
    verify->counts.packs++;
    if (look->good)
        return;
    verify->counts.damaged++;
    note_damage(verify, &look->row.object, TEXT(""), &look->why);
    mark_damaged(verify->job, look->row.pack_no, &look->why);
}

static bool check_some(Verify *verify, Session *session, const PackRow *rows, size_t count,
                       Err *err)
{
    Job *job = verify->job;
    VerifyLook looks[PACKS_AT_ONCE] = {0};
    for (size_t i = 0; i < count; i++)
        looks[i].row = rows[i];
    if (!job_go_on(job, err) || !verify_packs(session->repo, looks, count, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        judge(verify, &looks[i]);
        verify->counts.bytes += rows[i].bytes;
        job->counters.bytes_done += rows[i].bytes;
        job->counters.items_done++;
    }
    return true;
}

static size_t some_of(const Packs *packs, size_t from)
{
    return packs->count - from < PACKS_AT_ONCE ? packs->count - from : PACKS_AT_ONCE;
}

static bool check_packs(Verify *verify, Session *session, const Packs *packs, Err *err)
{
    Job *job = verify->job;
    for (size_t i = 0; i < packs->count; i++)
        job->counters.bytes_total += packs->rows[i].bytes;
    job->counters.total_basis = "plan";
    for (size_t i = 0; i < packs->count; i += PACKS_AT_ONCE)
        if (!check_some(verify, session, &packs->rows[i], some_of(packs, i), err))
            return false;
    return true;
}

static bool check_stored(Verify *verify, Err *err)
{
    Session session = {0};
    Packs packs = {.fence = &verify->job->fence, .backup = verify->backup};
    bool fine = session_open(&session, verify->job, SESSION_STORED, err) &&
                patient_call(verify->job->catalog, call_packs, &packs, err) &&
                check_packs(verify, &session, &packs, err);
    mem_free(packs.rows);
    session_close(&session);
    return fine;
}

/* --- content -------------------------------------------------------------------------------- */

static void on_damage(void *ctx, const VerifyDamage *damage)
{
    Verify *verify = ctx;
    note_damage(verify, &damage->object, damage->path, &damage->why);
    mark_damaged(verify->job, damage->pack_no, &damage->why);
}

/* Chunks come in order of their places, some hundred at a time: a pack has few rows of its own. */
static void on_opened(void *ctx, uint64_t pack_no)
{
    Verify *verify = ctx;
    if (verify->seen_count > 0 && verify->seen[verify->seen_count - 1].pack_no == pack_no) {
        verify->seen[verify->seen_count - 1].chunks++;
        return;
    }
    if (verify->seen_count == verify->seen_room) {
        verify->seen_room = verify->seen_room == 0 ? 64 : verify->seen_room * 2;
        verify->seen = mem_resize(verify->seen, verify->seen_room * sizeof verify->seen[0]);
    }
    verify->seen[verify->seen_count++] = (Seen){pack_no, 1};
}

static int compare_seen(const void *a, const void *b)
{
    const Seen *left = a, *right = b;
    return (left->pack_no > right->pack_no) - (left->pack_no < right->pack_no);
}

/* One row a pack, for seen_of. */
static void sum_seen(Verify *verify)
{
    size_t kept = 0;
    if (verify->seen_count > 0)
        qsort(verify->seen, verify->seen_count, sizeof verify->seen[0], compare_seen);
    for (size_t i = 0; i < verify->seen_count; i++) {
        if (kept > 0 && verify->seen[kept - 1].pack_no == verify->seen[i].pack_no)
            verify->seen[kept - 1].chunks += verify->seen[i].chunks;
        else
            verify->seen[kept++] = verify->seen[i];
    }
    verify->seen_count = kept;
}

static uint64_t seen_of(const Verify *verify, uint64_t pack_no)
{
    Seen wanted = {.pack_no = pack_no};
    const Seen *found = verify->seen_count == 0 ? NULL
                                                : bsearch(&wanted, verify->seen, verify->seen_count,
                                                          sizeof verify->seen[0], compare_seen);
    return found == NULL ? 0 : found->chunks;
}

static bool is_cancelled(void *ctx)
{
    const Verify *verify = ctx;
    return job_cancelled(verify->job);
}

/* Packs seen whole, told some at a time: from then on every source may share them. */
typedef struct Proven {
    const Fence *fence;
    uint64_t nos[PACKS_AT_ONCE];
    Sha256 sha256s[PACKS_AT_ONCE];
    size_t count, changed;
} Proven;

static bool call_proven(Catalog *catalog, void *ctx, Err *err)
{
    Proven *proven = ctx;
    return catalog_pack_verified(catalog, proven->fence, proven->nos, proven->sha256s,
                                 proven->count, &proven->changed, err);
}

static bool tell_proven(Verify *verify, Proven *proven, Err *err)
{
    if (proven->count == 0)
        return true;
    if (!patient_call(verify->job->catalog, call_proven, proven, err))
        return false;
    verify->proven += proven->changed;
    proven->count = 0;
    return true;
}

static bool call_unseen(Catalog *catalog, void *ctx, Err *err)
{
    Packs *packs = ctx;
    packs->count = 0;
    return catalog_pack_unseen(catalog, packs->fence, &packs->backup, packs->seen, keep_pack, packs,
                               err);
}

typedef struct Rows {
    const Fence *fence;
    uint64_t pack_no;
    ChunkRow *chunks;
    size_t count;
} Rows;

static bool call_rows(Catalog *catalog, void *ctx, Err *err)
{
    Rows *rows = ctx;
    mem_free(rows->chunks);
    rows->chunks = NULL;
    return catalog_pack_chunks(catalog, rows->fence, rows->pack_no, &rows->chunks, &rows->count,
                               err);
}

/* The catalogue's rows are what others would share by, so they are what is proven. This backup's
 * chunks were opened where those rows say: when that was all of them, only the bytes are left. One
 * that was seen whole before must only still be the same bytes. */
static bool take_rows(Verify *verify, VerifyLook *look, ChunkRow **kept, Err *err)
{
    Job *job = verify->job;
    Rows rows = {.fence = &job->fence, .pack_no = look->row.pack_no};
    bool fine = patient_call(job->catalog, call_rows, &rows, err);
    *kept = rows.chunks;
    look->row.chunks = rows.chunks;
    look->row.chunk_count = rows.count;
    look->whole = seen_of(verify, look->row.pack_no) != rows.count;
    return fine;
}

static bool prove_some(Verify *verify, Session *session, const Packs *packs, size_t from, Err *err)
{
    size_t count = some_of(packs, from);
    VerifyLook looks[PACKS_AT_ONCE] = {0};
    ChunkRow *rows[PACKS_AT_ONCE] = {0};
    Proven proven = {.fence = &verify->job->fence};
    bool fine = job_go_on(verify->job, err);
    for (size_t i = 0; i < count; i++) {
        looks[i].row = packs->rows[from + i];
        fine = fine && (packs->seen || take_rows(verify, &looks[i], &rows[i], err));
    }
    fine = fine && verify_packs(session->repo, looks, count, err);
    for (size_t i = 0; fine && i < count; i++) {
        judge(verify, &looks[i]);
        if (!looks[i].good)
            continue;
        proven.nos[proven.count] = looks[i].row.pack_no;
        proven.sha256s[proven.count++] = looks[i].row.sha256;
    }
    for (size_t i = 0; i < count; i++)
        mem_free(rows[i]);
    return fine && tell_proven(verify, &proven, err);
}

static bool prove_packs(Verify *verify, Session *session, bool seen, Err *err)
{
    Job *job = verify->job;
    Packs packs = {.fence = &job->fence, .backup = verify->backup, .seen = seen};
    bool fine = patient_call(job->catalog, call_unseen, &packs, err);
    for (size_t i = 0; fine && i < packs.count; i += PACKS_AT_ONCE)
        fine = prove_some(verify, session, &packs, i, err);
    mem_free(packs.rows);
    return fine;
}

/* A login that is no reader's may check, not vouch. */
static bool prove_all(Verify *verify, Session *session, Err *err)
{
    if (prove_packs(verify, session, false, err) && prove_packs(verify, session, true, err))
        return true;
    if (err->code != ERR_DENIED)
        return false;
    job_log(verify->job, LOG_INFO, "verify.not_shared", "%s", err->text);
    *err = (Err){0};
    return true;
}

static bool check_content(Verify *verify, Err *err)
{
    Opened opened;
    Job *job = verify->job;
    if (!opened_open(&opened, job, err))
        return false;
    job->counters.bytes_total = opened.row.bytes;
    job->counters.total_basis = "plan";
    VerifyWatch watch = {verify, on_damage, on_opened, is_cancelled};
    bool fine = verify_content(opened.reader, &watch, &verify->counts, err);
    sum_seen(verify);
    job->counters.bytes_done = verify->counts.bytes;
    job->counters.items_done = verify->counts.entries;
    fine = fine && job_go_on(job, err) && prove_all(verify, &opened.session, err);
    opened_close(&opened);
    mem_free(verify->seen);
    return fine;
}

/* --- the row -------------------------------------------------------------------------------- */

typedef struct Add {
    const Fence *fence;
    VerificationRow row;
} Add;

static bool call_add(Catalog *catalog, void *ctx, Err *err)
{
    Add *add = ctx;
    return catalog_verification_add(catalog, add->fence, &add->row, err);
}

static json_t *checks_of(const Verify *verify, Text level)
{
    const VerifyCounts *counts = &verify->counts;
    json_t *checks = json_object();
    json_object_set_new(checks, "level", json_stringn(level.at, level.len));
    json_object_set_new(checks, "packs", json_integer((json_int_t)counts->packs));
    json_object_set_new(checks, "chunks", json_integer((json_int_t)counts->chunks));
    json_object_set_new(checks, "entries", json_integer((json_int_t)counts->entries));
    json_object_set_new(checks, "bytes", json_integer((json_int_t)counts->bytes));
    json_object_set_new(checks, "damaged", json_integer((json_int_t)counts->damaged));
    json_object_set_new(checks, "missing", json_integer((json_int_t)counts->missing));
    json_object_set_new(checks, "proven", json_integer((json_int_t)verify->proven));
    json_object_set(checks, "damage", verify->damage);
    return checks;
}

static bool record(Verify *verify, Text level, JobResult *result, Err *err)
{
    scoped(buf_free) Buf text = {0};
    json_t *checks = checks_of(verify, level);
    bool bad = verify->counts.damaged + verify->counts.missing > 0;
    json_canonical(checks, &text);
    Add add = {.fence = &verify->job->fence,
               .row = {.backup = verify->backup,
                       .level = level,
                       .result = bad ? TEXT("failed") : TEXT("ok"),
                       .started_ns = verify->started_ns,
                       .checks = buf_text(&text)}};
    result->answer = checks;
    if (!patient_call(verify->job->catalog, call_add, &add, err))
        return false;
    if (bad)
        return err_set(err, ERR_CORRUPT, "verify.damaged",
                       "%llu of its stored parts are damaged and %llu missing: take a new backup, "
                       "the damaged packs are shared no longer (holdfast damage says what else "
                       "needs them)",
                       (unsigned long long)verify->counts.damaged,
                       (unsigned long long)verify->counts.missing);
    snprintf(result->text, sizeof result->text, "%.*s ok: %llu bytes", TEXT_ARG(level),
             (unsigned long long)verify->counts.bytes);
    return true;
}

bool verify_run(Job *job, JobResult *result, Err *err)
{
    Text level = json_text_or(job->params, "level", TEXT("stored"));
    Verify verify = {.job = job, .started_ns = clock_wall_ns()};
    bool content = text_equal(level, TEXT("content"));
    if (!content && !text_equal(level, TEXT("stored")))
        return err_set(err, ERR_USAGE, "verify.level",
                       "this worker verifies `stored` and `content`, not %.*s", TEXT_ARG(level));
    if (!uuid_parse(json_text_or(job->params, "backup", TEXT("")), &verify.backup, err))
        return err_note(err, "which backup");
    verify.damage = json_array();
    job_phase(job, "verify");
    bool fine = (content ? check_content(&verify, err) : check_stored(&verify, err)) &&
                record(&verify, level, result, err);
    json_decref(verify.damage);
    return fine;
}
