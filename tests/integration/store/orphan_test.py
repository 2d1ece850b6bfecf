# SPDX-License-Identifier: Apache-2.0
"""Orphans on S3, under the pruner's own key: a PUT that a dead writer had sent and that lands when its job is long
over is found, and what a writer at work has put stays; listings that lack rows harm nothing; what the server does
not let go is tried again; a damaged pack is laid aside and stored anew; nobody but the pruner writes to quarantine;
what lies there can be put back."""
import json
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests/harness"), str(pathlib.Path(__file__).parent)]
from installation import wait_until  # noqa: E402
from prune_test import Guarded  # noqa: E402
from queue_test import same  # noqa: E402

STRAY = "packs/0a/0a000000-0000-4000-8000-00000000000"


def place_of(name):
    """Where an object in quarantine was."""
    return name.removeprefix("quarantine/").rsplit(".", 1)[0]


class Watched(Guarded):
    """Two scans need not lie a day apart."""

    def repository(self):
        return self.top / "s3/data/backups/prod/local"

    def objects(self):
        base = self.repository()
        return {str(path.relative_to(base)): path.stat().st_size for path in base.rglob("*") if path.is_file()}

    def aside(self):
        return {name for name in self.objects() if name.startswith("quarantine/")}

    def needed(self):
        """All that rows account for."""
        live = self.catalogue.rows("SELECT 'packs/' || left(object::text, 2) || '/' || object FROM pack WHERE state = 'live'")
        made = self.catalogue.rows("SELECT x || b.id FROM backup b, unnest(ARRAY['commits/', 'manifests/']) x WHERE gone_at IS NULL")
        index = self.catalogue.rows("SELECT 'index/' || index_object FROM backup WHERE gone_at IS NULL AND index_gone_at IS NULL")
        return {row[0] for row in live + made + index} - {"index/00000000-0000-0000-0000-000000000000"}

    def scan(self, *words):
        """What a scan reports at its end; nothing that is needed is ever moved."""
        self.must("prune", "main", "--orphans", *words, "--wait")
        job = int(self.catalogue.one("SELECT max(id) FROM job WHERE kind = 'prune'"))
        self.complete(job)
        assert self.needed() <= set(self.objects()), self.needed() - set(self.objects())
        return self.call("GET", f"/jobs/{self.catalogue.one(f'SELECT job_text({job})')}")["answer"]["orphans"]

    def stray(self, number):
        source = next(path for path in self.repository().glob("packs/*/*"))
        to = self.repository() / f"{STRAY}{number}"
        to.parent.mkdir(exist_ok=True)
        shutil.copy(source, to)
        return f"{STRAY}{number}"

    def listed(self):
        return {item["name"]: item for item in json.loads(self.must("orphan", "list", "--json"))}


def a_put_of_a_dead_writer_that_lands_late_is_found(place):
    place.control(faults=[{"id": "held", "op": "PutObject", "key": "/manifests/", "kind": "late", "seconds": 15, "times": 1}])
    place.grow("s1", 10, 300_000)
    job = place.run("s1")
    wait_until(lambda: place.server.place.held > 0, what="the manifest is on its way")
    place.kill("w1")
    place.control()
    place.hire("w1")
    place.complete(job)
    backups = place.count("SELECT count(*) FROM backup")
    wait_until(lambda: len([n for n in place.objects() if n.startswith("manifests/")]) == backups + 1, what="the late manifest landed")
    first = place.scan()
    assert first["fresh"] >= 1 and first["blocked"] is None and first["quarantined"] == 0, first
    second = place.scan()
    assert second["quarantined"] >= first["orphans"] > 0, (first, second)
    assert len([n for n in place.objects() if n.startswith("manifests/")]) == backups
    assert {item["state"] for item in place.listed().values()} == {"quarantined"}
    assert place.scan()["orphans"] == 0


def a_writer_at_work_keeps_what_it_wrote(place):
    held = place.server.place.held
    place.control(faults=[{"id": "working", "op": "PutObject", "key": "/manifests/", "kind": "late", "seconds": 20, "times": 1}])
    place.grow("s2", 10, 300_000)
    job = place.run("s2")
    wait_until(lambda: place.server.place.held > held, what="its index is in no row, its manifest on its way")
    for _ in range(3):
        done = place.scan()
        assert done["orphans"] > 0 and done["quarantined"] == 0 and done["blocked"] is None, done
    assert place.state(job) == "running", "the scans were meant to see it at work"
    place.control()
    place.complete(job)
    assert place.scan()["orphans"] == 0


def what_was_laid_aside_can_be_put_back(place):
    def put_back(*words):
        return place.tool("repo", "put-back", "local", "--store", place.url, *words)
    kept = next(name for name in place.aside() if "/manifests/" in name)
    name = place_of(kept)
    assert kept in put_back()
    assert "merge" in put_back("--object", kept)
    assert (place.repository() / name).read_bytes() == (place.repository() / kept).read_bytes()
    put_back("--object", kept)
    (place.repository() / name).write_bytes(b"another")
    for wrong in (kept, kept + "9", "quarantine/config.1", "packs/x", f"quarantine/{name}"):
        try:
            put_back("--object", wrong)
        except subprocess.CalledProcessError:
            continue
        raise AssertionError(f"{wrong} was taken")
    (place.repository() / name).write_bytes((place.repository() / kept).read_bytes())
    assert place.scan()["fresh"] == 1
    assert place.scan()["quarantined"] == 1
    assert len([each for each in place.aside() if place_of(each) == name]) == 2


