"""A TCP relay that counts: stands between a program and the server where bytes are measured, never where time is.

Knows nothing of S3; the Host header passes unchanged, so signatures still verify.
"""

from __future__ import annotations

import contextlib
import socket
import threading
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
def metered(endpoint_url: str) -> Iterator[Meter]:
    """Runs a relay to an endpoint."""
    parts = urlsplit(endpoint_url)
    upstream = (parts.hostname or "", parts.port or 80)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        meter = Meter(f"http://127.0.0.1:{listener.getsockname()[1]}")
        threading.Thread(target=_accept, args=(listener, upstream, meter), daemon=True).start()
        yield meter


def _accept(listener: socket.socket, upstream: tuple[str, int], meter: Meter) -> None:
    with contextlib.suppress(OSError):  # closed: the bench is over
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(upstream)
            for source, target, counter in ((client, server, "sent_bytes"), (server, client, "received_bytes")):
                threading.Thread(target=_relay, args=(source, target, meter, counter), daemon=True).start()


def _relay(source: socket.socket, target: socket.socket, meter: Meter, counter: str) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(1 << 18):
            setattr(meter, counter, getattr(meter, counter) + len(piece))
            if counter == "sent_bytes":
                meter.requests += piece.count(b" HTTP/1.1\r\n")
            target.sendall(piece)
    for end, way in ((target, socket.SHUT_WR), (source, socket.SHUT_RD)):
        with contextlib.suppress(OSError):
            end.shutdown(way)
