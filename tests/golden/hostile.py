#!/usr/bin/env -S /usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""tests/golden/hostile.py BUILD — bad input of every kind, one row each, done to a copy of the golden repository:
what the programs say has a stable cause, names the object and a next step, and what the row did not touch still
comes back byte for byte."""
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
GOLDEN = HERE / "repository-1"


class Place:
    """A copy of the golden repository; old and new are its two backups, the first and the last."""

    def __init__(self, worker, work):
        self.worker, self.store, self.keys, self.out = worker, work / "store", work / "keys", work / "out"
        shutil.copytree(GOLDEN / "store", self.store)
        shutil.copytree(GOLDEN / "keys", self.keys)
        for path in self.keys.iterdir():
            path.chmod(0o600)
        self.base, self.set = self.store / "local", "local"
        self.old, self.new = sorted(p.name for p in (self.base / "commits").iterdir())
        self.before = {p: p.read_bytes() for p in self.base.rglob("*") if p.is_file()}

    def once(self, *words):
        return subprocess.run([self.worker, "once", *words, "--store", str(self.store), "--key-set", self.set, "--keys", str(self.keys)],
                              capture_output=True, text=True, timeout=120, check=False)

    def name(self, backup):
        number, digits = int(backup.replace("-", ""), 16), "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
        return "bk_" + "".join(digits[number >> (5 * n) & 31] for n in reversed(range(26)))

    def restored(self, backup):
        """{path: sha256} of a backup; None where it does not come back whole."""
        shutil.rmtree(self.out, ignore_errors=True)
        if self.once("restore", self.name(backup), "--to", str(self.out)).returncode != 0:
            return None
        return {str(p.relative_to(self.out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in self.out.rglob("*") if p.is_file() and not p.is_symlink()}

    def one(self, folder):
        return sorted(p for p in (self.base / folder).rglob("*") if p.is_file())


def only_new(place):
    """A pack that the older backup does not need: found by taking it away."""
    for path in place.one("packs"):
        content = path.read_bytes()
        path.unlink()
        spared = place.restored(place.old) is not None and place.restored(place.new) is None
        path.write_bytes(content)
        if spared:
            return path
    raise AssertionError("each pack is needed by the older backup")


def turn(path, at=-100):
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(bytes(content))


# Each changes the place and returns the object whose name must be told ("": none), and says what it did.


def damaged_pack(place):
    path = only_new(place)
    turn(path, len(path.read_bytes()) // 3)
    return path.name


def missing_pack(place):
    path = only_new(place)
    path.unlink()
    return path.name


def truncated_pack(place):
    path = only_new(place)
    path.write_bytes(path.read_bytes()[:200])
    return path.name


def swapped_packs(place):
    path = only_new(place)
    other = next(p for p in place.one("packs") if p != path)
    path.write_bytes(other.read_bytes())
    return path.name


def damaged_manifest(place):
    turn(place.base / "manifests" / place.new)
    return f"manifests/{place.new}"


def truncated_manifest(place):
    path = place.base / "manifests" / place.new
    path.write_bytes(path.read_bytes()[:120])
    return f"manifests/{place.new}"


def missing_manifest(place):
    (place.base / "manifests" / place.new).unlink()
    return place.name(place.new)


def replayed_manifest(place):
    shutil.copy(place.base / "manifests" / place.old, place.base / "manifests" / place.new)
    return f"manifests/{place.new}"


def foreign_manifest(place):
    (place.base / "manifests" / place.new).write_bytes(os.urandom(4000))
    return f"manifests/{place.new}"


def newer_manifest(place):
    path = place.base / "manifests" / place.new
    content = bytearray(path.read_bytes())
    content[4] = 99
    path.write_bytes(bytes(content))
    return f"manifests/{place.new}"


def wrong_marker(place):
    shutil.copy(place.base / "commits" / place.old, place.base / "commits" / place.new)
    return f"commits/{place.new}"


def garbage_beside(place):
    (place.base / "manifests" / "00000000-0000-4000-8000-00000000000a").write_bytes(b"HFOB" + bytes(60))
    (place.base / "index" / "00000000-0000-4000-8000-00000000000b").write_bytes(b"")
    (place.base / "packs" / "00").mkdir(exist_ok=True)
    (place.base / "packs" / "00" / "00000000-0000-4000-8000-00000000000c").write_bytes(b"HFPK" + bytes(10))
    return ""


def damaged_config(place):
    turn(place.base / "config")
    return "config"


def no_config(place):
    (place.base / "config").unlink()
    return "config"


def newer_config(place):
    content = bytearray((place.base / "config").read_bytes())
    content[4] = 99
    (place.base / "config").write_bytes(bytes(content))
    return "config"


def damaged_keys(place):
    turn(place.base / "keys" / "local")
    return "keys/local"


def store_gone(place):
    place.store.rename(place.store.with_name("elsewhere"))
    return str(place.store)


def not_a_reader(place):
    (place.keys / "local.reader").unlink()
    return "local"


def other_keys(place):
    other = place.keys.with_name("other")
    other.mkdir(mode=0o700)
    subprocess.run([place.worker, "key", "create", "local", "--dir", str(other)], check=True, capture_output=True)
    kit, keys = other / "local.kit", other / "local.keys"
    subprocess.run([place.worker, "key", "enroll", "other", "--kit", str(kit), "--keys", str(keys), "--dir", str(other)], check=True,
                   capture_output=True)
    place.keys = other
    return "local"


def another_repository(place):
    """Somebody makes a second one on the same prefix: refused, and the first is as it was."""
    done = subprocess.run([place.worker, "repo", "create", "local", "--store", str(place.store), "--kit", str(place.keys / "local.kit"),
                           "--keys", str(place.keys / "local.keys")], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "repo.exists" in done.stderr, done
    return ""


# (what is done, the cause that is told, does the newer backup still come back, does the older one)
ROWS = [
    (damaged_pack, "sealed bytes fail their check", False, True),
    (missing_pack, "the store has no packs/", False, True),
    (truncated_pack, "ends early", False, True),
    (swapped_packs, "it is another pack", False, True),
    (damaged_manifest, "(seal.damaged)", False, True),
    (truncated_manifest, "(repo.damaged)", False, True),
    (missing_manifest, "(once.backup)", False, True),
    (replayed_manifest, "(repo.bad_manifest)", False, True),
    (foreign_manifest, "(repo.damaged)", False, True),
    (newer_manifest, "(repo.version)", False, True),
    (wrong_marker, "is not a valid marker", None, True),
    (garbage_beside, None, True, True),
    (damaged_config, "config, which never changes", False, False),
    (no_config, "(store.not_a_repository)", False, False),
    (newer_config, "(repo.version)", False, False),
    (damaged_keys, "(repo.key_mismatch)", False, False),
    (store_gone, "(store.missing)", False, False),
    (not_a_reader, "(repo.no_reader)", False, False),
    (other_keys, "(repo.key_mismatch)", False, False),
    (another_repository, None, True, True),
]


def run(worker, row):
    change, cause, new_back, old_back = row
    with tempfile.TemporaryDirectory(prefix="hf-hostile.") as work:
        place = Place(worker, pathlib.Path(work))
        wanted = {backup: place.restored(backup) for backup in (place.old, place.new)}
        assert all(wanted.values())
        named = change(place)
        said = [place.once("verify", place.name(place.new)), place.once("restore", place.name(place.new), "--to", str(place.out) + "2"), place.once("list")]
        text = "\n".join(each.stderr + each.stdout for each in said)
        codes = [each.returncode for each in said]
        for code in codes:
            assert code >= 0, f"{change.__name__}: a signal ended it: {codes}"
        if cause is not None:
            assert any(codes), f"{change.__name__}: nobody minded: {text}"
            assert cause in text, f"{change.__name__}: {cause} is not told: {text}"
            assert named in text, f"{change.__name__}: {named} is not named: {text}"
            assert re.search(r"restore another|put (it|the right one) back|put back|take another|mounted|a newer|restore and verify on|once list", text), \
                f"{change.__name__}: no next step: {text}"
        for backup, back in ((place.new, new_back), (place.old, old_back)):
            if back is not None:
                assert (place.restored(backup) == wanted[backup]) == back, f"{change.__name__}: {backup}"


def main():
    worker = str(pathlib.Path(sys.argv[1]).resolve() / "holdfast-worker")
    rows = [row for row in ROWS if len(sys.argv) < 3 or row[0].__name__ in sys.argv[2:]]
    for row in rows:
        run(worker, row)
    print(f"bad input of {len(rows)} kinds: each is named, and harms nothing else")


main()
