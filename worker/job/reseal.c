/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/reseal.h"

#include "common/base/mem.h"
#include "common/repo/pack.h"
#include "common/repo/sealed_to.h"

#include <inttypes.h>

typedef struct Reseal {
    Job *job;
    ResealCounts *counts;
    uint64_t after; /* pack numbers up to here were looked at */
    uint64_t bytes; /* of the packs that were taken */
    ResealLeft left;
    bool over;
    uint8_t readers[DISK_READERS_MOST][16];
    unsigned reader_count;
} Reseal;

/* --- what the catalogue is asked -------------------------------------------------------------- */

typedef struct Picked {
    Reseal *reseal;
    RepackPack *packs;
    size_t count;
} Picked;

static bool call_pick(Catalog *catalog, void *ctx, Err *err)
{
    Picked *picked = ctx;
    const Reseal *r = picked->reseal;
    return catalog_reseal_pick(catalog, &r->job->fence, r->counts->generation, r->after,
                               REPACKING_PACKS, &picked->packs, &picked->count, err);
}

typedef struct Seen {
    const Fence *fence;
    uint64_t generation;
    const uint64_t *nos;
    size_t count;
} Seen;

static bool call_seen(Catalog *catalog, void *ctx, Err *err)
{
    Seen *seen = ctx;
    return catalog_reseal_seen(catalog, seen->fence, seen->generation, seen->nos, seen->count, err);
}

static bool call_left(Catalog *catalog, void *ctx, Err *err)
{
    Reseal *r = ctx;
    return catalog_reseal_left(catalog, &r->job->fence, r->counts->generation, &r->left, err);
}

/* --- a step ----------------------------------------------------------------------------------- */

static bool know(Reseal *r, Session *session, Err *err)
{
    const Keyring *keyring = session->keyring;
    if (keyring_plain(keyring))
        return err_set(err, ERR_USAGE, "key.plain", "the repository is not encrypted");
    if (keyring_outdated(keyring))
        return err_set(err, ERR_CONFLICT, "key.outdated",
                       "the writer file of %s on this host is older than the repository's keys: "
                       "enroll this host again, then re-encrypt",
                       keyring_set(keyring));
    r->reader_count = keyring_slots(keyring);
    keyring_reader_ids(keyring, r->readers);
    if (r->reader_count != 1)
        return err_set(err, ERR_CONFLICT, "key.retire_first",
                       "%s still seals to %u readers: first `holdfast-worker key retire` those "
                       "that are lost, and `repo rekey`",
                       keyring_set(keyring), r->reader_count);
    r->counts->generation = keyring_repository_generation(keyring);
    return true;
}

/* One whose head does not open is given on: the repack finds out what is wrong with it. */
static bool is_under_others(const Reseal *r, Session *session, const RepackPack *pack, bool *others,
                            Err *err)
{
    char name[PACK_NAME];
    SealedTo sealed;
    pack_name(&pack->row.object, name);
    *others = true;
    if (sealed_to_read(session->store, name, &sealed, err)) {
        *others = sealed_to_others(&sealed, (const uint8_t(*)[16])r->readers, r->reader_count);
        return true;
    }
    if (err->code != ERR_CORRUPT && err->code != ERR_MISSING)
        return false;
    *err = (Err){0};
    return true;
}

/* Keeps those in *packs that are; the others are known from now on. */
static bool sort_out(Reseal *r, Session *session, RepackPack *packs, size_t *count, Err *err)
{
    scoped(mem_release) uint64_t *fine = mem_array(uint64_t, *count);
    Seen seen = {&r->job->fence, r->counts->generation, fine, 0};
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        bool others;
        if (!job_go_on(r->job, err) || !is_under_others(r, session, &packs[i], &others, err))
            return false;
        if (packs[i].row.pack_no > r->after)
            r->after = packs[i].row.pack_no;
        if (others)
            packs[kept++] = packs[i];
        else
            fine[seen.count++] = packs[i].row.pack_no;
    }
    *count = kept;
    r->counts->fine += seen.count;
    return seen.count == 0 || patient_call(r->job->catalog, call_seen, &seen, err);
}

static bool pick(void *ctx, Job *job, Session *session, RepackPack **packs, size_t *count, Err *err)
{
    Reseal *r = ctx;
    Picked picked = {.reseal = r};
    if (!know(r, session, err))
        return false;
    if (r->counts->steps++ == 0 && !patient_call(job->catalog, call_left, r, err))
        return false;
    job->counters.bytes_total = r->left.bytes;
    job->counters.total_basis = "plan";
    do {
        mem_free(picked.packs);
        picked.packs = NULL;
        picked.count = 0;
        if (!patient_call(job->catalog, call_pick, &picked, err))
            return false;
        r->over = picked.count == 0;
        if (!sort_out(r, session, picked.packs, &picked.count, err)) {
            mem_free(picked.packs);
            return false;
        }
    } while (picked.count == 0 && !r->over);
    for (size_t i = 0; i < picked.count; i++)
        r->bytes += picked.packs[i].row.bytes;
    *packs = picked.packs;
    *count = picked.count;
    return true;
}

static bool made(void *ctx, Job *job, const uint64_t *packs, size_t count, Err *err)
{
    const Reseal *r = ctx;
    Seen seen = {&job->fence, r->counts->generation, packs, count};
    return count == 0 || patient_call(job->catalog, call_seen, &seen, err);
}

bool reseal_run(Job *job, RepackingCounts *packed, ResealCounts *counts, Err *err)
{
    Reseal r = {.job = job, .counts = counts};
    RepackingPlan plan = {pick, made, true, &r};
    *counts = (ResealCounts){.asked = true};
    do {
        if (!job_go_on(job, err) || !repacking_round(job, &plan, packed, err))
            return false;
        job->counters.bytes_done = r.bytes;
    } while (!r.over && r.bytes < r.left.job_bytes);
    return true;
}

bool reseal_tell(Job *job, ResealCounts *counts, Err *err)
{
    Reseal r = {.job = job, .counts = counts};
    if (!patient_call(job->catalog, call_left, &r, err))
        return false;
    counts->left_packs = r.left.packs;
    counts->left_bytes = r.left.bytes;
    job_log(job, LOG_INFO, "reseal.left",
            "%" PRIu64 " packs, %" PRIu64 " bytes are not known to be sealed to the readers of "
            "generation %" PRIu64 " alone",
            r.left.packs, r.left.bytes, counts->generation);
    return true;
}
