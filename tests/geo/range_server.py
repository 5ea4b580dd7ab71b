"""A file server on 127.0.0.1 that serves ranges; run as a program, in a process of its own: GDAL holds Python's lock.

``range_server.py FOLDER``: prints its port. /NAME is served; /broken/NAME only the first 16 KiB of it, the rest is a 500;
/busy/NAME answers 503 to every first request for a range.
"""

from __future__ import annotations

import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(sys.argv[1])
asked: set[str] = set()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        *manner, name = self.path.strip("/").split("/")
        path = FOLDER / name
        if not path.is_file():
            self.answer(404, b"")
            return
        content = path.read_bytes()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            self.answer(200, content, {"Accept-Ranges": "bytes"})
            return
        first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
        request = f"{self.path} {wanted[0]}"
        if manner == ["broken"] and last >= 16384:
            self.answer(500, b"")
        elif manner == ["busy"] and request not in asked:
            asked.add(request)
            self.answer(503, b"")
        else:
            self.answer(206, content[first : last + 1], {"Content-Range": f"bytes {first}-{last}/{len(content)}"})

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
