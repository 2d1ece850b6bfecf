#!/usr/bin/env -S /usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""tests/golden/hostile.py BUILD directory|bucket [ROW]... — bad input of every kind, one row each, done to a copy of the golden
repository in a directory, or in a bucket: what the programs say has a stable cause, names the object and a next
step, and what the row did not touch still comes back byte for byte. tests/faults.tsv has the kinds."""
import hashlib
import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "harness"))
import s3_server  # noqa: E402

MEMORY = 1 << 30  # what a program may have in all: a crafted length of 4 GiB must not be believed
GOLDEN = HERE / "repository-1"


def limit_memory():
    """Not where an address sanitizer is built in: it lays claim to terabytes of addresses that it never uses."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


class Place:
    """A copy of the golden repository; old and new are its two backups, the first and the last."""

    environment = {}

    def __init__(self, worker, work):
        self.worker, self.work, self.keys, self.out = worker, work, work / "keys", work / "out"
        self.store = self.where = self.begin(work)
        shutil.copytree(GOLDEN / "store", self.store)
        shutil.copytree(GOLDEN / "keys", self.keys)
        for path in self.keys.iterdir():
            path.chmod(0o600)
        self.base, self.set = self.store / "local", "local"
        self.old, self.new = sorted(p.name for p in (self.base / "commits").iterdir())
        self.before = {p: p.read_bytes() for p in self.base.rglob("*") if p.is_file()}

        self.serve()

    def begin(self, work):
        return work / "store"

    def serve(self):
        pass

    def end(self):
        pass

    def tool(self, *words):
        return subprocess.run([self.worker, *map(str, words)], capture_output=True, text=True, timeout=120, check=False,
                              env={**os.environ, **self.environment},
                              preexec_fn=None if b"__asan_init" in pathlib.Path(self.worker).read_bytes() else limit_memory)

    def once(self, *words):
        return self.tool("once", *words, "--store", self.where, "--key-set", self.set, "--keys", self.keys)

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


class Bucket(Place):
    """The same in a bucket of the strict server, where an object is a file too."""

    environment = {"AWS_ACCESS_KEY_ID": "READER", "AWS_SECRET_ACCESS_KEY": "reader/secret"}

    def begin(self, work):
        (work / "s3" / "data" / "backups").mkdir(parents=True)
        return work / "s3" / "data" / "backups" / "prod"

    def serve(self):
        self.control()
        self.server = s3_server.Server(s3_server.Place(self.work / "s3"))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.where = f"s3://backups/prod?endpoint=http://127.0.0.1:{self.server.server_address[1]}"

    def control(self, rights="put,get,list", **more):
        keys = {"READER": {"secret": "reader/secret", "rights": rights}}
        fresh = self.work / "s3" / "control.new"
        fresh.write_text(json.dumps({"keys": keys, **more}))
        fresh.rename(self.work / "s3" / "control.json")

    def end(self):
        self.server.shutdown()
        self.server.server_close()


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


def must(done):
    assert done.returncode == 0, done


def make_keys(place):
    """Another installation's keys, of the same name."""
    other = place.keys.with_name("other")
    other.mkdir(mode=0o700)
    must(place.tool("key", "create", "local", "--dir", other))
    must(place.tool("key", "enroll", "other", "--kit", other / "local.kit", "--keys", other / "local.keys", "--dir", other))
    return other


def other_keys(place):
    place.keys = make_keys(place)
    return "local"


def foreign_repository(place):
    """Another installation's repository lies where ours was, under the same name."""
    other, keys = place.work / "foreign", make_keys(place)
    other.mkdir()
    must(place.tool("repo", "create", "local", "--store", other, "--kit", keys / "local.kit", "--keys", keys / "local.keys"))
    shutil.rmtree(place.base)
    shutil.copytree(other / "local", place.base)
    return "local"


def swapped_manifests(place):
    paths = [place.base / "manifests" / backup for backup in (place.old, place.new)]
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, reversed(contents)):
        path.write_bytes(content)
    return f"manifests/{place.new}"


def crafted_manifest(place):
    """Every length in its head says 4 GiB."""
    path = place.base / "manifests" / place.new
    content = path.read_bytes()
    path.write_bytes(content[:6] + b"\xff" * 26 + content[32:])
    return f"manifests/{place.new}"


def crafted_pack(place):
    path = only_new(place)
    content = path.read_bytes()
    path.write_bytes(content[:6] + b"\xff" * 26 + content[32:])
    return path.name


def crafted_footer(place):
    """The table at the end says how long it is."""
    path = only_new(place)
    path.write_bytes(path.read_bytes()[:-16] + b"\xff" * 16)
    return ""


