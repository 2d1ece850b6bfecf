# SPDX-License-Identifier: Apache-2.0
"""The catalogue is lost, or set back to an earlier day, and told again from the store."""
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time

from catalogue_faults import standby_do, standby_has
from installation import BUILD, Installation, Postgres, wait_until
from settings import short_or

RESTORE_SET = ("SELECT s.name, b.id, b.sequence, b.outcome, encode(b.manifest_sha256, 'hex'), b.index_object, encode(b.index_sha256, 'hex'), "
               "b.consistent_at, b.position, b.receipt, b.entries, b.bytes, b.stored_bytes, b.new_bytes, b.parent, b.schedule, b.slot, "
               "b.policy, b.key_set, b.issue_count, (SELECT string_agg(p.object::text || encode(p.sha256, 'hex') || p.domain, ' ' "
               "ORDER BY p.object) FROM pack p WHERE p.no = ANY (b.packs)) FROM backup b JOIN source s ON s.no = b.source "
               "WHERE b.deleted_at IS NULL ORDER BY b.id")


def trees(root):
    """{path: sha256} of the files of a tree."""
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(root.rglob("*")) if p.is_file()}


def grown(place, source, seed):
    """Changes a tree a little, and says what it is now."""
    chance = random.Random(seed)
    tree = place.top / "tree" / source
    (tree / f"new-{seed}").write_bytes(chance.randbytes(chance.randrange(1, 300000)))
    if seed % 3 == 0:
        victim = chance.choice(sorted(p for p in tree.iterdir() if p.is_file()))
        victim.write_bytes(chance.randbytes(1000))
    return trees(tree)


def history(place, rounds):
    """Backups of all sources, each after a change: {backup: its tree}."""
    expected = {}
    for number in range(rounds):
        now = {source: grown(place, source, number) for source in place.sources}
        place.complete(*[place.run(source) for source in place.sources])
        for source in place.sources:
            newest = place.catalogue.one("SELECT b.id FROM backup b JOIN source s ON s.no = b.source WHERE s.name = "
                                         f"'{source}' ORDER BY b.sequence DESC LIMIT 1")
            expected[newest] = (source, now[source])
    return expected


def once(place, *words, check=True):
    done = subprocess.run([str(BUILD / "holdfast-worker"), "once", *map(str, words), "--store", str(place.store), "--key-set", "local",
                           "--keys", str(place.top / "keys")], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, (words, done.returncode, done.stdout, done.stderr)
    return done


def administrator(place):
    return place.postgres.conninfo().replace("user=postgres", "user=holdfast_admin")


def rebuild(place, verb="rebuild", check=True):
    """The report of an offline run."""
    done = once(place, verb, "--catalogue", administrator(place), "--json", check=False)
    assert not check or done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout) if done.stdout else done.stderr


def drop(place):
    """Everybody stops, the catalogue goes, an empty one comes."""
    for name, process in place.processes.items():
        if process.poll() is None:
            place.kill(name)
    place.sql_in("postgres", "DROP DATABASE holdfast WITH (FORCE); CREATE DATABASE holdfast OWNER holdfast_admin")
    place.redis("FLUSHALL")
    place.program("scheduler", "c1", "migrate")


def all_restore(place, expected):
    """Every one of these backups is restored by a job and compared with what its tree was."""
    jobs = {}
    for backup in expected:
        params = json.dumps({"backup": backup, "target": {"path": str(place.top / "restore" / backup)}})
        jobs[backup] = int(place.catalogue.one(
            f"SELECT job FROM job_create('restore', 'manual', NULL, NULL, '{params}', 'test', NULL, 0, NULL)"))
    place.complete(*jobs.values(), seconds=600)
    for backup, (source, tree) in expected.items():
        out = place.top / "restore" / backup
        assert trees(out / str(place.top / "tree" / source).lstrip("/")) == tree, backup
        shutil.rmtree(out)


def hire_again(place, name="w1"):
    """A worker whose login went with the catalogue's registration."""
    place.sql_in("holdfast", f"DROP OWNED BY {name}; DROP ROLE {name}")
    place.enroll(name)
    place.hire(name)
    place.wait_workers(1)


