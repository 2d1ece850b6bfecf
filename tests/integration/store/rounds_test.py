# SPDX-License-Identifier: Apache-2.0
"""Checks that come due by themselves, through real servers: a schedule's round sees every pack of a source in each
store; a share a day sees each within its time; one that finds damage fails by name, and the next backup heals it,
the old backups with it; what is late or failed is told."""
import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from copy_test import Stores, files_of  # noqa: E402
from installation import wait_until  # noqa: E402

NAMED = ("(SELECT DISTINCT u.no FROM backup_place b, unnest(b.packs) u(no), source s, repository r WHERE s.no = b.source AND r.no = b.repository "
         "AND b.deleted_at IS NULL AND s.name = '{}' AND r.store = '{}')")
NEVER = '"0 0 1 1 *"'


class Checked(Stores):
    def fleet(self, *words):
        text = super().fleet(*words)
        return text.replace("copies: [{store: main}, {store: second}, {store: cloud}]",
                            f"verify: {{stored: {{schedule: {NEVER}, stores: [main], rate: 200MiB/s}}, content: {{schedule: {NEVER}}}}}, "
                            "copies: [{store: main}, {store: second}, {store: cloud}]")

    def rounds(self):
        wait_until(lambda: not self.count("SELECT count(*) FROM job WHERE kind = 'verify' AND finished_at IS NULL"), what="checks ended")

    def due(self, schedule):
        """The schedule's newest slot is due now."""
        before = self.count("SELECT count(*) FROM job WHERE kind = 'verify'")
        self.do(f"UPDATE schedule SET last_slot = clock_timestamp() - interval '400 days' WHERE name LIKE '{schedule}'")
        wait_until(lambda: self.count("SELECT count(*) FROM job WHERE kind = 'verify'") > before, what="a round came due")
        self.rounds()

    def listed(self, source):
        return {(row["level"], row["store"]): row for row in json.loads(self.must("verification", "list", "--source", source, "--json"))}

    def attention(self):
        return [item for item in json.loads(self.command("status", "--json").stdout)["attention"] if item.get("part") == "verification"]


def grow(place, source, name, size=700_000):
    """A file more, too large for a bundle: which files share one depends on what is read again."""
    (place.top / "tree" / source / name).write_bytes(os.urandom(size))


def each_store_is_seen_whole(place):
    for n in range(2):
        grow(place, "s2", f"more{n}")
        place.complete(place.run("s2"))
    place.copied(4)
    assert {row["state"] for row in place.listed("s2").values()} == {"waiting"}, place.listed("s2")
    place.due("verify:%")
    jobs = place.catalogue.rows("SELECT j.state, r.store, j.trigger, j.params -> 'copy' FROM job j JOIN repository r ON r.no = j.repository "
                                "WHERE j.kind = 'verify' AND j.params ->> 'level' = 'content' AND j.state <> 'missed' ORDER BY r.store")
    assert [row[:3] for row in jobs] == [["completed", store, "scheduled"] for store in ("cloud", "main", "second")], jobs
    for store in ("main", "second", "cloud"):
        packs = NAMED.format("s2", store)
        assert place.count(f"SELECT count(*) FROM {packs} n") > 1
        assert not place.count(f"SELECT count(*) FROM pack p WHERE p.no IN {packs} AND (p.verified_at IS NULL OR p.checked_at IS NULL)"), store
        assert place.count("SELECT count(*) FROM verification v JOIN repository r ON r.no = v.repository JOIN job j ON j.id = v.job "
                           f"WHERE v.level = 'content' AND v.result = 'ok' AND j.kind = 'verify' AND r.store = '{store}'") == 2, store
        row = place.listed("s2")[("content", store)]
        assert row["state"] == "ok" and row["seen"] == row["packs"] > 1, row
    assert ("stored", "main") in place.listed("s2") and ("stored", "cloud") not in place.listed("s2")
    assert not place.attention(), place.attention()
    # Both were due at once, and neither stood behind the other.
    assert place.listed("s2")[("stored", "main")]["state"] == "ok", place.listed("s2")


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(raw)


