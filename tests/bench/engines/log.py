# SPDX-License-Identifier: Apache-2.0
"""The log of a server that is written to: how long a segment takes to be pushed, ours and pgBackRest's in turn, and how far
behind what was committed the stored log is while pgbench writes as fast as it can."""
import pathlib
import shutil
import statistics
import subprocess
import threading
import time

import installed
import table
import tools
from cluster import OPTIONS, Cluster, owned
from dumps import line, said
from installation import BUILD, as_server, wait_until
from timing import timed

PUSH_MS, LAG_S = 25, 1
SEGMENTS = 20


class Spooling(installed.Plain):
    """Its worker takes segments from a spool of the server's host."""

    def enroll(self, name):
        super().enroll(name)
        own = self.top / f"{name}.yaml"
        own.write_text(own.read_text() + f"wal_spool: {self.spool()}\n")

    def spool(self):
        if not (self.top / "spool").exists():
            owned(self.top / "spool").chmod(0o770)
        return self.top / "spool"


def full_segments(server):
    """Finished files of the log with what pgbench wrote in them."""
    wal = pathlib.Path(server.directory) / "data" / "pg_wal"
    before = server.ask("SELECT pg_walfile_name(pg_switch_wal())")

    def finished():
        now = server.ask("SELECT pg_walfile_name(pg_current_wal_lsn())")
        return sorted(path for path in wal.iterdir() if len(path.name) == 24 and before < path.name < now)
    server.pgbench("-n", "-c", "4", "-t", "2000")
    while len(finished()) < SEGMENTS:
        server.ask("CHECKPOINT")
        server.ask("UPDATE docs SET body = reverse(body); UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 10 = 3")
    return finished()[:SEGMENTS]


def pushes(place, data, pairs):
    """Each segment by both, one process a segment, as archive_command calls them; spooled: durable on this host."""
    row = table.Row("push", "wal", "ms", 1, peer=tools.PgBackRest.name)
    most = table.Limit("push-worst", "wal", "ms", PUSH_MS, less=True)
    if tools.PgBackRest.missing():
        row.why_not = most.why_not = tools.PgBackRest.missing()
        return [row, most]
    for number in range(pairs):
        here = place / f"wal-{number}"
        for name in ("ours", "theirs"):
            (here / name).mkdir(parents=True)
        server = Cluster(here / "server", data, (*OPTIONS, "-c", "wal_keep_size=4GB"))
        mine = installed.Holdfast(here / "ours", line(server, "method: physical, wal: archive_command, wal_push: spooled, databases: [all]"),
                                  installation=Spooling)
        try:
            one_round(mine, tools.PgBackRest(here / "theirs", server), server, row, most)
        finally:
            mine.close()
            server.stop()
    return [row, most]


def push(mine, server, segment):
    return [*as_server(), str(BUILD / "holdfast-worker"), "wal-push", "--spool", str(mine.installation.spool()), str(segment)]


def one_round(mine, theirs, server, row, most):
    segments = full_segments(server)
    # The first waits until a job has stored it; from then on the spool knows that to be spooled is enough.
    first = subprocess.Popen(push(mine, server, segments[0]), cwd=server.directory)
    wait_until(lambda: any(mine.installation.spool().rglob(segments[0].name)), what="a segment is spooled")
    mine.verb("run", "s1-wal")
    assert first.wait() == 0, "the first segment was not pushed"
    ours, peer = [], []
    for segment in segments[1:]:
        ours.append(timed(push(mine, server, segment), cwd=server.directory)[0] * 1000)
        peer.append(theirs.push(segment)[0] * 1000)
    row.add(statistics.median(ours), statistics.median(peer))
    most.add(max(ours))
    said("wal", "push", statistics.median(ours), statistics.median(peer))


class Lag(threading.Thread):
    """How old the oldest commit is that the repository does not have, looked at ten times a second."""

    def __init__(self, server, installation):
        super().__init__(daemon=True)
        self.server, self.installation, self.over, self.seen, self.ages = server, installation, threading.Event(), [], []

    def run(self):
        while not self.over.wait(0.1):
            now = time.monotonic()
            self.seen.append((now, int(self.server.ask("SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn"))))
            stored = self.installation.count("SELECT coalesce(max(end_lsn), '0/0') - '0/0'::pg_lsn FROM log_batch")
            first = next((at for at, lsn in self.seen if lsn > stored), now)
            self.ages.append(now - first)


def lag(place, data, seconds):
    limit = table.Limit("lag-p99", "wal", "s", LAG_S, less=True)
    here = place / "lag"
    (here / "ours").mkdir(parents=True)
    server = Cluster(here / "server", data)
    mine = installed.Holdfast(here / "ours", line(server, "method: physical, wal: stream, databases: [all]"))
    try:
        mine.verb("run", "s1")
        mine.verb("run", "s1-wal")
        watch = Lag(server, mine.installation)
        watch.start()
        server.pgbench("-n", "-c", "4", "-T", seconds)
        watch.over.set()
        watch.join()
        limit.add(statistics.quantiles(watch.ages, n=100)[98])
        said("wal", "lag, median and worst", statistics.median(watch.ages), max(watch.ages))
    finally:
        mine.close()
        server.stop()
    return [limit]


def measure(place, data, pairs, seconds):
    rows = pushes(place, data, pairs)
    for each in place.glob("wal-*"):
        shutil.rmtree(each)
    return rows + lag(place, data, seconds)


