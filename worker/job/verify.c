/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/verify.h"

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/catalog/catalog_pack.h"
#include "common/catalog/catalog_verify.h"
#include "common/repo/verify.h"
#include "worker/job/opened.h"
#include "worker/job/proof.h"
#include "worker/job/proving.h"
#include "worker/job/verify_round.h"

#include <stdio.h>
#include <stdlib.h>

/* What the backup needs of one pack. */
typedef struct Need {
    uint64_t pack_no, stored, plain;
    bool whole; /* every chunk of it was opened where the catalogue says it lies */
} Need;

typedef struct Packs {
    const Fence *fence;
    Uuid backup;
    bool seen; /* by a reader, whole */
    PackRow *rows;
    size_t count;
} Packs;

typedef struct Verify {
    Job *job;
    Uuid backup;
    VerifyCounts counts;
    Session *session; /* of a check of content */
    Need *needs;      /* a row a pack, in order, once all are known */
    size_t need_count, need_room;
    VerifyLook *bad; /* packs with damage, until a chunk of theirs is told */
    size_t bad_count;
    Packs unread;    /* seen whole before, and little of them needed: still the same bytes? */
    uint64_t proven; /* packs that others may share from now on */
    json_t *damage;  /* the first few, for the answer */
    int64_t started_ns;
} Verify;

enum { DAMAGE_SHOWN = 50, PACKS_AT_ONCE = PROVING_AT_ONCE };

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

