# SPDX-License-Identifier: Apache-2.0
"""A file has at most 600 lines. A function has at most 60, measured between its braces in column
0; up to 100 when long.txt names it with its reason, more never."""
import re

import tree

FILE_MOST, FUNCTION_MOST, FUNCTION_STOP = 600, 60, 100


def reasons():
    rows = {}
    for line in tree.text("tests/lint/long.txt").splitlines():
        if line and not line.startswith("#"):
            name, reason = line.split(None, 1)
            rows[name] = reason
    return rows


def functions(lines):
    """(name, first line, lines of the body) of each brace pair in column 0 that is a function."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line.startswith("}") and start is not None:
            head = " ".join(lines[max(0, start - 8):start - 1])
            name = re.findall(r"(\w+)\s*\(", head)
            yield (name[-1] if name else "?"), start, number - start - 1
            start = None


def name_of(lines, start):
    """The name of the function whose brace is at line `start`: the last line in column 0 above."""
    for line in reversed(lines[:start - 1]):
        found = re.match(r"[A-Za-z_].*?(\w+)\(", line)
        if found:
            return found.group(1)
    return "?"


def main():
    problems = []
    allowed = reasons()
    seen = set()
    sources = tree.files(".c", ".h", ".lua", ".py", ".sql")
    for path in sources:
        lines = tree.text(path).splitlines()
        if len(lines) > FILE_MOST:
            problems.append(f"{path}: {len(lines)} lines; {FILE_MOST} is the most")
        if path.suffix != ".c":
            continue
        for _, start, length in functions(lines):
            name = name_of(lines, start)
            seen.add(name)
            if length > FUNCTION_STOP:
                problems.append(f"{path}:{start}: {name} has {length} lines; {FUNCTION_STOP} is the stop")
            elif length > FUNCTION_MOST and name not in allowed:
                problems.append(f"{path}:{start}: {name} has {length} lines; {FUNCTION_MOST} is the most")
    problems += [f"tests/lint/long.txt: {name} is no function" for name in allowed if name not in seen]
    tree.end(problems, f"{len(sources)} files, {len(seen)} functions")


main()
