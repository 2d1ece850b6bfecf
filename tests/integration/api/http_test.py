#!/usr/bin/env -S /usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""The REST API of a real scheduler, asked well and badly."""
import concurrent.futures
import json
import os
import pathlib
import re
import signal
import socket
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import stand as stands  # noqa: E402

ROUTE = re.compile(r'^ROUTE\((\w+), "(\w+)", "([^"]+)", "(\w+)", ', re.M)
ROUTES = ROUTE.findall((stands.ROOT / "protocol/routes.def").read_text())
RANK = {"viewer": {"viewer"}, "operator": {"viewer", "operator"}, "restorer": {"viewer", "restorer"},
        "auditor": {"viewer", "auditor"}, "admin": {"viewer", "operator", "restorer", "auditor", "admin"}}


def setUpModule():
    global stand
    stand = stands.Stand()


def tearDownModule():
    stand.down()


def path_of(route):
    """The route with names that nothing has; a stream of events would have no end."""
    return re.sub(r"\{\w+\}", "jb_0ZZZZZZ", route) + ("?event=weather" if route == "/events" else "")


class Api(unittest.TestCase):
    maxDiff = None

    def assert_problem(self, answer, status, code=None):
        """RFC 9457 with our members, and a request id that the header repeats."""
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.headers["Content-Type"], "application/problem+json")
        problem = answer.json
        self.assertEqual(problem["status"], status)
        for member in ("type", "title", "code", "detail", "request_id"):
            self.assertTrue(problem[member], member)
        self.assertTrue(problem["type"].endswith("/" + problem["code"]))
        self.assertEqual(answer.headers["X-Request-Id"], problem["request_id"])
        self.assertEqual(answer.headers["Cache-Control"], "no-store")
        if code is not None:
            self.assertEqual(problem["code"], code)
        return problem

    # --- who may ------------------------------------------------------------------------------

    def test_without_a_living_token_nothing_is_answered(self):
        for headers in ({}, {"Authorization": "Bearer hf_" + "0" * 64}, {"Authorization": "Bearer "},
                        {"Authorization": "Basic " + stand.tokens["admin"]},
                        {"Authorization": stand.tokens["admin"]},
                        {"Authorization": "Bearer " + stand.tokens["admin"] + "x"}):
            answer = stand.ask("GET", "/sources/tree", role=None, headers=headers)
            self.assert_problem(answer, 401, "auth.required")
            self.assertTrue(answer.headers["WWW-Authenticate"].startswith("Bearer"))

    def test_an_expired_and_a_revoked_token_are_no_tokens(self):
        for name, how in (("ends", "UPDATE holdfast.token SET expires_at = clock_timestamp() WHERE name = 'ends'"),
                          ("gone", None)):
            made = stand.ask("POST", "/tokens", {"role": "viewer", "name": name, "expires": "1h"})
            headers = {"Authorization": "Bearer " + made.json["token"]}
            self.assertEqual(stand.ask("GET", "/status", role=None, headers=headers).status, 200)
            if how:
                stand.sql(how)
            else:
                self.assertEqual(stand.ask("DELETE", "/tokens/" + made.json["id"] + "?reason=lost").status, 200)
            self.assert_problem(stand.ask("GET", "/status", role=None, headers=headers), 401, "auth.required")
        self.assertEqual(stand.sql("SELECT count(*) FROM holdfast.audit_event WHERE action = 'token.revoke'"
                                   " AND reason = 'lost' AND actor = 'admin'"), "1")

    def test_each_role_may_what_the_table_says_and_no_more(self):
        for symbol, method, route, needs in ROUTES:
            for role in stands.ROLES:
                if needs in ("none", "worker") or symbol == "token_create":
                    continue
                status = stand.ask(method, path_of(route), {} if method == "POST" else None, role=role).status
                allowed = needs in RANK[role]
                self.assertEqual(status != 403, allowed, f"{role} {method} {route}: {status}")
                self.assertLess(status, 500, f"{role} {method} {route}")

    def test_a_refusal_does_not_say_whether_a_name_exists(self):
        known = self.assert_problem(stand.ask("POST", "/sources/tree/run", {}, role="viewer"), 403, "auth.role")
        unknown = self.assert_problem(stand.ask("POST", "/sources/none/run", {}, role="viewer"), 403, "auth.role")
        self.assertEqual(known["detail"], unknown["detail"])
        self.assertNotEqual(stand.sql("SELECT count(*) FROM holdfast.audit_event WHERE result = 'denied'"), "0")

    # --- what is asked --------------------------------------------------------------------------

    def test_what_does_not_exist_is_404(self):
        for path, code in (("/nothing", "request.path"), ("/", "request.path"), ("", "request.path"),
                           ("/status/", "request.path"), ("//status", "request.path"), ("/jobs/", "request.path"),
                           ("/jobs/jb_0ZZZZZZ", "job.unknown"), ("/jobs/jb_0ZZZZZZ/logs", "job.unknown"),
                           ("/sources/none", "source.unknown"), ("/sources/none/decisions", "source.unknown"),
                           ("/backups/bk_01JD2M7ZZZZZZZZZZZZZZZZZZZ", None), ("/workers/none", "worker.unknown")):
            self.assert_problem(stand.ask("GET", path), 404, code)
        self.assert_problem(stand.ask("POST", "/sources/none/run", {}), 404, "source.unknown")
        self.assert_problem(stand.ask("POST", "/jobs/jb_0ZZZZZZ/cancel", {}), 404)
        self.assert_problem(stand.ask("DELETE", "/tokens/tk_999999"), 404)

    def test_a_wrong_method_is_told_the_right_ones(self):
        for _, method, route, _ in ROUTES:
            if route.startswith("/streams"):
                continue
            allowed = {m for _, m, r, _ in ROUTES if r == route}
            for other in {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"} - allowed:
                answer = stand.ask(other, path_of(route))
                self.assert_problem(answer, 405, "request.method")
                given = set(answer.headers["Allow"].split(", "))
                self.assertEqual(given - {"HEAD"}, allowed, f"{other} {route}")

    def test_head_is_get_without_its_body_and_makes_nothing(self):
        answer = stand.ask("HEAD", "/version", role=None)
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertGreater(int(answer.headers["Content-Length"]), 10)
        before = stand.sql("SELECT count(*) FROM holdfast.job")
        for path in ("/backups/bk_01/files", "/backups/bk_01/fetch?path=x"):
            answer = stand.ask("HEAD", path)
            self.assertEqual((answer.status, answer.headers["Allow"]), (405, "GET"))
        self.assertEqual(stand.sql("SELECT count(*) FROM holdfast.job"), before)

    def test_a_body_that_is_no_json_object_is_refused(self):
        for body in (b"{", b"[]", b'"x"', b"1", b"{}x", b'{"a":1,"a":2}', b"\xff", b'{"a":"\\u0000"}',
                     b"[" * 100000, b'{"a":' * 3000):
            answer = stand.ask("POST", "/tokens", body, headers={"Content-Type": "application/json"})
            self.assert_problem(answer, 400, "request.json")
        for kind in ("text/html", "application/x-www-form-urlencoded", "application/jsonx", ""):
            answer = stand.ask("POST", "/sources/far/run", b"{}", headers={"Content-Type": kind})
            self.assert_problem(answer, 415, "request.type")
        answer = stand.ask("PUT", "/policy", b"version: 1", headers={"Content-Type": "image/png"})
        self.assert_problem(answer, 415, "request.type")
        for wrong in ({"role": "king"}, {"role": ""}, {"role": 7}, {"role": None}, {"expires": "soon"}, {"expires": "0s"},
                      {"expires": "99999d"}, {"expires": 5}, {"name": ""}, {"name": "a" * 64}, {"name": "a\nb"}):
            body = {"role": "viewer", "name": "n1", "expires": "1h", **wrong}
            answer = stand.ask("POST", "/tokens", body)
            self.assertIn(answer.status, (400, 422), f"{wrong}: {answer}")

    def test_what_is_too_large_is_413_414_431(self):
        answer = stand.ask("PUT", "/policy", b"#" * (3 << 20))
        self.assertEqual((answer.status, answer.json["code"]), (413, "request.body_long"))
        large = stand.raw(b"PUT /api/v1/policy HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n300000\r\n" +
                          b"#" * (3 << 20))
        self.assertTrue(large.startswith(b"HTTP/1.1 413"), large[:80])
        self.assertEqual(stand.ask("GET", "/jobs?source=" + "a" * 65536).status, 414)
        self.assertEqual(stand.ask("GET", "/" + "a" * 65536).status, 414)
        self.assertEqual(stand.ask("GET", "/status", headers={"X-Long": "a" * 20000}).status, 431)

    # --- hostile bytes ----------------------------------------------------------------------------

    def test_hostile_paths_are_refused_and_harm_nobody(self):
        for path in ("/sources/..", "/sources/%2e%2e", "/../etc/passwd", "/sources/../../status", "/./status",
                     "/sources/%00", "/sources/a%00b", "/sources/%ff%fe", "/sources/%c0%ae%c0%ae", "/sources/%",
                     "/sources/%zz", "/sources/%ed%a0%80", "/jobs?source=%00", "/jobs?source=%ff", "/jobs?%",
                     "/jobs?x=%fe", "/sources/tree%00/decisions"):
            self.assert_problem(stand.ask("GET", path), 400)
        for path in ("/sources/..%2f..", "/sources/%2f", "/sources/%5c..%5c", "/sources/'; drop table job; --",
                     "/sources/%F0%9F%92%A9", "/sources/%E2%80%AE", "/workers/" + "a" * 4000):
            self.assert_problem(stand.ask("GET", path.replace(" ", "%20").replace("'", "%27")), 404)
        for text in (b"GET /api/v1/\x00 HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /api/v1/\xff HTTP/1.1\r\nHost: x\r\n\r\n",
                     b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"GET\r\n\r\n", b"\r\n\r\n\r\n",
                     b"GET /api/v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"):
            answer = stand.raw(text)
            self.assertTrue(answer == b"" or answer.startswith(b"HTTP/1.1 400"), (text, answer[:80]))
        self.assertEqual(stand.ask("GET", "/status").status, 200)

    def test_wrong_values_of_the_query_are_told(self):
        for path in ("/jobs?limit=0", "/jobs?limit=-1", "/jobs?limit=x", "/jobs?limit=" + "9" * 30, "/jobs?limit=",
                     "/jobs?state=faild", "/jobs?state=running,nope", "/jobs?kind=x", "/backups?state=failed",
                     "/backups?until=yesterday", "/backups?until=2026-13-01", "/backups?until=9999-01-01",
                     "/backups/x", "/backups/bk_!", "/jobs/1", "/jobs/jb_", "/jobs/jb_" + "Z" * 40):
            self.assertEqual(stand.ask("GET", path).status, 400, path)
        self.assertIn(stand.ask("GET", "/schedule?for=long").status, (400, 422))
        self.assertEqual(stand.ask("GET", "/jobs?state=failed,running&limit=99999").status, 200)

    # --- pages ------------------------------------------------------------------------------------

    def pages(self, path, limit):
        """Every item, page after page; new ones may appear meanwhile."""
        items, cursor, count = [], None, 0
        while True:
            more = "" if cursor is None else "&cursor=" + stands.quote(cursor)
            page = stand.ask("GET", f"{path}{'&' if '?' in path else '?'}limit={limit}{more}")
            self.assertEqual(page.status, 200, page)
            self.assertLessEqual(len(page.json["items"]), limit)
            items += page.json["items"]
            cursor = page.json["next_cursor"]
            count += 1
            self.assertLess(count, 1000, "it does not end")
            if cursor is None:
                return items
            if count % 5 == 2 and path.startswith("/jobs?state=skipped"):
                self.make_jobs(1)

    @staticmethod
    def make_jobs(count):
        stand.sql("INSERT INTO holdfast.job(kind, trigger, source, actor, pool, state, finished_at)"
                  " SELECT 'backup', 'manual', s.no, 'pages', s.pool, 'skipped', clock_timestamp()"
                  f" FROM holdfast.source s, generate_series(1, {count}) WHERE s.name = 'far'")

    def test_pages_hold_everything_once(self):
        self.make_jobs(60)
        before = {job["id"] for job in stand.ask("GET", "/jobs?state=skipped&limit=1000").json["items"]}
        for limit in (1, 7, 60):
            seen = [job["id"] for job in self.pages("/jobs?state=skipped", limit)]
            self.assertEqual(len(seen), len(set(seen)), "one came twice")
            self.assertLessEqual(before, set(seen))
            self.assertEqual(seen, sorted(seen, reverse=True))
        names = [source["name"] for source in self.pages("/sources", 1)]
        self.assertEqual(names, ["broken", "far", "tree"])
        stand.sql("INSERT INTO holdfast.decision(source, verdict, code, text, last_at) SELECT s.no, 'skipped', 'c' || n, 't',"
                  " '2026-01-01'::timestamptz + (n / 3) * interval '1 us' FROM holdfast.source s, generate_series(1, 50) n"
                  " WHERE s.name = 'broken'")
        reasons = [row["reason"] for row in self.pages("/sources/broken/decisions", 4) if row["reason"][0] == "c"]
        self.assertEqual(sorted(reasons), sorted(f"c{n}" for n in range(1, 51)))
        events = [row["at"] for row in self.pages("/audit/events", 3)]
        self.assertEqual(len(events), int(stand.sql("SELECT count(*) FROM holdfast.audit_event")))

    def test_a_log_comes_in_pages_and_from_a_line_on(self):
        job = stand.back_up()["id"]
        def whole_log():
            lines = stand.ask("GET", f"/jobs/{job}/logs?limit=1000").json
            return lines if lines["items"] and lines["items"][-1]["event"] == "job.ended" else None
        whole = stand.until(whole_log, "the last line")
        self.assertIsNone(whole["next_cursor"])
        self.assertGreater(len(whole["items"]), 5)
        self.assertEqual(self.pages(f"/jobs/{job}/logs", 2), whole["items"])
        third = whole["items"][2]["seq"]
        self.assertEqual(stand.ask("GET", f"/jobs/{job}/logs?after={third}").json["items"], whole["items"][3:])
        events = [line["event"] for line in whole["items"]]
        for event in ("job.started", "backup.opened", "source.opened", "backup.snapshot", "backup.part", "backup.stored",
                      "backup.committed", "job.ended"):
            self.assertIn(event, events)

    def test_a_foreign_cursor_is_refused(self):
        for path in ("/jobs", "/backups", "/audit/events", "/sources/tree/decisions"):
            for cursor in ("", "x", "-1", "1%3Bdrop%20table%20job", "9" * 30, "1e3", "%F0%9F%92%A9", "1.5.2", "..", "1.",
                           "0x10", "%27", "NaN", "+1", "null"):
                answer = stand.ask("GET", f"{path}?cursor={cursor}")
                self.assert_problem(answer, 400, "request.cursor")
        self.assertEqual(stand.ask("GET", "/sources?cursor=%27%3B--").json["items"][0]["name"], "broken")

    # --- once -------------------------------------------------------------------------------------

    def jobs(self):
        return int(stand.sql("SELECT count(*) FROM holdfast.job"))

    def test_a_request_that_is_sent_again_is_done_once(self):
        before = self.jobs()
        headers = {"Idempotency-Key": "k-1"}
        first = stand.ask("POST", "/sources/far/run", {"reason": "a"}, headers=headers)
        self.assertEqual(first.status, 202, first)
        again = stand.ask("POST", "/sources/far/run", {"reason": "a"}, headers=headers)
        self.assertEqual((again.status, again.body, again.headers["Location"]),
                         (first.status, first.body, first.headers["Location"]))
        self.assertEqual(first.headers["Location"], "/api/v1/jobs/" + first.json["id"])
        self.assertEqual(self.jobs(), before + 1)
        self.assert_problem(stand.ask("POST", "/sources/far/run", {"reason": "b"}, headers=headers), 422,
                            "idempotency.other")
        self.assert_problem(stand.ask("POST", "/sources/tree/run", {"reason": "a"}, headers=headers), 422,
                            "idempotency.other")
        other = stand.ask("POST", "/sources/far/run", {"reason": "a"}, headers=headers, role="operator")
        self.assertEqual(other.status, 202)
        self.assertNotEqual(other.json["id"], first.json["id"])
        for key in ("a" * 201, "a b", "\u00e9"):
            answer = stand.ask("POST", "/sources/far/run", {}, headers={"Idempotency-Key": key.encode()})
            self.assert_problem(answer, 400, "idempotency.key")

    def test_many_at_once_with_one_key_make_one_job(self):
        before = self.jobs()

        def send(_):
            return stand.ask("POST", "/sources/far/run", {}, headers={"Idempotency-Key": "k-many"})
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(send, range(48)))
        self.assertEqual(self.jobs(), before + 1)
        self.assertLessEqual({a.status for a in answers}, {202, 409})
        self.assertEqual(len({a.body for a in answers if a.status == 202}), 1)
        for answer in answers:
            if answer.status == 409:
                self.assert_problem(answer, 409, "idempotency.running")

    def test_a_request_that_failed_leaves_no_key(self):
        headers = {"Idempotency-Key": "k-failed"}
        self.assert_problem(stand.ask("POST", "/sources/none/run", {}, headers=headers), 404)
        self.assertEqual(stand.ask("POST", "/sources/far/run", {}, headers=headers).status, 202)

    def test_a_scheduler_that_died_in_the_middle_does_not_hold_a_key_for_ever(self):
        headers = {"Idempotency-Key": "k-died"}
        first = stand.ask("POST", "/sources/far/run", {}, headers=headers)
        stand.sql("UPDATE holdfast.idempotency SET status = NULL, body = NULL WHERE key = 'k-died'")
        self.assert_problem(stand.ask("POST", "/sources/far/run", {}, headers=headers), 409, "idempotency.running")
        stand.sql("UPDATE holdfast.idempotency SET created_at = created_at - interval '2 minutes' WHERE key = 'k-died'")
        again = stand.ask("POST", "/sources/far/run", {}, headers=headers)
        self.assertEqual((again.status, again.json["id"]), (202, first.json["id"]))

    def test_a_token_is_shown_once_also_to_who_asks_twice(self):
        headers = {"Idempotency-Key": "k-token"}
        body = {"role": "viewer", "name": "once", "expires": "1h"}
        made = stand.ask("POST", "/tokens", body, headers=headers)
        self.assertEqual(made.status, 201)
        self.assertRegex(made.json["id"], r"^tk_\d+$")
        self.assertRegex(made.json["token"], r"^hf_[0-9a-f]{64}$")
        again = stand.ask("POST", "/tokens", body, headers=headers)
        self.assertEqual((again.status, again.json["code"]), (409, "token.shown_once"))
        self.assertEqual(stand.sql("SELECT count(*) FROM holdfast.idempotency WHERE body LIKE '%hf\\_%'"), "0")
        self.assertNotIn(made.json["token"], stand.ask("GET", "/tokens").body.decode())
        self.assertEqual(stand.ask("DELETE", "/tokens/" + made.json["id"]).status, 200)

    # --- the policy -------------------------------------------------------------------------------

    def test_every_error_of_a_policy_comes_in_one_answer_at_its_place(self):
        text = (stand.home / "fleet.yaml").read_text()
        wrong = (text.replace("paths: [", "path: [", 1).replace("policy: daily", "policy: dayly", 1)
                 .replace("store: main", "store: mian").replace("fleet: stand", "flet: stand")
                 .replace('"@daily"', '"61 * * * *"'))
        for method, path in (("POST", "/policy/check"), ("PUT", "/policy")):
            problem = self.assert_problem(stand.ask(method, path, wrong.encode(), headers={
                "Content-Type": "application/yaml"}), 422, "policy.invalid")
            codes = {error["code"] for error in problem["errors"]}
            self.assertLessEqual({"unknown-key", "missing-key", "unknown-policy", "unknown-store", "bad-schedule"}, codes)
            for error in problem["errors"]:
                self.assertGreater(error["line"], 0, error)
                self.assertGreater(error["column"], 0, error)
                self.assertTrue(error["detail"], error)
            near = [error for error in problem["errors"] if error["code"] == "unknown-policy"]
            self.assertIn("daily", near[0]["suggestion"])
        self.assertEqual(stand.ask("GET", "/policy").json["text"], text)

    def test_a_policy_is_replaced_only_as_it_was_seen(self):
        shown = stand.ask("GET", "/policy")
        text, tag = shown.json["text"], shown.headers["ETag"]
        self.assertEqual(tag, f'"{shown.json["sha256"]}"')
        changed = (text + "# once more\n").encode()
        self.assert_problem(stand.ask("PUT", "/policy", changed, headers={"If-Match": f'"{"0" * 64}"'}), 412,
                            "policy.changed")
        for wrong in ('""', "*", tag[1:-1], "W/" + tag, '"x"', ""):
            answer = stand.ask("PUT", "/policy", changed, headers={"If-Match": wrong})
            self.assertIn(answer.status, (400, 412), f"{wrong}: {answer}")
        self.assertEqual(stand.ask("GET", "/policy").json["text"], text)
        applied = stand.ask("PUT", "/policy", changed, headers={"If-Match": tag})
        self.assertEqual(applied.status, 200, applied)
        self.assertEqual(stand.ask("GET", "/policy").headers["ETag"], applied.headers["ETag"])
        self.assertNotEqual(applied.headers["ETag"], tag)
        self.assert_problem(stand.ask("PUT", "/policy", text.encode(), headers={"If-Match": tag}), 412,
                            "policy.changed")
        self.assertEqual(stand.ask("PUT", "/policy", text.encode()).status, 200)

    # --- many and slow ----------------------------------------------------------------------------

    def test_idle_and_slow_clients_keep_nobody_waiting(self):
        held = []
        try:
            for n in range(550):
                connection = stand.dial()
                if n % 3 == 0:
                    connection.sendall(b"GET /api/v1/status HTTP/1.1\r\nX-Slow: ")
                held.append(connection)
            for n in range(20):
                for connection in held[::3][:100]:
                    try:
                        connection.send(b"a")
                    except OSError:
                        pass
                began = time.monotonic()
                self.assertEqual(stand.ask("GET", "/status").status, 200)
                self.assertLess(time.monotonic() - began, 10)
        finally:
            for connection in held:
                connection.close()

    def test_clients_that_leave_cost_no_memory(self):
        def resident():
            status = pathlib.Path(f"/proc/{stand.pid('scheduler')}/status").read_text()
            return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))

        def leave(count):
            request = (f"GET /api/v1/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stand.tokens['admin']}\r\n"
                       f"X-Fill: {'a' * 8000}\r\n\r\n").encode()
            for n in range(count):
                with stand.dial() as connection:
                    connection.sendall(request)
                    if n % 2:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            stand.until(lambda: stand.ask("GET", "/version").status == 200, "an answer")
        # How many wait at once differs from round to round, and so does the peak; but what was kept of
        # each client, 8 KB at least, would make every round grow by 8 MB.
        grown = []
        before = resident()
        while len(grown) < 8 and min(grown, default=9999) > 2000:
            leave(1000)
            grown.append(resident() - before)
            before += grown[-1]
        self.assertLess(min(grown), 2000, f"KiB more after each thousand clients that left: {grown}")


