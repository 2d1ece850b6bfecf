# SPDX-License-Identifier: Apache-2.0
"""The invariants of the job machine, checked on what a history left behind: the catalogue, Redis, the
store. Each that does not hold is printed with the rows that break it. A library, and a program:

    invariants.py --catalogue CONNINFO [--psql PSQL] [--running] [--redis HOST:PORT[,PORT...]]
                  [--store DIR --key-set NAME --keys DIR --worker PROGRAM] [--tree SOURCE=DIR]...
                  [--canary TEXT --log FILE...] [--broken "WHAT: WHY"]...

--running leaves out what holds only when all work has ended. --unacknowledged: nobody was there to
make Redis forget what has ended; --wait S: somebody is, and may take so long. Redis' password, if it
has one, is in REDISCLI_AUTH. --place NAME=DIR: where each store of several is. --tree: the newest
backup of SOURCE restores to exactly that directory.
--broken: a test broke this one itself, for that reason; that it holds nevertheless is a violation too."""
import argparse
import datetime
import glob
import hashlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ENDED = "('completed','partial','failed','cancelled','skipped','missed')"

# (invariant, what the rows say, statement). A row is a violation.
ALWAYS = [
    ("I1", "slots with several jobs",
     "SELECT source, schedule, slot, count(*) FROM job WHERE slot IS NOT NULL GROUP BY 1, 2, 3 HAVING count(*) > 1"),
    ("I1", "slots decided that the schedule has not reached",
     "SELECT j.id, j.slot, s.last_slot FROM job j JOIN schedule s ON s.source = j.source AND s.name = j.schedule "
     "WHERE j.slot > s.last_slot AND j.slot < clock_timestamp() - interval '2 minutes'"),
    ("I1", "slots in the future", "SELECT id, slot, created_at FROM job WHERE slot > created_at + interval '1 minute'"),
    ("I3", "jobs with several backups", "SELECT job, count(*) FROM backup GROUP BY 1 HAVING count(*) > 1"),
    ("I3", "backups that are not their job's last running attempt",
     "SELECT b.id, b.job, b.attempt, j.attempt FROM backup b JOIN job j ON j.id = b.job WHERE b.attempt <> j.attempt"),
    ("I3", "backups whose job or attempt says something else",
     "SELECT b.id, b.outcome, j.state, a.outcome FROM backup b JOIN job j ON j.id = b.job "
     "LEFT JOIN job_attempt a ON a.job = b.job AND a.attempt = b.attempt "
     "WHERE j.state <> b.outcome OR a.outcome IS DISTINCT FROM b.outcome"),
    ("I3", "sequences of a source with a gap or a double",
     # After a catalogue was set back a number may be given twice; what was imported may have gaps.
     "SELECT source, repository, count(*), max(sequence) FROM backup GROUP BY 1, 2 "
     "HAVING (count(*) <> max(sequence) OR count(DISTINCT sequence) <> count(*)) AND bool_and(origin = 'commit')"),
    ("I4", "attempts of one source and lane at the same time",
     "SELECT source, job, attempt, started_at, busy_until FROM (SELECT j.source, a.job, a.attempt, a.started_at, "
     "max(coalesce(a.ended_at, 'infinity')) OVER (PARTITION BY j.source, lane ORDER BY a.started_at, a.ended_at "
     "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS busy_until FROM job_attempt a JOIN job j ON j.id = a.job "
     "JOIN (VALUES (1), (2)) AS l(lane) ON j.lanes & lane <> 0) AS a WHERE started_at < busy_until"),
    ("I5", "slots of a limit held by what does not run",
     "SELECT l.scope, l.n, l.job, l.attempt, j.state, j.attempt FROM limit_slot l JOIN job j ON j.id = l.job "
     "WHERE j.state <> 'running' OR j.attempt <> l.attempt"),
    ("I5", "more at once than a pool's limit",
     "SELECT p.name, p.max_jobs, a.job, a.attempt FROM pool p JOIN job j ON j.pool = p.no JOIN job_attempt a ON a.job = j.id "
     "WHERE p.max_jobs IS NOT NULL AND p.max_jobs < (SELECT count(*) FROM job_attempt b JOIN job k ON k.id = b.job "
     "WHERE k.pool = p.no AND b.started_at <= a.started_at AND (b.ended_at IS NULL OR b.ended_at > a.started_at))"),
    ("I7", "backups that name packs which are gone or dying",
     "SELECT b.backup, u.no, p.state FROM backup_place b CROSS JOIN unnest(b.packs) AS u(no) LEFT JOIN pack p ON p.no = u.no "
     "AND p.repository = b.repository WHERE b.deleted_at IS NULL AND (p.no IS NULL OR p.state NOT IN ('live','condemned'))"),
    ("I8", "backup jobs that succeeded without a backup",
     "SELECT j.id, j.state FROM job j WHERE j.kind = 'backup' AND j.state IN ('completed','partial') "
     "AND NOT EXISTS (SELECT FROM backup b WHERE b.job = j.id) "
     # A log to which nothing came makes none.
     "AND NOT (j.cause = 'log.idle' AND EXISTS (SELECT FROM source s WHERE s.no = j.source AND s.spec ? 'log_of'))"),
    ("I8", "jobs that succeeded though none of their attempts did",
     # A retention job with nothing to let go is done when it is planned, which it is again when an attempt was lost that had let all go.
     "SELECT j.id, j.kind, j.state FROM job j WHERE j.state IN ('completed','partial') AND NOT (j.kind = 'retention' "
     "AND EXISTS (SELECT FROM decision d WHERE d.job = j.id AND d.code = 'retention.nothing')) "
     "AND NOT EXISTS (SELECT FROM job_attempt a WHERE a.job = j.id AND a.attempt = j.attempt AND a.outcome = j.state)"),
    ("I9", "attempts that do not ascend by one",
     "SELECT j.id, j.attempt, count(a.attempt), max(a.attempt) FROM job j LEFT JOIN job_attempt a ON a.job = j.id "
     "GROUP BY 1, 2 HAVING count(a.attempt) <> j.attempt OR coalesce(max(a.attempt), 0) <> j.attempt"),
    ("I9", "attempts that begin before the one before has ended",
     "SELECT a.job, a.attempt, a.ended_at, b.started_at FROM job_attempt a JOIN job_attempt b ON b.job = a.job "
     "AND b.attempt = a.attempt + 1 WHERE a.ended_at IS NULL OR a.ended_at > b.started_at"),
    ("I9", "claims given twice", "SELECT claim, count(*) FROM job_attempt GROUP BY 1 HAVING count(*) > 1"),
    ("I9", "backups committed outside their attempt",
     "SELECT b.id, b.committed_at, a.started_at, a.ended_at FROM backup b JOIN job_attempt a ON a.job = b.job "
     "AND a.attempt = b.attempt WHERE b.committed_at < a.started_at OR b.committed_at > a.ended_at"),
    ("I9", "answers of an attempt that was not the last",
     "SELECT w.job, w.attempt, j.attempt FROM job_answer w JOIN job j ON j.id = w.job WHERE w.attempt <> j.attempt"),
    ("I9", "leases that are not the running attempt's",
     "SELECT l.job, l.attempt, j.state, j.attempt FROM lease l JOIN job j ON j.id = l.job "
     "WHERE j.state <> 'running' OR j.attempt <> l.attempt"),
    ("I9", "running jobs without a lease",
     "SELECT j.id FROM job j WHERE j.state = 'running' AND NOT EXISTS (SELECT FROM lease l WHERE l.job = j.id)"),
    ("I2", "attempts that go on of jobs that do not run",
     "SELECT a.job, a.attempt, j.state, j.attempt FROM job_attempt a JOIN job j ON j.id = a.job "
     "WHERE a.ended_at IS NULL AND (j.state <> 'running' OR j.attempt <> a.attempt)"),
    ("I2", "sessions open of attempts that do not run",
     "SELECT s.job, s.attempt, s.repository, j.state, j.attempt FROM session s JOIN job j ON j.id = s.job "
     "WHERE s.state = 'open' AND (j.state <> 'running' OR j.attempt <> s.attempt)"),
]
# They compare instants of two transactions: a server's clock that was moved breaks them, not us.
TIMED = {"attempts of one source and lane at the same time", "more at once than a pool's limit",
         "attempts that begin before the one before has ended", "backups committed outside their attempt", "slots in the future"}
