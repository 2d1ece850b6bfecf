# SPDX-License-Identifier: Apache-2.0
"""Plain copies as other systems have named and laid them out: an archive that holds a database, sparse files whose
holes stay holes, one latest a source and in S3 an object that is the newest; and what an attempt that died left on
its way into a bucket is given up by the pruner, which leaves strangers' uploads alone."""
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from copy_test import PrunedStores  # noqa: E402
from installation import BINARIES, wait_until  # noqa: E402
from plain_test import check_meta, dump_of, psql  # noqa: E402

MIB = 1 << 20
SOURCES = ["site", "sparse", "x.", "x_"]


class Named(PrunedStores):
    def fleet(self, *words):
        never = 'schedule: "0 0 1 1 *"'
        text = super().fleet(*words)
        text = text.replace("policies: {", f"policies: {{site: {{{never}, copies: [{{store: main}}, {{store: cloud, layout: plain, "
                            "name: 'backups/{source}_{time:%Y%m%d_%H%M%S}', latest: backups/latest}]}, "
                            f"own: {{{never}, copies: [{{store: main}}, {{store: second, layout: plain}}]}}, "
                            f"shop: {{{never}, copies: [{{store: main}}, {{store: second, layout: plain, "
                            "name: 'coderstew_backup_{time:%Y%m%d_%H%M%S}.tar.gz', holds: 'database_{time:%Y%m%d_%H%M%S}.sql'}]}, ", 1)
        text = text.replace("site: {type: files, policy: p,", "site: {type: files, policy: site,")
        for name in SOURCES[1:]:
            text = text.replace(f"  {name}: {{type: files, policy: p,", f"  {name}: {{type: files, policy: own,")
        return text + (f"  shop: {{type: postgresql, policy: shop, host: {self.postgres.directory}, port: {self.postgres.port}, "
                       "user: postgres, databases: [shop]}\n")

    def enroll(self, name):
        super().enroll(name)
        own = self.top / f"{name}.yaml"
        own.write_text(own.read_text().replace("allow:\n", "allow:\n  allow_plain: true\n"))

    def made(self, source, store):
        """The newest plain copy of a source once all of its jobs have ended."""
        wait_until(lambda: not self.count("SELECT count(*) FROM job WHERE finished_at IS NULL"), what="all jobs ended")
        name = self.catalogue.one("SELECT c.name FROM plain_copy c JOIN source s ON s.no = c.source WHERE c.committed_at IS NOT NULL "
                                  f"AND s.name = '{source}' AND c.store = '{store}' ORDER BY c.no DESC LIMIT 1")
        return (self.second if store == "second" else self.top / "s3/data/backups/prod") / name

    def uploads(self):
        """What is on its way, and no repository's: those come and go."""
        found = []
        for about in (self.top / "s3" / "uploads").glob("*/about"):
            try:
                found.append(json.loads(about.read_text())["key"])
            except FileNotFoundError:
                continue
        return sorted(key for key in found if not key.startswith("prod/local/"))


def latest_in_a_bucket_is_an_object(place):
    place.complete(place.run("site"))
    first = place.made("site", "cloud")
    assert re.fullmatch(r"site_\d{8}_\d{6}\.tar\.gz", first.name) and first.parent.name == "backups", first
    latest = first.parent / "latest.tar.gz"
    assert latest.read_bytes() == first.read_bytes()
    assert json.loads((first.parent / "latest.tar.gz.meta").read_text())["file"] == first.name
    (place.top / "tree/site/more").write_bytes(os.urandom(100_000))
    place.complete(place.run("site"))
    second = place.made("site", "cloud")
    assert second != first and latest.read_bytes() == second.read_bytes() != first.read_bytes()
    shown = json.loads(place.must("backup", "show", "site@latest", "--json"))["plain"]
    assert [row["file"] for row in shown] == [f"backups/{second.name}"], shown


def an_archive_holds_a_database(place):
    place.sql_in("postgres", "CREATE DATABASE shop")
    psql(place, "shop", b"CREATE TABLE t AS SELECT g, md5(g::text) FROM generate_series(1, 300000) g; COMMENT ON TABLE t IS 'it''s';")
    place.complete(place.run("shop"))
    file = place.made("shop", "second")
    when = re.fullmatch(r"coderstew_backup_(\d{8}_\d{6})\.tar\.gz", file.name)[1]
    assert check_meta(file)["database"] == "shop"
    assert subprocess.run(["tar", "-tzf", str(file)], check=True, capture_output=True, text=True).stdout == f"database_{when}.sql\n"
    text = subprocess.run(["tar", "-xzOf", str(file)], check=True, capture_output=True).stdout
    place.sql_in("postgres", "CREATE DATABASE fresh TEMPLATE template0")
    psql(place, "fresh", text)
    assert dump_of(place, "shop") == dump_of(place, "fresh")
    assert os.readlink(place.second / "coderstew_backup_latest.tar.gz") == file.name


def sparse_tree(tree):
    """Holes at either end, in the middle, that begin nowhere in particular, next to each other; and none."""
    with open(tree / "image", "wb") as out:
        out.truncate(400 * MIB)
        for at in (3, 5000, 64 * MIB + 77, 200 * MIB, 300 * MIB - 1):
            out.seek(at)
            out.write(os.urandom(MIB))
    with open(tree / "end", "wb") as out:
        out.seek(90 * MIB)
        out.write(b"the end")
    with open(tree / ("n" * 120), "wb") as out:  # the name beyond the old header
        for n in range(40):
            out.seek(n * 7_000_001)
            out.write(b"x" * 700)
    (tree / "all").touch()
    os.truncate(tree / "all", 40 * MIB)
    (tree / "dense").write_bytes(os.urandom(MIB))


