# SPDX-License-Identifier: Apache-2.0
"""What `cmake --install` puts in place: the three programs, manual pages that groff has nothing to say
about and that name every verb, every flag and every option, and the completions."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import tree

PAGES = {"holdfast": ("man1", 1), "holdfast-scheduler": ("man8", 8), "holdfast-worker": ("man8", 8)}
NAMES = {
    "holdfast": [("scheduler/ctl/verbs.def", r'^VERB\(\w+, "([^"]+)"', "holdfast {}"),
                 ("scheduler/ctl/flags.def", r'^FLAG\(\w+, \w+, "([^"]+)"', "{}")],
    "holdfast-scheduler": [("scheduler/options.def", r"^OPTION\(\w+, (\w+)", "{}")],
    "holdfast-worker": [("worker/options.def", r"^OPTION\(\w+, (\w+)", "{}")],
}
OTHERS = ["bin/holdfast", "sbin/holdfast-scheduler", "sbin/holdfast-worker", "share/zsh/site-functions/_holdfast",
          "share/bash-completion/completions/holdfast", "share/fish/vendor_completions.d/holdfast.fish"]


def rendered(page):
    """(text, warnings) of a page as a reader sees it."""
    done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", str(page)], capture_output=True, text=True,
                          env=dict(os.environ, MANWIDTH="100", LC_ALL="C.UTF-8", MANPAGER="cat"), check=False)
    return re.sub(r"\x1b\[[0-9;]*m|.\x08", "", done.stdout), done.stderr


def check_page(place, program, problems):
    folder, section = PAGES[program]
    page = place / "share/man" / folder / f"{program}.{section}"
    if not page.is_file():
        problems.append(f"{page.name} is not installed")
        return
    text, warnings = rendered(page)
    problems += [f"{page.name}: {line}" for line in warnings.splitlines()]
    flat = " ".join(text.replace("\u2010\n", "").split())
    for path, row, form in NAMES[program]:
        for name in re.findall(row, tree.text(path), re.M):
            words = form.format(name.replace("_", "-") if form == "{}" else name)
            if words not in flat:
                problems.append(f"{page.name}: says nothing of {words}")


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    problems = []
    with tempfile.TemporaryDirectory(prefix="hf-man.") as home:
        place = pathlib.Path(home)
        done = subprocess.run(["cmake", "--install", str(build), "--prefix", home], capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            problems.append(done.stderr)
        for program in PAGES:
            check_page(place, program, problems)
        problems += [f"{name} is not installed" for name in OTHERS if not (place / name).is_file()]
    tree.end(problems, f"{len(PAGES)} pages")


main()
