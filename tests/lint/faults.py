# SPDX-License-Identifier: Apache-2.0
"""faults.py BUILD [--tests|--count] — tests/faults.tsv names tests and cases that exist, every fault test
is in it, every row of the programme has a line, and what runs a job machine ends in the checker of its
invariants. --tests: the pattern of its tests for ctest -R; --count: how many rows are covered, and which
are not."""
import ast
import re
import subprocess
import sys

import tree

TABLE = "tests/faults.tsv"


def span(prefix, *parts):
    for part in parts:
        first, last = part if isinstance(part, tuple) else (part, part)
        yield from (f"{prefix}{n}" for n in range(first, last + 1))


ROWS = [*span("m", (1, 52)), *span("s", 1, 2, (4, 17), 20, 21, 23, 25),
        *span("b", (1, 20)), *span("i", (1, 14)), *span("e", (1, 13))]


def table():
    for number, line in enumerate(tree.text(TABLE).splitlines(), 1):
        if line and not line.startswith("#"):
            yield number, line.split("\t")


def tests_of(build):
    listed = subprocess.run(["ctest", "--test-dir", build, "-N"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"Test +#\d+: (\S+)", listed))


PYTHON = {"golden.hostile": "tests/golden/hostile.py", "golden.hostile_bucket": "tests/golden/hostile.py"}


def has_case(test, case):
    """Is it a function of the C file, or of the script, that is this test?"""
    if test in PYTHON:
        rows = re.findall(r"^ROWS = \[\n(.*?)^\]|^BUCKET_ROWS = \[\n(.*?)^\]", tree.text(PYTHON[test]), re.DOTALL | re.MULTILINE)
        return any(f"    ({case}, " in first + second for first, second in rows)
    return source_of(test) is not None and f"static void {case}(" in tree.text(source_of(test))


def source_of(test):
    """The C file of a ctest unit.area.module, or None; variants share it."""
    kind, area, module = (re.sub(r"(_pooled|\.tls)$", "", test).split(".") + ["", ""])[:3]
    path = f"tests/{kind}/{area}/{module}_test.c"
    return path if (tree.ROOT / path).exists() else None


def last_call(body, functions):
    """The name of what a test does at its very end, through with, try and functions of its own file."""
    last = body[-1]
    if isinstance(last, (ast.With, ast.Try)):
        return last_call(last.body, functions)
    if not isinstance(last, ast.Expr) or not isinstance(last.value, ast.Call):
        return ""
    called = last.value.func
    if isinstance(called, ast.Name) and called.id in functions:
        return last_call(functions[called.id].body, functions)
    return called.attr if isinstance(called, ast.Attribute) else ""


def python_unchecked():
    """Fault tests that do not end in place.check() or place.check_idle()."""
    for path in tree.files(".py", below=("tests/faults/",)):
        if not path.name.endswith("_faults.py") or path.name == "checker_faults.py":
            continue
        functions = {each.name: each for each in ast.parse(tree.text(path)).body if isinstance(each, ast.FunctionDef)}
        for name, function in functions.items():
            if name.startswith("test_") and last_call(function.body, functions) not in ("check", "check_idle"):
                yield f"{path}:{function.lineno}: {name} does not end in the checker"


# What begins a history in C, and the one end of each, which holds it against the invariants.
ENDS = {"fleet_start": "fleet_stop", "crew_start": "crew_stop", "crew_join": "crew_leave", "stage_new": "stage_free"}


def body_of(path, function):
    found = re.search(rf"^[^\n]*\b{function}\([^;{{]*\n\{{\n(.*?)^\}}", tree.text(path), re.DOTALL | re.MULTILINE)
    return found.group(1) if found else ""


def harness_unchecked():
    for path, function, needs in (("fleet.c", "fleet_check", "history_holds("), ("fleet.c", "fleet_stop", "fleet_check("),
                                  ("fleet.c", "fleet_stop", "abort("), ("crew.c", "crew_leave", "fleet_check("),
                                  ("crew.c", "crew_stop", "fleet_stop("), ("stage.c", "stage_free", "fleet_stop("),
                                  ("history.c", "command", "tests/harness/invariants.py")):
        if needs not in body_of(f"tests/harness/{path}", function):
            yield f"tests/harness/{path}: {function} does not end in the checker: no {needs}"


def unchecked(test):
    """Why a test of the table that runs a job machine does not end in the checker, or None."""
    script = tree.ROOT / "tests/e2e" / f"{test.removeprefix('e2e.')}.sh"
    if script.exists():
        return None if "tests/harness/invariants.py" in tree.text(script) else "its script does not call the checker"
    source = tree.text(source_of(test)) if source_of(test) else ""
    begun = [begin for begin in ENDS if f"{begin}(" in source]
    for begin in begun:
        if f"{ENDS[begin]}(" not in source:
            return f"{begin} without {ENDS[begin]}, which calls the checker"
    return "a catalogue that is no fleet's is not checked" if "common/catalog/" in source and not begun else None


def problems(build):
    tests, seen = tests_of(build), set()
    for number, fields in table():
        where = f"{TABLE}:{number}:"
        if len(fields) != 4:
            yield f"{where} four fields, by tabs"
            continue
        row, test, case, _ = fields
        seen |= {row, test}
        if row not in ROWS:
            yield f"{where} {row} is no row of the programme"
        if test != "none" and test not in tests:
            yield f"{where} there is no test {test}"
        elif unchecked(test):
            yield f"{where} {test}: {unchecked(test)}"
        elif case != "-" and not has_case(test, case):
            yield f"{where} {test} has no case {case}"
    yield from python_unchecked()
    yield from harness_unchecked()
    yield from (f"{TABLE}: nothing says what becomes of {row}" for row in ROWS if row not in seen)
    yield from (f"{TABLE}: {test} is in no row" for test in sorted(tests)
                if test.startswith("faults.") and not test.startswith("faults.checker.") and test not in seen)


def count():
    covered = {fields[0] for _, fields in table() if fields[1] != "none"}
    print(f"faults: {len(covered)} of {len(ROWS)} rows are covered")
    for _, fields in table():
        if fields[0] not in covered:
            print(f"  not covered: {fields[0]}, {fields[3]}")


def main():
    if "--tests" in sys.argv:
        names = {fields[1] for _, fields in table()} - {"none"}
        print("^(" + "|".join(sorted(names)).replace(".", "\\.") + "|faults\\..*)$")
    elif "--count" in sys.argv:
        count()
    else:
        tree.end(list(problems(sys.argv[1])), TABLE)


main()
