# SPDX-License-Identifier: Apache-2.0
"""What may happen to a copy on its way: kill -9 in the middle costs what was under way and nothing else, a cancel
ends it and nothing is half there, a rate is kept, and what is damaged where it is read is never copied."""
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from copy_test import Stores, packs_of  # noqa: E402
from installation import wait_until  # noqa: E402

BACKUPS = 40


class Copied(Stores):
    def fleet(self, *words):
        """The second store takes 4 MiB a second."""
        return super().fleet(*words).replace("second: {type: local,", "second: {type: local, max_rate: 4MiB/s,")

    def copy(self, source="s1"):
        self.must("backup", "copy", f"{source}@latest", "--to", "second")
        return self.count("SELECT max(id) FROM job WHERE kind = 'copy'")

    def sent(self, job):
        """Bytes of the packs that a copy job has ever sent whole, and of those that its copy names."""
        return (self.count(f"SELECT coalesce(sum(bytes), 0) FROM pack WHERE job = {job} AND sha256 IS NOT NULL"),
                self.count(f"SELECT coalesce(sum(p.bytes), 0) FROM backup_copy c JOIN pack p ON p.no = ANY (c.packs) WHERE c.job = {job}"))


def a_killed_copy_goes_on(place):
    """The worker's children die when they have staged six of ten packs; the next attempt sends the rest."""
    for n in range(BACKUPS):
        (place.top / "tree/s1" / f"more{n}").write_bytes(os.urandom(600_000))
        place.complete(place.run("s1"))
    total = place.count("SELECT cardinality(packs) FROM backup ORDER BY committed_at DESC LIMIT 1")
    assert total >= BACKUPS, total
    place.kill("w1")
    place.hire("w2", {"HOLDFAST_CRASHPOINT": str(total * 6 // 10), "HOLDFAST_CRASHPOINT_ONLY": "copy.staged"})
    job = place.copy()
    place.complete(job)
    place.copied(1)
    assert place.attempts(job) == 2, place.attempts(job)
    sent, needed = place.sent(job)
    tried = place.count(f"SELECT count(*) FROM pack WHERE job = {job}")
    assert sent == needed, (sent, needed)
    assert total <= tried <= total * 1.05 + 4, (tried, total)  # four lanes were under way
    assert place.count(f"SELECT new_bytes FROM backup_copy WHERE job = {job}") <= needed * 0.45
    place.offline("s1", place.second, "after-a-kill")


def a_rate_is_kept_and_a_cancel_ends_it(place):
    (place.top / "tree/s2/large").write_bytes(os.urandom(40_000_000))
    place.complete(place.run("s2"))
    job = place.count("SELECT max(id) FROM job WHERE kind = 'copy' AND params ->> 'store' = 'second'")
    wait_until(lambda: place.count(f"SELECT count(*) FROM lease WHERE job = {job} AND bytes_done > 0"), what="it moves")
    before, at = place.count(f"SELECT bytes_done FROM lease WHERE job = {job}"), time.monotonic()
    time.sleep(4)
    moved = (place.count(f"SELECT coalesce(max(bytes_done), 0) FROM lease WHERE job = {job}") - before) / (time.monotonic() - at)
    assert place.state(job) == "running", "the rate was not kept: it is over"
    assert moved < 8 << 20, moved
    place.must("job", "cancel", place.catalogue.one(f"SELECT job_text({job})"), "--reason", "a test")
    wait_until(lambda: place.state(job) == "cancelled", what="it is cancelled")
    assert place.count(f"SELECT count(*) FROM backup_copy WHERE job = {job}") == 0
    again = place.copy("s2")
    place.complete(again)
    place.offline("s2", place.second, "after-a-cancel")


def what_is_damaged_is_not_copied(place):
    (place.top / "tree/s1/last").write_bytes(os.urandom(300_000))
    before = packs_of(place.second / "local")
    place.complete(place.run("s1"))
    newest = max((place.store / "local").glob("packs/*/*"), key=lambda path: path.stat().st_mtime)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.chmod(0o600)
    newest.write_bytes(content)
    job = place.copy()
    wait_until(lambda: place.count(f"SELECT count(*) FROM job_attempt WHERE job = {job} AND cause = 'copy.damaged'"), what="it is noticed")
    assert place.count("SELECT count(*) FROM pack WHERE damaged_at IS NOT NULL") == 1
    assert place.count(f"SELECT count(*) FROM backup_copy WHERE job = {job}") == 0
    assert set(before) <= set(packs_of(place.second / "local"))
    assert newest.name not in " ".join(packs_of(place.second / "local").values())
    place.must("job", "cancel", place.catalogue.one(f"SELECT job_text({job})"), "--reason", "a test")


def a_damaged_manifest_is_not_copied(place):
    (place.top / "tree/s1/one").write_bytes(os.urandom(100_000))
    place.complete(place.run("s1"))
    newest = max((place.store / "local/manifests").iterdir(), key=lambda path: path.stat().st_mtime)
    whole = newest.read_bytes()
    newest.chmod(0o600)
    newest.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    job = place.copy()
    wait_until(lambda: place.count(f"SELECT count(*) FROM job_attempt WHERE job = {job} AND cause = 'copy.damaged' "
                                   f"AND error LIKE '%manifests/{newest.name}%'"), what="the manifest is named")
    assert not (place.second / "local/manifests" / newest.name).exists()
    newest.write_bytes(whole)
    place.complete(job)
    assert (place.second / "local/manifests" / newest.name).read_bytes() == whole


def main():
    with Copied(workers=1, sources=3, files=4, file_bytes=50_000) as place:
        a_killed_copy_goes_on(place)
        a_rate_is_kept_and_a_cancel_ends_it(place)
        a_damaged_manifest_is_not_copied(place)
        what_is_damaged_is_not_copied(place)
        place.server.shutdown()
    print("copies survived what may happen to them")


if __name__ == "__main__":
    main()
