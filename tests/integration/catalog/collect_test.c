/* SPDX-License-Identifier: Apache-2.0
 * Condemning and flipping against commits: what a backup names is never given to death, whoever
 * sleeps, dies or comes back, and only a pruner's login may do any of it. */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/catalog/catalog_collect.h"
#include "common/catalog/catalog_orphan.h"
#include "common/catalog/catalog_pack.h"
#include "tests/integration/catalog/check.h"

#include <sys/wait.h>
#include <unistd.h>

static Fleet *fleet;
static FleetWorker writer, reader, pruner;
static uint64_t sequence;

static int start(void **state)
{
    (void)state;
    fleet = fleet_start();
    fleet_policy(fleet, 2, "");
    writer = fleet_worker(fleet, "w1", false);
    reader = fleet_worker(fleet, "r1", true);
    pruner = fleet_pruner(fleet, "p1");
    fleet_do(fleet, "CREATE TABLE go(one int); GRANT SELECT ON go TO PUBLIC; UPDATE setting SET "
                    "value = 600 WHERE name IN ('lease_s', 'liveness_s')");
    fleet_do(fleet, "UPDATE setting SET value = 1 WHERE name = 'collect_condemn'");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    fleet_worker_close(&writer);
    fleet_worker_close(&reader);
    fleet_worker_close(&pruner);
    fleet_stop(fleet);
    return 0;
}

/* A slow test must not lose its workers. */
static int alive(void **state)
{
    FleetWorker *all[] = {&writer, &reader, &pruner};
    BeatAnswer none;
    BeatSummary summary;
    (void)state;
    for (size_t i = 0; i < 3; i++)
        OK(catalog_worker_beat(all[i]->c, &all[i]->instance, NULL, 0, &none, &summary, &err));
    return 0;
}

static TicketRow prune_ticket(const char *kind)
{
    RepositoryRequest request = {.kind = text_of(kind),
                                 .trigger = TEXT("manual"),
                                 .store = TEXT("nas"),
                                 .params = TEXT("{}"),
                                 .actor = TEXT("test")};
    JobCreated created;
    OK(catalog_repository_job(fleet->scheduler, &request, &created, &err));
    return fleet_dispatched(fleet, &created);
}

static Fence prune_claim(void)
{
    alive(NULL);
    return fleet_claim(&pruner, prune_ticket("prune"));
}

static void end(FleetWorker *worker, const Fence *fence)
{
    char now[16];
    bool fenced;
    JobOutcome outcome = worker == &writer ? OUTCOME_FAILED : OUTCOME_COMPLETED;
    OK(catalog_job_finish(worker->c, fence, &(JobVerdictRow){.outcome = outcome}, now, &fenced,
                          &err));
}

static Uuid back_up(uint8_t seed)
{
    alive(NULL);
    return fleet_back_up(fleet, &writer, "s1", ++sequence, seed);
}

/* As after forget_objects. */
static void forget(const Uuid *backup)
{
    char id[UUID_TEXT], sql[200];
    uuid_text(backup, id);
    snprintf(sql, sizeof sql,
             "UPDATE backup SET deleted_at = clock_timestamp(), gone_at = clock_timestamp() WHERE "
             "id = '%s'",
             id);
    fleet_do(fleet, sql);
}

static CollectCondemned condemn(const Fence *fence)
{
    CollectCondemned out;
    OK(catalog_collect_condemn(pruner.c, fence, false, &out, &err));
    return out;
}

static CollectFlipped flip(const Fence *fence)
{
    CollectFlipped out;
    OK(catalog_collect_flip(pruner.c, fence, 10000, &out, &err));
    return out;
}

static int64_t packs(const char *state)
{
    char sql[100];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM pack WHERE state = '%s'", state);
    return fleet_count(fleet, sql);
}

/* Brings everything that may go to its end. */
static void finish_all(void)
{
    Fence fence = prune_claim();
    uint64_t epoch, confirmed;
    DeadPack *dead;
    size_t count;
    condemn(&fence);
    while (flip(&fence).flipped > 0)
        ;
    OK(catalog_collect_epoch(pruner.c, &fence, &epoch, &confirmed, &err));
    OK(catalog_collect_confirm(pruner.c, &fence, epoch, &err));
    OK(catalog_collect_dead(pruner.c, &fence, 0, 1000, &dead, &count, &err));
    for (size_t i = 0; i < count; i++)
        OK(catalog_collect_gone(pruner.c, &fence, &dead[i].no, 1, &err));
    mem_free(dead);
    end(&pruner, &fence);
    assert_int_equal(packs("condemned") + packs("deleting"), 0);
}

