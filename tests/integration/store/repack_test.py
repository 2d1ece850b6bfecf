# SPDX-License-Identifier: Apache-2.0
"""`holdfast prune --repack` from the command line through queue and worker: of a directory whose packs are each a
fifth dead, what is needed moves, a budget of bytes a run, the deadest first, until at most repack_max_unused of it is
unused; a dry run tells it before. What is left on the disk is no more than the tree itself and that share, and the
tree comes back, with the catalogue and without. A worker that may not read is told so."""
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests/harness"), str(pathlib.Path(__file__).parent)]
from installation import BUILD, Installation, wait_until  # noqa: E402
from copy_test import same  # noqa: E402

FOLDERS, FILES, SIZE = 8, 5, 600_000
NEEDED = FOLDERS * FILES * SIZE
BUDGET = 7_000_000


class Place(Installation):
    def command(self, *words):
        return subprocess.run([str(BUILD / "holdfast"), *map(str, words)], capture_output=True, text=True, timeout=180, check=False,
                              env={**os.environ, "HOLDFAST_SERVER": f"http://127.0.0.1:{self.api_c1}",
                                   "HOLDFAST_TOKEN_FILE": str(self.top / "secrets/token")})

    def must(self, *words):
        done = self.command(*words)
        assert done.returncode == 0, (words, done.stdout + done.stderr)
        return done.stdout

    def pruned(self, *words):
        """What the job reports at its end."""
        self.must("prune", "main", *words, "--follow")
        job = int(self.catalogue.one("SELECT max(id) FROM job WHERE kind = 'prune'"))
        self.complete(job)
        return self.call("GET", f"/jobs/{self.catalogue.one(f'SELECT job_text({job})')}")["answer"]

    def stored(self):
        """Bytes of packs on the disk."""
        return sum(path.stat().st_size for path in (self.store / "local/packs").rglob("*") if path.is_file())

    def set(self, **settings):
        for name, value in settings.items():
            self.do(f"UPDATE setting SET value = {value} WHERE name = '{name}'")

    def back_up(self):
        self.complete(self.run("s1"))


def a_fifth_of_each_pack_is_dead(place):
    tree = place.top / "tree/s1"
    for path in tree.iterdir():
        path.unlink()
    for folder in range(FOLDERS):
        (tree / f"d{folder}").mkdir()
        for number in range(FILES):
            (tree / f"d{folder}/f{number}").write_bytes(os.urandom(SIZE))
        place.back_up()
    for folder in range(FOLDERS):
        (tree / f"d{folder}/f0").write_bytes(os.urandom(SIZE))
    place.back_up()
    for old in place.catalogue.one("SELECT string_agg(backup_text(id), ' ' ORDER BY sequence) FROM backup WHERE gone_at IS NULL").split()[:-1]:
        place.must("backup", "delete", old, "--reason", "a test", "--wait")
    wait_until(lambda: place.count("SELECT count(*) FROM backup WHERE gone_at IS NULL") == 1, what="the others are forgotten")


def only_half_dead_ones_go_while_much_may_be_unused(place):
    place.set(repack_max_unused=1)
    done = place.pruned("--repack")
    assert done["looked"] >= FOLDERS, done
    assert place.stored() > 1.15 * NEEDED, place.stored()
    assert done["half_dead"] == 0 and done["would_repack"] == 0, done
    assert 0.15 < done["unused_bytes"] / done["named_bytes"] < 0.18, done


def a_dry_run_tells_what_a_run_would_take(place):
    place.set(repack_max_unused=0.05, repack_bytes=BUDGET)
    before = place.stored()
    told = place.pruned("--dry-run")
    assert told["would_repack"] == 3 and told["looked"] == 0, told
    text = json.loads(place.must("job", "show", place.catalogue.one("SELECT job_text(max(id)) FROM job"), "--json"))
    assert "16.7 % of the rest is known to be unused" in json.dumps(text), text
    assert place.stored() == before
    return told["would_repack_free"]


def each_run_moves_a_budget_until_little_is_unused(place, first_frees):
    runs, sizes = 0, [place.stored()]
    while True:
        done = place.pruned("--repack")
        runs += 1
        if done["repacked"] == 0:
            break
        assert done["repacked_bytes"] < BUDGET + 1.1 * FILES * SIZE, done
        sizes.append(place.stored())
        assert runs < 8, sizes
    freed = sizes[0] - sizes[1]
    assert 0.9 * first_frees < freed < 1.1 * first_frees, (first_frees, sizes)
    # Three, three, none: what is dead of the other two is a twenty-first of all.
    assert runs == 3, sizes
    assert sizes[-1] < NEEDED / 0.95 and place.stored() == sizes[-1], sizes
    assert done["unused_bytes"] / done["named_bytes"] <= 0.05 and done["would_repack"] == 0, done
    assert done["unused_bytes"] > 0, done
    return sizes


def the_tree_comes_back(place):
    tree = place.top / "tree/s1"
    out = place.top / "restore/through"
    place.must("restore", "s1@latest", "--to", out, "--yes", "--follow")
    same(tree, pathlib.Path(f"{out}{tree}"))
    out = place.top / "restore/without"
    place.tool("once", "restore", "latest", "--source", "s1", "--store", place.store, "--key-set", "local", "--keys", place.top / "keys", "--to", out)
    same(tree, pathlib.Path(f"{out}{tree}"))
    place.back_up()
    assert place.count("SELECT new_bytes FROM backup ORDER BY sequence DESC LIMIT 1") < 10_000, "what was moved is shared"


def who_may_not_prune_or_read_is_named(place):
    """The job waits, and `job show`, `why` and the API say for which login."""
    def told(words):
        done = place.must("prune", "main", *words)
        job = place.catalogue.one("SELECT job_text(max(id)) FROM job WHERE kind = 'prune'")
        assert job in done, done
        shown = place.must("job", "show", job)
        by_api = json.dumps(place.call("GET", f"/jobs/{job}"))
        place.must("job", "cancel", job, "--reason", "a test")
        return shown, by_api

    place.do("UPDATE worker SET reader = false")
    for text in told(["--repack"]):
        assert "w1 lacks reader login (enroll it with --reader)" in text, text
    place.do("SELECT enroll_pruner('w1', false)")
    for text in told([]):
        assert "w1 lacks prune login (enroll it with --prune)" in text, text
    place.do("UPDATE worker SET reader = true")
    place.do("SELECT enroll_pruner('w1', true)")


def main():
    with Place(workers=1, sources=1, files=1, file_bytes=1000, prune=True) as place:
        place.set(prune_every_s=8640000, collect_few=100000)
        a_fifth_of_each_pack_is_dead(place)
        only_half_dead_ones_go_while_much_may_be_unused(place)
        frees = a_dry_run_tells_what_a_run_would_take(place)
        sizes = each_run_moves_a_budget_until_little_is_unused(place, frees)
        the_tree_comes_back(place)
        who_may_not_prune_or_read_is_named(place)
        place.check()
    print(f"{NEEDED} bytes needed; packs were {' -> '.join(map(str, sizes))}")


if __name__ == "__main__":
    main()