/* --- stored --------------------------------------------------------------------------------- */

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
static void tell_bad(Verify *verify, const VerifyLook *look)
{
    verify->counts.damaged++;
    note_damage(verify, &look->row.object, TEXT(""), &look->why);
    proving_mark_damaged(verify->job, look->row.pack_no, &look->why);
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
        verify->counts.packs++;
        if (!looks[i].good)
            tell_bad(verify, &looks[i]);
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

/* The pack itself needs no telling any more. */
static void on_damage(void *ctx, const VerifyDamage *damage)
{
    Verify *verify = ctx;
    size_t kept = 0;
    for (size_t i = 0; i < verify->bad_count; i++)
        if (verify->bad[i].row.pack_no != damage->pack_no)
            verify->bad[kept++] = verify->bad[i];
    verify->bad_count = kept;
    note_damage(verify, &damage->object, damage->path, &damage->why);
    proving_mark_damaged(verify->job, damage->pack_no, &damage->why);
}

/* Chunks come in order of their places, some hundred at a time: a pack has few rows of its own. */
static void on_needed(void *ctx, const ChunkPlace *place)
{
    Verify *verify = ctx;
    if (verify->need_count == 0 ||
        verify->needs[verify->need_count - 1].pack_no != place->pack_no) {
        if (verify->need_count == verify->need_room) {
            verify->need_room = verify->need_room == 0 ? 64 : verify->need_room * 2;
            verify->needs = mem_resize(verify->needs, verify->need_room * sizeof verify->needs[0]);
        }
        verify->needs[verify->need_count++] = (Need){.pack_no = place->pack_no};
    }
    Need *need = &verify->needs[verify->need_count - 1];
    need->stored += place->chunk.stored;
    need->plain += place->chunk.plain;
}

static int compare_needs(const void *a, const void *b)
{
    const Need *left = a, *right = b;
    return (left->pack_no > right->pack_no) - (left->pack_no < right->pack_no);
}

/* One row a pack, for need_of. */
static void sum_needs(Verify *verify)
{
    size_t kept = 0;
    if (verify->need_count > 0)
        qsort(verify->needs, verify->need_count, sizeof verify->needs[0], compare_needs);
    for (size_t i = 0; i < verify->need_count; i++) {
        if (kept == 0 || verify->needs[kept - 1].pack_no != verify->needs[i].pack_no) {
            verify->needs[kept++] = verify->needs[i];
            continue;
        }
        verify->needs[kept - 1].stored += verify->needs[i].stored;
        verify->needs[kept - 1].plain += verify->needs[i].plain;
    }
    verify->need_count = kept;
}

/* NULL: nothing of it. */
static Need *need_of(const Verify *verify, uint64_t pack_no)
{
    Need wanted = {.pack_no = pack_no};
    return verify->need_count == 0 ? NULL
                                   : bsearch(&wanted, verify->needs, verify->need_count,
                                             sizeof verify->needs[0], compare_needs);
}

static bool is_whole(void *ctx, uint64_t pack_no)
{
    const Need *need = need_of(ctx, pack_no);
    return need != NULL && need->whole;
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

/* One that is damaged is told when nothing that this backup needs of it is: see on_damage. */
static void keep_bad(Verify *verify, const VerifyLook *look)
{
    verify->bad = mem_resize(verify->bad, (verify->bad_count + 1) * sizeof verify->bad[0]);
    verify->bad[verify->bad_count] = *look;
    verify->bad[verify->bad_count++].row.chunks = NULL;
}

static void take_look(Verify *verify, const VerifyLook *look, Proven *proven)
{
    Need *need = need_of(verify, look->row.pack_no);
    verify->counts.packs++;
    if (!look->good) {
        keep_bad(verify, look);
        return;
    }
    if (need != NULL && look->whole) {
        need->whole = true;
        verify->job->counters.bytes_done += need->plain;
    }
    proven->nos[proven->count] = look->row.pack_no;
    proven->sha256s[proven->count++] = look->row.sha256;
}

static bool prove_some(Verify *verify, const PackRow *rows, size_t count, bool whole, Err *err)
{
    VerifyLook looks[PACKS_AT_ONCE] = {0};
    ChunkRow *chunks[PACKS_AT_ONCE] = {0};
    Proven proven = {.fence = &verify->job->fence};
    bool fine = job_go_on(verify->job, err);
    for (size_t i = 0; i < count; i++) {
        looks[i].row = rows[i];
        looks[i].whole = whole;
        fine = fine && (!whole || proving_rows(verify->job, &looks[i].row, &chunks[i], err));
    }
    fine = fine && verify_packs(verify->session->repo, looks, count, err);
    for (size_t i = 0; i < count; i++) {
        if (fine)
            take_look(verify, &looks[i], &proven);
        mem_free(chunks[i]);
    }
    return fine && tell_proven(verify, &proven, err);
}

static bool prove_packs(Verify *verify, const Packs *packs, bool whole, Err *err)
{
    for (size_t i = 0; i < packs->count; i += PACKS_AT_ONCE)
        if (!prove_some(verify, &packs->rows[i], some_of(packs, i), whole, err))
            return false;
    return true;
}

/* Reading all of it costs less than opening what is needed and reading it once more for its hash.
 */
static bool needs_most(const Verify *verify, const PackRow *row)
{
    const Need *need = need_of(verify, row->pack_no);
    return need != NULL && need->stored >= row->bytes / 2;
}

/* Those that nobody has seen whole are looked at whole whatever is needed of them, and those of
 * which most is needed; the others stay for hash_unread. */
static bool look_whole(Verify *verify, Err *err)
{
    Packs never = {.fence = &verify->job->fence, .backup = verify->backup};
    Packs again = {.fence = &verify->job->fence, .backup = verify->backup, .seen = true};
    Packs most = {0};
    bool fine = patient_call(verify->job->catalog, call_unseen, &never, err) &&
                patient_call(verify->job->catalog, call_unseen, &again, err);
    for (size_t i = 0; fine && i < again.count; i++)
        fine = keep_pack(needs_most(verify, &again.rows[i]) ? &most : &verify->unread,
                         &again.rows[i], err);
    fine = fine && prove_packs(verify, &never, true, err) && prove_packs(verify, &most, true, err);
    mem_free(never.rows);
    mem_free(again.rows);
    mem_free(most.rows);
    return fine;
}

/* A login that is no reader's may check, not vouch. */
static bool on_prove(void *ctx, bool *all, Err *err)
{
    Verify *verify = ctx;
    sum_needs(verify);
    verify->job->counters.bytes_total = verify->counts.bytes;
    *all = false;
    if (!look_whole(verify, err)) {
        if (err->code != ERR_DENIED)
            return false;
        job_log(verify->job, LOG_INFO, "verify.not_shared", "%s", err->text);
        *err = (Err){0};
        return true;
    }
    *all = true;
    for (size_t i = 0; i < verify->need_count; i++)
        *all = *all && verify->needs[i].whole;
    return true;
}

static bool tell_rest(Verify *verify, Err *err)
{
    bool fine = prove_packs(verify, &verify->unread, false, err);
    for (size_t i = 0; fine && i < verify->bad_count; i++)
        tell_bad(verify, &verify->bad[i]);
    return fine;
}

static bool check_content(Verify *verify, Err *err)
{
    Opened opened;
    Job *job = verify->job;
    if (!opened_open(&opened, job, err))
        return false;
    job->counters.bytes_total = opened.row.bytes;
    job->counters.total_basis = "plan";
    verify->session = &opened.session;
    VerifyWatch watch = {verify, on_damage, is_cancelled, on_needed, on_prove, is_whole};
    bool fine = verify_content(opened.reader, &watch, &verify->counts, err);
    job->counters.bytes_done = verify->counts.bytes;
    job->counters.items_done = verify->counts.entries;
    fine = fine && job_go_on(job, err) && tell_rest(verify, err);
    opened_close(&opened);
    mem_free(verify->needs);
    mem_free(verify->bad);
    mem_free(verify->unread.rows);
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
    bool query = text_equal(level, TEXT("query"));
    if (query || text_equal(level, TEXT("restore")))
        return proof_run(job, query, result, err);
    if (!content && !text_equal(level, TEXT("stored")))
        return err_set(err, ERR_USAGE, "verify.level",
                       "this worker verifies `stored`, `content`, `restore` and `query`, not %.*s",
                       TEXT_ARG(level));
    if (json_bool_or(job->params, "round", false))
        return verify_round_run(job, content, result, err);
    if (!uuid_parse(json_text_or(job->params, "backup", TEXT("")), &verify.backup, err))
        return err_note(err, "which backup");
    verify.damage = json_array();
    job_phase(job, "verify");
    bool fine = (content ? check_content(&verify, err) : check_stored(&verify, err)) &&
                record(&verify, level, result, err);
    json_decref(verify.damage);
    return fine;
}