def test_a_dropped_catalogue_comes_back_from_the_store_with_the_same_restore_set():
    with Installation(workers=1, sources=3, files=6, file_bytes=40000) as place:
        expected = history(place, 3)
        before = place.catalogue.rows(RESTORE_SET)
        drop(place)
        report = rebuild(place)
        assert report["imported"] == 9 and report["bad"] + report["lost"] + report["gaps"] + report["zombies"] == 0, report
        again = rebuild(place)
        assert again["imported"] == 0 and again["known"] == 9 and again["packs"] == 0, again
        place.start_scheduler("c1")
        hire_again(place)
        after = place.catalogue.rows(RESTORE_SET)
        # A source's number is another one now, and with it the domain of its packs; nothing else differs.
        assert len(after) == len(before) == 9
        for old, new in zip(before, after):
            assert old[:-1] == new[:-1], (old, new)
        assert place.count("SELECT count(*) FROM pack WHERE domain <= 0") == 0
        assert place.count("SELECT count(*) FROM pack WHERE maker_host IS NULL OR maker_generation IS NULL") == 0
        all_restore(place, expected)
        assert place.count("SELECT count(*) FROM repository WHERE frozen_at IS NOT NULL") == 1
        place.complete(*[place.run(source) for source in place.sources])  # and backups go on, sharing what is there
        assert place.count("SELECT count(*) FROM backup WHERE origin = 'commit' AND new_bytes * 2 > bytes") == 0
        place.check()


def through_the_queue(place, what):
    """A job of a reader worker, asked for as an operator does; its answer."""
    job = place.call("POST", "/stores/main/rebuild", {"what": what})["id"]
    number = int(place.catalogue.one(f"SELECT id FROM job WHERE kind = 'rebuild' AND job_text(id) = '{job}'"))
    place.complete(number)
    return place.call("GET", f"/jobs/{job}")["answer"]


def test_a_rebuild_runs_as_a_job_too_and_again_without_harm():
    with Installation(workers=1, sources=2, files=6, file_bytes=20000) as place:
        expected = history(place, 3)
        before = place.catalogue.rows(RESTORE_SET)
        drop(place)
        place.start_scheduler("c1")
        hire_again(place)
        report = through_the_queue(place, "rebuild")
        assert report["imported"] == 6 and report["packs"] > 0 and not report["findings"], report
        report = through_the_queue(place, "rebuild")
        assert report["imported"] == 0 and report["known"] == 6 and not report["findings"], report
        assert [row[:-1] for row in place.catalogue.rows(RESTORE_SET)] == [row[:-1] for row in before]
        all_restore(place, expected)
        place.check()


def nothing_is_an_orphan(place):
    """A scan whose every clock has run out touches nothing that only the store knows of."""
    place.do("UPDATE setting SET value = 0 WHERE name IN ('orphan_age_s', 'orphan_keep_s')")
    for number in range(4):
        if number == 2:  # nobody has noticed yet
            place.do("UPDATE repository SET rolled_back = false, set_back_at = NULL, confirmed_epoch = 0")
        job = int(place.catalogue.one("SELECT job FROM repository_job('prune', 'manual', 'main', 'local', '{\"orphans\": true}', 'test', NULL)"))
        place.complete(job)
        answer = place.call("GET", f"/jobs/{place.catalogue.one(f'SELECT job_text({job})')}")["answer"]["orphans"]
        assert answer["orphans"] >= 16 and answer["unknown_backups"] == 4 and answer["blocked"], answer
        assert not (place.store / "local/quarantine").exists(), answer
    assert place.count("SELECT count(*) FROM event WHERE data ->> 'code' = 'repo.unknown_backups'") == 4


