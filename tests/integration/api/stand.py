# SPDX-License-Identifier: Apache-2.0
"""A whole installation for one test program: PostgreSQL, Redis, a scheduler and a worker on loopback,
started and stopped by deploy/local in a temporary directory. HOLDFAST_BUILD names the programs."""
import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("HOLDFAST_BUILD", ROOT / "build")).resolve()
WAIT = 60
ROLES = ("viewer", "operator", "restorer", "auditor", "admin")

FLEET = """version: 1
fleet: stand
defaults: {{timezone: UTC, encryption: local, retry: {{attempts: 2, backoff: 2s, max_backoff: 4s}}}}
keys: {{local: {{}}}}
stores: {{main: {{type: local, path: {dir}/store}}}}
pools: {{far: {{}}}}
policies:
  daily: {{schedule: "@daily", copies: [{{store: main}}]}}
sources:
  tree: {{type: files, policy: daily, paths: [{tree}]}}
  broken: {{type: files, policy: daily, paths: [{dir}/none]}}
  far: {{type: files, policy: daily, paths: [{tree}], run_on: {{pool: far}}}}
"""


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.body[:300]!r}"


class Stand:
    def __init__(self, tls=False):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="hf-api."))
        self.home.chmod(0o755)
        self.dir = self.home / "local"
        self.tree = self.home / "tree"
        self.tokens = {}
        self.tls = ["--tls"] if tls else []
        self.trust = None
        try:
            self._fill_tree()
            self._up()
        except BaseException:
            self.down()
            raise

    def _fill_tree(self):
        self.tree.mkdir()
        (self.tree / "small").write_text("one\n")
        (self.tree / "large").write_bytes(os.urandom(3_500_000))
        (self.tree / "empty").write_bytes(b"")
        (self.tree / "odd\x1b[31m\n\u009b\u202e%name").write_text("odd\n")
        (self.home / "fleet.yaml").write_text(FLEET.format(dir=self.dir, tree=self.tree))

    def _up(self):
        done = self.local("up", "--workers", "1", "--policy", str(self.home / "fleet.yaml"), *self.tls)
        if done.returncode != 0:
            raise RuntimeError(done.stdout + done.stderr + self.log("scheduler"))
        text = (self.dir / "env").read_text()
        self.environment = dict(os.environ, PATH=f"{BUILD}:{os.environ['PATH']}", LC_ALL="C.UTF-8", TZ="UTC",
                                **dict(re.findall(r"^export (HOLDFAST_\w+)=(.*)$", text, re.M)))
        self.port = int(self.environment["HOLDFAST_SERVER"].rsplit(":", 1)[1])
        if self.tls:
            self.trust = ssl.create_default_context(cafile=str(self.dir / "tls/ca.pem"))
        self.tokens["admin"] = (self.dir / "secrets/admin.token").read_text().strip()
        for role in ROLES[:-1]:
            made = self.ask("POST", "/tokens", {"role": role, "name": f"a-{role}", "expires": "1d"})
            assert made.status == 201, made
            self.tokens[role] = made.json["token"]

    def local(self, verb, *words):
        return subprocess.run([str(ROOT / "deploy/local"), verb, "--dir", str(self.dir), *words], text=True,
                              capture_output=True, timeout=240, check=False,
                              env=dict(os.environ, HOLDFAST_BIN=str(BUILD), HOLDFAST_LOCAL_TIMERS=""))

    def log(self, name):
        with contextlib.suppress(OSError):
            return (self.dir / f"log/{name}.log").read_text()[-4000:]
        return ""

    def pid(self, name):
        return int((self.dir / f"run/{name}.pid").read_text())

    def down(self):
        with contextlib.suppress(OSError, ValueError):
            os.kill(self.pid("worker-1"), signal.SIGCONT)
        if (self.dir / "run").exists():
            self.local("down")
        shutil.rmtree(self.home, ignore_errors=True)

    # --- requests -------------------------------------------------------------------------------

    def ask(self, method, path, body=None, role="admin", headers=None):
        """A request below /api/v1; a body that is not bytes goes out as JSON."""
        given = dict(headers or {})
        if role is not None and "Authorization" not in given:
            given["Authorization"] = f"Bearer {self.tokens[role]}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            given.setdefault("Content-Type", "application/json")
        connection = self.connect()
        try:
            connection.request(method, "/api/v1" + path, body, given)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def connect(self):
        if self.tls:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=WAIT, context=self.trust)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)

    def dial(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=WAIT)

    def raw(self, text):
        """What comes back for these bytes, until the other side closes."""
        with self.dial() as connection:
            with contextlib.suppress(OSError):
                connection.sendall(text)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := connection.recv(65536):
                    answer += piece
        return answer

    # --- the rest -------------------------------------------------------------------------------

    def sql(self, text):
        done = subprocess.run(
            ["psql", "-X", "-q", "-A", "-t", "-h", "127.0.0.1", "-p", self.environment["HOLDFAST_LOCAL_PG_PORT"],
             "-U", "holdfast_admin", "-d", "holdfast", "-v", "ON_ERROR_STOP=1", "-c", text],
            env=dict(os.environ, PGPASSFILE=str(self.dir / "secrets/pgpass")), text=True, capture_output=True,
            timeout=WAIT, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def command(self, *words, environment=None, typed=""):
        """`holdfast WORDS`; text that is not UTF-8 is kept as it is."""
        return subprocess.run([str(BUILD / "holdfast"), *words], env=environment or self.environment, input=typed,
                              text=True, errors="surrogateescape", capture_output=True, timeout=240, check=False)

    def until(self, condition, what, seconds=WAIT):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError(f"{what} did not come within {seconds} s\n{self.log('scheduler')}\n{self.log('worker-1')}")

    def ended(self, job):
        """The job once it has ended."""
        final = ("completed", "partial", "failed", "cancelled", "skipped", "missed")

        def look():
            shown = self.ask("GET", f"/jobs/{job}").json
            return shown if shown["state"] in final else None
        return self.until(look, f"the end of {job}")

    def back_up(self, source="tree"):
        job = self.ask("POST", f"/sources/{source}/run").json["id"]
        return self.ended(job)


def quote(text):
    return urllib.parse.quote(text, safe="")
