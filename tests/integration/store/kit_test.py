# SPDX-License-Identifier: Apache-2.0
"""`key check` with the kit of another key set: of another name, or of the same name and another set. It says whose the
kit is, whose the repository is, and what to take instead; what is wrong with the repository or the store itself is said
as before."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

WORKER = pathlib.Path(os.environ["HOLDFAST_BUILD"]) / "holdfast-worker"


def tool(*words):
    return subprocess.run([str(WORKER), *map(str, words)], capture_output=True, text=True, check=False)


def must(*words):
    done = tool(*words)
    assert done.returncode == 0, (words, done.stderr)


def refused(top, kit, code, cause, *told, store="store"):
    done = tool("key", "check", "--kit", top / kit, "--store", top / store)
    assert done.returncode == code and f"[{cause}]" in done.stderr, (kit, done.returncode, done.stderr)
    for each in told:
        assert each in done.stderr, (each, done.stderr)


def set_id(path):
    return re.search(r"set id\s*:?\s*([0-9a-f-]{36})", path.read_text())[1]


def main():
    top = pathlib.Path(tempfile.mkdtemp(prefix="hf-kit."))
    try:
        for folder, name in (("a", "local"), ("b", "other"), ("c", "local"), ("store", None)):
            (top / folder).mkdir(mode=0o700)
            if name:
                must("key", "create", name, "--dir", top / folder)
        must("repo", "create", "local", "--store", top / "store", "--kit", top / "a/local.kit", "--keys", top / "a/local.keys")
        must("key", "check", "--kit", top / "a/local.kit", "--store", top / "store")
        refused(top, "b/other.kit", 6, "key.other_set", "key set other", set_id(top / "b/other.kit"), "take the kit")
        refused(top, "c/local.kit", 6, "key.other_set", set_id(top / "a/local.kit"), set_id(top / "c/local.kit"), "take the kit")
        refused(top, "a/local.kit", 5, "store.missing", store="nowhere")
        config = top / "store/local/config"
        config.chmod(0o600)
        config.write_bytes(config.read_bytes()[:-1] + b"x")
        refused(top, "a/local.kit", 1, "repo.key_mismatch", "config")
    finally:
        shutil.rmtree(top)


main()