/* Until a collector waits for a lock. */
#define AWAIT                                                                                      \
    "WHILE NOT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock') AND NOT "      \
    "EXISTS (SELECT FROM holdfast.go) LOOP PERFORM pg_sleep(0.05); PERFORM "                       \
    "pg_stat_clear_snapshot(); END LOOP;"

static void a_writer_that_found_a_pack_before_it_was_condemned_keeps_it(void **state)
{
    (void)state;
    Uuid old = back_up(1);
    back_up(2);
    forget(&old);
    Fence long_one = fleet_claim(&writer, fleet_ticket(fleet, "s1"));
    ChunkId id = fleet_chunk(1, 0);
    ChunkPlace place;
    OK(catalog_chunk_lookup(writer.c, &long_one, &id, 1, &place, &err));
    assert_true(place.found);
    Fence prune = prune_claim();
    assert_int_equal(condemn(&prune).condemned, 1);
    CollectFlipped spared = flip(&prune);
    assert_int_equal(spared.flipped, 0);
    assert_int_equal(spared.spared, 1);
    BackupRow row = fleet_backup(&place.pack_no, 1, ++sequence);
    CommitAnswer answer;
    char detail[256];
    OK(catalog_backup_commit(writer.c, &long_one, &row, &answer, detail, &err));
    assert_int_equal(answer, COMMIT_OK);
    assert_int_equal(packs("condemned"), 0);
    assert_int_equal(flip(&prune).flipped, 0);
    end(&pruner, &prune);
    assert_int_equal(packs("live"), 2);
}

/* What is condemned is shown to no new session, so nobody has to wait for those. */
static void a_session_that_begins_later_neither_finds_nor_spares_it(void **state)
{
    (void)state;
    Uuid old = back_up(3);
    back_up(4);
    forget(&old);
    Fence prune = prune_claim();
    assert_int_equal(condemn(&prune).condemned, 1);
    Fence late = fleet_claim(&writer, fleet_ticket(fleet, "s1"));
    ChunkId id = fleet_chunk(3, 0);
    ChunkPlace place;
    OK(catalog_chunk_lookup(writer.c, &late, &id, 1, &place, &err));
    assert_false(place.found);
    assert_int_equal(flip(&prune).flipped, 1);
    end(&pruner, &prune);
    uint64_t no = (uint64_t)fleet_count(fleet, "SELECT no FROM pack WHERE state = 'deleting'");
    BackupRow row = fleet_backup(&no, 1, sequence + 1);
    CommitAnswer answer;
    char detail[256];
    OK(catalog_backup_commit(writer.c, &late, &row, &answer, detail, &err));
    assert_int_equal(answer, COMMIT_DAMAGED);
    end(&writer, &late);
    finish_all();
    assert_int_equal(fleet_count(fleet, "SELECT count(*) FROM chunk c JOIN pack p ON p.no = "
                                        "c.pack_no WHERE p.state = 'deleted'"),
                     0);
}

/* The commit holds its locks and has tested its packs when the flip comes: the flip waits, looks
 * again and pardons. Commit and flip are the real functions; a sleep is put behind the commit's
 * test by a trigger. */
