# SPDX-License-Identifier: Apache-2.0
"""A whole installation for one fault test: the real programs over a private PostgreSQL and Redis, each
program behind proxies of its own, timers short. Everything lies below one directory and is ended by
the kernel when the test dies. A failure of the installation itself raises.

    with Installation(workers=2) as place:
        job = place.run("s1")
        place.proxies["w1"]["catalogue"].rule("down", "cut", pattern="backup_commit")
        place.check()      # waits until all work has ended, then the invariants"""
import ctypes
import fcntl
import glob
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

import faultio
import invariants
from proxy import Proxy

BUILD = pathlib.Path(os.environ["HOLDFAST_BUILD"]).resolve()
BINARIES = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1] + "/"
# Losses are many here and mean nothing: poison is a test of its own.
TIMERS = {"lease_s": 2, "beat_s": 0.5, "liveness_s": 2, "looks_s": 0.5, "grace_s": 1, "requeue_s": 1, "requeue_force_s": 30,
          "loss_backoff_s": 0.2, "loss_backoff_max_s": 1, "leader_s": 2, "defer_min_s": 0.1, "defer_max_s": 0.3, "max_losses": 50,
          "mass_wait_s": 3}
ROOT = os.geteuid() == 0


def die_with_us():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def free_port():
    """Below those that the system gives to connections: one of them may have taken a port of these before its
    server is started, and a server that cannot listen is a test that fails."""
    while True:
        port = secrets.choice(range(10240, 32768))
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def as_server():
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig", "KILL"] if ROOT else []


