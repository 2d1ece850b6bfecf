# SPDX-License-Identifier: Apache-2.0
"""The disk below a repository fails at any write, sync or name; power goes at any operation."""
import os
import pathlib
import shutil
import subprocess
import time

import faultio
import invariants
from installation import BUILD, Installation, wait_until
from settings import need_root, short_or


def each_failure(place, call, error, stride):
    """Fails the 1st, the 2nd, … call on the store, a backup each, until one run passes without reaching it."""
    plan, nth, struck = place.faults["w1"], 1, 0
    plan.only(place.store)
    while True:
        (place.top / "tree" / "s1" / f"more-{call}-{nth}").write_bytes(os.urandom(50000))
        plan.fail(call, nth, error)
        place.complete(place.run("s1"))
        hit = plan.hit(call)
        plan.heal()
        if not hit:
            return struck
        struck += 1
        nth += stride


def failures_of(call, errors):
    with Installation(workers=0, files=4, file_bytes=30000, sources=1) as place:
        place.hire("w1", faults=True)
        place.wait_workers(1)
        place.complete(place.run("s1"))
        for error in errors:
            assert each_failure(place, call, error, short_or(2, 1)) >= 2
        place.check()


def test_a_full_disk_at_any_write_leaves_no_half_object():
    failures_of("write", ("ENOSPC",))


def test_a_disk_that_fails_at_any_write_leaves_no_half_object():
    failures_of("write", ("EIO",))


def test_a_sync_that_fails_is_never_tried_again_on_the_same_file():
    failures_of("fsync", ("EIO",))


def test_a_name_that_cannot_be_given_is_no_object():
    failures_of("link", ("EIO",))


def test_a_file_that_cannot_be_made_is_an_error_with_a_name():
    failures_of("open", ("ENOSPC",))


def test_a_store_that_runs_full_and_has_room_again():
    need_root("a file system of its own")
    mount = pathlib.Path(f"/tmp/hf-full.{os.getpid()}")
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(mount)], check=True)
    try:
        (mount / "store").mkdir(mode=0o700)
        with Installation(workers=1, files=20, file_bytes=500000, sources=1, store=mount / "store") as place:
            filler = mount / "filler"
            filler.write_bytes(b"x" * (18 << 20))
            job = place.run("s1")
            wait_until(lambda: place.count(f"SELECT failures FROM job WHERE id = {job}") > 0, 60, "the disk was full")
            filler.unlink()
            place.complete(job)
            place.check()
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=False)
        mount.rmdir()


def test_a_store_that_does_not_answer_costs_its_job_nothing_but_the_time():
    """Longer than the lease: a job is not lost while its worker beats, however its store hangs."""
    with Installation(workers=0, files=4, file_bytes=30000, sources=1) as place:
        place.hire("w1", faults=True)
        place.wait_workers(1)
        plan = place.faults["w1"]
        plan.only(place.store)
        for number, call in enumerate(("open", "write", "fsync", "link")):
            (place.top / "tree" / "s1" / f"more-{call}").write_bytes(os.urandom(50000))
            plan.hang(call, 1 + number % 2)
            job = place.run("s1")
            wait_until(lambda c=call: plan.hit(c), what=f"the store hangs in {call}")
            time.sleep(short_or(2.5 * place.timers["lease_s"], 300))
            assert place.state(job) == "running", place.catalogue.rows(f"SELECT to_jsonb(j) FROM job j WHERE id = {job}")
            plan.heal()
            place.complete(job)
            assert place.attempts(job) == 1 and place.count(f"SELECT losses + failures FROM job WHERE id = {job}") == 0
        place.check()


def made(log):
    """[(path, made anew, mode)...] of every file and folder that was made."""
    return [(path, other.startswith("new ") or what != "create", int(other.split()[-1], 8))
            for what, path, other, _, _ in log if what in ("create", "unnamed", "mkdir")]


def test_nothing_that_is_made_is_anybody_elses_before_it_is_whole():
    """Under an umask that forbids nothing. A restored file has its owner and mode before it has its name."""
    umask = os.umask(0)
    try:
        with Installation(workers=0, files=3, file_bytes=20000, sources=1) as place:
            tree = place.top / "tree" / "s1"
            for name, mode in (("f000", 0o666), ("f001", 0o755), ("f002", 0o400)):
                (tree / name).chmod(mode)
            place.faults["w1"] = plan = faultio.Plan(place.top / "faults-w1", log=place.top / "operations")
            plan.only(place.top)
            place.hire("w1", plan.environment())
            place.wait_workers(1)
            place.complete(place.run("s1"))
            subprocess.run([str(BUILD / "holdfast-worker"), "once", "restore", "latest", "--source", "s1", "--store", str(place.store),
                            "--key-set", "local", "--keys", str(place.top / "keys"), "--to", str(place.top / "restore" / "out")],
                           check=True, capture_output=True, env={**os.environ, **plan.environment()})
            log = operations(place.top / "operations")
            found = made(log)
            assert sum(str(place.store) in path for path, _, _ in found) >= 4 and sum("/restore/" in path for path, _, _ in found) >= 5, found
            assert not [each for each in found if each[2] & 0o077 or not each[1]], found
            for name in ("f000", "f001", "f002"):
                out = f"{place.top}/restore/out{tree}/{name}"
                named = [n for n, each in enumerate(log) if each[0] in ("link", "rename") and each[2] == out]
                assert len(named) == 1, (name, named)
                inode = log[named[0]][1]
                last = {what: max([n for n, each in enumerate(log) if each[0] == what and each[1] == inode], default=-1)
                        for what in ("write", "owner", "mode")}
                assert -1 < last["write"] < last["mode"] < named[0] and last["owner"] < last["mode"], (name, last, named)
            place.check()
    finally:
        os.umask(umask)