static void a_flip_sees_the_commit_that_it_waited_for(void **state)
{
    (void)state;
    Uuid old = back_up(5);
    back_up(6);
    Fence slow = fleet_claim(&writer, fleet_ticket(fleet, "s1"));
    ChunkId id = fleet_chunk(5, 0);
    ChunkPlace place;
    OK(catalog_chunk_lookup(writer.c, &slow, &id, 1, &place, &err));
    forget(&old);
    fleet_do(fleet, "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS "
                    "$$ BEGIN " AWAIT " RETURN NEW; END $$;"
                    "CREATE TRIGGER slowly BEFORE INSERT ON backup FOR EACH ROW EXECUTE FUNCTION "
                    "slowly();"
                    "UPDATE session SET base_epoch = 1000000"); /* as if nobody spared it */
    Fence prune = prune_claim();
    BackupRow row = fleet_backup(&place.pack_no, 1, ++sequence);
    pid_t child = fork();
    if (child == 0) { /* the commit, on a connection of its own */
        Catalog *c = fleet_connect(fleet, "w1");
        CommitAnswer answer = COMMIT_FENCED;
        char detail[256];
        Err err = {0};
        bool done = catalog_backup_commit(c, &slow, &row, &answer, detail, &err);
        _exit(done && answer == COMMIT_OK ? 0 : 1);
    }
    /* Until it stands in its trigger, behind its test. It goes on when the collector waits for it.
     */
    while (fleet_count(fleet, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'w1' AND "
                              "state = 'active' AND wait_event = 'PgSleep'") == 0)
        usleep(10000);
    assert_int_equal(condemn(&prune).condemned, 1);
    CollectFlipped out;
    Err err = {0};
    while (!catalog_collect_flip(pruner.c, &prune, 100, &out, &err)) {
        assert_string_equal(err.cause, "catalogue.busy");
        err = (Err){0};
    }
    int status = 0;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(out.flipped, 0);
    assert_int_equal(out.pardoned, 1);
    fleet_do(fleet, "DROP TRIGGER slowly ON backup; DROP FUNCTION slowly");
    end(&pruner, &prune);
}

/* --- the lost packs of naive statements ------------------------------------------------------ */

/* A committer that holds `lock` on pack 1 and names it half a second later, and a collector that
 * runs `collect` meanwhile. Is the pack dying though it is named? */
static bool loses(const char *lock, const char *collect)
{
    char command[2000], conninfo[256];
    scoped(buf_free) Buf collector = {0};
    fleet_do(fleet, "TRUNCATE go; DROP SCHEMA IF EXISTS toy CASCADE; CREATE SCHEMA toy; DROP TABLE "
                    "IF EXISTS toy.ref, "
                    "toy.pack; CREATE TABLE toy.pack(no int PRIMARY KEY, state text); CREATE TABLE "
                    "toy.ref(no int REFERENCES toy.pack); INSERT INTO toy.pack VALUES (1, 'live')");
    postgres_as(fleet->pg, "postgres", "postgres", conninfo);
    snprintf(
        command, sizeof command,
        "psql -qAtX -d '%s' >/dev/null <<'END'\nBEGIN; %s; INSERT INTO toy.ref VALUES (1); SET "
        "application_name = 'toy'; DO $$ BEGIN " AWAIT " END $$; COMMIT;\nEND\n",
        conninfo, lock);
    FILE *committer = popen(command, "r");
    while (fleet_count(fleet, "SELECT count(*) FROM pg_stat_activity WHERE application_name = "
                              "'toy'") == 0)
        usleep(10000);
    buf_printf(&collector, "%s; INSERT INTO go VALUES (1)", collect);
    fleet_do(fleet, buf_cstr(&collector));
    assert_int_equal(pclose(committer), 0);
    return fleet_count(fleet, "SELECT count(*) FROM toy.pack JOIN toy.ref USING (no) WHERE state = "
                              "'deleting'") == 1;
}

#define DIE                                                                                        \
    "UPDATE toy.pack p SET state = 'deleting' WHERE NOT EXISTS (SELECT FROM toy.ref r WHERE r.no " \
    "= p.no)"

static void naive_statements_lose_packs_and_lock_then_test_does_not(void **state)
{
    (void)state;
    assert_true(loses("SELECT 1", DIE));                                      /* A */
    assert_true(loses("SELECT 1 FROM toy.pack WHERE no = 1 FOR SHARE", DIE)); /* B */
    assert_true(loses("SELECT pg_advisory_xact_lock_shared(7)",               /* C */
                      "WITH l AS MATERIALIZED (SELECT pg_advisory_xact_lock(7)) UPDATE toy.pack p "
                      "SET state = 'deleting' FROM l WHERE NOT EXISTS (SELECT FROM toy.ref r WHERE "
                      "r.no = p.no)"));
    assert_true(loses("SELECT pg_advisory_xact_lock_shared(7)", /* C: an older snapshot */
                      "BEGIN ISOLATION LEVEL REPEATABLE READ; TABLE toy.ref; SELECT "
                      "pg_advisory_xact_lock(7); " DIE "; COMMIT"));
    assert_false(loses("SELECT pg_advisory_xact_lock_shared(7)", /* D */
                       "BEGIN; SELECT pg_advisory_xact_lock(7); " DIE "; COMMIT"));
}