def a_listing_that_lacks_rows_harms_nothing(place):
    names = [place.stray(number) for number in range(1, 5)]
    for number in range(3):
        place.control(faults=[{"id": f"hidden{number}", "op": "ListObjects", "kind": "hide", "times": 9999}])
        place.scan()
    place.control()
    place.scan()
    place.scan()
    assert not set(names) & set(place.objects())
    assert {place_of(name) for name in place.aside()} >= set(names)


def what_the_server_does_not_let_go_is_tried_again(place):
    name = place.stray(5)
    about = place.server.place.meta_path("backups", f"prod/local/{name}")
    about.write_text(json.dumps({"etag": '"strange"', "x-amz-object-lock-mode": "GOVERNANCE"}))
    place.control(lock=True)
    place.scan()
    done = place.scan()
    assert done["kept"] == 1 and done["quarantined"] == 0, done
    assert name in place.objects()
    item = place.listed()[name]
    assert item["state"] == "moving" and "locked" in item["error"], item
    done = place.scan()
    assert done["kept"] == 0 and name in place.objects(), "not before a day has gone by"
    place.control()
    place.do("UPDATE orphan SET retry_at = clock_timestamp() WHERE retry_at IS NOT NULL")
    assert place.scan()["quarantined"] == 1
    assert name not in place.objects() and place.listed()[name]["state"] == "quarantined"


def a_damaged_pack_is_laid_aside_and_stored_anew(place):
    place.complete(place.run("s2"))
    old = place.catalogue.one("SELECT b.id FROM backup b JOIN source s ON s.no = b.source WHERE s.name = 's2' ORDER BY sequence LIMIT 1")
    pack = place.catalogue.one(f"SELECT p.object FROM pack p JOIN backup b ON p.no = ANY (b.packs) WHERE b.id = '{old}' AND p.kind = 'data' ORDER BY p.bytes DESC LIMIT 1")
    path = place.repository() / f"packs/{pack[:2]}/{pack}"
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)
    job = int(place.catalogue.one(f"SELECT job FROM job_create('verify', 'manual', NULL, NULL, '{{\"backup\": \"{old}\", \"level\": \"content\"}}', 'test', NULL, 0, NULL)"))
    place.wait_job(job)
    assert place.count(f"SELECT count(*) FROM pack WHERE object = '{pack}' AND damaged_at IS NOT NULL") == 1, place.catalogue.rows(f"SELECT error, outcome FROM job_attempt WHERE job = {job}")
    place.complete(place.run("s2"))
    assert json.loads(place.must("damage", "--json"))[0]["pack"] == pack
    for one in place.catalogue.rows(f"SELECT backup_text(b.id) FROM backup b JOIN pack p ON p.no = ANY (b.packs) WHERE p.object = '{pack}' AND b.gone_at IS NULL ORDER BY b.sequence"):
        place.must("backup", "delete", one[0], "--reason", "it is damaged", "--wait")
    place.must("prune", "main", "--wait", "--reason", "a test")
    assert f"packs/{pack[:2]}/{pack}" not in place.objects()
    kept = [name for name in place.aside() if place_of(name).endswith(pack)]
    assert len(kept) == 1 and (place.repository() / kept[0]).read_bytes() == bytes(body)
    assert json.loads(place.must("damage", "--json")) == []
    assert place.listed()[f"packs/{pack[:2]}/{pack}"]["why"] == "damaged"


def what_is_over_goes(place):
    place.do("UPDATE setting SET value = 0 WHERE name = 'orphan_keep_s'")
    before = place.aside()
    assert place.scan("--dry-run")["may_delete"] == len(before) - 1
    assert place.aside() == before
    assert place.scan()["deleted"] == len(before) - 1
    assert len(place.aside()) == 1, "the damaged pack stays for good"


def main():
    with Watched(workers=2, sources=2, files=10, file_bytes=300_000) as place:
        place.do("UPDATE setting SET value = 0 WHERE name = 'orphan_age_s'")
        place.complete(*[place.run(source) for source in place.sources])
        a_put_of_a_dead_writer_that_lands_late_is_found(place)
        a_writer_at_work_keeps_what_it_wrote(place)
        what_was_laid_aside_can_be_put_back(place)
        a_listing_that_lacks_rows_harms_nothing(place)
        what_the_server_does_not_let_go_is_tried_again(place)
        a_damaged_pack_is_laid_aside_and_stored_anew(place)
        what_is_over_goes(place)
        for source in place.sources:
            out = place.top / "restore" / source
            place.tool("once", "restore", "latest", "--source", source, "--store", place.url, "--key-set", "local", "--keys",
                       place.top / "keys", "--to", out)
            same(place.top / "tree" / source, pathlib.Path(f"{out}{place.top}/tree/{source}"))
        wrote = {row["by"] for row in place.log() if "/quarantine/" in row["key"] and row["op"] in ("PutObject", "CompleteUpload", "DeleteObject")}
        assert wrote == {"PRUNER"}, wrote
        place.check()
        place.server.shutdown()
    print("orphans were laid aside, and nothing that is needed")


if __name__ == "__main__":
    main()
