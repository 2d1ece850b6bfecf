# SPDX-License-Identifier: Apache-2.0
"""What documents print from tables is current: the text between
    <!-- printed by: PROGRAM WORDS... -->  and  <!-- end -->
is what that program of the build folder prints. docs.py BUILD --update rewrites it."""
import pathlib
import re
import subprocess
import sys

import tree

BLOCK = re.compile(r"(<!-- printed by: ([^\n]+?) -->\n)(.*?)(<!-- end -->)", re.S)


def printed(build, words):
    program, *rest = words.split()
    done = subprocess.run([build / program, *rest], capture_output=True, text=True, check=True)
    return "\n" + done.stdout.strip() + "\n\n"


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    problems, count = [], 0
    for path in tree.files(".md"):
        text = tree.text(path)
        fresh = BLOCK.sub(lambda m: m.group(1) + printed(build, m.group(2)) + m.group(4), text)
        count += len(BLOCK.findall(text))
        if fresh == text:
            continue
        if "--update" in sys.argv:
            (tree.ROOT / path).write_text(fresh, encoding="utf-8")
        else:
            problems.append(f"{path}: not what the programs print now; tests/lint/docs.py BUILD --update")
    tree.end(problems, f"{count} printed blocks")


main()