# --- power cut: the log of operations is replayed in part --------------------------------------------


def operations(path):
    """[(what, path, other, offset, bytes)...] as the fault library wrote them."""
    content, at, found = pathlib.Path(path).read_bytes(), 0, []
    while at < len(content):
        end = content.index(b"\n", at)
        what, name, other, offset, size = content[at:end].decode("utf-8", "surrogateescape").split("\t")
        found.append((what, name, other, int(offset), content[end + 1:end + 1 + int(size)]))
        at = end + 1 + int(size)
    return found


class Disk:
    """Files as a disk would hold them: what was not synced may be there or not."""

    def __init__(self, base):
        self.files, self.directories = {}, set()  # path -> inode; inode: [bytes, bytes that are safe]
        self.names = {}  # path -> inode, safe names only
        self.nodes = {}
        for path in base.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                self.files[str(path)] = self.names[str(path)] = [bytearray(content), bytes(content)]

    def node(self, path):
        path = path.replace(" (deleted)", "")
        return self.files.get(path) or self.nodes.setdefault(path, [bytearray(), b""])

    def apply(self, operation):
        what, path, other, offset, content = operation
        if what == "create":
            self.files[path] = [bytearray(), b""]
        elif what == "write":
            node = self.node(path)
            node[0][offset:offset + len(content)] = content
        elif what == "link":
            self.files[other] = self.node(path)
        elif what == "rename":
            self.files[other] = self.files.pop(path)
        elif what == "unlink":
            self.files.pop(path, None)
        elif what == "fsync":
            self.sync(path)

    def sync(self, path):
        if path in self.files or path.replace(" (deleted)", "") in self.nodes:
            node = self.node(path)
            node[1] = bytes(node[0])
            return
        inside = {p: n for p, n in self.files.items() if os.path.dirname(p) == path}
        for gone in [p for p in self.names if os.path.dirname(p) == path and p not in inside]:
            del self.names[gone]
        self.names.update(inside)

    def after(self, kind, where):
        """Writes what a power cut leaves. all: everything reached the disk; safe: only what was synced;
        names: every name, but of contents only what was synced."""
        shutil.rmtree(where, ignore_errors=True)
        for path, node in (self.names if kind == "safe" else self.files).items():
            out = pathlib.Path(where) / path.lstrip("/")
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_bytes(bytes(node[0]) if kind == "all" else node[1])


def cut(place, disk, kind, commits):
    """The store after a cut holds every backup that was committed before it, whole."""
    where = place.top / "cut"
    disk.after(kind, where)
    store = pathlib.Path(str(where) + str(place.store))
    for uuid in commits:
        words = [str(BUILD / "holdfast-worker"), "once", "verify", invariants.name_of(uuid), "--store", str(store), "--key-set", "local",
                 "--keys", str(place.top / "keys")]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{kind}: {uuid}: {done.stdout}{done.stderr}"
    for path in store.rglob("*"):
        if path.is_file() and not path.name.startswith(".tmp") and path.parent.name != "local":
            assert path.stat().st_size > 0 or kind == "all", f"{kind}: {path} is empty"


def test_power_lost_at_any_operation_leaves_the_old_or_the_new_state():
    with Installation(workers=0, files=3, file_bytes=20000, sources=1) as place:
        place.hire("w0")
        place.complete(place.run("s1"))
        place.kill("w0", 15)
        disk = Disk(place.store)
        place.faults["w1"] = plan = faultio.Plan(place.top / "faults-w1", log=place.top / "operations")
        plan.only(place.store)
        place.hire("w1", plan.environment())
        place.wait_workers(1)
        old = [row[0] for row in place.catalogue.rows("SELECT id FROM backup")]
        (place.top / "tree" / "s1" / "new").write_bytes(os.urandom(70000))
        place.complete(place.run("s1"))
        wait_until(lambda: place.count("SELECT count(*) FROM backup WHERE marker_at IS NULL") == 0, what="the marker is there")
        log = operations(place.top / "operations")
        assert len(log) > 15
        new = [row[0] for row in place.catalogue.rows("SELECT id FROM backup")]
        marker = [n for n, each in enumerate(log) if "/commits/" in each[2]]
        assert marker
        for number, operation in enumerate(log):
            disk.apply(operation)
            committed = new if number >= marker[0] else old
            for kind in ("all", "safe", "names"):
                cut(place, disk, kind, committed if kind != "names" else old)
        place.check()
