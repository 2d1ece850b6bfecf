#!/usr/bin/env -S /usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""What stays and what goes, asked of a real installation: the policy's rules, the preview with its
reasons, the daily plan, what freezes it. Days pass by moving what was backed up into the past."""
import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import stand as stands  # noqa: E402

RULES = "keep_daily: 3, keep_weekly: 2"
DAYS = 7


def write(rules, name="rules.yaml", more=""):
    file = stand.home / name
    text = stands.FLEET.replace('{{schedule: "@daily", copies: [{{store: main}}]}}',
                                f'{{{{schedule: "@yearly", copies: [{{{{store: main, {rules}}}}}]{more}}}}}')
    file.write_text(text.format(dir=stand.dir, tree=stand.tree))
    return file


def apply(file):
    done = stand.command("policy", "apply", str(file))
    assert done.returncode == 0, done.stderr


def setUpModule():
    global stand
    stand = stands.Stand()
    apply(write(RULES))
    for _ in range(DAYS):
        (stand.tree / "small").write_text(stand.sql("SELECT clock_timestamp()"))
        ended = stand.back_up()
        assert ended["state"] == "completed", ended
    # One a day, the newest of them now.
    stand.sql("UPDATE holdfast.backup b SET consistent_at = x.at, started_at = x.at, committed_at = x.at FROM "
              "(SELECT id, date_trunc('day', now()) + interval '1 minute' - make_interval(days => "
              "(row_number() OVER (ORDER BY sequence DESC))::int - 1) AS at FROM holdfast.backup) x WHERE x.id = b.id")


def tearDownModule():
    stand.down()


class Retention(unittest.TestCase):
    maxDiff = None

    def preview(self, *words):
        done = stand.command("retention", "preview", "tree", "--json", *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        items = json.loads(done.stdout)
        self.assertEqual([i["source"] for i in items], ["tree"])
        return items[0]

    def test_the_reason_stands_beside_each_backup_oldest_first(self):
        item = self.preview()
        backups = item["backups"]
        self.assertEqual(len(backups), DAYS)
        self.assertEqual([b["consistent_at"] for b in backups], sorted(b["consistent_at"] for b in backups))
        self.assertEqual([b["reason"] for b in backups[-3:]],
                         ["daily 3 of 3", "daily 2 of 3",
                          "daily 1 of 3, weekly 1 of 2, the newest good one, the next one builds on it"])
        going = [b for b in backups if b["expires"]]
        self.assertEqual({b["reason"] for b in going}, {"no rule keeps it"})
        self.assertEqual(item["expires"], len(going))
        self.assertEqual(item["kept"], DAYS - len(going))
        self.assertIn(item["expires"], (DAYS - 3, DAYS - 4))  # the Sunday of last week may be among the three
        self.assertEqual(item["frees_bytes"], sum(b["frees_bytes"] for b in going))
        self.assertIsNone(item["frozen"])

    def test_what_it_frees_is_what_nobody_else_names(self):
        item = self.preview()
        kept = {b["id"] for b in item["backups"] if not b["expires"]}
        rows = stand.sql("SELECT holdfast.backup_text(id) || ' ' || array_to_string(packs, ',') FROM holdfast.backup WHERE source = "
                         "(SELECT no FROM holdfast.source WHERE name = 'tree')").splitlines()
        named = {line.split()[0]: set(line.split()[1].split(",")) for line in rows}
        staying = set().union(*(named[b] for b in kept))
        going = set().union(*(named[b["id"]] for b in item["backups"] if b["expires"])) - staying
        bytes_of = dict(line.split("|") for line in stand.sql("SELECT no, bytes FROM holdfast.pack").splitlines())
        self.assertEqual(item["frees_bytes"], sum(int(bytes_of[p]) for p in going))
        self.assertGreater(item["frees_bytes"], 0)

    def test_a_person_reads_a_table(self):
        done = stand.command("retention", "preview", "tree")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"(?m)^expire +bk_\w+ .* no rule keeps it$")
        self.assertRegex(done.stdout, r"(?m)^keep +bk_\w+ .* daily 2 of 3$")
        self.assertRegex(done.stdout, r"(?m)^tree in main: \d kept, \d expire and free [\d.]+ [KM]?i?B$")
        fleet = stand.command("retention", "preview")
        self.assertEqual(fleet.returncode, 0, fleet.stderr)
        self.assertRegex(fleet.stdout, r"(?m)^broken +main +0 +0")

    def test_another_policy_can_be_tried_and_changes_nothing(self):
        before = stand.command("policy", "show", "--json").stdout
        item = self.preview("--policy", str(write("keep_last: 2", "other.yaml")))
        self.assertEqual(item["kept"], 2)
        item = self.preview("--policy", str(write("keep_last: 2", "other.yaml", ", min_good: 5")))
        self.assertEqual(item["kept"], 5)
        self.assertEqual(item["backups"][-5]["reason"], "one of the newest 5 good ones")
        wrong = stand.command("retention", "preview", "--policy", str(write("keep_dayly: 2", "wrong.yaml")))
        self.assertEqual(wrong.returncode, 9, wrong.stderr)
        self.assertIn("did you mean 'keep_daily'?", wrong.stderr)
        self.assertEqual(stand.command("policy", "show", "--json").stdout, before)

    def test_who_is_unknown(self):
        done = stand.command("retention", "preview", "nobody")
        self.assertEqual(done.returncode, 5, done.stderr)
        self.assertIn("no source is called nobody", done.stderr)

    def test_holds_and_freezes_are_among_the_reasons(self):
        place, going = next((i, b) for i, b in enumerate(self.preview()["backups"]) if b["expires"])
        stand.sql("UPDATE holdfast.backup SET held_until = now() + interval '1 day', held_reason = 'INC-1' WHERE holdfast.backup_text(id) = "
                  f"'{going['id']}'")
        self.assertRegex(self.preview()["backups"][place]["reason"], r"^held until \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        stand.sql("UPDATE holdfast.backup SET held_until = NULL, held_reason = NULL")
        stand.sql("SELECT holdfast.repository_freeze(no, 'rebuilt') FROM holdfast.repository")
        item = self.preview()
        self.assertEqual((item["expires"], item["frozen"]), (0, "rebuilt"))
        self.assertEqual(item["backups"][place]["reason"], "frozen: rebuilt")
        refused = stand.command("retention", "resume")
        self.assertEqual(refused.returncode, 2, refused.stderr)
        self.assertIn("say why", refused.stderr)
        resumed = stand.command("retention", "resume", "--reason", "looked at it")
        self.assertEqual((resumed.returncode, resumed.stdout), (0, "resumed\n"), resumed.stderr)
        self.assertIsNone(self.preview()["frozen"])
        audit = stand.command("audit", "log", "--action", "retention.resume", "--json")
        self.assertIn("looked at it", audit.stdout)

    def test_under_suspicion_nothing_expires_until_somebody_says_that_it_is_well(self):
        place = next(i for i, b in enumerate(self.preview()["backups"]) if b["expires"])
        self.assertEqual(stand.command("source", "suspect", "tree").returncode, 2)
        self.assertEqual(stand.command("source", "suspect", "nobody", "--reason", "x").returncode, 5)
        done = stand.command("source", "suspect", "tree", "--reason", "half of its rows are gone")
        self.assertEqual((done.returncode, done.stdout), (0, "tree: suspicious\n"), done.stderr)
        item = self.preview()
        self.assertEqual(item["expires"], 0)
        self.assertIn("half of its rows are gone", item["frozen"])
        self.assertIn("half of its rows are gone", item["backups"][place]["reason"])
        done = stand.command("retention", "resume", "--source", "tree", "--reason", "it was a clean-up")
        self.assertEqual((done.returncode, done.stdout), (0, "resumed\n"), done.stderr)
        self.assertTrue(self.preview()["backups"][place]["expires"])
        for action, reason in (("source.suspect", "half of its rows are gone"), ("retention.resume", "it was a clean-up")):
            self.assertIn(reason, stand.command("audit", "log", "--action", action, "--json").stdout)

    def test_one_backup_is_explained_and_when_it_goes(self):
        # With a backup a year, somewhere in it, the newest stays one of three days until the third to come.
        backups = self.preview()["backups"]
        rows = {}
        for one in backups:
            done = stand.command("retention", "explain", one["id"], "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            [rows[one["id"]]] = json.loads(done.stdout)
        for one in backups:
            row = rows[one["id"]]
            self.assertEqual((row["backup"], row["store"], row["reason"], row["expires"]), (one["id"], "main", one["reason"], one["expires"]))
        year = int(stand.sql("SELECT extract(year FROM now())"))
        newest, oldest = rows[backups[-1]["id"]], rows[backups[0]["id"]]
        self.assertIn(int(newest["goes_at"][:4]), (year + 2, year + 3), newest)
        self.assertTrue(oldest["expires"] and oldest["goes_at"][:4] == str(year), oldest)
        self.assertIn("daily 1 of 3", stand.command("retention", "explain", "tree").stdout)
        self.assertEqual(stand.command("retention", "explain", "nobody").returncode, 5)

    def manifests(self):
        return len(list((stand.dir / "store/local/manifests").iterdir()))

    def test_z_what_expires_is_gone_but_for_what_is_held_and_the_rest_comes_back(self):
        """The rules bring a schedule of their own; its job waits for a plan, and for a pruner only where something goes."""
        self.assertRegex(stand.command("policy", "next", "tree").stdout, "retention")
        job = stand.ask("POST", "/sources/broken/retention", {}).json["id"]
        ended = stand.ended(job)
        self.assertEqual((ended["kind"], ended["state"]), ("retention", "completed"))
        self.assertEqual(stand.sql("SELECT text FROM holdfast.decision WHERE code = 'retention.nothing'"), "nothing expires: 0 kept")
        before = self.preview()
        kept = {b["id"] for b in before["backups"] if not b["expires"]}
        held = next(b["id"] for b in before["backups"] if b["expires"])
        refused = stand.command("backup", "hold", held)
        self.assertEqual(refused.returncode, 2, refused.stderr)
        done = stand.command("backup", "hold", held, "--until", "2150-01-01", "--reason", "INC-4412", "--wait")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        shown = json.loads(stand.command("backup", "show", held, "--json").stdout)
        self.assertEqual((shown["held_until"][:10], shown["held_reason"], shown["hold_stored"]), ("2150-01-01", "INC-4412", True))
        self.assertEqual(len(list((stand.dir / "store/local/holds").iterdir())), 1)
        done = stand.command("retention", "run", "tree", "--wait")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        listed = json.loads(stand.command("backup", "list", "--source", "tree", "--json").stdout)
        self.assertEqual({b["id"] for b in listed}, kept | {held})
        self.assertEqual(self.manifests(), len(kept) + 1)
        gone = stand.command("audit", "log", "--action", "backup.delete", "--json")
        self.assertEqual({e["reason"] for e in json.loads(gone.stdout)}, {"no rule keeps it"})
        self.assertIn("INC-4412", stand.command("audit", "log", "--action", "backup.hold", "--json").stdout)
        # The hold ends, and so does the backup.
        done = stand.command("backup", "release", held, "--reason", "closed", "--wait")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        again = stand.command("backup", "release", held, "--reason", "closed")
        self.assertEqual(again.returncode, 6, again.stderr)
        done = stand.command("retention", "run", "tree", "--wait")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(self.manifests(), len(kept))
        self.assertEqual(self.preview()["expires"], 0)
        target = stand.dir / "restore/kept"
        done = stand.command("restore", "tree@latest", "--to", str(target), "--yes", "--wait")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        found = [f for f in target.rglob("large") if f.is_file()]
        self.assertEqual([f.read_bytes() for f in found], [(stand.tree / "large").read_bytes()])
        checks = json.loads(stand.command("doctor", "--json").stdout)["checks"]
        self.assertIn("OK", [c["state"] for c in checks if c["name"] == "retention"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
