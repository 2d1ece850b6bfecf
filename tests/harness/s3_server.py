# SPDX-License-Identifier: Apache-2.0
"""A strict S3 server for tests: one bucket after the other in a directory, signatures and payload
hashes verified, rights per key, conditional puts, uploads in parts, locks, small pages, and faults
on demand. What a client gets wrong is refused, never forgiven.

  s3_server.py DIR [--port N] [--tls]     prints the port, serves until its standard input closes

DIR/data/BUCKET/KEY is an object, DIR/meta has what was said of it, DIR/uploads what is not whole,
DIR/log one line of JSON a request, with when it began and ended and how many bodies were on their way
when it came. With --tls DIR/ca.pem vouches for "localhost" and "backups.localhost", DIR/stranger.pem for
nobody. DIR/control.json is read for each request:
  keys      {id: {"secret", "rights": "put,get,list,delete,abort", "token"}}
  region, page (rows), part (least bytes of a middle part), quota (bytes in all), clock (s ahead)
  condition "honour" | "ignore" | "refuse": what becomes of If-None-Match
  lock      true: the buckets have object locks
  host      a bucket may stand before this name in the Host header
  unsigned  true: a body whose hash the signature does not cover is taken, as other clients send it over TLS
  role      {"id", "seconds"}: the machine's role has this key for so long; asked for as on EC2
  faults    [{"id", "op", "key": regex, "kind", "times", …}], see FAULTS; one with a new id is new
"""
import argparse
import base64
import datetime
import email.utils
import hashlib
import hmac
import http.server
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import struct
import sys
import threading
import time
import urllib.parse
import uuid
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from certificates import certificates
from s3_copies import Copies, Refusal

NS = "http://s3.amazonaws.com/doc/2006-03-01/"
CLASSES = {"STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"}
DEFAULTS = {"keys": {}, "region": "us-east-1", "page": 100, "part": 5 << 20, "quota": None, "clock": 0,
            "condition": "honour", "unsigned": False, "lock": False, "host": None, "role": None, "faults": []}
# What may befall a request: error (instead of doing it), after (done, and an error told), reset
# (instead), reset_after (done), error200 (a refusal with status 200; done where "done"), cut (half of
# the answer's body), short (an answer that is cut and looks whole), swallow (half of the request's
# body is read), stall (no answer for "seconds"), late (done after them), gather (done when "count" bodies
# are on their way), slow (the answer in crumbs), garbage (200 and no
# document), redirect, loop (a page names itself), hide (a listing lacks each second row).
FAULTS = {"error", "after", "reset", "reset_after", "error200", "cut", "short", "swallow", "stall", "slow",
          "late", "gather", "garbage", "redirect", "loop", "hide"}


class Place:
    """The directory, and what must not happen twice at a time."""

    def __init__(self, top):
        self.top = pathlib.Path(top)
        self.data, self.meta, self.uploads = (self.top / name for name in ("data", "meta", "uploads"))
        for folder in (self.data, self.meta, self.uploads):
            folder.mkdir(parents=True, exist_ok=True)
        self.lock = threading.RLock()
        self.bodies = 0  # of objects and parts, on their way now
        self.gathered = 0
        self.held = 0  # requests that came whole and were made late
        self.left = {}
        self.seen = None
        self.settings = dict(DEFAULTS)

    def control(self):
        path = self.top / "control.json"
        with self.lock:
            try:
                stat = path.stat()
                seen = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
                if seen != self.seen:
                    self.settings = {**DEFAULTS, **json.loads(path.read_text())}
                    self.seen = seen
            except FileNotFoundError:
                self.settings = dict(DEFAULTS)
            return self.settings

    def fault(self, settings, op, key):
        with self.lock:
            for fault in settings["faults"]:
                assert fault["kind"] in FAULTS, fault
                left = self.left.setdefault(fault["id"], fault.get("times", 1))
                if left > 0 and fault.get("op", op) == op and re.search(fault.get("key", ""), key):
                    self.left[fault["id"]] = left - 1
                    return fault
        return None

    def object_path(self, bucket, key):
        return self.data / bucket / key

    def meta_path(self, bucket, key):
        return self.meta / hashlib.sha256(f"{bucket}/{key}".encode()).hexdigest()

    def used(self):
        return sum(path.stat().st_size for folder in (self.data, self.uploads)
                   for path in folder.rglob("*") if path.is_file())


