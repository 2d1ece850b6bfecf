# SPDX-License-Identifier: Apache-2.0
"""A whole installation whose workers may try backups in a sandbox: files s1 and a server of its own with the database
bank. `proved` runs a verify job by the command and gives how it ended; afterwards nothing of it runs, nothing is left."""
import json
import os
import pathlib
import signal
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests/harness"))
from installation import BINARIES, BUILD, Installation, Postgres, wait_until  # noqa: E402

NEVER = '"0 0 1 1 *"'
BANK = ["CREATE ROLE teller NOLOGIN", "CREATE ROLE auditor LOGIN IN ROLE teller",
        "CREATE DATABASE bank TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' OWNER teller"]
TABLES = [
    "CREATE TABLE account (id int PRIMARY KEY, cents bigint NOT NULL CHECK (cents >= 0), pad text); "
    "INSERT INTO account SELECT i, i * 7, md5(i::text) FROM generate_series(1, 20000) i; CREATE INDEX ON account (cents)",
    "CREATE TABLE entry (id bigserial, account int REFERENCES account, at date) PARTITION BY RANGE (at); "
    "CREATE TABLE entry_1 PARTITION OF entry FOR VALUES FROM ('2026-01-01') TO ('2026-07-01'); "
    "INSERT INTO entry (account, at) SELECT i, '2026-02-01' FROM generate_series(1, 500) i",
    'CREATE TABLE "Odd ""name""" (v text); INSERT INTO "Odd ""name""" VALUES (\'x\'), (NULL)', "CREATE TABLE empty ()",
    "CREATE EXTENSION pg_trgm; CREATE INDEX ON account USING gin (pad gin_trgm_ops)",
    "CREATE MATERIALIZED VIEW rich AS SELECT * FROM account WHERE cents > 1000; SELECT lo_from_bytea(0, 'large')",
    "ALTER TABLE entry OWNER TO teller; GRANT SELECT ON account TO auditor",
]


class Proving(Installation):
    queries = '[{sql: "SELECT count(*) FROM account", expect: ">= 20000"}, {sql: "SELECT pad FROM account WHERE id = 1", ' \
              'expect: c4ca4238a0b923820dcc509a6f75849b}]'
    sandbox_more, objectives = "", "rto: 1h"

    def build(self, *words):
        self.sandbox = self.top / "sandbox"
        self.bank = Postgres(self.top / "bank", ["-c", "fsync=off"])
        self.in_bank("postgres", *BANK)
        self.in_bank("bank", *TABLES)
        super().build(*words)

    def in_bank(self, database, *statements):
        for each in statements:
            subprocess.run([BINARIES + "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.bank.conninfo(database), "-c", each],
                           check=True, capture_output=True)

    def fleet(self, *words):
        text = super().fleet(*words)
        verify = f"verify: {{restore: {{schedule: {NEVER}}}"
        text = text.replace("policies: {p:", f"policies: {{asked: {{schedule: {NEVER}, objectives: {{{self.objectives}}}, "
                            f"{verify}, query: {self.queries}}}, copies: [{{store: main}}]}}, p:")
        text = text.replace("copies: [{store: main}]}}\nsources:", f"copies: [{{store: main}}], {verify}}}}}}}\nsources:")
        return text + (f"  bank: {{type: postgresql, policy: asked, host: 127.0.0.1, port: {self.bank.port}, user: postgres, "
                       "databases: [bank]}\n")

    def enroll(self, name):
        super().enroll(name)
        own = self.top / f"{name}.yaml"
        user = ", user: postgres" if os.geteuid() == 0 else ""
        own.write_text(own.read_text().replace("allow:\n", "allow:\n  sandbox: "
                                               f"{{folder: {self.sandbox}, memory: 64MiB{user}{self.sandbox_more}}}\n"))

    def operator(self):
        return {**os.environ, "HOLDFAST_SERVER": f"http://127.0.0.1:{self.api_c1}", "HOLDFAST_TOKEN_FILE": str(self.top / "secrets" / "token")}

    def command(self, *words):
        return subprocess.run([str(BUILD / "holdfast"), *map(str, words)], capture_output=True, text=True, timeout=900, check=False,
                              env=self.operator())

    def must(self, *words):
        done = self.command(*words)
        assert done.returncode == 0, (words, done.stdout + done.stderr)
        return done.stdout

    def proof(self, source):
        return json.loads(self.must("proof", source, "--json"))[0]

    def last(self):
        """The newest verification by restoring: result and what it says."""
        row = self.catalogue.rows("SELECT v.result, v.checks, v.level FROM verification v WHERE v.level IN ('restore', 'query') ORDER BY v.id DESC LIMIT 1")
        return (row[0][0], json.loads(row[0][1]), row[0][2]) if row else (None, {}, None)

    def proved(self, source, result, cause="", level="restore", words=(), backup=None):
        """The newest backup of the source (or the one named) is tried by hand and ends so, and nothing is left of it."""
        done = self.command("verify", backup or f"{source}@latest", "--level", level, "--wait", *words)
        assert (done.returncode == 0) == (result == "ok"), (result, done.returncode, done.stdout, done.stderr)
        got, checks, _ = self.last()
        assert got == result and checks.get("cause", "") == cause, (result, cause, got, checks)
        self.clean()
        return checks

    def running(self):
        """Processes that work in the sandbox or were started from it."""
        found = []
        for each in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                where, words = os.readlink(each / "cwd"), (each / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if f"{self.sandbox}/" in where + "/" or f"{self.sandbox}/" in words:
                found.append((each.name, where, words))
        return found

    def left(self):
        return sorted(each.name for each in self.sandbox.glob("*") if each.name != "lock") if self.sandbox.exists() else []

    def clean(self):
        wait_until(lambda: not self.running(), 20, f"nothing runs in the sandbox: {self.running()}")
        assert not self.left(), self.left()

    def again(self, more, environment=None):
        """The worker anew, with other words in allow.sandbox."""
        self.kill("w1")
        own = self.top / "w1.yaml"
        if not hasattr(self, "plain"):
            self.plain = own.read_text()
        own.write_text(self.plain.replace("memory: 64MiB", f"memory: 64MiB{more}"))
        self.hire("w1", environment)
        self.wait_workers(1)

    def stopped_at(self, point, then, source="bank", more=""):
        """A proof stops itself at a marked point; something is done to what is there; it goes on."""
        self.again(more, {"HOLDFAST_CRASHPOINT": "1", "HOLDFAST_CRASHPOINT_ONLY": point, "HOLDFAST_CRASHPOINT_HOW": "stop"})
        told = subprocess.Popen([str(BUILD / "holdfast"), "verify", f"{source}@latest", "--level", "restore", "--wait"],
                                env=self.operator(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def stopped():
            child = self.child("w1")
            try:
                return child if child and pathlib.Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T" else 0
            except OSError:
                return 0
        child = wait_until(stopped, 300, f"it is at {point}")
        then(child)
        if pathlib.Path(f"/proc/{child}").exists():
            os.kill(child, signal.SIGCONT)
        told.wait(timeout=900)
        self.again(more)  # one that passes the point
        return self.last()

    def close(self):
        if hasattr(self, "bank"):
            self.bank.stop()
        super().close()
