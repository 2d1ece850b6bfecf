# SPDX-License-Identifier: Apache-2.0
"""Which folder may include which, and which folder is the one home of each client library.
A folder that is not named here may include nothing of ours: name it when it is made."""
import re

import tree

BASE = ["protocol", "common/base"]
ALLOWED = {
    "protocol": ["protocol"],
    "common/base": BASE,
    "common/codec": BASE + ["common/codec"],
    "common/store": BASE + ["common/store"],
    "common/queue": BASE + ["common/queue"],
    "common/catalog": BASE + ["common/catalog"],
    "common/repo": BASE + ["common/repo", "common/codec", "common/store"],
    "scheduler/plan": BASE + ["scheduler/plan"],
    "scheduler/http": BASE + ["scheduler/http"],
    "scheduler/core": BASE + ["scheduler/plan", "scheduler/core", "common/queue", "common/catalog"],
    "scheduler/api": BASE + ["scheduler/plan", "scheduler/core", "scheduler/http", "scheduler/api",
                             "common/queue", "common/catalog"],
    "scheduler/web": ["scheduler/web"],
    "scheduler/ctl": BASE + ["scheduler/ctl"],
    "scheduler": BASE + ["scheduler", "common/queue", "common/catalog"],
    "worker/engine": BASE + ["worker/engine"],
    "worker/job": BASE + ["worker/job", "worker/engine", "common/repo", "common/codec",
                          "common/store", "common/catalog"],
    "worker/once": BASE + ["worker/once", "worker/job", "worker/engine", "common/repo",
                           "common/codec", "common/store"],
    "worker/vault": BASE + ["worker/vault", "common/repo", "common/codec", "common/store"],
    "worker/agent": BASE + ["worker/agent", "worker/job", "worker/engine", "common/queue",
                            "common/catalog"],
    "worker": BASE + ["worker", "common"],
    "tests": ["protocol", "common", "scheduler", "worker", "tests"],
}
# Client library -> where it may be included.
HOMES = {
    r"hiredis/.*": ["common/queue", "worker/engine/redis"],
    r"libpq-fe\.h|libpq/.*": ["common/catalog", "worker/engine/postgresql"],
    r"curl/.*": ["common/base/http", "common/store/s3"],
    r"event2/.*": ["common/base/loop", "scheduler/http", "common/queue"],
    r"yaml\.h": ["common/base/yaml"],
    r"msgpack\.h": ["protocol", "common"],
    r"mysql.*\.h": ["worker/engine/mysql"],
    r"sqlite3\.h": ["worker/engine/sqlite"],
    r"zstd.*\.h|zlib\.h": ["common/codec", "worker/engine", "worker/job", "worker/once"],
    r"sodium\.h": ["common/codec"],
    r"openssl/.*": ["common/base/hash", "common/codec", "common/queue", "common/store/s3",
                    "scheduler/http"],
}
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.M)
GENERATED = re.compile(r"^hf_\w+_assets\.h$")


def folder_of(path):
    """The longest named folder that holds the path."""
    parts = str(path).split("/")[:-1]
    while parts:
        name = "/".join(parts)
        if name in ALLOWED:
            return name
        parts.pop()
    return None


def own_problem(path, target):
    folder = folder_of(path)
    if GENERATED.match(target):
        return None
    if folder is None:
        return f"{path}: its folder has no row in tests/lint/layers.py"
    if not (tree.ROOT / target).is_file():
        return f"{path}: includes \"{target}\"; write it from the root of the tree"
    home = folder_of(target)
    if home == folder or any(home == a or home.startswith(a + "/") for a in ALLOWED[folder]
                             if a in ("common", "scheduler", "worker", "tests") or home == a):
        return None
    return f"{path}: {folder} may not include {target}"


def system_problem(path, target):
    if str(path).startswith("tests/"):
        return None
    for library, homes in HOMES.items():
        if re.fullmatch(library, target) and not any(str(path).startswith(h) for h in homes):
            return f"{path}: <{target}> has its home in {', '.join(homes)}"
    return None


def main():
    problems = []
    sources = tree.files(".c", ".h", ".def")
    for path in sources:
        text = tree.text(path)
        for quote, target in INCLUDE.findall(text):
            if f'__has_include("{target}")' in text and not (tree.ROOT / target).is_file():
                continue
            check = own_problem if quote == '"' else system_problem
            problems.append(check(path, target))
    tree.end([p for p in problems if p], f"{len(sources)} files")


main()
