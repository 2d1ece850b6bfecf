# SPDX-License-Identifier: Apache-2.0
"""Certificates for servers of tests, made anew each time."""
import subprocess


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=60)


def certificates(top):
    """ca.pem and what it vouches for, server.pem; and stranger.pem, a CA that vouches for nothing here."""
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    for name in ("ca", "stranger"):
        openssl("req", "-x509", *curve, "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                "-keyout", top / f"{name}.key", "-out", top / f"{name}.pem")
    (top / "extra").write_text("subjectAltName=DNS:localhost,DNS:backups.localhost\nextendedKeyUsage=serverAuth\n")
    openssl("req", *curve[:-2], "-subj", "/CN=server", "-keyout", top / "server.key", "-out", top / "server.csr")
    openssl("x509", "-req", "-days", "2", "-in", top / "server.csr", "-CA", top / "ca.pem", "-CAkey", top / "ca.key",
            "-CAcreateserial", "-extfile", top / "extra", "-out", top / "server.pem")
