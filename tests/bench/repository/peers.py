# SPDX-License-Identifier: Apache-2.0
"""The tools that Holdfast is compared with, each in its default way with encryption on: restic and borg
as Debian packs them. Each verb answers (wall seconds, processor seconds)."""
import pathlib
import shutil

from timing import bytes_below, timed


class Restic:
    name = "restic"

    def __init__(self, place, source, bucket=None):
        self.place, self.source = pathlib.Path(place), pathlib.Path(source)
        self.repository = bucket.below("theirs") if bucket else self.place / "repository"
        where = f"s3:{bucket.endpoint}/backups/theirs" if bucket else str(self.repository)
        self.environment = {"RESTIC_REPOSITORY": where, "RESTIC_PASSWORD": "bench", "RESTIC_CACHE_DIR": str(self.place / "cache")}
        self.tool = ["restic"]
        if bucket:
            self.environment |= bucket.environment()
            self.tool += ["--cacert", str(bucket.authority)]
        timed([*self.tool, "init"], self.environment)

    @staticmethod
    def missing():
        return "" if shutil.which("restic") else "restic is not installed"

    def backup(self):
        return timed([*self.tool, "backup", "-q", self.source], self.environment)

    def check(self):
        return timed([*self.tool, "check", "-q", "--read-data"], self.environment)

    def restore(self, target):
        return timed([*self.tool, "restore", "-q", "latest", "--target", target], self.environment)

    def prune(self):
        return timed([*self.tool, "forget", "-q", "--keep-last", "1", "--prune"], self.environment)

    def size(self):
        return bytes_below(self.repository)


class Borg:
    name = "borg"

    def __init__(self, place, source, bucket=None):
        if bucket:
            raise ValueError("borg has no buckets")
        self.place, self.source, self.count = pathlib.Path(place), pathlib.Path(source), 0
        self.repository = self.place / "repository"
        self.environment = {"BORG_REPO": str(self.repository), "BORG_PASSPHRASE": "bench", "BORG_BASE_DIR": str(self.place),
                            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
        timed(["borg", "init", "-e", "repokey"], self.environment)

    @staticmethod
    def missing():
        return "" if shutil.which("borg") else "borg is not installed"

    def backup(self):
        self.count += 1
        return timed(["borg", "create", "-C", "zstd,3", f"::b{self.count}", self.source], self.environment)

    def check(self):
        return timed(["borg", "check", "--verify-data"], self.environment)

    def restore(self, target):
        return timed(["borg", "extract", f"::b{self.count}"], self.environment, cwd=target)

    def prune(self):
        first = timed(["borg", "prune", "--keep-last", "1"], self.environment)
        second = timed(["borg", "compact"], self.environment)
        return first[0] + second[0], first[1] + second[1]

    def size(self):
        return bytes_below(self.repository)


PEERS = {"restic": Restic, "borg": Borg}
