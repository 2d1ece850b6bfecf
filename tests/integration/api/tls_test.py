#!/usr/bin/env -S /usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""The API of a real scheduler over TLS, with certificates made here: good, of a stranger, expired, of
another name; with clients that must show one; with files that change under it."""
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import stand as stands  # noqa: E402


def setUpModule():
    global stand
    stand = stands.Stand(tls=True)


def tearDownModule():
    stand.down()


def openssl(*words):
    done = subprocess.run(["openssl", *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


class Authority:
    """A CA of the test's own, in a directory of its own."""

    def __init__(self, name):
        self.dir = stand.home / name
        self.dir.mkdir()
        self.pem, self.key = self.dir / "ca.pem", self.dir / "ca.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", str(self.key),
                "-out", str(self.pem))

    def issue(self, name, alternative="IP:127.0.0.1", days="2", usage="serverAuth"):
        """(certificate, key); days below 0 have passed."""
        key, csr, pem = (self.dir / f"{name}.{end}" for end in ("key", "csr", "pem"))
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                "-keyout", str(key), "-out", str(csr))
        extra = self.dir / "extra"
        extra.write_text(f"subjectAltName={alternative}\nextendedKeyUsage={usage}\n")
        openssl("x509", "-req", "-days", days, "-in", str(csr), "-CA", str(self.pem), "-CAkey", str(self.key),
                "-CAcreateserial", "-extfile", str(extra), "-out", str(pem))
        return pem, key


def install(pem, key):
    """The scheduler's certificate becomes this one; it is told, and shows it."""
    place = stand.dir / "tls"
    (place / "server.key").write_bytes(key.read_bytes())
    (place / "server.pem").write_bytes(pem.read_bytes())
    os.kill(stand.pid("scheduler"), signal.SIGHUP)
    wanted = ssl.PEM_cert_to_DER_cert(pem.read_text())
    stand.until(lambda: shown() == wanted, "the new certificate")


def blind(low=ssl.TLSVersion.TLSv1_2, high=ssl.TLSVersion.MAXIMUM_SUPPORTED):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = low, high
    return context


def shown():
    with stand.dial() as plain, blind().wrap_socket(plain) as sealed:
        return sealed.getpeercert(binary_form=True)


