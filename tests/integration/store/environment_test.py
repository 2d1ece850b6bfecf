# SPDX-License-Identifier: Apache-2.0
"""A store in S3 that names no keys: those of the worker's own environment reach its jobs, over the pipe that orders
come by; no job has them in its environment or arguments, and no program that a job starts, no log and no row."""
import os
import pathlib
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests/harness"), str(pathlib.Path(__file__).parent)]
from queue_test import OnS3, same, SECRETS  # noqa: E402


class ByEnvironment(OnS3):
    storage_class = None

    def fleet(self, *words):
        text = super().fleet(*words)
        named = ", access_key: {credential: s3-id}, secret_key: {credential: s3-key}"
        assert named in text, text
        return text.replace(named, "")

    def hire(self, name, environment=None, faults=False):
        super().hire(name, {**(environment or {}), "AWS_ACCESS_KEY_ID": "WORKER", "AWS_SECRET_ACCESS_KEY": SECRETS["WORKER"]}, faults)


def descendants(pid):
    try:
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [each for child in children for each in [child, *descendants(child)]]


def bytes_of(pid, part):
    try:
        return pathlib.Path(f"/proc/{pid}/{part}").read_bytes()
    except OSError:
        return b""  # it has ended


class Watch(threading.Thread):
    """Looks at every program below the worker for as long as there is one."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.seen, self.found, self.over = pid, set(), [], False

    def run(self):
        own = bytes_of(self.pid, "cmdline")
        while not self.over:
            for pid in descendants(self.pid):
                words = bytes_of(pid, "cmdline")
                if words in (b"", own):
                    continue  # a process that is the worker still, before it becomes another program
                self.seen.add(pid)
                self.found += [(pid, part) for part, text in (("cmdline", words), ("environ", bytes_of(pid, "environ")))
                               if SECRETS["WORKER"].encode() in text]
            time.sleep(0.002)


def main():
    with ByEnvironment(workers=1, sources=1, files=20, file_bytes=300_000) as place:
        watch = Watch(place.processes["w1"].pid)
        watch.start()
        place.complete(place.run("s1"))
        same(place.top / "tree" / "s1", place.restore())
        watch.over = True
        watch.join()
        assert watch.seen and not watch.found, (watch.seen, watch.found)
        for path in (place.top / "log").iterdir():
            assert SECRETS["WORKER"] not in path.read_text(errors="replace"), path
        rows = place.catalogue.one("SELECT string_agg(to_jsonb(j)::text, '') || (SELECT string_agg(to_jsonb(a)::text, '') FROM job_attempt a) FROM job j")
        assert rows and SECRETS["WORKER"] not in rows
        place.server.shutdown()
    print("keys of the worker's environment reached its jobs, and nothing else")


if __name__ == "__main__":
    assert os.environ.pop("AWS_ACCESS_KEY_ID", None) is None
    main()
