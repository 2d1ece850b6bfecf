# SPDX-License-Identifier: Apache-2.0
"""What can keep a backup from being proved has a name and a next step, and nothing of the try stays: a page that is damaged
in the sandbox, a pack that is damaged in the store, a question with another answer, room that this
host lacks, a folder that is somebody else's."""
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from stand import BINARIES, Proving  # noqa: E402


def host_lacks(place):
    """Nothing is made where it is known before that it will not do."""
    place.again(", most: 32MiB")
    place.proved("s1", "ok")
    checks = place.proved("bank", "inconclusive", "sandbox.space")
    assert "allow.sandbox.most" in checks["text"], checks
    place.again("")
    (place.sandbox).chmod(0o777)
    place.proved("s1", "inconclusive", "sandbox.folder")
    (place.sandbox).chmod(0o711)
    if os.geteuid() == 0:
        shutil.chown(place.sandbox, "postgres")
        checks = place.proved("s1", "inconclusive", "sandbox.folder")
        assert "belongs to user" in checks["text"], checks
        shutil.chown(place.sandbox, 0)
    row = place.proof("s1")
    assert row["verdict"] == "inconclusive" and row["last_cause"] == "sandbox.folder" and row["proven_at"], row
    place.proved("s1", "ok")


def question(place):
    """The policy's question has another answer: the first is named, each is asked."""
    place.in_bank("bank", "DELETE FROM entry_1; DELETE FROM account WHERE id > 5")
    place.complete(place.run("bank"))
    checks = place.proved("bank", "failed", "proof.query", level="query")
    assert [each["ok"] for each in checks["queries"]] == [False, True] and checks["queries"][0]["got"] == "5", checks
    attention = place.command("status").stdout
    assert "restoring bank to prove it" in attention, attention
    place.proved("bank", "ok")


def is_btree(raw):
    return raw[24:28] == (0x053162).to_bytes(4, "little")  # its first page says so


def is_heap(raw):
    return len(raw) > 0 and raw[16:18] == (8192).to_bytes(2, "little")  # no index has pages without a tail of its own


def damaged_page(place):
    """A byte turns in a table's file of the sandbox, and in an index that no counting reads: the server that was started
    anew reads them from the disk."""
    def flip(kind):
        data = next(place.sandbox.glob("proof-*/data"))
        paths = [each for each in data.glob("base/*/*") if each.name.isdigit() and int(each.name) >= 16384 and kind(each.read_bytes())]
        path = max(paths, key=lambda each: each.stat().st_size)
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2 + 100] ^= 0xff
        with open(path, "r+b") as file:
            file.write(raw)
    for kind, cause in ((is_heap, "proof.query"), (is_btree, "proof.amcheck")):
        result, checks, _ = place.stopped_at("sandbox.stopped", lambda _, kind=kind: flip(kind))
        assert result == "failed" and checks["cause"] == cause and "invalid page" in checks["text"], (kind, result, checks)
        place.clean()


def rows_differ(place):
    """A row goes after it was counted by the restore: it is counted again."""
    def delete(_):
        run = next(place.sandbox.glob("proof-*/run"))
        subprocess.run([BINARIES + "psql", "-X", "-q", "-h", str(run), "-U", "postgres", "-d", "bank", "-c", "DELETE FROM account WHERE id = 19999"],
                       check=True)
    result, checks, _ = place.stopped_at("proof.settled", delete)
    assert result == "failed" and checks["cause"] == "proof.rows" and '"account"' in checks["text"], (result, checks)
    place.clean()


def damaged_file(place):
    """The same in a file that was restored."""
    def flip(_):
        path = next(place.sandbox.glob(f"proof-*/data{place.top}/tree/s1/f003"))
        about = path.stat()
        raw = bytearray(path.read_bytes())
        raw[100] ^= 1
        path.write_bytes(raw)
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    result, checks, _ = place.stopped_at("proof.settled", flip, "s1")
    assert result == "failed" and checks["cause"] == "proof.files" and "f003: its content differs" in checks["text"], (result, checks)
    assert checks["different"] == 1, checks
    place.clean()


def damaged_pack(place):
    """One byte of a pack in the store: the backup is not what it was, and no older proof hides that."""
    packs = sorted((place.store / "local" / "packs").glob("*/*"), key=lambda each: each.stat().st_size)
    raw = bytearray(packs[-1].read_bytes())
    raw[len(raw) // 2] ^= 1
    packs[-1].chmod(0o600)
    packs[-1].write_bytes(raw)
    checks = place.proved("s1", "failed", "repo.damaged")
    assert checks["text"], checks
    assert place.proof("s1")["verdict"] == "failed"
    assert "were not what they should be" in place.command("doctor").stdout


CASES = [host_lacks, rows_differ, damaged_page, damaged_file, question]


def main(names):
    with Proving(workers=1, sources=1) as place:
        place.complete(place.run("s1"), place.run("bank"))
        for case in CASES:
            if not names or case.__name__ in names:
                case(place)
                print("ok", case.__name__, flush=True)
        place.check()
        damaged_pack(place)


if __name__ == "__main__":
    main(sys.argv[1:])