/* --- who may, and when ----------------------------------------------------------------------- */

static void only_a_pruners_login_condemns_flips_and_deletes(void **state)
{
    (void)state;
    CollectCondemned condemned;
    CollectFlipped flipped;
    uint64_t no = 1;
    OrphanDue *due = NULL, one;
    size_t count;
    bool begun;
    Fence prune = prune_claim();
    REFUSED("catalogue.denied", catalog_collect_condemn(writer.c, &prune, true, &condemned, &err));
    REFUSED("catalogue.denied", catalog_collect_flip(reader.c, &prune, 1, &flipped, &err));
    REFUSED("catalogue.denied", catalog_collect_gone(writer.c, &prune, &no, 1, &err));
    REFUSED("prune.order", catalog_collect_flip(pruner.c, &prune, 1, &flipped, &err));
    REFUSED("catalogue.denied", catalog_orphan_begin(writer.c, &prune, true, &begun, &err));
    REFUSED("catalogue.denied", catalog_orphan_note(reader.c, &prune, NULL, NULL, 0, &err));
    REFUSED("catalogue.denied", catalog_orphan_moving(writer.c, &prune, 1, &begun, &err));
    REFUSED("catalogue.denied",
            catalog_orphan_moved(writer.c, &prune, 1, TEXT("deleted"), TEXT(""), &err));
    REFUSED("orphan.order", catalog_orphan_due(pruner.c, &prune, 1, &due, &count, &err));
    REFUSED("orphan.order", catalog_orphan_moving(pruner.c, &prune, 1, &begun, &err));
    REFUSED("orphan.not_damaged", catalog_orphan_damaged(pruner.c, &prune, 1, &one, &err));
    Fence backup = fleet_claim(&writer, fleet_ticket(fleet, "s2"));
    REFUSED("job.fenced", catalog_collect_condemn(pruner.c, &backup, true, &condemned, &err));
    REFUSED("job.fenced", catalog_orphan_moving(pruner.c, &backup, 1, &begun, &err));
    end(&writer, &backup);
    end(&pruner, &prune);
}

static void of_two_collectors_of_one_repository_one_waits(void **state)
{
    (void)state;
    TicketRow first = prune_ticket("prune"), second = prune_ticket("prune");
    Fence one = fleet_claim(&pruner, first);
    Fence two = {.job = second.job, .claim = {{9}}};
    ClaimAnswer answer;
    OK(catalog_job_claim(pruner.c, &pruner.instance, second.job, second.dispatch, &two.claim,
                         &answer, &err));
    assert_int_equal(answer.status, CLAIM_BUSY);
    catalog_job_claim_free(&answer);
    end(&pruner, &one);
    fleet_do(fleet, "UPDATE job SET state = 'cancelled', finished_at = clock_timestamp() WHERE "
                    "kind = 'prune' AND state = 'pending'");
}

