# SPDX-License-Identifier: Apache-2.0
"""Hosts of their own, and what happens when the network between them goes: no reset, no answer, nobody
is told. Only a time limit can notice that, on either side."""
import time

from hosts import CATALOGUE, QUEUE, HostInstallation, impossible
from installation import wait_until
from settings import need_root, not_here, short_or


def need_hosts():
    need_root("a network namespace")
    if impossible():
        not_here(f"no network namespaces: {impossible()}")


def runner(place, job):
    """The worker of the job's newest attempt."""
    return place.catalogue.one(f"SELECT w.name FROM job_attempt a JOIN worker w ON w.no = a.worker WHERE a.job = {job} "
                               "ORDER BY a.attempt DESC LIMIT 1")


def seconds_since(instant):
    return time.monotonic() - instant


def away_in_mid_backup(break_link):
    """A worker's host is away for longer than its lease in the middle of a backup, and comes back."""
    need_hosts()
    with HostInstallation(workers=2, files=20, file_bytes=200000, sources=1, rate="700KiB/s") as place:
        job = place.run("s1")
        place.wait_job(job, "state = 'running'")
        first = runner(place, job)
        child = wait_until(lambda: place.child(first), what="a child")
        begun = time.monotonic()
        break_link(place.hosts, first)
        place.wait_job(job, "losses = 1")
        lost = seconds_since(begun)
        place.wait_job(job, "attempt = 2 AND state = 'running'")
        assert runner(place, job) != first
        time.sleep(short_or(0, 60))
        begun = time.monotonic()
        place.hosts.heal()
        place.complete(job)
        wait_until(lambda: place.child(first) != child, what="the child of the lost attempt is gone")
        second = runner(place, job)
        place.kill(second, 15)
        again = place.run("s1")
        place.complete(again)
        served = seconds_since(begun)
        assert runner(place, again) == first and place.processes[first].poll() is None
        assert place.count(f"SELECT attempt FROM job WHERE id = {job}") == 2
        assert place.count(f"SELECT losses FROM job WHERE id = {job}") == 1
        print(f"lost after {lost:.1f} s, serves again {served:.1f} s after the link")
        place.check()


def test_a_host_that_nobody_hears_any_more_is_replaced_and_harms_nothing_when_it_is_back():
    away_in_mid_backup(lambda hosts, name: hosts.cut(name))


def test_a_host_whose_cable_is_out_is_replaced_and_serves_again_without_a_restart():
    away_in_mid_backup(lambda hosts, name: hosts.unplug(name))


def test_a_host_that_speaks_and_hears_nothing_is_replaced():
    away_in_mid_backup(lambda hosts, name: [hosts.drop(server, name) for server in (CATALOGUE, QUEUE)])


def test_a_host_that_hears_and_is_not_heard_is_replaced():
    away_in_mid_backup(lambda hosts, name: [hosts.drop(name, server) for server in (CATALOGUE, QUEUE)])


def term(place):
    return place.count("SELECT coalesce(max(term), 0) FROM leader WHERE expires_at > clock_timestamp()")


def leads(place, name):
    """(says that it leads, its term), by the last word of its log about that."""
    said = [line for line in (place.top / "log" / name).read_text(errors="replace").splitlines() if " leader.state " in line]
    return ("leads=true" in said[-1], int(said[-1].rsplit("term=", 1)[1])) if said else (False, 0)


def test_a_leader_whose_host_is_cut_off_is_replaced_in_time_and_doubles_no_slot_when_it_is_back():
    need_hosts()
    with HostInstallation(workers=1, schedulers=2, files=2, file_bytes=300, sources=3, schedule="* * * * *") as place:
        owed = place.count("WITH s AS (UPDATE schedule s SET last_slot = date_trunc('minute', clock_timestamp()) - interval '5 minutes' "
                           "WHERE NOT EXISTS (SELECT FROM job j WHERE j.source = s.source) RETURNING 1) SELECT count(*) FROM s")
        for way in ("cut", "unplug") * short_or(1, 5):
            wait_until(lambda: any(leads(place, name) == (True, term(place)) for name in ("c1", "c2")), what="somebody leads")
            first, other = sorted(("c1", "c2"), key=lambda name: leads(place, name)[1], reverse=True)
            before, begun = leads(place, first)[1], time.monotonic()  # not term(): on a busy machine a lease may just have run out
            getattr(place.hosts, way)(first)
            wait_until(lambda: term(place) > before, what="another leads")
            replaced = seconds_since(begun)
            # Its right ends with its lease, and the other asks every second; the rest is a busy machine's.
            assert replaced < place.timers["leader_s"] + 10, replaced
            place.complete(place.run("s1"))
            begun = time.monotonic()
            place.hosts.heal()
            wait_until(lambda: leads(place, first) != (True, before), what="the first one knows that it does not lead")
            print(f"{other} leads {replaced:.1f} s after the link of {first} went, which knew it {seconds_since(begun):.1f} s after it was back")
            # A busy machine may cost the other its lease a moment later; whoever leads then does so by a newer term.
            wait_until(lambda: any(leads(place, name) == (True, term(place)) for name in ("c1", "c2")), what="one leads")
            assert max(leads(place, first)[1], leads(place, other)[1]) > before and place.processes[first].poll() is None
        place.complete(place.run("s2"))
        assert place.count("SELECT count(*) FROM job WHERE slot IS NOT NULL") >= 5 * owed
        place.check()


def test_while_the_catalogues_host_is_cut_off_nothing_is_lost():
    """Longer than the lease: when it is back, whoever reaps gives the workers their time first."""
    need_hosts()
    with HostInstallation(workers=2, files=30, file_bytes=150000, rate="400KiB/s",
                          timers={"lease_s": 3, "grace_s": 20}) as place:
        jobs = [place.run(source) for source in place.sources]
        for job in jobs:
            place.wait_job(job, "state = 'running'")
        place.do("UPDATE reaper SET hold_until = clock_timestamp() - interval '1 hour'")  # that of its start is over
        place.hosts.cut(CATALOGUE)
        time.sleep(short_or(7, 300))
        place.hosts.heal()
        place.complete(*jobs)
        assert place.count("SELECT sum(losses) FROM job") == 0
        assert place.count("SELECT max(attempt) FROM job") == 1
        place.check()


def test_while_the_queues_host_is_cut_off_jobs_end_and_those_that_wait_start_soon_after():
    need_hosts()
    with HostInstallation(workers=2, files=10, file_bytes=100000, sources=3, rate="300KiB/s") as place:
        job = place.run("s1")
        place.wait_job(job, "state = 'running'")
        place.hosts.cut(QUEUE)
        waiting = [place.run(source) for source in place.sources[1:]]
        place.complete(job)
        time.sleep(short_or(2 * place.timers["liveness_s"], 300))
        assert place.count("SELECT count(*) FROM job_attempt") == 1
        begun = time.monotonic()
        place.hosts.heal()
        for each in waiting:
            place.wait_job(each, "attempt > 0")
        print(f"claimed {seconds_since(begun):.1f} s after the link was back")
        place.complete(*waiting)
        assert place.count("SELECT max(attempt) FROM job") == 1
        place.check()
