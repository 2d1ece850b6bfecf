# SPDX-License-Identifier: Apache-2.0
"""What a backup costs who writes meanwhile, by the writer's own clock: pgbench runs as fast as it can, alone and beside
backups that follow one another, in turn."""
import re
import threading

import installed
import table
from cluster import Cluster
from dumps import line

MOST_PERCENT = 5
WAYS = {"logical": "databases: [bench]", "physical": "method: physical, databases: [all]"}


class Backups(threading.Thread):
    """One after the other, until it is told to stop."""

    def __init__(self, mine):
        super().__init__()
        self.mine, self.over, self.count = mine, threading.Event(), 0

    def run(self):
        while not self.over.is_set():
            self.mine.backup()
            self.count += 1


def rate(server, seconds):
    """Transactions a second, as pgbench says."""
    return float(re.search(r"tps = ([0-9.]+)", server.pgbench("-n", "-c", "4", "-T", seconds)).group(1))


def beside(server, mine, seconds):
    backups = Backups(mine)
    backups.start()
    try:
        return rate(server, seconds), backups
    finally:
        backups.over.set()
        backups.join()


def measure(place, data, pairs, seconds):
    rows = []
    for way, words in WAYS.items():
        limit = table.Limit("impact", way, "%", MOST_PERCENT, less=True)
        here = place / f"impact-{way}"
        (here / "ours").mkdir(parents=True)
        server = Cluster(here / "server", data)
        mine = installed.Holdfast(here / "ours", line(server, words))
        try:
            server.pgbench("-n", "-c", "4", "-T", 5)  # warm
            for _ in range(pairs):
                alone = rate(server, seconds)
                shared, backups = beside(server, mine, seconds)
                limit.add(max(0.0, 100 * (alone - shared) / alone))
                print(f"# {way} impact: {alone:.0f} alone, {shared:.0f} transactions a second beside {backups.count} backups", flush=True)
        finally:
            mine.close()
            server.stop()
        rows.append(limit)
    return rows
