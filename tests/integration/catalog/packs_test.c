/* SPDX-License-Identifier: Apache-2.0
 * Who may use whose chunks, what a second attempt keeps, what a commit checks. */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "tests/integration/catalog/check.h"

static Fleet *fleet;
static FleetWorker one, two;

static bool finds(FleetWorker *worker, const Fence *fence, uint8_t seed)
{
    ChunkId id = fleet_chunk(seed, 0);
    ChunkPlace place;
    OK(catalog_chunk_lookup(worker->c, fence, &id, 1, &place, &err));
    return place.found;
}

static void give_up(FleetWorker *worker, const Fence *fence, bool retry)
{
    char now[16];
    bool fenced;
    OK(catalog_job_finish(worker->c, fence,
                          &(JobVerdictRow){.outcome = OUTCOME_FAILED, .retry = retry}, now, &fenced,
                          &err));
    assert_false(fenced);
}

static TicketRow again(uint64_t job)
{
    TicketList list;
    TicketRow found = {0};
    OK(catalog_dispatch_pick(fleet->scheduler, one.welcome.pools[0].number, 100, &list, &err));
    for (size_t i = 0; i < list.count; i++)
        if (list.rows[i].job == job)
            found = list.rows[i];
    catalog_tickets_free(&list);
    assert_int_not_equal(found.job, 0);
    return found;
}

static Fence verify_claim(const Uuid *backup, const char *level)
{
    char params[128], id[UUID_TEXT];
    uuid_text(backup, id);
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"level\":\"%s\"}", id, level);
    return fleet_claim(&one, fleet_job(fleet, &(JobRequest){.kind = TEXT("verify"),
                                                            .params = text_of(params),
                                                            .actor = TEXT("t")}));
}

static void a_chunk_is_shared_between_sources_only_after_a_reader_saw_it(void **state)
{
    uint64_t number;
    Sha256 right = {{10}}, wrong = {{11}};
    size_t changed;
    char now[16];
    bool fenced;
    (void)state;
    Uuid backup = fleet_back_up(fleet, &one, "s1", 1, 10);
    Fence own = fleet_claim(&one, fleet_ticket(fleet, "s1"));
    Fence other = fleet_claim(&two, fleet_ticket(fleet, "s2"));
    assert_true(finds(&one, &own, 10));
    assert_false(finds(&two, &other, 10));
    number = (uint64_t)fleet_count(fleet, "SELECT max(no) FROM pack");

    Fence stored = verify_claim(&backup, "stored");
    REFUSED("job.not_a_reader",
            catalog_pack_verified(one.c, &stored, &number, &right, 1, &changed, &err));
    OK(catalog_job_finish(one.c, &stored, &(JobVerdictRow){.outcome = OUTCOME_COMPLETED}, now,
                          &fenced, &err));
    Fence content = verify_claim(&backup, "content");
    OK(catalog_pack_verified(one.c, &content, &number, &wrong, 1, &changed, &err));
    assert_int_equal(changed, 0); /* the object was not the one that the row tells of */
    assert_false(finds(&two, &other, 10));
    OK(catalog_pack_verified(one.c, &content, &number, &right, 1, &changed, &err));
    assert_int_equal(changed, 1);
    assert_true(finds(&two, &other, 10));

    OK(catalog_pack_damaged(one.c, &content, number, TEXT("a bit fell"), &err));
    assert_false(finds(&two, &other, 10));
    assert_false(finds(&one, &own, 10));
    VerificationRow proof = {
        .backup = backup, .level = TEXT("content"), .result = TEXT("failed"), .started_ns = 1000};
    OK(catalog_verification_add(one.c, &content, &proof, &err));
    assert_int_equal(fleet_count(fleet, "SELECT count(*) FROM backup b WHERE backup_good(b)"), 0);
    OK(catalog_job_finish(one.c, &content, &(JobVerdictRow){.outcome = OUTCOME_COMPLETED}, now,
                          &fenced, &err));
    give_up(&one, &own, false);
    give_up(&two, &other, false);
}

