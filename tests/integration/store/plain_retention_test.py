# SPDX-License-Identifier: Apache-2.0
"""Plain copies go by rules of their own: file and .meta together, what is not ours never, kill -9 between the two
costs nothing. A backup is deleted in one store or everywhere, restored from the store that is named, and exported
through the API as the very file that a plain copy is."""
import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from copy_test import Stores, same  # noqa: E402
from installation import wait_until  # noqa: E402


class Kept(Stores):
    def fleet(self, *words):
        return super().fleet(*words).replace("[{store: main}, {store: second}, {store: cloud}]",
                                             "[{store: main, keep_last: 9}, {store: second, keep_last: 8}, "
                                             "{store: second, layout: plain, name: '{source}_{time}', keep_last: 2}]")

    def enroll(self, name):
        super().enroll(name)
        own = self.top / f"{name}.yaml"
        own.write_text(own.read_text().replace("allow:\n", f"api: http://127.0.0.1:{self.api_c1}\nallow:\n  allow_plain: true\n"))

    def quiet(self):
        wait_until(lambda: not self.count("SELECT count(*) FROM job WHERE finished_at IS NULL"), what="all jobs ended")

    def files(self):
        return sorted(path.name for path in self.second.iterdir() if path.is_file() and not path.is_symlink() and "latest" not in path.name)

    def back_up(self):
        done = self.count("SELECT count(*) FROM plain_copy WHERE committed_at IS NOT NULL")
        self.complete(self.run("s2"))
        wait_until(lambda: self.count("SELECT count(*) FROM plain_copy WHERE committed_at IS NOT NULL") == done + 1, what="the plain copy is made")
        self.quiet()

    def retain(self):
        self.must("retention", "run", "s2", "--reason", "a test", "--wait")
        self.quiet()


def rules_of_their_own(place):
    for n in range(4):
        (place.top / "tree/s2" / f"more{n}").write_bytes(os.urandom(50_000))
        place.back_up()
    before = place.files()
    assert len(before) == 8, before
    (place.second / "notes.txt").write_text("mine")
    place.retain()
    assert place.files() == ["notes.txt", *before[4:]], place.files()
    assert os.readlink(place.second / "s2_latest.tar.gz") == before[6]
    assert place.count("SELECT count(*) FROM backup_place WHERE deleted_at IS NULL") == 8
    assert place.count("SELECT count(*) FROM audit_event WHERE action = 'plain.delete'") == 2
    shown = json.loads(place.must("backup", "show", "s2@latest", "--json"))["plain"]
    assert shown[0]["state"] == "ok" and "last" in shown[0]["reason"], shown


def what_is_not_ours_stays(place):
    oldest = place.second / place.files()[1]
    oldest.chmod(0o600)
    oldest.write_bytes(b"somebody's")
    place.back_up()
    place.retain()
    assert oldest.read_bytes() == b"somebody's"
    assert place.count("SELECT count(*) FROM job_log WHERE event = 'plain.foreign'") == 1


def killed_between_file_and_meta(place):
    place.back_up()
    place.kill("w1")
    place.hire("w2", {"HOLDFAST_CRASHPOINT": "1", "HOLDFAST_CRASHPOINT_ONLY": "plain.removed"})
    place.must("retention", "run", "s2", "--reason", "a test")
    wait_until(lambda: place.count("SELECT count(*) FROM job j JOIN job_attempt a ON a.job = j.id WHERE j.kind = 'prune' AND a.outcome = 'failed'"),
               what="it dies between the two")
    place.kill("w2")
    place.hire("w1")
    place.do("UPDATE job SET run_at = clock_timestamp() WHERE kind = 'prune' AND state = 'pending'")
    place.quiet()
    left = [name for name in place.files() if name.startswith("s2_") and name.endswith(".meta")]
    gone = place.count("SELECT count(*) FROM plain_copy WHERE deleted_at IS NOT NULL AND gone_at IS NULL")
    assert gone == 0 and all((place.second / name[:-5]).exists() for name in left), (gone, place.files())


def held_ones_stay(place):
    place.must("backup", "hold", "s2@latest~1", "--reason", "a test", "--wait")
    place.back_up()
    place.back_up()
    place.retain()
    held = json.loads(place.must("backup", "show", "s2@latest~3", "--json"))["plain"]
    assert held and held[0]["state"] == "ok", held


def in_one_store_or_everywhere(place):
    place.must("backup", "delete", "s2@latest", "--store", "second", "--reason", "a test", "--wait")
    place.quiet()
    shown = json.loads(place.must("backup", "show", "s2@latest", "--json"))
    assert {row["store"]: row["state"] for row in shown["copies"]} == {"main": "ok", "second": "gone"}, shown["copies"]
    assert shown["plain"] == [], shown["plain"]
    nowhere = place.command("backup", "delete", "s2@latest", "--store", "cloud", "--reason", "a test")
    assert nowhere.returncode == 5 and "is not in store cloud" in nowhere.stderr, nowhere


def restored_from_the_store_that_is_named(place):
    out = place.top / "restore" / "named"
    place.must("restore", "s2@latest~1", "--from", "second", "--to", out, "--yes", "--follow")
    answer = json.loads(place.catalogue.one("SELECT a.answer FROM job_answer a JOIN job j ON j.id = a.job WHERE j.kind = 'restore' "
                                            "ORDER BY j.id DESC LIMIT 1"))
    assert answer["from"] == "second", answer
    nowhere = place.command("restore", "s2@latest", "--from", "second", "--to", out, "--yes")
    assert nowhere.returncode == 5 and "is not in store second" in nowhere.stderr, nowhere


def exported_through_the_api(place):
    out = place.top / "exported.tar.gz"
    place.must("backup", "export", "s2@latest", "--out", out)
    (place.top / "unpacked").mkdir()
    subprocess.run(["tar", "-xzf", str(out), "-C", str(place.top / "unpacked")], check=True)
    same(place.top / "tree/s2", pathlib.Path(f"{place.top}/unpacked{place.top}/tree/s2"))


def main():
    with Kept(workers=1, sources=2, files=6, file_bytes=100_000, prune=True) as place:
        rules_of_their_own(place)
        what_is_not_ours_stays(place)
        killed_between_file_and_meta(place)
        held_ones_stay(place)
        in_one_store_or_everywhere(place)
        restored_from_the_store_that_is_named(place)
        exported_through_the_api(place)
        place.check()
        place.server.shutdown()
    print("plain copies went by their own rules")


if __name__ == "__main__":
    main()
