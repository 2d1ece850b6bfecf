#!/usr/bin/env -S /usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""tests/golden/damage.py BUILD — for every golden repository: holdfast-worker and read.py restore the same
modes, times and links, not only the same bytes; and a bit turned in any object that a restore needs, or
one cut short, makes read.py refuse some backup in one line."""
import hashlib
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


def listing(top):
    for at, directories, files in os.walk(os.fsencode(top)):
        for name in directories + files:
            path = os.path.join(at, name)
            status = os.lstat(path)
            says = b""
            if stat.S_ISLNK(status.st_mode):
                says = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                says = hashlib.sha256(pathlib.Path(os.fsdecode(path)).read_bytes()).hexdigest()
            yield path[len(os.fsencode(top)):], status.st_mode, status.st_mtime_ns, says


def read(store, keys, backup, out):
    return subprocess.run([HERE / "read.py", store, "--reader", keys / "local.reader", backup, out],
                          capture_output=True, text=True, check=False)


def alike(build, golden, keys, work):
    ours, theirs = work / "ours", work / "theirs"
    done = read(golden / "store/local", keys, "latest", theirs)
    assert done.returncode == 0, done.stderr
    subprocess.run([f"{build}/holdfast-worker", "once", "restore", "latest", "--source", "tree", "--store",
                    golden / "store", "--key-set", "local", "--keys", keys, "--to", ours], check=True)
    root = (golden / "root").read_text().strip()
    left, right = (dict((row[0], row[1:]) for row in listing(top / root)) for top in (ours, theirs))
    assert left == right and left, [(p, left.get(p), right.get(p)) for p in left | right if left.get(p) != right.get(p)]


def noticed(store, keys, backups, work, what):
    says = []
    for backup in backups:
        done = read(store, keys, backup, work / "out")
        shutil.rmtree(work / "out", ignore_errors=True)
        says += [done.stderr] if done.returncode else []
    assert says and all(line.startswith("read.py: ") for line in says), f"{what}: {says or 'restored'}"


def damage(golden, keys, work):
    store = work / "store"
    shutil.copytree(golden / "store/local", store)
    backups = sorted(path.name for path in (store / "manifests").iterdir())
    places = [store / "config", *(p for d in ("keys", "index", "manifests", "packs") for p in (store / d).rglob("*"))]
    for path in filter(pathlib.Path.is_file, places):
        whole = path.read_bytes()
        path.chmod(0o600)
        for at in 5, 60 % len(whole), len(whole) // 2:
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
            noticed(store, keys, backups, work, f"{path.name} byte {at}")
        path.write_bytes(whole[:len(whole) // 3])
        noticed(store, keys, backups, work, f"{path.name} cut short")
        path.write_bytes(whole)


def main():
    for golden in sorted(HERE.glob("repository-*")):
        with tempfile.TemporaryDirectory(prefix="hf-golden-") as name:
            work = pathlib.Path(name)
            keys = work / "keys"
            shutil.copytree(golden / "keys", keys)
            for path in keys.iterdir():
                path.chmod(0o600)
            alike(sys.argv[1], golden, keys, work)
            damage(golden, keys, work)


main()
