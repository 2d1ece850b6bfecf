# SPDX-License-Identifier: Apache-2.0
"""Words that may not stand in the tree: functions of libc that cannot be used safely (of a condition wait.h
says why), unfinished
business, places of somebody's machine, documents that are not here. Every source begins with its
licence line."""
import re

import tree

CODE = (".c", ".h")
PRODUCT = ("protocol/", "common/", "scheduler/", "worker/")
FUNCTIONS = re.compile(
    r"\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|system|popen|rand|srand|random|"
    r"tmpnam|mktemp|setjmp|longjmp|alloca|asctime|ctime|localtime|gmtime|strerror|pthread_cond_wait)\s*\(")
ANYWHERE = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|/work/(?:wt|main|plan|shared)|/home/\w+/")
DOCUMENT = re.compile(r"\b([A-Z]{4,}\.md)\b")
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"", re.S)


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def problems_of(path, present):
    text = tree.text(path)
    if path.suffix in CODE and str(path).startswith(PRODUCT):
        bare = COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)
        for found in FUNCTIONS.finditer(bare):
            yield f"{path}:{line_of(bare, found.start())}: {found.group(1)} is not used here"
    if path.suffix in CODE:
        if "SPDX-License-Identifier: Apache-2.0" not in text.split("\n", 1)[0]:
            yield f"{path}:1: the first line is the SPDX line"
    for found in ANYWHERE.finditer(text):
        yield f"{path}:{line_of(text, found.start())}: '{found.group()}'"
    for found in DOCUMENT.finditer(text):
        if found.group(1) not in present:
            yield f"{path}:{line_of(text, found.start())}: {found.group(1)} is not in this tree"
    if path.name in ("util.c", "util.h", "utils.c", "helpers.c", "misc.c"):
        yield f"{path}: name the idea"


def main():
    every = tree.files()
    present = {path.name for path in every}
    suffixes = CODE + (".def", ".md", ".sql", ".lua", ".sh", ".py", ".txt", ".cmake", ".yaml", "")
    checked = [p for p in every if p.suffix in suffixes and p.name != "words.py"]
    tree.end([problem for path in checked for problem in problems_of(path, present)],
             f"{len(checked)} files")


main()
