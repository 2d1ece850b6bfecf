# SPDX-License-Identifier: Apache-2.0
"""A name stands for the newest backup that nothing is known against, and says which it passed over; `dr plan` and `dr run`
take several sources from one file onto empty targets, in order, timed, judged and reported. All through real servers."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from place_test import Placed  # noqa: E402


def flip(place, backup):
    """The middle of every data pack that this backup alone brought."""
    for pack, in place.catalogue.rows(f"SELECT p.object FROM backup b JOIN pack p ON p.no = ANY (b.packs) AND p.job = b.job "
                                      f"WHERE b.id = '{backup}' AND p.kind = 'data'"):
        path, = place.store.glob(f"local/packs/*/{pack}")
        whole = bytearray(path.read_bytes())
        whole[len(whole) // 2] ^= 0xff
        path.chmod(0o600)
        path.write_bytes(bytes(whole))


def newest(place, source):
    return place.catalogue.rows(f"SELECT b.id, backup_text(b.id) FROM backup b JOIN source s ON s.no = b.source WHERE s.name = '{source}' "
                                "ORDER BY b.consistent_at DESC LIMIT 1")[0]


def a_damaged_one_is_passed_over(place):
    good = newest(place, "bank")[1]
    place.ask("INSERT INTO account SELECT i, 1, repeat(md5(i::text), 20) FROM generate_series(50000, 52000) i")
    place.complete(place.run("bank"))
    bad, named = newest(place, "bank")
    flip(place, bad)
    assert place.command("verify", named, "--level", "content", "--wait").returncode != 0
    for words in (("bank",), ("bank@latest",)):
        plan = place.command("restore", *words, "--to", "bank_found", "--plan")
        assert plan.returncode == 0 and f"skipped {named}: main: " in plan.stderr and good in plan.stderr, plan
    done, job = place.restore("bank", "--to", "bank_found")
    assert done.returncode == 0 and job["backup"] == good and job["answer"]["skipped"][0]["backup"] == named, (done, job)
    refused = place.command("restore", named, "--to", "bank_bad", "--yes", "--wait")
    assert refused.returncode != 0 and "bank_bad" not in place.databases(), refused
    place.ask("DROP DATABASE bank_found", "postgres")
    # One that was made under suspicion too, until somebody says that it is good.
    place.must("source", "suspect", "s1", "--reason", "who encrypted this?")
    place.complete(place.run("s1"))
    plan = json.loads(place.must("restore", "s1", "--to", place.top / "restore/s", "--plan", "--json"))
    assert plan["backup"] != newest(place, "s1")[1] and "who encrypted this?" in plan["skipped"][0]["why"], plan
    place.must("retention", "resume", "--source", "s1", "--reason", "looked at it")


def none_is_good(place):
    for row in place.catalogue.rows("SELECT b.id FROM backup b JOIN source s ON s.no = b.source WHERE s.name = 's2'"):
        place.do(f"UPDATE pack SET damaged_at = clock_timestamp() WHERE no IN (SELECT unnest(packs) FROM backup WHERE id = '{row[0]}')")
    refused = place.command("restore", "s2", "--to", place.top / "restore/none", "--plan")
    assert refused.returncode == 6 and "backup.none_good" in refused.stderr and "name one by its id" in refused.stderr, refused
    missing = place.command("restore", "nobody", "--to", place.top / "restore/none", "--plan")
    assert missing.returncode == 5 and "nobody" in missing.stderr, missing


def write(place, text):
    path = place.top / "drill.yaml"
    path.write_text(text)
    return path


def a_drill(place):
    out, report = place.top / "restore/drill", place.top / "report.json"
    plan = write(place, f"version: 1\nrto: 20m\nsteps:\n  - {{name: database, restore: bank, to: bank_drill, rto: 10m, least: {{tables: 4, rows: 20502}}}}\n"
                        f"  - {{name: uploads, restore: s1@latest, to: {out}, least: {{entries: 24}}}}\n")
    shown = place.must("dr", "plan", plan)
    assert "can begin" in shown and "database" in shown and not out.exists() and "bank_drill" not in place.databases(), shown
    told = place.must("dr", "run", plan, "--yes", "--out", report, "--reason", "quarterly drill")
    assert "restored: it took" in told and "rto 20m" in told and "met" in told, told
    wrote = json.loads(report.read_text())
    first, second = wrote["steps"]
    assert wrote["schema"] == "holdfast.dr/1" and wrote["verdict"] == "restored" and wrote["rto_met"] is True, wrote
    assert first["state"] == second["state"] == "ok" and first["rto_met"] is True and first["seconds"] > 0, wrote
    assert first["counts"]["tables"] == 4 and second["counts"]["as_backed_up"] is True, wrote
    assert place.ask("SELECT count(*) FROM account", "bank_drill") >= "20000" and len(list(out.rglob("f0*"))) == 24
    assert place.count("SELECT count(*) FROM audit_event WHERE action = 'restore.start' AND reason = 'quarterly drill'") == 2
    # Not empty any more: the whole is refused, though the other step could begin.
    again = write(place, plan.read_text().replace("bank_drill", "bank_drill_2"))
    refused = place.command("dr", "run", again, "--yes")
    assert refused.returncode == 6 and "1 of 2 steps cannot begin" in refused.stderr and "bank_drill_2" not in place.databases(), refused
    # A step that brings less than was asked for ends it, and what comes after is not begun.
    less = write(place, f"version: 1\nsteps:\n  - {{name: database, restore: bank, to: bank_less, least: {{rows: 1000000}}}}\n"
                        f"  - {{name: uploads, restore: s1, to: {place.top}/restore/less}}\n")
    failed = place.command("dr", "run", less, "--yes", "--json")
    wrote = json.loads(failed.stdout)
    assert failed.returncode != 0 and [row["state"] for row in wrote["steps"]] == ["failed", "not begun"], failed
    assert wrote["steps"][0]["error"]["cause"] == "dr.least" and not (place.top / "restore/less").exists(), wrote
    for wrong, word in (("version: 1\nsteps: []\n", "steps"), ("version: 1\nsteps: [{name: a, restore: bank, to: x}, {name: a, restore: s1, to: y}]\n", "twice"),
                        ("version: 1\nsteps: [{name: a, restore: s1, to: /x/y/}, {name: b, restore: s1, to: /x//./y/z}]\n", "within"),
                        ("version: 1\nsteps: [{name: a, restore: s1, to: /x/y/z}, {name: b, restore: s1, to: /x/y/}]\n", "within"),
                        ("version: 1\nsteps: [{name: a, restore: bank, in_place: true}]\n", "in_place")):
        bad = place.command("dr", "plan", write(place, wrong))
        assert bad.returncode == 9 and word in bad.stderr and "nothing was done" in bad.stderr, bad


def main():
    with Placed(workers=1, sources=2, retry="attempts: 1") as place:
        place.complete(place.run("s1"), place.run("s2"), place.run("bank"))
        a_drill(place)
        a_damaged_one_is_passed_over(place)
        none_is_good(place)
    print("names stand for good backups, and drills say what came back")


if __name__ == "__main__":
    main()
