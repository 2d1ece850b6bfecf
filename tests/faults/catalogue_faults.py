# SPDX-License-Identifier: Apache-2.0
"""The link to the catalogue, and the catalogue itself, break at the worst moments."""
import errno
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time

import faultio
import invariants
from installation import BINARIES, Installation, Postgres, wait_until
from settings import need_root, offsets, short_or

# Each call of a worker and its job child that changes something, in the order of a backup.
WORKER_CALLS = ("worker_hello", "job_claims", "pack_begin", "pack_stage", "backup_commit", "marker_done", "job_finish", "worker_beat",
                "job_log_add", "worker_bye")
SCHEDULER_CALLS = ("slots_fire", "dispatch_pick", "requeue(", "reap(", "leader_take", "jobs_overdue", "housekeep")


def backups_through(place, direction, call, places, action="cut"):
    """One backup for each byte offset at which the link of w1 breaks once."""
    link = place.proxies["w1"]["catalogue"]
    struck = 0
    for at in places:
        rule = link.rule(direction, action, at=at, pattern=f"holdfast.{call}")
        job = place.run("s1")
        place.complete(job)
        struck += rule.fired
        link.heal()
    return struck


def test_a_commit_whose_answer_is_lost_at_any_byte_is_one_backup():
    with Installation(files=3, file_bytes=2000, sources=1) as place:
        places = offsets(160, 16)
        assert backups_through(place, "down", "backup_commit", places) >= len(places) // 2
        assert backups_through(place, "down", "backup_commit", places[:4], "reset") >= 2
        place.check()


def test_a_commit_that_arrives_in_part_is_one_backup():
    with Installation(files=3, file_bytes=2000, sources=1) as place:
        places = offsets(900, 16)
        assert backups_through(place, "up", "backup_commit", places) >= len(places) // 2
        place.check()


def test_a_commit_that_stalls_in_the_middle_is_given_up_and_done_once():
    """Half of the statement arrived, or all of it and no answer: the connection lives and says nothing."""
    with Installation(files=3, file_bytes=2000, sources=2) as place:
        link = place.proxies["w1"]["catalogue"]
        for direction, at in (("up", 40), ("down", 0)):
            rule = link.rule(direction, "stall", at=at, pattern="SELECT answer, detail FROM holdfast.backup_commit")
            jobs = [place.run(source) for source in place.sources]
            assert rule.happened.wait(60)
            place.complete(*jobs)
            link.heal()
        place.check()


def test_every_call_of_a_worker_may_lose_its_question_or_its_answer():
    with Installation(files=3, file_bytes=2000, sources=1) as place:
        link = place.proxies["w1"]["catalogue"]
        struck = set()
        for call in WORKER_CALLS:
            for direction, at in (("up", 12), ("down", 0), ("down", 30)):
                rule = link.rule(direction, "cut", at=at, pattern=f"holdfast.{call}(")
                place.grow("s1", 1, 2000) # else no backup but the first would begin a pack
                place.complete(place.run("s1"))
                struck |= {call} if rule.fired else set()
                link.heal()
        assert {"job_claims", "pack_begin", "pack_stage", "backup_commit", "marker_done", "worker_beat"} <= struck, struck
        place.check()


def test_every_call_of_a_scheduler_may_lose_its_question_or_its_answer():
    with Installation(files=2, file_bytes=500, sources=1, schedule="* * * * *") as place:
        link = place.proxies["c1"]["catalogue"]
        struck = set()
        for call in SCHEDULER_CALLS:
            for direction, at in (("up", 9), ("down", 0), ("down", 40)):
                place.do("UPDATE schedule SET last_slot = last_slot - interval '3 minutes' WHERE NOT EXISTS (SELECT FROM job "
                         "WHERE slot > last_slot - interval '4 minutes')")
                rule = link.rule(direction, "cut", at=at, pattern=f"holdfast.{call}")
                place.complete(place.run("s1"))
                struck |= {call} if rule.fired else set()
                link.heal()
        assert {"slots_fire", "dispatch_pick", "reap("} <= struck, struck
        place.check()


def test_backends_that_are_terminated_during_commits_commit_once():
    with Installation(files=3, file_bytes=2000, sources=3) as place:
        jobs = []
        for _ in range(short_or(4, 40)):
            jobs += [place.run(source) for source in place.sources]
            for _ in range(10):
                place.do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'w1' AND "
                         "(query LIKE '%backup_commit%' OR random() < 0.2)")
                time.sleep(random.random() / 10)
        place.complete(*jobs)
        place.check()


def test_answers_that_do_not_come_back_end_in_another_attempt_not_in_two_backups():
    """A partition in one direction: the worker's statements arrive, no answer does."""
    with Installation(workers=2, files=20, file_bytes=200000, sources=1, rate="2MiB/s") as place:
        job = place.run("s1")
        place.wait_job(job, "state = 'running'")
        name = place.catalogue.one(f"SELECT w.name FROM job_attempt a JOIN worker w ON w.no = a.worker WHERE a.job = {job}")
        place.proxies[name]["catalogue"].block("down")
        time.sleep(5)  # longer than the lease and both looks
        place.proxies[name]["catalogue"].heal()
        place.complete(job)
        place.check()


