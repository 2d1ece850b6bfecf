# SPDX-License-Identifier: Apache-2.0
"""The way back of a pushed log, restore_command = wal-fetch, through real servers: a standby without a primary catches
up to the end of what is stored and across a switch of timelines; a recovery whose store is away, whose batch is
damaged or whose log has a hole stops and never takes that for the end; what only the spool has comes from there."""
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from archive_test import Archived  # noqa: E402
from copy_test import SECRETS  # noqa: E402
from recover_test import OPTIONS, ask, rows_of, write  # noqa: E402
from installation import BINARIES, BUILD, ROOT, Postgres, as_server, free_port, wait_until  # noqa: E402
from proxy import Proxy  # noqa: E402

STOP = 255
S3 = {"AWS_ACCESS_KEY_ID": "WORKER", "AWS_SECRET_ACCESS_KEY": SECRETS["WORKER"], "AWS_REGION": "us-east-1"}


class Fetched(Archived):
    """The log is in a bucket, which the server's user reaches through a proxy."""

    def build(self, *words):
        super().build(*words)
        self.way = Proxy("127.0.0.1", self.server.server_address[1])
        self.own_keys = self.top / "server-keys"
        self.own_keys.mkdir(mode=0o700)
        shutil.copy(self.top / "keys/local.reader", self.own_keys)
        if ROOT:
            subprocess.run(["chown", "-R", "postgres:", str(self.own_keys)], check=True)

    def fleet(self, *words):
        return super().fleet(*words).replace("base: {schedule: \"0 0 1 1 *\", copies: [{store: main}]}",
                                             "base: {schedule: \"0 0 1 1 *\", copies: [{store: cloud}]}")

    def words(self, *more, spool=None, source="orders", keys=None):
        store = f"s3://backups/prod?endpoint=http://127.0.0.1:{self.way.port}"
        return [str(BUILD / "holdfast-worker"), "wal-fetch", "--store", store, "--source", source, "--key-set", "local",
                "--keys", str(keys or self.own_keys), "--spool", str(self.top / "spool" if spool is None else spool), "--timeout", "1s", *more]

    def fetch(self, server, name, *more, **which):
        """What wal-fetch says in the server's data directory: (exit code, the file's bytes, its words)."""
        data = server.directory / "data"
        out = data / "pg_wal/FETCHED"
        out.unlink(missing_ok=True)
        done = subprocess.run([*as_server(), *self.words(*more, **which), name, "pg_wal/FETCHED"], cwd=data, env={**os.environ, **S3},
                              capture_output=True, text=True, check=False, timeout=170)
        return done.returncode, out.read_bytes() if out.exists() else None, done.stderr

    def copy(self, name, signal, *more):
        """A copy of the server that recovers by wal-fetch alone; not started."""
        server = Postgres.__new__(Postgres)
        server.directory, server.options, server.port, server.process = self.top / name, list(OPTIONS), free_port(), None
        server.directory.mkdir(mode=0o700)
        if ROOT:
            shutil.chown(server.directory, "postgres", "postgres")
        data = server.directory / "data"
        subprocess.run([*as_server(), BINARIES + "pg_basebackup", "-h", str(self.orders.directory), "-p", str(self.orders.port), "-U", "postgres",
                        "-D", str(data), "-X", "none", "-c", "fast", "--no-sync"], check=True, cwd="/", capture_output=True)
        command = " ".join(f'"{word}"' for word in self.words(*more))
        server.options += ["-c", f"restore_command={command} %f %p", "-c", "archive_mode=off"]
        (data / signal).touch()
        return server

    def begin(self, server):
        """Starts it and does not wait until it answers."""
        log = open(server.directory / "log", "ab")
        server.process = subprocess.Popen(
            [*as_server(), BINARIES + "postgres", "-D", str(server.directory / "data"), "-c", "listen_addresses=", "-c", f"port={server.port}",
             "-c", f"unix_socket_directories={server.directory}", *server.options], stdout=log, stderr=log, cwd="/", env={**os.environ, **S3})
        log.close()

    def pushed_rows(self, count):
        write(self.orders, count)
        segment = self.switch()
        self.pushed(segment)
        return segment


