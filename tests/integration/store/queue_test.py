# SPDX-License-Identifier: Apache-2.0
"""One backup through the queue onto S3 and back, byte for byte, by a worker whose key may put, get and
list and nothing else; and the same repository read without catalogue or queue."""
import json
import os
import pathlib
import subprocess
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests/harness"))
import boto3  # noqa: E402
import botocore.config  # noqa: E402
import botocore.exceptions  # noqa: E402
from installation import BUILD, Installation, wait_until  # noqa: E402
import s3_server  # noqa: E402

SECRETS = {"WORKER": "worker+secret/1", "ADMIN": "admin+secret/2"}


class OnS3(Installation):
    """An installation whose only store is a bucket."""

    keys = {"worker": ("WORKER", SECRETS["WORKER"]), "admin": ("ADMIN", SECRETS["ADMIN"])}
    storage_class = "STANDARD_IA"

    def build(self, *words):
        self.serve()
        self.url = f"s3://backups/prod?endpoint={self.endpoint}"
        super().build(*words)

    def serve(self):
        (self.top / "s3" / "data" / "backups").mkdir(parents=True)
        self.control()
        self.server = s3_server.Server(s3_server.Place(self.top / "s3"))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"

    def control(self, **more):
        keys = {"WORKER": {"secret": SECRETS["WORKER"], "rights": "put,get,list"},
                "ADMIN": {"secret": SECRETS["ADMIN"], "rights": "put,get,list,delete,abort"}}
        fresh = self.top / "s3" / "control.new"
        fresh.write_text(json.dumps({"keys": keys, **more}))
        fresh.rename(self.top / "s3" / "control.json")

    def make_keys(self):
        credentials = self.top / "credentials"
        for name, text in zip(("s3-id", "s3-key"), self.keys["worker"]):
            (credentials / name).write_text(text + "\n")
            (credentials / name).chmod(0o600)
        self.store = self.url
        super().make_keys()

    def tool(self, *words):
        identity, secret = self.keys["admin"]
        return subprocess.run([str(BUILD / "holdfast-worker"), *map(str, words)], check=True, capture_output=True, text=True,
                              env={**os.environ, "AWS_ACCESS_KEY_ID": identity, "AWS_SECRET_ACCESS_KEY": secret}).stdout

    def fleet(self, *words):
        text = super().fleet(*words)
        local = f"stores: {{main: {{type: local, path: {self.store}}}}}"
        assert local in text
        more = f"storage_class: {self.storage_class}, " if self.storage_class else ""
        return text.replace(local, f"stores: {{main: {{type: s3, bucket: backups, prefix: prod/, endpoint: '{self.endpoint}', {more}"
                                   "access_key: {credential: s3-id}, secret_key: {credential: s3-key}}}")

    def restore(self):
        """The newest backup of s1, through the queue; where its tree is then."""
        done = self.command("restore", "s1@latest", "--to", self.top / "restore" / "back", "--yes", "--follow")
        assert done.returncode == 0, done.stdout + done.stderr
        wait_until(lambda: self.count("SELECT count(*) FROM job WHERE kind = 'restore' AND state = 'completed'") == 1,
                   what="the restore is completed")
        return pathlib.Path(str(self.top / "restore" / "back") + str(self.top / "tree" / "s1"))

    def command(self, *words):
        return subprocess.run([str(BUILD / "holdfast"), *map(str, words)], capture_output=True, text=True, timeout=120, check=False,
                              env={**os.environ, "HOLDFAST_SERVER": f"http://127.0.0.1:{self.api_c1}",
                                   "HOLDFAST_TOKEN_FILE": str(self.top / "secrets" / "token")})


def files_of(top):
    return {path.relative_to(top): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def same(a, b):
    before, after = files_of(pathlib.Path(a)), files_of(pathlib.Path(b))
    assert before and before.keys() == after.keys(), before.keys() ^ after.keys()
    assert all(after[name] == content for name, content in before.items())


def read_by_another(place):
    """What we wrote as another client of S3 finds it: boto3, which also shows that our server and the
    world agree about signatures."""
    def client(secret):
        return boto3.client("s3", endpoint_url=place.endpoint, region_name="us-east-1", aws_access_key_id="ADMIN",
                            aws_secret_access_key=secret, config=botocore.config.Config(s3={"addressing_style": "path"}))
    other = client(SECRETS["ADMIN"])
    rows = [row for page in other.get_paginator("list_objects_v2").paginate(Bucket="backups", Prefix="prod/", PaginationConfig={"PageSize": 3})
            for row in page["Contents"]]
    assert len(rows) == sum(path.is_file() for path in (place.top / "s3" / "data" / "backups").rglob("*")), rows
    for row in rows:
        whole = other.get_object(Bucket="backups", Key=row["Key"])
        assert whole["Body"].read() == (place.top / "s3" / "data" / "backups" / row["Key"]).read_bytes(), row
        assert "/packs/" not in row["Key"] or (len(whole["Metadata"]["holdfast-put"]) == 36 and whole["StorageClass"] == "STANDARD_IA"), whole
    try:
        client("wrong").list_objects_v2(Bucket="backups")
        raise AssertionError("the server takes any secret")
    except botocore.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "SignatureDoesNotMatch", error


def main():
    with OnS3(workers=1, sources=1, files=30, file_bytes=700_000) as place:
        tested = place.command("store", "test", "main")
        assert tested.returncode == 0, tested.stdout + tested.stderr
        assert "If-None-Match" in tested.stdout and "this worker cannot delete" in tested.stdout, tested.stdout
        # Bad moments of the server cost time and nothing else.
        place.control(faults=[{"id": "busy", "op": "PutObject", "kind": "error", "times": 3},
                              {"id": "lost", "op": "CompleteUpload", "kind": "reset_after", "times": 1},
                              {"id": "cut", "op": "GetObject", "key": "/packs/", "kind": "cut", "times": 2}])
        place.complete(place.run("s1"))
        tree = place.top / "tree" / "s1"
        same(tree, place.restore())
        place.tool("once", "restore", "latest", "--source", "s1", "--store", place.url, "--key-set", "local", "--keys",
                   place.top / "keys", "--to", place.top / "restore" / "offline")
        same(tree, pathlib.Path(str(place.top / "restore" / "offline") + str(tree)))
        read_by_another(place)
        log = [json.loads(line) for line in (place.top / "s3" / "log").read_text().splitlines()]
        workers = [row for row in log if row["by"] == "WORKER"]
        assert any(row["op"] == "CompleteUpload" for row in workers), "no pack was an upload"
        deletes = [row for row in workers if row["op"] == "DeleteObject" and not row["key"].startswith("prod/test/")]
        assert not deletes, deletes
        for path in (place.top / "log").iterdir():
            text = path.read_text(errors="replace")
            assert not any(secret in text for secret in SECRETS.values()), path
        place.server.shutdown()
    print("a backup in S3 came back")


if __name__ == "__main__":
    main()