SETTLED = [
    ("I2", "jobs that have not ended", f"SELECT id, kind, state, attempt, losses, failures, error FROM job WHERE state NOT IN {ENDED}"),
    ("I2", "attempts that have not ended", "SELECT job, attempt FROM job_attempt WHERE ended_at IS NULL"),
    ("I2", "sessions left open", "SELECT job, attempt, repository FROM session WHERE state = 'open'"),
    ("I5", "slots of a limit still held", "SELECT scope, n, job FROM limit_slot WHERE job IS NOT NULL"),
]


class Catalogue:
    def __init__(self, conninfo, psql="psql"):
        self.conninfo, self.psql = conninfo, psql

    def all_rows(self, statements):
        """The rows of each statement, by one connection."""
        end = "\x1e"
        script = "SET search_path = holdfast;\n" + "".join(f"{sql};\n\\echo {end}\n" for sql in statements)
        done = subprocess.run([self.psql, "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-d", self.conninfo],
                              input=script, capture_output=True, text=True, check=False)
        answers = done.stdout.split(f"{end}\n")[:-1]
        if done.returncode != 0 or len(answers) != len(statements):
            raise RuntimeError(f"{(statements + [''])[len(answers)]}: {done.stderr.strip()}")
        return [[line.split("\t") for line in answer.splitlines() if line] for answer in answers]

    def rows(self, sql):
        return self.all_rows([sql])[0]

    def one(self, sql):
        found = self.rows(sql)
        return found[0][0] if found else ""


