# SPDX-License-Identifier: Apache-2.0
"""A restore in place, through real servers: a backup of what is there goes before it, an open client is cut, the database
comes back as it was made, and what was there can be had again. Without the backup nothing begins, but for who says so."""
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "proof"))
from stand import BINARIES, Proving, wait_until  # noqa: E402

PROPERTIES = "SELECT pg_encoding_to_char(encoding), datcollate, datdba::regrole, datallowconn, datconnlimit, " \
             "(SELECT string_agg(x::text, ' ' ORDER BY x::text) FROM unnest(datacl) x) FROM pg_database WHERE datname = 'bank'"
SETTINGS = "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = 'bank'"


class Placed(Proving):
    def restore_paths(self):
        return ["/"]

    def enroll(self, name):
        super().enroll(name)
        own = self.top / f"{name}.yaml"
        own.write_text(own.read_text().replace("  restore: {paths:", "  restore: {servers: [127.0.0.1], paths:"))

    def ask(self, sql, database="bank"):
        done = subprocess.run([BINARIES + "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.bank.conninfo(database), "-c", sql],
                              capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def restore(self, *words):
        """The command's end and the job's own row, as the API shows it."""
        done = self.command("restore", *words, "--yes", "--wait", "--json")
        last = self.catalogue.one("SELECT id FROM job WHERE kind = 'restore' ORDER BY id DESC LIMIT 1")
        name = self.catalogue.one(f"SELECT job_text({last})")
        return done, json.loads(self.must("job", "show", name, "--json"))

    def databases(self):
        return self.ask("SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE datname LIKE 'bank%' OR datname LIKE 'holdfast%'",
                        "postgres").split()


def counts_are_said(place):
    place.complete(place.run("s1"), place.run("bank"))
    done, job = place.restore("bank", "--to", "bank_copy")
    assert done.returncode == 0 and job["error"]["text"] == "4 tables, 20 502 rows as backed up", job
    assert job["answer"]["counts"]["as_backed_up"] is True and "safety" not in job["answer"], job
    done, job = place.restore("s1", "--to", place.top / "restore/tree")
    assert done.returncode == 0 and job["error"]["text"].endswith("entries, 1 440 000 bytes as backed up"), job
    place.ask("DROP DATABASE bank_copy", "postgres")


def one_table_by_its_name(place):
    done, job = place.restore("bank", "--to", "bank_table", "--table", 'account', "--table", 'public."Odd ""name"""')
    assert done.returncode == 0 and job["error"]["text"] == "2 tables, 20 002 rows", (done, job)
    names = "SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    assert place.ask(names, "bank_table") == 'Odd "name",account', place.ask(names, "bank_table")
    indexes = "SELECT count(*) FROM pg_index WHERE indrelid = 'account'::regclass"
    assert place.ask(indexes, "bank_table") == place.ask(indexes) == "3"
    place.ask("DROP DATABASE bank_table", "postgres")
    for words, cause in ((("bank", "--to", "bank_none", "--table", "public.acount"), "target.table"), (("bank", "--to", "bank_none", "--table", "a.b.c"), "target.table"),
                         (("s1", "--to", place.top / "restore/table", "--table", "public.account"), "restore.select")):
        refused = place.command("restore", *words, "--yes", "--wait")
        assert refused.returncode != 0 and cause in refused.stdout + refused.stderr + place.catalogue.one("SELECT cause FROM job ORDER BY id DESC LIMIT 1"), refused
    assert "bank_none" not in place.databases() and not (place.top / "restore/table").exists()


def a_database_in_place(place):
    for sql in ("ALTER DATABASE bank SET work_mem = '7MB'", "ALTER DATABASE bank CONNECTION LIMIT 31", "GRANT CONNECT ON DATABASE bank TO auditor"):
        place.ask(sql, "postgres")
    place.complete(place.run("bank"))
    before = place.ask(PROPERTIES), place.ask(SETTINGS)
    place.ask("INSERT INTO account VALUES (0, 4711, 'after the backup'); DROP TABLE empty")
    client = subprocess.Popen([BINARIES + "psql", "-X", "-q", "-d", place.bank.conninfo("bank"), "-c", "SELECT pg_sleep(600)"], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: place.ask("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)' AND datname = 'bank' AND state = 'active' "
                                 "AND pid <> pg_backend_pid()", "postgres") == "1", what="a client works")
    plan = json.loads(place.must("restore", "bank", "--in-place", "--confirm", "bank", "--plan", "--json"))
    assert "a backup of what is there now" in plan["first"] and plan["replaces"] == "bank", plan
    backups = place.count("SELECT count(*) FROM backup")
    done, job = place.restore("bank", "--in-place", "--confirm", "bank")
    assert done.returncode == 0, done
    assert client.wait(timeout=60) != 0 and "terminating connection" in client.stderr.read()
    assert (place.ask(PROPERTIES), place.ask(SETTINGS)) == before, place.ask(PROPERTIES)
    assert place.ask("SELECT count(*) FROM account WHERE id = 0") == "0" and place.ask("SELECT to_regclass('empty') IS NOT NULL") == "t"
    assert place.count("SELECT count(*) FROM backup") == backups + 1
    safety = job["answer"]["safety"]
    assert safety["state"] == "completed" and safety["backup"].startswith("bk_"), job
    held = place.catalogue.one("SELECT concat_ws(' ', held_reason, held_until > clock_timestamp() + interval '13 days') FROM backup "
                               f"WHERE backup_text(id) = '{safety['backup']}'")
    assert held == f"what was there before restore {job['id']} t", held
    assert place.catalogue.one(f"SELECT trigger FROM job WHERE job_text(id) = '{safety['job']}'") == "emergency", safety
    assert job["answer"]["databases"][0]["sessions_ended"] >= 1 and "kept as bank_before_" in job["error"]["text"], job
    assert any(d["reason"] == "restore.safety_backup" and safety["job"] in d["text"] for d in job["decisions"]), job
    # The way back, as the message says it.
    done, _ = place.restore(safety["backup"], "--in-place", "--confirm", "bank")
    assert done.returncode == 0 and place.ask("SELECT pad FROM account WHERE id = 0") == "after the backup", done
    kept = [name for name in place.databases() if name.startswith("bank_before_")]
    assert len(kept) == 2, kept
    for name in kept:
        place.ask(f"DROP DATABASE {name}", "postgres")


def refused_anew(place, job):
    """The same job again, and another with its params, as one that was cancelled is tried again."""
    number = place.catalogue.one("SELECT id FROM job WHERE kind = 'restore' ORDER BY id DESC LIMIT 1")
    again = place.command("job", "retry", job["id"], "--reason", "once more")
    assert again.returncode != 0 and "restore.plan_anew" in again.stdout + again.stderr and "anew" in again.stdout + again.stderr, again
    try:
        place.catalogue.one("SELECT job_new('restore', 'retry', s, NULL, NULL, j.params, j.pool, j.actor, NULL, 60, 'pending', NULL, j.repository, j.backup) "
                            f"FROM job j JOIN source s ON s.no = j.source WHERE j.id = {number}")
        raise AssertionError("a restore was made with the backup of another")
    except RuntimeError as error:
        assert "anew" in str(error), error
    assert place.state(number) == "failed" and number == place.catalogue.one("SELECT max(id) FROM job WHERE kind = 'restore'"), again


def nothing_begins_without_it(place):
    """What is there cannot be backed up: the restore fails by name, and only who types it goes on."""
    place.ask("ALTER DATABASE bank ALLOW_CONNECTIONS false", "postgres")
    done, job = place.restore("bank", "--in-place", "--confirm", "bank")
    assert done.returncode != 0 and job["error"]["cause"] == "restore.safety_backup", job
    assert "nothing was touched" in job["error"]["text"] and "--no-safety-backup" in job["error"]["text"], job
    assert place.databases() == ["bank"], place.databases()
    # What is there now is in no backup of before: an ended restore is not taken up again with it.
    refused_anew(place, job)
    done, job = place.restore("bank", "--in-place", "--confirm", "bank", "--no-safety-backup", "--reason", "the disk is gone anyway")
    assert done.returncode == 0 and "safety" not in job["answer"], (done, job)
    assert place.ask("SELECT count(*) FROM account") >= "20000"
    events = json.loads(place.must("audit", "log", "--action", "restore.no_safety_backup", "--json"))
    assert len(events) == 1 and events[0]["reason"] == "the disk is gone anyway", events
    for name in place.databases():
        if name != "bank":
            place.ask(f"DROP DATABASE {name}", "postgres")


def killed_where_it_stands(place):
    """A worker that was told to stop at a marked point, and its child there."""
    def stopped():
        child = place.child("w1")
        try:
            inside = child and pathlib.Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"
        except OSError:
            return 0
        return child if inside else 0
    child = wait_until(stopped, 300, "it stands there")
    place.kill("w1")
    subprocess.run(["kill", "-9", str(child)], check=False)


def killed_between_the_names(place):
    """kill -9 when the old database has no name and its clients are gone: the server undoes it."""
    place.complete(place.run("bank"))
    place.again("", {"HOLDFAST_CRASHPOINT": "1", "HOLDFAST_CRASHPOINT_ONLY": "restore.swapping", "HOLDFAST_CRASHPOINT_HOW": "stop"})
    place.must("restore", "bank", "--in-place", "--confirm", "bank", "--yes")
    number = place.catalogue.one("SELECT id FROM job WHERE kind = 'restore' ORDER BY id DESC LIMIT 1")
    killed_where_it_stands(place)
    wait_until(lambda: "bank" in place.databases(), 60, "the old database has its name again")
    assert place.ask("SELECT count(*) FROM account") >= "20000" and place.ask("SELECT datallowconn FROM pg_database WHERE datname = 'bank'") == "t"
    place.again("")
    place.complete(number, seconds=300)
    assert sum(name.startswith("bank_before_") for name in place.databases()) == 1 and len(place.databases()) == 2, place.databases()


def files_in_place(place):
    tree = place.top / "tree/s1"
    was = {each.name: each.read_bytes() for each in tree.iterdir()}
    (tree / "f000").write_bytes(b"changed since")
    (tree / "f001").unlink()
    done, job = place.restore("s1", "--in-place", "--confirm", "s1")
    assert done.returncode == 0 and {each.name: each.read_bytes() for each in tree.iterdir()} == was, done
    done, _ = place.restore(job["answer"]["safety"]["backup"], "--to", place.top / "restore/before")
    assert done.returncode == 0
    found, = place.top.joinpath("restore/before").rglob("f000")
    assert found.read_bytes() == b"changed since" and not list(place.top.joinpath("restore/before").rglob("f001"))


def main():
    with Placed(workers=1, sources=1, retry="attempts: 1") as place:
        counts_are_said(place)
        one_table_by_its_name(place)
        a_database_in_place(place)
        nothing_begins_without_it(place)
        killed_between_the_names(place)
        place.check()
        files_in_place(place)  # last: its tree is no longer as every backup has it
    print("what was there before a restore in place can be had again")


if __name__ == "__main__":
    main()
