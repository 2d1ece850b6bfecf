# SPDX-License-Identifier: Apache-2.0
"""The tables that are wire or disk grow at their end and nowhere else: each row of the committed
baseline must still stand in its table, unchanged but for the words that explain it, in its order.
`tables.py --update` writes the baseline; a release does that, nothing else. Each migration stands in
the table of migrations, at the place that its number says."""
import re
import sys

import tree

TABLES = ["errors", "lifecycle", "messages", "disk"]
ROW = re.compile(r"^\s*([A-Z][A-Z0-9_]*)\(", re.M)


def arguments(text, start):
    """The arguments of the row whose '(' is before `start`, split at top-level commas."""
    depth, quoted, current, found = 1, False, "", []
    for at in range(start, len(text)):
        c = text[at]
        if c == '"' and text[at - 1] != "\\":
            quoted = not quoted
        if not quoted:
            depth += (c == "(") - (c == ")")
            if depth == 0:
                return found + [current.strip()]
            if c == "," and depth == 1:
                found.append(current.strip())
                current = ""
                continue
        current += c
    return found + [current.strip()]


def rows(table):
    text = re.sub(r"/\*.*?\*/", "", tree.text(f"protocol/{table}.def"), flags=re.S)
    owner, found = "", []
    for match in ROW.finditer(text):
        fields = arguments(text, match.end())
        if len(fields) > 1 and fields[-1].startswith('"'):
            fields = fields[:-1]  # what it means, in words
        row = f"{match.group(1)}({', '.join(fields)})"
        if match.group(1).endswith("_BEGIN"):
            owner = fields[0]
        found.append(row if match.group(1).endswith(("_BEGIN", "_END")) or not owner
                     else f"{owner}: {row}")
        if match.group(1).endswith("_END"):
            owner = ""
    return found


def migrations():
    """(problems, how many): the table of migrations against their folder."""
    named = re.findall(r"^MIGRATION\((\w+)\)", tree.text("common/catalog/migrations.def"), re.M)
    there = [path.stem for path in tree.files(".sql", below=("common/catalog/migrations/",))
             if not path.stem.startswith("0000_")]  # the roles, made before the first by who may
    problems = [f"common/catalog/migrations/{name}.sql: stands on one side only, folder or migrations.def"
                for name in sorted(set(named) ^ set(there))]
    problems += [f"common/catalog/migrations.def: {name} is row {at}" for at, name in enumerate(named, 1)
                 if int(name[:4]) != at]
    return problems, len(named)


def main():
    problems, checked = migrations()
    for table in TABLES:
        if not (tree.ROOT / f"protocol/{table}.def").exists():
            continue
        now = rows(table)
        baseline = tree.ROOT / f"tests/lint/baseline/{table}.txt"
        if "--update" in sys.argv:
            baseline.parent.mkdir(exist_ok=True)
            baseline.write_text("\n".join(now) + "\n")
        before = baseline.read_text().splitlines() if baseline.exists() else []
        checked += len(before)
        at = 0
        for row in before:
            if row in now[at:]:
                at = now.index(row, at) + 1
            else:
                problems.append(f"protocol/{table}.def: was changed, moved or taken away: {row}")
    tree.end(problems, f"{checked} rows")


main()