/* Three runs later the first collector wakes up: it holds nothing, and changes nothing. */
static void a_collector_that_wakes_up_after_three_runs_changes_nothing(void **state)
{
    (void)state;
    CollectCondemned condemned;
    CollectFlipped flipped;
    uint64_t epoch, confirmed, no = 1;
    Uuid old = back_up(7);
    back_up(8);
    Fence zombie = prune_claim();
    condemn(&zombie);
    fleet_do(fleet, "UPDATE lease SET expires_at = clock_timestamp() - interval '1 minute'");
    for (ReapReport report = {0}; report.count == 0; usleep(50000)) {
        OK(catalog_reap(fleet->scheduler, &report, &err));
        size_t reaped = report.count;
        catalog_reap_free(&report);
        if (reaped > 0)
            break;
    }
    fleet_do(fleet, "UPDATE job SET state = 'cancelled', finished_at = clock_timestamp() WHERE "
                    "kind = 'prune' AND state = 'pending'");
    forget(&old);
    for (int i = 0; i < 3; i++)
        finish_all();
    int64_t before = fleet_count(fleet, "SELECT gc_epoch * 1000 + confirmed_epoch FROM repository");
    REFUSED("job.fenced", catalog_collect_condemn(pruner.c, &zombie, true, &condemned, &err));
    REFUSED("job.fenced", catalog_collect_flip(pruner.c, &zombie, 1, &flipped, &err));
    REFUSED("job.fenced", catalog_collect_epoch(pruner.c, &zombie, &epoch, &confirmed, &err));
    REFUSED("job.fenced", catalog_collect_confirm(pruner.c, &zombie, 1, &err));
    REFUSED("job.fenced", catalog_collect_gone(pruner.c, &zombie, &no, 1, &err));
    assert_int_equal(before, fleet_count(fleet, "SELECT gc_epoch * 1000 + confirmed_epoch FROM "
                                                "repository"));
}

static void most_of_a_repository_goes_only_with_a_reason(void **state)
{
    (void)state;
    Uuid old[] = {back_up(9), back_up(11)};
    back_up(10);
    forget(&old[0]);
    forget(&old[1]);
    fleet_do(fleet, "UPDATE setting SET value = 0 WHERE name IN ('collect_few', 'collect_share')");
    Fence prune = prune_claim();
    CollectCondemned condemned;
    REFUSED("prune.too_much", catalog_collect_condemn(pruner.c, &prune, false, &condemned, &err));
    assert_int_equal(packs("condemned"), 0);
    OK(catalog_collect_condemn(pruner.c, &prune, true, &condemned, &err));
    assert_int_equal(condemned.condemned, 2);
    end(&pruner, &prune);
    fleet_do(fleet, "UPDATE setting SET value = 16 WHERE name = 'collect_few'");
    finish_all();
}

static void nothing_goes_while_the_repository_is_set_back_or_frozen(void **state)
{
    (void)state;
    CollectCondemned condemned;
    CollectFlipped flipped;
    uint64_t epoch, confirmed;
    Uuid old = back_up(11);
    back_up(12);
    forget(&old);
    Fence prune = prune_claim();
    condemn(&prune);
    fleet_do(fleet, "UPDATE repository SET rolled_back = true");
    REFUSED("repo.rolled_back", catalog_collect_condemn(pruner.c, &prune, true, &condemned, &err));
    REFUSED("repo.rolled_back", catalog_collect_flip(pruner.c, &prune, 1, &flipped, &err));
    REFUSED("repo.rolled_back", catalog_collect_epoch(pruner.c, &prune, &epoch, &confirmed, &err));
    fleet_do(fleet, "UPDATE repository SET rolled_back = false; SELECT "
                    "repository_freeze(no, 'rebuilt') FROM repository");
    REFUSED("repo.frozen", catalog_collect_flip(pruner.c, &prune, 1, &flipped, &err));
    assert_int_equal(packs("deleting"), 0);
    fleet_do(fleet, "UPDATE repository SET frozen_at = NULL, frozen_reason = NULL");
    assert_int_equal(flip(&prune).flipped, 1);
    end(&pruner, &prune);
    finish_all();
}

/* Between flip and confirmation nothing may be deleted. */
static void what_is_not_confirmed_is_not_deleted(void **state)
{
    (void)state;
    uint64_t epoch, confirmed;
    DeadPack *dead;
    size_t count;
    Uuid old = back_up(13);
    back_up(14);
    forget(&old);
    Fence prune = prune_claim();
    condemn(&prune);
    assert_int_equal(flip(&prune).flipped, 1);
    OK(catalog_collect_dead(pruner.c, &prune, 0, 10, &dead, &count, &err));
    mem_free(dead);
    assert_int_equal(count, 0);
    OK(catalog_collect_epoch(pruner.c, &prune, &epoch, &confirmed, &err));
    assert_true(epoch > confirmed);
    OK(catalog_collect_confirm(pruner.c, &prune, epoch, &err));
    OK(catalog_collect_dead(pruner.c, &prune, 0, 10, &dead, &count, &err));
    assert_int_equal(count, 1);
    mem_free(dead);
    end(&pruner, &prune);
    finish_all();
}

