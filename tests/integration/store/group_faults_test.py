# SPDX-License-Identifier: Apache-2.0
"""What breaks the barrier of a group, through real servers: whoever dies at whatever step, the application goes on, the
barrier is told as broken by name, and what is made is a backup of its own. What only costs time breaks nothing."""
import os
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from group_test import SUM, Application, Shop, wait_until  # noqa: E402


def begun(place):
    place.must("run", "shop")
    return place.barrier()[2]


def broken(place, code, ran, seconds=180):
    """The newest run has no barrier, every member a backup of its own, and the hooks ran as said."""
    state, found, jobs = place.barrier()
    for job in jobs:
        place.complete(job, seconds=seconds)
    state, found, _ = place.barrier()
    assert (state, found) == ("broken", code), (state, found, code)
    assert not place.count("SELECT count(*) FROM group_barriers WHERE state = 'complete'")
    named = [source for source, row in place.newest().items() if row["barrier"] is not None]
    assert len(named) < 2, f"both say that they are of the barrier: {named}"
    wait_until(lambda: place.ran() == ran, 60, f"the hooks ran as {ran}: {place.ran()}")
    assert place.count(f"SELECT count(*) FROM decision WHERE code = '{code}'") >= 2, "each member's history says it"


def dies(place_of, point, code, ran, worker=False):
    """A job process is killed at a marked point of its; or its worker with it, which comes back."""
    with place_of(workers=0) as place:
        how = {"HOLDFAST_CRASHPOINT": "1", "HOLDFAST_CRASHPOINT_ONLY": point, **({"HOLDFAST_CRASHPOINT_HOW": "stop"} if worker else {})}
        for name in ("w1", "w2"):
            place.hire(name, how)
        place.wait_workers(2)
        application = Application(place)
        application.start()
        begun(place)
        if worker:
            def stopped():
                for name in ("w1", "w2"):
                    child = place.child(name)
                    try:
                        if child and pathlib.Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T":
                            return name
                    except OSError:
                        pass
                return None
            name = wait_until(stopped, 90, f"one is at {point}")
            place.kill(name)
            for each in ("w1", "w2"):
                if each != name:
                    place.kill(each, signal.SIGKILL)
                place.hire(each)
        broken(place, code, ran)
        application.went_on()
        application.over = True


class Plain(Shop):
    gather = "300s"

    def __init__(self, **words):
        super().__init__(names=["files"], files=1, file_bytes=1, **words)


class Hasty(Plain):
    gather = "3s"


def nobody_comes():
    """One slot for two members."""
    with Hasty(workers=1, slots=1) as place:
        begun(place)
        broken(place, "group.not_gathered", [])


def hold_fails():
    with Plain(workers=2) as place:
        place.hook("hold-shop", "exit 3")
        begun(place)
        broken(place, "group.member_failed", ["shop hold ", "shop release "])


def release_fails():
    """The barrier holds, and nobody reads that the application was released: it is told that it was not."""
    with Plain(workers=2) as place:
        place.hook("hold-shop", "true")
        place.hook("release-shop", "exit 3")
        place.complete(*begun(place), seconds=180)
        assert place.barrier()[:2] == ("complete", ""), place.barrier()
        assert place.count("SELECT count(*) FROM group_run WHERE released_at IS NULL") == 1
        for told in ("event WHERE kind = 'alert' AND data ->> 'code' = 'group.not_released' AND data ->> 'text' LIKE '%release-shop%'",
                     "decision WHERE code = 'group.not_released' AND text LIKE '%release it by hand%release-shop%'"):
            assert place.count(f"SELECT count(*) FROM {told}") == 1, told


def only_time():
    """Redis emptied and the scheduler killed while one member waits for the other: the barrier holds all the same."""
    with Plain(workers=1, slots=1) as place:
        application = Application(place)
        application.start()
        jobs = begun(place)
        wait_until(lambda: place.count("SELECT count(*) FROM group_seat WHERE arrived_at IS NOT NULL") == 1, 60, "one member is there")
        place.redis("FLUSHALL")
        place.kill("c1")
        place.start_scheduler("c1")
        place.hire("w2")
        place.complete(*jobs, seconds=180)
        assert place.barrier()[:2] == ("complete", ""), place.barrier()
        found = place.restored_sum({source: row["id"] for source, row in place.newest().items()})
        assert found == SUM, (found, SUM)
        application.over = True


def main():
    whole = os.environ.get("HOLDFAST_FAULTS") == "whole"
    nobody_comes()
    hold_fails()
    release_fails()
    only_time()
    dies(Plain, "group.held", "group.member_failed", ["shop hold ", "shop release lost"])
    dies(Plain, "group.settled", "group.member_failed", ["shop hold ", "shop release lost"], worker=True)
    if whole:
        dies(Plain, "group.arrived", "group.member_failed", [])
        dies(Plain, "group.holding", "group.member_failed", ["shop release lost"])
        dies(Plain, "group.passed", "group.member_failed", ["shop hold ", "shop release lost"])
        dies(Plain, "backup.stored", "group.member_failed", ["shop hold ", "shop release "])


if __name__ == "__main__":
    main()
