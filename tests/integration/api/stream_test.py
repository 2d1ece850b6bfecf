#!/usr/bin/env -S /usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Files on their way from a worker through the API to whoever asked: whole, or visibly not."""
import contextlib
import hashlib
import http.client
import os
import pathlib
import signal
import socket
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import stand as stands  # noqa: E402


def setUpModule():
    global stand, backup
    stand = stands.Stand()
    backup = stand.back_up()["backup"]


def tearDownModule():
    stand.down()


class Fetch(threading.Thread):
    """GET …/fetch in a thread of its own."""

    def __init__(self, path, role="restorer", whole=True):
        super().__init__(daemon=True)
        self.path, self.role, self.whole = path, role, whole
        self.status, self.body, self.broken = None, b"", None
        self.connection = http.client.HTTPConnection("127.0.0.1", stand.port, timeout=stands.WAIT)
        self.start()

    def run(self):
        try:
            self.connection.request("GET", f"/api/v1/backups/{backup}/fetch?path={stands.quote(self.path)}",
                                    headers={"Authorization": f"Bearer {stand.tokens[self.role]}"})
            answer = self.connection.getresponse()
            self.status = answer.status
            if self.whole:
                self.body = answer.read()
        except (http.client.HTTPException, OSError) as error:
            self.broken = error

    def end(self):
        self.join(stands.WAIT)
        assert not self.is_alive(), "the answer does not end"
        if self.whole:
            self.connection.close()
        return self


@contextlib.contextmanager
def without_worker():
    """The worker is stopped, so that the test itself may send the pieces."""
    os.kill(stand.pid("worker-1"), signal.SIGSTOP)
    try:
        seen.update(stand.sql("SELECT params #>> '{fetch,stream}' FROM holdfast.job WHERE params ? 'fetch'").split())
        yield
    finally:
        os.kill(stand.pid("worker-1"), signal.SIGCONT)


seen = set()


def ticket():
    """The one-use ticket of a fetch that was not seen before."""
    def look():
        found = set(stand.sql("SELECT params #>> '{fetch,stream}' FROM holdfast.job WHERE params ? 'fetch'").split())
        return found - seen
    new = stand.until(look, "a ticket")
    seen.update(new)
    return new.pop()


def put(name, piece, **query):
    words = "&".join(f"{key}={value}" for key, value in query.items())
    return stand.ask("PUT", f"/streams/{name}?{words}", piece, role=None)


class Streams(unittest.TestCase):
    def tearDown(self):
        stand.sql("SELECT holdfast.job_cancel(id, 'test', '') FROM holdfast.job WHERE params ? 'fetch'"
                  " AND state IN ('pending', 'queued')")

    def test_a_file_arrives_byte_for_byte(self):
        for name in ("small", "large", "empty"):
            fetched = Fetch(f"{stand.tree}/{name}").end()
            self.assertEqual((fetched.status, fetched.broken), (200, None))
            self.assertEqual(hashlib.sha256(fetched.body).digest(),
                             hashlib.sha256((stand.tree / name).read_bytes()).digest(), name)

    def test_several_at_once_do_not_mix(self):
        names = ["small", "large", "empty"] * 4
        fetches = [Fetch(f"{stand.tree}/{name}") for name in names]
        for name, fetched in zip(names, fetches):
            fetched.end()
            self.assertEqual((fetched.status, fetched.body), (200, (stand.tree / name).read_bytes()), name)

    def test_what_is_not_there_is_told(self):
        fetched = Fetch(f"{stand.tree}/none").end()
        self.assertEqual(fetched.status, 502)
        self.assertIn(b'"code":"fetch.missing"', fetched.body)
        fetched = Fetch(str(stand.tree)).end()
        self.assertEqual(fetched.status, 502)
        self.assertIn(b'"code":"fetch.not_a_file"', fetched.body)
        for path, status in (("", 400), ("?path=", 400), ("?path=%00", 400), ("?path=%ff", 400)):
            answer = stand.ask("GET", f"/backups/{backup}/fetch{path}", role="restorer")
            self.assertEqual(answer.status, status, path)
        self.assertEqual(stand.ask("GET", f"/backups/{backup}/fetch?path=x", role="operator").status, 403)

    def test_a_piece_is_taken_at_its_place_alone_and_once(self):
        with without_worker():
            fetched = Fetch("/any")
            name = ticket()
            self.assertEqual(put("none", b"x", offset=0).status, 410)
            self.assertEqual(put(name, b"x", offset=1).status, 409)
            self.assertEqual(put(name, b"x").status, 400)
            self.assertEqual(put(name, b"abc", offset=0).status, 200)
            self.assertEqual(put(name, b"abc", offset=0).status, 200)
            self.assertEqual(put(name, b"cd", offset=2).status, 409)
            self.assertEqual(put(name, b"de", offset=3, end=1).status, 200)
            self.assertEqual(put(name, b"de", offset=3, end=1).status, 200)
            self.assertEqual((fetched.end().status, fetched.body), (200, b"abcde"))

    def test_a_worker_is_told_that_the_caller_left(self):
        with without_worker():
            fetched = Fetch("/any", whole=False)
            name = ticket()
            self.assertEqual(put(name, b"abc", offset=0).status, 200)
            fetched.end()
            fetched.connection.close()
            stand.until(lambda: put(name, b"", offset=3).status == 410, "410")
            fetched = Fetch("/any", whole=False)
            name = ticket()
            fetched.connection.sock.shutdown(socket.SHUT_RDWR) # before its first byte
            stand.until(lambda: put(name, b"", offset=0).status == 410, "410")
            fetched.end()
            fetched.connection.close()

    def test_half_a_file_never_looks_like_a_whole_one(self):
        with without_worker():
            fetched = Fetch("/any")
            name = ticket()
            self.assertEqual(put(name, b"abc", offset=0).status, 200)
            self.assertEqual(put(name, b"", offset=3, error="source.broke").status, 200)
            self.assertIsInstance(fetched.end().broken, http.client.HTTPException)
            out = stand.home / "half"
            running = threading.Thread(target=lambda: setattr(self, "done", stand.command(
                "backup", "fetch", backup, "/any", "--out", str(out))))
            running.start()
            name = ticket()
            self.assertEqual(put(name, b"abc", offset=0).status, 200)
            self.assertEqual(put(name, b"", offset=3, error="source.broke").status, 200)
            running.join(stands.WAIT)
            self.assertNotEqual(self.done.returncode, 0)
            self.assertFalse(out.exists(), "half a file was left")

    def test_the_command_writes_a_new_private_file(self):
        out = stand.home / "fetched"
        done = stand.command("backup", "fetch", "tree@latest", f"{stand.tree}/large", "--out", str(out), "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(out.read_bytes(), (stand.tree / "large").read_bytes())
        self.assertEqual(out.stat().st_mode & 0o777, 0o600)
        again = stand.command("backup", "fetch", "tree", f"{stand.tree}/small", "--out", str(out))
        self.assertNotEqual(again.returncode, 0)
        self.assertEqual(out.read_bytes(), (stand.tree / "large").read_bytes())
        self.assertEqual(stand.command("backup", "fetch", "tree", f"{stand.tree}/small").stdout, "one\n")


if __name__ == "__main__":
    unittest.main(verbosity=2, failfast=True)