static void staged_chunks_are_their_attempts_alone_until_the_commit(void **state)
{
    (void)state;
    Fence mine = fleet_claim(&one, fleet_ticket(fleet, "s1"));
    Fence other = fleet_claim(&two, fleet_ticket(fleet, "s2"));
    fleet_stage(one.c, &mine, 12, 2);
    assert_true(finds(&one, &mine, 12));
    assert_false(finds(&two, &other, 12));
    give_up(&one, &mine, false);
    give_up(&two, &other, false);
    Fence later = fleet_claim(&one, fleet_ticket(fleet, "s1"));
    assert_false(finds(&one, &later, 12)); /* another job: nothing is inherited */
    give_up(&one, &later, false);
}

static void a_pack_that_was_only_begun_is_never_found_nor_adopted(void **state)
{
    uint64_t number;
    Uuid object = rand_uuid(), pack = rand_uuid();
    (void)state;
    Fence fence = fleet_claim(&one, fleet_ticket(fleet, "s1"));
    OK(catalog_pack_begin(one.c, &fence, &object, &pack, PACK_META, &number, &err));
    uint64_t same;
    OK(catalog_pack_begin(one.c, &fence, &object, &pack, PACK_META, &same, &err));
    assert_int_equal(number, same); /* the first answer was lost */
    Uuid elsewhere = rand_uuid();
    REFUSED("pack.object_taken",
            catalog_pack_begin(one.c, &fence, &object, &elsewhere, PACK_META, &same, &err));
    give_up(&one, &fence, false);
}

static void staging_again_is_fine_and_staging_other_bytes_is_not(void **state)
{
    (void)state;
    Fence fence = fleet_claim(&one, fleet_ticket(fleet, "s1"));
    PackRow row = fleet_stage(one.c, &fence, 13, 2);
    OK(catalog_pack_stage(one.c, &fence, &row, &err));
    row.sha256.bytes[5] = 1;
    REFUSED("pack.restaged", catalog_pack_stage(one.c, &fence, &row, &err));
    give_up(&one, &fence, false);
}

typedef struct Seen {
    size_t packs, chunks;
    uint64_t last;
} Seen;

static bool see(void *ctx, const PackRow *row, Err *err)
{
    Seen *seen = ctx;
    (void)err;
    assert_true(row->pack_no > seen->last);
    seen->last = row->pack_no;
    seen->packs++;
    seen->chunks += row->chunk_count;
    for (size_t i = 0; i < row->chunk_count; i++)
        assert_int_equal(row->chunks[i].ordinal, i);
    return true;
}

static void a_second_attempt_takes_over_what_the_first_stored_whole(void **state)
{
    Seen seen = {0}, none = {0};
    uint64_t number;
    Uuid object = rand_uuid(), pack = rand_uuid();
    (void)state;
    Fence first = fleet_claim(&one, fleet_ticket(fleet, "s1"));
    for (uint8_t i = 0; i < 70; i++) /* more than a page */
        fleet_stage(one.c, &first, (uint8_t)(100 + i), 3);
    OK(catalog_pack_begin(one.c, &first, &object, &pack, PACK_DATA, &number, &err));
    give_up(&one, &first, true);
    Fence second = fleet_claim(&two, again(first.job));
    assert_false(finds(&two, &second, 100)); /* not before it is adopted */
    OK(catalog_pack_adopt(two.c, &second, see, &seen, &err));
    assert_int_equal(seen.packs, 70);
    assert_int_equal(seen.chunks, 210);
    assert_true(finds(&two, &second, 100));
    REFUSED("job.fenced", catalog_pack_adopt(one.c, &first, see, &none, &err));
    BackupRow row = fleet_backup(&seen.last, 1, 2);
    CommitAnswer answer;
    char detail[256];
    OK(catalog_backup_commit(two.c, &second, &row, &answer, detail, &err));
    assert_int_equal(answer, COMMIT_OK);
    assert_int_equal(fleet_count(fleet, "SELECT count(*) FROM pack WHERE state = 'staged' AND "
                                        "attempt = 1 AND sha256 IS NULL AND job = (SELECT max(job) "
                                        "FROM backup)"),
                     1);
}