def told(tree):
    def digest(path):
        done = hashlib.sha256()
        with open(path, "rb") as read:
            for piece in iter(lambda: read.read(MIB), b""):
                done.update(piece)
        return done.hexdigest()
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns, digest(path)) for path in pathlib.Path(tree).iterdir()}


def holes_stay_holes(place):
    tree = place.top / "tree/sparse"
    sparse_tree(tree)
    place.complete(place.run("sparse"))
    file = place.made("sparse", "second")
    before = told(tree)
    for number, words in enumerate((["tar", "-xzf"], ["bsdtar", "-xzf"], None)):
        if words and not shutil.which(words[0]):
            continue
        out = place.top / "restore" / f"sparse{number}"
        out.mkdir()
        if words is None:
            with tarfile.open(file) as archive:
                archive.extractall(out)
        else:
            subprocess.run([*words, str(file), "-C", str(out)], check=True)
        back = pathlib.Path(f"{out}{tree}")
        after = told(back)
        assert before.keys() == after.keys(), before.keys() ^ after.keys()
        different = [name for name in before if (before[name][0], before[name][2]) != (after[name][0], after[name][2])]
        assert not different, (words, different)
        for name, most in (("image", 30), ("end", 6), ("all", 1), ("n" * 120, 170)):  # the chunk before a hole holds some of it
            room = (back / name).stat().st_blocks * 512
            assert room <= most * MIB, f"{words}: {name} takes {room} bytes"
        subprocess.run(["rm", "-r", str(out)], check=True)


def one_latest_has_one_source(place):
    """Their names differ, and what becomes of them in a file's name does not: x__latest would be of both."""
    place.complete(place.run("x."))
    mine = place.made("x.", "second")
    assert os.readlink(place.second / "x__latest.tar.gz") == mine.name
    place.complete(place.run("x_"))
    wait_until(lambda: place.count("SELECT count(*) FROM job_attempt WHERE cause = 'plain.latest_taken'"), what="the other is refused")
    text = place.catalogue.one("SELECT error FROM job_attempt WHERE cause = 'plain.latest_taken' LIMIT 1")
    assert "x__latest.tar.gz in store second" in text and "of the source x. " in text and "that of x_ too" in text, text
    assert os.readlink(place.second / "x__latest.tar.gz") == mine.name
    job = place.count("SELECT max(job) FROM job_attempt WHERE cause = 'plain.latest_taken'")
    if place.state(job) != "failed":
        place.must("job", "cancel", place.catalogue.one(f"SELECT job_text({job})"), "--reason", "a test")
    refused = place.top / "refused.yaml"
    refused.write_text((place.top / "fleet.yaml").read_text().replace("{store: second, layout: plain}", "{store: second, layout: plain, latest: newest}"))
    done = place.command("policy", "check", refused)
    assert done.returncode == 9 and "plain-meet" in done.stdout + done.stderr and "sources.sparse and sources.x." in done.stdout + done.stderr, done


def what_an_attempt_left_on_its_way_is_given_up(place):
    """It dies with parts of its file in the bucket; the next one begins anew, and the pruner takes the parts away."""
    (place.top / "tree/site/large").write_bytes(os.urandom(20 * MIB))
    place.kill("w1")
    place.hire("w2", {"HOLDFAST_CRASHPOINT": "1", "HOLDFAST_CRASHPOINT_ONLY": "plain.written"})
    place.complete(place.run("site"))
    wait_until(lambda: place.count("SELECT count(*) FROM job_attempt a JOIN job j ON j.id = a.job WHERE j.kind = 'copy' AND j.params ? 'plain' "
                                   "AND a.outcome IS NOT NULL AND a.outcome <> 'completed' AND a.cause IS DISTINCT FROM 'plain.latest_taken'"), what="it dies")
    place.kill("w2")
    left = place.uploads()
    assert len(left) >= 1 and all(key.startswith("prod/backups/site_") for key in left), left
    place.hire("w1")
    place.made("site", "cloud")
    # Strangers upload beside it, and into a folder of the same name.
    made = next(iter((place.top / "s3/uploads").iterdir()))
    for number, key in enumerate(("prod/backups/theirs.tar.gz", "prod/theirs")):
        folder = made.parent / hashlib.sha256(f"stranger{number}".encode()).hexdigest()
        folder.mkdir()
        about = json.loads((made / "about").read_text())
        (folder / "about").write_text(json.dumps({**about, "key": key, "name": f"stranger{number}"}))
    for folder in made.parent.iterdir():
        then = (folder / "about").stat().st_mtime - 7200
        os.utime(folder / "about", (then, then))
    place.do("UPDATE job SET created_at = created_at - interval '2 days', finished_at = finished_at - interval '2 days' "
             "WHERE kind = 'prune' AND params ? 'plain' AND finished_at IS NOT NULL")
    wait_until(lambda: place.count("SELECT count(*) FROM job_answer WHERE (answer::jsonb ->> 'aborted_uploads')::int > 0"), what="the pruner gives up what is left")
    assert place.uploads() == ["prod/backups/theirs.tar.gz", "prod/theirs"], place.uploads()


def main():
    with Named(workers=1, names=SOURCES, files=3, file_bytes=100_000, prune=True) as place:
        latest_in_a_bucket_is_an_object(place)
        an_archive_holds_a_database(place)
        holes_stay_holes(place)
        one_latest_has_one_source(place)
        what_an_attempt_left_on_its_way_is_given_up(place)
        place.server.shutdown()
    print("plain copies have the names and the form that others had")


if __name__ == "__main__":
    main()
