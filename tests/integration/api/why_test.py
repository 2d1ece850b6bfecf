#!/usr/bin/env -S /usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""What an operator asks when a backup is not there: `holdfast why SOURCE` against a real installation in
which runs really wait, are skipped, are missed and stand for others."""
import datetime
import json
import os
import pathlib
import re
import signal
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import stand as stands  # noqa: E402

POLICIES = """policies:
  month-end: {{schedule: "@yearly", limits: {{concurrent: 1, rate: 150KiB/s}}, copies: [{{store: main}}]}}
  slow: {{schedule: "every 5s", overlap: skip, limits: {{rate: 150KiB/s}}, copies: [{{store: main}}]}}
  often: {{schedule: "every 4s", copies: [{{store: main}}]}}
  prompt: {{schedule: "every 10s", start_deadline: 3s, copies: [{{store: main}}]}}
"""
SOURCES = """
  ledger: {{type: files, policy: month-end, paths: [{tree}]}}
  payroll: {{type: files, policy: month-end, paths: [{tree}]}}
  scans: {{type: files, policy: slow, paths: [{tree}]}}
  pulse: {{type: files, policy: often, paths: [{tree}/small]}}
  branch: {{type: files, policy: prompt, paths: [{tree}], run_on: {{pool: far}}}}
"""


def setUpModule():
    global stand
    stand = stands.Stand()
    text = stands.FLEET.replace("policies:\n", POLICIES) + SOURCES.lstrip("\n")
    file = stand.home / "why.yaml"
    file.write_text(text.format(dir=stand.dir, tree=stand.tree))
    done = stand.command("policy", "apply", str(file))
    assert done.returncode == 0, done.stderr


def tearDownModule():
    stand.down()


class Why(unittest.TestCase):
    maxDiff = None

    def why(self, *words):
        done = stand.command("why", *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def answer(self, source, pattern, seconds=60):
        """The line of the answer that says so, once it does."""
        found = stand.until(lambda: re.search(f".*(?:{pattern}).*", self.why(source)), f"'{pattern}' of {source}", seconds)
        return found.group(0)

    def test_why_does_the_payroll_not_start(self):
        first = stand.ask("POST", "/sources/ledger/run", {}).json["id"]
        stand.until(lambda: stand.ask("GET", f"/jobs/{first}").json["state"] == "running", "the ledger's run")
        second = stand.ask("POST", "/sources/payroll/run", {}).json["id"]
        line = self.answer("payroll", "1 of 1 jobs of policy month-end run since [0-9:]+Z: " + first)
        self.assertIn("deferred", line)
        # Later it is told that it ran all the same, and for what it had waited.
        self.assertEqual((stand.ended(first)["state"], stand.ended(second)["state"]), ("completed", "completed"))
        said = self.why("payroll")
        self.assertRegex(said, r"ran +claimed")
        self.assertIn("1 of 1 jobs of policy month-end", said)

    def test_why_are_there_fewer_scans_than_slots(self):
        line = self.answer("scans", r"jb_[0-9A-Z]+ is still (pending|queued|running)")
        self.assertRegex(line, r"skipped +overlap")
        job = re.search(r"jb_[0-9A-Z]+", line).group(0)
        shown = stand.command("job", "show", job) # what the answer names is there to be looked at
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertIn("scans", shown.stdout)

    def test_why_was_the_branch_office_not_backed_up(self):
        line = self.answer("branch", r"did not start before .*; it waited: no live worker serves pool far")
        self.assertRegex(line, r"missed +start_deadline")
        self.assertRegex(line, r"local-\S+ does not serve pool far|does not serve pool far")

    def test_why_is_there_one_pulse_for_the_minute_in_which_nobody_looked(self):
        stand.until(lambda: "claimed" in self.why("pulse"), "a first pulse")
        os.kill(stand.pid("scheduler"), signal.SIGSTOP)
        try:
            time.sleep(14)
        finally:
            os.kill(stand.pid("scheduler"), signal.SIGCONT)
        line = self.answer("pulse", r"stands for [0-9]+ slots since \d{4}-\d\d-\d\d \d\d:\d\d UTC: no scheduler was there")
        self.assertRegex(line, r"ran +slot.coalesced")
        self.assertGreaterEqual(int(re.search(r"stands for (\d+)", line).group(1)), 3)
        self.assertRegex(self.why("pulse", "--limit", "100"), r"missed +slot.coalesced .*; the slot of .* UTC runs instead")

    def test_why_is_asked_of_a_moment_too(self):
        stand.until(lambda: "claimed" in self.why("pulse"), "a first pulse")
        hour = datetime.timedelta(hours=1)
        now = datetime.datetime.now(datetime.timezone.utc)
        before = json.loads(stand.command("why", "pulse", f"{now - hour:%Y-%m-%dT%H:%M:%SZ}", "--json").stdout)
        after = json.loads(stand.command("why", "pulse", f"{now + hour:%Y-%m-%dT%H:%M:%SZ}", "--json").stdout)
        self.assertEqual(before, [])
        self.assertTrue(after)


if __name__ == "__main__":
    unittest.main()
