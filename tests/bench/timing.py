# SPDX-License-Identifier: Apache-2.0
"""How long a command takes, and how much lies somewhere."""
import os
import pathlib
import resource
import subprocess
import time


def timed(command, environment=None, **more):
    """Runs it to its end; what it printed is shown when it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    done = subprocess.run([str(word) for word in command], env={**os.environ, **(environment or {})}, capture_output=True, check=False, **more)
    wall = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.returncode}: {done.stdout[-2000:]!r} {done.stderr[-2000:]!r}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def bytes_below(directory):
    return sum(path.lstat().st_size for path in pathlib.Path(directory).rglob("*") if path.is_file())
