# SPDX-License-Identifier: Apache-2.0
"""foo.c exports only foo_*: read from the symbols of every static library. A module that was split
by verb (repo_write.c) may export its module's prefix too (repo_*)."""
import pathlib
import re
import sys

import tree

# Files whose types have names of their own.
MORE = {"ids.c": ["uuid_"], "statement.c": ["catalog_"]}


def prefixes(source):
    words = source[:-2].lower().split("_")
    found = ["_".join(words[:count]) for count in range(len(words), 0, -1)]
    return found + [p.rstrip("_") for p in MORE.get(source, [])]


def fits(symbol, source):
    lower = symbol.lower()
    return any(lower == p or lower.startswith(p + "_") for p in prefixes(source))


def main():
    build = pathlib.Path(sys.argv[1])
    problems = []
    libraries = sorted(build.rglob("libhf_*.a"))
    count = 0
    for library in libraries:
        member = ""
        for line in tree.output("nm", "-g", "--defined-only", str(library)).splitlines():
            if re.fullmatch(r"\S+\.c\.o:", line):
                member = line[:-len(".o:")]
            fields = line.split()
            generated = member.endswith("_assets.c") or member.endswith("_empty.c")
            if len(fields) != 3 or generated:
                continue
            count += 1
            symbol = fields[2]
            if not symbol.startswith("__") and not fits(symbol, member):
                problems.append(f"{library.name}({member}): exports {symbol}")
    if not libraries:
        problems.append(f"no library below {build}: build first")
    tree.end(problems, f"{count} symbols of {len(libraries)} libraries")


main()
