# SPDX-License-Identifier: Apache-2.0
"""The same onto a server that others wrote: OpenStack Swift's s3api. It lacks conditional puts, which the
store finds out by itself; the backup comes back all the same."""
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests/harness"), str(pathlib.Path(__file__).parent)]
import swift  # noqa: E402
from installation import wait_until  # noqa: E402
from queue_test import OnS3, same  # noqa: E402


class OnSwift(OnS3):
    keys = {"worker": ("test:tester", "testing"), "admin": ("test:tester", "testing")}
    storage_class = None

    def serve(self):
        self.swift = swift.Swift(self.top / "swift")
        self.swift.make_bucket("backups")
        self.endpoint = self.swift.endpoint

    def fleet(self, *words):
        """Plain copies beside the repository."""
        return super().fleet(*words).replace("copies: [{store: main}]", "copies: [{store: main}, {store: main, layout: plain}]")

    def enroll(self, name):
        super().enroll(name)
        own = self.top / f"{name}.yaml"
        own.write_text(own.read_text().replace("allow:\n", "allow:\n  allow_plain: true\n"))

    def close(self):
        if hasattr(self, "swift"):
            self.swift.stop()
        super().close()


def latest_is_an_object(place):
    """Copied by a server that others wrote, within the bucket: whoever fetches latest gets the newest."""
    wait_until(lambda: place.count("SELECT count(*) FROM plain_copy WHERE latest_at IS NOT NULL") == 2, what="both plain copies are there")
    name = place.catalogue.one("SELECT name FROM plain_copy ORDER BY no DESC LIMIT 1")
    client = place.swift.client()
    newest, latest = (client.get_object(Bucket="backups", Key=f"prod/{key}")["Body"].read() for key in (name, "s1_latest.tar.gz"))
    assert len(newest) > 20 * 700_000 and newest == latest, (name, len(newest), len(latest))


def main():
    lacks = swift.missing()
    if lacks:
        print("Swift is not here:", *lacks)
        sys.exit(77)
    with OnSwift(workers=1, sources=1, files=30, file_bytes=700_000) as place:
        tested = place.command("store", "test", "main")
        assert tested.returncode == 0, tested.stdout + tested.stderr
        assert "the server lacks If-None-Match" in tested.stdout, tested.stdout
        place.complete(place.run("s1"))
        same(place.top / "tree" / "s1", place.restore())
        place.complete(place.run("s1"))
        latest_is_an_object(place)
    print("a backup in Swift came back")


if __name__ == "__main__":
    main()
