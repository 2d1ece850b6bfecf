# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL source with its log through real servers: base backup, batches of the log, a standby that is promoted,
and restores to instants of the writer's own ledger on both sides of the switch. Each restored server has exactly the
rows that were committed by then; no Holdfast, Redis or catalogue takes part in its recovery."""
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from copy_test import Stores  # noqa: E402
from installation import BINARIES, ROOT, Postgres, as_server, wait_until  # noqa: E402

WHOLE = os.environ.get("HOLDFAST_FAULTS") == "whole"
OPTIONS = ("-c", "track_commit_timestamp=on", "-c", "autovacuum=off", "-c", "fsync=off", "-c", "shared_buffers=24MB")
TEXT = "to_char(({}) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"


class Logged(Stores):
    def build(self, *words):
        self.orders = Postgres(self.top / "orders", OPTIONS)
        self.count_of_copies = 0
        super().build(*words)

    def fleet(self, *words):
        never = 'schedule: "0 0 1 1 *"'
        return super().fleet(*words).replace("policies: {", f"policies: {{base: {{{never}, copies: [{{store: main}}]}}, ", 1) + self.source()

    def source(self):
        return (f"  orders: {{type: postgresql, method: physical, wal: stream, policy: base, databases: [all], host: {self.orders.directory}, "
                f"port: {self.orders.port}, user: postgres}}\n")

    def move_source(self, server):
        """The policy says from now on that the cluster is there."""
        old = self.source()
        self.orders = server
        own = self.top / "fleet.yaml"
        own.write_text(own.read_text().replace(old, self.source()))
        self.must("policy", "apply", own)

    def batch(self):
        self.complete(self.run("orders-wal"))

    def windows(self):
        return json.loads(self.must("windows", "orders", "--json"))


def ask(server, sql):
    done = subprocess.run([BINARIES + "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", server.conninfo("postgres"), "-c", sql],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def write(server, count):
    """So many commits, each a moment after the other."""
    subprocess.run([BINARIES + "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-d", server.conninfo("postgres")], check=True, text=True,
                   input="INSERT INTO ledger (text) VALUES (repeat(md5(random()::text), 200)); SELECT pg_sleep(0.01);\n" * count)


def instants(server, timeline_rows, count, seed):
    """Times between two commits of the ledger: (text, ids that were there)."""
    rows = [line.split("|") for line in ask(server, "SELECT id, " + TEXT.format("pg_xact_commit_timestamp(xmin) + interval '1 microsecond'") +
                                            f" FROM ledger WHERE {timeline_rows} ORDER BY id").splitlines()]
    return [(at, int(number)) for number, at in random.Random(seed).sample(rows, count)]


def recovered(place, *words):
    """A server on what a restore gave, once its recovery has ended. The directory is moved first."""
    place.count_of_copies += 1
    out = place.top / "restore" / f"copy-{place.count_of_copies}"
    place.must("restore", *words, "--to", out, "--yes", "--wait")
    server = Postgres.__new__(Postgres)
    server.directory, server.options, server.process = place.top / f"copy-{place.count_of_copies}", list(OPTIONS), None
    server.directory.mkdir(mode=0o700)
    if ROOT:
        shutil.chown(server.directory, "postgres", "postgres")
    out.rename(server.directory / "data")
    server.port = place.orders.port + 1000 + place.count_of_copies
    try:
        server.start()
    except AssertionError:
        print((server.directory / "log").read_text(errors="replace")[-3000:])
        raise
    wait_until(lambda: ask(server, "SELECT NOT pg_is_in_recovery()") == "t", what="the end of recovery")
    return server


def rows_of(server):
    return ask(server, "SELECT coalesce(string_agg(id::text, ' ' ORDER BY id), '') FROM ledger")


def has_exactly(place, at, last):
    server = recovered(place, "orders", "--until", at)
    expected = ask(place.orders, f"SELECT string_agg(id::text, ' ' ORDER BY id) FROM ledger WHERE id <= {last}")
    assert rows_of(server) == expected, (at, last, rows_of(server)[-80:])
    server.stop()
    shutil.rmtree(server.directory)


def to_any_instant(place):
    place.batch()
    place.complete(place.run("orders"))
    write(place.orders, 150)
    place.batch()
    write(place.orders, 150)
    place.batch()
    window, = place.windows()
    assert window["state"] == "open" and window["timeline"] == 1 and window["to_at"] > window["from_at"], window
    for at, last in instants(place.orders, "true", 17 if WHOLE else 2, 1):
        has_exactly(place, at, last)
    server = recovered(place, "orders", "--until", "latest")
    assert rows_of(server) == rows_of(place.orders)
    server.stop()


def refusals(place):
    for word, told in (("/no/such=/x", "target.tablespaces"), ("/no/such", "maps no tablespace")):
        refused = place.command("restore", "orders", "--to", place.top / "restore/none", "--tablespace", word, "--plan")
        assert refused.returncode != 0 and told in refused.stderr, refused
    for until, cause, told in (("2200-01-01T00:00:00Z", "log.beyond", "reaches until"), ("2020-01-01T00:00:00Z", None, ""),
                               ("yesterday", None, "a position in the log")):
        refused = place.command("restore", "orders", "--to", place.top / "restore/none", "--until", until, "--yes", "--wait")
        assert refused.returncode != 0 and told in refused.stderr and (cause is None or cause in refused.stderr), refused


def across_a_promotion(place):
    standby = Postgres(place.top / "standby", OPTIONS, copy_of=place.orders)
    write(place.orders, 60)
    behind = ask(place.orders, "SELECT pg_current_wal_lsn()")
    wait_until(lambda: ask(standby, f"SELECT pg_last_wal_replay_lsn() >= '{behind}'") == "t", what="the standby has it")
    place.batch()
    border = int(ask(place.orders, "SELECT max(id) FROM ledger"))
    place.orders.stop()
    subprocess.run(as_server() + [BINARIES + "pg_ctl", "promote", "-w", "-D", str(standby.directory / "data")], check=True, capture_output=True, cwd="/")
    write(standby, 60)
    place.move_source(standby)
    place.batch()
    write(standby, 60)
    place.batch()
    shown = {row["timeline"]: row["state"] for row in place.windows()}
    assert shown == {1: "left", 2: "open"}, shown
    assert place.count("SELECT count(*) FROM event WHERE data ->> 'code' = 'log.gap'") == 0
    for at, last in [*instants(standby, f"id <= {border} AND id > {border} - 50", 1, 2), *instants(standby, f"id > {border}", 2, 3)]:
        has_exactly(place, at, last)


def a_lost_segment_is_named(place):
    """Its pack is flipped in the store: the restore says which batch, and the window ends before it."""
    pack = place.catalogue.one("SELECT p.object FROM pack p JOIN log_segment g ON true JOIN backup b ON b.id = g.backup WHERE p.no = ANY (b.packs) "
                               "AND p.kind = 'data' AND g.timeline = 2 ORDER BY p.no DESC LIMIT 1")
    path, = place.store.glob(f"local/packs/*/{pack}")
    whole = path.read_bytes()
    path.write_bytes(whole[:len(whole) // 2] + bytes(byte ^ 0xff for byte in whole[len(whole) // 2:]))
    refused = place.command("restore", "orders", "--to", place.top / "restore/damaged", "--until", "latest", "--yes", "--wait")
    assert refused.returncode != 0 and "batch of the log" in refused.stderr, refused
    path.write_bytes(whole)


def a_server_that_was_set_back_is_refused(place):
    """Its disk is a copy of an hour ago, it goes on under the same timeline and comes by what is stored: another past."""
    data = place.orders.directory / "data"
    place.orders.stop()
    shutil.copytree(data, f"{data}.old", symlinks=True)
    subprocess.run(["chown", "-R", "--reference", data, f"{data}.old"], check=True)
    place.orders.start()
    write(place.orders, 20)
    place.batch()
    place.orders.stop()
    shutil.rmtree(data)
    pathlib.Path(f"{data}.old").rename(data)
    place.orders.start()
    write(place.orders, 60)
    before = place.count("SELECT count(*) FROM log_batch")
    job = place.run("orders-wal")
    place.wait_job(job, "state = 'failed'")
    assert place.catalogue.one(f"SELECT cause FROM job WHERE id = {job}") == "source.log_spliced"
    assert place.count("SELECT count(*) FROM log_batch") == before


def main():
    with Logged(workers=1, sources=1, files=3, file_bytes=1000) as place:
        ask(place.orders, "CREATE TABLE ledger (id serial PRIMARY KEY, text text)")
        to_any_instant(place)
        refusals(place)
        across_a_promotion(place)
        a_lost_segment_is_named(place)
        a_server_that_was_set_back_is_refused(place)
        place.orders.stop()
        place.check()
        place.server.shutdown()
    print("every instant came back as the writer's ledger has it, across a promotion too")


if __name__ == "__main__":
    main()
