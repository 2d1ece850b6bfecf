# SPDX-License-Identifier: Apache-2.0
"""Sessions that write several index objects each, a backup and its copy: the catalogue knows all of them, in each
store; a merge tells a catalogue that lost them again; and all go with the backup, from each store."""
import json
import os

from copy_test import Stores, files_of

MANY = """CREATE FUNCTION many() RETURNS trigger LANGUAGE plpgsql AS
  $$BEGIN
    NEW.params := NEW.params || '{"index_bytes": 1}';
    RETURN NEW;
  END$$;
CREATE TRIGGER many BEFORE INSERT ON holdfast.job FOR EACH ROW EXECUTE FUNCTION many();"""


class Two(Stores):
    def fleet(self, *words):
        return super().fleet(*words).replace(", {store: cloud}]", "]", 1)


def written(place, store):
    return {row[0] for row in place.catalogue.rows(
        "SELECT i.object FROM written_index i JOIN repository r ON r.no = i.repository WHERE i.gone_at IS NULL "
        f"AND r.store = '{store}'")}


def stored(top):
    return {path.name for path in (top / "local/index").iterdir()}


def all_known(place, least):
    for store, top in (("main", place.store), ("second", place.second)):
        assert len(stored(top)) >= least, (store, stored(top))
        assert written(place, store) == {str(name) for name in stored(top)}, (store, written(place, store), stored(top))


def backed_up(place, copies):
    for n in range(4):
        (place.top / "tree/s2" / f"big{n}").write_bytes(os.urandom(10_000_000))
    place.complete(place.run("s2"))
    place.copied(copies)


def told_again(place):
    before = place.catalogue.rows("SELECT repository, object, backup, packs FROM written_index ORDER BY object")
    place.do("DELETE FROM written_index")
    for store in ("main", "second"):
        place.must("catalogue", "merge", store, "--wait")
    place.must("retention", "resume", "--reason", "a test")
    after = place.catalogue.rows("SELECT repository, object, backup, packs FROM written_index ORDER BY object")
    assert [row[:3] for row in before] == [row[:3] for row in after], (before, after)


def gone_everywhere(place, first):
    place.must("backup", "delete", "s2@latest~1", "--reason", "a test", "--wait")
    for store in ("main", "second"):
        place.must("prune", store, "--reason", "a test", "--wait")
    for top, was in ((place.store, first["main"]), (place.second, first["second"])):
        assert not stored(top) & was, "what the first backup had is gone"
    all_known(place, 4)
    for store in ("main", "second"):
        place.must("prune", store, "--orphans", "--wait")
    assert not place.count("SELECT count(*) FROM orphan"), place.catalogue.rows("SELECT name, why FROM orphan")
    assert json.loads(place.must("backup", "list", "--source", "s2", "--json"))
    tree = files_of(place.top / "tree/s2")
    for store, top in (("main", place.store), ("second", place.second)):
        place.offline("s2", top, f"last-{store}")
    assert tree


def main():
    with Two(workers=1, sources=3, files=3, file_bytes=10_000, prune=True) as place:
        place.sql_in("holdfast", MANY)
        backed_up(place, 1)
        all_known(place, 4)
        first = {"main": stored(place.store), "second": stored(place.second)}
        backed_up(place, 2)
        all_known(place, 8)
        told_again(place)
        gone_everywhere(place, first)
        place.check()
        place.server.shutdown()
    print("all index objects of each session were known, told again and removed")


if __name__ == "__main__":
    main()
