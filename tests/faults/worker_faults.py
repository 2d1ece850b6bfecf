# SPDX-License-Identifier: Apache-2.0
"""Workers that are stopped, killed, cloned, drained, cancelled, at every moment of a backup."""
import json
import os
import random
import re
import signal
import subprocess
import time

from installation import BUILD, Installation, wait_until
from settings import short_or

# Every marked point from the ticket to its end; each is passed once in a small backup.
POINTS = ("agent.claimed", "agent.started", "backup.opened", "repo.pack_begun", "repo.pack_written", "repo.pack_durable",
          "repo.pack_staged", "backup.streamed", "repo.packs_staged", "repo.index_durable", "repo.parents_durable",
          "repo.manifest_durable", "backup.stored", "commit.before", "commit.after", "commit.marked", "agent.finished")


def states_of(place, name):
    """(pid, state) of a worker and its children."""
    pids = [place.processes[name].pid, place.child(name)]
    for pid in [p for p in pids if p]:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                yield pid, file.read().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue


def stopped(place, name):
    return [pid for pid, state in states_of(place, name) if state == "T"]


def family(place, name):
    return [pid for pid, _ in states_of(place, name)]


def stop_at(place, point, how="stop"):
    """w1 stops itself, or is killed, where it passes the point; parent and child both stand still then."""
    place.grow("s1", 3, 5000)  # something new to store
    place.hire("w1", {"HOLDFAST_CRASHPOINT": "1", "HOLDFAST_CRASHPOINT_ONLY": point, "HOLDFAST_CRASHPOINT_HOW": how})
    place.wait_workers(1)
    job = place.run("s1")
    if how == "stop":
        wait_until(lambda: stopped(place, "w1"), 60, f"w1 stopped at {point}")
        pids = family(place, "w1")
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
    else:
        wait_until(lambda: place.processes["w1"].poll() is not None or attempt_over(place, job), 60, f"w1 died at {point}")
        pids = []
    return job, pids


def attempt_over(place, job):
    return place.count(f"SELECT count(*) FROM job_attempt WHERE job = {job} AND ended_at IS NOT NULL") > 0


def restored(place, backup, to):
    params = json.dumps({"backup": backup, "target": {"path": str(to)}})
    return int(place.catalogue.one(f"SELECT job FROM job_create('restore', 'manual', 's1', NULL, '{params}', 'test', NULL, 0, NULL)"))


def test_a_restore_whose_worker_dies_at_its_end_is_made_once_and_told():
    """Whole on the disk, told to the catalogue, told to the target: whoever dies between two of them leaves a target that the next
    attempt finishes, with the words of the first one where there are some."""
    with Installation(workers=1, sources=1, files=20, file_bytes=3000) as place:
        place.complete(place.run("s1"))
        backup = place.catalogue.one("SELECT id FROM backup")
        place.kill("w1")
        for point, again in (("restore.finished", True), ("restore.told", False), ("restore.settled", False)):
            to = place.top / "restore" / point
            place.hire("w1", {"HOLDFAST_CRASHPOINT": "1", "HOLDFAST_CRASHPOINT_ONLY": point, "HOLDFAST_CRASHPOINT_HOW": "stop"})
            job = restored(place, backup, to)
            wait_until(lambda: stopped(place, "w1"), 60, f"w1 stopped at {point}")
            file = to / str(place.top / "tree/s1/f000").lstrip("/")
            was = file.stat().st_ino
            child = place.child("w1")
            place.kill("w1")
            os.kill(child, signal.SIGKILL)
            place.hire("w1")
            place.complete(job)
            assert subprocess.run(["diff", "-r", str(place.top / "tree/s1"), str(file.parent)], check=False).returncode == 0, point
            assert [path.name for path in to.iterdir()] == [str(place.top).split("/")[1]], (point, list(to.iterdir()))
            assert place.attempts(job) == 2 and (file.stat().st_ino != was or not again), point
            answer, text = place.catalogue.rows(f"SELECT x.answer, j.error FROM job j JOIN job_answer x ON x.job = j.id WHERE j.id = {job}")[0]
            assert json.loads(answer)["counts"]["entries"] >= 20 and text.endswith("as backed up"), (point, answer, text)
            told = place.count(f"SELECT count(*) FROM job_log WHERE job = {job} AND event = 'restore.done_before'")
            assert told == (0 if again else 1), (point, told)
            place.kill("w1")
        place.hire("w1")
        place.check()


def test_a_worker_stopped_in_any_phase_and_woken_changes_nothing():
    """As a suspended machine: stopped beyond its lease, its job done by another, then it goes on."""
    points = POINTS if short_or(False, True) else POINTS[::2] + ("commit.before", "commit.after")
    with Installation(workers=0, files=3, file_bytes=2000, sources=1) as place:
        for point in dict.fromkeys(points):
            job, pids = stop_at(place, point)
            place.hire("w2")
            place.complete(job)
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            place.complete(place.run("s1"))
            place.kill("w2", signal.SIGTERM)
            place.kill("w1")
        assert place.count("SELECT count(*) FROM backup") == place.count("SELECT count(DISTINCT job) FROM backup")
        place.check_idle()


