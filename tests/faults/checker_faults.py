# SPDX-License-Identifier: Apache-2.0
"""The checker of invariants itself: an honest history passes, each planted violation is named."""
import os
import pathlib
import signal
import subprocess
import sys

import hosts
import invariants
from installation import Installation, wait_until
from settings import need_root, not_here

# (invariant that must be named, statements that break it in a finished catalogue)
PLANTED = [
    ("I1", "ALTER TABLE job DROP CONSTRAINT job_source_schedule_slot_key; INSERT INTO job(kind, trigger, source, schedule, slot, actor, "
           "pool, state, finished_at) SELECT kind, trigger, source, schedule, slot, actor, pool, 'missed', now() FROM job "
           "WHERE slot IS NOT NULL LIMIT 1"),
    ("I1", "DELETE FROM decision WHERE slot IS NOT NULL; DELETE FROM job WHERE id = (SELECT id FROM job WHERE state = 'missed' "
           "AND slot < (SELECT max(slot) FROM job) AND slot > (SELECT min(slot) FROM job) LIMIT 1)"),
    ("I1", "UPDATE schedule SET last_slot = last_slot - interval '1 day'"),
    ("I2", "UPDATE job SET state = 'pending', finished_at = NULL WHERE id = (SELECT max(id) FROM job WHERE state = 'missed')"),
    ("I2", "UPDATE job_attempt SET ended_at = NULL, outcome = NULL WHERE (job, attempt) = (SELECT job, attempt FROM job_attempt LIMIT 1)"),
    ("I2", "UPDATE session SET state = 'open' WHERE job = (SELECT min(job) FROM session)"),
    ("I3", "ALTER TABLE backup DROP CONSTRAINT backup_job_key; UPDATE backup SET job = (SELECT min(job) FROM backup), attempt = 1"),
    ("I3", "UPDATE backup SET sequence = sequence + 10"),
    ("I3", "UPDATE job SET state = 'partial' WHERE kind = 'backup' AND state = 'completed'"),
    ("I4", "UPDATE job_attempt SET started_at = '2020-01-01' WHERE job IN (SELECT job FROM backup)"),
    ("I5", "INSERT INTO limit_slot VALUES ('pool:default', 99, (SELECT min(id) FROM job), 1)"),
    ("I5", "UPDATE pool SET max_jobs = 1; UPDATE job_attempt SET started_at = '2020-01-01'"),
    ("I7", "UPDATE pack SET state = 'deleting' WHERE no = (SELECT packs[1] FROM backup LIMIT 1)"),
    ("I8", "INSERT INTO job(kind, trigger, source, actor, pool, state, finished_at) SELECT kind, trigger, source, actor, pool, "
           "'completed', now() FROM job WHERE kind = 'backup' LIMIT 1"),
    ("I9", "UPDATE job SET attempt = attempt + 1 WHERE state = 'completed'"),
    ("I9", "UPDATE backup SET committed_at = committed_at + interval '1 hour'"),
    ("I9", "UPDATE job_attempt SET claim = (SELECT claim FROM job_attempt LIMIT 1)"),
    ("I10", "UPDATE job SET error = 'login failed with CANARY'"),
]


def finished():
    """Backups of two sources, twice, and slots that nobody served."""
    place = Installation(workers=2, schedule="* * * * *")
    place.do("UPDATE schedule SET last_slot = date_trunc('minute', now()) - interval '5 minutes' WHERE source = 1")
    for source in ("s1", "s2", "s1"):
        place.complete(place.run(source))
    place.check()
    for name in list(place.processes):
        place.kill(name)
    return place


def planted(place, number, sql):
    place.sql_in("postgres", f"CREATE DATABASE planted{number} TEMPLATE holdfast")
    options = place.options()
    options.catalogue = place.postgres.conninfo(f"planted{number}")
    options.store = options.worker = None
    secret = options.canary[0]
    invariants.Catalogue(options.catalogue, options.psql).rows(
        "SET session_replication_role = replica; " + sql.replace("CANARY", secret))
    return {invariant for invariant, _, _ in invariants.check(options)}


def test_each_planted_violation_is_named():
    with finished() as place:
        for number, (invariant, sql) in enumerate(PLANTED):
            found = planted(place, number, sql)
            assert invariant in found, f"{invariant} was not seen ({sorted(found)}): {sql}"


def test_damage_in_the_store_or_in_redis_is_named():
    with finished() as place:
        options = place.options()
        packs = sorted((place.store / "local" / "packs").rglob("*-*"))
        victim = next(p for p in packs if p.is_file())
        content = victim.read_bytes()
        damaged = bytearray(content)
        damaged[len(content) // 2] ^= 1
        for worse in (bytes(damaged), content[:-1], None):
            if worse is None:
                victim.unlink()
            else:
                victim.write_bytes(worse)
            assert "I6" in {f[0] for f in invariants.check(options)}
        victim.write_bytes(content)
        assert not invariants.check(options)
        marker = next((place.store / "local" / "commits").iterdir())
        marker.rename(place.top / "marker")
        assert "I6" in {f[0] for f in invariants.check(options)}
        (place.top / "marker").rename(marker)
        changed = place.top / "tree" / "s1" / "f000"
        original = changed.read_bytes()
        times = changed.stat()
        changed.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
        assert "I8" in {f[0] for f in invariants.check(options)}
        changed.write_bytes(original)
        os.utime(changed, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert not invariants.check(options)
        place.redis("LPUSH", "hf:{p1}:ready", "ticket")
        assert "I2" in {f[0] for f in invariants.check(options)}
        place.redis("DEL", "hf:{p1}:ready")
        place.redis("HSET", "hf:{p1}:inq", "999999", "1")
        assert "I9" in {f[0] for f in invariants.check(options)}


def gone(pid):
    """Ended; perhaps nobody has reaped it yet."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


def test_hosts_are_gone_however_their_test_ends():
    need_root("a network namespace")
    if hosts.impossible():
        not_here(f"no network namespaces: {hosts.impossible()}")
    seen = set(os.listdir("/sys/class/net"))
    script = "import hosts, time\nmade = hosts.Hosts()\nkept = made.add('w1')\nprint(made.switch.keeper.pid, kept.keeper.pid, flush=True)\n"
    for end in ("raise KeyError", signal.SIGTERM, signal.SIGKILL):
        one = subprocess.Popen([sys.executable, "-c", script + (end if isinstance(end, str) else "time.sleep(600)")], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": os.path.dirname(hosts.__file__)})
        keepers = one.stdout.readline().split()
        assert len(keepers) == 2 and set(os.listdir("/sys/class/net")) == seen
        if not isinstance(end, str):
            one.send_signal(end)
        one.wait()
        one.stdout.close()
        wait_until(lambda pids=keepers: all(map(gone, pids)), what=f"nobody keeps a namespace after {end}")