def test_a_catalogue_that_lost_its_last_commits_is_merged_with_the_markers():
    """A standby without the last commits is promoted: what they made is in the store, and comes back beside what
    was made since, though both have the same numbers."""
    with Installation(workers=1, files=4, file_bytes=3000, sources=2, prune=True,
                      postgres_options=("-c", "fsync=off", "-c", "wal_level=replica", "-c", "max_wal_senders=4")) as place:
        expected = history(place, 2)
        standby = Postgres(place.top / "standby", ("-c", "fsync=off", "-c", "hot_standby=on"), copy_of=place.postgres)
        wait_until(lambda: standby_has(place, standby), what="the standby caught up")
        # What it received would be replayed when it is promoted: it must not receive the rest.
        standby_do(standby, "ALTER SYSTEM SET primary_conninfo = ''")
        standby_do(standby, "SELECT pg_reload_conf()")
        wait_until(lambda: standby_do(standby, "SELECT count(*) FROM pg_stat_wal_receiver") == "0", what="it receives nothing")
        lost = history(place, 2)
        place.postgres.kill()
        standby_do(standby, "SELECT pg_promote(false)")
        wait_until(lambda: standby_do(standby, "SELECT pg_is_in_recovery()") == "f", what="the standby was promoted")
        place.adopt(standby)
        since = history(place, 1)
        assert place.count("SELECT count(*) FROM repository WHERE rolled_back") == 1
        nothing_is_an_orphan(place)
        report = through_the_queue(place, "merge")
        assert report["imported"] == 4 and report["lost"] + report["bad"] + report["gaps"] + report["gone"] == 0, report
        assert place.count("SELECT count(*) FROM repository WHERE rolled_back OR set_back_at IS NOT NULL OR frozen_at IS NULL") == 0
        assert place.count("SELECT count(*) FROM backup WHERE origin = 'imported'") == 4
        all_restore(place, {**expected, **lost, **since})
        place.complete(*[place.run(source) for source in place.sources])
        assert place.count("SELECT count(*) FROM repository WHERE rolled_back") == 0
        place.check()


def test_what_is_damaged_or_gone_is_told_and_hides_nothing_else():
    """One object of each kind is lost, damaged, replaced or forged; everything else comes back."""
    with Installation(workers=1, sources=2, files=5, file_bytes=30000) as place:
        expected = history(place, 4)
        ids = {source: sorted(b for b in expected if expected[b][0] == source) for source in place.sources}
        base = place.store / "local"
        index = place.catalogue.one(f"SELECT index_object FROM backup WHERE id = '{ids['s1'][1]}'")
        drop(place)
        shutil.copytree(base, place.top / "copy")
        (base / "index" / index).write_bytes((base / "index" / index).read_bytes()[:-40])       # cut: its packs speak for themselves
        (base / "commits" / ids["s2"][3]).unlink()                                               # committed, its marker not written
        (base / "manifests" / ids["s2"][1]).write_bytes(os.urandom(500))                         # overwritten
        shutil.copy(base / "manifests" / ids["s1"][2], base / "manifests" / "00000000-0000-4000-8000-000000000001")  # under another name
        (base / "manifests" / "no-name-of-ours").write_bytes(b"x")
        (base / "index" / "00000000-0000-4000-8000-000000000002").write_bytes(b"HFOB garbage")
        (base / "forgotten").mkdir(exist_ok=True)
        (base / "forgotten" / ids["s1"][0]).write_bytes(os.urandom(200))                         # nobody with that right signed it
        report = rebuild(place, check=False)
        assert report["imported"] == 6 and report["recovered"] == 1 and report["bad"] == 2, report
        assert report["bad_indexes"] == 2 and report["strays"] >= 1 and report["gaps"] == 1 and report["incomplete"] == 0, report
        place.start_scheduler("c1")
        hire_again(place)
        damaged = {ids["s2"][1]: expected.pop(ids["s2"][1])}
        all_restore(place, expected)
        place.complete(place.run("s2"))  # writes the marker that was owed
        for folder in ("index", "manifests", "forgotten"):  # put back from the copy, and what is foreign taken away
            for path in (base / folder).iterdir():
                old = place.top / "copy" / folder / path.name
                if old.exists():
                    shutil.copy(old, path)
                elif path.name.startswith("00000000-") or path.name == "no-name-of-ours" or folder == "forgotten":
                    path.unlink()
        shutil.rmtree(place.top / "copy")
        report = through_the_queue(place, "merge")
        assert report["imported"] == 1 and not report["findings"], report
        all_restore(place, damaged)
        place.check()