static void the_sequence_of_a_source_has_no_gap_and_no_double(void **state)
{
    CommitAnswer answer;
    char detail[256];
    (void)state;
    Fence fence = fleet_claim(&one, fleet_ticket(fleet, "s1"));
    PackRow pack = fleet_stage(one.c, &fence, 14, 1);
    BackupRow row = fleet_backup(&pack.pack_no, 1, 2);
    REFUSED("backup.sequence", catalog_backup_commit(one.c, &fence, &row, &answer, detail, &err));
    row.sequence = 4;
    REFUSED("backup.sequence", catalog_backup_commit(one.c, &fence, &row, &answer, detail, &err));
    row.sequence = 3;
    OK(catalog_backup_commit(one.c, &fence, &row, &answer, detail, &err));
    assert_int_equal(answer, COMMIT_OK);
}

static void a_condemned_pack_is_pardoned_by_a_commit_and_a_dying_one_is_damage(void **state)
{
    CommitAnswer answer;
    char detail[256], sql[128];
    (void)state;
    fleet_back_up(fleet, &one, "s3", 1, 20);
    uint64_t number = (uint64_t)fleet_count(fleet, "SELECT max(no) FROM pack");
    Fence fence = fleet_claim(&one, fleet_ticket(fleet, "s3"));
    snprintf(sql, sizeof sql,
             "UPDATE pack SET state = 'condemned', condemned_epoch = 1 WHERE no = %llu",
             (unsigned long long)number);
    fleet_do(fleet, sql);
    assert_false(finds(&one, &fence, 20)); /* new sessions do not build on it */
    BackupRow row = fleet_backup(&number, 1, 2);
    OK(catalog_backup_commit(one.c, &fence, &row, &answer, detail, &err));
    assert_int_equal(answer, COMMIT_OK);
    assert_int_equal(fleet_count(fleet, "SELECT count(*) FROM pack WHERE state = 'condemned'"), 0);
    fence = fleet_claim(&one, fleet_ticket(fleet, "s3"));
    snprintf(sql, sizeof sql, "UPDATE pack SET state = 'deleting' WHERE no = %llu",
             (unsigned long long)number);
    fleet_do(fleet, sql);
    row = fleet_backup(&number, 1, 3);
    OK(catalog_backup_commit(one.c, &fence, &row, &answer, detail, &err));
    assert_int_equal(answer, COMMIT_DAMAGED);
    give_up(&one, &fence, false);
    /* The backup of before names it. */
    fleet_do(fleet, "UPDATE pack SET state = 'live' WHERE state = 'deleting'");
}

static uint64_t alerts(void)
{
    return (uint64_t)fleet_count(fleet, "SELECT count(*) FROM event WHERE kind = 'alert' AND "
                                        "data ->> 'code' = 'repo.rolled_back'");
}

static void after_a_rollback_packs_from_before_are_shared_no_more(void **state)
{
    bool news;
    (void)state;
    Uuid backup = fleet_back_up(fleet, &one, "s4", 1, 21);
    Fence fence = fleet_claim(&one, fleet_ticket(fleet, "s4"));
    assert_true(finds(&one, &fence, 21));
    SetBack epoch = {.has_epoch = true, .epoch = 3, .why = TEXT("epoch 3 here, 5 there")};
    OK(catalog_repository_set_back(one.c, &fence, &epoch, &news, &err));
    assert_true(news);
    /* The same loss is told once, by whichever of its signs. */
    OK(catalog_repository_set_back(one.c, &fence, &epoch, &news, &err));
    assert_false(news);
    SetBack lost = {.lost = &backup, .why = TEXT("it is not there")};
    OK(catalog_repository_set_back(one.c, &fence, &lost, &news, &err));
    assert_false(news);
    assert_int_equal(alerts(), 1);
    assert_false(finds(&one, &fence, 21));
    fleet_stage(one.c, &fence, 22, 1);
    assert_true(finds(&one, &fence, 22));
    give_up(&one, &fence, false);

    /* What is stored from now on is shared as ever, until it happens again. */
    backup = fleet_back_up(fleet, &one, "s4", 2, 24);
    fence = fleet_claim(&one, fleet_ticket(fleet, "s4"));
    assert_false(finds(&one, &fence, 21));
    assert_true(finds(&one, &fence, 24));
    OK(catalog_repository_set_back(one.c, &fence, &lost, &news, &err));
    assert_true(news);
    assert_int_equal(alerts(), 2);
    assert_false(finds(&one, &fence, 24));
    give_up(&one, &fence, false);
    fleet_do(fleet, "UPDATE repository SET rolled_back = false, set_back_at = NULL");
}

