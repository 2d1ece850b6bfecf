# SPDX-License-Identifier: Apache-2.0
"""Backups in several stores through real servers: each commit has its copies come due, from a directory into
another and onto S3 and from S3 into a directory, pack by pack; what a store has is not sent again; each copy
alone gives the tree back, with the catalogue and without."""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests/harness"))
from installation import BUILD, Installation, wait_until  # noqa: E402
import s3_server  # noqa: E402

SECRETS = {"WORKER": "worker+secret/1", "ADMIN": "admin+secret/2"}


class Stores(Installation):
    """Three stores of one key set: two directories and a bucket."""

    def build(self, *words):
        (self.top / "s3" / "data" / "backups").mkdir(parents=True)
        keys = {name: {"secret": SECRETS[name], "rights": rights}
                for name, rights in (("WORKER", "put,get,list"), ("ADMIN", "put,get,list,delete,abort"))}
        (self.top / "s3" / "control.json").write_text(json.dumps({"keys": keys}))
        self.server = s3_server.Server(s3_server.Place(self.top / "s3"))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.second = self.top / "second"
        self.bucket = f"s3://backups/prod?endpoint={self.endpoint}"
        super().build(*words)

    def make_keys(self):
        for name, text in (("s3-id", "WORKER"), ("s3-key", SECRETS["WORKER"])):
            (self.top / "credentials" / name).write_text(text + "\n")
            (self.top / "credentials" / name).chmod(0o600)
        super().make_keys()
        self.second.mkdir()
        keys = self.top / "keys"
        for store in (self.second, self.bucket):
            self.tool("repo", "create", "local", "--store", store, "--kit", keys / "local.kit", "--keys", keys / "local.keys")

    def tool(self, *words):
        return subprocess.run([str(BUILD / "holdfast-worker"), *map(str, words)], check=True, capture_output=True, text=True,
                              env={**os.environ, "AWS_ACCESS_KEY_ID": "ADMIN", "AWS_SECRET_ACCESS_KEY": SECRETS["ADMIN"]}).stdout

    def fleet(self, *words):
        text = super().fleet(*words)
        text = text.replace("stores: {main:", f"stores: {{second: {{type: local, path: {self.second}}}, cloud: {{type: s3, "
                            f"bucket: backups, prefix: prod/, endpoint: '{self.endpoint}', access_key: {{credential: s3-id}}, "
                            "secret_key: {credential: s3-key}}, main:")
        never = 'schedule: "0 0 1 1 *"'
        text = text.replace("policies: {p:", f"policies: {{far: {{{never}, copies: [{{store: main}}, {{store: second}}, {{store: cloud}}]}}, "
                            f"back: {{{never}, copies: [{{store: cloud}}, {{store: main}}]}}, p:")
        for source, policy in (("s2", "far"), ("s3", "back")):
            text = text.replace(f"{source}: {{type: files, policy: p,", f"{source}: {{type: files, policy: {policy},")
        return text

    def enroll(self, name):
        super().enroll(name)
        own = self.top / f"{name}.yaml"
        own.write_text(own.read_text().replace("stores: [main]", "stores: [main, second, cloud]"))

    def options(self):
        options = super().options()
        options.place = [f"main={self.store}", f"second={self.second}"]
        return options

    def operator(self):
        """The environment of an operator's command."""
        return {**os.environ, "HOLDFAST_SERVER": f"http://127.0.0.1:{self.api_c1}", "HOLDFAST_TOKEN_FILE": str(self.top / "secrets" / "token")}

    def command(self, *words):
        return subprocess.run([str(BUILD / "holdfast"), *map(str, words)], capture_output=True, text=True, timeout=120, check=False,
                              env=self.operator())

    def must(self, *words):
        done = self.command(*words)
        assert done.returncode == 0, (words, done.stdout + done.stderr)
        return done.stdout

    def copied(self, count):
        wait_until(lambda: self.count("SELECT count(*) FROM backup_copy WHERE marker_at IS NOT NULL") == count and
                   not self.count("SELECT count(*) FROM job WHERE kind = 'copy' AND finished_at IS NULL"), what=f"{count} copies")

    def places(self, source):
        shown = json.loads(self.must("backup", "show", f"{source}@latest", "--json"))
        return {place["store"]: place["state"] for place in shown["copies"]}

    def offline(self, source, store, name):
        """The source's tree as it comes back from one store, with no catalogue at hand."""
        out = self.top / "restore" / name
        self.tool("once", "restore", "latest", "--source", source, "--store", store, "--key-set", "local", "--keys", self.top / "keys", "--to", out)
        same(self.top / "tree" / source, pathlib.Path(f"{out}{self.top}/tree/{source}"))