/* What a fenced attempt had begun may still be written: its object is deleted three times more. */
static void late_writes_of_a_fenced_attempt_are_deleted_again(void **state)
{
    (void)state;
    Fence lost = fleet_claim(&writer, fleet_ticket(fleet, "s2"));
    PackRow pack = fleet_stage(writer.c, &lost, 99, 1);
    char now[16], sql[200];
    uint64_t swept;
    OK(catalog_job_cancel(fleet->scheduler, lost.job, TEXT("test"), TEXT("over"), now, &err));
    bool fenced;
    OK(catalog_job_finish(writer.c, &lost, &(JobVerdictRow){.outcome = OUTCOME_CANCELLED}, now,
                          &fenced, &err));
    OK(catalog_sweep(fleet->scheduler, &swept, &err));
    assert_int_equal(swept, 1);
    for (int pass = 1; pass <= 4; pass++) {
        finish_all();
        snprintf(sql, sizeof sql, "SELECT passes FROM pack WHERE no = %llu",
                 (unsigned long long)pack.pack_no);
        assert_int_equal(fleet_count(fleet, sql), pass);
        finish_all(); /* not before its time */
        assert_int_equal(fleet_count(fleet, sql), pass);
        fleet_do(fleet, "UPDATE pack SET again_at = clock_timestamp() WHERE again_at IS NOT NULL");
    }
    snprintf(sql, sizeof sql, "SELECT count(*) FROM pack WHERE no = %llu AND again_at IS NULL",
             (unsigned long long)pack.pack_no);
    assert_int_equal(fleet_count(fleet, sql), 1);
}

static void a_held_locked_read_or_last_good_backup_is_not_forgotten(void **state)
{
    (void)state;
    static const char *const holds[][2] = {
        {"held", "UPDATE backup SET held_until = 'infinity', held_reason = 'court' WHERE "
                 "deleted_at IS NULL"},
        {"locked", "UPDATE backup SET held_until = NULL, held_reason = NULL, locked_until = "
                   "'infinity' WHERE deleted_at IS NULL"},
        {"last_good", "UPDATE backup SET locked_until = NULL, deleted_at = CASE WHEN id <> (SELECT "
                      "max(id::text)::uuid FROM backup WHERE deleted_at IS NULL AND source = 1) "
                      "THEN clock_timestamp() END WHERE source = 1 AND deleted_at IS NULL"},
    };
    Uuid id = back_up(15);
    Text why = TEXT("tidying");
    for (size_t i = 0; i < 3; i++) {
        ForgetAnswer *answers;
        size_t count;
        JobCreated made;
        char cause[32];
        fleet_do(fleet, holds[i][1]);
        Fence prune = prune_claim();
        OK(catalog_backups_forget(pruner.c, &prune, &id, &why, 1, &answers, &count, &err));
        assert_string_equal(answers[0].answer, holds[i][0]);
        mem_free(answers);
        snprintf(cause, sizeof cause, "backup.%s", holds[i][0]);
        REFUSED(cause, catalog_backup_delete(fleet->scheduler, &id, TEXT(""), why, TEXT("test"),
                                             (Text){0}, &made, &err));
        end(&pruner, &prune);
    }
    Uuid newer = back_up(16);
    char text[UUID_TEXT], params[100];
    uuid_text(&newer, text);
    snprintf(params, sizeof params, "{\"backup\":\"%s\"}", text);
    JobRequest request = {
        .kind = TEXT("restore"), .params = text_of(params), .actor = TEXT("test")};
    Fence restore = fleet_claim(&reader, fleet_job(fleet, &request));
    JobCreated made;
    REFUSED("backup.pinned", catalog_backup_delete(fleet->scheduler, &newer, TEXT(""), why,
                                                   TEXT("test"), (Text){0}, &made, &err));
    end(&reader, &restore);
    REFUSED("backup.reason", catalog_backup_delete(fleet->scheduler, &newer, TEXT(""), TEXT(" "),
                                                   TEXT("test"), (Text){0}, &made, &err));
    OK(catalog_backup_delete(fleet->scheduler, &newer, TEXT(""), why, TEXT("test"), (Text){0},
                             &made, &err));
}

