# SPDX-License-Identifier: Apache-2.0
"""What every benchmark prints: '#' lines that say where and with what, then rows that a table can be
made of. A row sums up its pairs by their median, and says whether its goal was met: yes, no, or skipped
with the reason, which is not met."""
import datetime
import os
import platform
import statistics
import subprocess

HEAD = "benchmark\tcorpus\tours\tpeer\tunit\tratio\tgoal\tmet"


def version_of(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return (done.stdout or done.stderr).strip().splitlines()[0] if done.stdout or done.stderr else ""


def print_head(lines):
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    print(f"# {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M}Z, {os.cpu_count()} processors, {memory:.0f} GiB, "
          f"{platform.system()} {platform.release()}, load before {os.getloadavg()[0]:.1f}")
    for line in lines:
        print(f"# {line}")
    print(HEAD, flush=True)


class Row:
    """One measured thing of one corpus. goal: what the ratio must reach; less=True: must stay below."""

    def __init__(self, name, corpus, unit, goal, less=False, peer="restic"):
        self.name, self.corpus, self.unit, self.goal, self.less, self.peer = name, corpus, unit, goal, less, peer
        self.ours, self.theirs, self.why_not = [], [], ""

    def add(self, ours, theirs):
        self.ours.append(ours)
        self.theirs.append(theirs)

    def text(self):
        goal = f"{'<=' if self.less else '>='}{self.goal:g}x {self.peer}"
        if not self.ours or not self.theirs:
            return f"{self.name}\t{self.corpus}\t-\t-\t{self.unit}\t-\t{goal}\tskipped: {self.why_not or 'not run'}"
        ours, theirs = statistics.median(self.ours), statistics.median(self.theirs)
        ratio = ours / theirs if self.less else theirs / ours
        met = ratio <= self.goal if self.less else ratio >= self.goal
        return f"{self.name}\t{self.corpus}\t{ours:.2f}\t{theirs:.2f}\t{self.unit}\t{ratio:.2f}\t{goal}\t{'yes' if met else 'no'}"


class Limit(Row):
    """A row without a peer: what it is measured against is a number."""

    def add(self, ours, theirs=None):
        self.ours.append(ours)

    def text(self):
        goal = f"{'<=' if self.less else '>='}{self.goal:g} {self.unit}"
        if not self.ours:
            return f"{self.name}\t{self.corpus}\t-\t-\t{self.unit}\t-\t{goal}\tskipped: {self.why_not or 'not run'}"
        worst = max(self.ours) if self.less else min(self.ours)
        met = worst <= self.goal if self.less else worst >= self.goal
        return f"{self.name}\t{self.corpus}\t{worst:.2f}\t-\t{self.unit}\t-\t{goal}\t{'yes' if met else 'no'}"
