# SPDX-License-Identifier: Apache-2.0
"""The store that a restore reads goes away in the middle of it, a directory and a bucket's server: the restore goes on
from the next place, byte for byte, says so in its answer and in its log, and waits for the lost one but once."""
import json
import os
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from copy_test import same  # noqa: E402
from installation import wait_until  # noqa: E402
from places_test import Places  # noqa: E402

FILES = 400


class Killed(Places):
    def begin(self, name, *words):
        """A restore of s2 on its way; where it goes, and its job."""
        out = self.top / "restore" / name
        self.must("restore", "s2@latest", "--to", out, "--yes", *words)
        return pathlib.Path(f"{out}{self.top}/tree/s2"), self.count("SELECT max(id) FROM job WHERE kind = 'restore'")

    def child(self):
        """The process of the job that runs."""
        worker = self.processes["w1"].pid
        children = pathlib.Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
        return int(children[0]) if children else None

    def befalls(self, **fault):
        """Every request to the server from now on."""
        path = self.top / "s3" / "control.json"
        said = json.loads(path.read_text())
        said["faults"] = [{"id": fault["kind"], "times": 1000000, **fault}]
        fresh = self.top / "s3" / "control.new"
        fresh.write_text(json.dumps(said))
        fresh.rename(path)

    def end(self, job, back):
        self.complete(job)
        same(self.top / "tree/s2", back)
        return self.catalogue.one(f"SELECT answer FROM job_answer WHERE job = {job}")


def told(place, answer, job, lost, other):
    answer = json.loads(answer)
    assert answer["from"] == lost and answer["damaged"] == 0, answer
    assert [row["store"] for row in answer["elsewhere"]] == [other] and answer["elsewhere"][0]["bytes"] > 0, answer
    text = place.catalogue.one(f"SELECT text FROM job_log WHERE job = {job} AND event = 'restore.elsewhere'")
    assert f"{other} gives what {lost} has lost" in text, text


def a_directory(place):
    """Its process is stopped with some files written, and goes on when the store is gone."""
    back, job = place.begin("directory")
    end = time.monotonic() + 60
    while not (back.is_dir() and sum(1 for _ in os.scandir(back)) > 5):
        assert time.monotonic() < end, "it never begins"
    child = place.child()
    os.kill(child, signal.SIGSTOP)
    written = sum(1 for path in back.iterdir() if path.stat().st_size > 0)
    assert 0 < written < FILES, f"not in the middle: {written}"
    (place.store / "local/packs").rename(place.top / "gone")
    os.kill(child, signal.SIGCONT)
    told(place, place.end(job, back), job, "main", "second")
    (place.top / "gone").rename(place.store / "local/packs")


def a_bucket(place):
    """Each answer takes a while; the server dies when some packs have come from it."""
    place.befalls(kind="late", op="GetObject", seconds=0.25)
    back, job = place.begin("bucket", "--from", "cloud")

    def reads():
        log = (place.top / "s3/log").read_text()
        return sum('"op": "GetObject"' in line and "/packs/" in line for line in log.splitlines())
    before = reads()
    wait_until(lambda: reads() >= before + 4, what="it reads packs")
    place.befalls(kind="reset")
    begun = time.monotonic()
    told(place, place.end(job, back), job, "cloud", "main")
    # Half a minute of tries at most lanes at once, not one for each of the packs.
    assert time.monotonic() - begun < 120, time.monotonic() - begun


def main():
    with Killed(workers=1, sources=2, files=FILES, file_bytes=700_000) as place:
        place.complete(place.run("s2"))
        place.copied(2)
        a_directory(place)
        a_bucket(place)
        place.server.shutdown()
    print("restores outlived their stores")


if __name__ == "__main__":
    main()
