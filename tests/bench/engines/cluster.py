# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server with data that look like somebody's: pgbench's tables at scale 100 (its filler shrinks as nothing real
does) and a table of JSON, prose and bytes (tests/bench/corpus.py pgcopy) that shrinks as text does; 1.8 GB of files in all."""
import pathlib
import shutil
import subprocess
import sys

from installation import BINARIES, ROOT, Postgres, as_server

CORPUS = pathlib.Path(__file__).resolve().parent.parent / "corpus.py"
OPTIONS = ("-c", "shared_buffers=512MB", "-c", "max_wal_size=4GB", "-c", "wal_level=replica", "-c", "max_wal_senders=10",
           "-c", "autovacuum=off", "-c", "checkpoint_timeout=1h")
DOCS = "CREATE TABLE docs (id bigint PRIMARY KEY, doc jsonb, body text, raw bytea)"


class Cluster(Postgres):
    """One that starts from a copy of another's directory; data None: empty."""

    def __init__(self, directory, data, options=OPTIONS):
        self.data = data
        super().__init__(directory, options)

    def template(self):
        return self.data or Postgres.template()

    def ask(self, sql, database="bench"):
        done = subprocess.run([BINARIES + "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.conninfo(database), "-c", sql],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        return done.stdout.strip()

    def pgbench(self, *words):
        """What it prints."""
        return subprocess.run(["pgbench", "-h", str(self.directory), "-p", str(self.port), "-U", "postgres", *map(str, words), "bench"],
                              capture_output=True, text=True, check=True).stdout

    def change(self, number):
        """20 000 transactions, and every sixtieth document gets other words."""
        self.pgbench("-n", "-c", "4", "-t", "5000", "--random-seed", number)
        self.ask(f"UPDATE docs SET body = 'changed {number}: ' || reverse(body) WHERE id % 60 = {number % 60}")
        self.ask("CHECKPOINT")

    def sum(self, database):
        """The rows, whatever order they lie in."""
        tables = ("pgbench_accounts", "pgbench_branches", "pgbench_tellers", "pgbench_history", "docs")
        return [self.ask(f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {table} t", database) for table in tables]


def fill(server, seed, scale):
    subprocess.run([BINARIES + "psql", "-X", "-q", "-d", server.conninfo("postgres"), "-c", "CREATE DATABASE bench"], check=True)
    server.pgbench("-i", "-q", "-s", max(1, int(100 * scale)))
    server.ask(DOCS)
    rows = subprocess.Popen([sys.executable, str(CORPUS), "pgcopy", "--seed", str(seed), "--mib", str(max(1, int(200 * scale)))],
                            stdout=subprocess.PIPE)
    subprocess.run([BINARIES + "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", server.conninfo("bench"), "-c", "COPY docs FROM stdin"],
                   stdin=rows.stdout, check=True)
    if rows.wait() != 0:
        raise AssertionError("the documents were not made")
    server.ask("VACUUM (FREEZE, ANALYZE)")
    server.ask("CHECKPOINT")


def made(place, seed, scale):
    """The directory of a server that was filled and has ended; made once a place."""
    whole = place / "cluster"
    if whole.exists():
        return whole
    making = place / "making"
    server = Cluster(making, None)
    fill(server, seed, scale)
    subprocess.run(as_server() + [BINARIES + "pg_ctl", "stop", "-w", "-s", "-m", "fast", "-D", str(making / "data")], check=True, cwd="/")
    server.process.wait()
    (making / "data").rename(whole)
    shutil.rmtree(making)
    return whole


def owned(directory):
    """A new directory that the server's user may write to."""
    directory.mkdir(mode=0o755)
    if ROOT:
        shutil.chown(directory, "postgres", "postgres")
    return directory
