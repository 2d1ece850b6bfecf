# SPDX-License-Identifier: Apache-2.0
"""A day of a whole fleet: every slot of it is one job, and that job is done once.

The clock of everything (PostgreSQL, Redis, scheduler, workers, their jobs, the tools) is one offset, so that the
day passes in steps of an hour, each as soon as all that was due has ended, and once, at noon, by half an hour
while jobs run and their leases expire. It is a day on which Europe's clocks go back. The expectation is exact
because no schedule has two slots in one step (they would be one run that stands for both, rightly), none that
skips while its source is busy has another beside it, and what is due at noon is not due again by half past."""
import bisect
import datetime
import os
import random
import subprocess
import time

import faultio
import slots
from installation import BUILD, Installation, wait_until
from settings import short_or

SOURCES, WORKERS, HOSTS, POOLS = short_or((200, 8, 4, 2), (3000, 200, 20, 5))
SOURCES = int(os.environ.get("HOLDFAST_DAY_SOURCES", SOURCES))
START = int(datetime.datetime(2027, 10, 31, tzinfo=datetime.timezone.utc).timestamp())
END, HOUR, ARRIVAL = START + 86400, 3600, 600
NOON = START + 12 * HOUR
BUSY = short_or(3, 50)  # so many jobs run then

# policy: how many of 200 sources, zone, its schedules ("": the only one), what else it says
POLICIES = {
    "daily": (88, "UTC", {"": "@daily"}, ""),
    "berlin": (24, "Europe/Berlin", {"": "H H(1-3) * * *"}, ""),  # 02:00 to 02:59 comes twice
    "herd": (6, "Europe/Berlin", {"": "30 2 * * *"}, ""),
    "newyork": (18, "America/New_York", {"": "H 22 * * *"}, ""),
    "tokyo": (12, "Asia/Tokyo", {"": "H 4 * * mon-fri"}, ""),
    "kathmandu": (10, "Asia/Kathmandu", {"": "H H * * *"}, ""),
    "london": (10, "Europe/London", {"full": "H 2 * * *", "often": "0 */6 * * *"}, ", overlap: queue"),
    "slow": (6, "UTC", {"": "every 4h"}, ", limits: {rate: 1KiB/s}"),
    "often": (1, "UTC", {"": "every 90m"}, ""),
    "hourly": (1, "Europe/Berlin", {"": "50 * * * *"}, ""),
    "twice": (8, "America/Sao_Paulo", {"": "15 1,13 * * *"}, ""),
    "weekly": (10, "UTC", {"": "@weekly"}, ""),
    "closed": (6, "UTC", {"": "@daily"}, ", calendars: [stocktaking]"),
}


