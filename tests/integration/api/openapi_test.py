#!/usr/bin/env -S /usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document against the server that prints it: every route is there and answers, every answer
is what the document says, member for member, and what it does not name is refused."""
import datetime
import json
import pathlib
import re
import subprocess
import sys
import unittest

import jsonschema

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import stand as stands  # noqa: E402

ROUTE = re.compile(r'^ROUTE\((\w+), "(\w+)", "([^"]+)", "(\w+)", ', re.M)
ROUTES = ROUTE.findall((stands.ROOT / "protocol/routes.def").read_text())


def setUpModule():
    global stand, document, backup
    stand = stands.Stand()
    document = stand.ask("GET", "/openapi.json", role=None).json
    backup = stand.back_up()["backup"]


def tearDownModule():
    stand.down()


def operations():
    """(id, method, path, operation) of the document."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield operation["operationId"], method.upper(), path, operation


def is_time(value):
    try:
        return not isinstance(value, str) or bool(datetime.datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ"))
    except ValueError:
        return bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value))


class OpenApi(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.checker = jsonschema.FormatChecker(formats=())
        self.checker.checks("date-time")(is_time)

    def closed(self, schema):
        """The same schema with every object of the tables closed: nothing that it does not name may come."""
        text = json.loads(json.dumps(schema))
        for one in text["components"]["schemas"].values():
            one["additionalProperties"] = False
        return text

    def check(self, answer, operation, what):
        """The answer is one that the operation declares; its value."""
        status = str(answer.status)
        declared = operation["responses"].get(status, operation["responses"]["default"])
        kind = answer.headers["Content-Type"]
        self.assertIn(kind, declared["content"], f"{what}: {answer}")
        if status != "default" and status not in operation["responses"]:
            self.assertGreaterEqual(answer.status, 400, f"{what}: {status} is not declared")
        if "json" not in kind:
            return None
        schema = dict(self.closed(document), **declared["content"][kind]["schema"])
        jsonschema.Draft202012Validator(schema, format_checker=self.checker).validate(answer.json)
        return answer.json

    def test_the_document_is_whole_and_the_same_from_the_program(self):
        self.assertEqual(document["openapi"], "3.1.0")
        printed = subprocess.run([str(stands.BUILD / "holdfast-scheduler"), "openapi"], capture_output=True, text=True,
                                 check=True, timeout=60)
        self.assertEqual(json.loads(printed.stdout), document)
        self.assertEqual({(i, m, p) for i, m, p, _ in operations()}, {(s, m, p) for s, m, p, _ in ROUTES})
        roles = {symbol: role for symbol, _, _, role in ROUTES}
        for reference in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)):
            self.assertIn(reference, document["components"]["schemas"])
        for symbol, method, path, operation in operations():
            self.assertEqual(operation["x-role"], roles[symbol])
            in_path = [p["name"] for p in operation["parameters"] if p["in"] == "path"]
            self.assertEqual(in_path, re.findall(r"\{(\w+)\}", path))
            names = [(p["in"], p["name"]) for p in operation["parameters"]]
            self.assertEqual(len(names), len(set(names)), symbol)
            self.assertEqual("requestBody" in operation, method in ("POST", "PUT"), symbol)
            for part in [p["schema"] for p in operation["parameters"]]:
                jsonschema.Draft202012Validator.check_schema(part)
        for schema in document["components"]["schemas"].values():
            jsonschema.Draft202012Validator.check_schema(schema)

    def value_of(self, symbol, name):
        if symbol.startswith("job"):
            return stand.ask("POST", "/sources/far/run").json["id"] if symbol != "job_show" else self.job()
        if symbol.startswith("token"):
            return stand.ask("POST", "/tokens", {"role": "viewer", "expires": "1h"}).json["id"]
        if symbol.startswith("grant"):
            stand.ask("POST", "/grants", {"backup": backup, "worker": "local-1", "reason": "a test"})
            return stand.ask("GET", "/grants").json["items"][0]["id"]
        names = {"worker": "local-1", "queue": "far", "store": "main"}
        return {"name": names.get(symbol.split("_")[0], "tree"), "id": backup, "ticket": "none",
                "version": "1"}[name]

    @staticmethod
    def job():
        return stand.ask("GET", f"/backups/{backup}").json["job"]

    def send(self, symbol, method, path, query=""):
        """One good request of the route."""
        filled = re.sub(r"\{(\w+)\}", lambda m: self.value_of(symbol, m.group(1)), path)
        headers, body = {}, {} if method == "POST" else None
        policy = (stand.home / "fleet.yaml").read_bytes()
        if symbol in ("policy_apply", "policy_check", "policy_plan", "retention_plan"):
            body, headers = policy, {"Content-Type": "application/yaml"}
        elif symbol == "token_create":
            body = {"role": "viewer", "expires": "1h"}
        elif symbol in ("retention_resume", "source_suspect", "backup_hold", "backup_release"):
            body = {"reason": "looked at it"}
        elif symbol == "backup_copy":
            stand.sql("INSERT INTO holdfast.store(name, config) VALUES ('other', '{\"type\": \"local\", \"path\": \"/nowhere\"}') ON CONFLICT DO NOTHING")
            stand.sql("INSERT INTO holdfast.repository(store, key_set) SELECT 'other', key_set FROM holdfast.repository ON CONFLICT DO NOTHING")
            body = {"store": "other"}
        elif symbol == "source_pause":
            body = {"for": "1h", "reason": "a visit"}
        elif symbol == "restore_plan":
            body = {"backup": backup, "to": str(stand.dir / "restore/x")}
        elif symbol == "grant_create":
            body = {"backup": backup, "worker": "local-1", "reason": "a test"}
        elif symbol == "restore_start":
            plan = stand.ask("POST", "/restores/plan", {"backup": backup, "to": str(stand.dir / "restore/y")}).json["id"]
            stand.ended(plan)
            body = {"plan": plan}
        elif symbol == "backup_fetch":
            query = "?path=" + stands.quote(str(stand.tree / "small")[1:])
        elif symbol == "backup_diff":
            query = "?against=" + backup
        elif symbol == "backup_delete": # not the last good one, nor one that a job reads
            made = stand.ask("POST", "/sources/tree/run", {}).json["id"]
            stand.ended(made)
            filled, query = "/backups/" + stand.ask("GET", f"/jobs/{made}").json["backup"], "?reason=test"
        elif symbol == "job_retry":
            job = filled.split("/")[2]
            stand.ask("POST", f"/jobs/{job}/cancel")
            stand.ended(job)
        return stand.ask(method, filled + query, body, headers=headers)

    def test_every_route_answers_what_the_document_says(self):
        for symbol, method, path, operation in operations():
            if symbol == "events":  # it has no end; tests of its own
                continue
            answer = self.send(symbol, method, path)
            if symbol == "stream_put":
                self.assertEqual(answer.status, 410)
            else:
                self.assertEqual({str(answer.status)}, set(operation["responses"]) - {"default"}, f"{symbol}: {answer}")
            self.check(answer, operation, symbol)

    def test_every_refusal_is_a_problem_as_the_document_says(self):
        for symbol, method, path, operation in operations():
            if path == "/streams/{ticket}":
                continue
            nowhere = re.sub(r"\{\w+\}", "jb_0ZZZZZZ", path)
            for headers, query, wanted in (({"Authorization": "Bearer x"}, "", 401), ({}, "?no_such=1", 400)):
                if operation["x-role"] == "none" and wanted == 401:
                    continue
                answer = stand.ask(method, nowhere + query, headers=headers)
                self.assertEqual(answer.status, wanted, f"{symbol}: {answer}")
                problem = self.check(answer, operation, symbol)
                self.assertIn(problem["code"], ("auth.required", "request.parameter"))

    def test_every_parameter_of_the_document_is_taken_and_no_other(self):
        good = {"time": "2020-01-01T00:00:00Z", "count": "1", "text": "x", "fields": None, "cursor": None}
        for symbol, method, path, operation in operations():
            if method != "GET" or symbol in ("events", "backup_fetch", "backup_files", "backup_diff"):
                continue
            for parameter in operation["parameters"]:
                if parameter["in"] != "query":
                    continue
                name, schema = parameter["name"], parameter["schema"]
                kind = "time" if schema.get("format") else "count" if schema["type"] == "integer" else "text"
                value = good.get(name, good[kind]) or next(iter(self.members(operation)), "x")
                if name in ("state", "kind"):
                    value = {"source_list": "ok", "job_list": "failed", "group_list": "complete"}.get(symbol, "completed")
                    value = "backup" if name == "kind" else value
                if name == "for":
                    value = "2h"
                if name == "cursor":
                    continue
                answer = self.send(symbol, method, path, f"?{name}={value}")
                self.assertEqual(answer.status, 200, f"{symbol}?{name}={value}: {answer}")
                twice = self.send(symbol, method, path, f"?{name}={value}&{name}={value}")
                self.assertEqual((twice.status, twice.json["code"]), (400, "request.parameter"), f"{symbol} {name}")
        answer = stand.ask("GET", "/jobs?sorce=tree")
        self.assertEqual(answer.status, 400)
        self.assertIn("source", answer.json["detail"])

    def members(self, operation):
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        reference = schema.get("$ref") or schema["properties"]["items"]["items"]["$ref"]
        return document["components"]["schemas"][reference.rsplit("/", 1)[1]]["properties"]

    def test_fields_are_those_that_were_asked_for(self):
        jobs = stand.ask("GET", "/jobs?fields=id,state&limit=2").json
        self.assertTrue(jobs["items"])
        for job in jobs["items"]:
            self.assertEqual(set(job), {"id", "state"})
        self.assertEqual(set(stand.ask("GET", f"/backups/{backup}?fields=bytes").json), {"bytes"})
        for wrong in ("id,nope", "", "id,,state", "id,", "items"):
            answer = stand.ask("GET", "/jobs?fields=" + wrong)
            self.assertEqual(answer.status, 200 if wrong in ("", "id,") else 400, wrong)

    def test_pages_of_every_list_hold_everything_once(self):
        stand.sql("INSERT INTO holdfast.pool(name) SELECT 'p' || n FROM generate_series(1, 12) n")
        stand.sql("INSERT INTO holdfast.worker(name, host, role_name, pools) SELECT 'w' || n, 'h', 'holdfast_w' || n, '{}'"
                  " FROM generate_series(1, 12) n")
        for _ in range(7):
            stand.ask("POST", "/tokens", {"role": "viewer", "expires": "1h"})
        for symbol, method, path, operation in operations():
            if method != "GET" or not any(p["name"] == "cursor" for p in operation["parameters"]) or "{" in path:
                continue
            whole = stand.ask("GET", path + "?limit=1000").json
            self.assertIsNone(whole["next_cursor"])
            items, cursor = [], None
            while cursor is not None or not items:
                page = stand.ask("GET", f"{path}?limit=5" + ("" if cursor is None else "&cursor=" + stands.quote(cursor)))
                items += page.json["items"]
                cursor = page.json["next_cursor"]
                if not whole["items"]:
                    break
            marks = {"audit_events": "at", "policy_versions": "version", "retention_preview": "source"}
            mark = "id" if "id" in (whole["items"] or [{}])[0] else marks.get(
                symbol, "name")
            self.assertEqual([item[mark] for item in items][-len(whole["items"]):], [item[mark] for item in whole["items"]],
                             symbol)

    def test_filters_find_what_they_say(self):
        stand.back_up("broken")
        for path, member, value in (("/jobs?source=broken", "source", "broken"), ("/jobs?state=failed", "state", "failed"),
                                    ("/jobs?kind=backup", "kind", "backup"), ("/sources?state=ok", "state", "ok"),
                                    ("/sources?type=files", "type", "files"), ("/backups?store=main", "store", "main"),
                                    ("/audit/events?action=backup.run", "action", "backup.run")):
            items = stand.ask("GET", path).json["items"]
            self.assertTrue(items, path)
            self.assertEqual({item[member] for item in items}, {value}, path)
        for path in ("/sources?type=mysql", "/backups?store=none", "/jobs?since=2100-01-01", "/audit/events?since=2100-01-01",
                     "/backups?since=2100-01-01", "/jobs?until=2000-01-01", "/restores?until=2000-01-01",
                     "/sources/tree/decisions?until=2000-01-01", "/audit/events?until=2000-01-01"):
            self.assertEqual(stand.ask("GET", path).json["items"], [], path)
        for path in ("/sources?state=good", "/jobs?since=yesterday", "/audit/events?until=x", "/restores?state=x"):
            self.assertEqual(stand.ask("GET", path).status, 400, path)


if __name__ == "__main__":
    unittest.main(verbosity=2, failfast=True)
