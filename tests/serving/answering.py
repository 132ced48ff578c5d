"""A small HTTP server for tests of load: each path answers in its own way."""

import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Answering(ThreadingHTTPServer):
    """Counts what it was asked; `dies_after` requests to /dying it closes its port."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked, self.bodies, self.dies_after = Counter(), Counter(), 0
        self.tokens = set()
        self.over = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def stop(self):
        self.over.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        server = self.server
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        server.asked[self.path] += 1
        server.bodies[body] += 1
        server.tokens.add(self.headers.get("authorization"))
        if self.path == "/endless":
            self.send_response(200)
            self.send_header("connection", "close")
            self.end_headers()
            while not server.over.wait(0.01):
                self.wfile.write(b"x" * 1000)
            return
        if self.path == "/dying" and server.asked["/dying"] == server.dies_after:
            server.socket.close()
        status = 500 if self.path == "/half" and server.asked["/half"] > 1 and server.asked["/half"] % 2 == 0 else 200
        status = 503 if self.path == "/broken" else status
        answer = b"0123456789"
        self.wfile.write(b"HTTP/1.1 %d Said\r\ncontent-length: %d\r\n" % (status, len(answer)))
        if self.path == "/dying":
            self.close_connection = True
            self.wfile.write(b"connection: close\r\n")
        self.wfile.write(b"\r\n" + answer)

    do_GET = do_POST  # noqa: N815  # as http.server calls it

    def log_message(self, *words):
        return