def test_while_the_catalogue_is_away_nothing_is_lost_or_reaped():
    """Nor ended because it does not move: it waits for the catalogue."""
    with Installation(workers=2, files=30, file_bytes=150000, rate="700KiB/s", policy=", stall_timeout: 6s",
                      timers={"lease_s": 3, "grace_s": 8}) as place:
        jobs = [place.run(source) for source in place.sources]
        for job in jobs:
            place.wait_job(job, "state = 'running'")
        place.postgres.kill()
        time.sleep(short_or(18, 600))
        place.postgres.start()
        place.complete(*jobs)
        assert place.count("SELECT sum(losses) FROM job") == 0
        assert place.count("SELECT max(attempt) FROM job") == 1
        place.check()


def test_a_network_that_was_away_and_broke_no_connection_costs_no_job():
    """The scheduler's statement comes through after all, as if nothing had been: the workers' beats come later."""
    with Installation(workers=2, files=30, file_bytes=150000, rate="400KiB/s", timers={"lease_s": 3, "grace_s": 8}) as place:
        jobs = [place.run(source) for source in place.sources]
        for job in jobs:
            place.wait_job(job, "state = 'running'")
        place.do("UPDATE reaper SET hold_until = clock_timestamp() - interval '1 hour'")  # that of its start is over
        connections = place.count("SELECT count(*) FROM pg_stat_activity WHERE usename = 'holdfast_scheduler'")
        for links in place.proxies.values():
            links["catalogue"].block()
        time.sleep(short_or(6, 15))
        place.proxies["c1"]["catalogue"].heal()
        time.sleep(4)  # its looks for the dead
        place.heal()
        assert place.count("SELECT count(*) FROM pg_stat_activity WHERE usename = 'holdfast_scheduler'") == connections
        place.complete(*jobs)
        assert place.count("SELECT sum(losses) FROM job") == 0
        assert place.count("SELECT max(attempt) FROM job") == 1
        place.check()


def test_errors_that_pass_are_tried_again_and_leak_no_slot():
    """Deadlock, serialization, lock timeout, out of memory, disk full: each raised by the server a few times."""
    with Installation(workers=2, files=3, file_bytes=2000) as place:
        place.do("CREATE SEQUENCE trouble; GRANT ALL ON SEQUENCE trouble TO PUBLIC; "
                 "CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast AS $$ "
                 "BEGIN IF nextval('trouble') <= coalesce(nullif(current_setting('holdfast.trouble', true), ''), '0')::bigint THEN "
                 "RAISE EXCEPTION 'as a test wants' USING ERRCODE = current_setting('holdfast.code'); END IF; RETURN NEW; END $$; "
                 "CREATE TRIGGER a_trouble BEFORE UPDATE ON job FOR EACH ROW EXECUTE FUNCTION trouble(); "
                 "CREATE TRIGGER a_trouble BEFORE INSERT ON pack FOR EACH ROW EXECUTE FUNCTION trouble(); "
                 "CREATE TRIGGER a_trouble BEFORE INSERT ON backup FOR EACH ROW EXECUTE FUNCTION trouble(); "
                 "UPDATE pool SET max_jobs = 2")
        for code in ("40P01", "40001", "55P03", "53200", "53100", "57014"):
            start = place.count("SELECT nextval('trouble')")
            place.do(f"ALTER DATABASE holdfast SET holdfast.code = '{code}'; ALTER DATABASE holdfast SET holdfast.trouble = '{start + 6}'; "
                     "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = 'holdfast'")
            jobs = [place.run(source) for source in place.sources]
            place.complete(*jobs)
            assert place.count("SELECT nextval('trouble')") > start + 6
        place.check()


class OnASmallDisk(Installation):
    """Its catalogue's tables lie on a file system of their own (its log of writes does not: without room for that the
    server itself goes down, which is another fault)."""
    disk = None

    def start_postgres(self, options):
        server = super().start_postgres(options)
        place = self.disk / "tables"
        place.mkdir(mode=0o700)
        shutil.chown(place, "postgres", "postgres")
        for words in (f"CREATE TABLESPACE small LOCATION '{place}'", "ALTER DATABASE template1 SET TABLESPACE small"):
            subprocess.run([BINARIES + "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", server.conninfo("postgres"), "-c", words],
                           check=True, capture_output=True)
        return server

    def fill(self):
        """Not a page more can be had."""
        with open(self.disk / "filler", "ab", buffering=0) as filler:
            for size in (1 << 20, 4096):
                try:
                    while True:
                        filler.write(bytes(size))
                except OSError as error:
                    assert error.errno == errno.ENOSPC

    def make_room(self):
        (self.disk / "filler").unlink()


