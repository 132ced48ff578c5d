"""An HTTP server that misbehaves on demand: each path of its `pages` says how it is answered."""

import contextlib
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """What is at a path, and what is wrong with the way it is sent."""

    body: bytes = b""
    status: int = 200
    etag: str | None = None
    modified: str | None = None
    ranges: bool = True
    head: bool = True
    length: int | None = None  # that it claims to have; -1: it says nothing
    stops: int = 0  # answers that break off after `sends` bytes
    sends: int = 0
    location: str = ""
    encoding: str = ""
    wrong_part: bool = False
    asked: list = field(default_factory=list)  # "GET bytes=5-", and what it had


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(is_head=True)

    def do_GET(self):
        self.answer()

    def answer(self, *, is_head=False):
        page = self.server.pages.get(self.path, Page(status=404))
        page.asked.append((self.command, self.headers.get("Range"), dict(self.headers)))
        if is_head and not page.head:
            page = Page(status=405)
        start = 0
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if wanted and page.ranges and self.headers.get("If-Range") in (None, page.etag):
            start = int(wanted[1])
        body = page.body[start:]
        self.send_response(206 if start else page.status)
        if start:
            first = start + page.wrong_part
            self.send_header("Content-Range", f"bytes {first}-{len(page.body) - 1}/{len(page.body)}")
        for name, value in (
            ("ETag", page.etag),
            ("Last-Modified", page.modified),
            ("Location", page.location),
            ("Content-Encoding", page.encoding),
        ):
            if value:
                self.send_header(name, value)
        if page.length != -1:
            self.send_header("Content-Length", str(len(body) if page.length is None else page.length))
        self.end_headers()
        if is_head:
            return
        stops = page.stops > 0
        page.stops -= stops
        with contextlib.suppress(OSError):  # the client may have seen enough
            self.wfile.write(body[: page.sends] if stops else body)
        if stops or page.length is not None:
            self.close_connection = True


@contextlib.contextmanager
def serving(pages):
    """Serves these pages on this machine; yields the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads, server.pages = True, pages
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
