# SPDX-License-Identifier: Apache-2.0
"""Where the processor was while a worker did something, by linux-perf: shares of all samples of the worker and of its job's
process, by what the code that ran is for, and how much of the machine's processors was idle."""
import os
import signal
import subprocess

# Whose code it is says what it is for: libraries are used for one thing each.
KINDS = (("libzstd", "compression"), ("libcrypto", "hashes and sealing"), ("libsodium", "hashes and sealing"), ("[kernel", "kernel"),
         ("libc.so", "copies and memory"), ("holdfast-worker", "our code"))
ORDER = ("compression", "hashes and sealing", "kernel", "copies and memory", "our code", "others")


class Profile:
    def __init__(self, pid, place):
        self.pid, self.file = pid, place / "profile"

    def __enter__(self):
        asked, ask = os.pipe()
        heard, answer = os.pipe()
        self.perf = subprocess.Popen(["perf", "record", "-q", "-F", "997", "-e", "cpu-clock", "-p", str(self.pid), "-o", str(self.file),
                                      "--delay", "-1", "--control", f"fd:{asked},{answer}"], pass_fds=(asked, answer), stderr=subprocess.DEVNULL)
        for end in (asked, answer):
            os.close(end)
        with os.fdopen(ask, "w") as to, os.fdopen(heard) as back:
            to.write("enable\n")
            to.flush()
            assert back.read(3) == "ack", "perf did not begin"
        return self

    def __exit__(self, *ignored):
        self.perf.send_signal(signal.SIGINT)
        self.perf.wait()

    def shares(self):
        """{kind: share of the samples}"""
        report = subprocess.run(["perf", "report", "-i", str(self.file), "--stdio", "--sort", "dso", "-g", "none", "-t", "\t"],
                                capture_output=True, text=True, check=True).stdout
        found = dict.fromkeys(ORDER, 0.0)
        for line in report.splitlines():
            share, _, name = line.strip().partition("%")
            if line.startswith("#") or not name:
                continue
            found[next((kind for begin, kind in KINDS if name.strip().startswith(begin)), "others")] += float(share) / 100
        return found

    def line(self, wall, cpu):
        idle = max(0.0, 1 - cpu / (wall * os.cpu_count()))
        return f"{wall:.2f} s, {cpu:.2f} s of processors, {idle * 100:.0f} % of them idle or others'; of ours " + \
            ", ".join(f"{kind} {share * 100:.0f} %" for kind, share in self.shares().items())