def caught_up(place, server, what):
    """Every row that was pushed: the last segment was ended behind it."""
    wait_until(lambda: rows_of(server) == rows_of(place.orders), 170, what)
    assert ask(server, "SELECT pg_is_in_recovery()") == "t"


def a_standby_follows(place):
    place.complete(place.run("orders"))
    place.pushed_rows(30)
    place.standby = place.copy("standby", "standby.signal")
    place.standby.start(S3)
    segment = place.pushed_rows(30)
    caught_up(place, place.standby, "the standby has what was pushed")
    place.segment = segment


def across_a_switch(place):
    """The server goes on under a new timeline; the standby finds its history and follows."""
    data = place.orders.directory / "data"
    place.pushed_rows(20)
    place.orders.stop()
    (data / "recovery.signal").touch()
    place.orders.options += ["-c", "restore_command=false"]
    place.orders.start()
    wait_until(lambda: ask(place.orders, "SELECT NOT pg_is_in_recovery()") == "t", what="the new timeline")
    segment = place.pushed_rows(30)
    assert segment.startswith("00000002"), segment
    caught_up(place, place.standby, "the standby is on the new timeline")
    code, history, _ = place.fetch(place.standby, "00000002.history")
    assert code == 0 and history == (data / "pg_wal/00000002.history").read_bytes()
    place.segment = segment


def what_it_says(place):
    """0 and the same bytes, 1 for what nobody has, 255 for a question that makes no sense."""
    data = place.orders.directory / "data"
    code, content, told = place.fetch(place.standby, place.segment)
    assert code == 0 and content == (data / "pg_wal" / place.segment).read_bytes(), told
    after = f"{place.segment[:8]}{int(place.segment[8:], 16) + 64:016X}"
    for name in (after, "00000003.history", f"{place.segment}.00000028.backup"):
        assert place.fetch(place.standby, name)[:2] == (1, None), name
    for name, more, cause in (("pg_wal/RECOVERYXLOG", {}, "wal.name"), (place.segment, {"source": "orderz"}, "wal.no_log"),
                              (place.segment, {"keys": "/var/empty"}, "key.missing")):
        code, content, told = place.fetch(place.standby, name, **more)
        assert (code, content) == (STOP, None) and cause in told, (name, told)


def only_the_spool_has_it(place):
    """The store is not asked for it; what is damaged there, or was stored and cannot be found, is no end of the log."""
    source = place.orders.directory / "data/pg_wal" / place.segment
    folder = place.top / "other-spool" / ask(place.orders, "SELECT system_identifier FROM pg_control_system()")
    for each in (folder, folder / "stored", folder / "history"):
        each.mkdir(parents=True)
    name = f"{place.segment[:8]}{int(place.segment[8:], 16) + 64:016X}"
    (folder / place.segment).write_bytes(source.read_bytes())
    subprocess.run(["chmod", "-R", "a+rX", str(folder.parent)], check=True)
    shutil.rmtree(place.standby.directory / "data/pg_wal/holdfast_fetch")
    place.way.refusing = True
    assert place.fetch(place.standby, place.segment, spool=folder.parent)[:2] == (0, source.read_bytes())
    place.way.refusing = False
    (folder / name).write_bytes(source.read_bytes())
    (folder / name).chmod(0o644)
    code, content, told = place.fetch(place.standby, name, spool=folder.parent)
    assert (code, content) == (STOP, None) and "wal.address" in told, told
    (folder / name).unlink()
    (folder / "stored" / name).write_text("0" * 64 + "\n")
    code, content, told = place.fetch(place.standby, name, spool=folder.parent)
    assert (code, content) == (STOP, None) and "wal.not_found" in told, told
    shutil.rmtree(folder.parent)