class Outages(unittest.TestCase):
    def test_a_catalogue_that_is_away_is_503_and_comes_back(self):
        for path in ("/healthz", "/readyz"):
            self.assertEqual(stand.ask("GET", path, role=None).json, {"catalogue": True, "redis": True, "leads": True})
            self.assertIn(b" 200 ", stand.raw(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()))
        os.kill(stand.pid("postgres"), signal.SIGQUIT)
        answer = stand.until(lambda: (a := stand.ask("GET", "/status")).status == 503 and a, "503")
        self.assertEqual(answer.json["code"], "catalogue.unreachable")
        self.assertTrue(answer.headers["Retry-After"])
        self.assertEqual(stand.ask("GET", "/version", role=None).status, 200)
        away = stand.until(lambda: (a := stand.ask("GET", "/readyz", role=None)).status == 503 and a, "not ready")
        self.assertEqual(away.json["code"], "catalogue.unreachable")
        self.assertFalse(stand.ask("GET", "/healthz", role=None).json["catalogue"])
        told = stand.command("doctor")
        self.assertIn("FAIL catalogue", told.stdout)
        self.assertIn("next: start PostgreSQL", told.stdout)
        self.assertEqual(told.returncode, 8)
        self.assertEqual(stand.command("status", "--nagios").returncode, 3)
        self.assertEqual(stand.local("up", "--workers", "1").returncode, 0)
        stand.until(lambda: stand.ask("GET", "/status").status == 200, "the catalogue again")

    def test_reading_the_policy_again_keeps_nobody_waiting(self):
        """SIGHUP while PostgreSQL takes connections and says nothing."""
        log = stand.dir / "log/scheduler.log"
        size = log.stat().st_size
        os.kill(stand.pid("postgres"), signal.SIGSTOP)
        try:
            os.kill(stand.pid("scheduler"), signal.SIGHUP)
            time.sleep(0.5)
            for _ in range(5):
                began = time.monotonic()
                self.assertIn(b"400 Bad Request", stand.raw(b"BROKEN\r\n\r\n"))
                self.assertLess(time.monotonic() - began, 3)
        finally:
            os.kill(stand.pid("postgres"), signal.SIGCONT)
        os.kill(stand.pid("scheduler"), signal.SIGHUP)
        stand.until(lambda: b"policy.applied" in log.read_bytes()[size:], "the policy")

    def test_a_scheduler_stops_with_clients_at_every_stage(self):
        idle, half = stand.dial(), stand.dial()
        half.sendall(b"GET /api/v1/st")
        pid = stand.pid("scheduler")
        os.kill(pid, signal.SIGTERM)
        stand.until(lambda: not pathlib.Path(f"/proc/{pid}").exists()
                    or pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z", "its end")
        idle.close()
        half.close()
        self.assertEqual(stand.local("up", "--workers", "1").returncode, 0)
        self.assertEqual(stand.ask("GET", "/status").status, 200)


if __name__ == "__main__":
    unittest.main(verbosity=2, failfast=True)
