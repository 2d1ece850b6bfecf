# SPDX-License-Identifier: Apache-2.0
"""faults.py BUILD [--tests|--count] — tests/faults.tsv names tests and cases that exist, every fault test
is in it, every row of the programme has a line. --tests: the pattern of its tests for ctest -R;
--count: how many rows are covered, and which are not."""
import re
import subprocess
import sys

import tree

TABLE = "tests/faults.tsv"


def span(prefix, *parts):
    for part in parts:
        first, last = part if isinstance(part, tuple) else (part, part)
        yield from (f"{prefix}{n}" for n in range(first, last + 1))


ROWS = [*span("m", (1, 31), (38, 40), (45, 50), 52), *span("s", 1, 2, (4, 10), (12, 17), 20, 21, 23, 25),
        *span("b", (1, 8), 16, (18, 20))]


def table():
    for number, line in enumerate(tree.text(TABLE).splitlines(), 1):
        if line and not line.startswith("#"):
            yield number, line.split("\t")


def tests_of(build):
    listed = subprocess.run(["ctest", "--test-dir", build, "-N"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"Test +#\d+: (\S+)", listed))


def source_of(test):
    """The C file of a ctest unit.area.module, or None; variants share it."""
    kind, area, module = (re.sub(r"(_pooled|\.tls)$", "", test).split(".") + ["", ""])[:3]
    path = f"tests/{kind}/{area}/{module}_test.c"
    return path if (tree.ROOT / path).exists() else None


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
        elif case != "-" and (source_of(test) is None or f"static void {case}(" not in tree.text(source_of(test))):
            yield f"{where} {test} has no case {case}"
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