def damage_and_holes(place):
    """A pack, a manifest and a marker that are not as they were: never the end of the log."""
    bucket = place.top / "s3/data/backups"
    batch, pack = place.catalogue.rows(f"SELECT g.backup, p.object FROM log_segment g JOIN backup b ON b.id = g.backup JOIN pack p ON p.no = ANY (b.packs) "
                                       f"WHERE g.name = '{place.segment}' AND p.kind = 'data' ORDER BY p.no DESC LIMIT 1")[0]
    fresh = place.copy("fresh", "recovery.signal")
    wait_until(lambda: place.waiting() == [] and not place.count("SELECT count(*) FROM job WHERE state IN ('pending', 'queued', 'running')"), what="rest")
    newest = place.catalogue.one("SELECT max(id::text) FROM backup b JOIN log_batch l ON l.backup = b.id")
    after = f"{place.segment[:8]}{int(place.segment[8:], 16) + 64:016X}"
    for name, asked, cause in ((pack, place.segment, "repo."), (f"manifests/{newest}", after, "seal.damaged")):
        shutil.rmtree(fresh.directory / "data/pg_wal/holdfast_fetch", ignore_errors=True)
        path, = [one for one in bucket.rglob("*") if one.is_file() and name in str(one)]
        whole = path.read_bytes()
        path.write_bytes(whole[:len(whole) // 2] + bytes(byte ^ 0xff for byte in whole[len(whole) // 2:]))
        code, content, told = place.fetch(fresh, asked)
        assert (code, content) == (STOP, None) and cause in told, (name, told)
        path.write_bytes(whole)
    earlier = place.catalogue.rows("SELECT g.name, g.backup FROM log_segment g WHERE g.timeline = 1 AND length(g.name) = 24 ORDER BY g.name DESC LIMIT 1")[0]
    marker, = [one for one in bucket.rglob("*") if one.is_file() and f"commits/{earlier[1]}" in str(one)]
    marker.rename(place.top / "marker")
    for spool, cause in (("", "wal.hole"), (None, "wal.not_found")):
        code, content, told = place.fetch(fresh, earlier[0], spool=spool)
        assert (code, content) == (STOP, None) and cause in told, told
    assert place.fetch(fresh, earlier[0], "--standby")[:2] == (1, None)
    (place.top / "marker").rename(marker)
    assert place.fetch(fresh, earlier[0])[0] == 0
    return fresh


def a_store_that_is_away(place, fresh):
    """A recovery stops and stays one; with the store it goes to the end of the log and is a server."""
    segment = place.pushed_rows(40)
    place.way.refusing = True
    place.begin(fresh)
    assert fresh.process.wait(170) != 0
    log = (fresh.directory / "log").read_text(errors="replace")
    assert "FATAL" in log and f"exit code {STOP}" in log and "selected new timeline" not in log, log[-2000:]
    assert (fresh.directory / "data/recovery.signal").exists()
    place.standby.process.wait(170)  # it looked for more all the time
    place.way.refusing = False
    fresh.start(S3)
    wait_until(lambda: ask(fresh, "SELECT NOT pg_is_in_recovery()") == "t", 170, "the end of recovery")
    assert rows_of(fresh) == rows_of(place.orders), segment
    fresh.stop()
    place.standby.start(S3)
    caught_up(place, place.standby, "the standby goes on")
    place.standby.stop()


def main():
    with Fetched(workers=1, sources=1, files=3, file_bytes=1000) as place:
        ask(place.orders, "CREATE TABLE ledger (id serial PRIMARY KEY, text text)")
        place.archive()
        fresh = None
        for step in (a_standby_follows, across_a_switch, what_it_says, only_the_spool_has_it, damage_and_holes, a_store_that_is_away):
            fresh = step(place, fresh) if step is a_store_that_is_away else step(place)
            print(f"{step.__name__}: as it should", flush=True)
        place.orders.stop()
        place.check()
        place.server.shutdown()
    print("nothing but the end of the log was taken for it")


if __name__ == "__main__":
    main()