class Redis:
    """Enough of RESP2 to look."""

    def __init__(self, port, host="127.0.0.1", password=None):
        self.socket = socket.create_connection((host, port), timeout=20)
        self.file = self.socket.makefile("rb")
        if password:
            self("AUTH", password)

    def __call__(self, *words):
        packed = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.socket.sendall(b"*%d\r\n" % len(packed) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in packed))
        return self.reply()

    def reply(self):
        line = self.file.readline()
        if not line:
            raise ConnectionError("Redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.reply() for _ in range(int(rest))]
        return rest.decode()

    def close(self):
        self.file.close()
        self.socket.close()


def minutes_of(at):
    """The minutes of an hour of the schedules that histories use ("*/n * * * *"); None: another form."""
    fields = at.split()
    if len(fields) != 5 or fields[1:] != ["*"] * 4:
        return None
    step = 1 if fields[0] == "*" else int(fields[0][2:]) if fields[0].startswith("*/") and fields[0][2:].isdigit() else 0
    return set(range(0, 60, step)) if step else None


SLOTS = ("SELECT s.source, s.name, s.at, extract(epoch FROM s.last_slot)::bigint, "
         "string_agg(extract(epoch FROM j.slot)::bigint::text, ' ' ORDER BY j.slot) "
         "FROM schedule s JOIN job j ON j.source = s.source AND j.schedule = s.name WHERE j.slot IS NOT NULL GROUP BY 1, 2, 3, 4")


def missing_slots(schedules):
    """I1: every due instant between a schedule's first job and what it has decided has its job."""
    for source, name, at, last, slots in schedules:
        minutes, have = minutes_of(at), {int(slot) for slot in slots.split()}
        for instant in range(min(have), int(last) + 1, 60) if minutes else ():
            due = datetime.datetime.fromtimestamp(instant, datetime.timezone.utc)
            if due.minute in minutes and instant not in have:
                yield source, name, due.isoformat()


class Nodes:
    """The nodes of a cluster as one Redis, again to look."""

    def __init__(self, ports, host="127.0.0.1"):
        self.nodes = [Redis(port, host) for port in ports]

    def __call__(self, *words):
        if words[0] == "KEYS":
            return [key for node in self.nodes for key in node(*words)]
        for node in self.nodes:
            try:
                return node(*words)
            except RuntimeError as error:
                if not str(error).startswith(("MOVED", "ASK")):
                    raise
        raise RuntimeError(f"no node answers {words}")

    def close(self):
        for node in self.nodes:
            node.close()


def redis_problems(catalogue, redis, settled):
    ended = {r[0] for r in catalogue.rows(f"SELECT id FROM job WHERE state IN {ENDED}")}
    known = {r[0] for r in catalogue.rows("SELECT id FROM job")}
    for key in sorted(redis("KEYS", "*")):
        name = key.decode("utf-8", "backslashreplace")
        if not name.startswith("hf:{p"):
            yield "I10", "keys in Redis that are not ours", name
            continue
        if name.endswith(":inq"):
            fields = redis("HGETALL", key)
            for job in [f.decode() for f in fields[::2]]:
                if job not in known:
                    yield "I9", "tickets of no job", f"{name} {job}"
                elif settled and job in ended:
                    yield "I2", "tickets remembered of jobs that have ended", f"{name} {job}"
        elif settled and redis("TYPE", key) == "list":
            yield "I2", "tickets left in a list", f"{name} {redis('LRANGE', key, 0, 3)}"


def patient_redis_problems(catalogue, redis, seconds):
    """The same of a settled one, which may still hear of what has just ended."""
    end = time.monotonic() + seconds
    while True:
        found = list(redis_problems(catalogue, redis, True))
        if not found or time.monotonic() >= end:
            return found
        time.sleep(0.2)


def objects(store, uuid):
    """The file of a pack below DIR/packs/xx/."""
    return store / "packs" / uuid[:2] / uuid


def lies(name):
    """Which rows of backup_place b are about the store of that name; without one, all backups are where they were made."""
    return f"b.repository IN (SELECT no FROM repository WHERE store = '{name}')" if name else "b.made_here"


def store_problems(catalogue, store, name=None):
    """I6: what the catalogue says of stored objects is so, byte for byte."""
    for no, uuid, size, sha in catalogue.rows(
            "SELECT DISTINCT p.no, p.object, p.bytes, encode(p.sha256, 'hex') FROM backup_place b JOIN pack p ON p.no = ANY (b.packs) "
            f"WHERE b.deleted_at IS NULL AND {lies(name)} ORDER BY 1"):
        path = objects(store, uuid)
        if not path.exists():
            yield "I6", "packs that are not in the store", f"{no} {uuid}"
        elif path.stat().st_size != int(size) or hashlib.sha256(path.read_bytes()).hexdigest() != sha:
            yield "I6", "packs with other bytes than recorded", f"{no} {uuid} {path.stat().st_size} of {size}"
    for uuid, index, index_sha, marked in catalogue.rows(
            # After a re-encryption the index of packs that are all gone goes too.
            "SELECT b.backup, CASE WHEN r.reencrypt_generation IS NOT NULL AND CASE WHEN b.made_here THEN x.index_gone_at ELSE (SELECT c.index_gone_at "
            "FROM backup_copy c WHERE c.backup = b.backup AND c.repository = b.repository) END IS NOT NULL THEN '' ELSE b.index_object::text END, CASE WHEN b.made_here THEN encode(x.index_sha256, 'hex') ELSE '' END, b.marker_at IS NOT NULL "
            f"FROM backup_place b JOIN backup x ON x.id = b.backup JOIN repository r ON r.no = b.repository "
            f"WHERE b.deleted_at IS NULL AND {lies(name)}"):
        if not (store / "manifests" / uuid).exists():
            yield "I6", "backups without a manifest", uuid
        if marked == "t" and not (store / "commits" / uuid).exists():
            yield "I6", "backups without the marker that is said to be there", uuid
        path = store / "index" / index
        if index.replace("-", "").strip("0") and (
                not path.exists() or index_sha and hashlib.sha256(path.read_bytes()).hexdigest() != index_sha):
            yield "I6", "backups whose index is not as recorded", uuid


def leftovers(store):
    for path in sorted(store.rglob("*")):
        if path.is_file() and path.name.startswith(".tmp"):
            yield "I6", "temporary files left in the store", str(path.relative_to(store))


def once(options, store, *words):
    command = [options.worker, "once", words[0], "--store", store, "--key-set", options.key_set, "--keys", options.keys]
    return subprocess.run(command + list(words[1:]), capture_output=True, text=True, check=False)


def name_of(uuid):
    """As the command writes the id of a backup: Crockford's base 32."""
    number = int(uuid.replace("-", ""), 16)
    return "bk_" + "".join("0123456789ABCDEFGHJKMNPQRSTVWXYZ"[number >> 5 * n & 31] for n in range(25, -1, -1))


def same_tree(one, other):
    """What rsync would change to make the second like the first."""
    done = subprocess.run(["rsync", "-aHAXcni", "--delete", f"{one}/", f"{other}/"], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 and not done.stdout.strip() else (done.stdout + done.stderr)[:600]


def verified(options, store):
    """{backup: what was said of it, empty when all is well}, of all that have a marker."""
    done = once(options, store, "verify", "all")
    said = {}
    for line in done.stdout.splitlines()[:-1]:
        name, rest = line.split("  ", 1)
        said[name] = "" if rest.endswith(": 0 damaged, 0 missing") else rest + " " + done.stderr[-400:]
    return said, done


def restore_problems(catalogue, options, store, place=None):
    """I6, I8: every backup opens whole with the store and a key alone; the newest of each source with a tree
    comes back as it. Of very many sources, only some: evenly over their time."""
    trees = dict(each.split("=", 1) for each in options.tree or [])
    backups = catalogue.rows("SELECT b.backup, s.name, x.sequence = max(x.sequence) OVER (PARTITION BY b.source, x.repository) "
                             "FROM backup_place b JOIN backup x ON x.id = b.backup JOIN source s ON s.no = b.source "
                             f"WHERE b.deleted_at IS NULL AND {lies(place)} ORDER BY b.committed_at")
    newest_ones = [row[0] for row in backups if row[2] == "t" and row[1] in trees]
    restored = set(newest_ones[::max(1, len(newest_ones) // options.restored)] if options.restored else newest_ones)
    said, done = verified(options, store)
    for uuid, source, _ in backups:
        problem = said.get(name_of(uuid), f"not listed: {done.stdout[-200:]} {done.stderr[-300:]}")
        if problem:
            yield "I6", "backups that do not verify", f"{uuid} {problem}"
            continue
        if uuid not in restored:
            continue
        out = tempfile.mkdtemp(prefix="hf-checked.")
        try:
            done = once(options, store, "restore", name_of(uuid), "--to", out)
            different = done.stderr[-400:] if done.returncode else same_tree(trees[source], out + trees[source])
            if different:
                yield "I8", "backups that do not come back as they were", f"{uuid} of {source}: {different}"
        finally:
            shutil.rmtree(out, ignore_errors=True)


def secret_problems(options, catalogue, redis):
    """I10: the canaries are in no row, no key, no log, and in no process's arguments or environment."""
    places = {}
    dump = subprocess.run([options.psql.replace("psql", "pg_dump"), "-d", catalogue.conninfo, "-n", "holdfast", "--data-only"],
                          capture_output=True, check=False)
    places["the catalogue"] = dump.stdout
    for path in options.log or []:
        places[path] = pathlib.Path(path).read_bytes()
    for pid in options.process or []:
        for part in ("cmdline", "environ"):
            try:
                places[f"{part} of process {pid}"] = pathlib.Path(f"/proc/{pid}/{part}").read_bytes()
            except OSError:
                continue
    if redis is not None:
        places["Redis"] = b"".join(redis("DUMP", key) or b"" for key in redis("KEYS", "*"))
    for canary in options.canary:
        for place, content in places.items():
            if canary.encode() in content:
                yield "I10", "secrets", place


def check(options):
    """[(invariant, what, row)...], empty when all hold."""
    catalogue = Catalogue(options.catalogue, options.psql)
    redis = None
    found = []
    asked = [each for each in ALWAYS + ([] if options.running else SETTLED) if not (options.clock_moved and each[1] in TIMED)]
    *answers, schedules = catalogue.all_rows([sql for _, _, sql in asked] + [SLOTS])
    for (invariant, what, _), rows in zip(asked, answers):
        found += [(invariant, what, " ".join(row)) for row in rows]
    found += [("I1", "due slots without a job", " ".join(map(str, row))) for row in missing_slots(schedules)]
    if options.redis:
        host, ports = options.redis.rsplit(":", 1)
        redis = Redis(int(ports), host, os.environ.get("REDISCLI_AUTH")) if ports.isdigit() else Nodes(map(int, ports.split(",")), host)
        if options.running or options.unacknowledged:
            found += redis_problems(catalogue, redis, False)
        else:
            found += patient_redis_problems(catalogue, redis, options.wait)
    if options.store:
        for place in options.place or [f"={options.store}"]:
            name, folder = place.split("=", 1)
            repository = pathlib.Path(folder) / options.key_set
            found += store_problems(catalogue, repository, name)
            found += leftovers(repository) if not options.running else []
            found += restore_problems(catalogue, options, folder, name) if options.worker else []
    if options.canary:
        found += secret_problems(options, catalogue, redis)
    if redis is not None:
        redis.close()
    broken = {each.split(": ", 1)[0] for each in options.broken or []}
    needless = broken - {what for _, what, _ in found}
    return [each for each in found if each[1] not in broken] + [("Left out", "what was said to be broken", what) for what in needless]


def arguments(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--catalogue", "--redis", "--store", "--worker"):
        parser.add_argument(name)
    parser.add_argument("--psql", default=(sorted(glob.glob("/usr/lib/postgresql/*/bin/psql")) or ["psql"])[-1])
    parser.add_argument("--key-set", default="local")
    parser.add_argument("--keys", default="")
    parser.add_argument("--restored", type=int, default=0, help="so many sources come back, about; 0: all")
    parser.add_argument("--running", action="store_true")
    parser.add_argument("--unacknowledged", action="store_true")
    parser.add_argument("--wait", type=float, default=0)
    parser.add_argument("--clock-moved", action="store_true", help="leaves out what compares instants")
    for name in ("--place", "--tree", "--canary", "--log", "--process", "--broken"):
        parser.add_argument(name, action="append")
    return parser.parse_args(words)


def describe(found):
    lines = []
    for invariant, what in sorted({(i, w) for i, w, _ in found}):
        lines.append(f"{invariant} does not hold: {what}")
        rows = [row for i, w, row in found if (i, w) == (invariant, what)]
        lines += [f"    {row}" for row in rows[:10]]
        lines += [f"    and {len(rows) - 10} more"] if len(rows) > 10 else []
    return "\n".join(lines)


def main():
    os.environ.setdefault("PGCONNECT_TIMEOUT", "10")
    found = check(arguments())
    print(describe(found) if found else "all invariants hold")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
