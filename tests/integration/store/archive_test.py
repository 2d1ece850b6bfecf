# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server whose archive_command is wal-push, through real servers: what is pushed is done when it is
stored, whatever dies on the way; restores to instants of the writer's own ledger have exactly the rows of then; a push
of other bytes is refused; with wal_push: spooled a push is done at once, and what waits is seen."""
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from recover_test import OPTIONS, Logged, ask, has_exactly, instants, write  # noqa: E402
from installation import BUILD, ROOT, as_server, wait_until  # noqa: E402


class Archived(Logged):
    returns = "stored"

    def build(self, *words):
        self.spool = self.top / "spool"
        self.spool.mkdir(mode=0o770)
        if ROOT:
            shutil.chown(self.spool, "postgres", "postgres")
        super().build(*words)

    def enroll(self, name):
        super().enroll(name)
        own = self.top / f"{name}.yaml"
        own.write_text(own.read_text() + f"wal_spool: {self.spool}\n")

    def source(self):
        return super().source().replace("wal: stream", f"wal: archive_command, wal_push: {self.returns}")

    def archive(self, before=""):
        """The server pushes from now on."""
        command = f"{before} {BUILD}/holdfast-worker wal-push --spool {self.spool} %p"
        self.orders.options = [*OPTIONS, "-c", "archive_mode=on", "-c", f"archive_command={command}"]
        self.orders.stop()
        self.orders.start()

    def waiting(self):
        return sorted(path.name for path in self.spool.glob("*/*") if len(path.name) == 24)

    def archived(self):
        """The last segment that the server was told is done."""
        return ask(self.orders, "SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver")

    def switch(self):
        """Ends a segment; its name."""
        return ask(self.orders, "SELECT pg_walfile_name(pg_switch_wal())")

    def pushed(self, segment):
        wait_until(lambda: self.archived() >= segment, 120, f"{segment} is done")

    def stored(self, segment):
        return self.count(f"SELECT count(*) FROM log_segment WHERE name = '{segment}'")

    def push(self, path, *words, at=None):
        return subprocess.run([*as_server(), str(BUILD / "holdfast-worker"), "wal-push", "--spool", str(self.spool), *words, str(path)],
                              cwd=at or self.orders.directory / "data", capture_output=True, text=True, check=False, timeout=60)


def done_is_stored(place):
    """Each segment that the server was told is done is in a committed backup, byte for byte."""
    place.complete(place.run("orders"))
    for _ in range(3):
        write(place.orders, 40)
        segment = place.switch()
        place.pushed(segment)
        assert place.stored(segment) == 1, segment
    assert place.count("SELECT count(*) FROM log_batch WHERE gap_from IS NOT NULL") == 0
    assert place.waiting() == []
    # They went to the host that has the spool.
    assert place.count("SELECT count(*) FROM job j JOIN pool p ON p.no = j.pool WHERE j.actor = 'worker:w1' AND p.name LIKE 'host:%'") >= 3
    assert place.count("SELECT count(*) FROM job j JOIN pool p ON p.no = j.pool WHERE j.actor = 'worker:w1' AND p.name NOT LIKE 'host:%'") == 0
    wait_until(lambda: place.windows()[0]["state"] == "open", what="a window")


def to_instants(place):
    write(place.orders, 60)
    place.pushed(place.switch())
    window, = place.windows()
    assert window["state"] == "open" and window["to_at"] > window["from_at"], window
    end = window["to_at"]
    for at, last in instants(place.orders, f"pg_xact_commit_timestamp(xmin) < '{end}' AND pg_xact_commit_timestamp(xmin) > '{window['from_at']}'", 2, 4):
        has_exactly(place, at, last)


def a_death_at_any_point(place):
    """The worker's job is killed at each point behind which the store, the commit or the mark stands."""
    for point in ("backup.stored", "backup.committed", "wal.marked"):
        place.kill("w1")
        place.hire("w1", {"HOLDFAST_CRASHPOINT": "1", "HOLDFAST_CRASHPOINT_ONLY": point})
        before = place.count("SELECT count(*) FROM job_attempt WHERE outcome = 'lost' OR outcome = 'failed'")
        write(place.orders, 20)
        segment = place.switch()
        wait_until(lambda s=segment: s in place.waiting() or place.archived() >= s, 60, "the segment is spooled")
        wait_until(lambda b=before, p=point, s=segment: {
            "backup.stored": lambda: place.count("SELECT count(*) FROM job_attempt WHERE outcome = 'lost' OR outcome = 'failed'") > b,
            "backup.committed": lambda: place.stored(s) and s in place.waiting(),  # stored, and nobody has noted it
            "wal.marked": lambda: place.stored(s)}[p](), 60, f"a job died at {point}")
        place.kill("w1")
        place.hire("w1")
        place.pushed(segment)
        assert place.stored(segment) == 1
    assert place.count("SELECT count(*) FROM log_batch WHERE gap_from IS NOT NULL") == 0
    assert place.count("SELECT count(*) FROM log_range") == 1


