# SPDX-License-Identifier: Apache-2.0
"""A whole installation on S3 over TLS, the bucket in the host's name: the worker's key may put, get and list,
only the pruner's may delete, and the server sees to it. At most max_uploads jobs write at a time; what a killed
writer left of uploads is aborted; what nobody needs is deleted and frees its bytes; and a listing that lacks rows
costs nothing that is needed."""
import json
import os
import pathlib
import re
import shutil
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests/harness"), str(pathlib.Path(__file__).parent)]
from installation import wait_until  # noqa: E402
from queue_test import OnS3, same  # noqa: E402
import s3_server  # noqa: E402

PRUNER = "pruner+secret/3"


class Guarded(OnS3):
    """w1 writes and reads with one key of the bucket, w2 prunes with another."""

    storage_class = None

    def serve(self):
        (self.top / "s3" / "data" / "backups").mkdir(parents=True)
        self.control()
        self.server = s3_server.Server(s3_server.Place(self.top / "s3"), tls=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.endpoint = f"https://localhost:{self.server.server_address[1]}"

    def control(self, **more):
        super().control(host="localhost", **more)
        path = self.top / "s3" / "control.json"
        said = json.loads(path.read_text())
        said["keys"]["PRUNER"] = {"secret": PRUNER, "rights": "put,get,list,delete,abort"}
        fresh = self.top / "s3" / "control.new"
        fresh.write_text(json.dumps(said))
        fresh.rename(path)

    def make_keys(self):
        self.url += f"&style=host&ca_file={self.top}/s3/ca.pem"
        self.prune = True
        super().make_keys()
        # The pruner's own credentials; no other worker has them.
        shutil.copytree(self.top / "credentials", self.top / "credentials-w2")
        for name, text in (("s3-prune-id", "PRUNER"), ("s3-prune-key", PRUNER)):
            (self.top / "credentials-w2" / name).write_text(text + "\n")
            (self.top / "credentials-w2" / name).chmod(0o600)
        (self.top / "keys-w2").mkdir(mode=0o700)
        for path in self.top.glob("keys/*.prune"):
            path.rename(self.top / "keys-w2" / path.name)

    def fleet(self, *words):
        text = super().fleet(*words)
        old = "secret_key: {credential: s3-key}}"
        assert old in text
        return text.replace(old, f"secret_key: {{credential: s3-key}}, prune_access_key: {{credential: s3-prune-id}}, prune_secret_key: "
                                 f"{{credential: s3-prune-key}}, style: host, ca_file: {self.top}/s3/ca.pem, max_uploads: 1}}")

    def enroll(self, name):
        self.prune = name == "w2"
        super().enroll(name)
        own = self.top / f"{name}.yaml"
        if self.prune:
            own.write_text(own.read_text().replace(f"{self.top}/credentials\n", f"{self.top}/credentials-w2\n")
                           .replace(f"keys: {self.top}/keys\n", f"keys: {self.top}/keys-w2\n"))

    def options(self):
        """The checker reads what the server keeps: an object is a file."""
        options = super().options()
        options.store = str(self.top / "s3/data/backups/prod")
        return options

    def must(self, *words):
        done = self.command(*words)
        assert done.returncode == 0, (words, done.stdout + done.stderr)
        return done.stdout

    def log(self):
        return [json.loads(line) for line in (self.top / "s3" / "log").read_text().splitlines()]

    def packs(self):
        return {path.name: path.stat().st_size for path in (self.top / "s3/data/backups/prod/local/packs").rglob("*") if path.is_file()}

    def uploads(self):
        return len(list((self.top / "s3" / "uploads").iterdir()))


def one_writes_at_a_time(place):
    place.complete(*[place.run(source) for source in place.sources])
    jobs = dict(pair.split("=") for pair in place.catalogue.one("SELECT string_agg(object || '=' || job, ' ') FROM pack").split())
    spans = {}
    for row in place.log():
        pack = re.search(r"packs/../([0-9a-f-]{36})", row["key"])
        if pack and row["op"] in ("PutObject", "UploadPart", "CompleteUpload"):
            spans.setdefault(jobs[pack[1]], []).extend(row["at"])
    spans = sorted((min(times), max(times)) for times in spans.values())
    assert len(spans) == 3, spans
    assert all(before[1] <= after[0] for before, after in zip(spans, spans[1:])), spans
    hosts = {row["headers"]["host"] for row in place.log()}
    assert hosts == {f"backups.localhost:{place.server.server_address[1]}"}, hosts


def what_a_killed_writer_left_is_aborted(place):
    place.control(faults=[{"id": "slow", "op": "UploadPart", "kind": "late", "seconds": 2, "times": 999}])
    place.grow("s1", 40, 700_000)
    job = place.run("s1")
    wait_until(lambda: place.uploads() > 0, what="an upload is on its way")
    place.kill("w1")
    place.control()
    left = place.uploads()
    assert left > 0
    place.hire("w1")
    place.complete(job)
    assert prune(place, "--dry-run")["stale_uploads"] == 0
    assert place.uploads() == left, "a dry run changes nothing, and what is young stays"
    prune(place)
    assert place.uploads() == left, "what is young may still be written"
    for about in (place.top / "s3" / "uploads").glob("*/about"):
        os.utime(about, (about.stat().st_mtime - 2 * 86400,) * 2)
    assert prune(place, "--dry-run")["stale_uploads"] == left
    assert place.uploads() == left
    assert prune(place)["aborted_uploads"] == left
    assert place.uploads() == 0
    assert {row["by"] for row in place.log() if row["op"] == "AbortUpload" and row["status"] == 204} == {"PRUNER"}


def prune(place, *words):
    """What the job reports at its end."""
    place.must("prune", "main", *words, "--follow")
    job = int(place.catalogue.one("SELECT max(id) FROM job WHERE kind = 'prune'"))
    place.complete(job)
    return place.call("GET", f"/jobs/{place.catalogue.one(f'SELECT job_text({job})')}")["answer"]


def what_nobody_needs_frees_its_bytes(place, **faults):
    before, packs = place.packs(), place.count("SELECT count(*) FROM pack WHERE state = 'live'")
    assert len(before) == packs, (len(before), packs)
    old = place.catalogue.one("SELECT backup_text(id) FROM backup b JOIN source s ON s.no = b.source WHERE s.name = 's2' AND gone_at IS NULL ORDER BY sequence LIMIT 1")
    place.grow("s2", 30, 500_000)
    place.complete(place.run("s2"))
    place.control(**faults)
    place.must("backup", "delete", old, "--reason", "nobody needs it")
    wait_until(lambda: place.count(f"SELECT count(*) FROM backup WHERE backup_text(id) = '{old}' AND gone_at IS NOT NULL"), what="it is forgotten")
    prune(place)
    gone = set(before) - set(place.packs())
    freed = sum(before[name] for name in gone)
    assert freed > 10_000_000, freed
    assert freed == place.count(f"SELECT sum(bytes) FROM pack WHERE state = 'deleted' AND object IN ({','.join(map(repr, gone))})")
    assert set(place.packs()) == set(place.catalogue.one("SELECT string_agg(object::text, ' ') FROM pack WHERE state = 'live'").split())
    place.control()


def main():
    with Guarded(workers=2, sources=3, files=30, file_bytes=500_000) as place:
        tested = place.must("store", "test", "main")
        assert "If-None-Match" in tested and "this worker cannot delete" in tested, tested
        one_writes_at_a_time(place)
        what_a_killed_writer_left_is_aborted(place)
        what_nobody_needs_frees_its_bytes(place)
        # Each second row of each page is missing from what is listed.
        what_nobody_needs_frees_its_bytes(place, faults=[{"id": "hidden", "op": "ListObjects", "kind": "hide", "times": 9999}])
        for source in place.sources:
            out = place.top / "restore" / source
            place.tool("once", "restore", "latest", "--source", source, "--store", place.url, "--key-set", "local", "--keys",
                       place.top / "keys", "--to", out)
            same(place.top / "tree" / source, pathlib.Path(f"{out}{place.top}/tree/{source}"))
        deletes = [row for row in place.log() if row["op"] == "DeleteObject" and row["status"] == 204]
        assert deletes and {row["by"] for row in deletes} == {"PRUNER"}, {row["by"] for row in deletes}
        # What a stolen worker can do with its key: nothing that ends a backup.
        assert all(row["status"] == 403 for row in place.log() if row["by"] == "WORKER" and row["op"] in ("DeleteObject", "AbortUpload"))
        place.check()
        place.server.shutdown()
    print("only the pruner deleted, and only what nobody needs")


if __name__ == "__main__":
    main()