/* One session looked a pack up, another one notices that the store has lost it. */
static void a_commit_over_packs_from_before_a_rollback_is_damage(void **state)
{
    CommitAnswer answer;
    char detail[256];
    bool news;
    (void)state;
    fleet_back_up(fleet, &one, "s4", 4, 26);
    uint64_t old = (uint64_t)fleet_count(fleet, "SELECT max(no) FROM pack");
    Fence fence = fleet_claim(&one, fleet_ticket(fleet, "s4"));
    assert_true(finds(&one, &fence, 26));
    SetBack what = {.why = TEXT("noticed by another session")};
    OK(catalog_repository_set_back(one.c, &fence, &what, &news, &err));
    BackupRow row = fleet_backup(&old, 1, 5);
    OK(catalog_backup_commit(one.c, &fence, &row, &answer, detail, &err));
    assert_int_equal(answer, COMMIT_DAMAGED);
    fleet_stage(one.c, &fence, 27, 1);
    uint64_t new = (uint64_t)fleet_count(fleet, "SELECT max(no) FROM pack");
    row = fleet_backup(&new, 1, 5);
    OK(catalog_backup_commit(one.c, &fence, &row, &answer, detail, &err));
    assert_int_equal(answer, COMMIT_OK);
    OK(catalog_backup_commit(one.c, &fence, &row, &answer, detail, &err));
    assert_int_equal(answer, COMMIT_ALREADY);
    fleet_do(fleet, "UPDATE repository SET rolled_back = false, set_back_at = NULL");
}

static void a_session_is_told_what_must_be_in_the_store_and_what_is_strange_there(void **state)
{
    RepositoryLook look;
    (void)state;
    Uuid backup = fleet_back_up(fleet, &one, "s4", 3, 25);
    fleet_do(fleet, "UPDATE backup SET marker_at = now()");
    Fence fence = fleet_claim(&one, fleet_ticket(fleet, "s4"));
    Uuid markers[2] = {backup, rand_backup_id()};
    OK(catalog_repository_look(one.c, &fence, markers, 1, &look, &err));
    assert_true(uuid_equal(&look.newest, &backup));
    assert_true(uuid_is_nil(&look.stranger));
    OK(catalog_repository_look(one.c, &fence, markers, 2, &look, &err));
    assert_true(uuid_equal(&look.stranger, &markers[1]));
    /* What was told once is not asked again. */
    bool news;
    SetBack what = {.why = TEXT("a stranger")};
    OK(catalog_repository_set_back(one.c, &fence, &what, &news, &err));
    OK(catalog_repository_look(one.c, &fence, markers, 2, &look, &err));
    assert_true(uuid_is_nil(&look.newest));
    assert_true(uuid_is_nil(&look.stranger));
    fleet_do(fleet, "UPDATE repository SET rolled_back = false, set_back_at = NULL");
    give_up(&one, &fence, false);
}

