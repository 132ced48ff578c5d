"""HTTP/1.1 for S3 and for plain URLs: a few connections that are kept, on the threads of the callers; proxies, TLS, time limits.

Knows nothing of S3. Follows no redirect and tries nothing again, but for a kept connection that the server had closed in the meantime.
What a server sends is never read beyond a limit: 64 KiB for each of at most 100 headers, and for the body what the caller allows.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import ipaddress
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from dvlite.store.object_store import Buffer

_CONNECT_SECONDS = 10.0
_SILENT_SECONDS = 20.0  # between two arrivals of bytes, in either direction
_KEPT_SECONDS = 12.0  # servers and what stands between close or forget a connection that is idle for long
_SEND_AT_ONCE = 1 << 24
_SMALL_BYTES = 1 << 16
_ERROR_BYTES = 1 << 16
_PIECE_BYTES = 1 << 20
_METADATA = {"fd00:ec2::254", "100.100.100.200"}  # of clouds where it is not link-local
_ENDS = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class Unreached(Exception):
    """No connection came about; what the system said is the cause. `server` is its host, `proxied` whether the proxy failed."""

    def __init__(self, server: str, *, proxied: bool = False, refused: int = 0) -> None:
        super().__init__(server)
        self.server = server
        self.proxied = proxied
        self.refused = refused  # the status by which a proxy refused


class Broken(Exception):
    """A connection broke off or fell silent before the end of the answer; what the system said is the cause, if it did."""

    def __init__(self, server: str) -> None:
        super().__init__(server)
        self.server = server


class TooLong(Exception):
    """The body of an answer is longer than what was asked for; it was not read."""


class Forbidden(Exception):
    """The host is this machine, or where a cloud serves the credentials of its machines; nothing was sent."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where requests go. One that a stranger's answer names is `elsewhere`, or Forbidden."""

    scheme: str
    host: str
    port: int
    elsewhere: bool = False

    @property
    def address(self) -> str:
        """Host and port as a `Host` header has them: without the port that goes without saying."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"


Sink = Callable[[int, http.client.HTTPMessage], Callable[[bytes], None]]
"""Gets status and headers of a success, and returns what its body goes to."""


@dataclass(frozen=True, slots=True)
class Message:
    """A request: `target` is path and query. A longer body than `most` (less `first` if the status is 206) is not read: TooLong.

    With `sink`, the body of a success goes there piece by piece, however long it is; it must not raise OSError or ValueError, which here
    mean that the connection broke.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: Buffer
    most: int
    first: int = 0
    sink: Sink | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered, whatever its status is."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


