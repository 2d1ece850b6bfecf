# SPDX-License-Identifier: Apache-2.0
"""Proofs that are killed at each of their steps, and throw-away servers that hang: nothing of them goes on, nothing is left,
and the next attempt proves what the dead one could not."""
import os
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from stand import Proving, wait_until  # noqa: E402


def killed(place):
    """kill -9 of the job at each step: its server ends with it, and the worker's next look removes what is left."""
    for point in ("proof.made", "sandbox.server", "proof.restored", "sandbox.stopped", "proof.checked"):
        place.again("", {"HOLDFAST_CRASHPOINT": "1", "HOLDFAST_CRASHPOINT_ONLY": point})
        assert place.command("verify", "bank@latest", "--level", "restore", "--wait").returncode != 0, point
        wait_until(lambda: not place.running(), 60, f"nothing runs after {point}: {place.running()}")
        place.again("")
        place.proved("s1", "ok")


def worker_killed(place):
    """kill -9 of the worker: its job and the server in it end, and the next attempt proves the backup."""
    def kill(_):
        place.kill("w1")
        wait_until(lambda: not place.running(), 60, f"nothing runs: {place.running()}")
        place.hire("w1")
    result, checks, _ = place.stopped_at("proof.restored", kill)
    assert result == "ok" and place.count("SELECT max(attempt) FROM job WHERE kind = 'verify'") == 2, (result, checks)
    place.clean()


def hangs(place):
    """A server that does not go on is killed, and the try called too late."""
    def freeze(child):
        for line in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                number, words = line.parent.name, line.read_text().rsplit(")", 1)[1].split()
                where = os.readlink(line.parent / "cwd")
            except OSError:
                continue
            if f"{place.sandbox}/" in where and words[0] != "Z":
                os.kill(int(number), signal.SIGSTOP)
    result, checks, _ = place.stopped_at("proof.restored", freeze, more=", stall: 60s")
    assert result == "too_late" and checks["cause"] == "proof.stalled", (result, checks)
    place.clean()
    assert place.proof("bank")["verdict"] == "too_late"


def main():
    with Proving(workers=1, sources=1) as place:
        place.complete(place.run("s1"), place.run("bank"))
        killed(place)
        worker_killed(place)
        hangs(place)
        place.check()
    print("proofs that die or hang leave nothing")


if __name__ == "__main__":
    main()