def wait_until(condition, seconds=60, what="a condition"):
    """A busy machine makes it slow, never wrong: waits for the condition, not for a time."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"never: {what}")
        time.sleep(0.03)


class Postgres:
    """initdb once a scratch directory and user; each server starts from a copy."""

    def __init__(self, directory, options=(), copy_of=None):
        self.directory, self.options, self.port, self.process = directory, list(options), free_port(), None
        directory.mkdir(mode=0o700)
        if ROOT:
            shutil.chown(directory, "postgres", "postgres")
        if copy_of is None:
            subprocess.run(["cp", "-a", str(self.template()), str(directory / "data")], check=True)
        else:
            subprocess.run(as_server() + [BINARIES + "pg_basebackup", "-h", str(copy_of.directory), "-p", str(copy_of.port),
                                          "-U", "postgres", "-D", str(directory / "data"), "-R", "-X", "stream", "--no-sync",
                                          "-c", "fast"], check=True, cwd="/", capture_output=True)
        self.start()

    @staticmethod
    def template():
        base = pathlib.Path(tempfile.gettempdir()) / f"hf-postgres-template-{os.geteuid()}"
        with open(f"{base}.lock", "a", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (base / "ready").exists():
                shutil.rmtree(base, ignore_errors=True)
                base.mkdir(mode=0o700)
                if ROOT:
                    shutil.chown(base, "postgres", "postgres")
                subprocess.run(as_server() + [BINARIES + "initdb", "-D", str(base / "data"), "-U", "postgres", "-A", "trust",
                                              "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"],
                               check=True, cwd="/", stdout=subprocess.DEVNULL)
                (base / "ready").touch()
        return base / "data"

    def start(self, environment=None):
        log = open(self.directory / "log", "ab")
        self.process = subprocess.Popen(
            as_server() + [BINARIES + "postgres", "-D", str(self.directory / "data"), "-c", "listen_addresses=127.0.0.1",
                           "-c", f"port={self.port}", "-c", f"unix_socket_directories={self.directory}",
                           "-c", "max_connections=200", *self.options],
            stdout=log, stderr=log, cwd="/", preexec_fn=die_with_us, env={**os.environ, **(environment or {})})
        log.close()
        wait_until(lambda: subprocess.run([BINARIES + "pg_isready", "-q", "-h", str(self.directory), "-p", str(self.port)],
                                          check=False).returncode == 0, what="PostgreSQL accepts")

    def conninfo(self, database="holdfast"):
        return f"host={self.directory} port={self.port} user=postgres dbname={database}"

    def kill(self, how=signal.SIGQUIT):
        """SIGQUIT: immediate, like the power failing."""
        self.process.send_signal(how)
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.kill()


class RedisServer:
    at, inside = "127.0.0.1", ()  # another host, and the words before a command that make it run there

    def __init__(self, directory, options=()):
        self.directory, self.options, self.port = directory, list(options), free_port()
        directory.mkdir()
        self.start()

    def start(self, options=()):
        self.process = subprocess.Popen(
            [*self.inside, "redis-server", "--port", str(self.port), "--bind", self.at, "--dir", str(self.directory), "--save", "",
             "--appendonly", "no", "--maxmemory-policy", "noeviction", *self.options, *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_us)
        wait_until(self.answers, what="Redis answers")

    def url(self, proxy):
        """How a program reaches it through its proxy."""
        return f"redis://127.0.0.1:{proxy.port}/0"

    def ports(self):
        return str(self.port)

    def look(self):
        return invariants.Redis(self.port, self.at)

    def answers(self):
        try:
            return self("PING") == "PONG"
        except (OSError, RuntimeError):
            return False

    def __call__(self, *words):
        one = invariants.Redis(self.port, self.at)
        try:
            return one(*words)
        finally:
            one.close()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.kill()


class Installation:
    base_timers = TIMERS

    def __init__(self, workers=1, sources=2, schedulers=1, files=24, file_bytes=60000, rate="", policy="", schedule="0 0 1 1 *",
                 timers=None, slots=4, retry="attempts: 20, backoff: 1s, max_backoff: 1s", postgres_options=("-c", "fsync=off"),
                 redis_options=(), environment=None, drain="15s", store=None, redis=RedisServer, names=None, prune=False):
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="hf-fault."))
        self.top.chmod(0o755)
        self.slots, self.drain, self.timers = slots, drain, {**self.base_timers, **(timers or {})}
        self.processes, self.proxies, self.faults, self.jobs = {}, {}, {}, []
        self.sources = names or [f"s{i}" for i in range(1, sources + 1)]
        self.prune = prune  # workers may delete
        self.store = pathlib.Path(store) if store else self.top / "store"
        self.closed = False
        self.redis_as = redis
        try:
            self.build(workers, schedulers, files, file_bytes, rate, policy, schedule, retry, postgres_options, redis_options,
                       environment or {})
        except BaseException:
            self.close()
            raise

    # --- building --------------------------------------------------------------------------------

    def build(self, workers, schedulers, files, file_bytes, rate, policy, schedule, retry, postgres_options, redis_options,
              environment):
        for name in ("keys", "store", "secrets", "credentials", "hooks", "log", "tree", "restore"):
            (self.top / name).mkdir(mode=0o700)
        for source in self.sources:
            self.grow(source, files, file_bytes)
        self.postgres = self.start_postgres(postgres_options)
        self.redis = self.redis_as(self.top / "redis", redis_options)
        self.sql_in("postgres", "CREATE ROLE holdfast_admin SUPERUSER LOGIN; CREATE DATABASE holdfast OWNER holdfast_admin")
        self.catalogue = invariants.Catalogue(self.postgres.conninfo(), BINARIES + "psql")
        self.make_keys()
        (self.top / "fleet.yaml").write_text(self.fleet(rate, policy, schedule, retry), encoding="utf-8")
        for number in range(1, schedulers + 1):
            self.write_scheduler(f"c{number}")
        self.program("scheduler", "c1", "migrate")
        for number in range(1, schedulers + 1):
            self.start_scheduler(f"c{number}", environment)
        for number in range(1, workers + 1):
            self.hire(f"w{number}", environment)
        self.wait_workers(workers)

    def fleet(self, rate, policy, schedule, retry):
        """The fleet file."""
        limits = f", limits: {{rate: {rate}}}" if rate else ""
        sources = "".join(f"  {s}: {{type: files, policy: p, paths: [{self.top}/tree/{s}]}}\n" for s in self.sources)
        return (
            "version: 1\nfleet: faults\n"
            f"defaults: {{timezone: UTC, encryption: local, retry: {{{retry}}}}}\n"
            f"keys: {{local: {{}}}}\nstores: {{main: {{type: local, path: {self.store}}}}}\n"
            f"policies: {{p: {{schedule: \"{schedule}\", copies: [{{store: main}}]{limits}{policy}}}}}\n"
            f"sources:\n{sources}")

    # Where the parts are, of whoever places them elsewhere: hosts.py.

    def start_postgres(self, options):
        return Postgres(self.top / "pg", options)

    def servers(self, name):
        """(catalogue, Redis) as the program of this name reaches them."""
        link = self.links(name)
        return f"host=127.0.0.1 port={link['catalogue'].port}", self.redis.url(link["redis"])

    def address(self, name):
        return "127.0.0.1"

    def restore_paths(self):
        """Below which directories workers may restore."""
        return [self.top / "restore"]

    def inside(self, name):
        """The words before a command that make it run where this program lives."""
        return []

    def grow(self, source, files, file_bytes):
        tree = self.top / "tree" / source
        tree.mkdir(exist_ok=True)
        for number in range(files):
            (tree / f"f{number:03}").write_bytes(os.urandom(file_bytes))

    def make_keys(self):
        keys = self.top / "keys"
        host = socket.gethostname()
        self.tool("key", "create", "local", "--dir", keys)
        self.tool("key", "enroll", host, "--kit", keys / "local.kit", "--keys", keys / "local.keys", "--dir", keys)
        if self.prune:
            self.tool("key", "enroll", host, "--role", "prune", "--kit", keys / "local.kit", "--keys", keys / "local.keys", "--dir", keys)
        self.tool("repo", "create", "local", "--store", self.store, "--kit", keys / "local.kit", "--keys", keys / "local.keys")

    def tool(self, *words):
        return subprocess.run([str(BUILD / "holdfast-worker"), *map(str, words)], check=True, capture_output=True, text=True).stdout

    def links(self, name):
        """The proxies of one program, made once."""
        if name not in self.proxies:
            self.proxies[name] = {"catalogue": Proxy("127.0.0.1", self.postgres.port), "redis": Proxy("127.0.0.1", self.redis.port)}
        return self.proxies[name]

    def write_scheduler(self, name):
        catalogue, redis = self.servers(name)
        listen = free_port()
        password = self.secret("scheduler")
        catalogue += " dbname=holdfast"
        (self.top / f"{name}.yaml").write_text(
            f'catalogue: "{catalogue} user=holdfast_scheduler"\ncatalogue_password: {{file: "{password}"}}\n'
            f'admin: "{catalogue} user=holdfast_admin"\nredis: {redis}\n'
            f"policy: {self.top}/fleet.yaml\nlisten: {self.address(name)}:{listen}\nadmin_token_file: {self.top}/secrets/token\n"
            f"timers: {json.dumps(self.timers)}\n", encoding="utf-8")
        setattr(self, f"api_{name}", listen)

    def secret(self, name):
        path = self.top / "secrets" / name
        if not path.exists():
            path.write_text(os.urandom(16).hex(), encoding="ascii")
            path.chmod(0o600)
        return path

    def program(self, which, name, *words):
        command = [str(BUILD / f"holdfast-{which}"), "--config", str(self.top / f"{name}.yaml"), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{command}: {done.stdout}{done.stderr}")

    def start(self, name, command, environment):
        log = open(self.top / "log" / name, "ab")
        self.processes[name] = subprocess.Popen(self.inside(name) + command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                                preexec_fn=die_with_us, env={**os.environ, **environment})
        log.close()

    def start_scheduler(self, name, environment=None, *words):
        self.start(name, [str(BUILD / "holdfast-scheduler"), "--config", str(self.top / f"{name}.yaml"), *words], environment or {})
        port = getattr(self, f"api_{name}")

        def listens():
            if self.processes[name].poll() is not None:
                return True
            with socket.socket() as one:
                return one.connect_ex((self.address(name), port)) == 0
        wait_until(listens, what=f"{name} listens")

    def enroll(self, name):
        catalogue, redis = self.servers(name)
        password = self.secret(name)
        deletes = "  prune_packs: 100000\n" if self.prune else ""
        self.program("scheduler", "c1", "enroll", name, "--pools", "default", "--reader",
                     *(["--prune"] if self.prune else []), "--password-file", password)
        (self.top / f"cache-{name}").mkdir(exist_ok=True)
        (self.top / f"{name}.yaml").write_text(
            f'name: {name}\nslots: {self.slots}\ncatalogue: "{catalogue} dbname=holdfast user={name}"\n'
            f'catalogue_password: {{file: "{password}"}}\nredis: {redis}\n'
            f"credentials: {self.top}/credentials\nhooks: {self.top}/hooks\ncache: {self.top}/cache-{name}\nkeys: {self.top}/keys\n"
            f"drain: {self.drain}\nkill_grace: 2s\nallow:\n  key_sets: [local]\n  stores: [main]\n{deletes}"
            f"  restore: {{paths: [{', '.join(map(str, self.restore_paths()))}]}}\n", encoding="utf-8")

    def hire(self, name, environment=None, faults=False):
        """Enrols and starts a worker. faults: under the fault library, its plan in self.faults[name]."""
        environment = dict(environment or {})
        if not (self.top / f"{name}.yaml").exists():
            self.enroll(name)
        if faults:
            self.faults[name] = faultio.Plan(self.top / f"faults-{name}")
            environment.update(self.faults[name].environment())
        self.start(name, [str(BUILD / "holdfast-worker"), "run", "--config", str(self.top / f"{name}.yaml")], environment)

    def wait_workers(self, count):
        wait_until(lambda: int(self.catalogue.one(
            "SELECT count(DISTINCT worker) FROM worker_instance WHERE bye_at IS NULL")) >= count, what=f"{count} workers said hello")

    # --- acting ----------------------------------------------------------------------------------

    def sql_in(self, database, sql):
        for each in sql.split("; "):
            subprocess.run([BINARIES + "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.postgres.conninfo(database), "-c", each],
                           check=True, capture_output=True)

    def do(self, sql):
        self.catalogue.rows(sql)

    def count(self, sql):
        return int(self.catalogue.one(sql) or 0)

    def call(self, verb, path, body=None, scheduler="c1"):
        token = (self.top / "secrets" / "token").read_text(encoding="ascii").strip()
        request = urllib.request.Request(
            f"http://{self.address(scheduler)}:{getattr(self, 'api_' + scheduler)}/api/v1{path}", method=verb,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def run(self, source, kind="backup"):
        """A manual job, made in the catalogue as the API makes it; its number."""
        return int(self.catalogue.one(f"SELECT job FROM job_create('{kind}', 'manual', '{source}', NULL, '{{}}', 'test', NULL, 0, NULL)"))

    def wait_job(self, job, condition="finished_at IS NOT NULL", seconds=90):
        try:
            wait_until(lambda: self.count(f"SELECT count(*) FROM job WHERE id = {job} AND ({condition})"), seconds, condition)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.catalogue.rows(f'SELECT to_jsonb(j) FROM job j WHERE id = {job}')}") from None

    def state(self, job):
        return self.catalogue.one(f"SELECT state FROM job WHERE id = {job}")

    def attempts(self, job):
        return self.count(f"SELECT attempt FROM job WHERE id = {job}")

    def complete(self, *jobs, seconds=120):
        for job in jobs:
            self.wait_job(job, seconds=seconds)
            assert self.state(job) == "completed", self.catalogue.rows(f"SELECT to_jsonb(j) FROM job j WHERE id = {job}")

    def kill(self, name, number=signal.SIGKILL):
        self.processes[name].send_signal(number)
        return self.processes[name].wait()

    def child(self, name):
        """Pid of a job child of a worker; 0 when it has none."""
        path = pathlib.Path(f"/proc/{self.processes[name].pid}/task/{self.processes[name].pid}/children")
        try:
            return int((path.read_text(encoding="ascii").split() or ["0"])[0])
        except OSError:
            return 0

    def adopt(self, server):
        """Another PostgreSQL is the catalogue's from now on."""
        self.postgres = server
        self.catalogue.conninfo = server.conninfo()
        for links in self.proxies.values():
            links["catalogue"].target = ("127.0.0.1", server.port)
            links["catalogue"].cut()

    def heal(self):
        for links in self.proxies.values():
            for each in links.values():
                each.heal()
        for plan in self.faults.values():
            plan.heal()

    # --- the end ---------------------------------------------------------------------------------

    def settle(self, seconds=150):
        """Faults have stopped: every job ends, Redis forgets what has ended. Work that goes on is waited for; what stands
        still for so long never ends."""
        ended, left, since = invariants.ENDED, None, time.monotonic()
        while True:
            rows = self.catalogue.rows(f"SELECT id, kind, state, attempt, error FROM job WHERE state NOT IN {ended} ORDER BY id")
            if not rows and not list(invariants.redis_problems(self.catalogue, self.redis.look(), True)):
                return
            if left is None or len(rows) < len(left):
                left, since = rows, time.monotonic()
            if time.monotonic() > since + seconds:
                raise AssertionError(f"never: all work ended: {rows}")
            time.sleep(0.1)

    def options(self):
        words = ["--catalogue", self.postgres.conninfo(), "--psql", BINARIES + "psql", "--redis", f"{self.redis.at}:{self.redis.ports()}",
                 "--store", str(self.store), "--keys", str(self.top / "keys"), "--worker", str(BUILD / "holdfast-worker")]
        for name in ("scheduler", *[n for n in self.processes if n.startswith("w")]):
            words += ["--canary", self.secret(name).read_text(encoding="ascii")]
        for source in self.sources:
            words += ["--tree", f"{source}={self.top}/tree/{source}"]
        for path in sorted((self.top / "log").iterdir()):
            words += ["--log", str(path)]
        for process in self.processes.values():
            words += ["--process", str(process.pid)] if process.poll() is None else []
        return invariants.arguments(words)

    def check(self, seconds=150, clock_moved=False):
        self.heal()
        self.do("UPDATE source SET paused_until = 'infinity'")  # a slot of this minute would be work again
        self.settle(seconds)
        options = self.options()
        options.clock_moved = clock_moved
        found = invariants.check(options)
        self.do("UPDATE source SET paused_until = NULL")
        assert not found, invariants.describe(found)

    def check_idle(self):
        """The same, with a fresh worker where none is left."""
        self.hire("wlast")
        self.check()

    def logs(self, lines=25):
        for path in sorted((self.top / "log").iterdir()):
            print(f"--- {path.name}")
            print("\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]))

    def close(self):
        if self.closed:
            return
        self.closed = True
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
        for links in self.proxies.values():
            for each in links.values():
                each.close()
        for server in ("redis", "postgres"):
            if hasattr(self, server):
                getattr(self, server).stop()
        if not os.environ.get("HOLDFAST_KEEP"):
            shutil.rmtree(self.top, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        if kind is not None:
            self.logs()
        self.close()
