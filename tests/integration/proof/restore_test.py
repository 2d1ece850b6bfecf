# SPDX-License-Identifier: Apache-2.0
"""Backups are proved by restoring them, through real servers: a tree into a folder, a database into a throw-away server;
what is there is compared with what the backup says; the ledger, the command and the status tell it."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from stand import Proving, wait_until  # noqa: E402


def by_hand(place):
    place.complete(place.run("s1"), place.run("bank"))
    assert place.proof("s1")["verdict"] == "never" and place.proof("bank")["verdict"] == "never"
    checks = place.proved("s1", "ok")
    assert checks["files"] == 24 and checks["bytes"] == 24 * 60000 and checks["different"] == 0, checks
    checks = place.proved("bank", "ok", level="query")
    assert checks["tables"] == 4 and checks["rows"] == 20502 and checks["amcheck"] is True, checks
    assert [each["ok"] for each in checks["queries"]] == [True, True], checks
    checks = place.proved("bank", "ok")
    assert "queries" not in checks, "restore asks nothing"


def ledger(place):
    row = place.proof("bank")
    assert row["verdict"] == "ok" and row["rto_met"] is True and row["rto_seconds"] == 3600 and row["tables"] == 4, row
    assert 0 < row["seconds"] <= row["ready_seconds"] < 600 and row["worker"] == "w1" and row["store"] == "main", row
    own = place.catalogue.one(f"SELECT system_identifier FROM pg_control_system()")
    assert row["server_pid"] > 0 and row["system_identifier"] not in (None, own) and row["server_version"].startswith("1"), row
    shown = place.must("proof")
    assert "bank" in shown and "s1" in shown and "ok" in shown, shown
    assert not [each for each in json.loads(place.must("status", "--json"))["attention"] if each.get("part") == "proof"]
    assert "each of 2 sources was proved" in place.command("doctor").stdout, place.command("doctor").stdout


def by_schedule(place):
    before = place.count("SELECT count(*) FROM verification WHERE level IN ('restore', 'query')")
    place.do("UPDATE schedule SET last_slot = clock_timestamp() - interval '400 days' WHERE name = 'verify:restore'")
    wait_until(lambda: place.count("SELECT count(*) FROM verification WHERE level IN ('restore', 'query')") == before + 2, seconds=900, what="two proofs")
    wait_until(lambda: not place.count("SELECT count(*) FROM job WHERE kind = 'verify' AND finished_at IS NULL"), seconds=900, what="proofs ended")
    rows = place.catalogue.rows("SELECT s.name, j.state, v.level, v.result, j.trigger FROM job j JOIN verification v ON v.job = j.id "
                                "JOIN source s ON s.no = j.source WHERE j.schedule = 'verify:restore' ORDER BY 1")
    assert [row[:5] for row in rows] == [["bank", "completed", "query", "ok", "scheduled"], ["s1", "completed", "restore", "ok", "scheduled"]], rows
    assert json.loads(place.must("verification", "list", "--json")) == [], "proofs are no rounds"
    place.clean()


def main():
    with Proving(workers=1, sources=1) as place:
        by_hand(place)
        ledger(place)
        by_schedule(place)
        place.check()
    print("backups were proved by restoring them")


if __name__ == "__main__":
    main()
