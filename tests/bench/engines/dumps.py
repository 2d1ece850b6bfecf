# SPDX-License-Identifier: Apache-2.0
"""Logical and physical backups of one server, ours and the peers' in turn."""
import installed
import table
import tools
from cluster import Cluster

MEMORY_MIB = 96
# As ratios to the peer in the same run; of what is stored less is more.
LOGICAL = {"initial": (tools.PgDump, 1, "s"), "stream": (tools.PgDumpRestic, 3, "s"), "restore": (tools.PgDump, 1.3, "s"),
           "size": (tools.PgDumpRestic, 1.0, "MB")}
PHYSICAL = {"initial": 2.8, "unchanged": 2, "changed": 2, "restore": 1, "size": 1.0, "growth": 0.2}


def line(server, more):
    return f"  s1: {{type: postgresql, policy: p, host: 127.0.0.1, port: {server.port}, user: postgres, {more}}}\n"


def in_turn(number, *verbs):
    """Each once, the first first in one round and last in the next; their answers in the order they were given."""
    answers = {}
    for verb in verbs if number % 2 == 0 else verbs[::-1]:
        answers[verb] = verb()
    return [answers[verb] for verb in verbs]


def said(corpus, name, *values):
    print(f"# {corpus} {name}: " + " against ".join(f"{value:.2f}" for value in values), flush=True)


class Pair:
    """One round of one way of backing up: fresh servers, fresh repositories."""

    def __init__(self, corpus, number, rows, here, data):
        self.corpus, self.number, self.rows, self.here = corpus, number, rows, here
        for name in ("ours", "theirs", "targets"):
            (here / name).mkdir(parents=True)
        self.server = Cluster(here / "server", data)

    def add(self, name, mine, theirs):
        self.rows[name].add(mine, theirs)
        said(self.corpus, name, mine, theirs)

    def timed(self, name, mine, theirs):
        ours, peer = in_turn(self.number, mine, theirs)
        self.add(name, ours[0], peer[0])

    def close(self):
        self.server.stop()


def logical_pair(pair, memory):
    mine = installed.Holdfast(pair.here / "ours", line(pair.server, "databases: [bench]"))
    dump = tools.PgDump(pair.here / "theirs", pair.server)
    (pair.here / "restic").mkdir()
    stream = tools.PgDumpRestic(pair.here / "restic", pair.server)
    try:
        ours, theirs, streamed = in_turn(pair.number, mine.backup, dump.backup, stream.backup)
        pair.add("initial", ours[0], theirs[0])
        pair.add("stream", ours[0], streamed[0])
        pair.add("size", mine.size() / 1e6, stream.size() / 1e6)
        pair.timed("restore", lambda: mine.restore("ours"), lambda: dump.restore("theirs"))
        wanted = pair.server.sum("bench")
        assert pair.server.sum("ours") == wanted and pair.server.sum("theirs") == wanted, "a restore is not what was backed up"
        memory.add(mine.peak)
    finally:
        mine.close()


def starts(pair, directory):
    """What was restored is a server with the same rows."""
    copy = Cluster(pair.here / "copy", directory)
    try:
        assert copy.sum("bench") == pair.server.sum("bench"), "a restore is not what was backed up"
    finally:
        copy.stop()


def physical_pair(pair, memory):
    mine = installed.Holdfast(pair.here / "ours", line(pair.server, "method: physical, databases: [all]"))
    theirs = tools.PgBackRest(pair.here / "theirs", pair.server)
    try:
        pair.timed("initial", mine.backup, theirs.backup)
        pair.add("size", mine.size() / 1e6, theirs.size() / 1e6)
        pair.timed("unchanged", mine.backup, theirs.backup)
        before = mine.size(), theirs.size()
        pair.server.change(pair.number + 1)
        pair.timed("changed", mine.backup, theirs.backup)
        pair.add("growth", (mine.size() - before[0]) / 1e6, (theirs.size() - before[1]) / 1e6)
        pair.timed("restore", lambda: mine.restore(pair.here / "targets" / "ours"), lambda: theirs.restore(pair.here / "targets" / "theirs"))
        starts(pair, pair.here / "targets" / "ours")
        memory.add(mine.peak)
    finally:
        mine.close()


def rows_of(corpus):
    if corpus == "logical":
        return {name: table.Row(name, corpus, unit, goal, less=unit == "MB", peer=peer.name) for name, (peer, goal, unit) in LOGICAL.items()}
    less = {"size", "growth"}
    return {name: table.Row(name, corpus, "MB" if name in less else "s", goal, less=name in less, peer=tools.PgBackRest.name)
            for name, goal in PHYSICAL.items()}


def measure(corpus, place, data, pairs):
    rows = rows_of(corpus)
    memory = table.Limit("memory", corpus, "MiB", MEMORY_MIB, less=True)
    for needed in (tools.PgDumpRestic, tools.PgBackRest):
        for row in rows.values():
            row.why_not = row.why_not or (needed.missing() if needed.name == row.peer else "")
    if not any(row.why_not for row in rows.values()):
        for number in range(pairs):
            pair = Pair(corpus, number, rows, place / f"{corpus}-{number}", data)
            try:
                (logical_pair if corpus == "logical" else physical_pair)(pair, memory)
            finally:
                pair.close()
    return [*rows.values(), memory]