static void a_missing_marker_is_told_to_the_next_job_on_the_repository(void **state)
{
    MarkerRow *rows;
    size_t count;
    (void)state;
    fleet_do(fleet, "UPDATE backup SET marker_at = now()");
    Uuid backup = fleet_back_up(fleet, &one, "s5", 1, 23);
    Fence fence = fleet_claim(&two, fleet_ticket(fleet, "s2"));
    OK(catalog_markers_due(two.c, &fence, &rows, &count, &err));
    assert_int_equal(count, 1);
    assert_true(uuid_equal(&rows[0].backup, &backup));
    assert_string_equal(rows[0].source, "s5");
    assert_int_equal(rows[0].manifest_sha256.bytes[0], 7);
    mem_free(rows);
    OK(catalog_marker_done(two.c, &fence, &backup, &err));
    OK(catalog_markers_due(two.c, &fence, &rows, &count, &err));
    assert_int_equal(count, 0);
    mem_free(rows);
    give_up(&two, &fence, false);
}

static void a_reader_opens_the_backup_of_its_order_and_no_other(void **state)
{
    BackupOpened opened;
    Seen seen = {0};
    ChunkId id = fleet_chunk(24, 1);
    ChunkPlace place;
    char now[16];
    bool fenced;
    (void)state;
    Uuid backup = fleet_back_up(fleet, &one, "s5", 2, 24), unknown = rand_uuid();
    Fence fence = verify_claim(&backup, "content");
    OK(catalog_backup_open(one.c, &fence, &backup, &opened, &err));
    assert_string_equal(opened.source, "s5");
    assert_string_equal(opened.source_type, "files");
    assert_int_equal(opened.sequence, 2);
    REFUSED("job.other_backup", catalog_backup_open(one.c, &fence, &unknown, &opened, &err));
    REFUSED("job.other_backup", catalog_pack_of_backup(one.c, &fence, &unknown, see, &seen, &err));
    OK(catalog_pack_of_backup(one.c, &fence, &backup, see, &seen, &err));
    assert_int_equal(seen.packs, 1);
    OK(catalog_chunk_find(one.c, &fence, &id, 1, &place, &err));
    assert_true(place.found);
    REFUSED("job.reads_only",
            catalog_pack_begin(one.c, &fence, &unknown, &unknown, PACK_DATA, &seen.last, &err));
    OK(catalog_job_answer(one.c, &fence, TEXT("{\"checked\":1}"), &fenced, &err));
    OK(catalog_job_finish(one.c, &fence, &(JobVerdictRow){.outcome = OUTCOME_COMPLETED}, now,
                          &fenced, &err));
    JobCreated created;
    REFUSED("backup.unknown",
            catalog_job_create(fleet->scheduler,
                               &(JobRequest){.kind = TEXT("verify"),
                                             .actor = TEXT("t"),
                                             .params = TEXT("{\"backup\":\"00000000-0000-4000-8000-"
                                                            "000000000000\"}")},
                               &created, &err));
    REFUSED("job.params",
            catalog_job_create(fleet->scheduler,
                               &(JobRequest){.kind = TEXT("restore"), .actor = TEXT("t")}, &created,
                               &err));
}

static void sources_that_dedup_over_the_repository_share_before_a_reader_looked(void **state)
{
    (void)state;
    fleet_policy(fleet, 6, ",\"dedup\":\"repository\"");
    fleet_do(fleet, "DELETE FROM job_answer");
    Fence mine = fleet_claim(&one, fleet_ticket(fleet, "s6"));
    PackRow pack = fleet_stage(one.c, &mine, 30, 1);
    CommitAnswer answer;
    char detail[256];
    BackupRow row = fleet_backup(&pack.pack_no, 1, 1);
    OK(catalog_backup_commit(one.c, &mine, &row, &answer, detail, &err));
    Fence other = fleet_claim(&two, fleet_ticket(fleet, "s2"));
    assert_true(finds(&two, &other, 30));
    assert_false(finds(&two, &other, 24)); /* stored when s5 kept to itself */
    give_up(&two, &other, false);
}

