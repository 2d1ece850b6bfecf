# SPDX-License-Identifier: Apache-2.0
"""Redis loses answers, itself, its memory and its temper."""
import random
import shutil
import threading
import time

import invariants
from cluster import Cluster
from installation import Installation, RedisServer, free_port, wait_until
from settings import offsets, short_or


def test_a_ticket_whose_answer_is_lost_is_found_on_reconnecting():
    with Installation(files=2, file_bytes=500, sources=1) as place:
        link = place.proxies["w1"]["redis"]
        struck = 0
        places = offsets(30, 10)
        for at in places:
            rule = link.rule("down", "cut", at=at, pattern="BLMOVE\r\n$13\r\nhf:{p1}:ready")
            assert rule.seen.wait(20)
            job = place.run("s1")
            place.complete(job)
            struck += rule.fired
            link.heal()
        assert struck >= len(places) - 2
        place.check()


def test_a_push_an_ack_and_a_repair_may_lose_their_answers():
    """The script was executed and nobody heard of it: it comes again and pushes nothing twice."""
    with Installation(workers=2, files=2, file_bytes=500, sources=2) as place:
        for name in ("c1", "w1", "w2"):
            for at in (0, 1, 3):
                rule = place.proxies[name]["redis"].rule("down", "cut", at=at, pattern="EVALSHA")
                place.complete(*[place.run(source) for source in place.sources])
                if name == "c1":
                    assert rule.fired
                place.proxies[name]["redis"].heal()
        assert place.count("SELECT max(attempt) FROM job") == 1
        place.check()


def flush_until(place, stop, every):
    while not stop.wait(every):
        try:
            place.redis("FLUSHALL")
        except (OSError, RuntimeError):
            pass


def test_no_job_is_lost_or_doubled_under_flushes_and_kills():
    """FLUSHALL again and again, kill -9 of a random worker, forced leaders: the heart of the design."""
    count, workers, sources = short_or(60, 10000), short_or(3, 8), short_or(6, 60)
    with Installation(workers=workers, schedulers=2, files=2, file_bytes=300, sources=sources, slots=2) as place:
        stop = threading.Event()
        flusher = threading.Thread(target=flush_until, args=(place, stop, short_or(1, 5)))
        flusher.start()
        jobs = []
        try:
            while len(jobs) < count:
                jobs += [place.run(random.choice(place.sources)) for _ in range(min(sources, count - len(jobs)))]
                victim = f"w{random.randint(1, workers)}"
                place.kill(victim)
                place.hire(victim)
                time.sleep(random.random() * 2)
        finally:
            stop.set()
            flusher.join()
        place.complete(*jobs, seconds=short_or(200, 6000))
        place.check()


def test_an_empty_server_gets_every_ticket_again_at_once():
    with Installation(files=2, file_bytes=500, sources=4, workers=1, slots=1) as place:
        place.complete(place.run("s1"))
        jobs = [place.run(source) for source in place.sources]
        place.redis.kill()
        time.sleep(1)
        place.redis.start()
        begun = time.monotonic()
        place.complete(*jobs)
        assert time.monotonic() - begun < 60
        place.check()


def test_a_server_restored_from_an_old_copy_gives_stale_tickets_only():
    with Installation(files=2, file_bytes=500, sources=3, workers=2) as place:
        jobs = [place.run(source) for source in place.sources]
        place.redis("SAVE")
        shutil.copy(place.redis.directory / "dump.rdb", place.redis.directory / "kept")
        place.complete(*jobs)
        later = [place.run(source) for source in place.sources]
        place.redis.kill()
        shutil.copy(place.redis.directory / "kept", place.redis.directory / "dump.rdb")
        place.redis.start()
        place.complete(*later)
        assert place.count("SELECT count(*) FROM backup") == 6
        place.check()


def moods(place):
    """(what to do, how to undo it) for each error that a server gives while it lives."""
    redis = place.redis
    yield "READONLY", lambda: redis("REPLICAOF", "127.0.0.1", free_port()), lambda: redis("REPLICAOF", "NO", "ONE")
    yield ("NOREPLICAS", lambda: redis("CONFIG", "SET", "min-replicas-to-write", 1),
           lambda: redis("CONFIG", "SET", "min-replicas-to-write", 0))
    yield "OOM", lambda: redis("CONFIG", "SET", "maxmemory", 1), lambda: redis("CONFIG", "SET", "maxmemory", 0)
    yield ("NOAUTH", lambda: redis("CONFIG", "SET", "requirepass", "x"), lambda: unlock(place))
    yield ("BUSY", lambda: threading.Thread(target=busy, args=(place,), daemon=True).start(), lambda: redis("SCRIPT", "KILL"))
    yield "NOSCRIPT", lambda: redis("SCRIPT", "FLUSH"), lambda: None
    yield "PAUSE", lambda: redis("CLIENT", "PAUSE", 2500, "ALL"), lambda: None


