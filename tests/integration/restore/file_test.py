# SPDX-License-Identifier: Apache-2.0
"""Dumps that no backup holds, restored from a file of the worker's host through real servers: SQL as pg_dump writes it, packed or
not, and archives; the copy dumps again to the same bytes. What is hostile, cut, of something else or not allowed is refused by its
line and leaves nothing."""
import gzip
import json
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from place_test import Placed, killed_where_it_stands  # noqa: E402
from stand import BINARIES, wait_until  # noqa: E402

NASTY = r"""
CREATE SCHEMA "a;b";
CREATE TABLE "a;b"."it's $$ \x" (id int PRIMARY KEY, v text DEFAULT E'\\;', j jsonb);
INSERT INTO "a;b"."it's $$ \x" VALUES (1, E'\\.', '{"a": "\\u00e4"}'), (2, E'line\nbreak \\! id', NULL), (3, '', '1'), (4, E'\\.\r\n\\N', '"--"');
CREATE FUNCTION body() RETURNS text LANGUAGE sql AS $_$ SELECT $$;'$$ || '\'; $_$;
CREATE FUNCTION atomic(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN a > 1 THEN 1 ELSE 2 END; END;
CREATE RULE two AS ON DELETE TO "a;b"."it's $$ \x" DO ALSO (SELECT 1; SELECT 2);
COMMENT ON SCHEMA "a;b" IS '/* -- ; \! id';
CREATE TABLE wide AS SELECT i, repeat(md5(i::text), 40) AS v FROM generate_series(1, 3000) i;
CREATE TABLE generated (a int, b int GENERATED ALWAYS AS (a * 2) STORED);
INSERT INTO generated VALUES (21);
CREATE TABLE one (v text);
INSERT INTO one VALUES (E'\\.'), (E'\\'), (E'\\.x'), (NULL);
"""


class Filed(Placed):
    def build(self, *words):
        self.dumps = self.top / "dumps"
        self.dumps.mkdir()
        super().build(*words)

    def enroll(self, name):
        super().enroll(name)
        own = self.top / f"{name}.yaml"
        own.write_text(f"api: http://127.0.0.1:{self.api_c1}\n" +
                       own.read_text().replace("servers: [127.0.0.1], paths:", f"servers: [127.0.0.1], files: [{self.dumps}], paths:"))

    def dump(self, database, *words):
        done = subprocess.run([BINARIES + "pg_dump", "-d", self.bank.conninfo(database), "--encoding=UTF8", *map(str, words)],
                              check=True, capture_output=True)
        return done.stdout

    def told(self, database):
        """A dump without what differs each time."""
        return [line for line in self.dump(database).splitlines() if not line.startswith((b"\\restrict", b"\\unrestrict"))]

    def write(self, name, content):
        path = self.dumps / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def refused(self, cause, *words, source="bank"):
        """What the command, or the job, says; nothing came of it."""
        before = self.databases()
        done = self.command("restore", source, *words, "--yes", "--wait")
        said = done.stdout + done.stderr + self.catalogue.one("SELECT concat_ws(' ', cause, error) FROM job ORDER BY id DESC LIMIT 1")
        assert done.returncode != 0 and cause in said, (cause, done, said)
        assert self.databases() == before, (before, self.databases())
        return said


