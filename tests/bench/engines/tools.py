# SPDX-License-Identifier: Apache-2.0
"""The tools that Holdfast is compared with where PostgreSQL is the source, as Debian packs them: pg_dump and pg_restore, pg_dump
into restic, and pgBackRest with encryption, zstd 3 and two processes. Each verb answers (wall seconds, processor seconds);
where the server's own processes do the work it is in nobody's processor seconds."""
import os
import shutil
import subprocess
import time

from cluster import owned
from installation import BINARIES, as_server
from timing import bytes_below, timed


class PgDump:
    """pg_dump -Fd -j 2 -Z 1: two connections, no encryption, nothing found twice."""
    name = "pg_dump -Fd"

    def __init__(self, place, server):
        self.place, self.server, self.count = place, server, 0

    @staticmethod
    def missing():
        return ""

    def reach(self):
        return ["-h", "127.0.0.1", "-p", self.server.port, "-U", "postgres"]

    def backup(self):
        self.count += 1
        return timed([BINARIES + "pg_dump", *self.reach(), "-Fd", "-j", "2", "-Z", "1", "-f", self.place / f"dump{self.count}", "bench"])

    def restore(self, database):
        self.server.ask(f"CREATE DATABASE {database}", "postgres")
        return timed([BINARIES + "pg_restore", *self.reach(), "-j", "2", "-d", database, self.place / f"dump{self.count}"])

    def size(self):
        return bytes_below(self.place)


class PgDumpRestic:
    """A plain dump, written into restic: encrypted, and what was there before is found."""
    name = "pg_dump | restic"

    def __init__(self, place, server):
        self.server, self.repository = server, place / "repository"
        self.environment = {**os.environ, "RESTIC_REPOSITORY": str(self.repository), "RESTIC_PASSWORD": "bench",
                            "RESTIC_CACHE_DIR": str(place / "cache")}
        timed(["restic", "init"], self.environment)

    @staticmethod
    def missing():
        return "" if shutil.which("restic") else "restic is not installed"

    def backup(self):
        begun = time.monotonic()
        dump = subprocess.Popen([BINARIES + "pg_dump", "-h", "127.0.0.1", "-p", str(self.server.port), "-U", "postgres", "bench"],
                                stdout=subprocess.PIPE)
        subprocess.run(["restic", "backup", "-q", "--stdin", "--stdin-filename", "bench.sql"], stdin=dump.stdout, env=self.environment, check=True)
        dump.stdout.close()
        if dump.wait() != 0:
            raise AssertionError("pg_dump failed")
        return time.monotonic() - begun, 0.0

    def size(self):
        return bytes_below(self.repository)


class PgBackRest:
    name = "pgbackrest"

    def __init__(self, place, server):
        self.server, self.place = server, owned(place / "own")
        for each in ("repository", "log", "lock", "spool"):
            owned(self.place / each)
        self.file = self.place / "pgbackrest.conf"
        self.file.write_text(
            f"[global]\nrepo1-path={self.place}/repository\nrepo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass=bench\ncompress-type=zst\n"
            f"compress-level=3\nprocess-max=2\nlog-path={self.place}/log\nlock-path={self.place}/lock\nspool-path={self.place}/spool\n"
            "archive-check=n\nstart-fast=y\nlog-level-console=warn\nlog-level-file=off\n"
            f"[bench]\npg1-path={server.directory}/data\npg1-port={server.port}\npg1-socket-path={server.directory}\npg1-user=postgres\n",
            encoding="ascii")
        self.file.chmod(0o644)
        self.run("stanza-create")

    @staticmethod
    def missing():
        return "" if shutil.which("pgbackrest") else "pgbackrest is not installed"

    def run(self, *words):
        return timed([*as_server(), "pgbackrest", f"--config={self.file}", "--stanza=bench", *words], cwd="/")

    def backup(self):
        """The first whole, each later one what has changed since: a whole one would store everything again."""
        return self.run("--type=incr", "backup")

    def restore(self, target):
        """As the files were, for a log from elsewhere: the stanza has none."""
        owned(target)
        return self.run("--type=none", f"--pg1-path={target}", "restore")

    def push(self, segment):
        return self.run("archive-push", str(segment))

    def size(self):
        return bytes_below(self.place / "repository")
