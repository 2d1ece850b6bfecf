# SPDX-License-Identifier: Apache-2.0
"""A whole cluster restored by the command: its tablespace to where the operator says, over a copy that has lived on, and in
place over the source itself, whose server is stopped and started by its hooks and whose state before can be had again."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from place_test import BINARIES, Placed  # noqa: E402
from installation import ROOT, Postgres, as_server, wait_until  # noqa: E402

OPTIONS = ("-c", "fsync=off", "-c", "shared_buffers=24MB", "-c", "autovacuum=off")


class Clusters(Placed):
    def build(self, *words):
        super().build(*words)
        self.space = self.bank.directory / "space"
        subprocess.run(as_server() + ["mkdir", "-m", "700", str(self.space)], check=True)
        self.in_bank("postgres", f"CREATE TABLESPACE elsewhere LOCATION '{self.space}'")
        self.in_bank("bank", "CREATE TABLE far (id int) TABLESPACE elsewhere; INSERT INTO far SELECT generate_series(1, 3000)", "VACUUM FREEZE")
        data, keep = self.bank.directory / "data", self.top / "keep"
        self.hook("stop-bank", f"test -e {keep} && exit 0\ncd / && {' '.join(as_server())} {BINARIES}pg_ctl stop -w -s -m fast -D {data} || "
                               f"test ! -e {data}/postmaster.pid")
        self.hook("start-bank", f"touch {self.top}/started")

    def hook(self, name, body):
        path = self.top / "hooks" / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o700)

    def fleet(self, *words):
        text = super().fleet(*words)
        text = text.replace("type: postgresql, policy: asked, host: 127.0.0.1,",
                            "type: postgresql, policy: asked, method: physical, hooks: {apps: [{stop: stop-bank, start: start-bank}]}, "
                            f"data_directory: {self.bank.directory}/data, host: {self.bank.directory},")
        return text.replace("databases: [bank]", "databases: [all]")

    def enroll(self, name):
        super().enroll(name)
        own = self.top / f"{name}.yaml"
        own.write_text(own.read_text().replace("allow:\n", "allow:\n  hooks: [stop-bank, start-bank]\n"))

    def place_for(self, name):
        """Where a server may be started on what a restore makes."""
        folder = self.top / name
        folder.mkdir(mode=0o700)
        if ROOT:
            shutil.chown(folder, "postgres", "postgres")
        server = Postgres.__new__(Postgres)
        server.directory, server.options, server.process = folder, list(OPTIONS), None
        server.port = self.bank.port + 1000 + len(name)
        return server

    def ask_at(self, server, sql):
        done = subprocess.run([BINARIES + "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", server.conninfo("bank"), "-c", sql],
                              capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


ROWS = "SELECT (SELECT count(*) FROM account) || ' ' || (SELECT sum(cents) FROM account) || ' ' || (SELECT count(*) FROM far)"
LIES = "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'elsewhere'"


def a_tablespace_goes_where_it_is_told(place):
    place.complete(place.run("bank"))
    place.rows = place.ask(ROWS)
    copy = place.copy = place.place_for("copy")
    words = ("bank", "--to", copy.directory / "data", "--tablespace", f"{place.space}={copy.directory}/far")
    plan = json.loads(place.must("restore", *words, "--plan", "--json"))
    assert [(row["from"], row["path"]) for row in plan["tablespaces"]] == [(str(place.space), f"{copy.directory}/far")], plan
    shown = place.command("restore", *words, "--plan").stderr
    assert f"{place.space} -> {copy.directory}/far" in shown, shown
    done, job = place.restore(*words)
    assert done.returncode == 0, (done, job)
    copy.start()
    assert place.ask_at(copy, ROWS) == place.rows and place.ask_at(copy, LIES) == f"{copy.directory}/far"
    assert place.ask(LIES) == str(place.space)


def over_what_has_lived_on(place):
    copy, words = place.copy, ("--tablespace", f"{place.space}={place.copy.directory}/far", "--delta")
    place.ask_at(copy, "UPDATE account SET cents = 1 WHERE id < 100; TRUNCATE far; CREATE TABLE late AS SELECT 1")
    target = copy.directory / "data"
    for more, cause in ((("bank", "--to", target, *words), "restore.confirm"), (("bank", "--to", target, *words, "--confirm", "bank"), "target.running"),
                        (("bank", "--to", place.bank.directory / "data", "--delta", "--confirm", "bank"), "restore.in_place"),
                        (("s1", "--to", place.top / "restore/none", "--delta", "--confirm", "s1"), "restore.delta")):
        refused = place.command("restore", *more, "--plan")
        assert refused.returncode != 0 and cause in refused.stderr, (cause, refused)
    assert place.ask_at(copy, "SELECT count(*) FROM late") == "1"
    copy.stop()
    plan = json.loads(place.must("restore", "bank", "--to", target, *words, "--confirm", "bank", "--plan", "--json"))
    assert "what differs is written" in plan["replaces"] and "warning" not in plan, plan
    done, job = place.restore("bank", "--to", target, *words, "--confirm", "bank")
    assert done.returncode == 0 and "a delta: " in job["error"]["text"], (done, job)
    assert 0 < job["answer"]["written_bytes"] < job["answer"]["bytes"] and job["answer"]["removed"] > 0, job["answer"]
    copy.start()
    assert place.ask_at(copy, ROWS) == place.rows and place.ask_at(copy, "SELECT to_regclass('late') IS NULL") == "t"
    copy.stop()


def in_place(place):
    place.ask("UPDATE account SET cents = 2 WHERE id < 50; TRUNCATE far; CREATE TABLE late AS SELECT 1; CHECKPOINT")
    keep = place.top / "keep"
    keep.touch()
    done, job = place.restore("bank", "--in-place", "--confirm", "bank")
    assert done.returncode != 0 and job["error"]["cause"] == "target.running", job
    assert place.ask("SELECT count(*) FROM late") == "1" and not (place.bank.directory / "data/.holdfast-unfinished-restore").exists()
    keep.unlink()
    chosen = place.catalogue.one("SELECT backup_text(id) FROM backup WHERE source = (SELECT no FROM source WHERE name = 'bank') ORDER BY id LIMIT 1")
    (place.top / "started").unlink(missing_ok=True)
    done, job = place.restore(chosen, "--in-place", "--confirm", "bank")
    assert done.returncode == 0, (done, job)
    assert (place.top / "started").exists() and job["answer"]["safety"]["state"] == "completed", job
    assert 0 < job["answer"]["written_bytes"] < job["answer"]["bytes"], job["answer"]
    place.bank.process.wait()
    place.bank.start()
    assert place.ask(ROWS) == place.rows and place.ask(LIES) == str(place.space)
    assert place.ask("SELECT to_regclass('late') IS NULL") == "t"
    before = place.place_for("before")
    done, _ = place.restore(job["answer"]["safety"]["backup"], "--to", before.directory / "data")
    assert done.returncode == 0, done
    before.start()
    assert place.ask_at(before, "SELECT count(*) FROM late") == "1" and place.ask_at(before, "SELECT count(*) FROM far") == "0"
    before.stop()


def main():
    os.environ.pop("HOLDFAST_CRASHPOINT", None)
    with Clusters(workers=1, sources=1, retry="attempts: 1") as place:
        wait_until(lambda: place.ask("SELECT 1") == "1", what="the bank answers")
        place.complete(place.run("s1"))
        a_tablespace_goes_where_it_is_told(place)
        over_what_has_lived_on(place)
        in_place(place)
        place.check()
    print("a cluster comes back where it is told, over what is there, and in place")


if __name__ == "__main__":
    main()
