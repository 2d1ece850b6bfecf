#!/usr/bin/env -S /usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Windows, calendars and the forecast as an operator meets them: the `holdfast` command against a real
installation whose policy closes the window that is now."""
import datetime
import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import stand as stands  # noqa: E402

HOUR = datetime.timedelta(hours=1)


def setUpModule():
    global stand, opens
    stand = stands.Stand()
    stand.back_up()
    # By the clock that the scheduler asks, three hours from now for an hour; whole hours, so that a
    # test that takes minutes sees one and the same day.
    now = datetime.datetime.now(datetime.timezone.utc)
    opens = (now + 3 * HOUR).replace(minute=0, second=0, microsecond=0)
    tomorrow = now + 24 * HOUR
    text = stands.FLEET.format(dir=stand.dir, tree=stand.tree)
    text = text.replace("policies:\n", f"""calendars: {{stocktaking: ["{tomorrow:%Y-%m-%d}"]}}
policies:
  nights: {{schedule: "0 * * * *", copies: [{{store: main}}], calendars: [stocktaking], overlap: skip,
           windows: [{{hours: "{opens:%H:%M}-{opens + HOUR:%H:%M}"}}]}}
""")
    text += f"  nightly: {{type: files, policy: nights, paths: [{stand.tree}]}}\n"
    file = stand.home / "windows.yaml"
    file.write_text(text)
    done = stand.command("policy", "apply", str(file))
    assert done.returncode == 0, done.stderr


def tearDownModule():
    stand.down()


class Time(unittest.TestCase):
    maxDiff = None

    def forecast(self, *words):
        done = stand.command("schedule", "forecast", *words, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_a_run_by_hand_outside_the_window_is_refused_and_told_when_it_opens(self):
        done = stand.command("run", "nightly")
        self.assertEqual(done.returncode, 6, done)
        self.assertIn(f"no window is open; the next opens {opens:%a %Y-%m-%d %H:%M} (UTC)", done.stderr)
        self.assertEqual(json.loads(stand.command("job", "list", "--source", "nightly", "--json").stdout), [])
        self.assertEqual(stand.command("run", "tree").returncode, 0)

    def test_the_next_slots_say_what_they_wait_for(self):
        done = stand.command("policy", "next", "--for", "48h", "--source", "nightly", "--json")
        notes = {item["at"][:13]: item["note"] for item in json.loads(done.stdout)}
        first = min(notes)
        self.assertTrue(notes[first].startswith("its window opens ") or notes[first].startswith("excluded"), notes)
        excluded = [at for at, note in notes.items() if note == "excluded by the calendar 'stocktaking'"]
        self.assertEqual(len(excluded), 24, notes)
        self.assertEqual(len({at[:10] for at in excluded}), 1)
        if opens.strftime("%Y-%m-%dT%H") not in excluded:
            self.assertEqual(notes[opens.strftime("%Y-%m-%dT%H")], "UTC")

    def test_a_forecast_tells_each_slot_and_for_how_long_a_run_is_taken(self):
        answer = self.forecast("--days", "7", "--source", "nightly")
        slots = answer["slots"]
        self.assertEqual(answer["schema"], "holdfast.forecast/1")
        self.assertEqual(slots["due"], 7 * 24)
        self.assertEqual(slots["excluded"], 24)
        # With a window of an hour: one run waits for each opening, the slots behind it are skipped.
        self.assertEqual(slots["runs"] + slots["skipped"] + slots["missed"], 6 * 24)
        self.assertGreaterEqual(slots["waited"], 5)
        waits = [slot for slot in answer["slots_to_note"] if slot["fate"] == "runs" and slot["window_wait_seconds"]]
        self.assertTrue(waits)
        for slot in waits:
            self.assertEqual(slot["start_at"][11:16], f"{opens:%H:%M}")
        basis = {one["source"]: one["basis"] for one in self.forecast()["durations"]}
        self.assertEqual((basis["tree"], basis["nightly"]), ("measured", "type"))

    def test_a_forecast_knows_the_places_of_workers(self):
        rooms = {room["name"]: room for room in self.forecast()["rooms"]}
        self.assertIsNone(rooms["workers of far"]["places"]) # nobody lives there: as many as will be needed
        living = [room for room in rooms.values() if room["places"] is not None]
        self.assertTrue(living)
        self.assertGreater(living[0]["most"], 0)
        self.assertTrue(0 < living[0]["busy_share"] < 1, living)

    def test_a_forecast_for_eyes_names_what_is_assumed(self):
        done = stand.command("schedule", "forecast")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("measured for 1 sources, like others of their type for", done.stdout)
        self.assertIn("are excluded by a calendar", done.stdout)
        self.assertTrue(all(len(line) < 160 for line in done.stdout.splitlines()), done.stdout)
        self.assertEqual(stand.command("schedule", "forecast", "--days", "400").returncode, 2)


if __name__ == "__main__":
    unittest.main()