@dataclass(slots=True)
class Trust:
    """Whose certificates are accepted: of a bundle; else those that this machine accepts, and where these do not do, `others` (a file)."""

    verify: bool = True
    bundle: str | None = None
    others: Callable[[], str] | None = None
    _context: ssl.SSLContext | None = field(default=None, init=False)
    _is_extended: bool = field(default=False, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def context(self) -> ssl.SSLContext:
        """Loading certificates takes 20 ms of CPU: it is done at the first connection."""
        with self._lock:
            if self._context is None:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.minimum_version = ssl.TLSVersion.TLSv1_2
                if not self.verify:
                    context.check_hostname = False
                    context.verify_mode = ssl.CERT_NONE
                elif self.bundle is not None:
                    is_folder = os.path.isdir(self.bundle)
                    context.load_verify_locations(**{"capath" if is_folder else "cafile": self.bundle})
                else:
                    context.load_default_certs()
                self._context = context
            return self._context

    def extend(self) -> bool:
        """Accepts the other certificates, too; returns False if there are none."""
        with self._lock:
            if not self.verify or self.others is None or self._context is None:
                return False
            if not self._is_extended:
                self._context.load_verify_locations(cafile=self.others())
                self._is_extended = True
            return True


class Connections:
    """At most `most` connections, each for one request at a time. Thread-safe."""

    def __init__(self, trust: Trust, proxy_of: Callable[[Server], str | None], *, most: int) -> None:
        self._trust = trust
        self._proxy_of = proxy_of
        self._slots = threading.BoundedSemaphore(most)
        self._lock = threading.Lock()
        self._idle: list[tuple[Server, socket.socket, float]] = []  # the last used is the last
        self._busy: set[socket.socket] = set()
        self._closed = False

    def send(self, server: Server, message: Message) -> Answer:
        """Sends a request and returns the answer. Raises Unreached, Broken and TooLong."""
        with self._slots:
            kept = self._kept(server)
            if kept is not None:
                answer = self._exchange(kept, server, message, is_kept=True)
                if answer is not None:
                    return answer
            answer = self._exchange(self._connect(server), server, message)
            assert answer is not None
            return answer

    def close(self) -> None:
        """Ends the requests that still run, in whichever thread, and refuses later ones."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for busy in self._busy:
                with contextlib.suppress(OSError):
                    # That of SSLSocket would take from the thread that reads what it reads by.
                    socket.socket.shutdown(busy, socket.SHUT_RDWR)
        for _, opened, _ in idle:
            opened.close()

    def _kept(self, server: Server) -> socket.socket | None:
        """Takes an idle connection, and closes those that are of no more use."""
        taken = None
        with self._lock:
            while self._idle and taken is None:
                of, opened, since = self._idle.pop()
                if of == server and time.monotonic() - since < _KEPT_SECONDS and not _has_input(opened):
                    self._busy.add(opened)
                    taken = opened
                else:
                    opened.close()
        return taken

    def _keep(self, server: Server, opened: socket.socket) -> None:
        with self._lock:
            self._busy.discard(opened)
            if not self._closed:
                self._idle.append((server, opened, time.monotonic()))
                return
        opened.close()

    def _drop(self, opened: socket.socket) -> None:
        with self._lock:
            self._busy.discard(opened)
        opened.close()

    def _exchange(
        self, opened: socket.socket, server: Server, message: Message, *, is_kept: bool = False
    ) -> Answer | None:
        """Sends a request over a connection and reads the answer; None if it `is_kept` and was closed before any of the answer came."""
        is_whole = False
        response = http.client.HTTPResponse(opened, method=message.method)
        try:
            try:
                unsent = _send(opened, self._head(server, message), message.body)
                if not response.fp.peek(1):
                    raise unsent or ConnectionResetError
            except _ENDS:
                if is_kept and not self._closed:
                    return None
                raise
            response.begin()
            body = _body(response, message)
            is_whole = unsent is None and response.isclosed() and not response.will_close
            return Answer(response.status, response.headers, body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Broken(server.host) from error
        finally:
            response.close()
            if is_whole:
                self._keep(server, opened)
            else:
                self._drop(opened)

    def _head(self, server: Server, message: Message) -> bytes:
        headers = dict(message.headers)
        target = message.target
        proxy = self._proxy_of(server) if server.scheme == "http" else None
        if proxy is not None:
            target = f"http://{server.address}{target}"
            headers |= _proxy_headers(proxy)
        length = memoryview(message.body).nbytes
        if length or message.method in ("PUT", "POST"):
            headers["content-length"] = str(length)
        return _head_text(f"{message.method} {target}", headers)

    def _connect(self, server: Server) -> socket.socket:
        try:
            return self._connected(server)
        except Unreached as error:
            if not isinstance(error.__cause__, ssl.SSLCertVerificationError) or not self._trust.extend():
                raise
        return self._connected(server)

    def _connected(self, server: Server) -> socket.socket:
        proxy = self._proxy_of(server)
        deadline = time.monotonic() + _CONNECT_SECONDS
        if proxy is None:
            opened = self._reach(server.host, server.port, deadline, server)
        else:
            parts = urlsplit(proxy)
            opened = self._reach(parts.hostname or "", parts.port or 80, deadline, server, proxied=True)
        try:
            opened.settimeout(_CONNECT_SECONDS)
            if proxy is not None and server.scheme == "https":
                _open_tunnel(opened, server, proxy)
            if server.scheme == "https":
                opened = self._with_tls(opened, server)
            opened.settimeout(_SILENT_SECONDS)
        except BaseException as error:
            self._drop(opened)
            if isinstance(error, OSError | http.client.HTTPException | ValueError):
                raise Unreached(server.host) from error
            raise
        return opened

    def _with_tls(self, plain: socket.socket, server: Server) -> socket.socket:
        context = self._trust.context()
        with self._lock:
            self._busy.discard(plain)
            wrapped = context.wrap_socket(plain, server_hostname=server.host, do_handshake_on_connect=False)
            self._busy.add(wrapped)
        try:
            wrapped.do_handshake()
        except BaseException:
            self._drop(wrapped)
            raise
        return wrapped

    def _reach(self, host: str, port: int, deadline: float, server: Server, *, proxied: bool = False) -> socket.socket:
        """Connects to the first address that answers; each has its share of the time, lest one that swallows everything takes all."""
        try:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise Unreached(server.host, proxied=proxied) from error
        failure: OSError | None = None
        for number, (family, kind, protocol, _, address) in enumerate(addresses):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            if server.elsewhere and not proxied and _is_of_this_machine(str(address[0])):
                raise Forbidden(server.host)
            opened = _socket(family, kind, protocol)
            try:
                with self._lock:
                    if self._closed:
                        raise ConnectionAbortedError
                    self._busy.add(opened)
                opened.settimeout(min(left, max(2.0, left / (len(addresses) - number))))
                opened.connect(address)
            except OSError as error:
                self._drop(opened)
                failure = failure or error
            except BaseException:
                self._drop(opened)
                raise
            else:
                return opened
        raise Unreached(server.host, proxied=proxied) from failure


def _is_of_this_machine(address: str) -> bool:
    """Returns whether an address is loopback, or one at which clouds describe a machine to itself, its credentials included."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return ip.is_loopback or ip.is_link_local or ip.is_unspecified or str(ip) in _METADATA


def _socket(family: int, kind: int, protocol: int) -> socket.socket:
    """Makes a socket that sends small requests at once, and notices a dead peer while it sends, too."""
    opened = socket.socket(family, kind, protocol)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(_SILENT_SECONDS * 1000))
    return opened


