#!/usr/bin/env -S /usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""fleet_schema.py SCHEDULER FOLDER — the printed JSON Schema against the reader, by every file of the
corpus and by mistakes put into a good one: what the reader takes, the schema takes; a mistake of
form (an unknown or missing key, a wrong shape, type, word or number) both refuse. What needs the
whole file (a name that is not defined, two settings against each other) is the reader's alone."""
import copy
import json
import pathlib
import re
import subprocess
import sys

import jsonschema
import yaml

# Codes that a schema can see; the rest are about meaning.
OF_FORM = {"unknown-key", "missing-key", "wrong-shape", "wrong-key", "bad-amount", "unknown-value", "out-of-range", "bad-name",
           "not-in-this-version", "bad-secret", "bad-boolean", "bad-number", "literal-secret", "no-value"}
# Mistakes of form that JSON Schema has no words for.
BEYOND = {"bad-pool-name.yaml": "letters that only pools may not have",
          "budget-without-a-limit.yaml": "one of two keys, whichever",
          "missing-encryption.yaml": "a key that one of three places must have",
          "short-duration.yaml": "the least of a duration, whatever its unit"}


class Core(yaml.SafeLoader):
    """YAML as the reader has it: true, false, null and numbers; everything else is text."""


Core.yaml_implicit_resolvers = {}
for tag, pattern, first in (("bool", "^(?:true|false)$", "tf"), ("null", "^(?:~|null|)$", ["~", "n", ""]),
                            ("int", "^(?:0|[1-9][0-9]*)$", "0123456789"), ("float", r"^[0-9]+\.[0-9]+$", "0123456789")):
    Core.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))

GOOD = {
    "version": 1, "fleet": "acme", "defaults": {"timezone": "Europe/Berlin", "encryption": "k1", "timeout": "8h",
                                                "retry": {"attempts": 3, "jitter": "equal"}},
    "keys": {"k1": {}}, "stores": {"nas": {"type": "local", "path": "/srv/b"}}, "pools": {"fra": {"max_jobs": 8}},
    "policies": {"gold": {"schedule": "H 1 * * *", "objectives": {"rpo": "26h"}, "limits": {"rate": "80MiB/s"},
                          "copies": [{"store": "nas"}]}},
    "sources": {"orders": {"type": "postgresql", "policy": "gold", "databases": ["all"], "port": 5432,
                           "password": {"credential": "orders"}, "run_on": {"pool": "fra"}, "labels": {"tier": 1}},
                "files": {"type": "files", "policy": "gold", "paths": ["/srv/f"], "one_file_system": True, "specials": False,
                          "allow_partial": {"items": 10, "share": "0.1%"}}},
}
MISTAKES = (
    (("versoin",), 1), (("version",), 2), (("version",), None), (("fleet",), None), (("fleet",), "a b"), (("stores",), []),
    (("defaults", "timeout"), "8 hours"), (("defaults", "timeout"), 8), (("defaults", "overlap"), "maybe"),
    (("defaults", "retry", "attempts"), 0), (("defaults", "retry", "attempts"), "many"), (("keys", "k1", "x"), 1),
    (("stores", "nas", "path"), None), (("stores", "nas", "type"), "tape"), (("pools", "fra", "max_jobs"), 0),
    (("policies", "gold", "copies"), []), (("policies", "gold", "limits", "rate"), "80MiB"),
    (("policies", "gold", "keep_dayly"), 1), (("sources", "orders", "password"), "secret"),
    (("sources", "orders", "password"), {"credential": "a", "file": "b"}), (("sources", "orders", "paths"), ["/x"]),
    (("sources", "orders", "databases"), None), (("sources", "files", "one_file_system"), "yes"), (("sources", "files", "specials"), "no"),
    (("sources", "files", "allow_partial", "share"), "0.1"), (("sources", "files", "databases"), ["a"]),
    (("sources", "a b"), {"type": "files", "policy": "gold", "paths": ["/x"]}), (("sources", "orders", "port"), 70000),
)


def changed(path, value):
    """The good file with one value replaced, or taken out."""
    whole = copy.deepcopy(GOOD)
    at = whole
    for key in path[:-1]:
        at = at[key]
    at.pop(path[-1], None)
    if value is not None:
        at[path[-1]] = value
    return whole


class Judge:
    def __init__(self, scheduler):
        self.scheduler = scheduler
        self.schema = json.loads(self.ask("schema").stdout)
        jsonschema.Draft202012Validator.check_schema(self.schema)
        self.validator = jsonschema.Draft202012Validator(self.schema)
        self.problems = []

    def ask(self, *words, given=""):
        return subprocess.run([self.scheduler, "policy", *words], input=given, text=True, capture_output=True, timeout=60,
                              check=False)

    def compare(self, name, document, done):
        """What the reader said of the file, and what the schema says."""
        codes = {line.split("error[", 1)[1].split("]", 1)[0] for line in done.stderr.splitlines() if "error[" in line}
        faults = [f"{list(e.absolute_path)}: {e.message[:120]}" for e in self.validator.iter_errors(document)]
        if done.returncode == 0 and faults:
            self.problems.append(f"{name}: the reader takes it, the schema does not: {faults}")
        if codes and codes <= OF_FORM and not faults and name not in BEYOND:
            self.problems.append(f"{name}: the schema takes it, the reader does not: {sorted(codes)}")
        return done.returncode == 0, bool(faults)


def main():
    judge = Judge(sys.argv[1])
    seen = 0
    for path in sorted(pathlib.Path(sys.argv[2]).glob("*.yaml")):
        try:
            document = yaml.load(path.read_text(encoding="utf-8"), Core)
        except (yaml.YAMLError, UnicodeDecodeError):
            continue # no document at all
        seen += 1
        judge.compare(path.name, document, judge.ask("check", str(path)))
    whole = judge.compare("the good one", GOOD, judge.ask("check", "-", given=json.dumps(GOOD)))
    if whole != (True, False):
        judge.problems.append("the good file is not taken by both")
    for path, value in MISTAKES:
        both = judge.compare(f"{'.'.join(path)} = {value}", changed(path, value),
                             judge.ask("check", "-", given=json.dumps(changed(path, value))))
        if both != (False, True):
            judge.problems.append(f"{'.'.join(path)} = {value}: reader takes it: {both[0]}, schema refuses it: {both[1]}")
    for problem in judge.problems:
        print(problem)
    print(f"{len(judge.problems)} differences in {seen} files and {len(MISTAKES)} mistakes")
    sys.exit(1 if judge.problems or seen < 50 else 0)


main()