class Tls(unittest.TestCase):
    def setUp(self):
        self.kept = [(path, path.read_bytes()) for path in (stand.dir / "tls").iterdir()]

    def tearDown(self):
        for path, content in self.kept:
            path.write_bytes(content)
        install(stand.dir / "tls/server.pem", stand.dir / "tls/server.key")

    def command(self, *words, **changed):
        environment = dict(stand.environment)
        environment.update(changed)
        return stand.command(*words, environment={k: v for k, v in environment.items() if v is not None})

    def assert_refused(self, done, code):
        self.assertNotEqual(done.returncode, 0, done.stdout)
        self.assertIn(f"[{code}]", done.stderr)
        self.assertEqual(done.stdout, "")

    def test_everything_works_over_tls_as_it_does_without(self):
        self.assertTrue(stand.environment["HOLDFAST_SERVER"].startswith("https://"))
        done = stand.back_up()
        self.assertEqual(done["state"], "completed", done)
        fetched = self.command("backup", "fetch", done["backup"], str(stand.tree / "small")[1:])
        self.assertEqual((fetched.returncode, fetched.stdout), (0, "one\n"), fetched.stderr)
        large = stand.home / "large"
        fetched = self.command("backup", "fetch", done["backup"], str(stand.tree / "large")[1:], "--out", str(large))
        self.assertEqual(fetched.returncode, 0, fetched.stderr)
        self.assertEqual(large.read_bytes(), (stand.tree / "large").read_bytes())
        text = (stand.home / "fleet.yaml").read_bytes() + b"#" * 900_000
        self.assertEqual(stand.ask("POST", "/policy/check", text).status, 200)
        for _ in range(3):
            connection = stand.connect()
            for _ in range(20):
                connection.request("GET", "/api/v1/version")
                self.assertEqual(connection.getresponse().read()[:11], b'{"version":')
            connection.close()

    def test_the_end_of_an_answer_is_told_from_a_cut(self):
        strict = ssl.create_default_context(cafile=str(stand.dir / "tls/ca.pem"))
        strict.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        with stand.dial() as plain, strict.wrap_socket(plain, server_hostname="127.0.0.1",
                                                       suppress_ragged_eofs=False) as sealed:
            sealed.sendall(b"GET /api/v1/version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = b""
            while piece := sealed.recv(4096):  # a cut is an SSLEOFError
                answer += piece
        self.assertIn(b'{"version":', answer)

    def test_a_certificate_of_a_stranger_of_another_name_or_of_yesterday_is_refused(self):
        stranger, ours = Authority("stranger"), Authority("ours")
        self.assert_refused(self.command("status", HOLDFAST_CA_FILE=str(ours.pem)), "http.certificate")
        self.assert_refused(self.command("status", HOLDFAST_CA_FILE=None), "http.certificate")
        self.assertEqual(self.command("status", "--ca-file", str(stand.dir / "tls/ca.pem"),
                                      HOLDFAST_CA_FILE=str(ours.pem)).returncode, 0)
        install(*ours.issue("good"))
        self.assertEqual(self.command("status", HOLDFAST_CA_FILE=str(ours.pem)).returncode, 0)
        install(*ours.issue("elsewhere", alternative="DNS:elsewhere.example"))
        self.assert_refused(self.command("status", HOLDFAST_CA_FILE=str(ours.pem)), "http.certificate")
        install(*ours.issue("past", days="-1"))
        self.assert_refused(self.command("status", HOLDFAST_CA_FILE=str(ours.pem)), "http.certificate")
        install(*stranger.issue("foreign"))
        self.assert_refused(self.command("status", HOLDFAST_CA_FILE=str(ours.pem)), "http.certificate")

    def test_files_that_do_not_fit_change_nothing(self):
        before = shown()
        place = stand.dir / "tls"
        pem, key = Authority("later").issue("later")
        size = (stand.dir / "log/scheduler.log").stat().st_size
        for cert, secret in ((b"nothing", key.read_bytes()), (pem.read_bytes(), (place / "server.key").read_bytes()),
                             (b"", b"")):
            (place / "server.pem").write_bytes(cert)
            (place / "server.key").write_bytes(secret)
            os.kill(stand.pid("scheduler"), signal.SIGHUP)
            stand.until(lambda: b"http.certificate_kept" in (stand.dir / "log/scheduler.log").read_bytes()[size:],
                        "the refusal")
            size = (stand.dir / "log/scheduler.log").stat().st_size
            self.assertEqual(shown(), before)
        self.assertEqual(stand.ask("GET", "/version", role=None).status, 200)
        log = (stand.dir / "log/scheduler.log").read_bytes()
        self.assertNotIn(b"PRIVATE", log)

    def test_old_versions_of_the_protocol_and_plain_text_are_not_spoken(self):
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            with stand.dial() as plain, self.assertRaises((ssl.SSLError, OSError)):
                blind(ssl.TLSVersion.TLSv1, version).wrap_socket(plain)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with stand.dial() as plain, blind(version, version).wrap_socket(plain) as sealed:
                self.assertIn(sealed.version(), ("TLSv1.2", "TLSv1.3"))
        self.assertNotIn(b"HTTP/1.1 200", stand.raw(b"GET /api/v1/version HTTP/1.1\r\nHost: x\r\n\r\n"))

    def test_clients_that_shake_no_hands_hold_up_nobody(self):
        held = []
        try:
            for n in range(200):
                held.append(stand.dial())
                if n % 2:
                    held[-1].sendall(b"\x16\x03\x01\x02\x00")
            began = time.monotonic()
            self.assertEqual(stand.ask("GET", "/status").status, 200)
            self.assertLess(time.monotonic() - began, 20)
        finally:
            for connection in held:
                connection.close()

    def test_a_scheduler_that_wants_certificates_talks_to_none_without(self):
        ours = Authority("clients")
        pem, key = ours.issue("operator", usage="clientAuth")
        other, other_key = Authority("others").issue("other", usage="clientAuth")
        home = stand.home / "second"
        home.mkdir()
        port = free_port()
        text = (stand.dir / "scheduler.yaml").read_text().replace(f":{stand.port}\n", f":{port}\n")
        (home / "scheduler.yaml").write_text(text + f"tls_client_ca: {ours.pem}\n")
        with open(home / "log", "wb") as log:
            second = subprocess.Popen([str(stands.BUILD / "holdfast-scheduler"), "--config", str(home / "scheduler.yaml")],
                                      stderr=log)
        try:
            stand.until(lambda: b"scheduler.started" in (home / "log").read_bytes(), "the second scheduler")
            there = {"HOLDFAST_SERVER": f"https://127.0.0.1:{port}"}
            self.assertNotEqual(self.command("status", **there).returncode, 0)
            self.assertNotEqual(self.command("status", "--cert-file", str(other), "--key-file", str(other_key),
                                             **there).returncode, 0)
            done = self.command("status", "--cert-file", str(pem), "--key-file", str(key), **there)
            self.assertEqual(done.returncode, 0, done.stderr)
            done = self.command("status", HOLDFAST_CERT_FILE=str(pem), HOLDFAST_KEY_FILE=str(key), **there)
            self.assertEqual(done.returncode, 0, done.stderr)
            done = self.command("status", HOLDFAST_CERT_FILE=str(pem), HOLDFAST_KEY_FILE=str(other_key), **there)
            self.assert_refused(done, "http.own_certificate")
        finally:
            second.terminate()
            self.assertEqual(second.wait(stands.WAIT), 0)

    def test_a_scheduler_with_half_a_pair_does_not_start(self):
        home = stand.home / "half"
        home.mkdir()
        text = (stand.dir / "scheduler.yaml").read_text()
        for line, words in (("tls_key", "tls_cert and tls_key"), ("tls_cert", "tls_cert and tls_key")):
            kept = "".join(row + "\n" for row in text.splitlines() if not row.startswith(line))
            (home / "scheduler.yaml").write_text(kept.replace(f":{stand.port}\n", ":0\n"))
            done = subprocess.run([str(stands.BUILD / "holdfast-scheduler"), "--config", str(home / "scheduler.yaml")],
                                  capture_output=True, text=True, timeout=120, check=False)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(words, done.stderr)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    unittest.main(verbosity=2, failfast=True)