static void once_a_day_a_served_repository_is_collected(void **state)
{
    (void)state;
    uint64_t made;
    fleet_do(fleet, "UPDATE repository SET id = gen_random_uuid()");
    fleet_do(fleet,
             "UPDATE job SET state = 'cancelled', finished_at = clock_timestamp() WHERE "
             "kind = 'prune' AND finished_at IS NULL; UPDATE job SET created_at = created_at "
             "- interval '2 days' WHERE kind = 'prune'");
    alive(state);
    OK(catalog_prunes_fire(fleet->scheduler, &made, &err));
    assert_int_equal(made, 1);
    OK(catalog_prunes_fire(fleet->scheduler, &made, &err));
    assert_int_equal(made, 0);
    assert_int_equal(fleet_count(fleet, "SELECT count(*) FROM job j JOIN pool p ON p.no = j.pool "
                                        "WHERE j.kind = 'prune' AND j.state = 'pending' AND p.name "
                                        "= 'prune' AND j.trigger = 'scheduled'"),
                     1);
}

static void lacks(const char *params, const char *want)
{
    char sql[600], why[512];
    snprintf(
        sql, sizeof sql,
        "SELECT job_missing(j, i.facts, w.reader) FROM worker w JOIN worker_instance i ON "
        "i.worker = w.no AND i.bye_at IS NULL CROSS JOIN LATERAL (SELECT (jsonb_populate_record("
        "NULL::job, jsonb_build_object('kind', 'prune', 'repository', 1, 'params', "
        "'%s'::jsonb))).*) j WHERE w.name = 'p1'",
        params);
    fleet_ask(fleet, sql, why);
    assert_string_equal(why, want);
}

static void a_pruner_hears_exactly_what_it_lacks_and_is_asked_for_no_writers_key(void **state)
{
    (void)state;
    fleet_do(fleet, "UPDATE store SET config = config || '{\"access_key\":{\"credential\":\"w\"},"
                    "\"prune_access_key\":{\"credential\":\"p\"}}'; UPDATE worker_instance SET "
                    "facts = facts || '{\"credentials\":[\"p\"],\"pruner\":true}'");
    lacks("{}", "");
    lacks("{\"repack\":true}", "lacks reader key of keys, writer key of keys, reader login (enroll "
                               "it with --reader), credential w");
    fleet_do(fleet, "SELECT enroll_pruner('p1', false)");
    lacks("{}", "lacks prune login (enroll it with --prune)");
    fleet_do(fleet, "UPDATE worker_instance SET facts = facts || '{\"credentials\":[\"w\"]}'");
    lacks("{}", "lacks prune login (enroll it with --prune), credential p");
    fleet_do(fleet, "SELECT enroll_pruner('p1', true); UPDATE store SET config = config - "
                    "'access_key' - 'prune_access_key'; UPDATE worker_instance SET facts = facts - "
                    "'credentials'");
    lacks("{}", "");
}

#define TEST(name) cmocka_unit_test_setup(name, alive)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_writer_that_found_a_pack_before_it_was_condemned_keeps_it),
        TEST(a_session_that_begins_later_neither_finds_nor_spares_it),
        TEST(a_flip_sees_the_commit_that_it_waited_for),
        TEST(naive_statements_lose_packs_and_lock_then_test_does_not),
        TEST(only_a_pruners_login_condemns_flips_and_deletes),
        TEST(of_two_collectors_of_one_repository_one_waits),
        TEST(a_collector_that_wakes_up_after_three_runs_changes_nothing),
        TEST(most_of_a_repository_goes_only_with_a_reason),
        TEST(nothing_goes_while_the_repository_is_set_back_or_frozen),
        TEST(what_is_not_confirmed_is_not_deleted),
        TEST(late_writes_of_a_fenced_attempt_are_deleted_again),
        TEST(a_held_locked_read_or_last_good_backup_is_not_forgotten),
        TEST(a_pruner_hears_exactly_what_it_lacks_and_is_asked_for_no_writers_key),
        TEST(once_a_day_a_served_repository_is_collected),
    };
    return cmocka_run_group_tests_name("integration.catalog.collect", tests, start, stop);
}