def a_push_that_dies(place):
    """Killed when the file is copied and not yet in its place, and when it is durable there: the server was told nothing."""
    for point in ("wal.copied", "wal.spooled"):
        place.archive(f"env HOLDFAST_CRASHPOINT=1 HOLDFAST_CRASHPOINT_ONLY={point}")
        log = place.orders.directory / "log"
        seen = log.stat().st_size
        write(place.orders, 20)
        segment = place.switch()
        wait_until(lambda s=seen: "archive command" in log.read_bytes()[s:].decode(errors="replace"), 60, "a push died")
        assert place.archived() < segment, (point, place.archived())
        assert point != "wal.copied" or (segment not in place.waiting() and place.stored(segment) == 0)
        place.archive()
        place.pushed(segment)
        assert place.stored(segment) == 1
    assert place.count("SELECT count(*) FROM log_batch WHERE gap_from IS NOT NULL") == 0


def other_bytes(place):
    data = place.orders.directory / "data"
    segment = place.archived()
    path, = (data / "pg_wal").glob(segment)
    assert place.push(f"pg_wal/{segment}").returncode == 0  # the same again
    other = data / "other" / segment
    other.parent.mkdir()
    whole = bytearray(path.read_bytes())
    whole[5000] ^= 1
    other.write_bytes(whole)
    subprocess.run(["chmod", "-R", "a+rX", str(other.parent)], check=True)
    refused = place.push(f"other/{segment}")
    assert refused.returncode == 1 and "wal.other_bytes" in refused.stderr, refused
    later = other.parent / ("0" * 7 + "1" + "0" * 7 + "7" + "0" * 6 + "1F")
    for content, cause in ((whole[:100000], "wal.address"), (bytes(1 << 24), "wal.head")):
        later.write_bytes(content)
        refused = place.push(f"other/{later.name}")
        assert refused.returncode == 1 and cause in refused.stderr, refused
    other.write_bytes(whole[:1 << 20])
    refused = place.push(f"other/{segment}")
    assert refused.returncode == 1 and "wal.size" in refused.stderr, refused
    refused = place.push("pg_wal/elsewhere")
    assert refused.returncode == 1 and "wal.name" in refused.stderr, refused
    shutil.rmtree(other.parent)