def every_form_comes_back(place):
    place.ask("CREATE DATABASE bank_nasty TEMPLATE template0", "postgres")
    place.in_bank("bank_nasty", NASTY)
    whole = place.told("bank_nasty")
    plain = place.dump("bank_nasty")
    assert b"COPY" in plain and b"Restored" not in plain
    zstd = subprocess.run(["zstd", "-q", "-c"], input=plain, capture_output=True, check=True).stdout
    cut = plain.index(b"\n", len(plain) // 2)
    forms = {"a.sql": plain, "a.sql.gz": gzip.compress(plain), "two.sql.gz": gzip.compress(plain[:cut]) + gzip.compress(plain[cut:]),
             "a.sql.zst": zstd, "bom.sql": b"\xef\xbb\xbf" + plain, "rows.sql.gz": gzip.compress(place.dump("bank_nasty", "--rows-per-insert=100")),
             "inserts.sql": place.dump("bank_nasty", "--column-inserts"), "a.dump": place.dump("bank_nasty", "-Fc"),
             "a.tar": place.dump("bank_nasty", "-Ft")}
    for name, content in forms.items():
        path = place.write(name, content)
        done, job = place.restore("bank", "--file", path, "--to", "bank_again")
        assert done.returncode == 0 and job["state"] == "completed", (name, done, job)
        assert place.told("bank_again") == whole, name
        counts = job["answer"]["counts"]
        assert (counts["tables"], counts["rows"]) == (4, 3009), (name, counts)
        assert job["answer"]["file"] == str(path) and job["error"]["text"].startswith("4 tables, 3 009 rows"), job
        place.ask("DROP DATABASE bank_again", "postgres")
    place.ask("DROP DATABASE bank_nasty", "postgres")


def an_export_of_ours_too(place):
    place.complete(place.run("bank"))
    out = place.dumps / "export.sql.gz"
    place.must("backup", "export", "bank@latest", "--out", out)
    done, job = place.restore("bank", "--file", out, "--to", "bank_again")
    assert done.returncode == 0, (done, job)
    rows = "SELECT count(*) FROM account JOIN entry ON entry.account = account.id"
    assert place.ask(rows, "bank_again") == place.ask(rows) == "500"
    place.ask("DROP DATABASE bank_again", "postgres")


def the_plan_says_what_it_would_do(place):
    path = place.write("plan.sql.gz", gzip.compress(b"CREATE TABLE t (a int);"))
    plan = json.loads(place.must("restore", "bank", "--file", path, "--to", "bank_plan", "--plan", "--json"))
    assert plan["file"] == str(path) and plan["format"] == "gzip" and plan["creates"] == "bank_plan" and plan["file_bytes"] == path.stat().st_size, plan
    shown = place.command("restore", "bank", "--file", path, "--to", "bank_plan", "--plan")
    assert shown.returncode == 0 and str(path) in shown.stderr and "gzip" in shown.stderr, shown
    assert "bank_plan" not in place.databases()


def hostile_files_run_nothing(place):
    mark = place.top / "ran"
    for name, text, line in (
            ("shell.sql", f"CREATE TABLE t (a int);\n\\! touch {mark}\n", 2), ("copy.sql", f"\n\n\\copy t to program 'touch {mark}'\n", 3),
            ("include.sql", "\\i /etc/passwd\n", 1), ("out.sql", f"SELECT 1 \\g |touch {mark}\n", 1), ("backtick.sql", f"\\set x `touch {mark}`\n", 1),
            ("unrestrict.sql", f"\\restrict a\n\\unrestrict a\n\\! touch {mark}\n", 3), ("quoted.sql", f"SELECT 'a\\';\n\\! touch {mark}\n", 2),
            ("off.sql", f"SET standard_conforming_strings = off;\nSELECT 'a\\'';\n\\! touch {mark}\n", 3),
            ("program.sql", f"CREATE TABLE t (a text);\nCOPY t FROM PROGRAM 'touch {mark}';\n", 2),
            ("server.sql", "CREATE TABLE t (a text);\nCOPY t FROM '/etc/passwd';\n", 2), ("roles.sql", "\nCREATE ROLE thief SUPERUSER;\n", 2),
            ("other.sql", "SELECT 1;\nDROP\nDATABASE bank;\n", 2), ("connect.sql", "SELECT 1;\n\\connect bank\nDROP TABLE account;\n", 2)):
        said = place.refused("target.script", "--file", place.write(name, text), "--to", "bank_hostile")
        assert f"line {line}:" in said, (name, said)
    assert not mark.exists() and place.ask("SELECT count(*) FROM pg_roles WHERE rolname = 'thief'") == "0"
    shown = place.ask("SELECT count(*) FROM account")
    assert shown == "20000", shown


def the_first_error_ends_it(place):
    for text, words in (
            ("CREATE TABLE t (a int);\n\nSELECT\n  nothing\nFROM t;\n", ("line 4 of e.sql", "42703")),
            ("CREATE TABLE t (a int);\nCOPY t FROM stdin;\n1\n2\nthree\n4\n\\.\n", ("line 5 of e.sql", "22P02")),
            ("CREATE TABLE t (a int);\nALTER TABLE t OWNER TO nobody_here;\n", ("line 2 of e.sql", "create that role", "--no-owner")),
            ("CREATE TABLE t (a int);\nCOPY t FROM stdin;\n1\n", ("line 4", "it was cut")),
            ("CREATE TABLE t (a text DEFAULT 'x);\n", ("line 2", "it was cut")),
            ("-- PostgreSQL database dump\nCREATE TABLE t (a int);\n", ("dump complete", "it was cut")),
            ("BEGIN; CREATE TABLE t (a int);\n", ("transaction",)), ("-- nothing\n", ("no statement",)),
            ("CREATE TABLE t (a int);\0\n", ("line 1", "zero")), ("-- MySQL dump 10.13\nCREATE TABLE t (a int);\n", ("MySQL",)),
            ("-- PostgreSQL database cluster dump\nSELECT 1;\n", ("pg_dumpall",))):
        said = place.refused("target.script", "--file", place.write("e.sql", text), "--to", "bank_error")
        assert all(word in said for word in words), (text, said)
    packed = gzip.compress(b"CREATE TABLE t (a int);\n" + b"INSERT INTO t VALUES (1);\n" * 5000)
    for name, content in (("short.gz", packed[:-9]), ("half.gz", packed[:len(packed) // 2]), ("flip.gz", packed[:-6] + bytes([packed[-6] ^ 1]) + packed[-5:]),
                          ("tail.gz", packed + b"behind")):
        assert "damaged" in place.refused("file.damaged", "--file", place.write(name, content), "--to", "bank_error"), name
    archive = place.dump("bank", "-Fc")
    place.refused("target.archive", "--file", place.write("short.dump", archive[:len(archive) // 2]), "--to", "bank_error")
    place.refused("target.archive", "--file", place.write("a.dump.gz", gzip.compress(archive)), "--to", "bank_error")


def only_what_the_worker_allows(place):
    outside = place.top / "outside.sql"
    outside.write_text("CREATE TABLE t (a int);")
    (place.dumps / "link.sql").symlink_to(outside)
    os.mkfifo(place.dumps / "pipe.sql")
    for path in (outside, place.dumps / "link.sql", f"{place.dumps}/../outside.sql", "/etc/passwd"):
        assert "allow.restore.files" in place.refused("not-allowed-here", "--file", path, "--to", "bank_denied") or ".." in str(path), path
    place.refused("file.open", "--file", place.dumps / "pipe.sql", "--to", "bank_denied")
    place.refused("file.open", "--file", place.dumps, "--to", "bank_denied")
    place.refused("file.open", "--file", place.dumps / "missing.sql", "--to", "bank_denied")
    good = place.write("good.sql", "CREATE TABLE t (a int);")
    place.refused("file.engine", "--file", good, "--to", "tree", source="s1")
    place.refused("source.unknown", "--file", good, "--to", "bank_denied", source="nothing")
    for words in (("--to", "bank_denied", "--in-place", "--confirm", "bank"), ("--to", "/a/path"), ("--to", "bank_denied", "--table", "public.t"),
                  ("--to", "bank_denied", "--until", "latest")):
        assert place.command("restore", "bank", "--file", good, *words, "--yes", "--wait").returncode == 2, words
    assert place.command("restore", "bank", "--file", "relative.sql", "--to", "bank_denied", "--yes").returncode == 2


def an_empty_database_is_filled(place):
    for sql in ("CREATE DATABASE bank_empty TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' OWNER teller",
                "ALTER DATABASE bank_empty SET work_mem = '7MB'", "GRANT CONNECT ON DATABASE bank_empty TO auditor"):
        place.ask(sql, "postgres")
    facts = "SELECT pg_encoding_to_char(encoding), datdba::regrole, (SELECT string_agg(x::text, ' ' ORDER BY x::text) FROM unnest(datacl) x), (SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = d.oid) " \
            "FROM pg_database d WHERE datname = 'bank_empty'"
    was = place.ask(facts, "postgres")
    path = place.write("fill.sql", "SET client_encoding = 'UTF8';\nCREATE TABLE t (a text);\nINSERT INTO t VALUES ('ä');\n")
    done, job = place.restore("bank", "--file", path, "--to", "bank_empty")
    assert done.returncode == 0 and "kept as" not in job["error"]["text"], (done, job)
    assert place.ask(facts, "postgres") == was and "LATIN1" in was and "teller" in was, (was, place.ask(facts, "postgres"))
    assert place.ask("SELECT encode(convert_to(a, 'UTF8'), 'hex') FROM t", "bank_empty") == "c3a4" and place.databases() == ["bank", "bank_empty"], place.databases()
    assert "not empty" in place.refused("target.exists", "--file", path, "--to", "bank_empty")
    place.ask("DROP DATABASE bank_empty", "postgres")


def in_place_with_the_way_back(place):
    path = place.write("own.sql.gz", gzip.compress(place.dump("bank")))
    was = place.told("bank")
    place.ask("INSERT INTO account VALUES (0, 4711, 'after the dump')")
    place.refused("restore.confirm", "--file", path, "--in-place", "--confirm", "other")
    bad = place.write("bad.sql", "CREATE TABLE t (a int);\nSELECT broken;\n")
    done, job = place.restore("bank", "--file", bad, "--in-place", "--confirm", "bank")
    assert done.returncode != 0 and job["error"]["cause"] == "target.script" and "back:" in job["error"]["text"], job
    assert place.ask("SELECT count(*) FROM account WHERE id = 0") == "1" and place.databases() == ["bank"], place.databases()
    done, job = place.restore("bank", "--file", path, "--in-place", "--confirm", "bank")
    assert done.returncode == 0 and job["answer"]["safety"]["state"] == "completed", (done, job)
    assert place.told("bank") == was and "kept as bank_before_" in job["error"]["text"], job
    done, _ = place.restore(job["answer"]["safety"]["backup"], "--in-place", "--confirm", "bank")
    assert done.returncode == 0 and place.ask("SELECT pad FROM account WHERE id = 0") == "after the dump", done
    for name in place.databases():
        if name != "bank":
            place.ask(f"DROP DATABASE {name}", "postgres")


def a_monitor_is_inside(place):
    """Somebody who looks into every database sits in the one that is not ready: it gets its name all the same."""
    path = place.write("slow.sql", "CREATE TABLE t (a int);\n"
                       "DO $$ BEGIN FOR i IN 1 .. 3000 LOOP PERFORM pg_stat_clear_snapshot(), pg_sleep(0.1); EXIT WHEN EXISTS "
                       "(SELECT FROM pg_stat_activity WHERE application_name = 'monitor' AND datname = current_database()); END LOOP; END $$;\n")
    for in_place in (False, True):
        words = ("--in-place", "--confirm", "bank") if in_place else ("--to", "bank_watched")
        place.must("restore", "bank", "--file", path, *words, "--yes")
        number = place.catalogue.one("SELECT id FROM job WHERE kind = 'restore' ORDER BY id DESC LIMIT 1")
        made = wait_until(lambda: [name for name in place.databases() if name.startswith("holdfast_restore")], 300, "the database is made")
        monitor = subprocess.Popen([BINARIES + "psql", "-X", "-q", "-d", place.bank.conninfo(made[0]) + " application_name=monitor",
                                    "-c", "SELECT pg_sleep(600)"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        place.complete(number, seconds=300)
        assert monitor.wait(timeout=60) != 0
        assert place.ask("SELECT count(*) FROM t", "bank" if in_place else "bank_watched") == "0"
        place.ask("DROP DATABASE " + ("bank" if in_place else "bank_watched"), "postgres")
    old, = [name for name in place.databases() if name.startswith("bank_before_")]
    place.ask(f"ALTER DATABASE {old} RENAME TO bank", "postgres")


def killed_on_the_way(place):
    """kill -9 when all is in and the name is not given: the next attempt begins anew and ends."""
    path = place.write("killed.sql", "CREATE TABLE t (a int);\nCOPY t FROM stdin;\n1\n2\n\\.\n")
    place.again("", {"HOLDFAST_CRASHPOINT": "1", "HOLDFAST_CRASHPOINT_ONLY": "restore.filled", "HOLDFAST_CRASHPOINT_HOW": "stop"})
    place.must("restore", "bank", "--file", path, "--to", "bank_killed", "--yes")
    number = place.catalogue.one("SELECT id FROM job WHERE kind = 'restore' ORDER BY id DESC LIMIT 1")
    killed_where_it_stands(place)
    assert "bank_killed" not in place.databases()
    place.again("")
    place.complete(number, seconds=300)
    assert place.ask("SELECT count(*) FROM t", "bank_killed") == "2" and place.databases() == ["bank", "bank_killed"], place.databases()
    place.ask("DROP DATABASE bank_killed", "postgres")


def main():
    if shutil.which("zstd") is None:
        print("the zstd command is missing")
        sys.exit(77)
    with Filed(workers=1, sources=1, retry="attempts: 1") as place:
        every_form_comes_back(place)
        the_plan_says_what_it_would_do(place)
        hostile_files_run_nothing(place)
        the_first_error_ends_it(place)
        only_what_the_worker_allows(place)
        an_empty_database_is_filled(place)
        an_export_of_ours_too(place)
        in_place_with_the_way_back(place)
        a_monitor_is_inside(place)
        killed_on_the_way(place)
        place.check()
    print("a dump from a file comes back whole or not at all, and runs nothing here")


if __name__ == "__main__":
    main()
