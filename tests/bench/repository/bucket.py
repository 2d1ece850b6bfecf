# SPDX-License-Identifier: Apache-2.0
"""A bucket for both sides: the strict server of the tests, a process of its own, over TLS. Its
processor time is in nobody's row, though it runs on the same machine."""
import json
import pathlib
import subprocess
import sys

HARNESS = pathlib.Path(__file__).resolve().parents[2] / "harness"
KEY, SECRET = "BENCH", "bench+secret/1"


class Bucket:
    def __init__(self, place):
        self.place = pathlib.Path(place) / "s3"
        (self.place / "data" / "backups").mkdir(parents=True)
        rights = "put,get,list,delete,abort"
        (self.place / "control.json").write_text(json.dumps(
            {"keys": {KEY: {"secret": SECRET, "rights": rights}}, "page": 1000, "unsigned": True}), encoding="ascii")
        self.server = subprocess.Popen([sys.executable, "-B", str(HARNESS / "s3_server.py"), str(self.place), "--tls"],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.endpoint = f"https://localhost:{int(self.server.stdout.readline())}"
        self.authority = self.place / "ca.pem"

    def environment(self):
        return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}

    @staticmethod
    def secrets():
        """What a worker keeps of them: (credential, content)."""
        return ("s3-id", KEY), ("s3-key", SECRET)

    def below(self, prefix):
        """Where the server keeps what lies under a prefix."""
        return self.place / "data" / "backups" / prefix

    def close(self):
        self.server.stdin.close()
        self.server.wait()
