# SPDX-License-Identifier: Apache-2.0
"""The strict S3 server's copies of objects, whole and in parts of an upload: as strict as the rest of it."""
import hashlib
import os
import re
import urllib.parse
import uuid
from xml.sax.saxutils import escape

NS = "http://s3.amazonaws.com/doc/2006-03-01/"
WHOLE_MOST = 48 << 20  # a real server's limit is 5 GiB: what is longer is copied in parts


class Refusal(Exception):
    def __init__(self, status, code, message="", headers=()):
        super().__init__(code)
        self.status, self.code, self.message, self.headers = status, code, message or code, dict(headers)


class Copies:
    """Operations of a PUT whose body lies in the store already."""
    COPIES = {"PutObject": "CopyObject", "UploadPart": "UploadPartCopy"}

    def copied(self):
        given = self.headers["x-amz-copy-source"]
        source = urllib.parse.unquote(given)
        if self.body or not source.startswith("/") or urllib.parse.quote(source, safe="-_.~/") != given:
            raise Refusal(400, "InvalidArgument", "a copy has a source, encoded, and no body")
        bucket, _, key = source[1:].partition("/")
        file, meta = self.stored(bucket, key)
        with file:
            return file.read(), meta

    def CopyObject(self, bucket, key, settings, _kind):
        body, meta = self.copied()
        self.check_put(settings, len(body))
        if len(body) > WHOLE_MOST:
            raise Refusal(400, "InvalidRequest", "the source is larger than one copy may be")
        directive = self.headers.get("x-amz-metadata-directive", "COPY")
        if directive not in ("COPY", "REPLACE"):
            raise Refusal(400, "InvalidArgument", "a directive that is none")
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        said = self.described() if directive == "REPLACE" else {n: v for n, v in meta.items() if n.startswith("x-amz-meta-")}
        self.publish(bucket, key, body, {"etag": etag, **said}, False)
        return 200, {}, f'<CopyObjectResult xmlns="{NS}"><ETag>{escape(etag)}</ETag></CopyObjectResult>'.encode()

    def UploadPartCopy(self, bucket, key, settings, _kind):
        number = int(self.asked["partNumber"])
        folder, _ = self.upload(bucket, key)
        body, _ = self.copied()
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("x-amz-copy-source-range", ""))
        if match is None or int(match[2]) >= len(body) or int(match[1]) > int(match[2]):
            raise Refusal(400, "InvalidArgument", "a part is copied from a range of the source")
        part = body[int(match[1]):int(match[2]) + 1]
        if not 1 <= number <= 10000 or settings["quota"] is not None and self.place.used() + len(part) > settings["quota"]:
            raise Refusal(403, "QuotaExceeded")
        fresh = folder / f"new-{uuid.uuid4()}"
        fresh.write_bytes(part)
        os.rename(fresh, folder / str(number))
        etag = f'"{hashlib.md5(part).hexdigest()}"'
        return 200, {}, f'<CopyPartResult xmlns="{NS}"><ETag>{escape(etag)}</ETag></CopyPartResult>'.encode()