def test_a_rebuild_that_is_killed_is_run_again_and_ends_the_same():
    with Installation(workers=1, sources=2, files=4, file_bytes=20000) as place:
        expected = history(place, 3)
        before = [row[:-1] for row in place.catalogue.rows(RESTORE_SET)]
        drop(place)
        words = [str(BUILD / "holdfast-worker"), "once", "rebuild", "--store", str(place.store), "--key-set", "local",
                 "--keys", str(place.top / "keys"), "--catalogue", administrator(place)]
        for count in ("pack", "rebuilt_index", "backup", "backup"):
            had = place.count(f"SELECT count(*) FROM {count}")
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wait_until(lambda c=count, h=had, p=process: place.count(f"SELECT count(*) FROM {c}") > h or p.poll() is not None,
                       what="it is at work")
            process.kill()
            process.wait()
        report = rebuild(place)
        assert report["bad"] + report["lost"] + report["gaps"] == 0, report
        place.start_scheduler("c1")
        hire_again(place)
        assert [row[:-1] for row in place.catalogue.rows(RESTORE_SET)] == before
        all_restore(place, expected)
        place.check()


def flip_bits(chance, path):
    """A bit of a file is another one; what it was."""
    before = path.read_bytes()
    content = bytearray(before)
    place = chance.randrange(len(content))
    content[place] ^= 1 << chance.randrange(8)
    path.chmod(0o600)
    path.write_bytes(bytes(content))
    return before


def test_flipped_bits_at_rest_are_found_told_stored_again_and_hide_nothing_else():
    """In a random pack each time; 1 000 times when it runs whole."""
    chance, originals = random.Random(37), {}
    with Installation(workers=1, sources=1, files=6, file_bytes=60000) as place:
        for number in range(short_or(2, 1000)):
            expected = history(place, 1)
            (backup, (_, tree)), = expected.items()
            packs = [row[0] for row in place.catalogue.rows(
                f"SELECT p.object FROM backup b JOIN pack p ON p.no = ANY (b.packs) WHERE b.id = '{backup}' AND p.kind = 'data' "
                "AND p.damaged_at IS NULL ORDER BY p.object")]
            victim = packs[chance.randrange(len(packs))]
            originals[victim] = flip_bits(chance, place.store / "local" / "packs" / victim[:2] / victim)
            level = "stored" if number % 2 == 0 else "content"
            params = json.dumps({"backup": backup, "level": level})
            job = int(place.catalogue.one(f"SELECT job FROM job_create('verify', 'manual', NULL, NULL, '{params}', 'test', NULL, 0, NULL)"))
            place.wait_job(job)
            assert place.state(job) == "failed", (place.state(job), level, victim)
            told = [row[0] for row in place.catalogue.rows("SELECT object FROM pack WHERE damaged_at IS NOT NULL")]
            assert victim in told, (victim, told)
            answer = place.call("GET", "/damage")["items"]
            mine = [each for each in answer if each["pack"] == victim]
            assert mine and mine[0]["backup_count"] >= 1 and mine[0]["next"], answer
            again = history(place, 1)  # stores again what lay in it
            params = json.dumps({"backup": next(iter(again)), "level": "content"})
            place.complete(int(place.catalogue.one(
                f"SELECT job FROM job_create('verify', 'manual', NULL, NULL, '{params}', 'test', NULL, 0, NULL)")))
            all_restore(place, again)
            assert (place.store / "local" / "packs" / victim[:2] / victim).exists()
        for victim, content in originals.items():  # the checker hashes all there is
            (place.store / "local" / "packs" / victim[:2] / victim).write_bytes(content)
        place.check()


