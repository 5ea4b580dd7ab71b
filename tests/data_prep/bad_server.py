"""A file server on 127.0.0.1 with the manners of bad ones; run as a program, in a process of its own.

The first part of the address says how a file is served: /plain/NAME and so on. Prints its port, then a line for each
request: manner, name, the Range asked for.
"""

from __future__ import annotations

import sys
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(sys.argv[1])
asked: Counter[str] = Counter()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        manner, name = self.path.strip("/").split("/")
        asked[self.path] += 1
        range_asked = self.headers.get("Range", "-")
        print(manner, name, range_asked, flush=True)
        self.close_connection = True
        if manner == "gone":
            self.send_error(404)
        elif manner == "busy" and asked[self.path] <= 2:
            self.send_error(503)
        elif manner == "moved":
            self.send_response(302)
            self.send_header("Location", f"/plain/{name}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif manner == "endless":
            self.send_response(200)
            self.end_headers()
            while True:
                self.wfile.write(bytes(1 << 16))
        else:
            self.serve(manner, (FOLDER / name).read_bytes(), range_asked)

    def serve(self, manner: str, content: bytes, range_asked: str) -> None:
        if manner == "wrong":
            content = content[:-1] + bytes([content[-1] ^ 1])
        start = 0
        if range_asked != "-" and not manner.endswith("norange"):
            start = int(range_asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            shown = start + 1 if manner == "shifted" else start
            self.send_header("Content-Range", f"bytes {shown}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[start:]
        self.send_header("Content-Length", str(10**12 if manner == "huge" else len(body)))
        self.end_headers()
        self.wfile.write(body[:100_000] if manner.startswith("break") else body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the error stream."""


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