def crafted_indexes(place):
    """Heads that promise four thousand million packs: these say nothing, and the packs speak for themselves."""
    for path in place.one("index"):
        content = path.read_bytes()
        path.write_bytes(content[:6] + b"\xff" * 26 + content[32:])
    return ""


def missing_indexes(place):
    shutil.rmtree(place.base / "index")
    return ""


def older_keys(place):
    """A record that says which keys count, as somebody else would like it."""
    keys = make_keys(place)
    other = place.work / "foreign"
    other.mkdir()
    must(place.tool("repo", "create", "local", "--store", other, "--kit", keys / "local.kit", "--keys", keys / "local.keys"))
    for path in (place.base / "keys").iterdir():
        path.unlink()
    for path in (other / "local" / "keys").iterdir():
        shutil.copy(path, place.base / "keys" / path.name)
    return "local"


# Of a bucket alone.


def access_denied(place):
    place.control(rights="put")
    return "backups"


def reading_denied(place):
    place.control(rights="put,list")
    return "backups"


def wrong_secret(place):
    place.environment = {**place.environment, "AWS_SECRET_ACCESS_KEY": "guessed"}
    return "backups"


def bucket_gone(place):
    (place.work / "s3" / "data" / "backups").rename(place.work / "s3" / "data" / "elsewhere")
    return "backups"


def skewed_clock(place):
    place.control(clock=7200)
    return "backups"


def another_repository(place):
    """Somebody makes a second one on the same prefix: refused, and the first is as it was."""
    done = place.tool("repo", "create", "local", "--store", place.where, "--kit", place.keys / "local.kit", "--keys", place.keys / "local.keys")
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
    (foreign_repository, "(repo.key_mismatch)", False, False),
    (older_keys, "(repo.key_mismatch)", False, False),
    (swapped_manifests, "(repo.bad_manifest)", False, False),
    (crafted_manifest, "(repo.damaged)", False, True),
    (crafted_pack, "packs/", False, True),
    (crafted_footer, None, None, True),
    (crafted_indexes, None, True, True),
    (missing_indexes, None, True, True),
]

# The same, of a bucket alone.
BUCKET_ROWS = [
    (access_denied, "(store.denied)", False, False),
    (reading_denied, "(store.denied)", False, False),
    (wrong_secret, "(store.credentials)", False, False),
    (bucket_gone, "(store.missing)", False, False),
    (skewed_clock, "(store.clock)", False, False),
]
# What a row says of a directory, and a bucket in other words.
IN_BUCKET = {missing_pack: "is not there", damaged_pack: None}


NEXT = (r"restore another|put (it|the right one) back|put back|take another|mounted|a newer|restore and verify on|once list|"
        r"correct the|set it by NTP|give its access key")


WANTED = {}  # what both backups hold: of all copies the same


def run(worker, kind, row):
    change, cause, new_back, old_back = row
    if kind is Bucket and change in IN_BUCKET:
        cause = IN_BUCKET[change] or cause
    what = f"{change.__name__} in a {kind.__name__.lower()}"
    with tempfile.TemporaryDirectory(prefix="hf-hostile.") as work:
        place = kind(worker, pathlib.Path(work))
        try:
            if not WANTED:
                WANTED.update({backup: place.restored(backup) for backup in (place.old, place.new)})
            assert all(WANTED.values()), what
            named = change(place)
            said = [place.once("verify", place.name(place.new)), place.once("restore", place.name(place.new), "--to", str(place.out) + "2"), place.once("list")]
            text = "\n".join(each.stderr + each.stdout for each in said)
            codes = [each.returncode for each in said]
            assert min(codes) >= 0, f"{what}: a signal ended it: {codes}"
            assert "reader/secret" not in text and "guessed" not in text, f"{what}: {text}"
            if cause is not None:
                assert any(codes), f"{what}: nobody minded: {text}"
                assert cause in text, f"{what}: {cause} is not told: {text}"
                assert named in text, f"{what}: {named} is not named: {text}"
                assert re.search(NEXT, text), f"{what}: no next step: {text}"
            for backup, back in ((place.new, new_back), (place.old, old_back)):
                if back is not None:
                    assert (place.restored(backup) == WANTED[backup]) == back, f"{what}: {backup}"
        finally:
            place.end()


def main():
    worker = str(pathlib.Path(sys.argv[1]).resolve() / "holdfast-worker")
    kind, rows = (Place, ROWS) if sys.argv[2] == "directory" else (Bucket, [row for row in ROWS if row[0] is not store_gone] + BUCKET_ROWS)
    chosen = [row for row in rows if len(sys.argv) < 4 or row[0].__name__ in sys.argv[3:]]
    for row in chosen:
        run(worker, kind, row)
    print(f"bad input of {len(chosen)} kinds: each is named, and harms nothing else")


main()
