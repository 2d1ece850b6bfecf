# SPDX-License-Identifier: Apache-2.0
"""A group through real servers: a database and the files beside it, while an application moves money between the two.
Each movement stands half in the one and half in the other for a moment, so that only backups of one common instant
add up. What keeps the application still is a hook; what breaks the barrier is told by name, releases the application,
and leaves backups that stand alone."""
import json
import os
import pathlib
import random
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests/harness"))
from installation import BINARIES, BUILD, Installation, Postgres, wait_until  # noqa: E402

FILES, ACCOUNTS, EACH = 24, 50, 1000
SUM = (FILES + ACCOUNTS) * EACH
PAD = b"." * 100_000
NEVER = '"0 0 1 1 *"'


def ask(server, database, sql):
    done = subprocess.run([BINARIES + "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", server.conninfo(database), "-c", sql],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Application(threading.Thread):
    """Takes from an account, then gives it to a file: a movement is never seen whole but at rest. Rests when asked to."""

    def __init__(self, place):
        super().__init__(daemon=True)
        self.place, self.moved, self.over, self.failed = place, 0, False, None
        self.hold, self.idle = place.top / "gate" / "hold", place.top / "gate" / "idle"

    def give(self, name, cents):
        path = self.place.top / "tree" / "files" / name
        have = int(path.read_bytes().split(b"\n", 1)[0]) if path.exists() else 0
        fresh = path.with_suffix(".new")
        fresh.write_bytes(b"%d\n" % (have + cents) + PAD)
        fresh.rename(path)

    def run(self):
        pick = random.Random(7)
        asked = subprocess.Popen([BINARIES + "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.place.bank.conninfo("bank")],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            while not self.over:
                if self.hold.exists():
                    self.idle.touch()
                    time.sleep(0.01)
                    continue
                self.idle.unlink(missing_ok=True)
                cents = pick.randint(-3, 5)
                asked.stdin.write(f"UPDATE account SET cents = cents - {cents} WHERE id = {pick.randint(1, ACCOUNTS)}; SELECT 'done';\n")
                asked.stdin.flush()
                assert asked.stdout.readline() == "done\n"
                time.sleep(0.02)  # half of it is there
                self.give(f"f{pick.randint(0, FILES - 1):03}", cents)
                self.moved += 1
        except BaseException as error:  # the test's own thread tells it
            self.failed = error
        finally:
            asked.stdin.close()
            asked.wait()

    def went_on(self, at_least=20):
        """It is not held any more."""
        before = self.moved
        wait_until(lambda: self.failed or self.moved >= before + at_least, 60, "the application moves money again")
        assert not self.failed, self.failed


class Shop(Installation):
    hooks = ("hold-shop", "release-shop")
    timeout, gather = "120s", "300s"

    def build(self, *words):
        self.bank = Postgres(self.top / "bank", ["-c", "fsync=off"])
        ask(self.bank, "postgres", "CREATE DATABASE bank")
        ask(self.bank, "bank", f"CREATE TABLE account (id int PRIMARY KEY, cents bigint NOT NULL); INSERT INTO account SELECT i, {EACH} "
                               f"FROM generate_series(1, {ACCOUNTS}) i")
        (self.top / "gate").mkdir()
        super().build(*words)
        for name in range(FILES):
            (self.top / "tree" / "files" / f"f{name:03}").write_bytes(b"%d\n" % EACH + PAD)
        gate = self.top / "gate"
        self.hook("hold-shop", f"touch {gate}/hold\nuntil test -e {gate}/idle; do sleep 0.02; done")
        self.hook("release-shop", f"rm -f {gate}/hold")

    def hook(self, name, body):
        """Each tells what it was run for."""
        path = self.top / "hooks" / name
        path.write_text(f"#!/bin/sh\necho \"$HOLDFAST_GROUP $HOLDFAST_HOOK $HOLDFAST_OUTCOME\" >> {self.top}/gate/ran\n{body}\n")
        path.chmod(0o755)

    def ran(self):
        path = self.top / "gate" / "ran"
        return path.read_text().splitlines() if path.exists() else []

    def fleet(self, *words):
        text = super().fleet(*words)
        return text + (f"  bank: {{type: postgresql, policy: p, host: 127.0.0.1, port: {self.bank.port}, user: postgres, databases: [bank]}}\n"
                       f"groups: {{shop: {{members: [bank, files], policy: p, barrier: {{hold: hold-shop, release: release-shop, "
                       f"timeout: {self.timeout}, gather: {self.gather}}}}}}}\n")

    def enroll(self, name):
        super().enroll(name)
        own = self.top / f"{name}.yaml"
        own.write_text(own.read_text().replace("allow:\n", "allow:\n  hooks: [hold-shop, release-shop]\n").replace(
            "restore: {", "restore: {servers: [127.0.0.1], "))

    def command(self, *words):
        return subprocess.run([str(BUILD / "holdfast"), *map(str, words)], capture_output=True, text=True, timeout=300, check=False,
                              env={**os.environ, "HOLDFAST_SERVER": f"http://127.0.0.1:{self.api_c1}",
                                   "HOLDFAST_TOKEN_FILE": str(self.top / "secrets" / "token")})

    def must(self, *words):
        done = self.command(*words)
        assert done.returncode == 0, (words, done.stdout + done.stderr)
        return done.stdout

    def barrier(self):
        """The newest run of the group: state, code, and the members' jobs."""
        row = self.catalogue.rows("SELECT state, coalesce(code, ''), run FROM group_barriers ORDER BY made_at DESC LIMIT 1")[0]
        jobs = [int(each[0]) for each in self.catalogue.rows(f"SELECT job FROM group_seat WHERE run = '{row[2]}' ORDER BY n")]
        return row[0], row[1], jobs

    def ended(self):
        state, code, jobs = self.barrier()
        for job in jobs:
            self.wait_job(job, seconds=120)
        return self.barrier()[:2] + (jobs,)

    def restored_sum(self, backups):
        """Of what both backups give; the application goes on meanwhile."""
        self.count_of_copies = getattr(self, "count_of_copies", 0) + 1
        name = f"copy{self.count_of_copies}"
        if backups is None:
            self.must("restore", "shop@latest", "--to", f"bank={name},files={self.top}/restore/{name}", "--yes", "--wait")
            return self.sum_of(name)
        self.must("restore", backups["bank"], "--to", name, "--yes", "--wait")
        self.must("restore", backups["files"], "--to", self.top / "restore" / name, "--yes", "--wait")
        return self.sum_of(name)

    def sum_of(self, name):
        cents = int(ask(self.bank, name, "SELECT sum(cents) FROM account"))
        return cents + sum(int(path.read_bytes().split(b"\n", 1)[0]) for path in (self.top / "restore" / name).rglob("f???"))

    def newest(self):
        listed = json.loads(self.must("backup", "list", "--json"))
        return {source: next(each for each in listed if each["source"] == source) for source in ("bank", "files")}

    def close(self):
        if hasattr(self, "bank"):
            self.bank.stop()
        super().close()


def one_instant(place, application):
    """The application runs throughout; what is restored adds up every time."""
    for _ in range(3):
        place.must("run", "shop", "--wait")
        state, code, jobs = place.ended()
        assert (state, code) == ("complete", ""), (state, code, [place.catalogue.rows(f"SELECT event, text FROM job_log WHERE job = {j}") for j in jobs])
        newest = place.newest()
        assert newest["bank"]["barrier"] == newest["files"]["barrier"] and newest["bank"]["group"] == "shop", newest
        application.went_on()
        listed = json.loads(place.must("group", "list", "shop", "--json"))[0]
        assert listed["barrier"] == newest["bank"]["barrier"] and listed["released_at"], listed
        assert [each["backup"] for each in listed["members"]] == [newest["bank"]["id"], newest["files"]["id"]], listed
        found = place.restored_sum(None)
        assert found == SUM, (found, SUM)
    assert place.ran() == ["shop hold ", "shop release "] * 3, place.ran()


def nothing_holds(place, application):
    """The test itself: with a hook that keeps nobody still, the same barrier gives what does not add up."""
    place.hook("hold-shop", "true")
    for _ in range(6):
        place.must("run", "shop", "--wait")
        assert place.ended()[0] == "complete"
        found = place.restored_sum({source: row["id"] for source, row in place.newest().items()})
        if found != SUM:
            return
        application.went_on(3)
    raise AssertionError("six backups of a moving application add up: the test would see nothing")


def main():
    with Shop(workers=2, names=["files"], files=1, file_bytes=1) as place:
        application = Application(place)
        application.start()
        application.went_on()
        one_instant(place, application)
        nothing_holds(place, application)
        application.over = True


if __name__ == "__main__":
    main()