def damage_is_told_and_healed(place):
    """One bit turns in a pack of two backups, and what it held is still in the tree."""
    trees = files_of(place.top / "tree/s2")
    old = place.catalogue.one("SELECT backup_text(b.id) FROM backup b JOIN source s ON s.no = b.source WHERE s.name = 's2' "
                              "ORDER BY sequence DESC LIMIT 1")
    place.complete(place.run("s2"))
    packs = place.catalogue.rows("SELECT p.object FROM backup b JOIN pack p ON p.job = b.job AND p.repository = b.repository "
                                 f"WHERE backup_text(b.id) = '{old}' AND p.kind = 'data'")
    name = packs[0][0]
    flip(place.store / "local/packs" / name[:2] / name)
    failed = place.command("source", "verify", "s2", "--level", "stored", "--store", "main", "--wait")
    assert failed.returncode == 1, failed
    job = place.catalogue.rows("SELECT state, error, attempt, job_text(id) FROM job WHERE kind = 'verify' ORDER BY id DESC LIMIT 1")[0]
    assert job[0] == "failed" and old in job[1] and name in job[1] and job[2] == "1", job
    assert place.count("SELECT count(*) FROM verification WHERE level = 'stored' AND result = 'failed'") == 2, "both backups name the pack"
    assert place.listed("s2")[("stored", "main")]["state"] == "failed"
    assert [item["state"] for item in place.attention()] == ["failed"], place.attention()
    damage = json.loads(place.must("damage", "--json"))
    assert [row["pack"] for row in damage] == [name] and damage[0]["lost_chunks"] > 0 and old in {b["id"] for b in damage[0]["backups"]}, damage
    # A round that finds nothing new still does not call it well.
    assert place.command("source", "verify", "s2", "--level", "stored", "--store", "main", "--wait").returncode == 1
    place.complete(place.run("s2"))
    assert json.loads(place.must("damage", "--json"))[0]["lost_chunks"] == 0, "the next backup stored it again"
    place.must("source", "verify", "s2", "--level", "stored", "--store", "main", "--wait")
    assert place.listed("s2")[("stored", "main")]["state"] == "ok" and not place.attention(), place.listed("s2")
    assert not place.count("SELECT count(*) FROM backup b WHERE NOT place_good(b.id, b.repository) AND b.source = (SELECT no FROM source WHERE name = 's2')")
    out = place.top / "restore" / "healed"
    place.must("restore", old, "--to", out, "--yes", "--follow")
    place.must("verify", old, "--level", "content", "--store", "main", "--wait")
    back = files_of(f"{out}{place.top}/tree/s2")
    assert back == trees, set(back) ^ set(trees)
    place.offline("s2", place.store, "healed-offline")
    flip(place.store / "local/packs" / name[:2] / name)  # as the invariants want it


def older(place, days):
    """So many days pass, for the packs and the rounds of s1."""
    for table, columns in (("pack", ("begun_at", "checked_at", "verified_at")), ("verify_round", ("started_at", "ended_at", "oldest_at")),
                           ("verification", ("started_at", "finished_at"))):
        place.do(f"UPDATE {table} SET " + ", ".join(f"{c} = {c} - interval '{days} days'" for c in columns))


def a_share_a_day(place):
    for n in range(8):
        grow(place, "s1", f"more{n}")
        place.complete(place.run("s1"))
    packs = place.count(f"SELECT count(*) FROM {NAMED.format('s1', 'main')} n")
    total = place.count(f"SELECT sum(bytes) FROM pack WHERE no IN {NAMED.format('s1', 'main')}")
    largest = place.count(f"SELECT max(bytes) FROM pack WHERE no IN {NAMED.format('s1', 'main')}")
    assert packs >= 8, packs
    late = f"SELECT count(*) FROM pack WHERE no IN {NAMED.format('s1', 'main')} AND coalesce(checked_at, begun_at) < clock_timestamp() - interval '4 days'"
    seen = []
    older(place, 1)
    for day in range(12):
        place.must("source", "verify", "s1", "--within", "4d", "--wait")
        looked, size = place.catalogue.rows("SELECT done, done_bytes FROM verify_round ORDER BY job DESC LIMIT 1")[0]
        seen.append(int(looked))
        assert int(size) <= total / 4 + largest + 1 or day < 4, (day, size, total, largest)
        older(place, 0.99)
        assert not place.count(late), f"day {day}"
    assert max(seen) < packs and min(seen) >= 1, seen
    assert place.count("SELECT count(*) FROM verification v JOIN job j ON j.id = v.job JOIN source s ON s.no = j.source "
                       "WHERE s.name = 's1' AND j.kind = 'verify' AND v.result = 'ok' AND v.level = 'stored'") >= 8


def late_is_told(place):
    older(place, 40)
    place.do("UPDATE job SET slot = slot - interval '3 days' WHERE kind = 'verify'")
    place.do("UPDATE schedule SET last_slot = clock_timestamp() - interval '1 day' WHERE name = 'verify:content'")
    place.do("INSERT INTO job(kind, trigger, source, schedule, slot, pool, actor, state, finished_at) SELECT 'verify', 'scheduled', s.no, "
             "'verify:content', clock_timestamp() - interval '2 days', s.pool, 'test', 'missed', clock_timestamp() FROM source s WHERE s.name = 's2'")
    row = place.listed("s2")[("content", "main")]
    assert row["state"] == "overdue" and "has not been" in row["overdue"], row
    assert {(item["state"], item["cause"]["code"]) for item in place.attention()} == {("overdue", "verify.overdue")}, place.attention()
    assert "late" in place.command("status").stdout


def what_is_asked_wrongly(place):
    for words, status, told in ((("s1", "--level", "restore"), 2, "not restore"), (("nobody",), 5, "no source is called nobody"),
                                (("s1", "--store", "second"), 5, "no backup of s1 lies in a store called second"),
                                (("s1", "--within", "soon"), 2, "within")):
        refused = place.command("source", "verify", *words)
        assert refused.returncode == status and told in refused.stderr, (words, refused)


def main():
    with Checked(workers=1, sources=3, files=2, file_bytes=700_000) as place:
        each_store_is_seen_whole(place)
        damage_is_told_and_healed(place)
        what_is_asked_wrongly(place)
        a_share_a_day(place)
        late_is_told(place)
        place.check()
        place.server.shutdown()
    print("every pack was seen in its time")


if __name__ == "__main__":
    main()