def test_a_worker_killed_in_any_phase_costs_one_attempt_at_most():
    with Installation(workers=0, files=3, file_bytes=2000, sources=1) as place:
        for point in POINTS if short_or(False, True) else POINTS[1::2]:
            job, _ = stop_at(place, point, "kill")
            if place.processes["w1"].poll() is None:
                place.kill("w1")
            place.hire("w2")
            place.complete(job)
            assert place.attempts(job) <= 3
            place.kill("w2", signal.SIGTERM)
        place.check_idle()


def test_a_worker_that_cannot_beat_loses_its_job_and_ends_its_child():
    """Its beats go nowhere while all else works."""
    with Installation(workers=1, files=20, file_bytes=200000, sources=1, rate="400KiB/s") as place:
        place.proxies["w1"]["catalogue"].rule("up", "stall", pattern="worker_beat(", times=1000)
        job = place.run("s1")
        place.wait_job(job, "state = 'running'")
        child = wait_until(lambda: place.child("w1"), what="a child")
        wait_until(lambda: place.count(f"SELECT losses FROM job WHERE id = {job}") > 0, 60, "the job is lost")
        place.proxies["w1"]["catalogue"].heal()
        wait_until(lambda: not os.path.exists(f"/proc/{child}/fd") or place.child("w1") != child, 90, "the old child is gone")
        place.complete(job)
        place.check()


def test_a_child_killed_again_and_again_fails_its_job_and_not_the_worker():
    with Installation(workers=1, files=20, file_bytes=200000, sources=2, rate="300KiB/s",
                      retry="attempts: 3, backoff: 1s, max_backoff: 1s") as place:
        job = place.run("s1")
        killed = set()

        def kill_child():
            child = place.child("w1")
            if child and child not in killed:
                killed.add(child)
                os.kill(child, signal.SIGKILL)
            return place.count(f"SELECT count(*) FROM job WHERE id = {job} AND finished_at IS NOT NULL")
        wait_until(kill_child, 60, "the job fails")
        assert place.state(job) == "failed" and place.attempts(job) == 3
        assert place.processes["w1"].poll() is None
        place.complete(place.run("s2"))
        place.check()


def test_a_parent_killed_takes_its_child_along():
    with Installation(workers=1, files=20, file_bytes=200000, sources=1, rate="300KiB/s") as place:
        job = place.run("s1")
        place.wait_job(job, "state = 'running'")
        child = wait_until(lambda: place.child("w1"), what="a child")
        place.kill("w1")
        wait_until(lambda: not alive(child), 20, "the child is gone")
        place.hire("w1")
        place.complete(job)
        place.check()


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def test_workers_restarted_in_turn_lose_and_fail_nothing():
    workers = short_or(3, 8)
    with Installation(workers=workers, files=6, file_bytes=30000, sources=4, rate="200KiB/s", drain="1s",
                      timers={"lease_s": 6}) as place:
        jobs, end = [], time.monotonic() + short_or(15, 1800)
        number = 0
        while time.monotonic() < end:
            jobs += [place.run(source) for source in place.sources] if len(jobs) < 2000 else []
            name = f"w{number % workers + 1}"
            place.kill(name, signal.SIGTERM)
            place.hire(name)
            number += 1
            time.sleep(short_or(1, 10))
        place.complete(*jobs, seconds=short_or(150, 3600))
        assert place.count("SELECT sum(failures) FROM job") == 0
        assert place.count("SELECT count(*) FROM job_attempt WHERE outcome = 'lost'") == 0
        place.check()


def test_a_cancel_at_any_moment_ends_in_one_of_two_ways():
    with Installation(workers=2, files=5, file_bytes=20000, sources=4, rate="300KiB/s") as place:
        jobs = []
        for _ in range(short_or(10, 300)):
            made = [place.run(source) for source in place.sources]
            jobs += made
            for job in made:
                time.sleep(random.random() / 8)
                place.do(f"SELECT job_cancel({job}, 'test', '')")
        for job in jobs:
            place.wait_job(job)
        states = {row[0] for row in place.catalogue.rows("SELECT DISTINCT state FROM job")}
        assert states <= {"completed", "cancelled"} and "cancelled" in states, states
        assert place.count("SELECT count(*) FROM backup b JOIN job j ON j.id = b.job WHERE j.state <> 'completed'") == 0
        place.check()


def test_two_workers_of_one_copied_machine_are_two():
    """The same name, the same files, started twice: as a cloned machine would."""
    with Installation(workers=1, files=5, file_bytes=20000, sources=4) as place:
        place.proxies["clone"] = place.proxies["w1"]
        place.start("wclone", [str(BUILD / "holdfast-worker"), "run", "--config", str(place.top / "w1.yaml")], {})
        wait_until(lambda: place.count("SELECT count(*) FROM worker_instance") == 2, what="two instances")
        (place.top / "secrets" / "wclone").write_text((place.top / "secrets" / "w1").read_text())
        jobs = []
        for _ in range(short_or(3, 50)):
            jobs += [place.run(source) for source in place.sources]
            time.sleep(0.3)
        place.complete(*jobs)
        place.kill("w1")
        more = [place.run(source) for source in place.sources]
        place.complete(*more)
        assert place.count("SELECT count(DISTINCT instance) FROM job_attempt") == 2
        place.check()


