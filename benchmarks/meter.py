"""A TCP relay that counts and delays: stands between a program and the server where bytes are measured, or a server that is far away.

Knows nothing of S3; the Host header passes unchanged, so signatures still verify.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(slots=True)
class Meter:
    """A running relay: `sent_bytes` went to the server, in `requests` HTTP requests; `received_bytes` came from it."""

    url: str
    requests: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0

    def reset(self) -> None:
        """Counts from 0 again."""
        self.requests = 0
        self.sent_bytes = self.received_bytes = 0


@contextlib.contextmanager
def metered(endpoint_url: str, *, latency_seconds: float = 0) -> Iterator[Meter]:
    """Runs a relay to an endpoint; the latency is that of a round trip, and a new connection takes one more."""
    parts = urlsplit(endpoint_url)
    upstream = (parts.hostname or "", parts.port or 80)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        meter = Meter(f"http://127.0.0.1:{listener.getsockname()[1]}")
        threading.Thread(target=_accept, args=(listener, upstream, meter, latency_seconds), daemon=True).start()
        yield meter


def _accept(listener: socket.socket, upstream: tuple[str, int], meter: Meter, latency_seconds: float) -> None:
    with contextlib.suppress(OSError):  # closed: the bench is over
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(upstream)
            opened = time.monotonic() + latency_seconds
            for source, target, counter in ((client, server, "sent_bytes"), (server, client, "received_bytes")):
                late = _Late(target, opened, latency_seconds / 2) if latency_seconds else target
                threading.Thread(target=_relay, args=(source, late, meter, counter), daemon=True).start()


class _Late:
    """A socket that sends what it is given half a round trip later, and nothing before the connection would be open."""

    def __init__(self, target: socket.socket, opened: float, delay_seconds: float) -> None:
        self._opened, self._delay_seconds = opened, delay_seconds
        self._waiting: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        threading.Thread(target=self._send, args=(target,), daemon=True).start()

    def sendall(self, piece: bytes) -> None:
        self._waiting.put((max(time.monotonic(), self._opened) + self._delay_seconds, piece))

    def shutdown(self, way: int) -> None:
        self.sendall(b"")

    def _send(self, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, piece = self._waiting.get()
                time.sleep(max(0.0, due - time.monotonic()))
                if not piece:
                    return target.shutdown(socket.SHUT_WR)
                target.sendall(piece)


def _relay(source: socket.socket, target: socket.socket | _Late, meter: Meter, counter: str) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(1 << 18):
            setattr(meter, counter, getattr(meter, counter) + len(piece))
            if counter == "sent_bytes":
                meter.requests += piece.count(b" HTTP/1.1\r\n")
            target.sendall(piece)
    for end, way in ((target, socket.SHUT_WR), (source, socket.SHUT_RD)):
        with contextlib.suppress(OSError):
            end.shutdown(way)