def a_copy_beside_it(place):
    """A copy of the cluster on the same host, with its archive_command: it does not get among the source's log."""
    data, copy = place.orders.directory / "data", place.orders.directory / "copy"
    segment = place.archived()
    for name in ("global/pg_control", f"pg_wal/{segment}"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(data / name, copy / name)
    (copy / "pg_wal/00000002.history").write_text("1\t0/5000000\tno recovery target specified\n")
    if ROOT:
        subprocess.run(["chown", "-R", "postgres:", str(copy)], check=True)
    for name in (segment, "00000002.history"):
        refused = place.push(f"pg_wal/{name}", at=copy)
        assert refused.returncode == 1 and "wal.other_server" in refused.stderr, refused
    assert not list(place.spool.glob("*/history/00000002.history"))
    assert place.push(f"pg_wal/{segment}", "--take-over", at=copy).returncode == 0
    assert "wal.other_server" in place.push(f"pg_wal/{segment}").stderr
    shutil.rmtree(copy)  # it is gone: whoever comes next has the spool
    assert place.push(f"pg_wal/{segment}").returncode == 0


def spooled(place):
    """With wal_push: spooled the store may be away: the server goes on, and what waits is told."""
    old = place.source()
    place.returns = "spooled"
    own = place.top / "fleet.yaml"
    own.write_text(own.read_text().replace(old, place.source()))
    place.must("policy", "apply", own)
    write(place.orders, 10)
    place.pushed(place.switch())
    place.complete(place.run("orders-wal"))
    hidden = place.store.with_name("hidden")
    place.store.rename(hidden)
    write(place.orders, 10)
    segment = place.switch()
    place.pushed(segment)
    assert place.stored(segment) == 0 and segment in place.waiting()
    wait_until(lambda: place.count("SELECT count(*) FROM log_facts WHERE spool_files >= 1 AND spool_oldest IS NOT NULL"), what="it is told")
    write(place.orders, 1)
    full = place.push(f"pg_wal/{ask(place.orders, 'SELECT pg_walfile_name(pg_current_wal_lsn())')}", "--limit", "1MiB")
    assert full.returncode == 1 and "wal.spool_full" in full.stderr, full
    hidden.rename(place.store)
    wait_until(lambda: place.stored(segment), 120, "it is stored")
    wait_until(lambda: place.waiting() == [], what="it went")


def what_is_of_no_use(place):
    """The end of a timeline whose history never comes: one job looks at it, and the next when something else lies there."""
    folder, = place.spool.glob("[0-9]*")
    segment = place.archived()
    part = folder / f"{segment}.partial"
    shutil.copy(place.orders.directory / "data/pg_wal" / segment, part)
    asked = "SELECT count(*) FROM job WHERE actor = 'worker:w1' AND cause = 'log.idle' AND created_at > (SELECT max(changed_at) FROM log_spool)"
    wait_until(lambda: place.count(asked) == 1, 60, "a job looked at it")
    told = place.catalogue.one("SELECT max(told_at) FROM log_spool")
    wait_until(lambda: place.count(f"SELECT count(*) FROM log_spool WHERE told_at > '{told}'::timestamptz + interval '4 seconds'"), 60, "it was told again")
    assert place.count(asked) == 1
    write(place.orders, 5)
    place.pushed(place.switch())
    part.unlink()


def an_account_ends(place):
    """The folder went with what waited in it: the worker lives and has nothing to say of it."""
    place.store.rename(place.store.with_name("hidden"))
    write(place.orders, 5)
    place.pushed(place.switch())
    wait_until(lambda: place.count("SELECT count(*) FROM log_spool WHERE files > 0"), what="it is told")
    folder, = place.spool.glob("[0-9]*")
    place.orders.stop()
    shutil.rmtree(folder)
    place.do("UPDATE worker_instance SET hello_at = hello_at - interval '1 hour'")

    def ended():
        """A last word about the folder may have been on its way."""
        place.do("UPDATE log_spool SET told_at = told_at - interval '1 hour'")
        return (place.count("SELECT log_spools_end()") or place.count("SELECT count(*) FROM event WHERE data ->> 'code' = 'log.spool_gone'"))
    wait_until(ended, what="it ends")
    assert place.count("SELECT count(*) FROM log_spool WHERE files > 0") == 0
    place.store.with_name("hidden").rename(place.store)


def main():
    with Archived(workers=1, sources=1, files=3, file_bytes=1000) as place:
        ask(place.orders, "CREATE TABLE ledger (id serial PRIMARY KEY, text text)")
        place.archive()
        for step in (done_is_stored, to_instants, what_is_of_no_use, a_death_at_any_point, a_push_that_dies, other_bytes, a_copy_beside_it, spooled, an_account_ends):
            step(place)
            print(f"{step.__name__}: as it should", flush=True)
        place.orders.stop()
        place.check()
        place.server.shutdown()
    print("what the server was told is done was stored, at every death, and came back to the instant")


if __name__ == "__main__":
    main()