static void a_lookup_costs_one_probe_an_id_on_tables_that_nobody_analysed(void **state)
{
    enum { CHUNKS = 2000, PACKS = 20 };
    scoped(mem_release) ChunkRow *chunks = mem_array(ChunkRow, CHUNKS);
    scoped(mem_release) ChunkId *ids = mem_array(ChunkId, CHUNKS);
    scoped(mem_release) ChunkPlace *places = mem_array(ChunkPlace, CHUNKS);
    (void)state;
    Fence fence = fleet_claim(&one, fleet_ticket(fleet, "s3"));
    for (int pack = 0; pack < PACKS; pack++) {
        PackRow row = {.object = rand_uuid(),
                       .pack = rand_uuid(),
                       .kind = PACK_DATA,
                       .bytes = 1,
                       .chunks = chunks,
                       .chunk_count = CHUNKS};
        OK(catalog_pack_begin(one.c, &fence, &row.object, &row.pack, row.kind, &row.pack_no, &err));
        for (size_t i = 0; i < CHUNKS; i++) {
            chunks[i] = (ChunkRow){.ordinal = (uint32_t)i, .stored = 1, .plain = 1};
            rand_bytes(chunks[i].id.bytes, sizeof chunks[i].id.bytes);
            ids[i] = chunks[i].id;
        }
        OK(catalog_pack_stage(one.c, &fence, &row, &err));
    }
    int64_t began_ns = clock_mono_ns();
    OK(catalog_chunk_lookup(one.c, &fence, ids, CHUNKS, places, &err));
    /* Tens of milliseconds; a plan that begins with the packs takes minutes. */
    assert_true(clock_mono_ns() - began_ns < INT64_C(3000000000));
    for (size_t i = 0; i < CHUNKS; i++)
        assert_true(places[i].found);
    give_up(&one, &fence, false);
}

static int start(void **state)
{
    (void)state;
    fleet = fleet_start();
    fleet_policy(fleet, 6, "");
    fleet_do(fleet, "UPDATE setting SET value = 60 WHERE name IN ('lease_s', 'liveness_s')");
    one = fleet_worker(fleet, "w1", true);
    two = fleet_worker(fleet, "w2", false);
    return 0;
}

static uint64_t next_sequence(const char *source)
{
    char sql[160];
    snprintf(
        sql, sizeof sql,
        "SELECT 1 + coalesce(max(b.sequence), 0) FROM backup b JOIN source s ON s.no = b.source "
        "WHERE s.name = '%s'",
        source);
    return (uint64_t)fleet_count(fleet, sql);
}

/* What a killed attempt had only begun, and what was stored and not needed. */
static void packs_that_no_backup_will_use_are_swept_when_their_job_is_over(void **state)
{
    uint64_t number, swept;
    CommitAnswer answer;
    char detail[256], sql[200];
    Uuid object = rand_uuid(), pack = rand_uuid();
    (void)state;
    Fence fence = fleet_claim(&one, fleet_ticket(fleet, "s3"));
    OK(catalog_pack_begin(one.c, &fence, &object, &pack, PACK_DATA, &number, &err));
    fleet_stage(one.c, &fence, 91, 2);
    PackRow used = fleet_stage(one.c, &fence, 92, 2);
    snprintf(sql, sizeof sql, "SELECT count(*) FROM pack WHERE state = 'staged' AND job = %llu",
             (unsigned long long)fence.job);
    OK(catalog_sweep(fleet->scheduler, &swept, &err));
    assert_int_equal(fleet_count(fleet, sql), 3); /* it runs: they are its own */
    BackupRow row = fleet_backup(&used.pack_no, 1, next_sequence("s3"));
    OK(catalog_backup_commit(one.c, &fence, &row, &answer, detail, &err));
    assert_int_equal(answer, COMMIT_OK);
    assert_int_equal(fleet_count(fleet, sql), 2);
    OK(catalog_sweep(fleet->scheduler, &swept, &err));
    assert_int_equal(fleet_count(fleet, sql), 0);
    snprintf(sql, sizeof sql, "SELECT count(*) FROM pack WHERE state = 'live' AND job = %llu",
             (unsigned long long)fence.job);
    assert_int_equal(fleet_count(fleet, sql), 1);
    /* A failed job may be retried by its operator, and goes on then. */
    Fence failed = fleet_claim(&one, fleet_ticket(fleet, "s3"));
    fleet_stage(one.c, &failed, 93, 2);
    give_up(&one, &failed, false);
    snprintf(sql, sizeof sql, "SELECT count(*) FROM pack WHERE state = 'staged' AND job = %llu",
             (unsigned long long)failed.job);
    OK(catalog_sweep(fleet->scheduler, &swept, &err));
    assert_int_equal(fleet_count(fleet, sql), 1);
    fleet_do(fleet, "UPDATE job SET finished_at = finished_at - interval '25 hours' WHERE state = "
                    "'failed'");
    OK(catalog_sweep(fleet->scheduler, &swept, &err));
    assert_int_equal(fleet_count(fleet, sql), 0);
}