class PrunedStores(Stores):
    """The same; a pruner has keys of the bucket that may delete."""

    def make_keys(self):
        for name, text in (("s3-prune-id", "ADMIN"), ("s3-prune-key", SECRETS["ADMIN"])):
            (self.top / "credentials" / name).write_text(text + "\n")
            (self.top / "credentials" / name).chmod(0o600)
        super().make_keys()

    def fleet(self, *words):
        return super().fleet(*words).replace(
            "secret_key: {credential: s3-key}}", "secret_key: {credential: s3-key}, prune_access_key: {credential: s3-prune-id}, "
            "prune_secret_key: {credential: s3-prune-key}, stale_uploads: 1h}", 1)


def files_of(top):
    return {path.relative_to(top): path.read_bytes() for path in pathlib.Path(top).rglob("*") if path.is_file()}


def same(a, b):
    before, after = files_of(a), files_of(b)
    assert before and before.keys() == after.keys(), before.keys() ^ after.keys()
    assert all(after[name] == content for name, content in before.items())


def packs_of(top):
    return {hashlib.sha256(path.read_bytes()).hexdigest(): path.name for path in pathlib.Path(top).glob("packs/*/*")}


def sent(place, count):
    return place.count(f"SELECT coalesce(sum(new_bytes), 0) FROM (SELECT c.new_bytes FROM backup_copy c ORDER BY c.committed_at DESC LIMIT {count}) x")


def due_with_each_commit(place):
    place.complete(place.run("s2"))
    place.copied(2)
    main, second, cloud = (packs_of(top) for top in (place.store / "local", place.second / "local", place.top / "s3/data/backups/prod/local"))
    assert main and set(main) == set(second) == set(cloud), "the stores hold the same packs"
    assert not set(main.values()) & set(second.values()), "under names of their own"
    assert place.places("s2") == {"main": "ok", "second": "ok", "cloud": "ok"}
    first = sent(place, 2)
    (place.top / "tree/s2/one-more").write_bytes(os.urandom(20000))
    place.complete(place.run("s2"))
    place.copied(4)
    assert 0 < sent(place, 2) < first / 4, "what is there is not sent again"


def from_the_cloud(place):
    place.complete(place.run("s3"))
    place.copied(5)
    assert place.places("s3") == {"cloud": "ok", "main": "ok"}
    place.offline("s3", place.store, "s3-main")


def on_demand(place):
    place.complete(place.run("s1"))
    place.must("backup", "copy", "s1@latest", "--to", "second", "--follow")
    place.copied(6)
    for words, status, told in ((("s1@latest", "--to", "second"), 6, "is in store second already"),
                                (("s1@latest", "--to", "nowhere"), 5, "no store is called nowhere"), (("s1@latest",), 2, "say which store")):
        refused = place.command("backup", "copy", *words)
        assert refused.returncode == status and told in refused.stderr, refused
    assert "main ok, second ok" in place.must("backup", "show", "s1@latest")
    assert place.count("SELECT count(*) FROM audit_event WHERE action = 'backup.copy'") == 1


def main():
    with Stores(workers=2, sources=3, files=30, file_bytes=700_000) as place:
        due_with_each_commit(place)
        from_the_cloud(place)
        on_demand(place)
        # The first store burns down: each other one is enough.
        shutil.move(place.store, place.top / "burnt")
        place.offline("s2", place.second, "s2-second")
        place.offline("s2", place.bucket, "s2-cloud")
        place.offline("s1", place.second, "s1-second")
        shutil.move(place.top / "burnt", place.store)
        log = [json.loads(line) for line in (place.top / "s3" / "log").read_text().splitlines()]
        assert not [row for row in log if row["by"] == "WORKER" and row["op"] == "DeleteObject" and not row["key"].startswith("prod/test/")]
        place.check()
        place.server.shutdown()
    print("copies in three stores gave everything back")


if __name__ == "__main__":
    main()
