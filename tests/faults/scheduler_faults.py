# SPDX-License-Identifier: Apache-2.0
"""Schedulers that die, double, and lose each other."""
import signal
import time

from installation import Installation, wait_until
from settings import short_or

POINTS = ("scheduler.fire.before", "scheduler.fire.after", "scheduler.dispatch.before", "scheduler.dispatch.picked",
          "scheduler.dispatch.pushed")


def set_back(place, minutes):
    """As if nobody had looked at the schedules for so long; only what was never decided."""
    place.do(f"UPDATE schedule s SET last_slot = date_trunc('minute', clock_timestamp()) - interval '{minutes} minutes' "
             "WHERE NOT EXISTS (SELECT FROM job j WHERE j.source = s.source AND j.slot IS NOT NULL)")


def test_a_scheduler_killed_at_any_marked_point_costs_no_slot_and_doubles_none():
    with Installation(workers=1, schedulers=2, files=2, file_bytes=300, sources=len(POINTS), schedule="* * * * *") as place:
        for number, point in enumerate(POINTS):
            place.kill("c1")
            place.kill("c2")
            place.start_scheduler("c1", {"HOLDFAST_CRASHPOINT": "1", "HOLDFAST_CRASHPOINT_ONLY": point})
            place.do(f"UPDATE schedule SET last_slot = last_slot - interval '3 minutes' WHERE source = {number + 1} AND NOT EXISTS "
                     f"(SELECT FROM job WHERE source = {number + 1} AND slot IS NOT NULL)")
            job = place.run(f"s{number + 1}")
            wait_until(lambda: place.processes["c1"].poll() is not None, 90, f"c1 died at {point}")
            place.start_scheduler("c2")
            place.complete(job)
        place.start_scheduler("c1")
        place.check()


def test_three_forced_leaders_make_one_job_a_slot():
    sources = short_or(30, 1000)
    with Installation(workers=1, schedulers=3, files=1, file_bytes=100, sources=sources, schedule="* * * * *", slots=8) as place:
        for name in ("c1", "c2", "c3"):
            place.kill(name)
        set_back(place, 30)
        for name in ("c1", "c2", "c3"):
            place.start_scheduler(name, None, "--force-leader")
        wait_until(lambda: place.count("SELECT count(*) FROM schedule WHERE last_slot < now() - interval '3 minutes'") == 0, 120,
                   "every slot is decided")
        assert place.count("SELECT count(*) FROM job WHERE slot IS NOT NULL") >= sources * 29
        place.do("UPDATE source SET paused_until = 'infinity'")
        place.check(seconds=short_or(150, 1200))


def test_a_leader_that_is_stopped_is_replaced_and_harms_nothing_when_it_wakes():
    with Installation(workers=1, schedulers=2, files=2, file_bytes=300, sources=2, schedule="* * * * *") as place:
        place.complete(place.run("s1"))
        first, other = "c1", "c2"
        place.processes[first].send_signal(signal.SIGSTOP)
        job = place.run("s2")
        place.complete(job)
        time.sleep(short_or(3, 70))
        place.processes[first].send_signal(signal.SIGCONT)
        place.processes[other].send_signal(signal.SIGSTOP)
        place.complete(place.run("s1"))
        place.processes[other].send_signal(signal.SIGCONT)
        place.check()
