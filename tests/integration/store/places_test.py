# SPDX-License-Identifier: Apache-2.0
"""A backup in several stores is restored from the best of them; what that one has lost comes from the others in
the middle of it, byte for byte, and everything is said: what was passed over, what came from where."""
import json
import pathlib
import shutil
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from copy_test import Stores, same  # noqa: E402
from installation import wait_until  # noqa: E402


class Places(Stores):
    restored = 0

    def back(self, source):
        """Restores the newest backup of a source through the queue, compares, and gives the job's answer."""
        self.restored += 1
        out = self.top / "restore" / f"back{self.restored}"
        done = self.command("restore", f"{source}@latest", "--to", out, "--yes", "--follow")
        assert done.returncode == 0, done.stdout + done.stderr
        same(self.top / "tree" / source, pathlib.Path(f"{out}{self.top}/tree/{source}"))
        return json.loads(self.catalogue.one("SELECT a.answer FROM job_answer a JOIN job j ON j.id = a.job WHERE j.kind = 'restore' "
                                             "ORDER BY j.id DESC LIMIT 1"))

    def logged(self, event):
        return self.count(f"SELECT count(*) FROM job_log l JOIN job j ON j.id = l.job WHERE j.kind = 'restore' AND l.event = '{event}'")

    def packs(self, store):
        return sorted(pathlib.Path(store).glob("local/packs/*/*"))


def what_is_lost_comes_from_another(place):
    answer = place.back("s2")
    assert answer["from"] == "main" and not answer["elsewhere"] and not answer["passed_over"], answer
    kept = place.top / "kept"
    shutil.copytree(place.store / "local", kept)
    for n, pack in enumerate(place.packs(place.store)):
        if n % 2:
            pack.unlink()
        else:
            content = bytearray(pack.read_bytes())
            content[len(content) // 2] ^= 1
            pack.chmod(0o600)
            pack.write_bytes(content)
    (manifest,) = [path for path in (place.store / "local/manifests").iterdir()]
    manifest.unlink()
    answer = place.back("s2")
    assert answer["from"] == "main" and answer["elsewhere"][0]["store"] == "second", answer
    assert answer["elsewhere"][0]["bytes"] > 0 and answer["elsewhere"][0]["why"], answer
    assert place.logged("restore.elsewhere") == 1
    put_back(place, kept)
    return kept


def put_back(place, kept):
    shutil.rmtree(place.store / "local")
    shutil.copytree(kept, place.store / "local")


def while_it_is_read(place, kept):
    """Packs vanish one after the other while a restore is on its way."""
    def vanish():
        wait_until(lambda: place.count("SELECT count(*) FROM job WHERE kind = 'restore' AND state = 'running'"), what="it runs")
        for pack in place.packs(place.store):
            pack.unlink()
    thread = threading.Thread(target=vanish)
    thread.start()
    answer = place.back("s2")
    thread.join()
    assert answer["damaged"] == 0, answer
    put_back(place, kept)


def a_failed_check_is_remembered(place, kept):
    place.packs(place.store)[0].unlink()
    done = place.command("verify", "s2@latest", "--store", "main", "--follow")
    assert done.returncode == 1, done
    place.must("verify", "s2@latest", "--store", "second", "--follow")
    assert place.places("s2") == {"main": "damaged", "second": "ok", "cloud": "ok"}
    answer = place.back("s2")
    assert answer["from"] == "second" and [row["store"] for row in answer["passed_over"]] == ["main"], answer
    assert "damaged" in answer["passed_over"][0]["why"] and not answer["elsewhere"], answer
    assert place.logged("restore.passed_over") >= 1
    put_back(place, kept)


def a_store_that_is_not_there(place):
    shutil.move(place.second, place.top / "away")
    answer = place.back("s2")
    assert answer["from"] == "cloud" and {row["store"] for row in answer["passed_over"]} == {"main", "second"}, answer
    shutil.move(place.top / "away", place.second)


def main():
    with Places(workers=1, sources=2, files=30, file_bytes=700_000) as place:
        place.complete(place.run("s2"))
        place.copied(2)
        kept = what_is_lost_comes_from_another(place)
        while_it_is_read(place, kept)
        a_failed_check_is_remembered(place, kept)
        a_store_that_is_not_there(place)
        place.server.shutdown()
    print("restores took the best place and said so")


if __name__ == "__main__":
    main()