def fds(pid):
    """Open descriptors; of a process that nobody may look into but root, how many its table has room for."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except PermissionError:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            return int(re.search(r"FDSize:\s+(\d+)", file.read()).group(1))


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))


def test_many_jobs_leave_no_memory_descriptor_or_connection_behind():
    with Installation(workers=1, files=1, file_bytes=100, sources=8, slots=4) as place:
        watched = [place.processes["w1"].pid, place.processes["c1"].pid]

        def round_of_jobs():
            place.complete(*[place.run(source, "backup") for source in place.sources])
        for _ in range(short_or(3, 20)):
            round_of_jobs()
        before = [(fds(pid), resident(pid)) for pid in watched]
        connections = place.count("SELECT count(*) FROM pg_stat_activity WHERE datname = 'holdfast'")
        for _ in range(short_or(8, 5000)):
            round_of_jobs()
        wait_until(lambda: not place.child("w1"), what="no child")
        for pid, (descriptors, memory) in zip(watched, before):
            assert fds(pid) <= descriptors + 2, (pid, descriptors, fds(pid))
            assert resident(pid) <= memory + 4096 + memory // 10, (pid, memory, resident(pid))
        assert place.count("SELECT count(*) FROM pg_stat_activity WHERE datname = 'holdfast'") <= connections + 2
        place.check()


def test_few_descriptors_are_an_error_with_a_name_and_not_the_end():
    with Installation(workers=1, files=2, file_bytes=500, sources=4, slots=8) as place:
        pid = place.processes["w1"].pid
        limit = fds(pid) + 3
        subprocess.run(["prlimit", f"--pid={pid}", f"--nofile={limit}:"], check=True)
        jobs = [place.run(source) for source in place.sources]
        time.sleep(3)
        subprocess.run(["prlimit", f"--pid={pid}", "--nofile=1024:"], check=True)
        place.complete(*jobs)
        assert place.processes["w1"].poll() is None
        place.check()


def test_a_worker_stopped_while_it_waits_for_a_ticket_keeps_none():
    """Redis hands the ticket to a process that stands still; its key of life ends and the ticket comes back."""
    with Installation(workers=1, files=2, file_bytes=500, sources=2) as place:
        for _ in range(short_or(2, 10)):
            pid = place.processes["w1"].pid
            wait_until(lambda: place.count("SELECT count(*) FROM worker_instance WHERE seen_at > clock_timestamp() - interval '0.7 s' "
                                           "AND worker = (SELECT no FROM worker WHERE name = 'w1')"), what="w1 was heard of")
            os.kill(pid, signal.SIGSTOP)
            jobs = [place.run(source) for source in place.sources]
            wait_until(lambda: place.count("SELECT count(*) FROM job WHERE state = 'queued'") > 0, what="a ticket is out")
            place.hire("w2")
            place.complete(*jobs)
            os.kill(pid, signal.SIGCONT)
            place.kill("w2", signal.SIGTERM)
        place.check()


def test_a_job_ten_times_as_long_as_its_lease_runs_once():
    with Installation(workers=2, files=20, file_bytes=200000, sources=1, rate="250KiB/s", timers={"lease_s": 1.5, "beat_s": 0.3}) as place:
        job = place.run("s1")
        place.complete(job)
        assert place.count(f"SELECT extract(epoch FROM ended_at - started_at)::int FROM job_attempt WHERE job = {job}") >= 14
        assert place.attempts(job) == 1
        place.check()


def test_a_storm_of_signals_while_lines_are_written_blocks_nothing():
    """Handlers only note that a signal came: one that wrote a line itself would wait for ever for the lock of the line that
    it broke into. SIGHUP reads files again and logs; it comes as fast as it can, at worker and scheduler."""
    with Installation(workers=1, files=6, file_bytes=20000, sources=3) as place:
        sent = 0
        for _ in range(short_or(3, 60)):
            jobs = [place.run(source) for source in place.sources]
            while any(place.state(job) not in ("completed", "failed", "partial") for job in jobs):
                for _ in range(400):
                    for name in ("w1", "c1"):
                        place.processes[name].send_signal(signal.SIGHUP)
                    sent += 1
            place.complete(*jobs)
        assert sent > 1000, sent
        lines = {name: (place.top / "log" / name).read_bytes() for name in ("w1", "c1")}
        assert all(text.count(b"\n") > 10 for text in lines.values())
        for name in ("w1", "c1"):
            assert place.processes[name].poll() is None, name
        begun = time.monotonic()
        assert place.kill("w1", signal.SIGTERM) == 0 and time.monotonic() - begun < 30
        place.check_idle()