static void a_reader_that_misses_an_object_is_sent_to_another_one(void **state)
{
    ChunkPlace place, other;
    ChunkId id = fleet_chunk(95, 0);
    (void)state;
    Uuid backup = fleet_back_up(fleet, &one, "s4", next_sequence("s4"), 95);
    fleet_back_up(fleet, &one, "s3", next_sequence("s3"),
                  95); /* stored once more, and in a domain of its own */
    fleet_do(fleet, "UPDATE pack SET domain = (SELECT no FROM source WHERE name = 's3') WHERE no = "
                    "(SELECT max(no) FROM pack)");
    Fence reader = verify_claim(&backup, "content");
    OK(catalog_chunk_find(one.c, &reader, &id, 1, &place, &err));
    assert_true(place.found);
    /* Another source's word is the last to be believed, though it is the newest. */
    char sql[200];
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM pack p JOIN job j ON j.id = p.job JOIN source s ON s.no = "
             "j.source WHERE s.name = 's4' AND p.no = %llu",
             (unsigned long long)place.pack_no);
    assert_int_equal(fleet_count(fleet, sql), 1);
    OK(catalog_chunk_find_other(one.c, &reader, &id, &place.object, &other, &err));
    assert_true(other.found);
    assert_false(uuid_equal(&place.object, &other.object));
    OK(catalog_pack_damaged(one.c, &reader, other.pack_no, TEXT("gone"), &err));
    OK(catalog_chunk_find_other(one.c, &reader, &id, &place.object, &other, &err));
    assert_false(other.found);
    give_up(&one, &reader, false);
}

static int stop(void **state)
{
    (void)state;
    fleet_worker_close(&one);
    fleet_worker_close(&two);
    fleet_stop(fleet);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chunk_is_shared_between_sources_only_after_a_reader_saw_it),
        cmocka_unit_test(staged_chunks_are_their_attempts_alone_until_the_commit),
        cmocka_unit_test(a_pack_that_was_only_begun_is_never_found_nor_adopted),
        cmocka_unit_test(staging_again_is_fine_and_staging_other_bytes_is_not),
        cmocka_unit_test(a_second_attempt_takes_over_what_the_first_stored_whole),
        cmocka_unit_test(the_sequence_of_a_source_has_no_gap_and_no_double),
        cmocka_unit_test(a_condemned_pack_is_pardoned_by_a_commit_and_a_dying_one_is_damage),
        cmocka_unit_test(after_a_rollback_packs_from_before_are_shared_no_more),
        cmocka_unit_test(a_session_is_told_what_must_be_in_the_store_and_what_is_strange_there),
        cmocka_unit_test(a_commit_over_packs_from_before_a_rollback_is_damage),
        cmocka_unit_test(a_missing_marker_is_told_to_the_next_job_on_the_repository),
        cmocka_unit_test(a_reader_opens_the_backup_of_its_order_and_no_other),
        cmocka_unit_test(a_lookup_costs_one_probe_an_id_on_tables_that_nobody_analysed),
        cmocka_unit_test(sources_that_dedup_over_the_repository_share_before_a_reader_looked),
        cmocka_unit_test(packs_that_no_backup_will_use_are_swept_when_their_job_is_over),
        cmocka_unit_test(a_reader_that_misses_an_object_is_sent_to_another_one),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