def _has_input(opened: socket.socket) -> bool:
    """Returns whether an idle connection has something to read: its end, or what no request asked for."""
    poll = select.poll()
    poll.register(opened, select.POLLIN)
    return bool(poll.poll(0))


def _send(opened: socket.socket, head: bytes, body: Buffer) -> OSError | None:
    """Sends a request; returns what ended it early, for a server that refuses may answer and close without reading on.

    Not by `sendall`, whose time limit is one for all of the bytes.
    """
    rest = memoryview(body).cast("B")
    if len(rest) <= _SMALL_BYTES:
        head, rest = head + bytes(rest), rest[:0]
    try:
        for part in (memoryview(head), rest):
            sent = 0
            while sent < len(part):
                sent += opened.send(part[sent : sent + _SEND_AT_ONCE])
    except _ENDS as error:
        return error
    return None


def _body(response: http.client.HTTPResponse, message: Message) -> bytes:
    """Reads the body, as one piece of memory if its length is known. What goes beyond a limit is left unread."""
    is_success = 200 <= response.status < 300
    if is_success and message.sink is not None:
        take = message.sink(response.status, response.headers)
        while piece := response.read(_PIECE_BYTES):
            take(piece)
        if response.length or (response.length is None and not response.chunked):
            raise ConnectionResetError  # it broke off, or may have: nothing says where it ends
        return b""
    most = message.most - (message.first if response.status == 206 else 0) if is_success else _ERROR_BYTES
    length = response.length
    if length is not None and length > most:
        if is_success:
            raise TooLong
        return response.read(most)
    body = response.read(most + 1 if length is None else length)
    if length is not None and len(body) < length:
        raise ConnectionResetError
    if length is None and not response.chunked and is_success:
        raise ConnectionResetError  # where it ends is where the connection broke off: it may be a part
    if len(body) > most and is_success:
        raise TooLong
    return body


def _head_text(first: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{first} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("utf-8")


def _proxy_headers(proxy: str) -> dict[str, str]:
    parts = urlsplit(proxy)
    if parts.username is None:
        return {}
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"proxy-authorization": f"Basic {base64.b64encode(user.encode('utf-8')).decode('ascii')}"}


def _open_tunnel(opened: socket.socket, server: Server, proxy: str) -> None:
    host = f"[{server.host}]" if ":" in server.host else server.host
    authority = f"{host}:{server.port}"
    opened.sendall(_head_text(f"CONNECT {authority}", {"host": authority} | _proxy_headers(proxy)))
    response = http.client.HTTPResponse(opened, method="CONNECT")
    try:
        response.begin()
    finally:
        response.close()
    if not 200 <= response.status < 300:
        raise Unreached(server.host, proxied=True, refused=response.status)