def unlock(place):
    one = invariants.Redis(place.redis.port, password="x")
    one("CONFIG", "SET", "requirepass", "")
    one.close()


def busy(place):
    try:
        place.redis("EVAL", "while true do end", 0)
    except (OSError, RuntimeError):
        pass


def test_every_error_of_a_living_server_is_waited_out():
    with Installation(workers=2, files=2, file_bytes=500, sources=2, redis_options=("--busy-reply-threshold", "200")) as place:
        place.complete(place.run("s1"))
        for name, begin, end in moods(place):
            jobs = [place.run(source) for source in place.sources]
            begin()
            time.sleep(2)
            end()
            place.complete(*jobs)
            for each in place.processes:
                assert place.processes[each].poll() is None, f"{each} died of {name}"
        place.check()


def test_lines_that_no_server_sends_are_waited_out_too():
    with Installation(workers=1, files=2, file_bytes=500, sources=2) as place:
        for line in (b"-LOADING Redis is loading the dataset in memory\r\n", b"-MOVED 3999 127.0.0.1:1\r\n", b"-ASK 3999 127.0.0.1:1\r\n",
                     b"-TRYAGAIN Multiple keys\r\n", b"-CLUSTERDOWN The cluster is down\r\n", b"$99999999999999\r\n", b"*-7\r\n",
                     b"\x00\xff\xfe garbage\r\n", b"$5\r\nab"):
            for name in ("c1", "w1"):
                place.proxies[name]["redis"].rule("up", "answer", payload=line, times=3)
            jobs = [place.run(source) for source in place.sources]
            time.sleep(0.5)
            place.heal()
            place.complete(*jobs)
        place.check()


def test_a_promoted_replica_that_lacks_the_tail_delays_only():
    with Installation(workers=2, files=2, file_bytes=500, sources=4) as place:
        replica = RedisServer(place.top / "replica")
        replica("REPLICAOF", "127.0.0.1", place.redis.port)
        wait_until(lambda: b"master_link_status:up" in replica("INFO", "replication"), what="the replica follows")
        place.complete(place.run("s1"))
        replica("REPLICAOF", "127.0.0.1", free_port())  # from here on it hears nothing
        jobs = [place.run(source) for source in place.sources]
        for job in jobs[:2]:
            place.wait_job(job, "state <> 'pending'")
        place.redis.kill()
        replica("REPLICAOF", "NO", "ONE")
        place.redis = replica
        for links in place.proxies.values():
            links["redis"].target = ("127.0.0.1", replica.port)
            links["redis"].cut()
        place.complete(*jobs)
        place.check()


def test_a_worker_without_redis_ends_its_job_and_acks_later():
    with Installation(workers=1, files=10, file_bytes=100000, sources=1, rate="300KiB/s") as place:
        job = place.run("s1")
        place.wait_job(job, "state = 'running'")
        place.proxies["w1"]["redis"].block()
        place.complete(job)
        assert place.attempts(job) == 1
        place.check()


def test_slots_that_move_between_the_nodes_of_a_cluster_delay_only():
    """The pool's keys go round and round the nodes while jobs run; then a node dies and comes back without them."""
    with Installation(workers=2, files=2, file_bytes=300, sources=4, slots=2, redis=Cluster) as place:
        cluster = place.redis
        slot, jobs, moves = cluster.slot("hf:{p1}:ready"), [], 0
        while moves < short_or(9, 300):
            jobs += [place.run(source) for source in place.sources]
            cluster.move(slot, pause=lambda: time.sleep(0.05))
            moves += 1
        place.complete(*jobs)
        assert place.count("SELECT max(attempt) FROM job") == 1 and place.count("SELECT max(losses) FROM job") == 0
        node = cluster.owner(slot)
        node.kill()
        jobs = [place.run(source) for source in place.sources]
        other = next(one for one in cluster.nodes if one is not node)
        wait_until(lambda: b",fail " in other("CLUSTER", "NODES"), what="the cluster gives the node up")
        node.start()
        place.complete(*jobs)
        place.check()
