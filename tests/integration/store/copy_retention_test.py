# SPDX-License-Identifier: Apache-2.0
"""Each copy has its own retention: what one store lets go the others keep, what goes is forgotten and collected
there and nowhere else, and a backup is listed and comes back as long as one of its places is left."""
import json
import pathlib
import os
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from copy_test import PrunedStores, files_of, packs_of, same  # noqa: E402
from installation import wait_until  # noqa: E402


class Kept(PrunedStores):
    def fleet(self, *words):
        return super().fleet(*words).replace("[{store: main}, {store: second}, {store: cloud}]",
                                             "[{store: main, keep_last: 1}, {store: second, keep_last: 3}, {store: cloud, keep_last: 100}]")

    def ended(self, kind):
        wait_until(lambda: not self.count(f"SELECT count(*) FROM job WHERE kind = '{kind}' AND finished_at IS NULL"), what=f"{kind} jobs ended")

    def where(self, n):
        shown = json.loads(self.must("backup", "show", f"s2@latest~{n}", "--json"))
        return {place["store"]: place["state"] for place in shown["copies"]}


def grow(place, source, n):
    (place.top / "tree" / source / f"more{n}").write_bytes(os.urandom(300_000))


def each_store_keeps_what_its_rules_say(place):
    for n in range(4):
        grow(place, "s2", n)
        place.complete(place.run("s2"))
    place.copied(8)
    trees = files_of(place.top / "tree/s2")
    preview = place.must("retention", "preview", "s2")
    assert "main" in preview and "second" in preview and "cloud" in preview, preview
    place.must("retention", "run", "s2", "--reason", "a test", "--wait")
    place.ended("retention")
    ok = {"main": "ok", "second": "ok", "cloud": "ok"}
    assert place.where(0) == ok, place.where(0)
    assert place.where(1) == {**ok, "main": "gone"} and place.where(2) == {**ok, "main": "gone"}, place.where(1)
    assert place.where(3) == {"main": "gone", "second": "gone", "cloud": "ok"}, place.where(3)
    assert len(json.loads(place.must("backup", "list", "--source", "s2", "--json"))) == 4
    assert len(json.loads(place.must("backup", "list", "--source", "s2", "--store", "main", "--json"))) == 1
    assert place.count("SELECT count(*) FROM audit_event WHERE action = 'backup.delete'") == 4
    return trees


def collected_there_and_nowhere_else(place, trees):
    before = packs_of(place.second / "local")
    place.must("prune", "main", "--reason", "a test", "--wait")
    assert len(list((place.store / "local/manifests").iterdir())) == 1
    assert packs_of(place.second / "local") == before
    place.offline("s2", place.store, "main-newest")
    place.offline("s2", place.second, "second-newest")
    # The oldest lies in the bucket alone.
    out = place.top / "restore" / "oldest"
    place.must("restore", "s2@latest~3", "--to", out, "--yes", "--follow")
    back = files_of(f"{out}{place.top}/tree/s2")
    assert back == {name: content for name, content in trees.items() if name.name not in ("more1", "more2", "more3")}


def deleted_everywhere(place):
    for n in range(2):
        grow(place, "s1", n)
        place.complete(place.run("s1"))
    place.must("backup", "copy", "s1@latest~1", "--to", "second", "--wait")
    refused = place.command("backup", "delete", "s1@latest~1")
    assert refused.returncode == 2, refused
    place.must("backup", "delete", "s1@latest~1", "--reason", "a test", "--wait")
    place.ended("prune")
    assert place.count("SELECT count(*) FROM backup_place p JOIN source s ON s.no = p.source WHERE s.name = 's1' AND p.deleted_at IS NULL") == 1
    assert place.count("SELECT count(*) FROM backup b JOIN source s ON s.no = b.source WHERE s.name = 's1' AND b.deleted_at IS NOT NULL") == 1
    last = place.command("backup", "delete", "s1@latest", "--reason", "a test")
    assert last.returncode == 6 and "last good" in last.stderr, last


def told_again_by_the_stores(place):
    """The catalogue loses what it knew of two stores; each tells what lies in it, as a backup or as a copy of one."""
    facts = ("SELECT p.backup, r.store FROM backup_place p JOIN repository r ON r.no = p.repository "
             "WHERE p.deleted_at IS NULL AND r.store <> 'cloud' ORDER BY 1, 2")
    before = place.catalogue.rows(facts)
    place.do("DELETE FROM backup_copy WHERE repository IN (SELECT no FROM repository WHERE store = 'second')")
    place.must("catalogue", "merge", "second", "--wait")
    assert place.catalogue.rows(facts) == before, (before, place.catalogue.rows(facts))
    place.must("catalogue", "merge", "main", "--wait")
    assert place.catalogue.rows(facts) == before
    place.must("verify", "s2@latest", "--store", "second", "--level", "content", "--wait")
    place.must("retention", "resume", "--reason", "a test")


def the_bucket_lets_go_too(place):
    """By the prune role's own access keys: what goes is said there, then deleted, and the rest comes back from it alone."""
    bucket = place.top / "s3/data/backups"
    objects = lambda folder: sorted(path for path in bucket.rglob("*") if path.is_file() and f"/{folder}/" in str(path))  # noqa: E731
    packs, manifests = objects("packs"), objects("manifests")
    fleet = place.top / "fleet.yaml"
    fleet.write_text(fleet.read_text().replace("{store: cloud, keep_last: 100}", "{store: cloud, keep_last: 1}"))
    place.must("policy", "apply", fleet)
    preview = place.must("retention", "preview", "s2")
    assert "cloud" in preview, preview
    place.must("retention", "run", "s2", "--reason", "a test", "--wait")
    place.ended("retention")
    place.must("prune", "cloud", "--reason", "a test", "--wait")
    assert place.where(0)["cloud"] == "ok" and place.where(2)["cloud"] == "gone", (place.where(0), place.where(2))
    assert len(json.loads(place.must("backup", "list", "--source", "s2", "--json"))) == 3  # the oldest had no other place
    left = objects("manifests")
    assert len(left) == len(manifests) - 3 and set(left) < set(manifests), (len(left), len(manifests))
    assert len(objects("packs")) < len(packs) and len(objects("forgotten")) == 3
    place.offline("s2", place.bucket, "cloud-newest")


def main():
    with Kept(workers=1, sources=3, files=6, file_bytes=100_000, prune=True) as place:
        trees = each_store_keeps_what_its_rules_say(place)
        collected_there_and_nowhere_else(place, trees)
        deleted_everywhere(place)
        told_again_by_the_stores(place)
        the_bucket_lets_go_too(place)
        place.check()
        place.server.shutdown()
    print("each store kept what its rules say")


if __name__ == "__main__":
    main()