def quote(text):
    return urllib.parse.quote(text, safe="-_.~")


def signature(key, settings, method, path, pairs, headers, names, date, payload):
    canonical = "\n".join([method, path, "&".join(f"{k}={v}" for k, v in sorted(pairs)),
                           *(f"{n}:{' '.join(headers[n].split())}" for n in names), "", ";".join(names), payload])
    scope = f"{date[:8]}/{settings['region']}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    secret = ("AWS4" + key["secret"]).encode()
    for word in scope.split("/"):
        secret = hmac.new(secret, word.encode(), hashlib.sha256).digest()
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


class Handler(Copies, http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60

    def log_message(self, *_):
        pass

    @property
    def place(self):
        return self.server.place

    # --- who asks ---------------------------------------------------------------------------

    def authenticate(self, settings):
        match = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request,\s*"
                             r"SignedHeaders=([a-z0-9;-]+),\s*Signature=([0-9a-f]{64})",
                             self.headers.get("Authorization", ""))
        if match is None:
            raise Refusal(403, "AccessDenied", "no signature")
        identity, day, region, names, given = match.groups()
        self.identity = identity
        headers = {name.lower(): value for name, value in self.headers.items()}
        if len(headers) != len(self.headers.items()):
            raise Refusal(400, "InvalidRequest", "a header twice")
        names = names.split(";")
        must = {"host", "x-amz-date", "x-amz-content-sha256"} | {n for n in headers if n.startswith("x-amz-")}
        if names != sorted(names) or not must <= set(names) <= set(headers):
            raise Refusal(403, "AccessDenied", "not every header that counts is signed")
        if region != settings["region"]:
            raise Refusal(400, "AuthorizationHeaderMalformed", f"the region is {settings['region']}")
        date = headers["x-amz-date"]
        when = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
        if date[:8] != day or abs(when.timestamp() - time.time() - settings["clock"]) > 900:
            raise Refusal(403, "RequestTimeTooSkewed")
        if identity not in settings["keys"]:
            raise Refusal(403, "InvalidAccessKeyId")
        key = settings["keys"][identity]
        if headers.get("x-amz-security-token") != key.get("token"):
            raise Refusal(403, "InvalidToken")
        raw, _, query = self.path.partition("?")
        pairs = [tuple(part.split("=", 1)) for part in query.split("&")] if query else []
        if any(len(p) != 2 or quote(urllib.parse.unquote(p[0])) != p[0] or quote(urllib.parse.unquote(p[1])) != p[1]
               for p in pairs) or urllib.parse.quote(urllib.parse.unquote(raw), safe="-_.~/") != raw:
            raise Refusal(400, "InvalidURI")
        payload = headers["x-amz-content-sha256"]
        if given != signature(key, settings, self.command, raw, pairs, headers, names, date, payload):
            raise Refusal(403, "SignatureDoesNotMatch")
        unsigned = payload == "UNSIGNED-PAYLOAD" and settings["unsigned"] and isinstance(self.connection, ssl.SSLSocket)
        if not unsigned and hashlib.sha256(self.body).hexdigest() != payload:
            raise Refusal(400, "XAmzContentSHA256Mismatch")
        self.asked = {name: urllib.parse.unquote(value) for name, value in pairs}
        return set(key["rights"].split(","))

    def operation(self, settings):
        """Name of what is asked, its bucket and key, before anything is verified."""
        raw, _, query = self.path.partition("?")
        before, _, host = self.headers.get("Host", "").rpartition(":")[0].partition(".")
        if settings["host"] is not None and host == settings["host"]:
            raw = f"/{before}{raw}"
        _, bucket, key = (urllib.parse.unquote(raw) + "//").split("/", 2)
        key = key[:-1] if key.endswith("/") else key
        key = key.rstrip("/")
        names = {part.split("=")[0] for part in query.split("&")}
        if not key and self.command == "GET" and "uploads" in names:
            return "ListUploads", bucket, ""
        if not key:
            return ("ListObjects" if self.command == "GET" else "HeadBucket"), bucket, ""
        table = {("PUT", True): "UploadPart", ("PUT", False): "PutObject", ("DELETE", True): "AbortUpload",
                 ("DELETE", False): "DeleteObject", ("POST", True): "CompleteUpload", ("POST", False): "CreateUpload",
                 ("GET", False): "GetObject", ("HEAD", False): "HeadObject"}
        op = table.get((self.command, "uploadId" in names), "Unknown")
        return (self.COPIES.get(op, op) if "x-amz-copy-source" in self.headers else op), bucket, key

    # --- a request from its first byte to its last --------------------------------------------

    def handle_request(self):
        settings = self.place.control()
        if self.path.startswith("/latest/"):
            return self.metadata(settings)
        op, bucket, key = self.operation(settings)
        self.begin(op)
        fault = self.place.fault(settings, op, key) or {"kind": None}
        kind = fault["kind"]
        length = int(self.headers.get("Content-Length") or 0)
        self.identity = "-"
        if kind == "swallow":
            self.rfile.read(length // 2)
            return self.break_off(op, key, kind)
        self.body = self.rfile.read(length)
        if kind == "stall":
            time.sleep(fault.get("seconds", 5))
            return self.break_off(op, key, kind)
        if kind == "late":
            with self.place.lock:
                self.place.held += 1
            time.sleep(fault["seconds"])
        if kind == "gather":
            end = time.monotonic() + 60
            while self.place.bodies < fault["count"] and self.place.gathered < fault["count"] and time.monotonic() < end:
                time.sleep(0.01)
            self.place.gathered = max(self.place.gathered, fault["count"])
        if kind == "reset":
            return self.break_off(op, key, kind)
        try:
            if kind == "redirect":
                raise Refusal(307, "TemporaryRedirect", headers={"Location": fault["to"]})
            if kind in ("error", "error200") and not fault.get("done"):
                raise Refusal(fault.get("status", 503), fault.get("code", "SlowDown"), headers=fault.get("headers", {}))
            rights = self.authenticate(settings)
            status, headers, body = self.perform(op, bucket, key, rights, settings, kind)
            if kind == "reset_after":
                return self.break_off(op, key, kind)
            if kind in ("after", "error200"):
                raise Refusal(fault.get("status", 500), fault.get("code", "InternalError"))
            if kind == "garbage":
                body = body[:len(body) // 2]
        except Refusal as why:
            status, headers = why.status, {"Content-Type": "application/xml", **why.headers}
            body = (f"<?xml version=\"1.0\"?>\n<Error><Code>{why.code}</Code><Message>{escape(why.message)}</Message>"
                    f"</Error>").encode() if why.status != 304 else b""
        if kind == "error200":
            status = 200
        self.answer(op, key, status, headers, body, kind)

    def metadata(self, settings):
        """What a machine is told of its role; only with a token, which only a PUT gives."""
        self.identity = "-"
        base = "/latest/meta-data/iam/security-credentials/"
        status, body = 404, ""
        if self.command == "PUT" and self.path == "/latest/api/token":
            status, body = 200, "imds-token"
        elif self.headers.get("X-aws-ec2-metadata-token") != "imds-token":
            status = 401
        elif settings["role"] is not None and self.path == base:
            status, body = 200, "backup-role"
        elif settings["role"] is not None and self.path == base + "backup-role":
            key = settings["role"]["id"]
            until = time.time() + settings["role"]["seconds"]
            status, body = 200, json.dumps({
                "Code": "Success", "AccessKeyId": key, "SecretAccessKey": settings["keys"][key]["secret"],
                "Token": settings["keys"][key].get("token", ""),
                "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until))})
        self.begin("Metadata")
        self.answer("Metadata", self.path, status, {}, body.encode(), None)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_request

    def begin(self, op):
        self.carries = op in ("PutObject", "UploadPart")
        with self.place.lock:
            self.place.bodies += self.carries
            self.bodies, self.began = self.place.bodies, time.time()

    def note(self, op, key, status):
        """Before the answer goes out: whoever has it may send the next body."""
        with self.place.lock:
            self.place.bodies -= self.carries
        line = json.dumps({"op": op, "key": key, "status": status, "by": self.identity, "at": [self.began, time.time()],
                           "bodies": self.bodies,
                           "headers": {n.lower(): v for n, v in self.headers.items() if n.lower() != "authorization"}})
        with self.place.lock, open(self.place.top / "log", "a") as log:
            log.write(line + "\n")

    def break_off(self, op, key, kind):
        self.note(op, key, kind)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def answer(self, op, key, status, headers, body, kind):
        self.note(op, key, status)
        if kind == "short":
            body = body[:len(body) // 2]
        self.send_response_only(status)
        self.send_header("Date", email.utils.formatdate(time.time() + self.place.control()["clock"], usegmt=True))
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if kind == "cut":
            self.wfile.write(body[:len(body) // 2])
            self.wfile.flush()
            self.close_connection = True
        elif kind == "slow":
            for at in range(0, len(body), max(1, len(body) // 20)):
                self.wfile.write(body[at:at + max(1, len(body) // 20)])
                self.wfile.flush()
                time.sleep(0.05)
        else:
            self.wfile.write(body)

    # --- what is done -------------------------------------------------------------------------

    def perform(self, op, bucket, key, rights, settings, kind):
        right = {"PutObject": "put", "CreateUpload": "put", "UploadPart": "put", "CompleteUpload": "put",
                 "AbortUpload": "abort", "GetObject": "get", "HeadObject": "get", "HeadBucket": "list", "ListObjects": "list",
                 "ListUploads": "list", "DeleteObject": "delete", "CopyObject": "put", "UploadPartCopy": "put"}.get(op)
        if op in self.COPIES.values() and "get" not in rights:
            raise Refusal(403, "AccessDenied", f"{op} reads what it copies")
        if right is None or not (right in rights or (right == "abort" and "delete" in rights)):
            raise Refusal(403, "AccessDenied", f"{op} is not allowed")
        if not (self.place.data / bucket).is_dir():
            raise Refusal(404, "NoSuchBucket")
        return getattr(self, op)(bucket, key, settings, kind)

    def check_put(self, settings, size):
        if self.headers.get("x-amz-storage-class", "STANDARD") not in CLASSES:
            raise Refusal(400, "InvalidStorageClass")
        if self.headers.get("x-amz-server-side-encryption", "AES256") not in ("AES256", "aws:kms"):
            raise Refusal(400, "InvalidEncryptionAlgorithmError")
        if (self.headers.get("x-amz-server-side-encryption-aws-kms-key-id")
                and self.headers.get("x-amz-server-side-encryption") != "aws:kms"):
            raise Refusal(400, "InvalidArgument", "a KMS key without aws:kms")
        mode, until = (self.headers.get(f"x-amz-object-lock-{name}") for name in ("mode", "retain-until-date"))
        if (mode is None) != (until is None) or mode not in (None, "COMPLIANCE", "GOVERNANCE"):
            raise Refusal(400, "InvalidArgument", "a lock has a mode and a date")
        if mode is not None and not settings["lock"]:
            raise Refusal(400, "InvalidRequest", "Bucket is missing Object Lock Configuration")
        if until is not None and datetime.datetime.fromisoformat(until.replace("Z", "+00:00")).timestamp() < time.time():
            raise Refusal(400, "InvalidArgument", "the lock has ended already")
        if settings["quota"] is not None and self.place.used() + size > settings["quota"]:
            raise Refusal(403, "QuotaExceeded")

    def check_md5(self, settings, must):
        given = self.headers.get("Content-MD5")
        if given is not None and base64.b64decode(given) != hashlib.md5(self.body).digest():
            raise Refusal(400, "BadDigest")
        if given is None and must and settings["lock"]:
            raise Refusal(400, "InvalidRequest", "Content-MD5 is required for buckets with object locks")

    def condition(self, settings):
        wanted = self.headers.get("If-None-Match")
        if wanted is None or settings["condition"] == "ignore":
            return False
        if settings["condition"] == "refuse" or wanted != "*":
            raise Refusal(501, "NotImplemented", "A header you provided implies functionality that is not implemented")
        return True

    def publish(self, bucket, key, body, meta, once):
        """All or nothing, and durable enough for tests: rename."""
        path = self.place.object_path(bucket, key)
        with self.place.lock:
            if not (self.place.data / bucket).is_dir():
                raise Refusal(404, "NoSuchBucket")
            if once and path.exists():
                raise Refusal(412, "PreconditionFailed")
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self.place.top / f"new-{uuid.uuid4()}"
            fresh.write_bytes(body)
            self.place.meta_path(bucket, key).write_text(json.dumps(meta))
            os.rename(fresh, path)

    def described(self):
        return {n.lower(): v for n, v in self.headers.items()
                if n.lower().startswith(("x-amz-meta-", "x-amz-storage", "x-amz-server-side", "x-amz-object-lock"))}

    def PutObject(self, bucket, key, settings, _kind):
        once = self.condition(settings)
        self.check_put(settings, len(self.body))
        self.check_md5(settings, "x-amz-object-lock-mode" in self.headers)
        etag = f'"{hashlib.md5(self.body).hexdigest()}"'
        self.publish(bucket, key, self.body, {"etag": etag, **self.described()}, once)
        return 200, {"ETag": etag}, b""

    def stored(self, bucket, key):
        """An open file and what was said of it."""
        path = self.place.object_path(bucket, key)
        with self.place.lock:
            if not path.is_file():
                raise Refusal(404, "NoSuchKey")
            meta_path = self.place.meta_path(bucket, key)
            meta = json.loads(meta_path.read_text()) if meta_path.exists() else {"etag": '"strange"'}
            return open(path, "rb"), meta

    @staticmethod
    def about(file, meta):
        return {"ETag": meta["etag"], "Last-Modified": email.utils.formatdate(os.fstat(file.fileno()).st_mtime, usegmt=True),
                **{n: v for n, v in meta.items() if n.startswith("x-amz-")}}

    def GetObject(self, bucket, key, _settings, kind):
        file, meta = self.stored(bucket, key)
        headers = self.about(file, meta)
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        with file:
            if match is None:
                return 200, headers, file.read()
            size = os.fstat(file.fileno()).st_size
            first, last = int(match[1]), min(int(match[2] or size), size - 1)
            if first >= size:
                raise Refusal(416, "InvalidRange", headers={"Content-Range": f"bytes */{size}"})
            if kind == "short":
                last = first + (last - first) // 2
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
            file.seek(first)
            return 206, headers, file.read(last + 1 - first)

    def HeadObject(self, bucket, key, _settings, _kind):
        file, meta = self.stored(bucket, key)
        with file:
            return 200, {**self.about(file, meta), "Content-Length": str(os.fstat(file.fileno()).st_size)}, b""

    def HeadBucket(self, _bucket, _key, _settings, _kind):
        return 200, {}, b""

    def DeleteObject(self, bucket, key, settings, _kind):
        path = self.place.object_path(bucket, key)
        with self.place.lock:
            if path.is_file():
                file, meta = self.stored(bucket, key)
                file.close()
                if "x-amz-object-lock-mode" in meta and settings["lock"]:
                    raise Refusal(403, "AccessDenied", "the object is locked")
                path.unlink()
                self.place.meta_path(bucket, key).unlink(missing_ok=True)
        return 204, {}, b""

    def ListObjects(self, bucket, _key, settings, kind):
        if self.asked.get("list-type") != "2":
            raise Refusal(501, "NotImplemented", "version 2 alone")
        prefix, after = self.asked.get("prefix", ""), self.asked.get("continuation-token", "")
        top = self.place.data / bucket
        with self.place.lock:
            found = sorted((path.relative_to(top).as_posix(), path.stat().st_size)
                           for path in top.rglob("*") if path.is_file())
        last = base64.b64decode(after).decode() if after else self.asked.get("start-after", "")
        rows = [row for row in found if row[0].startswith(prefix) and row[0] > last]
        most = min(settings["page"], int(self.asked.get("max-keys", "1000")))
        more, rows = len(rows) > most, rows[:most]
        coded = self.asked.get("encoding-type") == "url"
        out = [f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="{NS}"><Name>{bucket}</Name>'
               f"<Prefix>{escape(prefix)}</Prefix><IsTruncated>{'true' if more else 'false'}</IsTruncated>"]
        for number, (name, size) in enumerate(rows):
            if kind != "hide" or number % 2 == 0:
                out.append(f"<Contents><Key>{quote(name) if coded else escape(name)}</Key><Size>{size}</Size></Contents>")
        if more:
            token = after if kind == "loop" and after else base64.b64encode(rows[-1][0].encode()).decode()
            out.append(f"<NextContinuationToken>{token}</NextContinuationToken>")
        if coded:
            out.append("<EncodingType>url</EncodingType>")
        return 200, {"Content-Type": "application/xml"}, "".join(out + ["</ListBucketResult>"]).encode()

    # --- uploads ------------------------------------------------------------------------------

    def CreateUpload(self, bucket, key, settings, _kind):
        if set(self.asked) != {"uploads"}:
            raise Refusal(400, "InvalidRequest")
        self.check_put(settings, 0)
        name = f"{uuid.uuid4()}+/="
        folder = self.place.uploads / hashlib.sha256(name.encode()).hexdigest()
        folder.mkdir()
        (folder / "about").write_text(json.dumps({"bucket": bucket, "key": key, "name": name, "meta": self.described()}))
        return 200, {}, (f'<InitiateMultipartUploadResult xmlns="{NS}"><Bucket>{bucket}</Bucket><Key>{escape(key)}</Key>'
                         f"<UploadId>{name}</UploadId></InitiateMultipartUploadResult>").encode()

    def ListUploads(self, bucket, _key, settings, _kind):
        if set(self.asked) - {"uploads", "prefix", "max-uploads", "encoding-type", "key-marker", "upload-id-marker"}:
            raise Refusal(400, "InvalidRequest")
        with self.place.lock:
            abouts = [(json.loads((folder / "about").read_text()), (folder / "about").stat().st_mtime)
                      for folder in self.place.uploads.iterdir()]
        found = sorted((about["key"], about["name"], begun) for about, begun in abouts
                       if about["bucket"] == bucket and about["key"].startswith(self.asked.get("prefix", "")))
        after = (self.asked.get("key-marker", ""), self.asked.get("upload-id-marker", ""))
        rows = [row for row in found if (row[:2] > after if after[1] else row[0] > after[0])]
        most = min(settings["page"], int(self.asked.get("max-uploads", "1000")))
        more, rows = len(rows) > most, rows[:most]
        coded = self.asked.get("encoding-type") == "url"
        shown = quote if coded else escape
        out = [f'<?xml version="1.0" encoding="UTF-8"?>\n<ListMultipartUploadsResult xmlns="{NS}"><Bucket>{bucket}</Bucket>']
        if more:
            out.append(f"<NextKeyMarker>{shown(rows[-1][0])}</NextKeyMarker><NextUploadIdMarker>{escape(rows[-1][1])}</NextUploadIdMarker>")
        out.append(f"{'<EncodingType>url</EncodingType>' if coded else ''}<IsTruncated>{'true' if more else 'false'}</IsTruncated>")
        for key, name, begun in rows:
            when = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(begun + settings["clock"]))
            out.append(f"<Upload><Key>{shown(key)}</Key><UploadId>{escape(name)}</UploadId><Owner><ID>x</ID></Owner>"
                       f"<Initiated>{when}</Initiated></Upload>")
        return 200, {"Content-Type": "application/xml"}, "".join(out + ["</ListMultipartUploadsResult>"]).encode()

    def upload(self, bucket, key):
        folder = self.place.uploads / hashlib.sha256(self.asked["uploadId"].encode()).hexdigest()
        if not folder.is_dir():
            raise Refusal(404, "NoSuchUpload")
        about = json.loads((folder / "about").read_text())
        if (about["bucket"], about["key"]) != (bucket, key):
            raise Refusal(404, "NoSuchUpload")
        return folder, about

    def UploadPart(self, bucket, key, settings, _kind):
        number = int(self.asked["partNumber"])
        folder, _ = self.upload(bucket, key)
        self.check_md5(settings, True)
        if not 1 <= number <= 10000:
            raise Refusal(400, "InvalidArgument", "part numbers are 1 to 10000")
        if settings["quota"] is not None and self.place.used() + len(self.body) > settings["quota"]:
            raise Refusal(403, "QuotaExceeded")
        fresh = folder / f"new-{uuid.uuid4()}"
        fresh.write_bytes(self.body)
        os.rename(fresh, folder / str(number))
        return 200, {"ETag": f'"{hashlib.md5(self.body).hexdigest()}"'}, b""

    def CompleteUpload(self, bucket, key, settings, _kind):
        once = self.condition(settings)
        try:
            root = ElementTree.fromstring(self.body)
            rows = [(int(part.find(f"{{{NS}}}PartNumber").text), part.find(f"{{{NS}}}ETag").text) for part in root]
        except (ElementTree.ParseError, AttributeError, ValueError):
            raise Refusal(400, "MalformedXML") from None
        with self.place.lock:
            folder, about = self.upload(bucket, key)
            if not rows or [n for n, _ in rows] != sorted({n for n, _ in rows}):
                raise Refusal(400, "InvalidPartOrder")
            parts = [(folder / str(n)).read_bytes() if (folder / str(n)).exists() else None for n, _ in rows]
            sums = [part is not None and hashlib.md5(part) for part in parts]
            if any(not s or f'"{s.hexdigest()}"' != etag for s, (_, etag) in zip(sums, rows)):
                raise Refusal(400, "InvalidPart")
            if any(len(part) < settings["part"] for part in parts[:-1]):
                raise Refusal(400, "EntityTooSmall")
            etag = f'"{hashlib.md5(b"".join(s.digest() for s in sums)).hexdigest()}-{len(parts)}"'
            self.publish(bucket, key, b"".join(parts), {"etag": etag, **about["meta"]}, once)
            shutil.rmtree(folder)
        return 200, {}, (f'\n<CompleteMultipartUploadResult xmlns="{NS}"><Key>{escape(key)}</Key><ETag>{escape(etag)}</ETag>'
                         f"</CompleteMultipartUploadResult>").encode()

    def AbortUpload(self, bucket, key, _settings, _kind):
        with self.place.lock:
            folder, _ = self.upload(bucket, key)
            shutil.rmtree(folder)
        return 204, {}, b""


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, place, port=0, tls=False):
        super().__init__(("127.0.0.1", port), Handler)
        self.place = place
        self.tls = None
        if tls:
            certificates(place.top)
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(place.top / "server.pem", place.top / "server.key")

    def get_request(self):
        """Hands are shaken by the thread of the connection."""
        connection, address = super().get_request()
        if self.tls is not None:
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError, OSError, ValueError)):
            super().handle_error(request, client_address)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dir")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", action="store_true")
    args = parser.parse_args()
    server = Server(Place(args.dir), args.port, args.tls)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.write(1, f"{server.server_address[1]}\n".encode())
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    main()
