#!/usr/bin/env -S /usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""A fleet's policy from the operator's side: files that include others are checked, planned, applied,
compared, taken back, over a real scheduler and a real catalogue."""
import json
import os
import pathlib
import re
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "api"))
import stand as stands  # noqa: E402

BUNDLE = "application/vnd.holdfast.fleet+json"
MAIN = """version: 1
fleet: stand
include: [fleet.d/*.yaml]
defaults: {{timezone: UTC, encryption: local, retry: {{attempts: 2, backoff: 2s, max_backoff: 4s}}}}
keys: {{local: {{}}}}
stores: {{main: {{type: local, path: {dir}/store}}}}
pools: {{far: {{}}}}
policies:
  daily: {{schedule: "0 2 * * *", copies: [{{store: main}}]}}
sources:
  tree: {{type: files, policy: daily, paths: [{tree}]}}
"""
PART = """sources:
  {name}: {{type: files, policy: daily, paths: [{tree}], run_on: {{pool: far}}{more}}}
"""


def setUpModule():
    global stand
    stand = stands.Stand()


def tearDownModule():
    stand.down()


def run(*words, **more):
    return stand.command(*words, **more)


class Policy(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = pathlib.Path(stand.home) / f"fleet-{os.urandom(4).hex()}"
        (self.folder / "fleet.d").mkdir(parents=True)
        self.main = self.folder / "fleet.yaml"
        (self.folder / "fleet.d/a-none.yaml").write_text("# nobody yet\n")
        self.main.write_text(MAIN.format(dir=stand.dir, tree=stand.tree))

    def part(self, name, more=""):
        (self.folder / f"fleet.d/{name}.yaml").write_text(PART.format(name=name, tree=stand.tree, more=more))

    def done(self, *words, code=0):
        result = run(*words)
        self.assertEqual(result.returncode, code, f"{words}: {result.stdout}{result.stderr}")
        return result

    def apply(self, *words):
        return json.loads(self.done("policy", "apply", str(self.main), "--json", *words).stdout)

    def plan(self, *words):
        return json.loads(self.done("policy", "plan", str(self.main), "--json", *words).stdout)

    def jobs(self):
        return int(stand.sql("SELECT count(*) FROM holdfast.job"))

    # --- files that include others --------------------------------------------------------------

    def test_what_a_file_includes_is_sent_with_it(self):
        self.part("one")
        self.part("two")
        applied = self.apply()
        self.assertEqual((applied["changed"], applied["sources"]), (True, 3))
        shown = json.loads(self.done("policy", "show", "--json").stdout)
        self.assertEqual([file["name"] for file in shown["files"]],
                         ["fleet.yaml", "fleet.d/a-none.yaml", "fleet.d/one.yaml", "fleet.d/two.yaml"])
        self.assertEqual(stand.ask("GET", "/sources/two").json["name"], "two")
        text = self.done("policy", "show").stdout
        self.assertIn("# --- fleet.d/two.yaml", text)

    def test_a_mistake_in_an_included_file_is_told_at_its_place(self):
        self.part("one")
        wrong = self.folder / "fleet.d/wrong.yaml"
        wrong.write_text("sources:\n  odd: {type: files, policy: dayly, paths: [/x]}\n")
        for verb in ("check", "plan", "apply"):
            result = self.done("policy", verb, str(self.main), code=9)
            self.assertRegex(result.stderr, re.escape(str(wrong)) + r":2:30: error\[unknown-policy\]: .*dayly")
            self.assertIn("did you mean 'daily'?", result.stderr)
            self.assertIn("1 error", result.stderr.splitlines()[-1])
            self.assertEqual(result.stdout, "")
        problem = json.loads(self.done("policy", "check", str(self.main), "--json", code=9).stderr)
        self.assertEqual([e["file"] for e in problem["errors"] if e["severity"] == "error"], ["fleet.d/wrong.yaml"])

    def test_a_file_that_is_sent_alone_does_not_retire_what_it_includes(self):
        self.part("one")
        self.apply()
        alone = stand.ask("PUT", "/policy", self.main.read_bytes(), headers={"Content-Type": "application/yaml"})
        self.assertEqual((alone.status, alone.json["errors"][0]["code"]), (422, "include-empty"))
        self.assertEqual(stand.ask("GET", "/sources/one").status, 200)

    def test_names_are_words_and_no_paths_of_the_server(self):
        secret = stand.dir / "secrets/admin.token"
        for name in (str(secret), "../secrets/admin.token", "fleet.d/../../x", "", "a\u0000b", "a\nb"):
            body = json.dumps({"files": [{"name": "fleet.yaml", "text": self.main.read_text()},
                                         {"name": name, "text": "sources: {}"}]}).encode()
            answer = stand.ask("POST", "/policy/check", body, headers={"Content-Type": BUNDLE})
            self.assertEqual((answer.status, answer.json["code"]), (400, "policy.bundle"), name)
        text = self.main.read_text().replace("fleet.d/*.yaml", "secrets/admin.token")
        body = json.dumps({"files": [{"name": "fleet.yaml", "text": text}]}).encode()
        answer = stand.ask("POST", "/policy/check", body, headers={"Content-Type": BUNDLE})
        self.assertEqual((answer.status, answer.json["errors"][0]["code"]), (422, "include-missing"))

    def test_a_bundle_that_is_none_or_too_much_is_refused(self):
        for body in (b"", b"{", b"{}", b'{"files":[]}', b'{"files":[{"name":"a","text":1}]}',
                     json.dumps({"files": [{"name": f"f{n}", "text": ""} for n in range(1001)]}).encode()):
            for method, path in (("POST", "/policy/check"), ("POST", "/policy/plan"), ("PUT", "/policy")):
                answer = stand.ask(method, path, body, headers={"Content-Type": BUNDLE})
                self.assertEqual((answer.status, answer.json["code"]), (400, "policy.bundle"), body[:40])
        large = json.dumps({"files": [{"name": "a", "text": "#" * (3 << 20)}]}).encode()
        self.assertEqual(stand.ask("PUT", "/policy", large, headers={"Content-Type": BUNDLE}).status, 413)

    def test_a_file_that_is_no_text_is_told_before_it_is_sent(self):
        self.main.write_bytes(b"version: 1\nfleet: \xff\n")
        result = self.done("policy", "check", str(self.main), code=9)
        self.assertIn("not UTF-8", result.stderr)

    # --- plan and apply --------------------------------------------------------------------------

    def test_a_plan_says_what_apply_then_does_and_changes_nothing(self):
        self.part("goes")
        self.part("stays")
        self.apply()
        waiting = stand.ask("POST", "/sources/goes/run", {}).json["id"]
        (self.folder / "fleet.d/goes.yaml").unlink()
        self.part("fresh", ", initial: true")
        self.part("quiet")
        self.main.write_text(self.main.read_text().replace("0 2 * * *", "30 4 * * *").replace("far: {}", "far: {max_jobs: 3}"))
        before = stand.ask("GET", "/policy").json["version"]
        plan = self.plan()
        self.assertEqual((plan["version"], plan["differs"]), (before, True))
        self.assertEqual((plan["added"], plan["retired"], plan["starts"]), (["fresh", "quiet"], ["goes"], ["fresh"]))
        self.assertEqual(plan["cancels"], [{"source": "goes", "jobs": 1}])
        self.assertEqual([row["name"] for row in plan["changed"]], ["stays", "tree"])
        self.assertEqual(plan["changed"][0]["fields"],
                         [{"path": "schedules.default.at", "from": "0 2 * * *", "to": "30 4 * * *"}])
        self.assertIn({"path": "pools.far.max_jobs", "from": None, "to": 3}, plan["settings"])
        moved = {row["source"]: row for row in plan["schedules"] if row["change"] == "moved"}
        self.assertEqual(set(moved), {"stays", "tree"})
        self.assertIn("T02:00:00", moved["tree"]["before"])
        self.assertIn("T04:30:00", moved["tree"]["after"])
        self.assertEqual(stand.ask("GET", "/policy").json["version"], before)
        text = self.done("policy", "plan", str(self.main)).stdout
        for line in ("+ fresh  its first backup begins at once (initial: true)", "+ quiet", "~ stays, tree",
                     '    schedules.default.at  "0 2 * * *" → "30 4 * * *"',
                     "    tree default: next due",
                     "- goes  is no longer backed up; 1 waiting backup is cancelled", "~ pools.far.max_jobs  - → 3",
                     "2 added, 2 changed, 1 retired, 0 unchanged. Applying starts 1 backup, and nothing else.",
                     f"Exactly this:  holdfast policy apply {self.main} --expect {plan['sha256'][:12]}"):
            self.assertRegex(text, "(?m)^" + re.escape(line) + ("" if line.endswith("due") else "$"))
        self.assertEqual(self.done("policy", "apply", str(self.main), "--dry-run").stdout, text)
        self.assertEqual(stand.ask("GET", "/policy").json["version"], before)
        self.done("policy", "plan", str(self.main), "--exit-code", code=10)
        applied = self.apply("--expect", str(before))
        self.assertEqual({key: applied[key] for key in ("added", "updated", "retired", "cancelled", "initial")},
                         {"added": 2, "updated": 2, "retired": 1, "cancelled": 1, "initial": 1})
        self.assertEqual(stand.ask("GET", f"/jobs/{waiting}").json["state"], "cancelled")
        for row in moved.values():
            shown = stand.ask("GET", f"/sources/{row['source']}").json
            self.assertEqual(shown["next_at"], row["after"])
        self.assertEqual(self.plan()["differs"], False)
        self.assertIn("nothing differs", self.done("policy", "plan", str(self.main), "--exit-code").stdout)

    def test_apply_starts_nothing_but_what_is_initial(self):
        self.part("plain")
        self.part("eager", ", initial: true")
        before = self.jobs()
        self.assertEqual(self.apply()["initial"], 1)
        # A slot that was due while nobody looked would be fired within a second or two of the wake.
        made = stand.until(lambda: stand.sql("SELECT string_agg(s.name || ' ' || j.trigger, ',') FROM holdfast.job j JOIN"
                                             " holdfast.source s ON s.no = j.source WHERE s.name IN ('plain', 'eager')"),
                           "the initial job")
        time.sleep(3)
        self.assertEqual((made, self.jobs()), ("eager initial", before + 1))
        # Neither what is changed, nor what goes and comes back, nor the same once more.
        self.main.write_text(self.main.read_text().replace("0 2 * * *", "0 3 * * *"))
        self.assertEqual(self.apply()["initial"], 0)
        (self.folder / "fleet.d/eager.yaml").unlink()
        self.apply()
        self.part("eager", ", initial: true")
        self.assertEqual(self.plan()["starts"], [])
        again = self.apply()
        self.assertEqual((again["added"], again["initial"]), (1, 0))
        time.sleep(3)
        self.assertEqual(self.jobs(), before + 1)

    def test_two_people_do_not_overwrite_each_other(self):
        self.apply()
        version = self.plan()["version"]
        self.part("theirs")
        self.apply("--reason", "the other one")
        (self.folder / "fleet.d/theirs.yaml").unlink()
        self.part("mine")
        result = self.done("policy", "apply", str(self.main), "--expect", str(version), code=6)
        self.assertRegex(result.stderr, rf"version {version + 1} \([0-9a-f]{{12}}, by admin\) is in force, and not {version}:")
        self.assertIn("holdfast policy history", result.stderr)
        self.assertEqual(stand.ask("GET", "/sources/theirs").status, 200)
        tag = stand.ask("GET", f"/policy/versions/{version}").headers["ETag"]
        body = json.dumps({"files": [{"name": "fleet.yaml", "text": self.main.read_text()},
                                     {"name": "fleet.d/m.yaml", "text": "{}"}]}).encode()
        stale = stand.ask("PUT", "/policy", body, headers={"Content-Type": BUNDLE, "If-Match": tag})
        self.assertEqual((stale.status, stale.json["code"]), (412, "policy.changed"))
        self.assertIn("holdfast policy history", stale.json["detail"])
        for wrong in ("x", "-1", "7a", "", "7 "):
            self.done("policy", "apply", str(self.main), "--expect", wrong, code=2)
        digest = stand.ask("GET", "/policy").json["sha256"]
        for other in ("0", str(version + 2), tag[1:13], digest[:12] + "0" * 52):
            self.done("policy", "apply", str(self.main), "--expect", other, code=6)
        self.assertEqual(self.apply("--expect", digest[:12])["version"], version + 2)

    def test_an_apply_that_was_refused_is_written_down(self):
        def newest():
            return next(row for row in stand.ask("GET", "/audit/events").json["items"] if row["action"] == "policy.apply")
        self.apply()
        given = {"Content-Type": "application/yaml"}
        self.assertEqual(stand.ask("PUT", "/policy?reason=PR-7", b"version: 1\n", headers=given).status, 422)
        event = newest()
        self.assertEqual((event["result"], event["reason"], event["detail"]["code"]), ("refused", "PR-7", "policy.invalid"))
        other = {**given, "If-Match": '"' + "0" * 64 + '"'}
        body = self.main.read_text().replace("include: [fleet.d/*.yaml]\n", "").encode()
        self.assertEqual(stand.ask("PUT", "/policy", body + b"# other\n", headers=other).status, 412)
        event = newest()
        self.assertEqual((event["result"], event["detail"]["code"]), ("refused", "policy.changed"))

    def test_a_request_whose_answer_was_lost_may_be_sent_again(self):
        self.apply()
        tag = stand.ask("GET", "/policy").headers["ETag"]
        body = self.main.read_text().replace("include: [fleet.d/*.yaml]\n", "").encode()
        given = {"Content-Type": "application/yaml", "If-Match": tag}
        first = stand.ask("PUT", "/policy", body, headers=given)
        again = stand.ask("PUT", "/policy", body, headers=given)
        self.assertEqual((first.status, first.json["changed"]), (200, True))
        self.assertEqual((again.status, again.json["changed"]), (200, False))
        self.assertEqual(again.json["version"], first.json["version"])
        self.assertEqual(again.headers["ETag"], first.headers["ETag"])

    # --- versions --------------------------------------------------------------------------------

    def test_history_says_who_when_from_where_and_why(self):
        self.part("one")
        applied = self.apply("--reason", "PR-231")
        item = json.loads(self.done("policy", "history", "--limit", "1", "--json").stdout)[0]
        self.assertEqual((item["version"], item["sha256"], item["actor"], item["via"], item["reason"], item["in_force"]),
                         (applied["version"], applied["sha256"], "admin", "api", "PR-231", True))
        self.assertRegex(self.done("policy", "history").stdout, rf"(?m)^{applied['version']} .*{item['sha256'][:12]}  PR-231$")
        event = [row for row in stand.ask("GET", "/audit/events").json["items"] if row["action"] == "policy.apply"][0]
        self.assertEqual((event["actor"], event["actor_kind"], event["via"], event["client_ip"], event["reason"]),
                         ("admin", "token", "api", "127.0.0.1", "PR-231"))
        self.assertEqual(event["detail"]["version"], applied["version"])
        first = stand.ask("GET", "/policy/versions/1").json
        self.assertEqual((first["actor"], first["via"], first["version"]), ("scheduler", "scheduler", 1))

    def test_versions_come_in_pages(self):
        for hour in range(3):
            self.main.write_text(self.main.read_text().replace("0 2 * * *", f"{hour} 5 * * *").replace(
                f"{hour - 1} 5 * * *", f"{hour} 5 * * *"))
            self.apply()
        seen = []
        cursor = ""
        while True:
            page = stand.ask("GET", f"/policy/versions?limit=2{cursor}").json
            seen += [item["version"] for item in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        last = stand.ask("GET", "/policy").json["version"]
        self.assertEqual(seen, list(range(last, 0, -1)))
        self.assertEqual(len(json.loads(self.done("policy", "history", "--limit", "2", "--json").stdout)), 2)

    def test_what_lies_between_two_versions(self):
        first = self.apply()["version"]
        self.part("one")
        self.main.write_text(self.main.read_text().replace("0 2 * * *", "0 6 * * *"))
        second = self.apply()["version"]
        diff = json.loads(self.done("policy", "diff", str(first), str(second), "--json").stdout)
        self.assertEqual((diff["from"], diff["to"], diff["added"], diff["retired"]), (first, second, ["one"], []))
        self.assertEqual(diff["changed"], [{"name": "tree", "fields": [
            {"path": "schedules.default.at", "from": "0 2 * * *", "to": "0 6 * * *"}]}])
        back = json.loads(self.done("policy", "diff", str(second), str(first), "--json").stdout)
        self.assertEqual((back["added"], back["retired"]), ([], ["one"]))
        text = self.done("policy", "diff", str(first), "--exit-code", code=10).stdout
        self.assertIn('    schedules.default.at  "0 2 * * *" → "0 6 * * *"', text)
        self.done("policy", "diff", str(second), str(second), "--exit-code")
        self.done("policy", "diff", "999999", code=5)
        self.done("policy", "diff", "x", code=2)
        self.done("policy", "diff", code=2)

    def test_an_old_version_is_shown_and_a_missing_one_is_not(self):
        first = self.apply()
        self.main.write_text(self.main.read_text() + "# a remark\n")
        second = self.apply()
        self.assertEqual((second["changed"], second["updated"]), (True, 0))
        old = json.loads(self.done("policy", "show", "--version", str(first["version"]), "--json").stdout)
        self.assertEqual((old["sha256"], "remark" in old["text"]), (first["sha256"], False))
        self.assertIn("# a remark", self.done("policy", "show").stdout)
        for number in ("0", "999999", "x", "1x", "99999999999999999999"):
            self.done("policy", "show", "--version", number, code=5)

    def test_what_is_exported_is_no_change_when_it_is_applied(self):
        out = self.folder / "again"
        self.part("one")
        self.part("two")
        applied = self.apply()
        refused = self.done("policy", "export", code=2)
        self.assertIn("--out", refused.stderr)
        self.done("policy", "export", "--out", str(out))
        self.assertEqual((out / "fleet.d/two.yaml").read_text(), (self.folder / "fleet.d/two.yaml").read_text())
        again = json.loads(self.done("policy", "apply", str(out / "fleet.yaml"), "--json").stdout)
        self.assertEqual((again["changed"], again["version"], again["sha256"]),
                         (False, applied["version"], applied["sha256"]))
        self.assertIn("nothing was done", self.done("policy", "apply", str(out / "fleet.yaml")).stdout)
        self.done("policy", "export", "--out", str(out), code=6)
        bundle = self.done("policy", "export", "--json").stdout.encode()
        same = stand.ask("PUT", "/policy", bundle, headers={"Content-Type": BUNDLE})
        self.assertEqual((same.status, same.json["changed"]), (200, False))

    def test_one_file_is_exported_to_the_letter(self):
        self.main.write_text(self.main.read_text().replace("include: [fleet.d/*.yaml]\n", "") + "#\tno end")
        self.apply()
        exported = self.folder / "fleet-again"
        exported.mkdir()
        text = self.done("policy", "export").stdout
        self.assertEqual(text, self.main.read_text())
        (exported / "fleet.yaml").write_text(text)
        again = json.loads(self.done("policy", "apply", str(exported / "fleet.yaml"), "--json").stdout)
        self.assertEqual(again["changed"], False)

    # --- what the catalogue knows ----------------------------------------------------------------

    def test_a_run_that_takes_long_breaks_an_objective_that_its_schedule_would_keep(self):
        self.apply()
        stand.back_up("tree")
        text = self.main.read_text().replace("copies:", "objectives: {rpo: 25h}, copies:")
        self.main.write_text(text)
        self.assertNotIn("rpo-unreachable", self.done("policy", "check", str(self.main)).stderr)
        stand.sql("UPDATE holdfast.backup SET started_at = committed_at - interval '2 hours'")
        for verb in ("check", "plan"):
            warned = self.done("policy", verb, str(self.main))
            self.assertRegex(warned.stderr, re.escape(str(self.main)) + r":9:\d+: warning\[rpo-unreachable\]: policies.daily:"
                             r" 24h between slots \+ 2h usual run \(tree\) = 26h > rpo 25h")
        stand.sql("UPDATE holdfast.backup SET started_at = committed_at, stored_bytes = 7200 * 1048576::bigint")
        self.assertNotIn("rpo-unreachable", self.done("policy", "check", str(self.main)).stderr)
        self.main.write_text(text.replace("copies:", "limits: {rate: 1MiB/s}, copies:"))
        self.assertRegex(self.done("policy", "check", str(self.main)).stderr, r"24h between slots \+ 2h at its rate \(tree\) = 26h")

    def test_a_place_without_a_worker_is_warned_of(self):
        self.part("one")
        checked = self.done("policy", "check", str(self.main))
        self.assertRegex(checked.stderr, re.escape(str(self.folder / "fleet.d/one.yaml")) +
                         r":2:\d+: warning\[no-worker\]: sources.one runs in pool far, which has no worker")
        self.assertNotIn("sources.tree", checked.stderr)
        self.assertIn("fleet.yaml is valid: 2 sources, 2 warnings", checked.stdout)
        self.assertEqual(json.loads(self.done("policy", "check", str(self.main), "--json").stdout)["errors"][0]["severity"],
                         "warning")

    def test_a_rule_is_explained(self):
        self.main.write_text(self.main.read_text().replace('"0 2 * * *"', '"H 1 * * *"').replace("timezone: UTC", "timezone: Europe/Berlin"))
        self.apply()
        item = json.loads(self.done("policy", "next", "tree", "--explain", "--json").stdout)[0]
        minute = int(re.fullmatch(r"(\d+) 1 \* \* \*", item["fields"])[1])
        self.assertEqual((item["rule"], item["words"], item["timezone"]), ("H 1 * * *", f"01:{minute:02} every day", "Europe/Berlin"))
        self.assertEqual(len(item["next"]), 5)
        self.assertEqual(item["next"][0]["at"], stand.ask("GET", "/sources/tree").json["next_at"])
        for slot in item["next"]:
            self.assertRegex(slot["local"], rf" 01:{minute:02}$")
        text = self.done("policy", "next", "tree", "--explain").stdout
        self.assertIn(f'tree default  "H 1 * * *" = "{minute} 1 * * *": 01:{minute:02} every day, clocks of Europe/Berlin\n', text)
        self.assertIn("skipped while the one before still runs", text)
        self.assertIn("the newest slot runs for all that were missed", text)
        self.done("policy", "next", "--explain", code=2)
        self.done("policy", "next", "none", "--explain", code=5)
        self.assertEqual({row["source"] for row in json.loads(self.done("policy", "next", "tree", "--json").stdout)}, {"tree"})

    def test_a_slot_that_does_not_run_as_its_rule_says_is_explained(self):
        tomorrow = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 86400))
        after = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 2 * 86400))
        self.main.write_text(self.main.read_text().replace("policies:", f"calendars: {{{{rest: [{tomorrow}]}}}}\npolicies:".replace(
            "{{", "{").replace("}}", "}")).replace("copies:", 'calendars: [rest], windows: [{hours: "03:00-06:00"}], copies:'))
        plan = self.plan()
        self.apply()
        slots = {slot["local"][4:]: slot["note"] for slot in json.loads(
            self.done("policy", "next", "tree", "--explain", "--json").stdout)[0]["next"]}
        self.assertEqual(slots[f"{tomorrow} 02:00"], "excluded by the calendar 'rest'")
        self.assertEqual(slots[f"{after} 02:00"], f"its window opens {after} 03:00 UTC")
        for row in plan["schedules"]:
            self.assertNotIn(tomorrow, row["after"])

    def test_the_schema_is_that_of_the_scheduler(self):
        schema = json.loads(self.done("policy", "schema").stdout)
        self.assertEqual(schema["title"], "Holdfast fleet file")
        self.assertIn("schedule", schema["properties"]["policies"]["additionalProperties"]["properties"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
