"""A file at an http or https URL. Redirects are followed, a few, and never from https to http; no credentials are sent, to any host.

What a server keeps compressed is stored as it is sent: nothing is decoded unseen.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Sequence
from urllib.parse import quote as percent
from urllib.parse import urljoin, urlsplit

from dvlite import __version__
from dvlite.errors import RemoteError
from dvlite.formats.reference import Item
from dvlite.git.program import without_credentials
from dvlite.show import quote
from dvlite.store.object_store import Transient
from dvlite.store.origins import Download, NothingThere, item_of, length_in
from dvlite.store.s3_errors import SettingWrong, is_untrusted, reason
from dvlite.store.s3_http import Answer, Broken, Connections, Forbidden, Message, Server, Sink, TooLong, Unreached
from dvlite.store.s3_settings import connections_to_others

_MOST_REDIRECTS = 5
_REDIRECTS = {301, 302, 303, 307, 308}
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_NO_HEAD = {400, 403, 405, 501}  # from servers that answer GET alone
_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})")
_SAFE = "!#$%&'()*+,/:;=?@[]~"


class WebOrigin:
    """One file at a URL."""

    def __init__(self, url: str, connections: int) -> None:
        self._url = url
        self.label = quote(without_credentials(url))
        self._most = connections
        self._connections: Connections | None = None

    def look(self) -> Sequence[Item]:
        answer = self._send("HEAD", {}, None)
        if answer.status in _NO_HEAD:
            return [Item("")]
        self._require_success(answer)
        return [item_of(answer.headers, length_in(answer.headers.get("content-length")))]

    def read(self, item: Item, download: Download) -> Item:
        start = download.size_bytes
        headers = {}
        if start and item.etag and not item.etag.startswith("W/"):
            headers = {"range": f"bytes={start}-", "if-range": item.etag}
            if start == item.size_bytes:
                return item
        seen: list[Item] = []

        def sink(status: int, head: http.client.HTTPMessage) -> Callable[[bytes], None]:
            total = length_in(head.get("content-length"))
            if status == 206:
                part = _RANGE.fullmatch(head.get("content-range") or "")
                if part is None or not headers or (int(part[1]), int(part[2])) != (start, item.size_bytes):
                    raise RemoteError(
                        f"{self.label} sent another part than was asked for", hint="its server does not follow HTTP"
                    )
                total = item.size_bytes
            elif download.size_bytes:
                download.restart()
            if total is not None:
                download.expect(total)
            elif "chunked" not in (head.get("transfer-encoding") or "").lower():
                raise RemoteError(
                    f"{self.label} does not say how long it is, so a part of it would look like all of it",
                    hint="if you can see that it is whole: curl -fL URL | dvlite add - -o OUT",
                )
            seen.append(item_of(head, total))
            return download.take

        answer = self._send("GET", headers, sink)
        if answer.status == 416:
            download.restart()
            raise Transient(f"{self.label} is shorter than what came of it", answered=True)
        self._require_success(answer)
        return seen[-1]

    def close(self) -> None:
        if self._connections is not None:
            self._connections.close()

    def _send(self, method: str, headers: dict[str, str], sink: Sink | None) -> Answer:
        """Sends a request, and again to where it is redirected."""
        url = self._url
        for _ in range(_MOST_REDIRECTS + 1):
            server, target = self._target(url)
            every = {
                "host": server.address,
                "user-agent": f"dvlite/{__version__}",
                "accept": "*/*",
                "accept-encoding": "identity",
            }
            answer = self._exchange(server, Message(method, target, every | headers, b"", 0, sink=sink))
            if answer.status not in _REDIRECTS:
                return answer
            further = self._further(url, answer.headers.get("location") or "")
            if url.startswith("https:") and not further.startswith("https:"):
                raise RemoteError(
                    f"{self.label} redirects from https to {quote(without_credentials(further)[:80])}, which is not followed",
                    hint="give the address where it really is",
                )
            url = further
        raise RemoteError(f"{self.label} redirects more than {_MOST_REDIRECTS} times", hint="check the address")

    def _further(self, url: str, location: str) -> str:
        try:
            return urljoin(url, location)
        except ValueError:
            return ""  # refused as no address

    def _target(self, url: str) -> tuple[Server, str]:
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").encode("idna").decode("ascii") if not url.isascii() else parts.hostname or ""
            port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        except (ValueError, KeyError):
            host, port = "", 0
        if not host or not port or not url.isprintable() or " " in host:
            raise RemoteError(f"{self.label} leads to something that is no address", hint="check the address")
        target = percent(parts.path or "/", safe=_SAFE) + (
            f"?{percent(parts.query, safe=_SAFE)}" if parts.query else ""
        )
        return Server(parts.scheme, host, port, elsewhere=parts.hostname != urlsplit(self._url).hostname), target

    def _exchange(self, server: Server, message: Message) -> Answer:
        try:
            self._connections = self._connections or connections_to_others("", self._most)
            return self._connections.send(server, message)
        except (Unreached, Broken) as error:
            if is_untrusted(error):
                raise RemoteError(
                    f"cannot read {self.label}: its certificate is not trusted",
                    hint="name your CA's file: REQUESTS_CA_BUNDLE",
                ) from error
            answered = isinstance(error, Broken)
            raise Transient(
                f"cannot read {self.label}: {reason(error)}",
                hint="check the network, and the address",
                answered=answered,
            ) from error
        except SettingWrong as error:
            raise RemoteError(f"cannot read {self.label}: {error.message}", hint=error.hint) from error
        except Forbidden as error:
            raise RemoteError(
                f"{self.label} redirects to {quote(server.host)}, an address of this machine, which is not followed",
                hint="give the address where it really is",
            ) from error
        except TooLong as error:
            raise RemoteError(f"cannot read {self.label}: its answer has a body that was not asked for") from error

    def _require_success(self, answer: Answer) -> None:
        status = answer.status
        if 200 <= status < 300:
            return
        if status in _PASSING:
            raise Transient(
                f"cannot read {self.label}: its server is busy or failing ({status})",
                hint="try again later",
                answered=True,
            )
        if status in (404, 410):
            raise NothingThere(f"there is nothing at {self.label} ({status})", hint="check the address")
        if status in (401, 403, 407):
            raise RemoteError(
                f"cannot read {self.label}: it is refused ({status}), and dvlite sends no credentials to URLs",
                hint="with your own: curl -fL -u USER URL | dvlite add - -o OUT",
            )
        raise RemoteError(f"cannot read {self.label}: the server answered {status}", hint="check the address")
