"""An HTTP proxy that breaks chosen requests, to stand between an S3 client and a real server.

Forwards everything else unchanged, the Host header too, so that signatures still verify. aiohttp comes with s3fs.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import unquote

from aiohttp import ClientSession, TCPConnector, web

HOP_BY_HOP = {"connection", "transfer-encoding", "expect"}
CONTENTS = re.compile("<Contents>.*?<Key>(.*?)</Key>.*?</Contents>", re.DOTALL)
CODES = {
    400: "BadRequest",
    403: "AccessDenied",
    404: "NoSuchKey",
    409: "ConditionalRequestConflict",
    500: "InternalError",
    503: "SlowDown",
}


class Fault(Enum):
    """What happens to a request; `argument` of the rule says how much of it."""

    STATUS = "answer with this status, and do not forward"
    REDIRECT = "answer 307 with this location"
    BODY = "answer 200 with this text as the body"
    DELAY = "wait this many seconds, then forward"
    DROP_BEFORE = "close the connection, and do not forward"
    DROP_AFTER = "forward, then close the connection: the answer is lost"
    TRUNCATE = "answer with this many bytes of the body (a fraction: with that part), then close the connection"
    FLIP_ANSWER = "flip a bit of this byte of the answer (a fraction: of the byte there)"
    FLIP_REQUEST = "flip a bit of this byte of what is forwarded (a fraction: of the byte there)"
    TWICE = "forward it two times"
    LIST_WITHOUT_NEW = "leave out of a listing what was put since `new` and `gone` were cleared, and what is in `new`"
    LIST_WITH_GONE = "show in a listing what was deleted since, and what is in `gone`"


@dataclass(slots=True)
class Rule:
    """Breaks the requests of a method (`*`: any) whose path matches: `times` of them (None: all) after the first `passing`."""

    method: str
    path: re.Pattern[str]
    fault: Fault
    argument: int | float | str
    times: int | None
    headers: dict[str, str]
    passing: int = 0
    hits: int = 0

    def takes(self, request: web.Request) -> bool:
        if self.method not in ("*", request.method) or not self.path.search(request.path_qs):
            return False
        if self.passing:
            self.passing -= 1
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.hits += 1
        return True


@dataclass
class FaultProxy:
    """A running proxy; `requests` holds `PUT /bucket/key?query` of everything that arrived.

    `new` are keys that a listing which lags does not show yet, `gone` those that it still shows, as they stood in it.
    """

    upstream: str
    url: str = ""
    requests: list[str] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    new: set[str] = field(default_factory=set)
    gone: dict[str, str] = field(default_factory=dict)
    listed: dict[str, str] = field(default_factory=dict)
    session: ClientSession | None = None

    def breaks(
        self,
        method: str,
        path: str,
        fault: Fault,
        argument: float | str = 0,
        *,
        times: int | None = 1,
        headers: dict[str, str] | None = None,
        passing: int = 0,
    ) -> Rule:
        """Adds a rule and returns it; the first that takes a request decides. `headers` go with BODY."""
        self.rules.append(Rule(method, re.compile(path), fault, argument, times, headers or {}, passing))
        return self.rules[-1]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path_qs}")
        body = await request.read()
        rule = next((rule for rule in self.rules if rule.takes(request)), None)
        if rule is None:
            return await self.forward(request, body)
        argument = rule.argument
        match rule.fault:
            case Fault.STATUS:
                text = f"<Error><Code>{CODES.get(argument, 'Odd')}</Code><Message>injected</Message></Error>"
                return web.Response(status=argument, content_type="application/xml", text=text)
            case Fault.REDIRECT:
                return web.Response(status=307, headers={"Location": argument})
            case Fault.BODY:
                return web.Response(content_type="text/html", text=argument, headers=rule.headers)
            case Fault.DELAY:
                await asyncio.sleep(argument)
            case Fault.DROP_BEFORE:
                return cut_off(request)
            case Fault.FLIP_REQUEST:
                body = flipped(body, position(argument, body))
            case Fault.TWICE:
                await self.forward(request, body)
        response = await self.forward(request, body)
        match rule.fault:
            case Fault.DROP_AFTER:
                return cut_off(request)
            case Fault.FLIP_ANSWER:
                response.body = flipped(response.body, position(argument, response.body))
            case Fault.LIST_WITHOUT_NEW | Fault.LIST_WITH_GONE if "list-type" in request.query:
                response.body = self.lagging(request, response.body, rule.fault)
            case Fault.TRUNCATE:
                return await cut_short(request, response, position(argument, response.body))
        return response

    def lagging(self, request: web.Request, body: bytes, fault: Fault) -> bytes:
        """Returns a listing as a server gives it whose listings lag behind."""
        text = body.decode()
        if fault is Fault.LIST_WITHOUT_NEW:
            text = CONTENTS.sub(lambda item: "" if item[1] in self.new else item[0], text)
        else:
            prefix = request.query.get("prefix", "")
            there = {item[1] for item in CONTENTS.finditer(text)}
            old = [item for key, item in self.gone.items() if key.startswith(prefix) and key not in there]
            text = text.replace("</ListBucketResult>", "".join(old) + "</ListBucketResult>")
        return text.encode()

    def note(self, request: web.Request, sent: bytes, answer: web.Response) -> None:
        """Notes what was put, listed and deleted, for listings that lag."""
        key = unquote(request.path).lstrip("/").partition("/")[2]
        if request.method == "GET" and "list-type" in request.query:
            self.listed |= {item[1]: item[0] for item in CONTENTS.finditer(answer.body.decode())}
        elif request.method == "PUT" and answer.status == 200:
            self.new.add(key)
        elif request.method == "POST":
            for name in re.findall("<Key>(.*?)</Key>", sent.decode()):
                if name in self.listed:
                    self.gone[name] = self.listed[name]

    async def forward(self, request: web.Request, body: bytes) -> web.Response:
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP]
        async with self.session.request(
            request.method,
            self.upstream + request.raw_path,
            data=io.BytesIO(body),
            headers=headers,
            skip_auto_headers=["User-Agent", "Content-Type", "Accept"],
        ) as answer:
            data = await answer.read()
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP]
            response = web.Response(status=answer.status, headers=without_length(kept), body=data)
            self.note(request, body, response)
            return response


def without_length(headers):
    return [(name, value) for name, value in headers if name.lower() != "content-length"]


def position(argument: float, data: bytes) -> int:
    return int(argument * len(data)) if isinstance(argument, float) else argument


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes(byte ^ 1 for byte in data[at : at + 1]) + data[at + 1 :]


def cut_off(request: web.Request) -> web.Response:
    if request.transport is not None:  # the client has closed it already
        request.transport.abort()
    return web.Response()


async def cut_short(request: web.Request, response: web.Response, count: int) -> web.Response:
    lines = [f"{name}: {value}" for name, value in without_length(response.headers.items())]
    head = "\r\n".join([f"HTTP/1.1 {response.status} OK", *lines, f"Content-Length: {len(response.body)}", "", ""])
    request.transport.write(head.encode() + response.body[:count])
    await asyncio.sleep(0.05)
    request.transport.close()
    return web.Response()


@contextlib.contextmanager
def running_proxy(upstream: str) -> Iterator[FaultProxy]:
    """Runs a proxy in front of a server on a thread of its own."""
    proxy, loop, ready, stopping = FaultProxy(upstream), asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with ClientSession(auto_decompress=False, connector=TCPConnector(limit=0)) as proxy.session:
            app = web.Application(client_max_size=1 << 30)
            app.router.add_route("*", "/{path:.*}", proxy.answer)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            ready.set()
            await stopping.wait()
            await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    if not ready.wait(60):
        raise RuntimeError("the fault proxy did not start")
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(60)
        loop.close()
