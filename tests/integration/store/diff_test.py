# SPDX-License-Identifier: Apache-2.0
"""Two backups of one source that lie in different stores are compared where each lies, and the answer is the one
that a single store gives; a store that is gone is passed over; a worker that reaches one of the two alone is not
asked, and says what it lacks; two key sets are refused by name."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from copy_test import PrunedStores  # noqa: E402
from installation import BUILD, wait_until  # noqa: E402


class Apart(PrunedStores):
    def make_keys(self):
        super().make_keys()
        keys = self.top / "keys"
        self.tool("key", "create", "other", "--dir", keys)
        self.tool("key", "enroll", os.uname().nodename, "--kit", keys / "other.kit", "--keys", keys / "other.keys", "--dir", keys)
        self.tool("repo", "create", "other", "--store", self.store, "--kit", keys / "other.kit", "--keys", keys / "other.keys")

    def fleet(self, *words):
        return super().fleet(*words).replace("keys: {local: {}}", "keys: {local: {}, other: {}}")

    def enroll(self, name):
        super().enroll(name)
        own = self.top / f"{name}.yaml"
        own.write_text(own.read_text().replace("key_sets: [local]", "key_sets: [local, other]"))

    def quiet(self):
        wait_until(lambda: not self.count("SELECT count(*) FROM job WHERE finished_at IS NULL"), what="all jobs ended")

    def back_up(self):
        self.complete(self.run("s2"))
        self.quiet()
        return self.catalogue.one("SELECT backup_text(id) FROM backup ORDER BY committed_at DESC LIMIT 1")

    def leave(self, backup, *stores):
        """The backup in these stores alone."""
        shown = json.loads(self.must("backup", "show", backup, "--json"))["copies"]
        for other in {row["store"] for row in shown if row["state"] == "ok"} - set(stores):
            self.must("backup", "delete", backup, "--store", other, "--reason", "a test", "--wait")
        self.quiet()

    def lists(self, *backups):
        return changes(self.must("backup", "diff", *backups, "--json"))


def changes(text):
    return {row["path"].rsplit("/", 1)[1]: row["change"] for row in json.loads(text) if row["type"] == "file"}


def main():
    with Apart(workers=1, sources=2, files=400, file_bytes=3000, prune=True) as place:
        tree = place.top / "tree/s2"
        for n in range(10):
            (tree / f"large{n}").write_bytes(os.urandom(900_000))
        a = place.back_up()
        (tree / "f007").write_bytes(b"changed")
        (tree / "large3").write_bytes(os.urandom(900_000))
        (tree / "f008").unlink()
        (tree / "new").write_bytes(b"new")
        b = place.back_up()
        wanted = {"f007": "changed", "large3": "changed", "f008": "removed", "new": "added"}
        assert place.lists(a, b) == wanted, place.lists(a, b)

        place.leave(a, "main")
        place.leave(b, "second", "cloud")
        turned = {**wanted, "f008": "added", "new": "removed"}
        assert place.lists(a, b) == wanted, "where each of them lies"
        assert place.lists(b, a) == turned, "and the other way round"

        shutil.move(place.second, place.top / "gone")
        assert place.lists(a, b) == wanted, "what is gone is passed over for the next place"
        assert place.lists(b, a) == turned
        shutil.move(place.top / "gone", place.second)
        place.leave(b, "second")
        assert place.lists(a, b) == wanted

        place.kill("w1", 15)
        place.enroll("w3")
        own = place.top / "w3.yaml"
        own.write_text(own.read_text().replace("stores: [main, second, cloud]", "stores: [main]"))
        place.hire("w3")
        asked = [subprocess.Popen([str(BUILD / "holdfast"), "backup", "diff", *words, "--json"], stdout=subprocess.PIPE, text=True, env=place.operator())
                 for words in ((a, b), (b, a))]
        wait_until(lambda: place.count("SELECT count(DISTINCT j.id) FROM decision d JOIN job j ON j.id = d.job WHERE j.kind = 'probe' "
                                       "AND d.text LIKE '%store second%'") == 2, what="the decisions say what it lacks")
        place.hire("w1")
        assert [changes(one.communicate(timeout=60)[0]) for one in asked] == [wanted, turned], "whoever reaches both is asked"

        text = (place.top / "fleet.yaml").read_text()
        (place.top / "fleet.yaml").write_text(text.replace("s2: {type: files, policy: far,", "s2: {type: files, policy: p, encryption: other,"))
        place.must("policy", "apply", place.top / "fleet.yaml")
        c = place.back_up()
        refused = place.command("backup", "diff", a, c)
        assert refused.returncode == 2 and "they lie under two key sets, local and other" in refused.stderr, refused
        place.server.shutdown()
    print("backups in different stores were compared")


if __name__ == "__main__":
    main()
