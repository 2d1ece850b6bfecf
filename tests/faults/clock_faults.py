# SPDX-License-Identifier: Apache-2.0
"""Clocks of workers and schedulers that are wrong, jump and step: only PostgreSQL's counts."""
import time

import faultio
from installation import Installation
from settings import short_or

YEAR = 365 * 86400


def test_a_workers_clock_may_be_years_off_and_step():
    with Installation(workers=0, files=4, file_bytes=20000, sources=2) as place:
        place.hire("w1", faults=True)
        place.wait_workers(1)
        for seconds in (10 * YEAR, -YEAR, 3600, -3600, 0):
            place.faults["w1"].clock(seconds)
            place.complete(*[place.run(source) for source in place.sources])
            assert place.count("SELECT count(*) FROM backup WHERE abs(extract(epoch FROM committed_at - now())) > 3600") == 0
        assert place.count("SELECT max(attempt) FROM job") == 1
        place.check()


def test_a_workers_clock_that_steps_all_the_time_loses_no_lease():
    with Installation(workers=0, files=20, file_bytes=100000, sources=2, rate="400KiB/s", timers={"lease_s": 6}) as place:
        place.hire("w1", faults=True)
        place.wait_workers(1)
        jobs = [place.run(source) for source in place.sources]
        end = time.monotonic() + short_or(5, 120)
        while time.monotonic() < end:
            for seconds in (0, YEAR, -YEAR, 30, -30):
                place.faults["w1"].clock(seconds)
                time.sleep(0.1)
        place.complete(*jobs)
        assert place.count("SELECT sum(losses) FROM job") == 0
        place.check()


def test_a_schedulers_clock_years_ahead_fires_nothing_of_the_future():
    with Installation(workers=1, files=2, file_bytes=500, sources=2, schedule="* * * * *") as place:
        plan = faultio.Plan(place.top / "faults-c1")
        place.kill("c1")
        place.start_scheduler("c1", plan.environment())
        for seconds in (10 * YEAR, -10 * YEAR, 7200, -7200, 0):
            plan.clock(seconds)
            time.sleep(1.2)
            place.complete(place.run("s1"))
        assert place.count("SELECT count(*) FROM job WHERE slot > now() + interval '1 minute'") == 0
        place.check()
