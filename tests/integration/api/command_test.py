#!/usr/bin/env -S /usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""The `holdfast` command against a real installation: what it prints, what it exits with."""
import csv
import io
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import stand as stands  # noqa: E402

# What moves a terminal or turns the direction of writing; a line feed ends a line.
MOVES = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
VERB = re.compile(r'^VERB\((\w+), "([^"]+)", "([^"]*)", ', re.M)
VERBS = VERB.findall((stands.ROOT / "scheduler/ctl/verbs.def").read_text())


def setUpModule():
    global stand, backup, job
    stand = stands.Stand()
    done = stand.back_up()
    backup, job = done["backup"], done["id"]


def tearDownModule():
    stand.down()


def run(*words, **more):
    return stand.command(*words, **more)


class Command(unittest.TestCase):
    maxDiff = None

    # --- every verb -------------------------------------------------------------------------------

    def words_of(self, symbol):
        """Arguments that make the verb work here, once for text and once for JSON."""
        queued = stand.ask("POST", "/sources/far/run", {}).json["id"]
        ended = stand.ask("POST", "/sources/far/run", {}).json["id"]
        stand.ask("POST", f"/jobs/{ended}/cancel", {})
        stand.sql(f"UPDATE holdfast.job SET state = 'cancelled', finished_at = clock_timestamp()"
                  f" WHERE holdfast.job_text(id) = '{ended}' AND finished_at IS NULL")
        made = stand.ask("POST", "/tokens", {"role": "viewer", "expires": "1h"}).json["id"]
        newest = stand.ask("GET", "/backups").json["items"][0]["id"]
        stand.ask("POST", "/grants", {"backup": newest, "worker": "local-1", "reason": "a test"})
        granted = stand.ask("GET", "/grants").json["items"][0]["id"]
        out = stand.home / f"out-{os.urandom(4).hex()}"
        drill = stand.home / "drill.yaml"
        drill.write_text(f"version: 1\nsteps: [{{name: tree, restore: tree, to: {stand.dir}/restore/{out.name}}}]\n")
        return {
            "dr_plan": [str(drill)], "dr_run": [str(drill), "--yes"],
            "run": ["far"], "restore": ["tree", "--to", str(stand.dir / "restore/x"), "--plan"],
            "verify": ["tree"], "policy_check": [str(stand.home / "fleet.yaml")],
            "policy_plan": [str(stand.home / "fleet.yaml")], "policy_diff": ["1"],
            "policy_apply": [str(stand.home / "fleet.yaml")], "source_show": ["tree"], "source_test": ["tree"],
            "store_test": ["main"], "catalogue_rebuild": ["main", "--dry-run"], "catalogue_merge": ["main", "--dry-run"],
            "prune": ["main", "--reason", "a test"], "key_reencrypt": ["main", "--reason", "a test"], "backup_delete": ["tree", "--reason", "a test", "--dry-run"],
            "backup_hold": ["tree", "--reason", "a test"], "backup_release": ["tree", "--reason", "a test", "--dry-run"],
            "backup_copy": ["tree", "--to", "other", "--dry-run"], "retention_run": ["tree"], "retention_resume": ["--reason", "a test"],
            "backup_show": ["tree"], "retention_explain": ["tree"], "backup_files": ["tree"], "backup_diff": ["tree", "tree"],
            "backup_fetch": ["tree", f"{stand.tree}/small", "--out", str(out)], "backup_export": ["tree", "--out", str(out)], "job_show": [job], "job_logs": [job],
            "job_follow": [job], "job_cancel": [queued], "job_retry": [ended], "why": ["tree"],
            "source_verify": ["tree"], "source_pause": ["far", "--for", "1h"], "source_resume": ["far"], "source_suspect": ["far", "--reason", "a test"], "queue_pause": ["far"], "queue_resume": ["far"],
            "worker_drain": ["local-1"], "worker_resume": ["local-1"],
            "worker_show": ["local-1"], "token_revoke": [made],
            "grant_create": ["tree", "--worker", "local-1", "--reason", "a test"], "grant_withdraw": [granted, "--reason", "a test"], "completion": ["bash"],
        }.get(symbol, [])

    def test_every_verb_gives_whole_json_and_text_that_moves_no_terminal(self):
        for symbol, words, _ in VERBS:
            text = run(*words.split(), *self.words_of(symbol))
            expected = 1 if symbol == "doctor" else 0 # nobody serves the pool far
            self.assertEqual(text.returncode, expected, f"{words}: {text.stderr}")
            self.assertIsNone(MOVES.search((text.stdout + text.stderr).replace("\t", "")), f"{words}: {text.stdout!r}")
            done = run(*words.split(), *self.words_of(symbol), "--json")
            self.assertEqual(done.returncode, expected, f"{words} --json: {done.stderr}")
            lines = done.stdout.splitlines() if symbol == "job_follow" else [done.stdout]
            for line in lines:
                json.loads(line)

    def test_lists_that_are_empty_are_empty_lists(self):
        for words in (["job", "list", "--source", "broken", "--state", "running"], ["backup", "list", "--source", "far"],
                      ["policy", "next", "--source", "none"]):
            done = run(*words, "--json")
            self.assertEqual((done.returncode, json.loads(done.stdout)), (0, []), words)
            self.assertEqual((run(*words).stdout, run(*words).returncode), ("", 0))
        waits = stand.ask("POST", "/sources/far/run", {}).json["id"]
        self.assertEqual(json.loads(run("job", "logs", waits, "--json").stdout), [])

    def test_help_of_every_verb_fits_eighty_columns_and_asks_nobody(self):
        alone = dict(stand.environment, HOLDFAST_SERVER="http://127.0.0.1:1", HOLDFAST_TOKEN_FILE="/nowhere")
        pages = [["help"], ["help", "exit-codes"], ["--help"], ["-h"], ["job", "--help"], ["help", "job"], []]
        for _, words, _ in VERBS:
            pages += [["help", *words.split()], [*words.split(), "--help"]]
        for words in pages:
            done = run(*words, environment=alone)
            self.assertEqual((done.returncode, done.stderr), (0, ""), words)
            self.assertTrue(done.stdout, words)
            for line in done.stdout.splitlines():
                self.assertLessEqual(len(line), 80, line)
        table = json.loads(run("help", "--json", environment=alone).stdout)
        self.assertEqual(len(table["verbs"]), len(VERBS))

    def test_exit_codes_are_those_of_the_table(self):
        gone = dict(stand.environment, HOLDFAST_SERVER="http://127.0.0.1:1")
        nobody = {key: value for key, value in stand.environment.items() if key != "HOLDFAST_TOKEN_FILE"}
        wrong = stand.home / "wrong.yaml"
        wrong.write_text("version: 1\nfleet: x\nstores: {}\npolicies: {}\nsources: {a: {type: files}}\n")
        for code, words, environment in (
                (2, ["backup", "tree"], None), (2, ["jobs"], None), (2, ["job"], None), (2, ["status", "--nope"], None),
                (2, ["job", "list", "--limit", "many"], None), (2, ["job", "list", "--limit", "0"], None),
                (2, ["status", "-o", "xml"], None), (2, ["status", "--to", "x"], None), (2, ["job", "show"], None),
                (2, ["job", "list", "--state", "faild"], None), (2, ["job", "list", "--limit"], None),
                (4, ["status"], nobody), (5, ["job", "show", "jb_0ZZZZZZ"], None), (5, ["source", "show", "none"], None),
                (5, ["backup", "show", "far@latest"], None), (5, ["run", "none"], None), (5, ["why", "none"], None),
                (2, ["completion", "csh"], None), (6, ["job", "retry", job], None), (8, ["status"], gone),
                (8, ["doctor"], gone), (9, ["policy", "check", str(wrong)], None), (9, ["policy", "apply", str(wrong)], None),
                (5, ["policy", "check", "/nowhere.yaml"], None), (10, ["status", "--check"], None),
                (0, ["version"], gone), (7, ["run", "far", "--wait", "--timeout", "1s"], None),
                (1, ["run", "broken", "--wait"], None)):
            done = run(*words, environment=environment)
            self.assertEqual(done.returncode, code, f"{words}: {done.stdout}{done.stderr}")
            self.assertIsNone(MOVES.search(done.stderr), done.stderr)
            if code not in (0, 1, 7, 10) and words != ["doctor"]:
                self.assertTrue(done.stderr.startswith("holdfast: ") or "error[" in done.stderr, done.stderr)

    def test_errors_of_a_policy_are_shown_where_they_are(self):
        text = (stand.home / "fleet.yaml").read_text().replace("policy: daily", "policy: dayly", 1)
        wrong = stand.home / "wrong.yaml"
        wrong.write_text(text.replace("pools: {far: {}}", "pools: {far: {}}\nkeep\x1b[2J: 1"))
        wrong.write_text(text.replace("paths: [", "pathz: [", 1))
        done = run("policy", "check", str(wrong))
        self.assertEqual(done.returncode, 9)
        self.assertRegex(done.stderr, re.escape(str(wrong)) + r":\d+:\d+: error\[unknown-policy\]: .*daily")
        self.assertRegex(done.stderr, re.escape(str(wrong)) + r":\d+:\d+: error\[unknown-key\]: 'pathz' .*\n.*\n.*'paths'")
        problem = json.loads(run("policy", "check", str(wrong), "--json").stderr)
        self.assertEqual(problem["code"], "policy.invalid")
        self.assertGreaterEqual(len(problem["errors"]), 2)

    def test_errors_are_json_when_json_is_asked_for(self):
        gone = dict(stand.environment, HOLDFAST_SERVER="http://127.0.0.1:1")
        for words, environment, code in ((["job", "show", "jb_0ZZZZZZ"], None, "job.unknown"),
                                         (["status"], gone, "http.unreachable"),
                                         (["backup", "fetch", "tree", "/x"], None, "fetch.json")):
            done = run(*words, "--json", environment=environment)
            self.assertEqual(json.loads(done.stderr)["code"], code)
            self.assertEqual(done.stdout, "")

    # --- what is wrong ------------------------------------------------------------------------------

    def test_status_says_how_fresh_each_source_is_and_what_to_type(self):
        failed = stand.back_up("broken")
        self.assertEqual(failed["state"], "failed")
        status = json.loads(run("status", "--json").stdout)
        fresh = {row["name"]: row for row in status["freshness"]}
        self.assertEqual(fresh["tree"]["last_backup"], json.loads(run("backup", "show", "tree", "--json").stdout)["id"])
        self.assertEqual((fresh["tree"]["state"], fresh["far"]["state"], fresh["broken"]["state"]),
                         ("ok", "never", "failing"))
        for row in fresh.values():
            self.assertRegex(row["next_at"], r"^20\d\d-\d\d-\d\dT.*Z$")
        wanted = [row for row in status["attention"] if row.get("source") == "broken"]
        self.assertEqual(wanted[0]["state"], "failing")
        self.assertEqual(wanted[0]["cause"]["job"], failed["id"])
        self.assertIn(f"holdfast job logs {failed['id']}", wanted[0]["next"])
        unserved = [row for row in status["attention"] if row.get("part") == "workers"]
        self.assertIn("pool far", unserved[0]["cause"]["message"])
        self.assertFalse(status["ok"])
        text = run("status").stdout
        for words in ("NOT OK", "NEEDS ATTENTION", "✗ broken", f"next: holdfast job logs {failed['id']}", "workers 1/1",
                      "pool far", "LAST GOOD", "NEXT"):
            self.assertIn(words, text)
        for line in [line for line in text.splitlines() if "next: holdfast" in line]:
            command = line.split("next: holdfast ", 1)[1].split()
            self.assertEqual(run(*command).returncode, 0, line)
        nagios = run("status", "--nagios")
        self.assertEqual((nagios.returncode, nagios.stdout[:20]), (2, "HOLDFAST CRITICAL - "))

    def test_doctor_finds_what_is_broken(self):
        def checks():
            return {(row["name"], row["state"]): row for row in json.loads(run("doctor", "--json").stdout)["checks"]}
        found = checks()
        for name in ("api", "this clock", "scheduler", "catalogue", "schema", "clock", "redis", "worker local-1", "store",
                     "key set", "policy", "audit", "token"):
            self.assertIn((name, "OK"), found)
        self.assertIn(("pool", "FAIL"), found) # of far
        for (name, state), row in found.items():
            self.assertTrue(row["text"], name)
            self.assertEqual(bool(row["next"]), state != "OK", name)
        self.assertEqual(run("doctor").returncode, 1)
        os.kill(stand.pid("redis"), signal.SIGSTOP)
        os.kill(stand.pid("worker-1"), signal.SIGSTOP)
        try:
            stand.until(lambda: ("redis", "FAIL") in checks() and ("worker local-1", "WARN") in checks(), "both")
            self.assertIn(("store", "FAIL"), checks())
            self.assertIn("redis", run("status").stdout)
        finally:
            os.kill(stand.pid("redis"), signal.SIGCONT)
            os.kill(stand.pid("worker-1"), signal.SIGCONT)
        stand.until(lambda: ("redis", "OK") in checks() and ("worker local-1", "OK") in checks(), "both again")

    # --- what happened --------------------------------------------------------------------------------

    def test_one_command_says_what_ran_when_where_for_whom_and_what_it_stored(self):
        shown = json.loads(run("job", "show", job, "--json").stdout)
        for member in ("kind", "source", "trigger", "asked_by", "started_at", "finished_at", "worker", "backup"):
            self.assertTrue(shown[member], member)
        self.assertEqual((shown["asked_by"], shown["trigger"], shown["worker"]), ("admin", "manual", "local-1"))
        self.assertGreater(shown["result"]["stored_bytes"], 3_000_000)
        card = run("job", "show", job).stdout
        for words in ("asked by       admin", "worker         local-1", f"backup         {backup}", "stored ", "read ",
                      "ran: attempt 1 on local-1"):
            self.assertIn(words, card)
        table = run("job", "list").stdout
        for words in ("ASKED BY", "STORED", "admin", "local-1"):
            self.assertIn(words, table)
        stored = json.loads(run("backup", "show", backup, "--json").stdout)
        self.assertEqual((stored["job"], stored["worker"], stored["source"]), (job, "local-1", "tree"))

    def test_one_query_says_the_same(self):
        row = stand.sql("SET ROLE holdfast_auditor; SELECT source, trigger, asked_by, started_at IS NOT NULL, state, worker,"
                        " new_bytes > 3000000, store, backup FROM holdfast.audit_runs"
                        f" WHERE job = '{job}'")
        self.assertEqual(row, f"tree|manual|admin|t|completed|local-1|t|main|{backup}")

    def test_the_queries_of_the_readme_run_as_the_auditor(self):
        block = re.search(r"```sql\n(.*?)```", (stands.ROOT / "README.md").read_text(), re.S).group(1)
        queries = [query for query in block.split(";") if query.strip()]
        self.assertGreaterEqual(len(queries), 4)
        for query in queries:
            self.assertIn("tree" if "audit_runs" in query else "", stand.sql(f"SET ROLE holdfast_auditor; {query}"))

    def test_why_a_slot_was_skipped_is_told_in_words(self):
        stand.sql("INSERT INTO holdfast.job(kind, trigger, source, schedule, slot, actor, pool, state, finished_at)"
                  " SELECT 'backup', 'scheduled', s.no, 'default', '2026-01-02 03:04Z', 'schedule', s.pool, 'skipped',"
                  " clock_timestamp() FROM holdfast.source s WHERE name = 'far'")
        stand.sql("INSERT INTO holdfast.decision(source, schedule, slot, job, verdict, code, text) SELECT source, schedule, slot,"
                  " id, 'skipped', 'overlap', 'jb_1 still runs' FROM holdfast.job WHERE slot = '2026-01-02 03:04Z'")
        self.assertIn("jb_1 still runs", run("job", "list", "--state", "skipped").stdout)
        self.assertIn("jb_1 still runs", run("why", "far").stdout)
        self.assertIn("overlap", run("why", "far").stdout)
        stand.sql("UPDATE holdfast.decision SET first_at = '2026-01-02 03:04:05Z', last_at = first_at WHERE code = 'overlap'")
        self.assertIn("overlap", run("why", "far", "2026-01-02T03:04:05Z", "--json").stdout)
        self.assertEqual(json.loads(run("why", "far", "2026-01-02T03:04:04Z", "--json").stdout), [])
        self.assertEqual(run("why", "far", "yesterday").returncode, 2)
        self.assertEqual(stand.sql("SELECT reason FROM holdfast.audit_runs WHERE state = 'skipped' AND source = 'far'"
                                   " AND slot = '2026-01-02 03:04Z'"), "jb_1 still runs")

    def test_a_job_that_nobody_can_run_says_so(self):
        waits = stand.ask("POST", "/sources/far/run", {}).json["id"]
        stand.until(lambda: "no live worker serves pool far" in run("job", "show", waits).stdout, "the reason")

    def test_what_each_worker_lacks_is_told_before_and_after(self):
        waits = stand.ask("POST", "/sources/far/run", {}).json["id"]
        name = stand.sql("SELECT name FROM holdfast.worker")
        lacks = f"{name} does not serve pool far"
        stand.until(lambda: lacks in run("job", "show", waits).stdout, "the reason")
        self.assertIn(lacks, run("why", "far").stdout)
        self.assertIn(f"far: no live worker serves pool far: {lacks}", run("doctor").stdout)
        self.assertEqual([(row["worker"], row["serves"]) for row in stand.ask("GET", f"/jobs/{waits}").json["missing"]],
                         [(name, False)])
        stand.ask("POST", f"/jobs/{waits}/cancel", {})

    def test_an_emergency_needs_a_reason_and_is_written_down(self):
        refused = run("run", "tree", "--emergency")
        self.assertEqual((refused.returncode, "--reason" in refused.stderr), (2, True), refused.stderr)
        for body in ({"emergency": True}, {"emergency": True, "reason": " \t"}, {"emergency": 1, "reason": "x"}):
            self.assertEqual(stand.ask("POST", "/sources/tree/run", body).status, 400, body)
        self.assertEqual(stand.sql("SELECT count(*) FROM holdfast.job WHERE trigger = 'emergency'"), "0")
        job = json.loads(run("run", "tree", "--emergency", "--reason", "disk of db1 fails", "--json").stdout)[0]["id"]
        shown = stand.ended(job)
        self.assertEqual((shown["trigger"], shown["state"]), ("emergency", "completed"))
        self.assertIn("disk of db1 fails", run("why", "tree").stdout)
        self.assertEqual(stand.sql("SELECT reason || ' ' || object FROM holdfast.audit_event"
                                   " WHERE action = 'backup.emergency'"), "disk of db1 fails tree")

    def test_the_log_of_a_backup_is_followed_to_its_end(self):
        started = json.loads(run("run", "tree", "--json").stdout)[0]["id"]
        done = run("job", "logs", started, "--follow", "--json")
        events = [json.loads(line)["event"] for line in done.stdout.splitlines()]
        self.assertEqual((events[0], events[-1]), ("job.started", "job.ended"))
        self.assertIn("backup.committed", events)
        self.assertEqual(len(events), len(json.loads(run("job", "logs", started, "--json").stdout)))

    # --- forms ------------------------------------------------------------------------------------

    def test_a_list_is_the_same_in_every_form(self):
        for words in (["job", "list", "--source", "tree"], ["source", "list"], ["backup", "list"], ["worker", "list"],
                      ["queue", "list"], ["audit", "log"], ["token", "list"], ["why", "tree"]):
            whole = json.loads(run(*words, "--json").stdout)
            lines = run(*words, "-o", "ndjson").stdout.splitlines()
            mark = next(m for m in ("id", "name", "at") if m in whole[0])
            self.assertEqual([json.loads(line)[mark] for line in lines], [item[mark] for item in whole], words)
            rows = list(csv.DictReader(io.StringIO(run(*words, "-o", "csv", "--fields", f"{mark},state,result").stdout)))
            self.assertEqual([row[mark] for row in rows], [item[mark] for item in whole], words)
            table = run(*words).stdout.splitlines()[0].split()
            wide = run(*words, "-o", "wide").stdout.splitlines()[0].split()
            self.assertEqual([w for w in wide if w in table], table, words)
            some = json.loads(run(*words, "--json", "--fields", mark).stdout)
            self.assertEqual(some, [{mark: item[mark]} for item in whole], words)
        for words in (["job", "list"], ["backup", "list"], ["audit", "log"], ["why", "tree"]):
            self.assertEqual(json.loads(run(*words, "--since", "2100-01-01", "--json").stdout), [], words)
            self.assertEqual(run(*words, "--since", "soon").returncode, 2, words)
        for words in (["job", "list"], ["backup", "list"], ["audit", "log"]):
            self.assertEqual(json.loads(run(*words, "--until", "2000-01-01", "--json").stdout), [], words)
        self.assertIn("TRIGGER", run("job", "list", "-o", "wide").stdout)
        self.assertNotIn("TRIGGER", run("job", "list").stdout)
        head = run("job", "list", "-o", "csv").stdout.splitlines()[0]
        self.assertIn("id,kind,source,state", head)
        self.assertEqual(run("job", "list", "--source", "nobody", "-o", "csv").stdout, head + "\n")
        self.assertEqual(run("job", "list", "--source", "nobody", "-o", "ndjson").stdout, "")

    def test_what_is_watched_is_shown_again_when_something_happens(self):
        with subprocess.Popen([str(stands.BUILD / "holdfast"), "job", "list", "--source", "far", "--limit", "1", "--watch",
                               "--json"], env=stand.environment, stdout=subprocess.PIPE, text=True) as watching:
            try:
                watching.stdout.readline()
                made = stand.ask("POST", "/sources/far/run", {}).json["id"]
                stand.until(lambda: json.loads(watching.stdout.readline())[0]["id"] == made, "the new job")
                stand.ask("POST", f"/jobs/{made}/cancel")
                began = time.monotonic()
                stand.until(lambda: json.loads(watching.stdout.readline())[0]["state"] == "cancelled", "its end")
                self.assertLess(time.monotonic() - began, 9, "it was not told, it only looked")
            finally:
                watching.terminate()
        text = subprocess.run(["timeout", "3", str(stands.BUILD / "holdfast"), "status", "--watch"], env=stand.environment,
                              capture_output=True, text=True, check=False)
        self.assertIn("NOT OK", text.stdout, text.stderr)

    def test_what_is_held_back_says_so_and_comes_again(self):
        def state(kind, name):
            return next(one for one in stand.ask("GET", f"/{kind}").json["items"] if one["name"] == name)
        for words, wrong in ((["source", "pause", "far"], "until"), (["source", "pause", "far", "--for", "1h", "--until", "2199-01-01T00:00Z"], "either"),
                             (["source", "pause", "far", "--until", "2020-01-01T00:00Z"], "over"), (["source", "pause", "far", "--for", "long"], "long"),
                             (["source", "pause", "far", "--for", "120000d"], "hundred years"),
                             (["source", "pause", "none", "--for", "1h"], "none"), (["queue", "pause", "none"], "none"),
                             (["worker", "drain", "none"], "none")):
            done = run(*words)
            self.assertIn(done.returncode, (2, 5), done.stdout)
            self.assertIn(wrong, done.stderr)
            self.assertIsNone(state("sources", "far").get("paused_until"))
        for words in (["source", "pause", "far", "--for", "1h"], ["queue", "pause", "far"], ["worker", "drain", "local-1"]):
            self.assertRegex(run(*words, "--dry-run").stdout, f"would {words[1]} {words[2]}")
        self.assertEqual(stand.sql("SELECT count(*) FROM holdfast.audit_event WHERE action = 'queue.pause' AND reason = 'a move'"), "0")
        self.assertEqual(run("source", "pause", "far", "--until", "2199-01-01T00:00Z", "--reason", "a move").stdout, "far: paused\n")
        self.assertEqual(state("sources", "far")["state"], "paused")
        self.assertEqual(state("sources", "far")["paused_reason"], "a move")
        self.assertIn("2199-01-01", state("sources", "far")["paused_until"])
        self.assertEqual(run("source", "list", "--state", "paused", "-o", "name").stdout, "far\n")
        self.assertEqual(run("source", "list", "--type", "postgresql", "-o", "name").stdout, "")
        self.assertEqual(run("source", "resume", "far").stdout, "far: resumed\n")
        self.assertNotEqual(state("sources", "far")["state"], "paused")
        self.assertEqual(run("queue", "pause", "default", "--reason", "a move").stdout, "default: paused\n")
        self.assertTrue(state("queues", "default")["paused"])
        waits = json.loads(run("run", "tree", "--json").stdout)[0]["id"]
        held = run("job", "follow", waits, "--timeout", "2s")
        self.assertEqual(held.returncode, 7, held.stdout)
        self.assertEqual(run("queue", "resume", "default").stdout, "default: resumed\n")
        stand.ended(waits)
        self.assertEqual(run("worker", "drain", "local-1", "--reason", "a move").stdout, "local-1: draining\n")
        stand.until(lambda: state("workers", "local-1")["state"] == "draining", "the worker drains")
        self.assertEqual(run("worker", "resume", "local-1").stdout, "local-1: resumed\n")
        stand.until(lambda: state("workers", "local-1")["state"] == "alive", "the worker takes tickets")
        told = json.loads(run("audit", "log", "--action", "queue.pause", "--json").stdout)
        self.assertEqual({one["action"] for one in told}, {"queue.pause"})
        self.assertIn("a move", [one["reason"] for one in told])

    def test_a_dry_run_shows_and_does_nothing(self):
        made = stand.ask("POST", "/sources/far/run", {}).json["id"]
        before = stand.sql("SELECT count(*) FROM holdfast.job WHERE kind <> 'probe'")
        for words, shown in ((["run", "tree", "far"], "would back up tree"), (["verify", "tree"], f"would verify {backup}"),
                             (["job", "cancel", made], f"would cancel {made} (now "),
                             (["restore", "tree", "--to", str(stand.dir / "restore/dry")], "creates")):
            done = run(*words, "--dry-run")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(shown, done.stdout + done.stderr)
            json.loads(run(*words, "--dry-run", "--json").stdout)
        self.assertEqual(run("run", "none", "--dry-run").returncode, 5)
        self.assertEqual(stand.sql("SELECT count(*) FROM holdfast.job WHERE kind <> 'probe'"), before)
        self.assertFalse(stand.ask("GET", f"/jobs/{made}").json["cancel_requested"])

    def test_a_chain_of_events_that_was_changed_is_seen(self):
        whole = run("audit", "verify")
        self.assertEqual(whole.returncode, 0, whole.stderr)
        self.assertRegex(whole.stdout, r"^whole: \d+ events, head [0-9a-f]{64}$")
        stand.sql("SET session_replication_role = replica; UPDATE holdfast.audit_event SET object = object || 'x' WHERE seq = 2")
        try:
            done = run("audit", "verify")
            self.assertEqual(done.returncode, 10, done.stdout + done.stderr)
            self.assertIn("2", done.stdout.split())
            self.assertFalse(json.loads(run("audit", "verify", "--json").stdout)["whole"])
        finally:
            stand.sql("SET session_replication_role = replica; UPDATE holdfast.audit_event SET object = left(object, -1)"
                      " WHERE seq = 2")
        self.assertEqual(run("audit", "verify").returncode, 0)

    def test_stores_are_listed_with_what_is_in_them(self):
        self.assertRegex(run("store", "list").stdout.splitlines()[1], r"^main +local +local +[1-9]\d* +[\d.]+ [KM]iB +0 +false$")
        store = json.loads(run("store", "list", "--json").stdout)[0]
        self.assertEqual((store["name"], store["repositories"][0]["key_set"]), ("main", "local"))

    def test_a_store_is_tried_by_the_worker_that_would_use_it(self):
        done = run("store", "test", "main")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual([line.split(":")[0] for line in done.stdout.splitlines()], ["✓ open", "✓ write", "✓ read", "✓ write once", "✓ delete"])
        self.assertEqual(run("store", "test", "absent").returncode, 5)

    def test_a_plan_has_no_empty_lines(self):
        plan = run("restore", "tree", "--to", str(stand.dir / "restore/lines"), "--plan").stderr
        self.assertIn("creates", plan)
        for line in plan.splitlines():
            self.assertRegex(line, r"^\S.{13} \S", plan)

    def test_what_is_given_back_only_when_asked_for_is_in_the_plan_and_the_workers_file(self):
        to = ("restore", "tree", "--to", str(stand.dir / "restore/with"), "--plan")
        self.assertRegex(run(*to, "--with", "numeric-owner").stderr, r"with +numeric_owner\n")
        self.assertNotRegex(run(*to).stderr, r"(?m)^with ")
        refused = run(*to, "--with", "setuid")
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("allow.restore.with in worker.yaml", refused.stderr)
        self.assertEqual(run(*to, "--with", "everything").returncode, 2)

    # --- what is in it, and what changed ----------------------------------------------------------

    def test_two_backups_are_compared_and_one_directory_is_listed(self):
        def listed(*words):
            done = run("backup", *words, "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            return json.loads(done.stdout)
        top = stand.tree / "compared"
        for name in ("a/deep/er/file", "a/other", "b/file", "gone", "same"):
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_text(name)
        self.assertEqual(run("run", "tree", "--wait").returncode, 0)
        before = json.loads(run("backup", "show", "tree@latest", "--json").stdout)["id"]
        (top / "gone").unlink()
        (top / "new").write_text("new")
        (top / "b/file").write_text("another")
        os.utime(top / "a/other", (1, 1))
        self.assertEqual(run("run", "tree", "--wait").returncode, 0)
        prefix = str(top).lstrip("/")
        changes = {row["path"].removeprefix(prefix + "/"): (row["change"], row.get("what"))
                   for row in listed("diff", before, "tree@latest", prefix) if row["type"] == "file"}
        self.assertEqual(changes, {"gone": ("removed", None), "new": ("added", None), "a/other": ("changed", ["mtime"]),
                                   "b/file": ("changed", ["content", "mtime"])})
        self.assertEqual(len(listed("diff", before, "tree@latest", prefix, "--limit", "2")), 2)
        self.assertEqual(listed("diff", "tree@latest", "tree@latest"), [])
        self.assertIn("content, mtime", run("backup", "diff", before, "tree@latest", prefix).stdout)
        wrong = run("backup", "diff", "tree", "nothing")
        self.assertEqual(wrong.returncode, 5, wrong.stderr)
        below = [row["path"].removeprefix(prefix + "/") for row in listed("files", "tree@latest", prefix, "--children")]
        self.assertEqual(below, ["a", "b", "new", "same"])
        self.assertEqual([row["path"].removeprefix(prefix + "/") for row in listed("files", "tree@latest", prefix + "/a", "--children")],
                         ["a/deep", "a/other"])
        self.assertEqual(len(listed("files", "tree@latest", prefix, "--limit", "3")), 3)
        self.assertIn("there is more", run("backup", "files", "tree@latest", prefix, "--limit", "3").stderr)

    # --- hostile names ----------------------------------------------------------------------------

    def test_names_of_files_do_not_reach_the_terminal_as_they_are(self):
        listed = run("backup", "files", "tree")
        self.assertEqual(listed.returncode, 0, listed.stderr)
        self.assertIn("odd", listed.stdout)
        self.assertIsNone(MOVES.search(listed.stdout), listed.stdout)
        name = [row["path"] for row in json.loads(run("backup", "files", "tree", "--json").stdout) if "odd" in row["path"]]
        self.assertEqual(run("backup", "fetch", "tree", name[0]).stdout, "odd\n")


class Peer(threading.Thread):
    """A server that answers each connection with the next of its answers, or hangs up on b"". It
    keeps the heads of the requests."""

    def __init__(self, *answers):
        super().__init__(daemon=True)
        self.answers, self.heads = answers, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.environment = dict(stand.environment,
                                HOLDFAST_SERVER=f"http://127.0.0.1:{self.listener.getsockname()[1]}")
        self.start()

    def run(self):
        for answer in self.answers:
            connection, _ = self.listener.accept()
            with connection:
                head = b""
                while b"\r\n\r\n" not in head and (piece := connection.recv(65536)):
                    head += piece
                self.heads.append(head.decode("latin-1"))
                connection.sendall(answer)
        self.listener.close()


def said(status, body, more=""):
    return (f"HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {len(body)}\r\n{more}\r\n").encode() + body


class StrangeServers(unittest.TestCase):
    def test_a_request_is_sent_again_with_its_key_when_the_connection_broke(self):
        peer = Peer(b"", said(202, b'{"id":"jb_0000007","state":"pending","kind":"backup","source":"tree"}'))
        done = run("run", "tree", environment=peer.environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        keys = [re.search(r"(?i)^idempotency-key: (\S+)", head, re.M).group(1) for head in peer.heads]
        self.assertEqual((len(keys), len(set(keys))), (2, 1))

    def test_answers_that_make_no_sense_end_with_an_error(self):
        page = b'{"items":[],"next_cursor":"5"}'
        for answer, code in ((said(200, b"<html>"), 1), (said(302, b"", "Location: http://127.0.0.1:1/\r\n"), 1),
                             (said(500, b"<h1>\x1b[31mboom</h1>"), 1), (said(204, b""), 0), (said(200, page), 1),
                             (said(429, b"{}"), 1), (said(503, b'{"code":"x","detail":"\x1b[2J"}'), 8)):
            peer = Peer(answer)
            done = run("job", "list", environment=peer.environment)
            self.assertEqual(done.returncode, code, f"{answer}: {done.stdout}{done.stderr}")
            self.assertIsNone(MOVES.search(done.stdout + done.stderr), f"{done.stdout!r} {done.stderr!r}")

    def test_a_list_that_does_not_get_further_ends(self):
        page = said(200, b'{"items":[{"id":"jb_0000001"}],"next_cursor":"5"}')
        peer = Peer(page, page, page, page)
        done = run("audit", "log", "--limit", "100000", environment=peer.environment)
        self.assertEqual((done.returncode, len(peer.heads)), (1, 2), done.stderr)
        self.assertIn("http.endless_list", done.stderr)

    def test_a_cut_off_answer_is_no_answer(self):
        whole = said(200, b'{"items":[],"next_cursor":null}')
        peer = Peer(whole[:-5], whole[:-5])
        self.assertEqual(run("job", "list", environment=peer.environment).returncode, 8)

    def test_a_token_never_stands_in_the_command_line_or_an_error(self):
        done = run("status", environment=Peer(said(401, b"{}")).environment)
        self.assertEqual(done.returncode, 4)
        self.assertNotIn(stand.tokens["admin"], done.stdout + done.stderr)


class Completion(unittest.TestCase):
    def script(self, shell):
        path = stand.home / f"complete.{shell}"
        path.write_text(run("completion", shell).stdout)
        return path

    CASES = ((["sta"], "status"), (["jo"], "job"), (["job", "l"], "list logs"), (["job", "list", "--st"], "--state"),
             (["restore", "x", "--in"], "--in-place"), (["backup", "fetch", "a", "--ou"], "--out"))

    def ask_shell(self, *command):
        return subprocess.run(command, text=True, capture_output=True, timeout=60, check=False)

    def test_bash_completes_words_and_flags(self):
        script = self.script("bash")
        for words, expected in self.CASES:
            line = " ".join(["holdfast", *words])
            done = self.ask_shell("bash", "-c", f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words)};"
                                  " _holdfast; echo ${COMPREPLY[*]}")
            self.assertEqual((done.stdout.strip(), done.stderr), (expected, ""), line)

    def test_zsh_completes_words_and_flags(self):
        if shutil.which("zsh") is None:
            self.skipTest("no zsh here")
        script = self.script("zsh")
        for words, expected in self.CASES:
            line = " ".join(["holdfast", *words])
            done = self.ask_shell("zsh", "-f", "-c", f"autoload -U compinit && compinit -D; source {script};"
                                  f" COMP_WORDS=({line}); COMP_CWORD={len(words)}; emulate -L ksh; _holdfast;"
                                  " echo ${COMPREPLY[*]}")
            self.assertEqual(done.stderr, "", line) # zsh itself drops what does not begin with the word
            self.assertLessEqual(set(expected.split()), set(done.stdout.split()), line)

    def test_fish_completes_words_and_flags(self):
        if shutil.which("fish") is None:
            self.skipTest("no fish here")
        script = self.script("fish")
        for words, expected in self.CASES:
            line = " ".join(["holdfast", *words])
            done = self.ask_shell("fish", "--no-config", "-c", f"source {script}; complete -C '{line}'")
            found = [row.split("\t")[0] for row in done.stdout.splitlines()]
            self.assertLessEqual(set(expected.split()), set(found), f"{line}: {done.stdout}{done.stderr}")


if __name__ == "__main__":
    unittest.main(verbosity=2, failfast=True)
