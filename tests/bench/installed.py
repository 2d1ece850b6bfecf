# SPDX-License-Identifier: Apache-2.0
"""Holdfast as its users have it: a scheduler, a worker, PostgreSQL and Redis, all on this machine, with
the timers and the durability of a real installation. A verb is the operator's command and lasts until
the command returns: the queue, the claim, the job's process and the commit are in its time."""
import json
import os
import pathlib
import subprocess
import threading
import time

from installation import BUILD, Installation
from timing import bytes_below

DURABLE = ("-c", "fsync=on", "-c", "shared_buffers=256MB")


def files(path):
    """The line of a fleet file that names a tree."""
    return f"  s1: {{type: files, policy: p, paths: [{path}]}}\n"


class Plain(Installation):
    """Programs that reach their servers directly, with the timers they ship with."""
    base_timers = {}

    def __init__(self, store, sources, targets, bucket=None):
        """sources: the lines of the fleet file that say what s1, s2, ... are."""
        self.lines, self.targets, self.bucket = sources, targets, bucket
        super().__init__(workers=1, sources=1, store=store, postgres_options=DURABLE, prune=True)

    def grow(self, source, files, file_bytes):
        """It is there already."""

    def servers(self, name):
        return f"host=127.0.0.1 port={self.postgres.port}", f"redis://127.0.0.1:{self.redis.port}/0"

    def make_keys(self):
        if self.bucket is not None:
            for name, text in self.bucket.secrets():
                (self.top / "credentials" / name).write_text(text + "\n", encoding="ascii")
                (self.top / "credentials" / name).chmod(0o600)
            os.environ.update(self.bucket.environment())  # for `repo create`
            self.store = f"s3://backups/ours?endpoint={self.bucket.endpoint}&ca_file={self.bucket.authority}"
        super().make_keys()

    def store_of_fleet(self):
        if self.bucket is None:
            return f"{{type: local, path: {self.store}}}"
        keys = "access_key: {credential: s3-id}, secret_key: {credential: s3-key}"
        return (f"{{type: s3, bucket: backups, prefix: ours/, endpoint: '{self.bucket.endpoint}', ca_file: {self.bucket.authority}, "
                f"{keys}, prune_{keys.replace(', secret', ', prune_secret')}}}")

    def fleet(self, rate, policy, schedule, retry):
        return ("version: 1\nfleet: bench\ndefaults: {timezone: UTC, encryption: local}\nkeys: {local: {}}\n"
                f"stores: {{main: {self.store_of_fleet()}}}\n"
                "policies: {p: {schedule: \"0 0 1 1 *\", copies: [{store: main}]}}\n"
                f"sources:\n{self.lines}")

    def restore_paths(self):
        return [self.targets]

    def enroll(self, name):
        super().enroll(name)
        own = self.top / f"{name}.yaml"
        own.write_text(f"api: http://127.0.0.1:{self.api_c1}\n" + own.read_text().replace("restore: {", "restore: {servers: [127.0.0.1], "))


class PeakMemory:
    """The largest resident set of any child of the worker while the verb runs, in MiB."""

    def __init__(self, worker):
        self.worker, self.most, self.over = worker, 0, threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *ignored):
        self.over.set()
        self.thread.join()

    def watch(self):
        while not self.over.wait(0.02):
            try:
                children = pathlib.Path(f"/proc/{self.worker}/task/{self.worker}/children").read_text(encoding="ascii").split()
                for child in children:
                    for line in pathlib.Path(f"/proc/{child}/status").read_text(encoding="ascii").splitlines():
                        if line.startswith("VmHWM:"):
                            self.most = max(self.most, int(line.split()[1]) / 1024)
            except OSError:
                pass  # it has just ended


class Holdfast:
    name = "holdfast"

    def __init__(self, place, sources, bucket=None, installation=Plain):
        self.peak = 0
        self.stored = bucket.below("ours") if bucket else pathlib.Path(place) / "repository"
        self.stored.mkdir()
        self.installation = installation(self.stored, sources, pathlib.Path(place).parent, bucket)
        top = self.installation.top
        self.command = [str(BUILD / "holdfast"), "--server", f"http://127.0.0.1:{self.installation.api_c1}", "--token-file",
                        str(top / "secrets" / "token")]

    def close(self):
        self.installation.close()

    def verb(self, *words):
        worker = self.installation.processes["w1"].pid
        before = self.children_seconds(worker)
        begun = time.monotonic()
        with PeakMemory(worker) as memory:
            done = subprocess.run([*self.command, *map(str, words), "--wait"], capture_output=True, text=True, check=False)
        wall = time.monotonic() - begun
        self.peak = max(self.peak, memory.most)
        if done.returncode != 0:
            raise AssertionError(f"{words}: {done.returncode}: {done.stdout}{done.stderr}")
        while pathlib.Path(f"/proc/{worker}/task/{worker}/children").read_text(encoding="ascii").strip():
            time.sleep(0.01)  # the command may be back before the worker has waited for the job's process
        return wall, self.children_seconds(worker) - before

    @staticmethod
    def children_seconds(worker):
        """Of the children that the worker has waited for."""
        fields = pathlib.Path(f"/proc/{worker}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")

    def backup(self):
        return self.verb("run", "s1")

    def check(self):
        return self.verb("verify", "s1@latest", "--level", "content")

    def restore(self, target):
        return self.verb("restore", "s1@latest", "--to", target, "--yes")

    def prune(self):
        """All but the newest backup are forgotten, and what only they needed is deleted."""
        listed = subprocess.run([*self.command, "backup", "list", "s1", "-o", "json"], capture_output=True, text=True, check=True)
        seconds = [self.verb("backup", "delete", backup["id"], "--reason", "bench") for backup in older(json.loads(listed.stdout))]
        seconds.append(self.verb("prune", "main"))
        return tuple(map(sum, zip(*seconds)))

    def size(self):
        return bytes_below(self.stored)


def older(listed):
    """All but the newest: ids follow time."""
    return sorted(listed, key=lambda backup: backup["id"])[:-1]
