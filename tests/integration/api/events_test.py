#!/usr/bin/env -S /usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""What happens, as a real scheduler tells it to those that listen: in order, from any place on, also to
one that was away, and without keeping anything for one that does not read."""
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import stand as stands  # noqa: E402


def setUpModule():
    global stand
    stand = stands.Stand()


def tearDownModule():
    stand.down()


class Ear(threading.Thread):
    """Listens in a thread of its own; `heard` grows."""

    def __init__(self, query="", place=None, role="viewer"):
        super().__init__(daemon=True)
        self.heard, self.place, self.comments, self.ended = [], place, 0, False
        self.connection = stand.connect()
        headers = {"Authorization": f"Bearer {stand.tokens[role]}"}
        if place is not None:
            headers["Last-Event-ID"] = str(place)
        self.connection.request("GET", "/api/v1/events" + query, headers=headers)
        self.socket = self.connection.sock
        self.answer = self.connection.getresponse()
        self.begun = threading.Event()
        if self.answer.status == 200:
            self.start()

    def run(self):
        event = {}
        with contextlib.suppress(OSError, ValueError):
            while line := self.answer.readline().decode():
                self.take(line.rstrip("\n"), event)
        self.ended = True

    def take(self, line, event):
        name, _, value = line.partition(":")
        if line == "":
            self.begun.set()
            if "data" in event:
                self.heard.append(dict(event))
            event.clear()
        elif name == "":
            self.comments += 1
        else:
            if name == "id":
                self.place = int(value)
            event[name] = json.loads(value) if name == "data" else value.strip()

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.join(stands.WAIT)
        self.answer.close()
        self.connection.close()

    def until(self, fits, what):
        return stand.until(lambda: next((e for e in list(self.heard) if fits(e)), None), what)

    def states(self, job):
        return [e["data"]["state"] for e in self.heard if e["data"].get("job") == job and e["event"] != "job.progress"]


@contextlib.contextmanager
def ear(*args, **words):
    one = Ear(*args, **words)
    assert one.answer.status == 200, one.answer.read()
    assert one.begun.wait(stands.WAIT)
    try:
        yield one
    finally:
        one.close()


class Events(unittest.TestCase):
    def test_a_job_is_heard_from_its_making_to_its_end(self):
        with ear() as one:
            self.assertEqual(one.answer.headers["Content-Type"], "text/event-stream")
            job = stand.back_up()["id"]
            last = one.until(lambda e: e["event"] == "job.finished" and e["data"]["job"] == job, "its end")
            self.assertEqual(one.states(job), ["pending", "queued", "running", "completed"])
            self.assertEqual((last["data"]["source"], last["data"]["kind"], last["data"]["trigger"]),
                             ("tree", "backup", "manual"))
            self.assertRegex(last["data"]["at"], r"^\d{4}-\d\d-\d\dT[\d:.]+Z$")
            one.until(lambda e: e["event"] == "source.state" and e["data"]["source"] == "tree", "the source's state")

    def test_one_hears_only_what_it_asked_for(self):
        wanted = stand.ask("POST", "/sources/far/run").json["id"]
        with ear(f"?job={wanted},jb_0ZZZZZZ") as of_job, ear("?source=broken&event=job.finished") as of_source:
            other = stand.ask("POST", "/sources/far/run").json["id"]
            failed = stand.back_up("broken")
            stand.ask("POST", f"/jobs/{wanted}/cancel")
            stand.ask("POST", f"/jobs/{other}/cancel")
            of_job.until(lambda e: e["event"] == "job.finished", "the end of the one job")
            of_source.until(lambda e: e["data"]["job"] == failed["id"], "the end of the other source's")
            self.assertEqual({e["data"]["job"] for e in of_job.heard}, {wanted})
            self.assertEqual({(e["event"], e["data"]["source"]) for e in of_source.heard}, {("job.finished", "broken")})

    def test_progress_is_told_while_a_job_runs(self):
        """At the policy's rate the job lasts for more than two beats, however quick the machine is."""
        before = stand.home / "fleet.yaml"
        slow = stand.home / "slow.yaml"
        slow.write_text(before.read_text().replace("store: main}]", "store: main}], limits: {rate: 8MiB/s}", 1))
        with open(stand.tree / "huge", "wb") as huge:
            huge.write(os.urandom(40_000_000))
        try:
            applied = stand.command("policy", "apply", str(slow))
            self.assertEqual(applied.returncode, 0, applied.stderr)
            with ear("?event=job.progress") as one:
                job = stand.ask("POST", "/sources/tree/run").json["id"]
                told = one.until(lambda e: e["data"]["job"] == job, "its progress")
                for member in ("phase", "bytes_done", "items_done", "attempt", "state", "source"):
                    self.assertIn(member, told["data"])
                self.assertNotIn("id", told)
                stand.ended(job)
        finally:
            (stand.tree / "huge").unlink()
            stand.command("policy", "apply", str(before))

    def test_who_was_away_goes_on_from_where_it_was(self):
        with ear() as first:
            before = stand.back_up("broken")["id"]
            first.until(lambda e: e["event"] == "job.finished" and e["data"]["job"] == before, "the first")
            place = first.place
        missed = [stand.back_up("broken")["id"] for _ in range(3)]
        with ear(place=place) as again:
            for job in missed:
                again.until(lambda e, j=job: e["event"] == "job.finished" and e["data"]["job"] == j, "a missed one")
                self.assertEqual(again.states(job)[-1], "failed")
            self.assertNotIn(before, {e["data"]["job"] for e in again.heard if e["event"] == "job.finished"})
            later = stand.back_up("broken")["id"]
            again.until(lambda e: e["event"] == "job.finished" and e["data"]["job"] == later, "what came after")
            ids = [e["data"]["job"] for e in again.heard if e["event"] == "job.finished"]
            self.assertEqual(list(dict.fromkeys(ids)), missed + [later], "some may come twice, none never")

    def test_a_long_absence_is_told_in_parts(self):
        start = int(stand.sql("SELECT coalesce(max(id), 0) FROM holdfast.event"))
        stand.sql("INSERT INTO holdfast.event(kind, at, data)"
                  " SELECT 'alert', now() - interval '1 minute', jsonb_build_object('code', 'many', 'n', n)"
                  " FROM generate_series(1, 2500) n")
        seen, place, rounds = [], start, 0
        while len(set(seen)) < 2500:
            with ear("?event=alert", place=place) as one:
                stand.until(lambda o=one, want=min(1000, 2500 - len(set(seen))): len(o.heard) >= want, "a part")
                seen += [e["data"]["n"] for e in one.heard if e["data"].get("code") == "many"]
                place = one.place
            rounds += 1
            self.assertLess(rounds, 6)
        first_time = list(dict.fromkeys(seen))  # some may come twice, none never
        self.assertTrue(first_time == list(range(1, 2501)), f"{len(seen)}: {seen[:5]} … {seen[-5:]}")

    def test_a_place_that_is_not_there_any_more_says_so(self):
        with ear(place=10**15) as one:
            one.until(lambda e: e["event"] == "reset", "reset")
            self.assertLess(one.place, 10**15)
        for wrong in ("x", "-1", "1 2", "9" * 30, "0x10"):
            answer = stand.ask("GET", "/events", headers={"Last-Event-ID": wrong})
            self.assertEqual((answer.status, answer.json["code"]), (400, "request.last_event_id"))
        answer = stand.ask("GET", "/events?event=weather")
        self.assertEqual((answer.status, answer.json["code"]), (400, "request.choice"))
        self.assertEqual(stand.ask("HEAD", "/events").status, 405)
        self.assertEqual(stand.ask("GET", "/events", role=None).status, 401)

    def test_what_is_committed_late_is_told_all_the_same(self):
        """A transaction takes its number first and commits last: the one after it is heard before it."""
        with ear("?event=alert") as one:
            slow = threading.Thread(target=stand.sql, args=(
                "BEGIN; INSERT INTO holdfast.event(kind, data) VALUES ('alert', '{\"code\":\"slow\"}');"
                " SELECT pg_sleep(2); COMMIT",))
            slow.start()
            stand.until(lambda: stand.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%'"
                                          " AND wait_event = 'PgSleep'") != "0", "the open transaction")
            stand.sql("INSERT INTO holdfast.event(kind, data) VALUES ('alert', '{\"code\":\"quick\"}')")
            quick = one.until(lambda e: e["data"].get("code") == "quick", "the quick one")
            between = int(quick["id"])
            slow.join()
            late = one.until(lambda e: e["data"].get("code") == "slow", "the slow one")
            codes = [e["data"].get("code") for e in one.heard]  # a source in trouble may raise its alert meanwhile
            self.assertEqual([code for code in codes if code in ("quick", "slow")], ["quick", "slow"])
        number = int(stand.sql("SELECT id FROM holdfast.event WHERE data ->> 'code' = 'slow'"))
        self.assertLess(between, number, "who goes on from here would never hear the slow one")
        self.assertGreater(int(late["id"]), number)
        with ear("?event=alert", place=between) as again:
            again.until(lambda e: e["data"].get("code") == "slow", "the slow one for one that was away")

    def test_a_worker_that_goes_and_comes_is_heard(self):
        with ear("?event=worker.state") as one:
            os.kill(stand.pid("worker-1"), signal.SIGSTOP)
            try:
                one.until(lambda e: e["data"]["state"] == "silent", "its silence")
            finally:
                os.kill(stand.pid("worker-1"), signal.SIGCONT)
            one.until(lambda e: e["data"]["state"] == "alive", "its return")

    def test_one_that_does_not_read_is_let_go_and_costs_nothing(self):
        def resident():
            status = pathlib.Path(f"/proc/{stand.pid('scheduler')}/status").read_text()
            return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))

        held = []
        for _ in range(8):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", stand.port))
            sock.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stand.tokens['viewer']}"
                         "\r\n\r\n".encode())
            sock.recv(10)
            held.append(sock)
        try:
            with ear("?event=job.state") as other:
                before = resident()
                for _ in range(30):
                    stand.sql("INSERT INTO holdfast.event(kind, data) SELECT 'alert', jsonb_build_object('fill', repeat('x', 4000))"
                              " FROM generate_series(1, 500) n")
                stand.until(lambda: self.open_to(stand.port) <= 3, "the end of those that do not read", 120)
                # A sanitizer keeps what was freed for a while.
                sanitized = b"__asan_init" in (stands.BUILD / "holdfast-scheduler").read_bytes()
                self.assertLess(resident() - before, 1_000_000 if sanitized else 40_000,
                                "KiB more for 60 MB of events to each of eight")
                job = stand.ask("POST", "/sources/far/run").json["id"]
                other.until(lambda e: e["data"]["job"] == job, "what the others still hear")
                stand.ask("POST", f"/jobs/{job}/cancel")
        finally:
            for sock in held:
                sock.close()
            stand.sql("DELETE FROM holdfast.event WHERE kind = 'alert'")

    @staticmethod
    def open_to(port):
        """Connections of the scheduler's port that its side has not closed."""
        count = 0
        for row in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
            local, state = row.split()[1], row.split()[3]
            count += int(local.split(":")[1], 16) == port and state == "01"
        return count


class Away(unittest.TestCase):
    def test_listening_goes_on_when_the_catalogue_comes_back(self):
        with ear() as one:
            os.kill(stand.pid("postgres"), signal.SIGQUIT)
            stand.until(lambda: stand.ask("GET", "/status").status == 503, "503")
            self.assertEqual(stand.local("up", "--workers", "1").returncode, 0)
            stand.until(lambda: stand.ask("GET", "/status").status == 200, "the catalogue again")
            job = stand.back_up()["id"]
            one.until(lambda e: e["event"] == "job.finished" and e["data"]["job"] == job, "a job after it")
            self.assertFalse(one.ended)

    def test_a_scheduler_stops_at_once_with_listeners(self):
        with ear() as one:
            pid = stand.pid("scheduler")
            began = time.monotonic()
            os.kill(pid, signal.SIGTERM)
            stand.until(lambda: one.ended, "the end of the stream")
            self.assertLess(time.monotonic() - began, 30)
        self.assertEqual(stand.local("up", "--workers", "1").returncode, 0)
        self.assertEqual(stand.ask("GET", "/status").status, 200)


if __name__ == "__main__":
    unittest.main(verbosity=2, failfast=True)
