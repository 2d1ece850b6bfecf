# SPDX-License-Identifier: Apache-2.0
"""The files of the source tree that lints look at, and how a lint ends."""
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = {".git", ".cache", "dist", "node_modules", "__pycache__", "corpus"}


def files(*suffixes, below=("",)):
    """Paths relative to the root, by suffix, sorted; build folders are left out."""
    found = []
    for path in sorted(ROOT.rglob("*")):
        relative = path.relative_to(ROOT)
        parts = relative.parts
        if SKIPPED & set(parts) or parts[0].startswith("build") or not path.is_file():
            continue
        if suffixes and path.suffix not in suffixes:
            continue
        if any(str(relative).startswith(folder) for folder in below):
            found.append(relative)
    return found


def text(relative):
    return (ROOT / relative).read_text(encoding="utf-8", errors="replace")


def output(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def end(problems, checked):
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems in {checked}")
    sys.exit(1 if problems else 0)
