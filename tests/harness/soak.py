# SPDX-License-Identifier: Apache-2.0
"""The soak: an installation in which everything happens at once. Writers back up trees that change and come
back, one of them on a stolen worker that forges packs; retention, deletions by hand and the collector take
away; restores and checks read; and anything is killed or stopped at any moment. At the end every backup that
was committed and not let go comes back byte for byte, nothing that was let go is there, and a catalogue that
is dropped and rebuilt from the store knows the same backups."""
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time

import invariants
from installation import BUILD, Installation, wait_until
from soak_writers import ENDED, KEPT, Forger, Writer, tree_of

FORGED = "forged"
# Not which packs: of two that hold a chunk either will do.
RESTORE_SET = ("SELECT s.name, b.id, b.sequence, b.outcome, encode(b.manifest_sha256, 'hex'), b.index_object, encode(b.index_sha256, 'hex'), "
               "b.consistent_at, b.entries, b.bytes, b.stored_bytes, b.new_bytes, b.parent, b.key_set "
               f"FROM backup b JOIN source s ON s.no = b.source WHERE b.deleted_at IS NULL AND s.name <> '{FORGED}' ORDER BY b.id")
# Errors of statements that the soak itself causes: a server that was killed, and what is refused for a reason.
EXPECTED = ("connection to server", "server closed the connection", "terminating connection", "no backup has the id",
            "this backup is not deleted", "fenced", "is frozen since")
# Every run of the collector looks for orphans, and only open sessions keep one: no clock spares what is needed.
TIMERS = {"collect_few": 100000, "prune_every_s": 5, "orphan_scan_s": 0, "orphan_age_s": 0, "orphan_keep_s": 5}


def differences(before, after):
    """Of two sorted restore sets: which rows only one has, and what else of a row."""
    old, new = ({row[1]: row for row in rows} for rows in (before, after))
    for backup in sorted(old.keys() ^ new.keys()):
        yield f"{backup} {'did not come back' if backup in old else 'came, and was not there'}"
    for backup in sorted(old.keys() & new.keys()):
        yield from (f"{backup}: {a} is {b} now" for a, b in zip(old[backup], new[backup]) if a != b)


class SoakInstallation(Installation):
    """Short timers, a collector that may, two policies: a slow one, so that jobs meet each other."""

    def fleet(self, rate, policy, schedule, retry):
        policies = "".join(
            f"  {name}: {{schedule: \"0 0 1 1 *\", copies: [{{store: main, keep_last: {KEPT}}}]{limits}}}\n"
            for name, limits in (("fast", ""), ("slow", ", limits: {rate: 1MiB/s}")))
        sources = "".join(f"  {s}: {{type: files, policy: {'fast' if n % 2 else 'slow'}, paths: [{self.top}/tree/{s}]}}\n"
                          for n, s in enumerate(self.sources))
        return ("version: 1\nfleet: soak\n"
                f"defaults: {{timezone: UTC, encryption: local, retry: {{{retry}}}}}\n"
                f"keys: {{local: {{}}}}\nstores: {{main: {{type: local, path: {self.store}}}}}\n"
                f"policies:\n{policies}sources:\n{sources}")


# Where a worker's children stop or kill themselves: moments that a signal from outside seldom meets.
POINTS = ("collect.condemned", "collect.condemned", "collect.condemned", "collect.flipped", "collect.epoch", "collect.told",
          "collect.confirmed", "collect.deleted", "collect.gone", "forget.deleted", "forget.said", "forget.unmarked", "forget.manifest",
          "repack.looked", "repack.staged", "repack.before", "repack.before", "repack.committed", "orphan.moving", "orphan.copied", "orphan.removed", "orphan.quarantined", "forget.objects", "repo.pack_durable", "repo.packs_staged", "repo.index_durable", "repo.manifest_durable", "commit.before",
          "commit.after", "commit.marked")