class Fleet(Installation):
    """Its programs reach the servers without proxies: two hundred of them would measure Python."""

    def __init__(self):
        self.policy_of, self.worst, self.known = {}, {}, set(os.environ)
        super().__init__(workers=0, sources=SOURCES, files=3, file_bytes=1000, slots=1, redis_options=("--maxclients", "4000"),
                         postgres_options=("-c", "fsync=off", "-c", "max_connections=1200", "-c", "shared_buffers=256MB"),
                         timers={"lease_s": 60, "beat_s": short_or(1, 3), "liveness_s": 30, "looks_s": 15, "grace_s": 90, "requeue_s": 30,
                                 "requeue_force_s": 600, "loss_backoff_s": 30, "loss_backoff_max_s": 3600, "leader_s": 15,
                                 "defer_min_s": 1, "defer_max_s": 3, "max_losses": 3, "mass_wait_s": 300})

    def build(self, *rest):
        self.clock = faultio.Plan(self.top / "clock")
        os.environ.update(self.clock.environment())
        self.move(START - ARRIVAL)
        dice = random.Random(20271031)
        drawn = [name for name, row in POLICIES.items() for _ in range(row[0] * SOURCES // 200)]
        dice.shuffle(drawn)
        self.policy_of = dict(zip(self.sources, drawn, strict=True))
        super().build(*rest)

    def heal(self):
        """Nothing here is to be healed, and the clock stays."""

    def close(self):
        super().close()
        for name in set(os.environ) - self.known:
            del os.environ[name]

    def links(self, name):
        return {"catalogue": self.postgres, "redis": self.redis}

    def place_of(self, source):
        """A tree of its own below one of a hundred directories that many share."""
        return self.top / "tree" / f"d{int(source[1:]) % 100:02}" / source

    def grow(self, source, files, file_bytes):
        tree = self.place_of(source)
        tree.mkdir(parents=True)
        for number in range(files):
            (tree / f"f{number}").write_bytes(os.urandom(file_bytes))

    def fleet(self, rate, policy, schedule, retry):
        lines = ["version: 1", "fleet: day", "defaults: {timezone: UTC, encryption: local}", "keys: {local: {}}",
                 f"stores: {{main: {{type: local, path: {self.store}}}}}", "calendars: {stocktaking: [2027-10-31]}",
                 "pools: {" + ", ".join(f"site{n}: {{}}" for n in range(POOLS)) + "}", "policies:"]
        for name, (_, zone, schedules, more) in POLICIES.items():
            several = "schedules: {" + ", ".join(f'{each}: {{at: "{rule}"}}' for each, rule in schedules.items()) + "}"
            one = f'schedule: "{schedules.get("")}"'
            lines.append(f"  {name}: {{timezone: {zone}, {one if '' in schedules else several}, copies: [{{store: main}}]{more}}}")
        lines.append("sources:")
        for number, (source, name) in enumerate(self.policy_of.items()):
            where = f"host: h{number % HOSTS}" if number % 5 == 0 else f"pool: site{number % POOLS}"
            lines.append(f"  {source}: {{type: files, policy: {name}, owner: team{number % 7}, paths: [{self.place_of(source)}], "
                         f"run_on: {{{where}}}}}")
        return "\n".join(lines) + "\n"

    def enroll(self, name):
        number = int(name[1:])
        host, pool = f"h{number % HOSTS}", f"site{number % HOSTS % POOLS}"
        password, keys = self.secret(name), self.top / f"keys-{host}"
        if not keys.exists():
            keys.mkdir(mode=0o700)
            self.tool("key", "enroll", host, "--kit", self.top / "keys/local.kit", "--keys", self.top / "keys/local.keys", "--dir", keys)
        self.program("scheduler", "c1", "enroll", name, "--host", host, "--pools", pool, "--password-file", password)
        (self.top / f"cache-{name}").mkdir()
        (self.top / f"{name}.yaml").write_text(
            f"name: {name}\nhost: {host}\ntags: {{site: {pool.replace('site', 's')}}}\nslots: {self.slots}\n"
            f'catalogue: "host=127.0.0.1 port={self.postgres.port} dbname=holdfast user={name}"\n'
            f'catalogue_password: {{file: "{password}"}}\nredis: {self.redis.url(self.redis)}\n'
            f"credentials: {self.top}/credentials\nhooks: {self.top}/hooks\ncache: {self.top}/cache-{name}\nkeys: {keys}\n"
            "drain: 15s\nkill_grace: 2s\nallow: {key_sets: [local], stores: [main]}\n", encoding="utf-8")

    def options(self):
        everything, self.sources = self.sources, []
        found = super().options()
        self.sources = everything
        found.restored = 20
        found.tree = [f"{source}={self.place_of(source)}" for source in everything]
        return found

    # --- the clock -------------------------------------------------------------------------------

    def move(self, to):
        """All clocks go on from this instant; never back."""
        offset = to - time.time()
        assert offset >= getattr(self, "offset", offset), "the last step took longer than it is"
        self.offset = offset
        self.clock.clock(offset)

    # --- looking ---------------------------------------------------------------------------------

    def note(self, what, number):
        self.worst[what] = max(self.worst.get(what, 0), number)

    def measure(self):
        for name, process in self.processes.items():
            assert process.poll() is None, f"{name} is gone"
            self.note("KiB of a worker" if name.startswith("w") else "KiB of the scheduler", memory(process.pid))
        clients = self.redis("INFO", "clients").decode()
        self.note("Redis connections", int(clients.split("connected_clients:")[1].split()[0]))

    def until(self, at, due):
        """Every slot up to `at` has its job and all jobs have ended."""
        end = time.monotonic() + 900
        while True:
            made, live, running, connections = (int(n) for n in self.catalogue.rows(
                f"SELECT (SELECT count(*) FROM job WHERE slot >= to_timestamp({START}) AND slot <= to_timestamp({at})), "
                "count(*), count(*) FILTER (WHERE state = 'running'), "
                "(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') FROM job WHERE state IN ('pending', 'queued', 'running')")[0])
            self.note("jobs running", running)
            self.note("PostgreSQL connections", connections)
            self.note("MiB of the machine in use", machine())
            if made >= due and (live == 0 or at == NOON and running >= BUSY):
                return
            assert time.monotonic() < end, f"of {due} slots {made} have a job, {live} jobs have not ended"
            time.sleep(short_or(0.1, 0.3))


def kib(path, name):
    with open(path, encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name))


def memory(pid):
    """Resident, in KiB."""
    return kib(f"/proc/{pid}/status", "VmRSS")


def machine():
    return (kib("/proc/meminfo", "MemTotal") - kib("/proc/meminfo", "MemAvailable")) // 1024


def expected(place):
    """{(source, schedule, slot): state}, worked out from the rules alone."""
    clocks = {zone: slots.Clocks(zone).read(START, END) for _, zone, _, _ in POLICIES.values()}
    found = {}
    for source, name in place.policy_of.items():
        _, zone, schedules, more = POLICIES[name]
        for schedule, rule in schedules.items():
            for slot in slots.due(rule, source, clocks[zone], START, END):
                found[source, schedule or "default", slot] = "skipped" if "calendars" in more else "completed"
    return found


def outcome(place, want):
    """Lines about every slot of the day that is not what it should be."""
    rows = place.catalogue.rows(
        "SELECT s.name, j.schedule, extract(epoch FROM j.slot)::bigint, j.state, j.attempt, j.losses, "
        "(SELECT count(*) FROM backup b WHERE b.job = j.id) FROM job j JOIN source s ON s.no = j.source "
        f"WHERE j.slot >= to_timestamp({START}) AND j.slot < to_timestamp({END})")
    found = {}
    for source, schedule, slot, state, *numbers in rows:
        found.setdefault((source, schedule, int(slot)), []).append((state, *map(int, numbers)))
    right = {"completed": ("completed", 1, 0, 1), "skipped": ("skipped", 0, 0, 0)}
    lost = [key for key in want if key not in found]
    more = [key for key in found if key not in want]
    doubled = [key for key, jobs in found.items() if len(jobs) > 1]
    other = [(key, found[key]) for key, state in want.items() if key in found and right[state] not in found[key]]
    print(f"slots: {len(want)} expected, {len(rows)} found, {len(lost)} lost, {len(doubled)} doubled, {len(more)} more, "
          f"{len(other)} not done once", flush=True)
    return [str(each) for kind in (lost, more, doubled, other) for each in kind[:10]]


def hire_all(place):
    begun = time.monotonic()
    for number in range(1, WORKERS + 1):
        place.enroll(f"w{number}")
    enrolled = time.monotonic()
    for number in range(1, WORKERS + 1):
        place.hire(f"w{number}")
    place.wait_workers(WORKERS)
    print(f"{WORKERS} workers: enrolled in {enrolled - begun:.1f} s, ready in {time.monotonic() - enrolled:.1f} s", flush=True)


def pass_the_day(place, want):
    """Ends with what it cost."""
    times = sorted(slot for _, _, slot in want)
    day, early = time.monotonic(), 0
    for at in sorted({*range(START, END + 1, HOUR), NOON + HOUR // 2}):
        begun = time.monotonic()
        place.move(at + 1)
        due = bisect.bisect_right(times, min(at, END - 1))
        place.until(at, due)
        place.measure()
        now = memory(place.processes["c1"].pid)
        early = now if at <= START + 4 * HOUR else early
        print(f"{(at - START) / HOUR:4} h: {due} slots, {time.monotonic() - begun:.1f} s, scheduler {now} KiB, {machine()} MiB in use",
              flush=True)
    took = time.monotonic() - day
    print(f"the day: {took:.1f} s, {len(times) / took:.1f} slots a second; at most {place.worst}; "
          f"logs {sum(path.stat().st_size for path in (place.top / 'log').iterdir()) // 1024} KiB, "
          f"catalogue {place.count('SELECT pg_database_size(current_database())') // 2**20} MiB", flush=True)
    assert now < 1.2 * early + 8192, "the scheduler grows with the day"
    assert place.worst["KiB of a worker"] < 65536, "a worker grows with its jobs"


def test_each_slot_of_a_fleets_day_is_one_job_done_once():
    begun = time.monotonic()
    with Fleet() as place:
        want = expected(place)
        wait_until(lambda: place.count("SELECT count(DISTINCT source) FROM schedule") == SOURCES or place.processes["c1"].poll(),
                   120, "the policy is in force")
        print(f"{SOURCES} sources in force after {time.monotonic() - begun:.1f} s", flush=True)
        hire_all(place)
        pass_the_day(place, want)
        wrong = outcome(place, want)
        assert not wrong, "\n".join(wrong)
        place.check()


def test_a_jobs_connection_parses_only_what_it_asks():
    """Its worker has had every statement parsed when it began; a hundred more for each job were a quarter of the
    time that the statements of a small backup took."""
    with Installation(files=3, file_bytes=1000, sources=1, postgres_options=(
            "-c", "fsync=off", "-c", "log_min_duration_statement=0", "-c", "log_line_prefix=%a ")) as place:
        jobs = [place.run("s1") for _ in range(3)]
        place.complete(*jobs)
        lines = (place.top / "pg/log").read_text(encoding="utf-8", errors="replace").splitlines()
        parsed = {name: sum(line.startswith(name + " ") and " parse " in line for line in lines)
                  for name in ("holdfast-worker", "holdfast-lease", "holdfast-job")}
        print(parsed)
        assert 0 < parsed["holdfast-job"] / len(jobs) < 40, parsed
        place.check()


def test_a_large_policy_leaves_no_memory_behind():
    """A source needs 13 KiB while the file is read; a scheduler of ten thousand kept 130 MB of it for ever. The
    same when it comes through the API."""
    with Installation(workers=0, files=0, sources=4000) as place:
        wait_until(lambda: place.count("SELECT count(*) FROM schedule") == len(place.sources), 120, "the policy is in force")
        first = memory(place.processes["c1"].pid)
        text = (place.top / "fleet.yaml").read_text(encoding="utf-8")
        (place.top / "fleet.yaml").write_text(text.replace("0 0 1 1 *", "0 0 2 1 *"), encoding="utf-8")
        done = subprocess.run([str(BUILD / "holdfast"), "policy", "apply", str(place.top / "fleet.yaml")], capture_output=True, text=True,
                              check=False, env={**os.environ, "HOLDFAST_SERVER": f"http://127.0.0.1:{place.api_c1}",
                                                "HOLDFAST_TOKEN_FILE": str(place.top / "secrets/token")})
        assert done.returncode == 0, done.stdout + done.stderr
        second = memory(place.processes["c1"].pid)
        print(first, second)
        assert max(first, second) < 45056, (first, second)
        place.check()
