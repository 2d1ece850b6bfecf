# SPDX-License-Identifier: Apache-2.0
"""The life of a log's replication slot through real servers: it is dropped when no policy asks for it any more, tried
again while its server is away and told as trouble meanwhile; one that lost its log says why, and whose log grows
without a limit is warned of."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from recover_test import Logged, ask, write  # noqa: E402
from installation import wait_until  # noqa: E402


class Slotted(Logged):
    def policy(self, old, new):
        own = self.top / "fleet.yaml"
        text = own.read_text()
        assert old in text, text
        own.write_text(text.replace(old, new))
        self.must("policy", "apply", own)

    def slot_names(self):
        return ask(self.orders, "SELECT coalesce(string_agg(slot_name, ' '), '') FROM pg_replication_slots")

    def left(self):
        """What the minute's look does; the slots that are left."""
        self.do("SELECT log_slots_let_go()")
        return self.catalogue.rows("SELECT slot, tries, coalesce(trouble, '') FROM log_slots_left")

    def doctor(self, name):
        """Its rows of that name: (state, text)."""
        report = json.loads(self.command("doctor", "--json").stdout)
        return [(row["state"], row["text"]) for row in report["checks"] if row["name"] == name]


def a_limit_is_asked_for(place):
    place.batch()
    assert place.slot_names() == "holdfast_orders"
    place.complete(place.run("orders"))
    write(place.orders, 5)
    place.batch()
    (state, text), = place.doctor("log")
    assert state == "WARN" and "any amount of log" in text, (state, text)
    ask(place.orders, "ALTER SYSTEM SET max_slot_wal_keep_size = '32MB'")
    ask(place.orders, "SELECT pg_reload_conf()")
    write(place.orders, 1)
    place.batch()
    (state, text), = place.doctor("log")
    assert state == "OK", (state, text)


def one_that_lost_its_log_says_why(place):
    """The server may throw away what exceeds its limit, and does."""
    place.kill("w1")
    for _ in range(6):
        write(place.orders, 3)
        ask(place.orders, "SELECT pg_switch_wal()")
        ask(place.orders, "CHECKPOINT")
    wait_until(lambda: ask(place.orders, "SELECT wal_status FROM pg_replication_slots") == "lost", what="the slot loses its log")
    place.hire("w1")
    place.batch()
    event = json.loads(place.catalogue.one("SELECT data FROM event WHERE data ->> 'code' = 'log.gap' ORDER BY id DESC LIMIT 1"))
    assert event["why"] == "slot_lost" and "max_slot_wal_keep_size" in event["text"], event
    assert place.count("SELECT count(*) FROM log_batch WHERE gap_to > gap_from") == 1
    assert place.slot_names() == "holdfast_orders"


def it_goes_with_the_policy(place):
    place.policy("wal: stream", "wal: archive_command")
    wait_until(lambda: place.left() == [] and place.slot_names() == "", what="the slot is dropped")
    place.policy("wal: archive_command", "wal: stream")
    place.batch()
    assert place.slot_names() == "holdfast_orders"
    assert place.left() == []


def a_server_that_is_away(place):
    """The source goes while its server is down: nobody forgets the slot."""
    place.orders.stop()
    place.policy(place.source(), "")
    wait_until(lambda: [row for row in place.left() if int(row[1]) >= 1 and row[2]], 150, "a try failed")
    (state, text), = place.doctor("slot")
    assert state == "FAIL" and "holdfast_orders" in text and str(place.orders.directory) in text, (state, text)
    assert place.count("SELECT count(*) FROM event WHERE kind = 'alert' AND data ->> 'code' = 'log.slot_left'") == 1
    place.orders.start()
    assert place.slot_names() == "holdfast_orders"
    place.do("UPDATE log_slot SET next_at = clock_timestamp()")
    wait_until(lambda: place.left() == [], 150, "the slot is dropped when its server is back")
    assert place.slot_names() == "" and place.doctor("slot") == []


def another_slot_is_not_touched(place):
    """An order that names what is not ours."""
    ask(place.orders, "SELECT pg_create_physical_replication_slot('theirs', true)")
    config = json.dumps({"host": str(place.orders.directory), "port": place.orders.port, "user": "postgres"})
    job = int(place.catalogue.one(f"SELECT job FROM job_create('probe', 'manual', 'orders-wal', NULL, '{{\"probe\": \"slot_drop\", \"slot\": \"theirs\", "
                                  f"\"config\": {config}}}', 'test', NULL, 0, NULL)"))
    place.wait_job(job)
    assert place.state(job) == "failed" and place.slot_names() == "theirs"
    assert place.catalogue.one(f"SELECT cause FROM job WHERE id = {job}") == "source.slot"
    ask(place.orders, "SELECT pg_drop_replication_slot('theirs')")


def main():
    with Slotted(workers=1, sources=1, files=3, file_bytes=1000) as place:
        ask(place.orders, "CREATE TABLE ledger (id serial PRIMARY KEY, text text)")
        for step in (a_limit_is_asked_for, one_that_lost_its_log_says_why, it_goes_with_the_policy, a_server_that_is_away, another_slot_is_not_touched):
            step(place)
            print(f"{step.__name__}: as it should", flush=True)
        place.orders.stop()
        place.check()
        place.server.shutdown()
    print("no slot was left behind unseen")


if __name__ == "__main__":
    main()