def state_of(pid):
    """As ps says it: T is stopped. Empty when it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""


class Chaos:
    """Kills and stops anything; brings back what died."""

    def __init__(self, place, seed):
        self.place, self.chance = place, random.Random(f"{seed} chaos")
        self.stopped = {}  # pid: until when
        self.done = {}
        self.over = False
        self.next = time.monotonic() + 3

    def children(self, name):
        pid = self.place.processes[name].pid
        try:
            return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
        except OSError:
            return []

    def collector(self):
        """The children of the worker that collects."""
        name = self.place.catalogue.one("SELECT w.name FROM job j JOIN lease l ON l.job = j.id JOIN worker w ON w.no = l.worker "
                                        "WHERE j.kind IN ('prune', 'retention') AND j.state = 'running' LIMIT 1")
        return self.children(name) if name in self.place.processes else []

    def victims(self, what):
        workers = [n for n in self.place.processes if n.startswith("w") and self.place.processes[n].poll() is None]
        if what == "worker":
            return [self.place.processes[n].pid for n in workers]
        if what == "child":
            return [pid for n in workers for pid in self.children(n)]
        if what == "collector":
            return self.collector()
        if what == "scheduler":
            return [self.place.processes["c1"].pid]
        return [self.place.redis.process.pid if what == "redis" else self.place.postgres.process.pid]

    def strike(self):
        what = self.chance.choices(("worker", "child", "collector", "scheduler", "redis", "catalogue"), (4, 4, 6, 2, 2, 1))[0]
        victims = [pid for pid in self.victims(what) if pid not in self.stopped]
        if not victims:
            return
        pid, stop = self.chance.choice(victims), what != "catalogue" and self.chance.random() < 0.5
        how = signal.SIGSTOP if stop else signal.SIGQUIT if what == "catalogue" else signal.SIGKILL
        try:
            os.kill(pid, how)
        except ProcessLookupError:
            return
        if stop:
            self.stopped[pid] = time.monotonic() + self.chance.uniform(0.3, 7)
        self.count(f"{what} {'stopped' if stop else 'killed'}")

    def wake(self, all_of_them=False):
        for pid, until in list(self.stopped.items()):
            if all_of_them or time.monotonic() >= until:
                del self.stopped[pid]
                try:
                    os.kill(pid, signal.SIGCONT)
                except ProcessLookupError:
                    pass

    def rest(self):
        """Children that stopped themselves are woken like all others, after a while."""
        for name in self.place.processes:
            for pid in self.children(name) if name.startswith("w") else ():
                if pid not in self.stopped and state_of(pid) == "T":
                    self.count("itself stopped")
                    self.stopped[pid] = time.monotonic() + self.chance.uniform(0.2, 6)

    def count(self, what):
        self.done[what] = self.done.get(what, 0) + 1

    def weak_spot(self):
        """The environment of a worker whose children stop, or die, at one point."""
        if self.over or self.chance.random() < 0.3:
            return {}
        return {"HOLDFAST_CRASHPOINT": "1", "HOLDFAST_CRASHPOINT_ONLY": self.chance.choice(POINTS),
                "HOLDFAST_CRASHPOINT_HOW": self.chance.choice(("stop", "stop", "kill"))}

    def nurse(self):
        """Whoever died is started again."""
        place = self.place
        if place.postgres.process.poll() is not None:
            place.postgres.start()
        if place.redis.process.poll() is not None:
            place.redis.start()
        for name, process in list(place.processes.items()):
            if process.poll() is not None:
                place.start_scheduler(name) if name.startswith("c") else place.hire(name, self.weak_spot())

    def look(self):
        self.rest()
        self.wake()
        self.nurse()
        if time.monotonic() >= self.next:
            self.next = time.monotonic() + self.chance.uniform(0.4, 3)
            self.strike()

    def new_workers(self):
        for name in [n for n in self.place.processes if n.startswith("w")]:
            self.place.kill(name)
        self.nurse()

    def end(self):
        """Every worker is a new one, without a weak spot."""
        self.over = True
        self.wake(True)
        self.new_workers()


class Soak:
    def __init__(self, place, seed, writers):
        self.place, self.chance = place, random.Random(f"{seed} operator")
        self.chaos = Chaos(place, seed)
        self.writers = [Writer(place, s, seed) for s in place.sources[:writers]]
        self.forger = Forger(place, FORGED, seed)
        self.ledger = {}      # backup: (source, hash of its tree)
        self.let_go = set()   # backups that an operator deleted
        self.restores = {}    # job: (backup, where to)
        self.problems = []
        self.outcomes = {}

    # --- while it goes on ------------------------------------------------------------------------

    def create(self, kind, source=None, params=None):
        name = f"'{source}'" if source else "NULL"
        return int(self.place.catalogue.one(
            f"SELECT job FROM job_create('{kind}', 'manual', {name}, NULL, '{json.dumps(params or {})}', 'soak', NULL, 0, NULL)"))

    def wrong(self, text):
        self.problems.append(text)
        print(f"wrong: {text}", flush=True)

    def hear(self):
        """What became of the jobs that are waited for."""
        waited = [w.job for w in self.writers if w.job] + list(self.restores)
        if not waited:
            return
        rows = self.place.catalogue.rows(
            "SELECT j.id, j.kind, j.state, coalesce(j.cause || ': ' || j.error, ''), coalesce(b.id::text, '') FROM job j "
            f"LEFT JOIN backup b ON b.job = j.id WHERE j.id IN ({','.join(map(str, waited))})")
        for job, kind, state, error, backup in rows:
            if state not in ENDED:
                continue
            if kind == "restore":
                self.restored(int(job), state, error)
            for writer in self.writers:
                if writer.job == int(job):
                    self.backed_up(writer, state, error, backup)

    def backed_up(self, writer, state, error, backup):
        if state == "completed" and backup:
            self.ledger[backup] = (writer.source, writer.hash)
        elif writer.source != FORGED:
            self.wrong(f"job {writer.job} of {writer.source}: {state} {error}")
        writer.ended()

    def restored(self, job, state, error):
        backup, to = self.restores.pop(job)
        source, tree = self.ledger[backup]
        if state == "completed":
            if tree_of(to / str(self.place.top / "tree" / source).lstrip("/")) != tree and source != FORGED:
                self.wrong(f"backup {backup} of {source} came back otherwise")
        elif error.startswith("job.died: "):
            self.restore(backup)  # whoever waits for a restore is told at once, and asks again
        elif source != FORGED and not self.deleted(backup):
            self.wrong(f"backup {backup} of {source} did not come back: {state} {error}")
        shutil.rmtree(to, ignore_errors=True)

    def deleted(self, backup):
        return self.place.catalogue.one(f"SELECT deleted_at IS NOT NULL FROM backup WHERE id = '{backup}'") == "t"

    def restore(self, backup):
        to = self.place.top / "restore" / f"{backup}-{len(self.outcomes)}-{self.chance.randrange(1 << 30)}"
        job = self.create("restore", params={"backup": backup, "target": {"path": str(to)}})
        self.restores[job] = (backup, to)

    def there(self):
        """Backups of the ledger that nobody let go."""
        have = {row[0] for row in self.place.catalogue.rows("SELECT id FROM backup WHERE deleted_at IS NULL")}
        return [b for b in self.ledger if b in have]

    def operate(self):
        """One thing that an operator or a clock would do."""
        what = self.chance.random()
        backups = self.there()
        if what < 0.3:
            self.create("retention", self.chance.choice(self.place.sources))
        elif what < 0.6:  # who sees one waiting asks for no other
            if not self.place.count("SELECT count(*) FROM job WHERE kind = 'prune' AND trigger = 'manual' AND state IN ('pending', 'queued')"):
                self.place.catalogue.one("SELECT job FROM repository_job('prune', 'manual', 'main', 'local', '{}', 'soak', NULL)")
        elif what < 0.7 and backups:
            backup = self.chance.choice(backups)
            self.let_go.add(backup)
            self.place.catalogue.one(f"SELECT job FROM backup_delete('{backup}', NULL, 'the soak says so', 'soak', NULL)")
        elif what < 0.85 and backups:
            self.create("verify", params={"backup": self.chance.choice(backups), "level": self.chance.choice(("content", "stored"))})
        elif backups and len(self.restores) < 3:
            self.restore(self.chance.choice(backups))

    def step(self):
        """What fails because of what the soak itself does to the servers, or is refused, is done again another time."""
        self.chaos.look()
        try:
            self.hear()
            for writer in self.writers:
                if writer.job is None:
                    writer.ask()
            self.forger.look()
            if self.chance.random() < 0.4:
                self.operate()
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            text = str(error)
            if isinstance(error, RuntimeError) and not any(word in text for word in EXPECTED):
                raise
            key = ("soak", "refused", next((word for word in EXPECTED if word in text), text[:80]))
            self.outcomes[key] = self.outcomes.get(key, 0) + 1
        time.sleep(0.15)

    def run(self, seconds):
        self.chaos.new_workers()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.step()

    # --- the end ---------------------------------------------------------------------------------

    def settle(self):
        """Faults have stopped: every job ends."""
        self.chaos.end()
        self.place.do("UPDATE setting SET value = 864000 WHERE name = 'prune_every_s'")
        def quiet():
            self.chaos.nurse()
            self.hear()
            return not self.restores and not any(w.job for w in self.writers)
        wait_until(quiet, 300, "all that was asked for ended")
        self.place.settle(300)

    def finish(self, kind, *sources):
        for source in sources or (None,):
            if kind == "prune":
                job = int(self.place.catalogue.one("SELECT job FROM repository_job('prune', 'manual', 'main', 'local', '{}', 'soak', NULL)"))
            else:
                job = self.create(kind, source)
            self.place.wait_job(job, seconds=120)
            if self.place.state(job) != "completed" and source != FORGED:
                self.wrong(f"the last {kind}: " + str(self.place.catalogue.rows(f"SELECT state, error FROM job WHERE id = {job}")))

    def last_backups(self):
        """Of every source once more, so that the newest is the tree of now; the forged one's is nobody's measure."""
        for writer in self.writers:
            writer.ask()
        wait_until(lambda: self.hear() or not any(w.job for w in self.writers), 300, "the last backups")

    def collect_all(self):
        """Retention, then the collector, with the passes against late writes at once."""
        self.finish("retention", *[s for s in self.place.sources if s != FORGED])
        for _ in range(3):
            self.place.do("UPDATE pack SET again_at = clock_timestamp() - interval '1 second' WHERE again_at IS NOT NULL")
            self.finish("prune")

    def restore_all(self):
        """How many of the ledger are lost: not there though nobody let them go, or not as they were."""
        before = len(self.problems)
        there = [b for b in self.there() if self.ledger[b][0] != FORGED]
        for backup in there:
            self.restore(backup)
            wait_until(lambda: self.hear() or len(self.restores) < 8, 300, "restores")
        wait_until(lambda: self.hear() or not self.restores, 300, "the last restores")
        for source in [w.source for w in self.writers if w.source != FORGED]:
            mine = [b for b in self.ledger if self.ledger[b][0] == source]
            for backup in mine[-KEPT:]:
                if backup not in self.let_go and backup not in there:
                    self.wrong(f"backup {backup} of {source} is not there, and nobody let it go")
        return len(self.problems) - before

    def extra(self):
        """What was let go and is there nevertheless."""
        place = self.place
        base = place.store / "local"
        known = {row[0]: row[1] for row in place.catalogue.rows("SELECT object, state FROM pack")}
        gone = {row[0] for row in place.catalogue.rows("SELECT id FROM backup WHERE gone_at IS NOT NULL")}
        found = [f"pack {p.name} is {known.get(p.name, 'of no row')}" for p in (base / "packs").rglob("*")
                 if p.is_file() and not p.name.startswith(".") and known.get(p.name, "deleted") == "deleted"]
        backups = {row[0] for row in place.catalogue.rows("SELECT id FROM backup")}
        for folder in ("commits", "manifests", "parents"):
            found += [f"{folder}/{p.name} of a backup that {'was let go' if p.name[:36] in gone else 'nobody committed'}"
                      for p in (base / folder).iterdir() if p.name[:36] in gone or p.name[:36] not in backups]
        return found

    def check(self):
        place = self.place
        place.heal()
        options = place.options()
        forged = {row[0] for row in place.catalogue.rows(
            f"SELECT b.id FROM backup b JOIN source s ON s.no = b.source WHERE s.name = '{FORGED}'")}
        found = [each for each in invariants.check(options) if each[2].split(" ")[0] not in forged]
        if found:
            self.wrong(invariants.describe(found))

    def rebuild(self):
        """The catalogue is dropped and told again: what differs."""
        place = self.place
        before = place.catalogue.rows(RESTORE_SET)
        for name, process in place.processes.items():
            if process.poll() is None:
                place.kill(name)
        place.sql_in("postgres", "DROP DATABASE holdfast WITH (FORCE); CREATE DATABASE holdfast OWNER holdfast_admin")
        place.program("scheduler", "c1", "migrate")
        done = subprocess.run([str(BUILD / "holdfast-worker"), "once", "rebuild", "--store", str(place.store), "--key-set", "local", "--keys",
                               str(place.top / "keys"), "--catalogue", place.postgres.conninfo().replace("user=postgres", "user=holdfast_admin"),
                               "--json"], capture_output=True, text=True, check=False)
        after = place.catalogue.rows(RESTORE_SET)
        lines = list(differences(before, after))
        for line in lines:
            self.wrong(f"rebuilt: {line[:400]}")
        if lines:
            print(done.stdout[-3000:], done.stderr[-2000:])

    def repacked(self):
        return self.place.count("SELECT sum((detail ->> 'repacked')::bigint) FROM audit_event WHERE action = 'repository.prune'")

    def laid_aside(self):
        return self.place.count("SELECT count(*) FROM orphan WHERE state IN ('quarantined', 'deleted')")

    def freed(self):
        return self.place.count("SELECT sum((detail ->> 'freed')::bigint) FROM audit_event WHERE action = 'repository.prune'")

    def jobs(self):
        for kind, state, count in self.place.catalogue.rows("SELECT kind, state, count(*) FROM job GROUP BY 1, 2"):
            self.outcomes[(kind, state)] = int(count)
        for cause, count in self.place.catalogue.rows("SELECT coalesce(kind || ' ' || cause, kind), count(*) FROM job WHERE state = 'failed' GROUP BY 1"):
            self.outcomes[("failed:", cause)] = int(count)

    def tell(self):
        for key, count in sorted(self.outcomes.items()):
            print(f"  {count:5} {' '.join(key)}")
        for key, count in sorted(self.chaos.done.items()):
            print(f"  {count:5} {key}")
        print(f"  {self.forger.packs:5} packs forged")


class Verdict:
    """The line of what was found, and whether all is well: the checker of the invariants was asked too."""

    def __init__(self, line, fine):
        self.line, self.fine = line, fine

    def check(self):
        assert self.fine, self.line


def soak(seed, seconds, writers=8, workers=3):
    """Runs one."""
    sources = [f"s{i}" for i in range(1, writers)] + [FORGED]
    with SoakInstallation(workers=workers, sources=len(sources), names=sources, files=3, file_bytes=20000, prune=True, timers=TIMERS) as place:
        (place.top / "kept").mkdir()
        one = Soak(place, seed, writers)
        one.run(seconds)
        one.settle()
        one.last_backups()
        one.collect_all()
        lost = one.restore_all()
        extra = one.extra()
        for each in extra:
            one.wrong(each)
        one.check()
        one.jobs()
        one.outcomes[("packs", "repacked")] = one.repacked()
        one.outcomes[("orphans", "laid aside")] = one.laid_aside()
        freed, backups = one.freed(), len(one.ledger)
        one.rebuild()
        one.tell()
        line = f"backups={backups} lost={lost} extra={len(extra)} freed={freed}"
        if one.problems:
            place.logs(40)
        return Verdict(line, not one.problems and freed > 0)