def test_a_disk_that_is_full_under_the_catalogue_stops_all_and_loses_nothing():
    need_root("a file system of its own")
    mount = pathlib.Path(f"/tmp/hf-full-catalogue.{os.getpid()}")
    mount.mkdir(mode=0o755)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m,mode=755", "none", str(mount)], check=True)
    try:
        OnASmallDisk.disk = mount
        # Ten seconds a job: on a busy machine too they still run when the disk is full.
        with OnASmallDisk(workers=2, files=30, file_bytes=100000, sources=3, rate="300KiB/s") as place:
            place.complete(*[place.run(source) for source in place.sources])
            for _ in range(short_or(1, 10)):
                for source in place.sources:
                    place.grow(source, 30, 100000)
                jobs = [place.run(source) for source in place.sources]
                place.wait_job(jobs[0], "state = 'running'")
                place.fill()
                log = place.postgres.directory / "log"
                told = log.read_text(errors="replace").count("No space left on device")
                wait_until(lambda: log.read_text(errors="replace").count("No space left on device") >= told + 5, 60,
                           "the server refuses again and again")
                time.sleep(short_or(5, 40))
                assert all(process.poll() is None for process in place.processes.values())
                tried = log.read_text(errors="replace").count("No space left on device")
                time.sleep(5)  # everybody waits longer and longer, and nobody asks all the time
                assert log.read_text(errors="replace").count("No space left on device") - tried < 250
                place.make_room()
                place.complete(*jobs)
            assert not (bad := place.catalogue.rows("SELECT to_jsonb(a) FROM job_attempt a WHERE outcome = 'failed'")), bad
            place.check()
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=False)
        mount.rmdir()


def test_a_standby_that_lacks_the_last_commits_is_gone_on_with():
    """The primary dies with commits that its standby never had; the standby is promoted."""
    with Installation(workers=1, files=4, file_bytes=3000, sources=2,
                      postgres_options=("-c", "fsync=off", "-c", "wal_level=replica", "-c", "max_wal_senders=4")) as place:
        place.complete(place.run("s1"), place.run("s2"))
        standby = Postgres(place.top / "standby", ("-c", "fsync=off", "-c", "hot_standby=on"), copy_of=place.postgres)
        lost = place.run("s1")
        place.wait_job(lost, "state IN ('queued', 'running', 'completed')")
        wait_until(lambda: standby_has(place, standby), what="the standby caught up")
        standby_do(standby, "SELECT pg_wal_replay_pause()")
        wait_until(lambda: standby_do(standby, "SELECT pg_get_wal_replay_pause_state()") == "paused", what="replay is paused")
        place.complete(lost, place.run("s1"), place.run("s2"))
        running = place.run("s2")
        place.wait_job(running, "state <> 'pending'")
        place.postgres.kill()
        promote(place, standby)
        place.complete(place.run("s1"), place.run("s2"))
        place.check()


def standby_do(standby, sql):
    return invariants.Catalogue(standby.conninfo(), BINARIES + "psql").one(sql)


def standby_has(place, standby):
    return standby_do(standby, "SELECT count(*) FROM job") == place.catalogue.one("SELECT count(*) FROM job")


def promote(place, standby):
    """It lost what it had received and not replayed: as if that had never been sent."""
    old = place.postgres
    standby_do(standby, "SELECT pg_promote(false)")  # a pause ends with it
    wait_until(lambda: standby_do(standby, "SELECT pg_is_in_recovery()") == "f", what="the standby was promoted")
    old.stop()
    place.adopt(standby)


def test_a_servers_clock_that_jumps_an_hour_and_back_doubles_nothing():
    with Installation(workers=2, files=20, file_bytes=100000, rate="500KiB/s", schedule="* * * * *") as place:
        plan = faultio.Plan(place.top / "faults-pg")
        place.postgres.kill(signal.SIGINT)
        place.postgres.start(plan.environment())
        jobs = [place.run(source) for source in place.sources]
        for offset in (3600, 0, -30, 0):
            plan.clock(offset)
            time.sleep(2)
        for job in jobs:
            place.wait_job(job, seconds=120)
        place.do("UPDATE job SET run_at = now() WHERE state = 'pending'")
        place.do("UPDATE lease SET expires_at = least(expires_at, clock_timestamp() + interval '2 seconds')")
        place.check(clock_moved=True)


def test_a_link_that_comes_and_goes_everywhere_stops_nothing():
    with Installation(workers=3, schedulers=2, files=10, file_bytes=50000, sources=3, schedule="* * * * *") as place:
        jobs = []
        end = time.monotonic() + short_or(12, 600)
        while time.monotonic() < end:
            jobs += [place.run(source) for source in place.sources] if len(jobs) < 60 else []
            for links in place.proxies.values():
                for each in links.values():
                    each.block() if random.random() < 0.5 else each.refuse()
            time.sleep(1)
            place.heal()
            time.sleep(1)
        place.complete(*jobs)
        place.check()
