# SPDX-License-Identifier: Apache-2.0
"""What stays of a group: the members' backups of a barrier as long as the first member's, whatever their own rules say; all of it
in place again, one member after the other; and the barriers themselves when the catalogue is made anew from the store."""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "faults")]
from group_test import EACH, FILES, NEVER, SUM, Shop, ask  # noqa: E402
from rebuild_faults import drop, hire_again, rebuild  # noqa: E402


class Kept(Shop):
    def restore_paths(self):
        return ["/"]

    def fleet(self, *words):
        text = super().fleet(*words).replace("copies: [{store: main}]", "copies: [{store: main, keep_last: 9}]", 1)
        text = text.replace("policies: {p:", f"policies: {{q: {{schedule: {NEVER}, copies: [{{store: main, keep_last: 1}}]}}, p:")
        return text.replace("  files: {type: files, policy: p,", "  files: {type: files, policy: q,")

    def barriers(self):
        return json.loads(self.must("group", "list", "shop", "--json"))

    def backups(self, source):
        return [each["id"] for each in json.loads(self.must("backup", "list", "--source", source, "--json"))]

    def let_go(self, source):
        self.must("retention", "run", source, "--reason", "a test", "--wait")
        return self.backups(source)

    def sum_in_place(self):
        cents = int(ask(self.bank, "bank", "SELECT sum(cents) FROM account"))
        return cents + sum(int(path.read_bytes().split(b"\n", 1)[0]) for path in (self.top / "tree" / "files").glob("f???"))


def members_stay_with_the_first(place):
    for _ in range(3):
        place.must("run", "shop", "--wait")
    place.must("run", "files", "--wait")  # the newest, which its own rule keeps
    barriers = place.barriers()
    assert [each["state"] for each in barriers] == ["complete"] * 3, barriers
    assert len(place.let_go("files")) == 4, "each barrier's files are kept by its bank"
    oldest = {each["source"]: each["backup"] for each in barriers[-1]["members"]}
    place.must("backup", "delete", oldest["bank"], "--reason", "a test", "--wait")
    left = place.let_go("files")
    assert len(left) == 3 and oldest["files"] not in left, (oldest, left)
    assert sorted(each["state"] for each in place.barriers()) == ["complete", "complete", "gone"], place.barriers()


def changed(place):
    ask(place.bank, "bank", "UPDATE account SET cents = cents + 1 WHERE id = 1")
    (place.top / "tree" / "files" / "f000").write_bytes(b"%d\n" % (EACH + 3))


def in_place(place):
    place.must("run", "shop", "--wait")
    changed(place)
    assert place.sum_in_place() == SUM + 4
    for words, cause in ((("--in-place",), "restore.confirm"), (("--in-place", "--confirm", "bank"), "restore.confirm"),
                         (("--in-place", "--confirm", "shop", "--to", "bank=x,files=/y"), "restore.group")):
        refused = place.command("restore", "shop@latest", *words, "--yes")
        assert refused.returncode == 2 and cause in refused.stdout + refused.stderr, refused
    assert place.sum_in_place() == SUM + 4
    ended = json.loads(place.must("restore", "shop@latest", "--in-place", "--confirm", "shop", "--yes", "--json"))
    assert [each["state"] for each in ended] == ["completed"] * 2 and place.sum_in_place() == SUM, ended
    # One after the other: what the second could not do is told beside the way back of the first.
    changed(place)
    tree = place.top / "tree" / "files"
    tree.rename(tree.with_name("elsewhere"))
    failed = place.command("restore", "shop@latest", "--in-place", "--confirm", "shop", "--yes")
    said = failed.stdout + failed.stderr
    assert failed.returncode != 0 and "not of one instant" in said and "files failed" in said, failed
    tree.with_name("elsewhere").rename(tree)
    back = said[said.index("holdfast restore bk_"):].split(")")[0].split()[1:]
    assert back[2:] == ["--in-place", "--confirm", "bank"], said
    place.must(*back, "--yes", "--wait")
    assert place.sum_in_place() == SUM + 4


def rebuilt(place):
    """From the store alone: the same barriers, restored as one, and kept as one."""
    before = [(each["barrier"], each["state"], [m["backup"] for m in each["members"]]) for each in place.barriers() if each["state"] == "complete"]
    drop(place)
    rebuild(place)
    place.start_scheduler("c1")
    hire_again(place, "w1")
    after = [(each["barrier"], each["state"], [m["backup"] for m in each["members"]]) for each in place.barriers() if each["state"] == "complete"]
    assert after == before and len(before) == 3, (before, after)
    name = "rebuilt"
    place.must("restore", "shop@latest", "--to", f"bank={name},files={place.top}/restore/{name}", "--yes", "--wait")
    assert place.sum_of(name) == SUM
    kept = place.catalogue.rows("SELECT s.name, group_keeps(b.id), count(*) FROM group_seat t JOIN backup b ON b.id = t.backup "
                                "JOIN source s ON s.no = b.source JOIN backup f ON f.id = (SELECT x.backup FROM group_seat x WHERE x.run = t.run AND x.n = 1) "
                                "WHERE f.deleted_at IS NULL GROUP BY 1, 2 ORDER BY 1")
    assert [list(map(str, row)) for row in kept] == [["bank", "f", "3"], ["files", "t", "3"]], kept


def main():
    with Kept(workers=2, names=["files"], files=1, file_bytes=1, prune=True, retry="attempts: 1") as place:
        place.hook("hold-shop", "true")
        for name in range(FILES):
            (place.top / "tree" / "files" / f"f{name:03}").write_bytes(b"%d\n" % EACH)
        members_stay_with_the_first(place)
        in_place(place)
        rebuilt(place)
    print("what belongs to one barrier stays, comes back and is known again together")


if __name__ == "__main__":
    main()
