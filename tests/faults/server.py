"""An http server on this machine that misbehaves in one named way per path: /MODE/file.bin. Not here: what it is for."""

from __future__ import annotations

import gzip
import hashlib
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY = random.Random(7).randbytes(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
OTHER = BODY[:150_000] + b"!" + BODY[150_001:]
PAGE = b"<!DOCTYPE html>\n<html><head><title>Please sign in</title></head><body>" + b"x" * 500 + b"</body></html>"
PART = 100_000


class Server(ThreadingHTTPServer):
    """asked: requests per mode; sent: body bytes per mode; seen: all request heads."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.seen: list[str] = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, mode: str, name: str = "file.bin") -> str:
        return f"http://127.0.0.1:{self.server_port}/{mode}/{name}"

    def handle_error(self, *_: object) -> None:
        """Quiet: clients hang up on it, as they should."""


class Handler(BaseHTTPRequestHandler):
    """One method per mode; what is not overridden behaves: ranges, ETag, If-Range."""

    server: Server

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self.mode = self.path.lstrip("/").partition("/")[0].partition("?")[0]
        if self.path.startswith("http://"):
            self.mode = "proxy"
        self.server.asked[self.mode] += 1
        self.server.seen.append(f"{self.requestline}\n{self.headers}")
        self.first = self.server.asked[self.mode] == 1
        self.close_connection = True
        getattr(self, self.mode, self.honest)()

    # Good behaviour, and its parts

    def honest(self, body: bytes = BODY, tag: str = '"v1"', until: int | None = None) -> None:
        start = self.start(tag)
        if start >= len(body):
            self.head(416, 0)
            return
        extra = {"ETag": tag, "Accept-Ranges": "bytes"}
        if start:
            extra["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        self.head(206 if start else 200, len(body) - start, extra)
        self.put(body[start : len(body) if until is None else until])

    def start(self, tag: str = '"v1"') -> int:
        match = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        given = self.headers.get("If-Range")
        return int(match[1]) if match and given in (None, tag) else 0

    def head(self, code: int, length: int | None, extra: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for key, value in (extra or {}).items():
            self.send_header(key, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def put(self, content: bytes) -> None:
        self.wfile.write(content)
        self.wfile.flush()
        self.server.sent[self.mode] += len(content)

    def proxy(self) -> None:
        self.honest()

    # Connections that end

    def cut_once(self) -> None:
        self.honest(until=PART if self.first else None)

    def cut_always(self) -> None:
        self.honest(until=self.start() + 60_000)

    def cut_no_validator(self) -> None:
        if self.first:
            self.head(200, len(BODY))
            self.put(BODY[:PART])
        else:
            self.honest()

    def cut_no_length(self) -> None:
        if self.first:
            self.head(200, None)
            self.put(BODY[:PART])
        else:
            self.honest()

    def cut_at_nothing(self) -> None:
        self.head(200, len(BODY))

    def reset(self) -> None:
        if not self.first:
            return self.honest()
        self.head(200, len(BODY), {"ETag": '"v1"'})
        self.put(BODY[:PART])
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def stalls_once(self) -> None:
        self.honest(until=PART if self.first else None)
        if self.first:
            time.sleep(3)

    def stalls_always(self) -> None:
        time.sleep(3)

    def drips(self) -> None:
        self.head(200, len(BODY))
        for place in range(60):
            self.put(BODY[place : place + 1])
            time.sleep(0.05)

    # Ranges

    def ignores_range(self) -> None:
        self.head(200, len(BODY), {"ETag": '"v1"'})
        self.put(BODY[: PART if self.first else None])

    def other_range(self) -> None:
        if self.first:
            return self.honest(until=PART)
        if not self.start():
            return self.honest()
        self.head(206, 10, {"Content-Range": f"bytes 5-14/{len(BODY)}", "ETag": '"v1"'})
        self.put(BODY[5:15])

    def no_range_told(self) -> None:
        if self.first or not self.start():
            return self.honest(until=PART if self.first else None)
        self.head(206, len(BODY), {"ETag": '"v1"'})
        self.put(BODY)

    def lying_range(self) -> None:
        start = self.start()
        if not start:
            return self.honest(until=PART if self.first else None)
        self.head(206, len(BODY) - start, {"Content-Range": f"bytes {start}-{len(BODY) - 1}/{len(BODY)}", "ETag": '"v1"'})
        self.put(BODY[: len(BODY) - start])

    def unasked_part(self) -> None:
        self.head(206, PART, {"Content-Range": f"bytes 0-{PART - 1}/{len(BODY)}", "ETag": '"v1"'})
        self.put(BODY[:PART])

    def no_more(self) -> None:
        if self.start():
            self.head(416, 0)
        else:
            self.honest(until=PART if self.first else None)

    def changes_to_right(self) -> None:
        self.honest(OTHER, '"v0"', PART) if self.first else self.honest()

    def changes_to_wrong(self) -> None:
        self.honest(until=PART) if self.first else self.honest(OTHER, '"v2"')

    def changes_silently(self) -> None:
        """Another version under the same tag, which must not be mixed with the first."""
        self.honest(OTHER, until=PART + 60_000) if self.first else self.honest()

    # Lengths and contents

    def wrong(self) -> None:
        self.honest(OTHER)

    def too_long(self) -> None:
        self.honest(BODY + b"more")

    def too_long_unsaid(self) -> None:
        self.head(200, None)
        self.put(BODY + b"more")

    def too_short(self) -> None:
        self.honest(BODY[:PART])

    def says_less(self) -> None:
        self.head(200, PART)
        self.put(BODY)

    def says_more(self) -> None:
        self.head(200, len(BODY) + 1000)
        self.put(BODY)

    def says_10_tb(self) -> None:
        self.head(200, 10**13)
        self.put(BODY)

    def says_minus(self) -> None:
        self.head(200, -5)
        self.put(BODY)

    def endless(self) -> None:
        self.head(200, None)
        for _ in range(40):
            self.put(BODY)

    def empty(self) -> None:
        self.head(200, 0)

    def page(self) -> None:
        self.head(200, len(PAGE), {"Content-Type": "text/html"})
        self.put(PAGE)

    def page_as_bytes(self) -> None:
        self.head(200, len(PAGE), {"Content-Type": "application/octet-stream"})
        self.put(PAGE)

    def page_later(self) -> None:
        self.honest(until=PART) if self.first else self.page()

    def packed(self) -> None:
        content = gzip.compress(BODY)
        self.head(200, len(content), {"Content-Encoding": "gzip"})
        self.put(content)

    # Answers other than the file

    def forbidden(self) -> None:
        self.head(403, 0)

    def gone(self) -> None:
        self.head(410, 0)

    def broken(self) -> None:
        self.head(500, 0)

    def busy_once(self) -> None:
        self.head(503, 0, {"Retry-After": "0"}) if self.first else self.honest()

    def too_often_once(self) -> None:
        self.head(429, 0, {"Retry-After": "Sat, 21 Nov"}) if self.first else self.honest()

    def no_content(self) -> None:
        self.head(204, None)

    def garbage(self) -> None:
        self.wfile.write(b"\x00\x01 this is no http\r\n\r\n")

    def long_head(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 2_000_000 + b"\r\n\r\n")

    def to(self, place: str) -> None:
        self.head(302, 0, {"Location": place})

    def to_file(self) -> None:
        self.to("file:///etc/passwd")

    def to_ftp(self) -> None:
        self.to("ftp://127.0.0.1/file.bin")

    def to_data(self) -> None:
        self.to("data:text/plain,hello")

    def to_unix(self) -> None:
        self.to("unix:///var/run/docker.sock")

    def to_itself(self) -> None:
        self.to(self.path)

    def to_nowhere(self) -> None:
        self.to("http://")

    def to_honest(self) -> None:
        self.to("/honest/file.bin")
