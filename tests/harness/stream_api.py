#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""stream_api.py DIRECTORY — takes streamed pieces as the scheduler's API would: PUT /api/v1/streams/T.

Writes its port to DIRECTORY/port, the bytes to DIRECTORY/stream, then "end" or the error's name to
DIRECTORY/over. It loses the answer to the second piece once, as a broken connection would."""
import http.server
import pathlib
import sys
import urllib.parse

HOME = pathlib.Path(sys.argv[1])


class Api(http.server.BaseHTTPRequestHandler):
    lost = False

    def do_PUT(self):
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        have = (HOME / "stream").stat().st_size
        offset = int(query["offset"][0])
        assert len(body) <= 1 << 20 and offset <= have, self.path
        if offset == have:
            with open(HOME / "stream", "ab") as stream:
                stream.write(body)
        if "end" in query or "error" in query:
            (HOME / "over").write_text(query.get("error", ["end"])[0])
        if offset > 0 and not Api.lost:
            Api.lost = True
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words):
        pass


(HOME / "stream").write_bytes(b"")
server = http.server.HTTPServer(("127.0.0.1", 0), Api)
(HOME / "port.new").write_text(str(server.server_port))
(HOME / "port.new").rename(HOME / "port")
server.serve_forever()