def rebuild_measured(place, base, check=True):
    """An offline run over a repository of bench_rebuild: its report, seconds and bytes of memory."""
    words = [str(BUILD / "holdfast-worker"), "once", "rebuild", "--store", str(base / "store"), "--key-set", "test", "--keys",
             str(base / "keys"), "--catalogue", administrator(place), "--json"]
    begun = time.monotonic()
    with open(place.top / "report", "w+b") as out:
        process = subprocess.Popen(words, stdout=out, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        report = json.load(out)
    assert not check or process.returncode == 0, report
    return report, time.monotonic() - begun, used.ru_maxrss * 1024


def test_ten_thousand_backups_come_back_in_bounded_time_and_memory():
    """300 of them in each run, ten thousand when it runs whole: the catalogue is dropped, told again, dropped and told
    again; each time it holds what was written, and nothing else."""
    count = short_or(300, 10000)
    base = None
    with Installation(workers=0, sources=1, files=1, file_bytes=10) as place:
        try:
            made = subprocess.run([str(BUILD / "bench" / "bench_rebuild"), str(count), "50"], capture_output=True, text=True, check=True)
            lines = made.stdout.splitlines()
            base = pathlib.Path(lines[0])
            truth = sorted(line.split() for line in lines[1:])
            assert len(truth) == count
            told = []
            for _ in range(2):
                drop(place)
                report, seconds, memory = rebuild_measured(place, base)
                print(f"{count} backups: {seconds:.1f} s, {memory >> 20} MiB")
                assert report["imported"] == count and not report["findings"], report
                assert place.catalogue.rows("SELECT b.id, s.name, b.sequence, encode(b.manifest_sha256, 'hex') FROM backup b "
                                            "JOIN source s ON s.no = b.source ORDER BY b.id::text") == truth
                told.append([row[:-1] for row in place.catalogue.rows(RESTORE_SET)])
                assert seconds < 30 + count * 0.2 and memory < 192 << 20, (seconds, memory)
            assert told[0] == told[1] and len(told[0]) == count
            again, _, _ = rebuild_measured(place, base)
            assert again["known"] == count and again["imported"] + again["packs"] == 0, again
            drop(place)  # of an empty catalogue the rest can be said
            place.check()
        finally:
            if base is not None:
                shutil.rmtree(base)


# What a thief of a writer's keys may have signed: source, receipt.
FORGED = (("f-scalar", '{"items": 3}'), ("f-word", '{"items": [{"rows": "many"}]}'), ("f-huge", '{"items": [{"bytes": 1e300}]}'),
          ("f-log", '{"log": {"system": "1", "timeline": "one"}}'), ("f-less", '{"log": {"system": "1"}}'),
          ("f-segments", '{"log": {"system": "1", "timeline": 1, "start": "0/0", "end": "0/1000000", "segments": {}}}'),
          ("f-circle", '{"log": {"system": "1", "timeline": 1, "start": "0/0", "end": "0/1000000", "segments": [], "histories": '
                       '[{"timeline": 2, "parent": 1, "switch": "0/10"}, {"timeline": 1, "parent": 2, "switch": "0/10"}]}}'),
          ("f-lsn", '{"log": {"system": "1", "timeline": 1, "start": "here", "end": "there", "segments": []}}'),
          ("f-deep", '{"log": {"system": "1", "timeline": ' + "[" * 1500 + "]" * 1500 + "}}"))
ODD = (("F'; DROP TABLE backup --", "{}"), ("f-" + "long" * 31, '{"items": []}'))  # only names, which are data


def test_what_a_stolen_worker_signed_ends_no_rebuild():
    """Receipts and names that no column takes: each is told with its backup's name, and everything else comes back."""
    base = None
    with Installation(workers=0, sources=1, files=1, file_bytes=10) as place:
        try:
            made = subprocess.run([str(BUILD / "bench" / "bench_rebuild"), "6", "2", *sum(ODD + FORGED, ())], capture_output=True, text=True,
                                  check=False)
            assert made.returncode == 0, made.stderr
            lines = made.stdout.splitlines()
            base = pathlib.Path(lines[0])
            good = sorted(line.split()[0] for line in lines[1:7 + len(ODD)])
            assert len(lines) == 7 + len(ODD) + len(FORGED)
            drop(place)
            for _ in range(2):  # what was not taken is told again
                report, _, _ = rebuild_measured(place, base, check=False)
                assert report["imported"] + report["known"] == len(good) and report["bad"] == len(FORGED), report
                for source, _ in FORGED:
                    assert any(f" of {source}, signed by host testhost, " in line for line in report["findings"]["backup"]), (source, report)
                assert sorted(row[0] for row in place.catalogue.rows("SELECT id FROM backup")) == good
            done = subprocess.run([str(BUILD / "holdfast-worker"), "once", "restore", "latest", "--source", "f-scalar", "--store", str(base / "store"),
                                   "--key-set", "test", "--keys", str(base / "keys"), "--to", str(place.top / "restore" / "forged")],
                                  capture_output=True, text=True, check=False)
            assert done.returncode == 0 and len(trees(place.top / "restore" / "forged")) == 3, done  # what the finding says
            drop(place)  # of an empty catalogue the rest can be said
            place.check()
        finally:
            if base is not None:
                shutil.rmtree(base)


def test_a_damaged_bundle_is_read_again_though_its_files_did_not_change():
    """Small files that the list of yesterday knows: their bundles' pack is damaged, and the next backup of the same tree
    makes every backup whole again, the older ones too."""
    with Installation(workers=1, sources=1, files=400, file_bytes=3000) as place:
        tree = place.top / "tree" / "s1"
        youngest = max(path.stat().st_ctime for path in tree.iterdir())
        wait_until(lambda: time.time() > youngest + 5, what="the list takes files that settled")
        place.complete(place.run("s1"))
        place.complete(place.run("s1"))
        first, second = backup_ids(place, "s1")
        assert place.count(f"SELECT new_bytes FROM backup WHERE id = '{second}'") == 0  # nothing was read
        victim = place.catalogue.one(f"SELECT p.object FROM backup b JOIN pack p ON p.no = ANY (b.packs) WHERE b.id = '{second}' "
                                     "AND p.kind = 'data' ORDER BY p.bytes DESC LIMIT 1")
        original = flip_bits(random.Random(3), place.store / "local" / "packs" / victim[:2] / victim)
        assert verify(place, second) == "failed" and place.count("SELECT count(*) FROM pack WHERE damaged_at IS NOT NULL") == 1
        (tree / "a000").write_bytes(os.urandom(3000))  # stands before the others
        place.complete(place.run("s1"))
        third = backup_ids(place, "s1")[2]
        assert place.count(f"SELECT new_bytes FROM backup WHERE id = '{third}'") >= 400 * 3000
        assert [verify(place, backup) for backup in (third, second, first)] == ["completed"] * 3
        (place.store / "local" / "packs" / victim[:2] / victim).write_bytes(original)
        place.check()


CHECKS = ("SELECT v.backup, v.level, v.result, v.started_at, v.finished_at, w.name, w.host, v.checks - 'damage' - 'told' FROM verification v "
          "JOIN worker w ON w.no = v.worker WHERE v.checks ? 'level' ORDER BY v.finished_at, v.backup")
WORTH = ("SELECT object, verified_at, checked_at, damaged_at, damage FROM pack WHERE verified_at IS NOT NULL OR checked_at IS NOT NULL "
         "OR damaged_at IS NOT NULL ORDER BY object")


def verify(place, backup, level="content"):
    params = json.dumps({"backup": backup, "level": level})
    job = int(place.catalogue.one(f"SELECT job FROM job_create('verify', 'manual', NULL, NULL, '{params}', 'test', NULL, 0, NULL)"))
    place.wait_job(job)
    return place.state(job)


def prune(place):
    """A prune run, its job's answer."""
    job = place.call("POST", "/stores/main/prune", {"reason": "a test"})["id"]
    place.complete(int(place.catalogue.one(f"SELECT id FROM job WHERE job_text(id) = '{job}'")))
    return place.call("GET", f"/jobs/{job}")["answer"]


def test_what_checks_found_comes_back_with_the_catalogue():
    """Verifications, packs that others may share since a reader saw them, and packs that are damaged. What nobody with
    that right signed, what stands under another name, and a link that was taken out are told by name."""
    with Installation(workers=1, sources=2, files=3, file_bytes=600000, prune=True) as place:  # files with chunks of their own
        expected = history(place, 2)
        first, second = backup_ids(place, "s1"), backup_ids(place, "s2")
        assert verify(place, first[1]) == "completed" and verify(place, first[0], "stored") == "completed"
        answer = prune(place)
        assert answer["told_checks"] == 2 and answer["told_packs"] > 0, answer
        victim = place.catalogue.one(f"SELECT p.object FROM backup b JOIN pack p ON p.no = ANY (b.packs) WHERE b.id = '{second[0]}' "
                                     "AND p.kind = 'data' ORDER BY p.object LIMIT 1")
        original = flip_bits(random.Random(1), place.store / "local" / "packs" / victim[:2] / victim)
        assert verify(place, second[0]) == "failed"
        assert prune(place)["told_checks"] == 1 and prune(place)["told_checks"] == 0
        checks, worth = place.catalogue.rows(CHECKS), place.catalogue.rows(WORTH)
        assert len(checks) == 3 and [row[0] for row in worth if row[3]] == [victim], (checks, worth)
        audit = place.store / "local" / "audit"
        said = sorted(audit.iterdir())
        assert len(said) == 2
        drop(place)
        (audit / "00000000-0000-4000-8000-000000000003").write_bytes(b"HFOB garbage")
        shutil.copy(said[0], audit / "00000000-0000-4000-8000-000000000004")
        report = rebuild(place, check=False)
        assert report["verifications"] == 3 and report["damaged_packs"] == 1 and report["proven_packs"] > 0, report
        assert len(report["findings"]["audit"]) == 2, report
        assert any("-000000000003" in line for line in report["findings"]["audit"]), report
        assert any("-000000000004" in line and "another name" in line for line in report["findings"]["audit"]), report
        assert (place.catalogue.rows(CHECKS), place.catalogue.rows(WORTH)) == (checks, worth)
        again = rebuild(place, check=False)
        assert again["verifications"] + again["damaged_packs"] + again["proven_packs"] == 0, again
        assert place.catalogue.rows(CHECKS) == checks
        shutil.rmtree(place.top / "keep", ignore_errors=True)
        shutil.copytree(audit, place.top / "keep")
        for path in (said[0], audit / "00000000-0000-4000-8000-000000000003", audit / "00000000-0000-4000-8000-000000000004"):
            path.unlink()
        drop(place)
        report = rebuild(place, check=False)
        assert report["verifications"] == 1 and [said[0].name in line for line in report["findings"]["audit"]] == [True], report
        shutil.copy(place.top / "keep" / said[0].name, said[0])  # put back, and merged by a job
        place.start_scheduler("c1")
        hire_again(place)
        report = through_the_queue(place, "merge")
        assert report["verifications"] == 2 and not report["findings"], report
        assert (place.catalogue.rows(CHECKS), place.catalogue.rows(WORTH)) == (checks, worth)
        # Another source may share what a reader had seen, and nothing else.
        for path in (place.top / "tree" / "s2").iterdir():
            path.unlink()
        shutil.copytree(place.top / "tree" / "s1", place.top / "tree" / "s2", dirs_exist_ok=True)
        place.complete(place.run("s2"))
        assert place.count("SELECT (new_bytes * 2 < bytes)::int FROM backup ORDER BY committed_at DESC LIMIT 1") == 1  # but bundles
        damage = place.call("GET", "/damage")["items"]
        assert [row["pack"] for row in damage] == [victim], damage
        assert place.call("POST", "/stores/main/prune", {"reason": "frozen", "dry_run": True})["id"]
        (place.store / "local" / "packs" / victim[:2] / victim).write_bytes(original)
        all_restore(place, {backup: what for backup, what in expected.items() if what[0] == "s1"})
        place.check()


def backup_ids(place, source):
    return [row[0] for row in place.catalogue.rows(f"SELECT b.id FROM backup b JOIN source s ON s.no = b.source WHERE s.name = '{source}' ORDER BY b.sequence")]


def test_holds_come_back_and_what_a_collector_took_is_no_damage():
    """One backup of three is held and one is gone with its packs before the catalogue is: its session's index still names
    packs that are not there."""
    with Installation(workers=1, sources=1, files=6, file_bytes=200000, prune=True) as place:
        expected = history(place, 1)
        tree = place.top / "tree" / "s1"
        for path in sorted(tree.iterdir())[:4]:
            path.write_bytes(os.urandom(200000))
        expected.update(history(place, 2))
        first, second, third = backup_ids(place, "s1")
        for backup in (second, third):
            name = place.catalogue.one(f"SELECT backup_text('{backup}')")
            place.call("POST", f"/backups/{name}/hold", {"until": "2031-02-03T04:05:06Z", "reason": "the auditors ask for it"})
        wait_until(lambda: place.count("SELECT count(*) FROM backup WHERE hold_stored_at IS NOT NULL") == 2, what="the holds are stored")
        (place.store / "local" / "holds" / first).write_bytes(os.urandom(200))  # nobody with that right said it
        name = place.catalogue.one(f"SELECT backup_text('{first}')")
        for verb, path, body in (("DELETE", f"/backups/{name}?reason=not+needed", None), ("POST", "/stores/main/prune", {"reason": "more than half"})):
            asked = place.call(verb, path, body)["id"]
            place.complete(int(place.catalogue.one(f"SELECT id FROM job WHERE job_text(id) = '{asked}'")))
        gone = place.count("SELECT count(*) FROM pack WHERE state = 'deleted'")
        assert gone > 0
        drop(place)
        report = rebuild(place)
        assert report["imported"] == 2 and report["gone"] == 0 and report["incomplete"] == 0, report
        assert report["holds"] == 2 and list(report["findings"]) == ["hold"], report
        assert place.count("SELECT count(*) FROM pack WHERE damaged_at IS NOT NULL") == 0
        assert place.count("SELECT count(*) FROM backup WHERE held_until = '2031-02-03T04:05:06Z' AND held_reason = 'the auditors ask for it' "
                           "AND hold_stored_at IS NOT NULL") == 2
        again = rebuild(place)
        assert again["holds"] == 0 and again["gone"] == 0 and again["imported"] == 0, again
        (place.store / "local" / "holds" / first).unlink()
        place.start_scheduler("c1")
        hire_again(place)
        del expected[first]
        all_restore(place, expected)
        place.check()


def test_a_backup_that_stands_still_while_all_before_it_goes_is_whole():
    """It has found its chunks in packs of a backup that is then deleted, by another hand, and collected again and again."""
    with Installation(workers=1, sources=1, files=4, file_bytes=600000, prune=True, rate="4MiB/s") as place:
        tree = place.top / "tree" / "s1"
        place.complete(place.run("s1"))
        shutil.copytree(tree, place.top / "old")
        for path in tree.iterdir():
            path.write_bytes(os.urandom(600000))
        place.complete(place.run("s1"))  # something good is left when the first goes
        first, second = backup_ids(place, "s1")
        shutil.copytree(place.top / "old", tree, dirs_exist_ok=True)
        (tree / "zz").write_bytes(os.urandom(30 << 20))  # behind what is known: its packs say how far the walk has come
        job = place.run("s1")
        wait_until(lambda: place.count(f"SELECT count(*) FROM pack WHERE job = {job} AND sha256 IS NOT NULL") > 0, what="it has stored a pack")
        child = place.child("w1")
        os.kill(child, signal.SIGSTOP)
        assert place.state(job) == "running"
        shared = place.count(f"SELECT cardinality(packs) FROM backup WHERE id = '{first}'")
        name = place.catalogue.one(f"SELECT backup_text('{first}')")
        asked = place.call("DELETE", f"/backups/{name}?reason=not+needed")["id"]
        place.complete(int(place.catalogue.one(f"SELECT id FROM job WHERE job_text(id) = '{asked}'")))
        for _ in range(3):
            prune(place)
        assert place.count(f"SELECT count(*) FROM backup WHERE id = '{first}' AND gone_at IS NOT NULL") == 1 and shared > 0
        assert place.state(job) == "running"
        os.kill(child, signal.SIGCONT)
        place.complete(job)
        third = backup_ids(place, "s1")[2]
        assert place.count(f"SELECT (new_bytes < 32 << 20)::int FROM backup WHERE id = '{third}'") == 1  # it did share
        assert verify(place, third) == "completed"
        all_restore(place, {third: ("s1", trees(tree))})
        assert second
        place.check()
